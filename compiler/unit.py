"""The record that the pipeline hands from pass to pass, and what it is lowered to.

All of it is frozen: a pass gives a new record, or the same object if it has nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from graphnn.compiler.domain import Group
from graphnn.compiler.kernel import Contraction, Kernel
from graphnn.compiler.regions import Branch, Loop, Region, words_of
from graphnn.core.dtypes import DType
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.op import Op
from graphnn.core.state import Parameter

if TYPE_CHECKING:
    from graphnn.compiler.native.moves.piece import Piece

__all__ = [
    "Branch",
    "Buffer",
    "Instruction",
    "Loop",
    "MemoryPlan",
    "Note",
    "Options",
    "Region",
    "Storage",
    "Unit",
    "View",
]


FOR_PROCESSORS = frozenset({"pack_once", "fuse_prologues"})
"""Passes that arrange memory for a processor's caches; a GPU's products read it as it lies."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose about compilation.

    Attributes
    ----------
    backend : str
    optimize : {"O0", "O1", "O2"}
        None; exact rewrites; exact and reassociating rewrites.
    value_unsafe : bool
        Allow rewrites that may drop NaN and infinities (``x*0 -> 0``).
    fuel : int or None
        Most rewrites to apply, to bisect a miscompile; None for no limit.
    verify : bool
        Check the record between passes.
    debug : {"", "nan", "verify"}
        "nan": stop at the first instruction that gives NaN or infinity. "verify": compare every
        native instruction with the operators' own kernels.
    native : {"now", "background", "never"}
        When native code is built; until then, and with "never", NumPy's kernels are called.
    memory_budget : int or None
        Most bytes that the arena may take; None for no limit.
    skip : frozenset of str
        Passes that are left out; see :data:`graphnn.compiler.pipeline.SKIPPABLE`.
    launch : {"graph", "stream", "debug"}
        On a GPU: all launches of a run as one recorded graph; one by one; or one by one, each
        waited for.
    matmul_precision : {"float32", "tf32", "bfloat16"}
        On a GPU: to what matrix products may round their factors in float32.
    """

    backend: str = "numpy"
    optimize: str = "O2"
    value_unsafe: bool = False
    fuel: int | None = None
    verify: bool = False
    debug: str = ""
    native: str = "now"
    memory_budget: int | None = None
    skip: frozenset[str] = frozenset()
    launch: str = "graph"
    matmul_precision: str = "float32"

    @property
    def left_out(self) -> frozenset[str]:
        """The passes that are not run."""
        return self.skip | (FOR_PROCESSORS if self.backend == "cupy" else frozenset())


class Storage(Enum):
    """Where a buffer lives."""

    ARENA = "arena"
    STATE = "state"
    CONSTANT = "constant"
    FEED = "feed"


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """A contiguous piece of memory; equal to itself alone.

    Attributes
    ----------
    storage : Storage
    index : int
        Its number: among the arena's buffers, the unit's states, its constants, or its feeds.
    nbytes : int
    """

    storage: Storage
    index: int
    nbytes: int

    def __str__(self) -> str:
        return f"{self.storage.value}{self.index}"


@dataclass(frozen=True, slots=True)
class View:
    """A strided array inside a buffer.

    Attributes
    ----------
    buffer : Buffer
    offset : int
        Bytes from the buffer's start to the first element.
    shape : tuple of int
    strides : tuple of int
        Bytes.
    dtype : numpy.dtype
    moves : tuple of int
        Bytes that it moves by with every iteration of the loops around it, outermost first; loops
        that are not named do not move it.
    """

    buffer: Buffer
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DType
    moves: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of its elements, each counted once per use."""
        count = self.dtype.itemsize
        for size in self.shape:
            count *= size
        return count

    @property
    def span(self) -> tuple[int, int]:
        """The bytes of its buffer that it lies in: the first, and the first behind them."""
        reach = [stride * (size - 1) for stride, size in zip(self.strides, self.shape, strict=True)]
        first = self.offset + sum(each for each in reach if each < 0)
        last = self.offset + sum(each for each in reach if each > 0)
        return first, last + self.dtype.itemsize

    def overlaps(self, other: View) -> bool:
        """Whether both may have memory in common; those that move side by side have none."""
        if self.buffer is not other.buffer:
            return False
        if self.moves != other.moves:
            return True
        (start, stop), (begin, end) = self.span, other.span
        return start < end and begin < stop

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole buffer in row-major order."""
        expected, stride = [], self.dtype.itemsize
        for size in reversed(self.shape):
            expected.append(stride)
            stride *= size
        return (
            self.offset == 0
            and not any(self.moves)
            and stride == self.buffer.nbytes
            and all(
                size == 1 or have == want
                for size, have, want in zip(
                    self.shape, self.strides, reversed(expected), strict=True
                )
            )
        )


@dataclass(frozen=True, slots=True)
class Instruction:
    """One thing the machine does: compute some nodes from views and write other views.

    Attributes
    ----------
    kind : {"kernel", "gemm", "conv", "copy", "pack", "move", "host"}
        A loop nest, a contraction, a copy, a copy into the panels of contractions, an operator
        that has native code of its own, or the operator's NumPy kernel called on the host.
    op : Op or None
        That of ``node``; None for a copy, or what is packed.
    attrs : mapping
        Those of ``node``.
    inputs, outputs : tuple of View
        Where the operands of ``kernel`` begin, in order; those of ``op`` if there is none. For a
        contraction: of the left and the right factor, then of its epilogue. A view may
        be read in another shape than its own: the kernel's strides count.
    node : Node
        The most important node that it computes: names, source lines and time step for errors,
        profiles and pictures.
    flops : int
    kernel : Kernel, Contraction or None
        What code is generated from; None if the host does it.
    nodes : tuple of Node
        Everything that it computes, inputs before users.
    reads : tuple of (Node, View)
        The nodes whose values it reads, and where these lie: what an interpreter starts from.
    stored : tuple of Node
        What it writes to each of ``outputs``, if there is a kernel that is no copy.
    pieces : tuple of Piece
        Native code that does what ``op`` does, if it takes more than one kernel.
    scratch : Buffer or None
        Memory that its native code needs while it runs.
    panels : tuple of View
        Factors of a contraction as an earlier instruction has packed them: its native code reads
        these instead.
    """

    kind: str
    op: Op | None
    attrs: Mapping[str, Any]
    inputs: tuple[View, ...]
    outputs: tuple[View, ...]
    node: Node
    flops: int = 0
    kernel: Kernel | Contraction | None = None
    nodes: tuple[Node, ...] = ()
    reads: tuple[tuple[Node, View], ...] = ()
    stored: tuple[Node, ...] = ()
    pieces: tuple[Piece, ...] = ()
    scratch: Buffer | None = None
    panels: tuple[View, ...] = ()

    @property
    def label(self) -> str:
        """The words for what it computes."""
        if self.op is None:
            return self.kind
        words = [each.op.label(each) for each in self.nodes or (self.node,)]
        most = 4
        return "+".join(words[:most]) + (f"+{len(words) - most}" if len(words) > most else "")

    @property
    def sources(self) -> tuple[View, ...]:
        """All that is read, by native code or by an interpreter."""
        return (*self.inputs, *self.panels)

    @property
    def nbytes(self) -> int:
        """Bytes read and written."""
        return sum(view.nbytes for view in (*self.inputs, *self.outputs))


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Where in the arena every buffer lies.

    Attributes
    ----------
    offsets : tuple of int
        Bytes from the arena's start, by buffer number.
    nbytes : int
        Size of the arena.
    live : tuple of (int, int)
        First and last instruction during which each buffer is live.
    """

    offsets: tuple[int, ...]
    nbytes: int
    live: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Note:
    """Why a node was not fused with one that it reads.

    Attributes
    ----------
    producer, consumer : Node
    reason : str
    """

    producer: Node
    consumer: Node
    reason: str


