"""One call of a module, looked at from outside: its graph, and what every layer gave."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphnn.core.arrays import to_numpy
from graphnn.core.dtypes import as_dtype
from graphnn.core.errors import ArgumentError, GraphnnError
from graphnn.core.graph import Graph, as_graph
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec
from graphnn.core.structure import flatten, leaf_paths, map_leaves, unflatten
from graphnn.nn.module import Module, noting_calls
from graphnn.ops.axes import as_shape
from graphnn.ops.leaves import input_like
from graphnn.tracing import bind, is_array

__all__ = ["Call", "call_of"]


@dataclass(frozen=True)
class Call:
    """What a module builds for some inputs.

    Attributes
    ----------
    graph : Graph
    given : tuple of Node
        What it was called with.
    results : tuple of (Module, tuple of Node)
        What each call of a module gave: its own, and those of modules within that it called, in
        the order in which they were done.
    """

    graph: Graph
    given: tuple[Node, ...]
    results: tuple[tuple[Module, tuple[Node, ...]], ...]


def call_of(module: Module, inputs: Any) -> Call:
    """Call a module with inputs of these specs; nothing runs.

    Parameters
    ----------
    module : Module
    inputs : spec, or tuple, list or dict of specs
        What ``forward`` takes: by position in a tuple or list, by name in a dict. A spec is a
        :class:`TensorSpec`, a shape of float32 numbers such as ``("batch", 64)``, an array, or a
        node, which is used as it is. Other values are handed on.

    Raises
    ------
    ArgumentError
        If `inputs` do not fit what ``forward`` takes.
    """
    what = type(module).__name__
    args, kwargs = _arguments(inputs)
    signature = inspect.signature(module.forward)
    try:
        given = bind(module.forward, signature, args, kwargs)
    except TypeError as error:
        raise ArgumentError(
            f"{what} cannot be called with these inputs: {error}",
            hint=f"forward takes {signature}; give a tuple of specs, or a dict by name",
        ) from None
    leaves = _as_specs(given)
    filled = unflatten(leaves, _symbols(leaves))
    bound = inspect.BoundArguments(signature, filled)
    with noting_calls() as calls:
        try:
            module(*bound.args, **bound.kwargs)
        except GraphnnError as error:
            specs = ", ".join(f"{each}: {value}" for each, value in leaves.items())
            error.add_note(f"  while {what} was called with {specs}")
            raise
    found = tuple((called, _nodes(result)) for called, result in calls)
    outputs = found[-1][1]
    if not outputs:
        raise ArgumentError(f"{what} gives no nodes, so there is nothing to show")
    return Call(as_graph(outputs), _nodes(filled), found)


def _nodes(result: Any) -> tuple[Node, ...]:
    return tuple(dict.fromkeys(leaf for leaf in flatten(result) if isinstance(leaf, Node)))


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Positional and named arguments."""
    if isinstance(inputs, dict) and all(isinstance(name, str) for name in inputs):
        return (), inputs
    if isinstance(inputs, tuple | list) and not _is_shape(inputs):
        return tuple(inputs), {}
    return (inputs,), {}


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(s, int | str) for s in value)


def _as_specs(value: Any) -> Any:
    """The same structure with a spec in place of each shape and array."""
    if _is_shape(value):
        return TensorSpec(as_shape("inputs", value))
    if type(value) is dict:
        return {name: _as_specs(each) for name, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_as_specs, value))
    return map_leaves(_as_spec, value)


def _as_spec(leaf: Any) -> Any:
    if isinstance(leaf, TensorSpec):
        return TensorSpec(as_shape("inputs", leaf.shape), as_dtype(leaf.dtype), leaf.weak)
    if is_array(leaf):
        array = to_numpy(leaf)
        return TensorSpec(array.shape, as_dtype(array.dtype))
    return leaf


def _symbols(leaves: Any) -> list[Any]:
    return [
        input_like(path, leaf) if isinstance(leaf, TensorSpec) else leaf
        for path, leaf in zip(leaf_paths(leaves), flatten(leaves), strict=True)
    ]
