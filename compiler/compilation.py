"""Compilation as users ask for it: what they give is checked, and made a program."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from graphnn.compiler.backends import BACKENDS
from graphnn.compiler.default_backend import get_backend
from graphnn.compiler.memory_size import as_nbytes
from graphnn.compiler.pipeline import LEVELS, SKIPPABLE
from graphnn.compiler.program import Program
from graphnn.compiler.unit import Options
from graphnn.core.arguments import require_known
from graphnn.core.errors import ArgumentError, DTypeError, FeedError, GraphnnError, ShapeError
from graphnn.core.graph import Graph, topological_order
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.spec import shape_text
from graphnn.core.state import Parameter
from graphnn.core.structure import flatten, unflatten
from graphnn.ops.leaves import INPUT
from graphnn.ops.streams import RNG_COUNTER

__all__ = ["compile", "evaluate"]

VERIFY_BY_DEFAULT = False
"""Whether programs are checked between passes when nothing else is said; the tests set it."""


def compile(
    inputs: Node | Sequence[Node],
    outputs: Any,
    updates: Mapping[Parameter, Node] | None = None,
    *,
    backend: str | None = None,
    optimize: str = "O2",
    value_unsafe: bool = False,
    fuel: int | None = None,
    verify: bool | None = None,
    debug: str = "",
    memory_budget: int | str | None = None,
    native: str = "now",
    skip: str | Collection[str] = (),
    launch: str = "graph",
    matmul_precision: str = "float32",
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
    backend : {"numpy", "cupy", "reference"}, optional
        Native code for the processor, CUDA kernels for a GPU, or NumPy node by node. Default:
        that of :func:`get_backend`, "numpy" if nothing else was said.
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
        and at which line of yours it was built; nothing is fused, and on a processor all is
        interpreted. "verify" compares what every instruction gives with what NumPy's kernels make
        of the same operands, and says which one is wrong; to find out whether generated code is at
        fault. On a GPU, every result is brought to the host for either of them.
    native : {"now", "background", "never"}
        When native code is built: before the first call; beside the first calls, which NumPy
        carries out until it is there; or not at all. NumPy starts at once and is slower.
    memory_budget : int or str, optional
        Most bytes of working memory (``program.arena_nbytes``), or in words: ``"64 MiB"``. Values
        are computed again instead of kept where that is needed, at the least extra cost found;
        results are the same to the last bit, but for sums over time where scans are cut into
        segments; loops that were written out in Python are not made scans. See
        ``program.memory``.
    skip : str or collection of str
        Passes to leave out, to find out what one does or whether it is at fault: ``"hoist"``.
        Those that only make programs faster may be (`graphnn.compiler.pipeline.SKIPPABLE`).
    launch : {"graph", "stream", "debug"}
        On a GPU, how a run is launched: all of it as one CUDA graph, recorded at the second call;
        kernel after kernel; or so that each is waited for, and an error names its instruction.
        Results are the same to the last bit. A program with branches is never one graph.
    matmul_precision : {"float32", "tf32", "bfloat16"}
        On a GPU, to what matrix products may round their factors in float32; sums stay in
        float32. "tf32" keeps 11 binary digits of 24, "bfloat16" 8; both are faster.

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
        If there is no such backend, level or debug mode, a pass cannot be left out, ``fuel`` is
        no number of rewrites, an output is no node, or the memory budget cannot be kept: the
        message names the smallest arena that was found.

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
    _check_fuel(fuel)
    options = Options(
        get_backend() if backend is None else backend,
        optimize,
        value_unsafe,
        fuel,
        verify,
        debug,
        native=native,
        memory_budget=budget,
        skip=_pass_names(skip),
        launch=launch,
        matmul_precision=matmul_precision,
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
        ("way to launch", options.launch, ("graph", "stream", "debug")),
        ("precision of products", options.matmul_precision, ("float32", "tf32", "bfloat16")),
    ):
        require_known(None, word, given, known)


def _pass_names(skip: Any) -> frozenset[str]:
    """Passes that can be left out, by name."""
    names = [skip] if isinstance(skip, str) else skip
    if not isinstance(names, Collection) or not all(isinstance(each, str) for each in names):
        raise ArgumentError(
            f"skip takes names of passes, not {skip!r}", hint='skip="hoist", or ("hoist", "fuse")'
        )
    for name in sorted(names):
        if name not in SKIPPABLE:
            several = [each for each in re.split(r"[\s,]+", name) if each in SKIPPABLE]
            raise ArgumentError(
                f"skip: {name!r} is no pass that can be left out",
                hint=f"several are a tuple: skip={tuple(several)!r}"
                if len(several) > 1
                else f"there are {', '.join(map(repr, SKIPPABLE))}",
            )
    return frozenset(names)


def _check_fuel(fuel: Any) -> None:
    is_whole = isinstance(fuel, int | np.integer) and not isinstance(fuel, bool)
    if fuel is not None and not (is_whole and fuel >= 0):
        raise ArgumentError(f"fuel must be a number of rewrites, 0 or more, not {fuel!r}")


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
    """Compile and run once, by NumPy unless ``backend`` says otherwise; for trying things out.

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
    options.setdefault("backend", "numpy")
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
