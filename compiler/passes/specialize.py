"""specialize: replace named dimensions by the sizes they are bound to.

Before: ``x: f32[batch, 64]``, ``reshape(x, shape=(64*batch,))``.
After (batch=32): ``x: f32[32, 64]``, ``reshape(x, shape=(2048,))``.

Every spec is inferred again, so a size that does not fit is found here, at its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from graphnn.compiler.driver import Driver
from graphnn.compiler.unit import Unit
from graphnn.core.dims import Dim
from graphnn.core.errors import ShapeError
from graphnn.core.graph import Graph
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import made_by, provenance
from graphnn.core.spec import TensorSpec

__all__ = ["specialize"]


def specialize(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    if not unit.sizes:
        return unit

    return driver.with_graph(unit, unit.graph.map(partial(_specialized, unit.sizes)))


def _specialized(sizes: Mapping[str, int], node: Node, inputs: tuple[Node, ...]) -> Node:
    attrs = {name: _bind(value, sizes, node) for name, value in node.attrs.items()}
    if all(attrs[name] is node.attrs[name] for name in attrs):
        if inputs == node.inputs:
            return node
        attrs = dict(node.attrs)
    with made_by("specialize", node):
        return make_node(node.op, inputs, attrs)


def _bind(value: Any, sizes: Mapping[str, int], node: Node) -> Any:
    """The attribute with every size bound; the same object if there was none."""
    if isinstance(value, Dim):
        number = value.bind(sizes)
        if number < 0:
            raise ShapeError(
                f"the size {value} is {number} for "
                + ", ".join(f"{name}={size}" for name, size in sizes.items()),
                where=provenance(node).where,
                hint="feed something larger",
            )
        return number
    if isinstance(value, tuple):
        bound = tuple(_bind(each, sizes, node) for each in value)
        return value if all(a is b for a, b in zip(bound, value, strict=True)) else bound
    if isinstance(value, TensorSpec):
        return value if value.is_known else value.bind(sizes)
    if isinstance(value, Graph):
        return value.map(partial(_specialized, sizes))
    return value
