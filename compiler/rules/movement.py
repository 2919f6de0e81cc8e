"""Moves of elements that undo each other, change nothing, or need not be made.

Broadcasts and transposes need not where the operator above does the same by itself.
"""

from __future__ import annotations

import numpy as np

from graphnn.compiler.pattern import Elementwise, Exactness, Rule, Var, for_complex, op, rule
from graphnn.compiler.rules.algebra import exact_for_integers
from graphnn.compiler.rules.choices import DIGITS
from graphnn.core.dims import product
from graphnn.core.dtypes import DType, is_bool, real_dtype
from graphnn.core.node import Node, make_node
from graphnn.ops.arithmetic import multiply
from graphnn.ops.broadcasting import BROADCAST_TO, SUM, broadcast_to, to_shape
from graphnn.ops.constants import constant
from graphnn.ops.contraction import AxisPairs, dot_of, free_axes
from graphnn.ops.joining import slice_
from graphnn.ops.movement import FLIP, permute

__all__ = ["MOVEMENT"]

EXACT, REASSOCIATING = Exactness.EXACT, Exactness.REASSOCIATING
x, y = Var("x"), Var("y")


# ------------------------------------------------------------------------------ nothing changes


@rule(EXACT, op("transpose", x))
def identity_transpose(x: Node, node: Node) -> Node | None:
    """``transpose(x, (0, 1)) -> x``."""
    return x if node.attrs["axes"] == tuple(range(x.ndim)) else None


@rule(EXACT, op("reshape", x), op("broadcast_to", x))
def identity_shape(x: Node, node: Node) -> Node | None:
    """``reshape(x, x.shape) -> x``, ``broadcast_to(x, x.shape) -> x``."""
    return x if x.shape == node.shape else None


@rule(EXACT, op("slice", x))
def identity_slice(x: Node, node: Node) -> Node | None:
    """``x[:] -> x``: as many elements as there are can only be all of them."""
    return x if x.shape == node.shape else None


@rule(EXACT, op("pad", x, y))
def identity_pad(x: Node, y: Node, node: Node) -> Node | None:
    """``pad(x, 0) -> x``."""
    widths = (size for name in ("low", "high", "interior") for size in node.attrs[name])
    return x if all(size == 0 for size in widths) else None


@rule(EXACT, op("concatenate", x))
def concatenate_one(x: Node) -> Node:
    """``concatenate([x]) -> x``."""
    return x


# -------------------------------------------------------------------------- one after the other


@rule(EXACT, op("transpose", op("transpose", x)))
def transpose_of_transpose(x: Node, node: Node) -> Node:
    """``transpose(transpose(x, p), q) -> transpose(x, p[q])``."""
    inner = node.inputs[0].attrs["axes"]
    return permute(x, [inner[axis] for axis in node.attrs["axes"]])


@rule(EXACT, op("reshape", op("reshape", x)))
def reshape_of_reshape(x: Node, node: Node) -> Node:
    """``reshape(reshape(x, s), t) -> reshape(x, t)``."""
    return to_shape(x, node.shape)


@rule(EXACT, op("broadcast_to", op("broadcast_to", x)))
def broadcast_of_broadcast(x: Node, node: Node) -> Node:
    """``broadcast_to(broadcast_to(x, s), t) -> broadcast_to(x, t)``."""
    return broadcast_to(x, node.shape)


@rule(EXACT, op("flip", op("flip", x)))
def flip_of_flip(x: Node, node: Node) -> Node:
    """``flip(flip(x, (0, 1)), 1) -> flip(x, 0)``."""
    axes = tuple(sorted(set(node.attrs["axes"]) ^ set(node.inputs[0].attrs["axes"])))
    return make_node(FLIP, (x,), {"axes": axes}) if axes else x


@rule(EXACT, op("slice", op("slice", x)))
def slice_of_slice(x: Node, node: Node) -> Node:
    """``x[2:][1:] -> x[3:]``, steps multiplied."""
    inner, outer = node.inputs[0].attrs, node.attrs
    start = [
        first + second * step
        for first, second, step in zip(inner["start"], outer["start"], inner["step"], strict=True)
    ]
    step = [one * two for one, two in zip(inner["step"], outer["step"], strict=True)]
    return slice_(x, start, outer["size"], step)


@rule(
    EXACT, *(op(name, op("broadcast_to", x)) for name in ("transpose", "reshape", "slice", "flip"))
)
def move_of_number(x: Node, node: Node) -> Node | None:
    """``transpose(broadcast_to(number, s)) -> broadcast_to(number, t)``, and other moves."""
    return broadcast_to(x, node.shape) if x.ndim == 0 else None


# ----------------------------------------------------------------- what the operator does itself


