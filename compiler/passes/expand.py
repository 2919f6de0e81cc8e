"""expand: replace composite operators by what they are made of.

Before: ``softplus(x)``.
After: ``add(maximum(x, 0.0), log1p(exp(negative(abs(x)))))``.

Rules that recognise composites by name have run; from here on every node has a kernel.
"""

from __future__ import annotations

from graphnn.compiler.driver import Driver
from graphnn.compiler.unit import Unit
from graphnn.core.graph import rebuild, topological_order, with_inputs
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import carry, made_by
from graphnn.core.spec import Spec, TensorSpec
from graphnn.ops.control import PROJECT, TUPLE, project
from graphnn.ops.operands import cast_to, widened

__all__ = ["expand", "expand_node"]


def expand(unit: Unit, driver: Driver) -> Unit:
    """See the module."""

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is PROJECT and inputs[0].op is TUPLE:
            return project(inputs[0], node.attrs["index"])
        if inputs == node.inputs and is_primitive(node):
            return node
        with made_by("expand", node):
            if inputs != node.inputs:
                node = make_node(node.op, inputs, node.attrs)
            return expand_node(node)

    return driver.with_graph(unit, unit.graph.map(replace))


def is_primitive(node: Node) -> bool:
    """Whether a node is computed as it is."""
    return node.op.is_source or node.op.has_kernel


def expand_node(node: Node) -> Node:
    """The node in terms of primitives; itself if it is one.

    Composites are built from simpler ones, so the depth here is that of definitions, not of
    the graph.
    """
    if is_primitive(node):
        return node
    inputs = node.inputs if node.op.is_view else tuple(map(_widened, node.inputs))
    body = node.op.expand(*inputs, **node.attrs)
    if body is None:
        return node
    body = _stored(body, node.spec)
    expanded = {each: each for each in node.inputs}
    order = topological_order([body], boundary=expanded)
    expanded = rebuild(order, lambda each, inputs: expand_node(with_inputs(each, inputs)), expanded)
    carry(node, expanded[body])
    return expanded[body]


def _stored(body: Node, spec: Spec) -> Node:
    """A result, or several, in the dtypes that the composite has."""
    if isinstance(spec, TensorSpec):
        return cast_to(body, spec.dtype)
    parts = (cast_to(project(body, index), each.dtype) for index, each in enumerate(spec.elements))
    return make_node(TUPLE, tuple(parts))


def _widened(node: Node) -> Node:
    """A half float in float32, so that a composite is rounded once, as a primitive is."""
    return widened(node) if isinstance(node.spec, TensorSpec) else node
