"""fold_constants: compute what depends on constants alone, once.

Before: ``multiply(exp(1.0), 2.0)``.
After: ``5.43656``.

Views of constants (a broadcast zero) stay views, and nothing larger than `MOST_BYTES` is made.
Values are computed by the reference kernels, so folding is exact.
"""

from __future__ import annotations

import numpy as np

from graphnn.compiler.driver import Driver
from graphnn.compiler.passes.expand import expand_node
from graphnn.compiler.unit import Unit
from graphnn.core.graph import topological_order
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array
from graphnn.core.provenance import made_by
from graphnn.core.spec import TensorSpec
from graphnn.ops.constants import CONSTANT, constant

__all__ = ["fold", "fold_constants", "is_foldable"]

MOST_BYTES = 1 << 24
"""Largest constant that folding makes (16 MiB)."""


def fold_constants(unit: Unit, driver: Driver) -> Unit:
    """See the module."""

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        if inputs == node.inputs and not is_foldable(node):
            return node
        with made_by("fold_constants", node):
            if inputs != node.inputs:
                node = make_node(node.op, inputs, node.attrs)
            folded = fold(node)
            if folded is not None and driver.spend("fold_constants", node, folded):
                return folded
            return node

    return driver.with_graph(unit, unit.graph.map(replace))


def fold(node: Node) -> Node | None:
    """The node as a constant, if all of its inputs are constants (or it has none)."""
    if not is_foldable(node):
        return None
    primitive = expand_node(node)
    values: dict[Node, Array] = {}
    for each in topological_order([primitive]):
        if not each.op.has_kernel:
            return None
        with np.errstate(all="ignore"):
            values[each] = each.op.evaluate(*(values[i] for i in each.inputs), **each.attrs)
    return constant(values[primitive])


def is_foldable(node: Node) -> bool:
    """Whether everything a node needs is known, and its value is worth keeping."""
    if node.op.is_source or any(each.op is not CONSTANT for each in node.inputs):
        return False
    spec = node.spec
    if not isinstance(spec, TensorSpec) or not spec.is_known or spec.nbytes > MOST_BYTES:
        return False
    return not node.op.is_view or spec.size == 1
