"""Forward mode: tangents flow from the seeds to the outputs, in one iterative sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphnn.compiler.autodiff.rules import differentiable_inputs, jvp_of_node
from graphnn.core.dtypes import is_inexact
from graphnn.core.graph import topological_order
from graphnn.core.node import Node
from graphnn.core.provenance import derived_from
from graphnn.core.spec import TensorSpec
from graphnn.ops.linear_tier import as_weak_as

__all__ = ["push_forward"]


def push_forward(
    outputs: Sequence[Node], seeds: Mapping[Node, Any], boundary: Sequence[Node] = ()
) -> list[Any]:
    """The tangents of ``outputs`` from those of some nodes; None for zero.

    Parameters
    ----------
    outputs : sequence of Node
    seeds : mapping of Node to Node
        Tangents that are given. What a seeded node itself depends on is held constant.
    boundary : sequence of Node
        The sweep does not look behind these.
    """
    tangents: dict[Node, Any] = dict(seeds)
    for node in topological_order(outputs, {*boundary, *seeds}, differentiable_inputs):
        if isinstance(node.spec, TensorSpec) and not is_inexact(node.spec.dtype):
            continue
        arriving = [tangents.get(each) for each in node.inputs]
        if all(each is None for each in arriving):
            continue
        with derived_from(node, "tangent"):
            tangent = jvp_of_node(node, arriving)
        if tangent is not None:
            tangents[node] = tangent
    return [as_weak_as(output, tangents.get(output)) for output in outputs]