@rule(EXACT, Elementwise(op("broadcast_to", Var("_"))))
def elementwise_of_broadcast(node: Node, **_: Node) -> Node:
    """``x + broadcast_to(y, s) -> x + y``, ``exp(broadcast_to(x, s)) -> broadcast_to(exp(x), s)``.

    Elementwise operators broadcast by themselves; what the others do not imply comes after.
    """
    inputs = [each.inputs[0] if each.op is BROADCAST_TO else each for each in node.inputs]
    return make_node(node.op, inputs, node.attrs)


@rule(EXACT, op("dot_general", op("transpose", x), y))
def dot_of_transpose_left(x: Node, y: Node, node: Node) -> Node | None:
    """``dot_general(transpose(x), y) -> dot_general(x, y)``, its axes numbered as in ``x``."""
    renumbered = _renumbered(node, 0)
    return None if renumbered is None else dot_of(x, y, *renumbered)


@rule(EXACT, op("dot_general", x, op("transpose", y)))
def dot_of_transpose_right(x: Node, y: Node, node: Node) -> Node | None:
    """``dot_general(x, transpose(y)) -> dot_general(x, y)``, its axes numbered as in ``y``."""
    renumbered = _renumbered(node, 1)
    return None if renumbered is None else dot_of(x, y, *renumbered)


def _renumbered(node: Node, side: int) -> tuple[AxisPairs, AxisPairs] | None:
    """Contracted and batch axes when one operand loses its transpose.

    None if the axes that are left over would come in another order.
    """
    contract, batch = node.attrs["contract"], node.attrs["batch"]
    operand = node.inputs[side]
    axes = operand.attrs["axes"]
    free = [axes[each] for each in free_axes(operand.ndim, contract[side], batch[side])]
    if free != sorted(free):
        return None

    def renumber(pairs: AxisPairs) -> AxisPairs:
        changed = tuple(axes[each] for each in pairs[side])
        return (changed, pairs[1]) if side == 0 else (pairs[0], changed)

    return renumber(contract), renumber(batch)


# ----------------------------------------------------------------------------------------- sums


@rule(REASSOCIATING, op("sum", op("sum", x)))
def sum_of_sum(x: Node, node: Node) -> Node:
    """``sum(sum(x, 0), 0) -> sum(x, (0, 1))``."""
    inner = node.inputs[0].attrs["axes"]
    kept = [axis for axis in range(x.ndim) if axis not in inner]
    axes = tuple(sorted((*inner, *(kept[axis] for axis in node.attrs["axes"]))))
    return make_node(SUM, (x,), {"axes": axes})


@rule(REASSOCIATING, op("sum", x))
def sum_of_one(x: Node, node: Node) -> Node | None:
    """``sum(x, axis) -> reshape(x)`` for axes of size one; but the sum of -0.0 alone is 0.0."""
    axes = node.attrs["axes"]
    kept = [axis for axis in range(x.ndim) if axis not in axes or x.shape[axis] != 1]
    if axes and len(kept) == x.ndim:
        return None
    flat = to_shape(x, tuple(x.shape[axis] for axis in kept))
    left = tuple(place for place, axis in enumerate(kept) if axis in axes)
    return make_node(SUM, (flat,), {"axes": left}) if left else flat


@rule(REASSOCIATING, op("sum", op("broadcast_to", x)))
def sum_of_broadcast(x: Node, node: Node) -> Node | None:
    """``sum(broadcast_to(x, (n, m)), 0) -> x * n``."""
    axes, shape = node.attrs["axes"], node.inputs[0].shape
    offset = len(shape) - x.ndim
    repeated = [axis for axis in axes if axis < offset or x.shape[axis - offset] != shape[axis]]
    count = product(shape[axis] for axis in repeated)
    if not repeated or not isinstance(count, int) or not 0 < count <= _most_exact(x.dtype):
        return None
    summed = tuple(axis - offset for axis in axes if axis not in repeated)
    total = make_node(SUM, (x,), {"axes": summed}) if summed else x
    kept = tuple(size for axis, size in enumerate(x.shape, offset) if axis not in axes)
    return multiply(to_shape(total, kept), constant(count, x.dtype))


def _most_exact(dtype: DType) -> int:
    """The largest number up to which every integer is a value of the dtype; 0 for bools."""
    if is_bool(dtype):
        return 0
    dtype = real_dtype(dtype)
    return 2 ** DIGITS[dtype] if dtype in DIGITS else int(np.iinfo(dtype).max)


_EXACT: tuple[Rule, ...] = (
    identity_transpose,
    identity_shape,
    identity_slice,
    identity_pad,
    concatenate_one,
    transpose_of_transpose,
    reshape_of_reshape,
    broadcast_of_broadcast,
    flip_of_flip,
    slice_of_slice,
    move_of_number,
    elementwise_of_broadcast,
    dot_of_transpose_left,
    dot_of_transpose_right,
)
_EXACT_FOR_INTEGERS = (sum_of_sum, sum_of_one, sum_of_broadcast)

MOVEMENT = (
    *map(for_complex, (*_EXACT, *_EXACT_FOR_INTEGERS)),
    *map(exact_for_integers, _EXACT_FOR_INTEGERS),
)
