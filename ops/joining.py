"""Cutting arrays and joining them: slice, pad, concatenate, and what is built from these.

``slice`` and ``pad`` are each other's transpose, and so are ``concatenate`` and ``split``: the
gradients of all parts are written side by side at once, where slices would each be padded to the
whole and added. All sizes in attributes may be named dimensions.
"""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import Shape, Size, as_size, exact_quotient
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, TupleSpec, shape_text
from graphnn.ops.arithmetic import where
from graphnn.ops.axes import normalize_axis
from graphnn.ops.broadcasting import behind_examples, broadcast_to, sum, to_shape
from graphnn.ops.constants import CONSTANT, constant, zeros_like
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.control import TUPLE, project
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.movement import expand_dims
from graphnn.ops.operands import as_node, operands

__all__ = ["concatenate", "split", "stack", "unstack"]


class SliceOp(LinearOp):
    """Along every axis ``size`` elements, every ``step``-th from ``start``; steps exceed 0.

    Nothing is clamped: what lies outside the array is an error.
    """

    name = "slice"
    autocast = "follow"
    is_view = True

    def infer(
        self, x: TensorSpec, *, start: Shape, size: Shape, step: tuple[int, ...]
    ) -> TensorSpec:
        for axis, have in enumerate(x.shape):
            first, count, stride = start[axis], size[axis], step[axis]
            last = first + (count - 1) * stride
            negative = any(isinstance(each, int) and each < 0 for each in (first, count))
            beyond = isinstance(last, int) and isinstance(have, int) and last >= have
            if negative or (beyond and count != 0):
                raise ShapeError(
                    f"slice: elements {first} to {last} are out of range "
                    f"for axis {axis} of size {have}",
                    hint="slices of named dimensions are not clamped: feed more elements",
                )
        return TensorSpec(size, x.dtype)

    def evaluate(self, x: Array, *, start: Any, size: Any, step: Any) -> Array:
        ends = [
            first + max(0, (count - 1) * stride + 1)
            for first, count, stride in zip(start, size, step, strict=True)
        ]
        return x[tuple(map(slice, start, ends, step))]

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        start, size, step = (node.attrs[name] for name in ("start", "size", "step"))
        high = [
            have - first - (count - 1) * stride - 1
            for have, first, count, stride in zip(
                node.inputs[0].shape, start, size, step, strict=True
            )
        ]
        return pad_with(cotangent, start, high, [stride - 1 for stride in step])

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Node:
        (x,) = inputs
        start, size, step = (node.attrs[name] for name in ("start", "size", "step"))
        return slice_(x, (0, *start), (x.shape[0], *size), (1, *step))


class PadOp(LinearOp):
    """A value around (``low``, ``high``) and between (``interior``) the elements of every axis.

    The second input is the value, 0-d. The size of an axis is
    ``low + (size - 1) * (interior + 1) + 1 + high``, also if it is empty, so that it is a
    polynomial in named dimensions.
    """

    name = "pad"
    autocast = "follow"

    def infer(
        self, x: TensorSpec, value: TensorSpec, *, low: Shape, high: Shape, interior: Shape
    ) -> TensorSpec:
        if value.shape != ():
            raise ShapeError(f"pad: the value must be 0-d, not {shape_text(value.shape)}")
        if value.dtype != x.dtype:
            raise DTypeError(f"pad: the value is {value.dtype.name}, the array {x.dtype.name}")
        sizes = []
        for size, before, after, gap in zip(x.shape, low, high, interior, strict=True):
            if any(isinstance(each, int) and each < 0 for each in (before, after, gap)):
                raise ShapeError(
                    f"pad: a negative number of elements in {before}, {after}, {gap}",
                    hint="slice the array to make it smaller",
                )
            sizes.append(before + (size - 1) * (gap + 1) + 1 + after)
        return TensorSpec(tuple(sizes), x.dtype)

    def evaluate(self, x: Array, value: Array, *, low: Any, high: Any, interior: Any) -> Array:
        spec = self.infer(
            TensorSpec(x.shape, x.dtype),
            TensorSpec(value.shape, value.dtype),
            low=low,
            high=high,
            interior=interior,
        )
        out = np.empty(spec.shape, x.dtype)
        self.evaluate_into(out, x, value, low=low, high=high, interior=interior)
        return out

    def evaluate_into(
        self, out: Array, x: Array, value: Array, *, low: Any, high: Any, interior: Any
    ) -> None:
        out[...] = value
        inside = SLICE.evaluate(out, start=low, size=x.shape, step=[gap + 1 for gap in interior])
        inside[...] = x

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node | None:
        x, value = node.inputs
        if index == 0:
            steps = [gap + 1 for gap in node.attrs["interior"]]
            return slice_(cotangent, node.attrs["low"], x.shape, steps)
        if value.op is CONSTANT:
            return None
        return sum(where(self._is_padding(node), cotangent, 0.0))

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Node:
        (x, value), attrs = inputs, node.attrs
        if mapped[0]:
            attrs = {name: (0, *widths) for name, widths in node.attrs.items()}
        if not mapped[1]:
            return make_node(self, (x, value), attrs)
        padded = make_node(self, (x, zeros_like(node.inputs[1])), attrs)
        return where(self._is_padding(node), behind_examples(value, node.ndim), padded)

    def _is_padding(self, node: Node) -> Node:
        inside = broadcast_to(constant(False), node.inputs[0].shape)
        return make_node(self, (inside, constant(True)), node.attrs)


