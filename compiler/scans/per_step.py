"""What is computed for all steps at once, for one step: the other way round than `vmap`.

Before: ``matmul(states, v)`` for states of shape (time, batch, features).
After: ``matmul(state, v)`` for one state of shape (batch, features).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import Size
from graphnn.core.dtypes import is_half
from graphnn.core.node import Node, make_node
from graphnn.core.spec import Spec, TensorSpec, TupleSpec
from graphnn.ops.broadcasting import BROADCAST_TO, RESHAPE, SUM
from graphnn.ops.constants import CONSTANT
from graphnn.ops.contraction import DOT_GENERAL, dot_of
from graphnn.ops.creation import IOTA
from graphnn.ops.gathering import GATHER, SCATTER_ADD
from graphnn.ops.joining import SLICE
from graphnn.ops.movement import TRANSPOSE

__all__ = ["addend_of_step", "has_steps", "value_of_step"]

Known = Callable[[Node], Node | None]
"""From what is there for all steps to that of one step, or from a constant to itself."""


class _UnknownError(Exception):
    """Something is not known for one step."""


def has_steps(node: Node, steps: Size) -> bool:
    """Whether the leading axis of a node may be that of steps."""
    return isinstance(node.spec, TensorSpec) and node.ndim > 0 and node.shape[0] == steps


def value_of_step(node: Node, steps: Size, element: Known, constant: Known) -> Node | None:
    """What a node is at one step; None if that is not known from its inputs at that step.

    Parameters
    ----------
    node : Node
        Whose leading axis is that of steps.
    steps : int or Dim
    element, constant : callable
        What an input is at one step, or for all of them; None if it is not to be had.
    """
    try:
        made = _RULES.get(node.op, _of_slices)(node, _Inputs(steps, element, constant))
    except _UnknownError:
        return None
    return made if made is not None and made.spec == _spec_of_step(node.spec) else None


def _spec_of_step(spec: Spec) -> Spec:
    """The spec of what there is at one step."""
    if isinstance(spec, TupleSpec):
        return TupleSpec(tuple(TensorSpec(each.shape[1:], each.dtype) for each in spec.elements))
    return TensorSpec(spec.shape[1:], spec.dtype)


def addend_of_step(node: Node, steps: Size, element: Known) -> Node | None:
    """What one step adds to a node that is a sum over all of them; None if it is not."""
    if is_half(node.dtype):  # sums of these are made in float32
        return None
    inputs = _Inputs(steps, element, lambda _: None)
    try:
        if node.op is SUM and 0 in node.attrs["axes"]:
            value = inputs.element(node.inputs[0])
            rest = tuple(axis - 1 for axis in node.attrs["axes"] if axis)
            return make_node(SUM, (value,), {"axes": rest}) if rest else value
        if node.op is DOT_GENERAL:
            pairs = [*zip(*node.attrs["contract"], strict=True)]
            if (0, 0) in pairs:
                pairs.remove((0, 0))
                left, right = map(inputs.element, node.inputs)
                return dot_of(left, right, _earlier(pairs), _earlier(_pairs(node, "batch")))
    except _UnknownError:
        pass
    return None


class _Inputs:
    """What a node reads, at one step."""

    def __init__(self, steps: Size, element: Known, constant: Known) -> None:
        self.steps = steps
        self._element = element
        self._constant = constant

    def element(self, node: Node) -> Node:
        """What is there for all steps, at one."""
        made = self._element(node) if has_steps(node, self.steps) else None
        if made is None:
            raise _UnknownError
        return made

    def constant(self, node: Node) -> Node:
        """What is the same for all steps."""
        made = self._constant(node)
        if made is None:
            raise _UnknownError
        return made

    def broadcast(self, node: Node, ndim: int) -> Node:
        """An operand of something that has ``ndim`` axes for all steps."""
        if node.ndim < ndim:
            return self.constant(node)
        if node.shape[0] == 1:
            return make_node(RESHAPE, (self.constant(node),), {"shape": node.shape[1:]})
        return self.element(node)


def _of_slices(node: Node, inputs: _Inputs) -> Node | None:
    """Elementwise, or by itself for every slice along the leading axis."""
    op = node.op
    if op.is_elementwise:
        listed = [inputs.broadcast(each, node.ndim) for each in node.inputs]
        return make_node(op, listed, node.attrs)
    if op.axis_attrs is None or not node.inputs:
        return None
    attrs: dict[str, Any] = dict(node.attrs)
    for name in op.axis_attrs:
        axes = attrs[name]
        listed_axes = axes if isinstance(axes, tuple) else (axes,)
        if 0 in listed_axes:
            return None
        earlier = tuple(axis - 1 for axis in listed_axes)
        attrs[name] = earlier if isinstance(axes, tuple) else earlier[0]
    return make_node(op, [inputs.element(each) for each in node.inputs], attrs)


def _of_broadcast(node: Node, inputs: _Inputs) -> Node | None:
    operand = inputs.broadcast(node.inputs[0], node.ndim)
    return make_node(BROADCAST_TO, (operand,), {"shape": node.shape[1:]})


def _of_reshape(node: Node, inputs: _Inputs) -> Node | None:
    if node.size == 0:
        return None
    return make_node(RESHAPE, (inputs.element(node.inputs[0]),), {"shape": node.shape[1:]})


def _of_transpose(node: Node, inputs: _Inputs) -> Node | None:
    first, *others = node.attrs["axes"]
    if first != 0:
        return None
    axes = tuple(axis - 1 for axis in others)
    return make_node(TRANSPOSE, (inputs.element(node.inputs[0]),), {"axes": axes})


def _of_slice(node: Node, inputs: _Inputs) -> Node | None:
    (whole,) = node.inputs
    names = ("start", "size", "step")
    if tuple(node.attrs[name][0] for name in names) != (0, inputs.steps, 1):
        return None
    attrs = {name: node.attrs[name][1:] for name in names}
    return make_node(SLICE, (inputs.element(whole),), attrs)


def _of_product(node: Node, inputs: _Inputs) -> Node | None:
    left, right = node.inputs
    contract, batch = _pairs(node, "contract"), _pairs(node, "batch")
    if batch and batch[0] == (0, 0):
        operands = inputs.element(left), inputs.element(right)
        return dot_of(*operands, _earlier(contract), _earlier(batch[1:]))
    if batch or any(axis == 0 for axis, _ in contract):
        return None
    axes = tuple(axis - 1 for axis, _ in contract), tuple(axis for _, axis in contract)
    return dot_of(inputs.element(left), inputs.constant(right), axes)


def _of_pieces(node: Node, inputs: _Inputs) -> Node | None:
    """Pieces that every step takes from, or adds to, its own part of an array."""
    n_arrays = 1 if node.op is GATHER else 2
    arrays, (first, *others) = node.inputs[:n_arrays], node.inputs[n_arrays:]
    if not others or not _is_number_of_step(first, inputs.steps):
        return None
    return make_node(node.op, [inputs.element(each) for each in (*arrays, *others)], node.attrs)


def _is_number_of_step(node: Node, steps: Size) -> bool:
    """Whether a node counts the steps along its leading axis."""
    if not has_steps(node, steps):
        return False
    base = node
    while base.op in (RESHAPE, BROADCAST_TO) and has_steps(base.inputs[0], steps):
        if base.op is BROADCAST_TO and base.inputs[0].ndim != base.ndim:
            return False
        base = base.inputs[0]
    if base.op is IOTA:
        return bool(base.attrs["axis"] == 0)
    if base.op is not CONSTANT or not isinstance(steps, int):
        return False
    value: Any = base.attrs["value"].array
    column = np.arange(steps).reshape(steps, *[1] * (base.ndim - 1))
    return bool(np.array_equal(value, np.broadcast_to(column, value.shape)))


def _pairs(node: Node, name: str) -> list[tuple[int, int]]:
    return [*zip(*node.attrs[name], strict=True)]


def _earlier(pairs: Sequence[tuple[int, int]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Pairs of axes where there is none of steps in front of them."""
    return tuple(a - 1 for a, _ in pairs), tuple(b - 1 for _, b in pairs)


_RULES: Mapping[Any, Callable[[Node, _Inputs], Node | None]] = {
    BROADCAST_TO: _of_broadcast,
    RESHAPE: _of_reshape,
    TRANSPOSE: _of_transpose,
    SLICE: _of_slice,
    DOT_GENERAL: _of_product,
    GATHER: _of_pieces,
    SCATTER_ADD: _of_pieces,
}
