"""Reverse mode: cotangents flow from the outputs back to what they depend on.

One sweep over the graph in reverse topological order, iterative, linear in its size.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from graphnn.compiler.autodiff.rules import differentiable_inputs, vjp_of_node
from graphnn.core.dtypes import is_inexact
from graphnn.core.graph import topological_order
from graphnn.core.node import Node
from graphnn.core.provenance import derived_from
from graphnn.core.spec import TensorSpec
from graphnn.ops.control import PROJECT
from graphnn.ops.linear_tier import as_weak_as, sum_tangents

__all__ = ["pull_back"]


def pull_back(
    outputs: Sequence[Node],
    cotangents: Sequence[Any],
    wrt: Sequence[Node],
    boundary: Container[Node] = (),
) -> list[Any]:
    """The cotangents of ``wrt`` from those of ``outputs``; None where nothing arrives.

    Parameters
    ----------
    outputs : sequence of Node
    cotangents : sequence of Node or None
        One per output, of its shape and dtype (a list for a tuple of results).
    wrt : sequence of Node
        Leaves, or any nodes between.
    boundary : container of Node
        The sweep does not look behind these.
    """
    wanted = set(wrt)
    order = _deep_first(outputs, boundary)
    active = _depending_on(wanted, order)
    pending = _Pending()
    for output, cotangent in zip(outputs, cotangents, strict=True):
        pending.add(output, cotangent)
    found: dict[Node, Any] = {}
    for node in reversed(order):
        if node not in active:
            pending.drop(node)
            continue
        cotangent = pending.take(node)
        if cotangent is None:
            continue
        if node in wanted:
            found[node] = cotangent
        sources = [each for each in differentiable_inputs(node) if each in active]
        if not sources:
            continue
        with derived_from(node, "backward"):
            if node.op is PROJECT:
                pending.add_element(node.inputs[0], node.attrs["index"], cotangent)
                continue
            for each, contribution in zip(node.inputs, vjp_of_node(node, cotangent), strict=True):
                if each in active and contribution is not None:
                    pending.add(each, contribution)
    for node in wanted - found.keys():
        # Wanted nodes on the boundary are not in the order, but contributions reach them.
        with derived_from(node, "backward"):
            found[node] = pending.take(node)
    return [as_weak_as(node, found[node]) for node in wrt]


def _deep_first(outputs: Sequence[Node], boundary: Container[Node]) -> list[Node]:
    """A topological order in which what is shallow comes late, next to what reads it.

    Contributions are summed in the reverse of it. For the weight of an input ``x[t] @ w`` they
    arrive from the last step to the first, as the sweep through the states makes them, and so
    each can be added at once; in plain depth-first order the sum would begin with the last one
    to be known, and all would have to be kept.
    """
    depth: dict[Node, int] = {}
    for node in topological_order(outputs, boundary, differentiable_inputs):
        depth[node] = 1 + max((depth.get(each, 0) for each in node.inputs), default=0)

    def deepest_first(node: Node) -> Sequence[Node]:
        inputs = differentiable_inputs(node)
        if len(inputs) < 2:
            return inputs
        return sorted(inputs, key=lambda each: -depth.get(each, 0))

    return topological_order(outputs, boundary, deepest_first)


def _depending_on(wanted: set[Node], order: Sequence[Node]) -> set[Node]:
    """The nodes through which a derivative with respect to ``wanted`` flows."""
    active = {node for node in wanted if _may_flow(node)}
    for node in order:
        if _may_flow(node) and any(each in active for each in differentiable_inputs(node)):
            active.add(node)
    return active


def _may_flow(node: Node) -> bool:
    return not isinstance(node.spec, TensorSpec) or is_inexact(node.spec.dtype)


class _Pending:
    """Contributions that have arrived at each node and are not summed yet."""

    def __init__(self) -> None:
        self._parts: dict[Node, list[Any]] = {}

    def add(self, node: Node, contribution: Any) -> None:
        """Another contribution to a node's cotangent."""
        if contribution is None:
            return
        if isinstance(node.spec, TensorSpec):
            self._parts.setdefault(node, []).append(contribution)
        else:
            for index, part in enumerate(contribution):
                self.add_element(node, index, part)

    def add_element(self, node: Node, index: int, contribution: Node | None) -> None:
        """Another contribution to one of a node's several results."""
        if contribution is None or isinstance(node.spec, TensorSpec):
            return
        if node not in self._parts:  # not setdefault: a split may have thousands of results
            self._parts[node] = [[] for _ in node.spec.elements]
        self._parts[node][index].append(contribution)

    def take(self, node: Node) -> Any:
        """The sum of all contributions to a node; None if there were none."""
        parts = self._parts.pop(node, None)
        if parts is None:
            return None
        if isinstance(node.spec, TensorSpec) and len(parts) == 1:
            return parts[0]
        with derived_from(node, "backward"):
            if isinstance(node.spec, TensorSpec):
                return sum_tangents(parts)
            return [sum_tangents(each) for each in parts]

    def drop(self, node: Node) -> None:
        """Forget what arrived at a node."""
        self._parts.pop(node, None)