class ConcatenateOp(LinearOp):
    """Arrays one after the other along an axis."""

    name = "concatenate"
    autocast = "follow"
    axis_attrs = ("axis",)

    def infer(self, *inputs: TensorSpec, axis: int) -> TensorSpec:
        first = inputs[0]
        total: Size = 0
        for spec in inputs:
            if spec.dtype != first.dtype:
                raise DTypeError(f"concatenate: {first.dtype.name} and {spec.dtype.name} differ")
            others = spec.shape[:axis] + spec.shape[axis + 1 :]
            if others != first.shape[:axis] + first.shape[axis + 1 :]:
                raise ShapeError(
                    f"concatenate: shapes {shape_text(first.shape)} and {shape_text(spec.shape)} "
                    f"differ outside axis {axis}",
                    hint="all axes but the one that is joined must agree",
                )
            total = total + spec.shape[axis]
        return TensorSpec((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype)

    def evaluate(self, *arrays: Array, axis: int) -> Array:
        return np.concatenate(arrays, axis)

    def evaluate_into(self, out: Array, *arrays: Array, axis: int) -> None:
        np.concatenate(arrays, axis, out=out)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node]:
        axis = node.attrs["axis"]
        return split(cotangent, [each.shape[axis] for each in node.inputs], axis)


class SplitOp(Op):
    """Consecutive parts along an axis, together; a composite of slices, so views."""

    name = "split"
    autocast = "follow"
    axis_attrs = ("axis",)
    is_view = True

    def infer(self, x: TensorSpec, *, axis: int, sizes: Shape) -> TupleSpec:
        if builtins.sum(sizes) != x.shape[axis]:
            raise ShapeError(
                f"split: sizes {shape_text(sizes)} add up to {builtins.sum(sizes)}, "
                f"axis {axis} has size {x.shape[axis]}"
            )
        before, after = x.shape[:axis], x.shape[axis + 1 :]
        return TupleSpec(tuple(TensorSpec((*before, size, *after), x.dtype) for size in sizes))

    def expand(self, x: Node, *, axis: int, sizes: Shape) -> Node:
        starts = itertools.accumulate(sizes[:-1], initial=0)
        parts = [slice_axis(x, axis, *each) for each in zip(starts, sizes, strict=True)]
        return make_node(TUPLE, parts)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Sequence[Node | None]:
        (tangent,) = tangents
        if tangent is None:
            return [None] * len(node.attrs["sizes"])
        return _projections(make_node(self, (tangent,), node.attrs))

    def vjp(self, node: Node, cotangent: Sequence[Node | None]) -> Sequence[Node | None]:
        if all(part is None for part in cotangent):
            return [None]
        parts = [
            zeros_like(part) if given is None else given
            for part, given in zip(_projections(node), cotangent, strict=True)
        ]
        return [make_node(CONCATENATE, parts, {"axis": node.attrs["axis"]})]


def _projections(node: Node) -> list[Node]:
    """All results of a node that has several."""
    assert isinstance(node.spec, TupleSpec)
    return [project(node, index) for index in range(len(node.spec.elements))]


SLICE, PAD, CONCATENATE, SPLIT = SliceOp(), PadOp(), ConcatenateOp(), SplitOp()
for _op in (SLICE, PAD, CONCATENATE, SPLIT):
    register(_op)


