"""lower: nodes become a flat list of instructions on views of buffers.

Before: ``y = tanh(transpose(x) @ w)``.
After: ``gemm arena2 <- arena0:(64, 32) state0``, ``kernel tanh arena3 <- arena2``.

Operators that only look at memory differently (transpose, slice, broadcast) become views and
cost nothing. Updates become writes into state: straight from the kernel that computes the new
value where nothing reads the old one later, else by a copy at the end. (A program that may stop
at a NaN copies all of them, so that it stops before the first one.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphnn.compiler.conditionals.lowering import lower_cond, lower_while
from graphnn.compiler.domain import ANCHOR_OPS, Group, is_computed, roots_of
from graphnn.compiler.driver import Driver
from graphnn.compiler.group_lowering import copying, lower_group
from graphnn.compiler.in_place import moved_view, with_moved, written_in_place
from graphnn.compiler.joined import parts_along, parts_of_joins
from graphnn.compiler.native.generators import scratch_nbytes
from graphnn.compiler.native.moves import pieces_of
from graphnn.compiler.scans.lowering import lower_scan
from graphnn.compiler.scans.rewriting import may_raise
from graphnn.compiler.unit import Branch, Buffer, Instruction, Region, Storage, Unit, View
from graphnn.compiler.views import contiguous, look
from graphnn.core.dtypes import UINT8
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.spec import TensorSpec, TupleSpec
from graphnn.core.state import Parameter
from graphnn.ops.conditionals import COND
from graphnn.ops.constants import CONSTANT, constant
from graphnn.ops.control import PROJECT, TUPLE
from graphnn.ops.joining import CONCATENATE

__all__ = ["Lowering", "lower"]

Views = tuple[View, ...]


def lower(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    lowering = Lowering(unit)
    for number, node in enumerate(unit.graph.inputs):
        fed = Buffer(Storage.FEED, number, node.tensor.nbytes)
        lowering.views[node] = (contiguous(fed, node.tensor),)
    in_place = unit.options.debug != "nan"
    if in_place and not any(map(may_raise, unit.schedule)):
        states = [lowering.state(each) for each in unit.updated]
        lowering.reserve(unit.updated, unit.graph.outputs[unit.n_results :], states)
    lowering.lower_all()
    results = lowering.finish(unit.graph.outputs, unit.updated, in_place=in_place)
    return replace(
        unit,
        instructions=tuple(lowering.instructions),
        regions=tuple(lowering.regions),
        buffers=tuple(lowering.buffers),
        states=tuple(lowering.states),
        constants=tuple(lowering.constants),
        feeds=tuple(lowering.views[node][0] for node in unit.graph.inputs),
        results=tuple(results),
    )


class Lowering:
    """The instructions and buffers made so far.

    Attributes
    ----------
    unit : Unit
        Whose nodes are lowered: a program's, or that of a body inside of it.
    views : dict of Node to tuple of View
    instructions, regions, buffers : list
        Shared by a program and the bodies inside of it; so are states and constants.
    depth : int
        Number of loops around.
    """

    def __init__(self, unit: Unit, around: Lowering | None = None, depth: int = 0) -> None:
        if not unit.groups:  # nothing was fused: every node by itself
            alone = (Group.of(node) for node in unit.schedule if is_computed(node))
            unit = replace(unit, groups=tuple(alone))
        self.unit = unit
        self.views: dict[Node, Views] = {}
        self.instructions: list[Instruction] = around.instructions if around else []
        self.regions: list[Region] = around.regions if around else []
        self.buffers: list[Buffer] = around.buffers if around else []
        self.states: dict[Parameter, Buffer] = around.states if around else {}
        self.constants: dict[Node, Buffer] = around.constants if around else {}
        self.depth = depth
        self.reserved: dict[tuple[Node, int], View] = {}
        self.needed = _needed(unit)
        self.parts = parts_of_joins(unit)

    def reserve(self, olds: Sequence[Node], nodes: Sequence[Node], targets: Sequence[View]) -> None:
        """Let conds put some of the outputs where they are wanted at once.

        So that a branch that leaves a value as it was has nothing to do. Nothing but the cond
        may read the old value from then on.
        """
        roots = roots_of(self.unit.schedule)
        position = {node: n for n, group in enumerate(self.unit.groups) for node in group.nodes}
        last_read: dict[Node, int] = {}
        for node, number in position.items():
            last_read.update((roots[each], number) for each in node.inputs)
        asked_for = {roots[each] for each in self.outputs}
        for old, node, target in zip(olds, nodes, targets, strict=True):
            if node.op is not PROJECT or node.inputs[0].op is not COND:
                continue
            chosen = node.inputs[0]
            is_free = old not in asked_for and last_read.get(old, -1) <= position[chosen]
            if is_free or any(target.moves):  # what moves is written at another place than read
                self.reserved.setdefault((chosen, node.attrs["index"]), target)

    def place_of(self, node: Node, number: int) -> View:
        """Memory for one of several results: its own, or what is reserved."""
        assert isinstance(node.spec, TupleSpec)
        return self.reserved.get((node, number)) or self.allocate(node.spec.elements[number])

    def inside(self, body: Graph, *, is_loop: bool) -> Lowering:
        """The lowering of a body, once or in a loop."""
        return Lowering(self.unit.bodies[body], self, self.depth + is_loop)

    def allocate(self, spec: TensorSpec) -> View:
        """A new buffer in the arena."""
        buffer = Buffer(Storage.ARENA, len(self.buffers), spec.nbytes)
        self.buffers.append(buffer)
        return contiguous(buffer, spec)

    @property
    def is_for_device(self) -> bool:
        """Whether a GPU computes."""
        return self.unit.options.backend == "cupy"

    def constant(self, array: Array) -> View:
        """Where numbers lie that the compiler has found."""
        return self.view_of(constant(array))

    def scratch(self, kernels: Sequence[Any]) -> Buffer | None:
        """Memory for the kernels of one instruction, which run one after the other."""
        nbytes_of = scratch_nbytes
        if self.is_for_device:  # nobody else needs what prints CUDA code
            from graphnn.compiler.cuda import generators

            nbytes_of = generators.scratch_nbytes
        nbytes = max(map(nbytes_of, kernels), default=0)
        return self.allocate(TensorSpec((nbytes,), UINT8)).buffer if nbytes else None

    def state(self, parameter: Parameter) -> View:
        """The memory of a parameter."""
        spec = parameter.tensor
        if parameter not in self.states:
            self.states[parameter] = Buffer(Storage.STATE, len(self.states), spec.nbytes)
        return contiguous(self.states[parameter], spec)

    def view_of(self, node: Node) -> View:
        """Where a value lies; views are made when they are first asked for."""
        waiting = [node]
        while waiting:
            last = waiting[-1]
            missing = [each for each in _looked_at(last) if each not in self.views]
            if missing and last not in self.views:
                waiting += missing
            else:
                waiting.pop()
                if last not in self.views:
                    self.views[last] = self._look(last)
        return self.views[node][0]

    def _look(self, node: Node) -> Views:
        """The views of a node that no instruction computes."""
        if isinstance(node, Parameter):
            return (self.state(node),)
        if node.op is CONSTANT:
            if node not in self.constants:
                number, nbytes = len(self.constants), node.tensor.nbytes
                self.constants[node] = Buffer(Storage.CONSTANT, number, nbytes)
            return (contiguous(self.constants[node], node.tensor),)
        if node.op is TUPLE:
            return tuple(self.views[each][0] for each in node.inputs)
        (read,) = (self.views[each] for each in _looked_at(node))
        if node.op is PROJECT:
            return (read[node.attrs["index"]],) if node.inputs[0].op is not TUPLE else read
        assert node.op.is_view, f"{node!r} is computed later than it is read"
        seen = look(node, read[0])
        if seen is None:  # a reshape across strides: bring it into row-major order first
            seen = look(node, self.copy(read[0], node.inputs[0]))
        assert seen is not None
        return (seen,)

    @property
    def inputs(self) -> tuple[Node, ...]:
        """What is given from outside."""
        return self.unit.graph.inputs

    @property
    def outputs(self) -> tuple[Node, ...]:
        """What is asked for."""
        return self.unit.graph.outputs

    def lower_all(self) -> None:
        """Make the instructions of all groups."""
        for group in self.unit.groups:
            self.lower(group)

    def lower(self, group: Group) -> None:
        """The instruction that computes a group, or the regions."""
        lower_regions = LOWERINGS.get(group.nodes[0].op.name)
        if lower_regions is not None and lower_regions(self, group.nodes[0]):
            return
        if group.nodes[0].op is CONCATENATE and group.nodes[0] in self.views:
            self._join_rest(group.nodes[0])
            return
        stored = [node for node in group.nodes if node in self.needed]
        for node in stored:
            self.views[node] = self._place(node)
        if group.is_native:
            self._lower_native(group, stored)
        else:
            (node,) = group.nodes
            inputs, outputs = tuple(map(self.view_of, node.inputs)), self.views[node]
            is_empty = any(each.nbytes == 0 for each in outputs)
            pieces = None if is_empty else pieces_of(node, inputs, outputs)
            if self.is_for_device and not is_empty and pieces is None:
                from graphnn.compiler.cuda.lowerings import device_pieces_of

                pieces = device_pieces_of(node, inputs, outputs, self.constant)
            kind = "move" if pieces else "kernel" if node.op.is_elementwise else "host"
            self.instructions.append(
                Instruction(
                    kind,
                    node.op,
                    node.attrs,
                    inputs,
                    outputs,
                    node,
                    node.op.flops(node),
                    nodes=group.nodes,
                    pieces=tuple(pieces or ()),
                    scratch=self.scratch([each.kernel for each in pieces or ()]),
                )
            )

    def _place(self, node: Node) -> Views:
        """Memory for what a node computes: its own, or a part of what it will be joined to."""
        part = self.parts.get(node)
        if part is not None:
            if part.whole not in self.views:
                self.views[part.whole] = (self.allocate(part.whole.tensor),)
            return (part.of(self.views[part.whole][0]),)
        specs = node.spec.elements if isinstance(node.spec, TupleSpec) else (node.spec,)
        return tuple(map(self.allocate, specs))

    def _join_rest(self, node: Node) -> None:
        """Copy to a joined array what was not computed there."""
        (whole,) = self.views[node]
        for part, each in parts_along(node):
            if self.parts.get(each) != part:
                self.copy(self.view_of(each), each, into=part.of(whole))

    def _lower_native(self, group: Group, stored: Sequence[Node]) -> None:
        """The kernel or contraction of a group."""
        main = next((each for each in group.nodes if each.op.name in ANCHOR_OPS), stored[-1])
        made = lower_group(group, self.view_of, [(node, self.views[node][0]) for node in stored])
        kind = {"dot_general": "gemm", "conv": "conv"}.get(main.op.name, "kernel")
        self.instructions.append(
            Instruction(
                kind,
                main.op,
                main.attrs,
                made.inputs,
                made.outputs,
                main,
                sum(each.op.flops(each) for each in group.nodes),
                made.kernel,
                group.nodes,
                made.reads,
                tuple(stored),
                scratch=self.scratch([made.kernel]),
            )
        )

    def copy(self, view: View, node: Node, into: View | None = None) -> View:
        """A contiguous copy of a view."""
        target = into or self.allocate(TensorSpec(view.shape, view.dtype))
        if view.nbytes:
            kernel = copying(view, target)
            self.instructions.append(
                Instruction("copy", None, {}, (view,), (target,), node, kernel=kernel)
            )
        return target

    def finish(
        self, outputs: Sequence[Node], parameters: Sequence[Parameter], *, in_place: bool
    ) -> list[View]:
        """Write the last outputs into the state, all as if at once; where the others are."""
        n_results = len(outputs) - len(parameters)
        targets = [self.state(parameter) for parameter in parameters]
        views = self.read_before(outputs[:n_results], targets)
        moved = self.write(outputs[n_results:], targets, begin=0, in_place=in_place)
        return [moved_view(each, moved) for each in views]

    def read_before(self, nodes: Sequence[Node], targets: Sequence[View]) -> list[View]:
        """Views of nodes that stay as they are when targets are written: copies, if need be."""
        overwritten = {target.buffer for target in targets}
        views = map(self.view_of, nodes)
        return [
            self.copy(view, node) if view.buffer in overwritten else view
            for node, view in zip(nodes, views, strict=True)
        ]

    def write(
        self, nodes: Sequence[Node], targets: Sequence[View], *, begin: int, in_place: bool
    ) -> dict[Buffer, View]:
        """Write values to where they are wanted, all as if at once.

        Parameters
        ----------
        nodes : sequence of Node
        targets : sequence of View
        begin : int
            The instructions before this one stay as they are.
        in_place : bool
            Whether instructions may write there at once; else values are copied at the end.

        Returns
        -------
        dict of Buffer to View
            Buffers that instructions do without, for they write to these views at once.
        """
        values: list[View] = []
        for node, target in zip(nodes, targets, strict=True):
            view = self.view_of(node)
            if view != target and any(map(view.overlaps, targets)):
                view = self.copy(view, node)  # an old value that is asked for: save it first
            values.append(view)
        moved: dict[Buffer, View] = {}
        if in_place:
            moved = written_in_place(self.instructions, self.regions, values, targets, begin)
        for node, value, target in zip(nodes, values, targets, strict=True):
            if value != target and moved.get(value.buffer) != target:
                self.copy(value, node, into=target)
        if moved:
            self.instructions[begin:] = [
                with_moved(each, moved) for each in self.instructions[begin:]
            ]
            self.regions[:] = [
                replace(each, flag=moved_view(each.flag, moved))
                if isinstance(each, Branch) and each.begin >= begin
                else each
                for each in self.regions
            ]
        return moved


def _needed(unit: Unit) -> set[Node]:
    """The nodes whose values are read outside of their groups."""
    roots = roots_of(unit.schedule)
    needed = {roots[node] for node in unit.graph.outputs}
    for group in unit.groups:
        inside = set(group.nodes)
        for node in group.nodes:
            needed.update(roots[each] for each in node.inputs if roots[each] not in inside)
    return needed


def _looked_at(node: Node) -> tuple[Node, ...]:
    """What must have views before a node has: of a tuple, one element alone may."""
    if node.op is PROJECT and node.inputs[0].op is TUPLE:
        return (node.inputs[0].inputs[node.attrs["index"]],)
    return node.inputs if node.op.is_view or node.op in (TUPLE, PROJECT) else ()


LOWERINGS: Mapping[str, Callable[[Lowering, Node], bool]] = {
    "scan": lower_scan,
    "cond": lower_cond,
    "while_loop": lower_while,
}
"""How operators with bodies become regions of instructions; False if one is left to the host."""
