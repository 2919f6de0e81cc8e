"""The program: what compiling a graph gives, and how it is called."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from operator import itemgetter
from typing import Any

import numpy as np

from graphnn.compiler.backends import BACKENDS, Executable, emit
from graphnn.compiler.driver import Driver, PassRecord, Report
from graphnn.compiler.explanation import explain_fusion
from graphnn.compiler.memory_report import MemoryReport
from graphnn.compiler.memory_size import as_nbytes
from graphnn.compiler.pipeline import LEVELS
from graphnn.compiler.profile_report import Profile, Profiled, measure
from graphnn.compiler.source import source
from graphnn.compiler.unit import Instruction, Options, Unit
from graphnn.core.arrays import require_fit, to_numpy
from graphnn.core.dims import Dim, Size
from graphnn.core.dtypes import is_inexact, is_integer
from graphnn.core.errors import ArgumentError, DTypeError, FeedError, GraphnnError, ShapeError
from graphnn.core.graph import Graph, topological_order
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.provenance import provenance
from graphnn.core.spec import shape_text
from graphnn.core.state import Parameter
from graphnn.core.structure import flatten, unflatten
from graphnn.ops.contract import is_weak
from graphnn.ops.leaves import INPUT
from graphnn.ops.streams import RNG_COUNTER

__all__ = ["Program", "compile", "evaluate"]


VERIFY_BY_DEFAULT = False
"""Whether programs are checked between passes when nothing else is said; the tests set it."""


class Specialization:
    """A program for one binding of the named dimensions.

    Attributes
    ----------
    unit : Unit
    """

    def __init__(self, unit: Unit, driver: Driver, report: Report) -> None:
        self.unit = unit
        self._driver = driver
        self._passes = report
        self._expected = tuple((each.shape, each.dtype) for each in unit.graph.inputs)

    @property
    def executable(self) -> Executable:
        """What runs it: made when it is first needed, for a program may be only looked at."""
        return self._emitted[0]

    @property
    def report(self) -> Report:
        """What the passes did, and what it took to make the program executable."""
        return Report((*self._passes.passes, self._emitted[1]))

    @cached_property
    def _emitted(self) -> tuple[Executable, PassRecord]:
        return self._driver.timed("emit", self.unit, emit)

    def takes(self, feeds: Sequence[Any]) -> bool:
        """Whether feeds are arrays that can be run as they are: most calls of a training loop."""
        if len(feeds) != len(self._expected):
            return False
        for (shape, dtype), fed in zip(self._expected, feeds, strict=True):
            if type(fed) is not np.ndarray or fed.shape != shape or fed.dtype is not dtype:
                return False
        return True


class Program:
    """A compiled graph: call it with arrays, get arrays.

    Made by :func:`compile`. Calls from several threads take turns.

    Attributes
    ----------
    graph : Graph
        What was compiled, before any pass: results, then new values of the updated parameters.
    outputs
        The structure of nodes that results come in.
    updates : mapping of Parameter to Node
    options : Options
    """

    def __init__(
        self, graph: Graph, outputs: Any, updates: Mapping[Parameter, Node], options: Options
    ) -> None:
        self.graph = graph
        self.outputs = outputs
        self.updates = dict(updates)
        self.options = options
        self._arranged = _arrangement(outputs)
        self._names = [node.name or f"input{i}" for i, node in enumerate(graph.inputs)]
        self._specialized: dict[tuple[tuple[str, int], ...], Specialization] = {}
        self._lock = threading.RLock()
        self._latest: Specialization | None = None
        if all(node.tensor.is_known for node in graph.inputs):
            self._latest = self.specialize({})

    @property
    def inputs(self) -> tuple[Node, ...]:
        """What is fed, in order."""
        return self.graph.inputs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run once.

        Parameters
        ----------
        *args : array_like
            Feeds in the order of the inputs.
        **kwargs : array_like
            Feeds by name.

        Returns
        -------
        same structure as ``outputs``
            New NumPy arrays.

        Raises
        ------
        FeedError
            If a feed is missing, extra, or of the wrong rank, shape or dtype.
        """
        chosen = self._latest
        if chosen is not None and not kwargs and chosen.takes(args):
            with self._lock:
                results = chosen.executable.run(args)
            return self._arranged(results)
        arrays = self._take(args, kwargs)
        with self._lock:
            results = self._choose(arrays).executable.run(arrays)
        return self._arranged(results)

    def _take(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Array]:
        """What is fed, as arrays of the inputs' dtypes and ranks."""
        feeds = self._arrange(args, kwargs)
        named = zip(self._names, self.graph.inputs, feeds, strict=True)
        return [_fed(name, node, value) for name, node, value in named]

    def _choose(self, arrays: Sequence[Array]) -> Specialization:
        """The program for feeds of these sizes."""
        self._latest = self.specialize(self._bind(arrays))
        return self._latest

    def specialize(self, sizes: Mapping[str, int]) -> Specialization:
        """Compile for given sizes of the named dimensions; the second time from the cache."""
        named = {name for node in self.inputs for size in node.shape for name in _names_in(size)}
        if sizes.keys() != named:
            raise FeedError(
                f"the named dimensions are {', '.join(sorted(named)) or 'none'}, "
                f"not {', '.join(map(str, sizes)) or 'none'}",
                where="",
            )
        key = tuple(sorted(sizes.items()))
        with self._lock:
            if key not in self._specialized:
                unit = Unit(self.graph, tuple(self.updates), self.options, dict(key))
                driver = Driver(self.options.fuel)
                unit, report = driver.run(unit, LEVELS[self.options.optimize])
                self._specialized[key] = Specialization(unit, driver, report)
            return self._specialized[key]

    # ------------------------------------------------------------------- what it looks like

    @property
    def _shown(self) -> Specialization:
        if self._latest is None:
            raise ShapeError(
                "the program has named dimensions and has not been called yet",
                hint="call it, or specialize it: program.specialize({name: size, ...})",
                where="",
            )
        return self._latest

    @property
    def unit(self) -> Unit:
        """The record that all passes made, for the sizes of the latest call."""
        return self._shown.unit

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """What is executed, for the sizes of the latest call."""
        return self._shown.unit.instructions

    @property
    def report(self) -> Report:
        """What each pass did, how long it took, and each rewrite with the user's line."""
        return self._shown.report

    def explain(self, node: Node | None = None) -> str:
        """What is computed together by one instruction, and what is not and why.

        Parameters
        ----------
        node : Node, optional
            Tell only what concerns this node, and what else was built on its lines.

        Returns
        -------
        str

        Examples
        --------
        >>> import graphnn as gn
        >>> x = gn.input("x", shape=(4, 4))
        >>> y = gn.tanh(x)
        >>> print(gn.compile(x, y @ y).explain(y))  # doctest: +ELLIPSIS
           0 kernel: tanh...
        not fused:
          tanh... -> matmul..., because: the product reads it twice
        """
        return explain_fusion(self._shown.unit, node)

    def source(self, kind: str = "python") -> str:
        """What the program was compiled to, for the sizes of the latest call.

        Parameters
        ----------
        kind : {"python", "llvm", "asm"}
            "python": a module that runs, with one line for every node, in the order and in the
            groups of the instructions. Its function ``program(*feeds, states, constants)`` gives
            a list of results and one of new values; ``states`` are the arrays of
            ``program.unit.states``, and ``constants`` those of ``program.unit.constants``, of
            which the short ones are written out. "llvm": the code of every kernel, as it is
            generated. "asm": the same in assembly of this processor, as it is executed. Operators
            that the host computes have neither.

        Returns
        -------
        str

        Raises
        ------
        ArgumentError
            If there is no such kind.

        Examples
        --------
        >>> import graphnn as gn
        >>> x = gn.input("x", shape=(3,))
        >>> text = gn.compile(x, gn.tanh(x) + 1.0).source()
        >>> print(text[text.index("    # 0") :])  # doctest: +ELLIPSIS
            # 0 kernel: tanh+add...
            v1 = ops.tanh(x)
            v2 = array(1.0, dtype('float32'))
            ...
        """
        return source(self._shown.unit, kind, self._names)

    def profile(self, *args: Any, repeat: int = 20, **kwargs: Any) -> Profile:
        """Measure what every instruction takes, beside what the machine allows.

        The program really runs; parameters and other state are put back after every run, and
        are as before in the end. Nothing else may use them in the meantime.

        Parameters
        ----------
        *args, **kwargs : array_like
            Feeds, as in a call.
        repeat : int, default 20
            How many runs to take the median of.

        Returns
        -------
        Profile
            Print it, draw it with ``plot("roofline.svg")``, or take its numbers.

        Raises
        ------
        ArgumentError
            For ``backend="reference"``, which has no instructions, and for less than one run.

        Examples
        --------
        >>> import graphnn as gn
        >>> x = gn.input("x", shape=(100, 100))
        >>> f = gn.compile(x, gn.softmax(x @ x))
        >>> profile = f.profile(np.ones((100, 100), "float32"), repeat=3)
        >>> [each.label for each in profile.instructions][0]
        'matmul'
        >>> print(profile)  # doctest: +ELLIPSIS
        one call takes ...
        """
        if repeat < 1:
            raise ArgumentError(f"repeat must be at least 1, not {repeat}", where="")
        arrays = self._take(args, kwargs)
        with self._lock:
            chosen = self._choose(arrays)
            executable = chosen.executable
            if isinstance(executable, Profiled):
                return measure(chosen.unit, executable, arrays, repeat)
            raise ArgumentError(
                "the reference interpreter has no instructions to measure",
                hint='compile with backend="numpy"',
                where="",
            )

    @property
    def arena_nbytes(self) -> int:
        """Bytes of working memory: the peak, for nothing is allocated outside of it."""
        plan = self._shown.unit.plan
        return plan.nbytes if plan is not None else 0

    @property
    def memory(self) -> MemoryReport:
        """What the memory is used for, and what is computed again to save some."""
        return MemoryReport.of(self._shown.unit)

    @property
    def flops(self) -> int:
        """Floating-point operations of one call."""
        return sum(each.flops for each in self.instructions)

    @property
    def nbytes_moved(self) -> int:
        """Bytes that the instructions of one call read and write."""
        return sum(each.nbytes for each in self.instructions)

    def __str__(self) -> str:
        if self._latest is None:
            return f"{self!r}\n{self.graph}"
        unit = self._latest.unit
        lines = [repr(self)]
        lines += [f"  feed {name}: {node.spec}" for name, node in self._feeds(unit)]
        for number, each in enumerate(unit.instructions):
            lines.append(f"  {number:4} {instruction_text(each)}")
        lines += [
            f"  result {view.buffer}: {node.spec}"
            for node, view in zip(unit.graph.outputs, unit.results, strict=False)
        ]
        return "\n".join(lines)

    def _feeds(self, unit: Unit) -> list[tuple[str, Node]]:
        return list(zip(self._names, unit.graph.inputs, strict=True))

    def __repr__(self) -> str:
        inputs = ", ".join(
            f"{name}: {node.spec}" for name, node in zip(self._names, self.inputs, strict=True)
        )
        text = f"<Program ({inputs}) backend={self.options.backend!r}"
        if self._latest is not None:
            text += (
                f", {len(self.instructions)} instructions, arena {self.arena_nbytes:,} bytes, "
                f"{self.flops:,} FLOPs, {self.nbytes_moved:,} bytes moved"
            )
        return text + ">"

    # ------------------------------------------------------------------------------- feeds

    def _arrange(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """One value per input, in order."""
        if len(args) > len(self._names):
            raise FeedError(
                f"{len(self._names)} inputs, but {len(args)} feeds", where="", hint=self._hint()
            )
        given = dict(zip(self._names, args, strict=False))
        known = set(self._names) if kwargs else ()
        for name, value in kwargs.items():
            if name not in known:
                raise FeedError(f"there is no input {name!r}", where="", hint=self._hint())
            if name in given:
                raise FeedError(f"input {name!r} is fed twice", where="", hint=self._hint())
            given[name] = value
        missing = [name for name in self._names if name not in given]
        if missing:
            raise FeedError(
                f"nothing is fed to {', '.join(map(repr, missing))}", where="", hint=self._hint()
            )
        return [given[name] for name in self._names]

    def _hint(self) -> str:
        return f"call it as program({', '.join(self._names)})"

    def _bind(self, arrays: Sequence[Array]) -> dict[str, int]:
        """What the named dimensions are for these feeds."""
        sizes: dict[str, int] = {}
        bound_by: dict[str, str] = {}
        for name, node, array in zip(self._names, self.inputs, arrays, strict=True):
            for axis, (size, given) in enumerate(zip(node.shape, array.shape, strict=True)):
                if isinstance(size, Dim) and str(size) in size.names:
                    dimension = str(size)
                    if sizes.setdefault(dimension, given) != given:
                        raise FeedError(
                            f"dimension {dimension!r} is {sizes[dimension]} in "
                            f"{bound_by[dimension]} but {given} in {name!r} (axis {axis})",
                            where="",
                        )
                    bound_by.setdefault(dimension, f"{name!r}")
        for name, node, array in zip(self._names, self.inputs, arrays, strict=True):
            unbound = {n for s in node.shape if isinstance(s, Dim) for n in s.names} - sizes.keys()
            if unbound:
                raise FeedError(
                    f"{', '.join(sorted(unbound))} cannot be told from the feeds",
                    hint="let an input have that dimension by itself",
                    where="",
                )
            if node.tensor.bind(sizes).shape != array.shape:
                raise FeedError(
                    f"{name!r} must have shape {shape_text(node.shape)}, not {array.shape}",
                    where=provenance(node).where,
                )
        return sizes


def _arrangement(outputs: Any) -> Callable[[list[Array]], Any]:
    """What makes the structure of the outputs of a list of results; quick for the usual ones."""
    if isinstance(outputs, Node):
        return itemgetter(0)
    if type(outputs) in (tuple, list) and all(isinstance(each, Node) for each in outputs):
        kind: Callable[[list[Array]], Any] = type(outputs)
        return kind
    return partial(unflatten, outputs)


def _names_in(size: Size) -> frozenset[str]:
    """The named dimensions that a size depends on."""
    return size.names if isinstance(size, Dim) else frozenset()


def _fed(name: str, node: Node, value: Any) -> Array:
    """A feed as an array of the input's dtype and rank."""
    spec = node.tensor
    where = provenance(node).where
    if isinstance(value, Node):
        raise FeedError(f"{name!r} is fed a node; feed an array", where=where)
    is_python = is_weak(value) or isinstance(value, list | tuple)
    try:
        array = to_numpy(value)
        if is_python:
            require_fit(array, spec.dtype)
    except DTypeError as error:
        raise FeedError(f"{name!r}: {error.what}", hint=error.hint, where=where) from None
    if array.ndim != spec.ndim or any(
        isinstance(size, int) and size != given
        for size, given in zip(spec.shape, array.shape, strict=True)
    ):
        raise FeedError(
            f"{name!r} must have shape {shape_text(spec.shape)}, not {array.shape}", where=where
        )
    if array.dtype != spec.dtype:
        lossless = is_integer(array.dtype) and (
            np.can_cast(array.dtype, spec.dtype) if is_integer(spec.dtype) else False
        )
        widths_only = is_python and (
            is_inexact(spec.dtype) or (is_integer(spec.dtype) and not is_inexact(array.dtype))
        )
        if not (lossless or widths_only):
            raise FeedError(
                f"{name!r} must be {spec.dtype.name}, not {array.dtype.name}",
                hint=f"convert it: {name}.astype({spec.dtype.name!r})",
                where=where,
            )
        array = array.astype(spec.dtype)
    return array


def instruction_text(instruction: Instruction) -> str:
    """An instruction on one line: kind, operator, where it writes, what it reads, whose line."""
    reads = ", ".join(str(view.buffer) for view in instruction.sources)
    writes = ", ".join(str(view.buffer) for view in instruction.outputs)
    known = provenance(instruction.node)
    place = f"  # {', '.join(map(str, known.sources))}" if known.sources else ""
    return f"{instruction.kind:6} {instruction.label:14} {writes} <- {reads}{place}"


def compile(
    inputs: Node | Sequence[Node],
    outputs: Any,
    updates: Mapping[Parameter, Node] | None = None,
    *,
    backend: str = "numpy",
    optimize: str = "O2",
    value_unsafe: bool = False,
    fuel: int | None = None,
    verify: bool | None = None,
    debug: str = "",
    memory_budget: int | str | None = None,
    native: str = "now",
) -> Program:
    """Compile a graph into a program.

    Parameters
    ----------
    inputs : Node or sequence of Node
        Made by :func:`graphnn.input`; the order is that of the program's arguments.
    outputs : Node or nested list, tuple or dict of Node
        What a call gives, in this structure; None or ``()`` for a program that only updates.
    updates : mapping of Parameter to Node, optional
        New values, all computed from the old ones, then written in place.
    backend : {"numpy", "reference"}
    optimize : {"O0", "O1", "O2"}
        No rewrites; exact ones; reassociating ones too.
    value_unsafe : bool, default False
        Also rewrite what may drop NaN and infinities, such as ``x*0 -> 0``.
    fuel : int, optional
        Most rewrites to apply, to bisect a miscompile.
    verify : bool, optional
        Check the program between passes. Default: `VERIFY_BY_DEFAULT`, False but in our tests.
    debug : {"", "nan", "verify"}
        "nan" stops at the first operation whose result is NaN or infinite and says which one,
        and at which line of yours it was built; nothing is fused, and all is interpreted.
        "verify" compares what every instruction gives with what NumPy's kernels make of the same
        operands, and says which one is wrong; to find out whether native code is at fault.
    native : {"now", "background", "never"}
        When native code is built: before the first call; beside the first calls, which NumPy
        carries out until it is there; or not at all. NumPy starts at once and is slower.
    memory_budget : int or str, optional
        Most bytes of working memory (``program.arena_nbytes``), or in words: ``"64 MiB"``. Values
        are computed again instead of kept where that is needed, at the least extra cost found;
        results are the same to the last bit. See ``program.memory``.

    Returns
    -------
    Program

    Raises
    ------
    FeedError
        If inputs are missing, not inputs, given twice, or share a name.
    ShapeError, DTypeError
        If an update does not fit its parameter.
    ArgumentError
        If there is no such backend, level or debug mode, an output is no node, or the memory
        budget cannot be kept: the message names the smallest arena that was found.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("n",))
    >>> f = gn.compile(x, {"sum": gn.sum(x), "double": 2 * x})
    >>> f([1.0, 2.0])
    {'sum': array(3., dtype=float32), 'double': array([2., 4.], dtype=float32)}
    """
    listed = (inputs,) if isinstance(inputs, Node) else tuple(inputs)
    results = flatten(outputs)
    changes = dict(updates or {})
    for parameter, value in changes.items():
        _check_update(parameter, value)
    for node in results:
        if not isinstance(node, Node):
            raise ArgumentError(
                f"outputs holds {node!r}, which is no node", hint="gn.constant(...) makes one"
            )
    verify = VERIFY_BY_DEFAULT if verify is None else verify
    budget = None if memory_budget is None else as_nbytes("memory_budget", memory_budget)
    options = Options(
        backend, optimize, value_unsafe, fuel, verify, debug, native=native, memory_budget=budget
    )
    _check_options(options)
    changes.update(_advance_random(results, changes))
    graph = Graph(listed, (*results, *changes.values()))
    _check_inputs(graph)
    # The structure is copied: the user may append to a list that was given as outputs.
    return Program(graph, unflatten(outputs, results), changes, options)


def _check_options(options: Options) -> None:
    for word, given, known in (
        ("backend", options.backend, BACKENDS),
        ("level", options.optimize, LEVELS),
        ("debug mode", options.debug, ("", "nan", "verify")),
        ("way to build native code", options.native, ("now", "background", "never")),
    ):
        if given not in known:
            raise ArgumentError(
                f"no {word} {given!r}", hint=f"there are {', '.join(map(repr, known))}"
            )


def _advance_random(
    results: Sequence[Node], changes: Mapping[Parameter, Node]
) -> dict[Parameter, Node]:
    """A program that draws from the default random stream moves it on at every call."""
    if RNG_COUNTER in changes:
        return {}
    drawn = RNG_COUNTER in topological_order([*results, *changes.values()])
    return {RNG_COUNTER: RNG_COUNTER + 1} if drawn else {}


def _check_update(parameter: Any, value: Any) -> None:
    if not isinstance(parameter, Parameter) or not isinstance(value, Node):
        raise GraphnnError(
            f"updates map parameters to nodes, not {parameter!r} to {type(value).__name__}"
        )
    if value.dtype != parameter.dtype:
        raise DTypeError(
            f"the update of {parameter!r} is {value.dtype.name}", hint="cast the new value"
        )
    if value.shape != parameter.shape:
        raise ShapeError(f"the update of {parameter!r} has shape {shape_text(value.shape)}")


def _check_inputs(graph: Graph) -> None:
    names: set[str] = set()
    listed = set(graph.inputs)
    for node in graph.inputs:
        if node.op is not INPUT:
            raise FeedError(f"{node!r} is not an input", hint="make inputs with gn.input")
        name = node.name or ""
        if name in names:
            raise FeedError(
                f"the name {name!r} is used by two inputs"
                if graph.inputs.count(node) == 1
                else f"{name!r} is listed twice",
                hint="names tell feeds apart",
            )
        names.add(name)
    missing = [node for node in graph.nodes if node.op is INPUT and node not in listed]
    if missing:
        listing = ", ".join(f"{node!r} ({provenance(node).where})" for node in missing)
        raise FeedError(
            f"the outputs depend on inputs that are not listed: {listing}",
            hint="add them to inputs",
        )


def evaluate(outputs: Any, feeds: Mapping[Node, Any] | None = None, **options: Any) -> Any:
    """Compile and run once, by NumPy; for trying things out.

    Parameters
    ----------
    outputs : Node or nested structure of Node
    feeds : mapping of input Node to array_like, optional
    **options
        Those of :func:`compile`; ``native`` is "never" by default.

    Returns
    -------
    same structure as ``outputs``

    Raises
    ------
    FeedError
        If a feed is not given by its node.
    """
    options.setdefault("native", "never")
    feeds = dict(feeds or {})
    for each in feeds:
        if not isinstance(each, Node):
            raise FeedError(
                f"evaluate: a feed is given by its node, not by {each!r}",
                hint="gn.evaluate(y, {x: value}) for x = gn.input(...)",
                where="",
            )
    return compile(tuple(feeds), outputs, **options)(*feeds.values())