def slice_(x: Node, start: Sequence[Size], size: Sequence[Size], step: Sequence[int]) -> Node:
    """Along every axis ``size`` elements, every ``step``-th from ``start``; a view.

    The node itself if that is everything. Nothing is clamped.
    """
    if tuple(size) == x.shape and all(first == 0 for first in start):
        return x
    attrs = {"start": tuple(start), "size": tuple(size), "step": tuple(step)}
    return make_node(SLICE, (x,), attrs)


def slice_axis(x: Node, axis: int, start: Size, size: Size, step: int = 1) -> Node:
    """:func:`slice_` along one axis alone."""
    starts: list[Size] = [0] * x.ndim
    sizes, steps = list(x.shape), [1] * x.ndim
    starts[axis], sizes[axis], steps[axis] = start, size, step
    return slice_(x, starts, sizes, steps)


def pad_with(
    x: Node,
    low: Sequence[Size],
    high: Sequence[Size],
    interior: Sequence[Size] | None = None,
    value: Any = 0,
) -> Node:
    """A value around and between the elements of every axis; see `PadOp`.

    The node itself if nothing is added.
    """
    gaps = tuple(interior) if interior is not None else (0,) * x.ndim
    if all(each == 0 for each in (*low, *high, *gaps)):
        return x
    fill = value if isinstance(value, Node) else constant(value, x.dtype)
    attrs = {"low": tuple(low), "high": tuple(high), "interior": gaps}
    return make_node(PAD, (x, fill), attrs)


def _joined(what: str, arrays: Any) -> list[Node]:
    if isinstance(arrays, Node) or not isinstance(arrays, tuple | list) or not arrays:
        raise ShapeError(f"{what}: a list of at least one array is needed, not {arrays!r}")
    return operands(what, arrays, "bifc")


@operation(
    reference=np.concatenate,
    samples=[
        Sample([Arg((2, 3)), Arg((4, 3))]),
        Sample([Arg((2, 3)), Arg((2, 1)), Arg((2, 0))], -1),
        Sample([Arg((3,))]),
    ],
    rejects=[
        Reject(ShapeError, "differ outside axis 0", [Arg((2, 3)), Arg((2, 4))]),
        Reject(ShapeError, "at least one array", []),
        Reject(ShapeError, "0-d", [Arg(), Arg()]),
        Reject(ShapeError, "2 and 1 axes", [Arg((2, 3)), Arg((3,))]),
    ],
    dtypes="bifc",
)
def concatenate(arrays: Sequence[Any], axis: int = 0) -> Node:
    """Arrays one after the other along an axis.

    Parameters
    ----------
    arrays : sequence of array_like or Node
        Of one shape, but for the axis.
    axis : int, default 0

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> x, h = gn.input("x", shape=("batch", 3)), gn.input("h", shape=("batch", 5))
    >>> gn.concatenate([x, h], axis=-1).shape
    (Dim(batch), 8)
    """
    nodes = _joined("concatenate", arrays)
    ndim = nodes[0].ndim
    if ndim == 0:
        raise ShapeError("concatenate: 0-d arrays have no axis to join", hint="use gn.stack")
    for node in nodes:
        if node.ndim != ndim:
            raise ShapeError(f"concatenate: arrays of {ndim} and {node.ndim} axes")
    normalized = normalize_axis("concatenate", axis, ndim)
    return nodes[0] if len(nodes) == 1 else make_node(CONCATENATE, nodes, {"axis": normalized})


@operation(
    reference=np.stack,
    samples=[
        Sample([Arg((2, 3)), Arg((2, 3))]),
        Sample([Arg((2, 3)), Arg((2, 3))], -1),
        Sample([Arg(), Arg(), Arg()]),
        Sample([Arg((0,)), Arg((0,))], 1),
    ],
    rejects=[
        Reject(ShapeError, "(2, 3) and (2, 4)", [Arg((2, 3)), Arg((2, 4))]),
        Reject(ShapeError, "out of range", [Arg((2,)), Arg((2,))], 2),
    ],
    dtypes="bifc",
)
def stack(arrays: Sequence[Any], axis: int = 0) -> Node:
    """Arrays of one shape side by side along a new axis.

    Parameters
    ----------
    arrays : sequence of array_like or Node
    axis : int, default 0
        Where the new axis stands in the result.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> steps = [gn.input(f"x{t}", shape=("batch", 3)) for t in range(5)]
    >>> gn.stack(steps, axis=1).shape
    (Dim(batch), 5, 3)
    """
    nodes = _joined("stack", arrays)
    for node in nodes:
        if node.shape != nodes[0].shape:
            raise ShapeError(
                f"stack: shapes {shape_text(nodes[0].shape)} and {shape_text(node.shape)} differ"
            )
    new = normalize_axis("stack", axis, nodes[0].ndim + 1)
    return concatenate([expand_dims(node, new) for node in nodes], new)


