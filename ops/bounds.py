"""Values that are checked while a program runs."""

from __future__ import annotations

from typing import Any

from graphnn.core.dtypes import is_integer
from graphnn.core.errors import ArgumentError, DTypeError, FeedError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.operands import as_node

__all__ = ["require_range"]


class RequireRangeOp(Op):
    """Integers as they are, or an error for one outside of ``[low, high)``."""

    name = "require_range"
    axis_attrs = ()
    may_raise = True

    def infer(self, x: TensorSpec, *, low: int, high: int, what: str) -> TensorSpec:
        if not is_integer(x.dtype):
            raise DTypeError(f"{what} must be integers, not {x.dtype.name}")
        return x

    def evaluate(self, x: Array, *, low: int, high: int, what: str) -> Array:
        outside = (x < low) | (x >= high)
        if outside.any():
            raise FeedError(
                f"{what} {x[outside].flat[0]} is out of range",
                where="",
                hint=f"it must be from {low} to {high - 1}",
            )
        return x


REQUIRE_RANGE = RequireRangeOp()
register(REQUIRE_RANGE)


@operation(
    reference=lambda x, low, high, what="value": x,
    samples=[
        Sample(Arg((3, 4), 0, 4, kind="int"), 0, 5),
        Sample(Arg((), -2, 2, kind="int"), -2, 3, "offset"),
        Sample(Arg((0,), 0, 1, kind="int"), 0, 1),
    ],
    rejects=[
        Reject(DTypeError, "value must be integers", Arg((3,)), 0, 5),
        Reject(ArgumentError, "no integers from 3 up to 3", Arg((3,), 0, 1, kind="int"), 3, 3),
    ],
    differentiable=False,
    corner="a value out of range is an error when the program runs",
)
def require_range(x: Any, low: int, high: int, what: str = "value") -> Node:
    """Integers unchanged, after a check at run time that all lie in ``[low, high)``.

    Parameters
    ----------
    x : array_like or Node
        Of an integer dtype.
    low, high : int
        ``high`` itself is out of range.
    what : str
        What the error calls a value.

    Returns
    -------
    Node
        Use it in place of ``x``: what nothing uses is not computed, nor checked.

    Examples
    --------
    >>> import graphnn as gn
    >>> labels = gn.input("labels", shape=("batch",), dtype="int64")
    >>> gn.require_range(labels, 0, 10, "label")
    <Node require_range (batch,) int64>
    """
    if low >= high:
        raise ArgumentError(f"require_range: there are no integers from {low} up to {high}")
    return make_node(REQUIRE_RANGE, (as_node(x),), {"low": low, "high": high, "what": what})
