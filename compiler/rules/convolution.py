"""Convolution: padding with zeros is the convolution's own business."""

from __future__ import annotations

from typing import Any

from graphnn.compiler.pattern import Exactness, Var, op, rule
from graphnn.core.node import Node, make_node
from graphnn.ops.broadcasting import to_shape

__all__ = ["CONVOLUTION"]

x, kernel = Var("x"), Var("kernel")


@rule(Exactness.EXACT, op("conv", op("reshape", op("pad", x, 0.0)), kernel))
def conv_of_padded(x: Node, kernel: Node, node: Node) -> Node | None:
    """``conv(pad(x, 0), kernel) -> conv(x, kernel)`` that pads by itself."""
    seen = node.inputs[0]
    padded = seen.inputs[0]
    low, high, interior = (padded.attrs[each] for each in ("low", "high", "interior"))
    lead = padded.ndim - (seen.ndim - 3)
    outside: tuple[Any, ...] = (*low[:lead], *high[:lead], *interior)
    if padded.shape[lead:] != seen.shape[3:] or any(each != 0 for each in outside):
        return None
    before = low[lead:]
    if not all(isinstance(each, int) for each in before):
        return None
    sign = -1 if node.attrs["flip"] else 1
    shifted = [
        here + sign * step * more
        for here, step, more in zip(
            node.attrs["low"], node.attrs["x_dilation"], before, strict=True
        )
    ]
    bare = to_shape(x, (*seen.shape[:3], *x.shape[lead:]))
    return make_node(node.op, (bare, kernel), {**node.attrs, "low": tuple(shifted)})


CONVOLUTION = (conv_of_padded,)
