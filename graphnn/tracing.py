"""Tracing: a Python function of arrays, called with symbols in their place, gives a graph.

:func:`trace` is for users; the rest is what :mod:`graphnn.functions` is built of.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphnn.core.arrays import to_numpy
from graphnn.core.dims import Dim
from graphnn.core.dtypes import (
    COMPLEX64,
    COMPLEX128,
    FLOAT32,
    FLOAT64,
    INT64,
    as_dtype,
    is_complex,
    is_inexact,
)
from graphnn.core.errors import ArgumentError, GraphnnError
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec
from graphnn.core.structure import flatten, leaf_paths, unflatten
from graphnn.ops.axes import as_shape
from graphnn.ops.leaves import input_like
from graphnn.ops.operands import as_node, cast_to
from graphnn.ops.streams import outside_of_loops

__all__ = [
    "TracedGraph",
    "bind",
    "is_array",
    "is_tracing",
    "name_of",
    "signature_of",
    "specs_of",
    "trace",
    "trace_call",
]


@dataclass(frozen=True, repr=False)
class TracedGraph(Graph):
    """The graph of a function, with the structure of its arguments and results.

    Attributes
    ----------
    arguments : dict
        For every argument, by the parameter's name, what the function was called with: its
        structure, with inputs of the graph in place of arrays.
    results
        What the function returned: its structure, of outputs of the graph.
    """

    arguments: Mapping[str, Any] = field(compare=False)
    results: Any = field(compare=False)


def trace(f: Callable[..., Any], /, *specs: Any, **named_specs: Any) -> TracedGraph:
    """The graph of a function.

    ``f`` is called once, with an input node in place of every array. Its inputs are named after
    the parameters: ``x``, and ``params.w`` for ``params["w"]``.

    Parameters
    ----------
    f : callable
        A function of nodes: of anything that :func:`graphnn.function` takes.
    *specs, **named_specs
        What to call it with: for every array a :class:`TensorSpec`, whose shape may hold names of
        dimensions, or an array or node of the same shape and dtype; in dicts, lists, tuples,
        NamedTuples and dataclasses as ``f`` expects them. Python's int and float stand for
        numbers that are fed; strings, bools and None are handed on as they are.

    Returns
    -------
    TracedGraph
        A :class:`Graph` that also knows the structure of arguments and results:
        ``gn.compile(graph.inputs, graph.results)`` makes a program of it.

    Raises
    ------
    ArgumentError
        If an argument or a result is nothing that an array can stand for.
    SymbolicError
        If the function asks for a value, for example with ``if x > 0:``.

    Examples
    --------
    >>> import graphnn as gn
    >>> def affine(x, params):
    ...     return {"y": x @ params["w"] + params["b"]}
    >>> params = {"w": gn.TensorSpec((3, 2)), "b": gn.TensorSpec((2,))}
    >>> graph = gn.trace(affine, gn.TensorSpec(("batch", 3)), params)
    >>> print(graph)
    graph(x: f32[batch, 3], params.w: f32[3, 2], params.b: f32[2]) {
      %1: f32[batch, 2] = matmul(x, params.w)
      %2: f32[batch, 2] = add(%1, params.b)
      return %2
    }
    >>> graph.results
    {'y': <Node add (batch, 2) float32>}
    """
    if not callable(f):
        raise ArgumentError(
            f"trace: a function is traced, not {type(f).__name__}",
            hint="gn.matrix_trace(x) is the trace of a matrix",
        )
    # A gn.function knows which of its arguments are static.
    static = frozenset(getattr(f, "static_argnames", ()))
    signature = signature_of(f)
    arguments = bind(f, signature, specs, named_specs)
    traced = {name: value for name, value in arguments.items() if name not in static}
    return trace_call(f, signature, {**arguments, **specs_of(traced)}, static)


_tracing: ContextVar[bool] = ContextVar("tracing", default=False)


def is_tracing() -> bool:
    """Whether a function is being traced: then everything that is called builds nodes."""
    return _tracing.get()


def trace_call(
    f: Callable[..., Any],
    signature: inspect.Signature,
    arguments: Mapping[str, Any],
    static: Collection[str],
) -> TracedGraph:
    """The graph of one call.

    Parameters
    ----------
    f : callable
    signature : inspect.Signature
        That of ``f``.
    arguments : mapping of str to anything
        By parameter; with specs in place of arrays, see `specs_of`.
    static : collection of str
        Parameters that are handed on as they are.
    """
    specs = {name: value for name, value in arguments.items() if name not in static}
    names = _unique(leaf_paths(specs))
    symbols = [
        input_like(name, spec) if isinstance(spec, TensorSpec) else spec
        for name, spec in zip(names, flatten(specs), strict=True)
    ]
    inputs = tuple(each for each in symbols if isinstance(each, Node))
    given = {**arguments, **unflatten(specs, symbols)}
    bound = inspect.BoundArguments(signature, given)
    token = _tracing.set(True)
    try:
        with outside_of_loops():
            results = _as_results(f, f(*bound.args, **bound.kwargs))
    except Exception as error:
        listing = ", ".join(f"{each.name}: {each.spec}" for each in inputs)
        error.add_note(f"  while {name_of(f)}({listing}) was traced")
        raise
    finally:
        _tracing.reset(token)
    return TracedGraph(inputs, tuple(flatten(results)), given, results)


def _unique(names: Iterable[str]) -> list[str]:
    """The names, with a number where ``{"a.b": ..., "a": {"b": ...}}`` would give one twice."""
    taken: dict[str, None] = {}
    for name in names:
        number, free = 1, name
        while free in taken:
            number += 1
            free = f"{name}#{number}"
        taken[free] = None
    return list(taken)


# ------------------------------------------------------------------------------------ arguments


def name_of(f: Callable[..., Any]) -> str:
    """What a callable is called in messages."""
    name: str = getattr(f, "__name__", type(f).__name__)
    return name


def signature_of(f: Callable[..., Any]) -> inspect.Signature:
    """The parameters of a callable; ``*args, **kwargs`` if Python does not know them."""
    try:
        return inspect.signature(f)
    except ValueError:
        return inspect.signature(lambda *args, **kwargs: None)


def bind(
    f: Callable[..., Any], signature: inspect.Signature, args: Any, kwargs: Any
) -> dict[str, Any]:
    """The arguments of a call by parameter; defaults are left to the function."""
    try:
        return dict(signature.bind(*args, **kwargs).arguments)
    except TypeError as error:
        raise TypeError(f"{name_of(f)}(): {error}") from None


def is_array(value: Any) -> bool:
    """Whether a value is an array or a scalar of an array library."""
    protocols = ("__array__", "__dlpack__", "__cuda_array_interface__")
    return not isinstance(value, Node) and any(hasattr(value, name) for name in protocols)


def specs_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with a spec in place of each array and number; the rest as it is.

    Raises
    ------
    ArgumentError, DTypeError, FeedError
        Naming the argument that is nothing an array can stand for.
    """
    found: list[Any] = []
    for leaf in flatten(arguments):
        try:
            found.append(_spec_of(leaf))
        except GraphnnError as error:
            path = list(leaf_paths(arguments))[len(found)]
            raise type(error)(f"argument {path}: {error.what}", hint=error.hint) from None
    specs: dict[str, Any] = unflatten(arguments, found)
    return specs


