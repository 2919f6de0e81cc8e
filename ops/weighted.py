"""Reductions whose derivative is a weighted sum: the product, extremes, logsumexp, the variance."""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.core.node import Node
from graphnn.core.op import Op
from graphnn.ops.arithmetic import multiply, where
from graphnn.ops.broadcasting import spread, sum
from graphnn.ops.logic import equal
from graphnn.ops.operands import cast_to, widened

__all__ = ["WeightedReduction", "gated"]


def gated(weights: Node, value: Node) -> Node:
    """Weights times a value, but 0 where the weight is, also where the value is inf or NaN."""
    return where(equal(weights, 0.0), 0.0, multiply(weights, widened(value)))


class WeightedReduction(Op):
    """A reduction over the attribute ``axes``; a subclass gives ``weights``.

    Its tangent is the weighted sum of tangents, its transpose the spread cotangent, weighted.
    """

    axis_attrs = ("axes",)

    def weights(self, node: Node) -> Node:
        """The derivative of the result by every element of the input, in a wide float."""
        raise NotImplementedError(self.name)

    def weigh(self, weights: Node, value: Node) -> Node:
        """Weights times a tangent or cotangent, in a wide float."""
        return multiply(weights, widened(value))

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        """The weighted sum of tangents."""
        (tangent,) = tangents
        if tangent is None:
            return None
        change = sum(self.weigh(self.weights(node), tangent), node.attrs["axes"])
        return cast_to(change, node.dtype)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        """The cotangent, spread and weighted."""
        (x,) = node.inputs
        arriving = spread(cotangent, node.attrs["axes"], x.shape)
        return [cast_to(self.weigh(self.weights(node), arriving), x.dtype)]
