"""canonicalize: drop what only differentiation needed, and write things one way.

Before: ``custom_derivative(y, x)``, ``stop_gradient(x)``, ``project(tuple(a, b), index=1)``,
``add(1.0, x)``.
After: ``y``, ``x``, ``b``, ``add(x, 1.0)``: constants of commutative operators come second, so
that rules need one pattern.
"""

from __future__ import annotations

from graphnn.compiler.driver import Driver
from graphnn.compiler.unit import Unit
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import made_by
from graphnn.ops.constants import CONSTANT
from graphnn.ops.control import CUSTOM_DERIVATIVE, PROJECT, STOP_GRADIENT, TUPLE

__all__ = ["canonicalize"]


def canonicalize(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    return driver.with_graph(unit, unit.graph.map(_canonical))


def _canonical(node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op in (CUSTOM_DERIVATIVE, STOP_GRADIENT):
        return inputs[0]
    if node.op is PROJECT and inputs[0].op is TUPLE:
        index: int = node.attrs["index"]
        return inputs[0].inputs[index]
    if node.op.is_commutative and inputs[0].op is CONSTANT and inputs[1].op is not CONSTANT:
        with made_by("canonicalize", node):
            return make_node(node.op, (inputs[1], inputs[0]), node.attrs)
    if inputs == node.inputs:
        return node
    with made_by("canonicalize", node):
        return make_node(node.op, inputs, node.attrs)