def _split(x: Any, sizes_or_count: Any, axis: int = 0) -> Any:
    if isinstance(sizes_or_count, int):
        return np.split(x, sizes_or_count, axis)
    return np.split(x, np.cumsum(sizes_or_count)[:-1], axis)


@operation(
    reference=_split,
    samples=[
        Sample(Arg((6, 2)), 3),
        Sample(Arg((2, 6)), (1, 0, 5), axis=-1),
        Sample(Arg((4,)), 1),
    ],
    rejects=[
        Reject(ShapeError, "does not divide into 4 equal parts", Arg((6, 2)), 4),
        Reject(ShapeError, "sizes (1, 2) add up to 3, axis 0 has size 6", Arg((6, 2)), (1, 2)),
        Reject(ShapeError, "at least one part", Arg((6, 2)), 0),
        Reject(ShapeError, "negative", Arg((6, 2)), (7, -1)),
    ],
    dtypes="bifc",
)
def split(x: Any, sizes_or_count: Any, axis: int = 0) -> list[Node]:
    """Consecutive parts along an axis.

    Parameters
    ----------
    x : array_like or Node
    sizes_or_count : int or sequence of sizes
        Number of equal parts, or the size of every part.
    axis : int, default 0

    Returns
    -------
    list of Node

    Raises
    ------
    ShapeError
        If the parts do not make up the whole.

    Examples
    --------
    >>> import graphnn as gn
    >>> gates = gn.input("gates", shape=("batch", 4 * 32))
    >>> i, f, g, o = gn.split(gates, 4, axis=-1)
    >>> i.shape
    (Dim(batch), 32)
    """
    x = as_node(x)
    axis = normalize_axis("split", axis, x.ndim)
    sizes = _part_sizes(x.shape[axis], sizes_or_count, axis)
    if sizes == (x.shape[axis],):
        return [x]
    return _projections(make_node(SPLIT, (x,), {"axis": axis, "sizes": sizes}))


def _part_sizes(total: Size, sizes_or_count: Any, axis: int) -> Shape:
    if isinstance(sizes_or_count, tuple | list | np.ndarray):
        sizes = tuple(as_size(size) for size in sizes_or_count)
        if not sizes or any(isinstance(size, int) and size < 0 for size in sizes):
            raise ShapeError(f"split: a size is missing or negative in {shape_text(sizes)}")
        return sizes
    count = as_size(sizes_or_count)
    if not isinstance(count, int) or count < 1:
        raise ShapeError(f"split: at least one part is needed, not {count}")
    part = exact_quotient(total, count)
    if part is None:
        raise ShapeError(
            f"split: size {total} of axis {axis} does not divide into {count} equal parts",
            hint="give the size of every part instead",
        )
    return (part,) * count


@operation(
    reference=lambda x, axis=0: list(np.moveaxis(x, axis, 0)),
    samples=[Sample(Arg((3, 4))), Sample(Arg((2, 3)), -1), Sample(Arg((1,)))],
    rejects=[
        Reject(ShapeError, "0-d", Arg()),
        Reject(ShapeError, "at least one part", Arg((0, 2))),
    ],
    dtypes="bifc",
)
def unstack(x: Any, axis: int = 0) -> list[Node]:
    """The pieces of an array along an axis, which they no longer have: the inverse of `stack`.

    To walk over the time steps of a sequence, this is better than ``x[t]`` for every ``t``: the
    gradient is then written step by step, not added up from as many whole arrays.

    Parameters
    ----------
    x : array_like or Node
    axis : int, default 0
        Its size must be known.

    Returns
    -------
    list of Node

    Examples
    --------
    >>> import graphnn as gn
    >>> steps = gn.unstack(gn.input("x", shape=(20, "batch", 3)))
    >>> len(steps), steps[0].shape
    (20, (Dim(batch), 3))
    """
    x = as_node(x)
    if x.ndim == 0:
        raise ShapeError("unstack: a 0-d array has no axis")
    axis = normalize_axis("unstack", axis, x.ndim)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    return [to_shape(part, shape) for part in split(x, int(x.shape[axis]), axis)]