def _spec_of(value: Any) -> Any:
    """The spec of what may be fed; a string or bool itself."""
    if isinstance(value, np.ndarray):  # most of them
        return TensorSpec(value.shape, as_dtype(value.dtype))
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):  # np.float64 is a Python float, here as everywhere
        return TensorSpec((), INT64 if isinstance(value, int) else FLOAT64, weak=True)
    if isinstance(value, complex):
        return TensorSpec((), COMPLEX128, weak=True)
    if isinstance(value, TensorSpec):
        return TensorSpec(as_shape("a spec", value.shape), as_dtype(value.dtype), value.weak)
    if isinstance(value, Node):
        return value.tensor
    if not is_array(value):
        raise ArgumentError(
            f"a {type(value).__name__} is neither a number nor an array",
            hint="name it in static_argnames, and the function gets it as it is",
        )
    array = to_numpy(value)
    return TensorSpec(array.shape, array.dtype)


# -------------------------------------------------------------------------------------- results


def _as_results(f: Callable[..., Any], value: Any) -> Any:
    """What a function returned, of nodes: numbers and arrays become constants."""
    found: list[Node] = []
    for leaf in flatten(value):
        if not isinstance(leaf, Node | bool | int | float | complex) and not is_array(leaf):
            path = list(leaf_paths(value))[len(found)]
            place = f" as result {path}" if path else ""
            what = f"{leaf!r}" if isinstance(leaf, str | Dim) else f"a {type(leaf).__name__}"
            raise ArgumentError(
                f"{name_of(f)} returns {what}{place}, which is no array",
                hint="gn.size_of(dim) makes a node of a size"
                if isinstance(leaf, Dim)
                else "return nodes, arrays and numbers, in dicts, lists, tuples or dataclasses",
            )
        node = as_node(leaf)
        if node.spec.weak and is_inexact(node.dtype) and node.shape != ():
            # What Python's numbers become where they must be arrays.
            node = cast_to(node, COMPLEX64 if is_complex(node.dtype) else FLOAT32)
        found.append(node)
    return unflatten(value, found)