@dataclass(frozen=True)
class Unit:
    """A program in the making.

    Attributes
    ----------
    graph : Graph
        Its outputs are the results, then the new values of ``updated``.
    updated : tuple of Parameter
        State that is overwritten when all results are computed.
    options : Options
    sizes : mapping of str to int
        What the named dimensions are bound to.
    schedule : tuple of Node
        Every node in the order of computation (from ``schedule`` on, or from ``rematerialize``).
    recomputed : tuple of Node
        Second and further copies of nodes, which are computed again to save memory; of a scan,
        those of one step.
    plain_flops : int or None
        Floating-point operations of a call if nothing were computed again; None without a budget.
    groups : tuple of Group
        What is computed together, in order (from ``fuse`` on).
    notes : tuple of Note
        Why what is next to each other is not computed together.
    instructions : tuple of Instruction
        From ``lower`` on.
    regions : tuple of Loop or Branch
        Of instructions; one is inside of another or beside it. Outer ones come first.
    bodies : mapping of Graph to Unit
        The bodies of nodes, as far as they are compiled (from ``schedule`` on).
    buffers : tuple of Buffer
        The arena's buffers.
    states : tuple of Parameter
        State that is read or written, by number.
    constants : tuple of Node
        Constants that are read, by number.
    feeds, results : tuple of View
        Where fed values are (nothing writes there), and where results are after the last
        instruction.
    plan : MemoryPlan or None
        From ``plan_memory`` on.
    """

    graph: Graph
    updated: tuple[Parameter, ...] = ()
    options: Options = field(default_factory=Options)
    sizes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    schedule: tuple[Node, ...] = ()
    groups: tuple[Group, ...] = ()
    notes: tuple[Note, ...] = ()
    recomputed: tuple[Node, ...] = ()
    plain_flops: int | None = None
    instructions: tuple[Instruction, ...] = ()
    regions: tuple[Region, ...] = ()
    bodies: Mapping[Graph, Unit] = field(default_factory=lambda: MappingProxyType({}))
    buffers: tuple[Buffer, ...] = ()
    states: tuple[Parameter, ...] = ()
    constants: tuple[Node, ...] = ()
    feeds: tuple[View, ...] = ()
    results: tuple[View, ...] = ()
    plan: MemoryPlan | None = None

    @property
    def n_results(self) -> int:
        """How many of the graph's outputs are results; the others are updates."""
        return len(self.graph.outputs) - len(self.updated)

    @property
    def loops(self) -> tuple[Loop, ...]:
        """The regions that are loops."""
        return tuple(each for each in self.regions if isinstance(each, Loop))

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The regions that are branches."""
        return tuple(each for each in self.regions if isinstance(each, Branch))

    def words_around(self, instruction: int) -> str:
        """How often and when an instruction is carried out: ``"100 x if arena3: "``."""
        return "".join(map(words_of, self.regions_around(instruction)))

    def regions_around(self, instruction: int) -> tuple[Region, ...]:
        """The regions that an instruction is in, outermost first."""
        return tuple(each for each in self.regions if each.begin <= instruction < each.end)

    def loops_around(self, instruction: int) -> tuple[Loop, ...]:
        """The loops that an instruction is in, outermost first."""
        around = self.regions_around(instruction)
        return tuple(each for each in around if isinstance(each, Loop))

    def with_instructions(self, listed: Iterable[tuple[Instruction, tuple[Region, ...]]]) -> Unit:
        """The unit with other instructions, each in some of the regions, outermost first."""
        begins: dict[Region, int] = {}
        ends: dict[Region, int] = {}
        instructions = []
        for number, (instruction, around) in enumerate(listed):
            instructions.append(instruction)
            for region in around:
                begins.setdefault(region, number)
                ends[region] = number + 1
        regions = (
            replace(each, begin=begins[each], end=ends[each])
            for each in self.regions
            if each in ends
        )
        return replace(self, instructions=tuple(instructions), regions=tuple(regions))

    @property
    def runs(self) -> list[int]:
        """How often each instruction is carried out, if all branches are taken.

        And if loops of which nobody knows how often they go round do so once.
        """
        counts = [1] * len(self.instructions)
        for loop in self.loops:
            for number in range(loop.begin, loop.end):
                counts[number] *= loop.count or 1
        return counts

    @property
    def flops(self) -> int:
        """Floating-point operations of one call."""
        return sum(n * each.flops for n, each in zip(self.runs, self.instructions, strict=True))
