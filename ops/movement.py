"""Moving elements without computing: the order of axes and of elements, axes of size one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import product
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, register
from graphnn.core.spec import TensorSpec
from graphnn.ops.axes import listed, normalize_axes, normalize_axis
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.operands import as_node

__all__ = [
    "expand_dims",
    "flatten",
    "flip",
    "moveaxis",
    "ravel",
    "squeeze",
    "swapaxes",
    "transpose",
]


class TransposeOp(LinearOp):
    """Axes in another order."""

    name = "transpose"
    autocast = "follow"
    is_view = True

    def infer(self, x: TensorSpec, *, axes: tuple[int, ...]) -> TensorSpec:
        return TensorSpec(tuple(x.shape[axis] for axis in axes), x.dtype)

    def evaluate(self, x: Array, *, axes: tuple[int, ...]) -> Array:
        return np.transpose(x, axes)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        return permute(cotangent, inverse_permutation(node.attrs["axes"]))

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Node:
        return permute(inputs[0], (0, *(axis + 1 for axis in node.attrs["axes"])))


class FlipOp(LinearOp):
    """Elements in reverse order along some axes."""

    name = "flip"
    autocast = "follow"
    axis_attrs = ("axes",)
    is_view = True

    def infer(self, x: TensorSpec, *, axes: tuple[int, ...]) -> TensorSpec:
        return x

    def evaluate(self, x: Array, *, axes: tuple[int, ...]) -> Array:
        return np.flip(x, axes)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        return make_node(self, (cotangent,), node.attrs)


TRANSPOSE, FLIP = TransposeOp(), FlipOp()
register(TRANSPOSE)
register(FLIP)


def permute(x: Node, axes: Sequence[int]) -> Node:
    """Axes in the order given, all non-negative; the node itself if nothing changes."""
    order = tuple(axes)
    return x if order == tuple(range(x.ndim)) else make_node(TRANSPOSE, (x,), {"axes": order})


def moved_to_front(x: Node, axis: int) -> Node:
    """One axis first, the others in their order."""
    return permute(x, (axis, *(each for each in range(x.ndim) if each != axis)))


def inverse_permutation(axes: Sequence[int]) -> tuple[int, ...]:
    """The order of axes that undoes another."""
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


@operation(
    reference=np.transpose,
    samples=[
        Sample(Arg((3, 4))),
        Sample(Arg((2, 3, 4)), (1, 2, 0)),
        Sample(Arg((2, 3, 4)), (-1, 0, 1)),
        Sample(Arg((2, 0)), (1, 0)),
        Sample(Arg()),
    ],
    rejects=[
        Reject(ShapeError, "every axis once", Arg((3, 4)), (0,)),
        Reject(ShapeError, "every axis once", Arg((3, 4)), (0, 0)),
        Reject(ShapeError, "every axis once", Arg((3, 4)), 1),
        Reject(ShapeError, "out of range", Arg((3, 4)), (0, 2)),
    ],
    dtypes="bifc",
)
def transpose(x: Any, axes: Any = None) -> Node:
    """Axes in another order; by default reversed.

    Parameters
    ----------
    x : array_like or Node
    axes : tuple of int, optional
        Axis ``axes[i]`` of ``x`` becomes axis ``i``.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.transpose(gn.input("x", shape=("batch", 3, 4)), (1, 0, 2)).shape
    (3, Dim(batch), 4)
    """
    x = as_node(x)
    if axes is None:
        return permute(x, range(x.ndim)[::-1])
    order = [normalize_axis("transpose", axis, x.ndim) for axis in listed(axes)]
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(
            f"transpose: axes {listed(axes)} must name every axis once; there are {x.ndim}"
        )
    return permute(x, order)


@operation(
    reference=np.swapaxes,
    samples=[Sample(Arg((2, 3, 4)), 0, -1), Sample(Arg((2, 0)), 1, 0), Sample(Arg((3,)), 0, 0)],
    rejects=[Reject(ShapeError, "out of range", Arg((3, 4)), 0, 2)],
    dtypes="bifc",
)
def swapaxes(x: Any, axis1: int, axis2: int) -> Node:
    """Two axes in each other's place."""
    x = as_node(x)
    one, two = (normalize_axis("swapaxes", axis, x.ndim) for axis in (axis1, axis2))
    order = list(range(x.ndim))
    order[one], order[two] = two, one
    return permute(x, order)


@operation(
    reference=np.moveaxis,
    samples=[
        Sample(Arg((2, 3, 4)), 0, -1),
        Sample(Arg((2, 3, 4)), (0, 1), (-1, 0)),
        Sample(Arg((2, 0)), 1, 0),
    ],
    rejects=[
        Reject(ShapeError, "out of range", Arg((3, 4)), 2, 0),
        Reject(ShapeError, "twice", Arg((3, 4)), (0, 0), (0, 1)),
        Reject(ShapeError, "1 axes move to 2 places", Arg((3, 4)), 0, (0, 1)),
    ],
    dtypes="bifc",
)
def moveaxis(x: Any, source: Any, destination: Any) -> Node:
    """Axes moved to new places; the others keep their order.

    Parameters
    ----------
    x : array_like or Node
    source, destination : int or tuple of int
        Axis ``source[i]`` becomes axis ``destination[i]``.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.moveaxis(gn.input("x", shape=(2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = as_node(x)
    from_axes, to_axes = (
        [normalize_axis("moveaxis", axis, x.ndim) for axis in listed(given)]
        for given in (source, destination)
    )
    if len(from_axes) != len(to_axes):
        raise ShapeError(f"moveaxis: {len(from_axes)} axes move to {len(to_axes)} places")
    for axes in (from_axes, to_axes):
        if len(set(axes)) != len(axes):
            raise ShapeError(f"moveaxis: an axis is given twice in {tuple(axes)}")
    order = [axis for axis in range(x.ndim) if axis not in from_axes]
    for to_axis, from_axis in sorted(zip(to_axes, from_axes, strict=True)):
        order.insert(to_axis, from_axis)
    return permute(x, order)


@operation(
    reference=np.expand_dims,
    samples=[
        Sample(Arg((3, 4)), 0),
        Sample(Arg((3, 4)), (0, -1)),
        Sample(Arg(), 0),
        Sample(Arg((0,)), 1),
    ],
    rejects=[Reject(ShapeError, "axis 4 is out of range", Arg((3, 4)), 4)],
    dtypes="bifc",
)
def expand_dims(x: Any, axis: Any) -> Node:
    """New axes of size one; ``axis`` is where they stand in the result."""
    x = as_node(x)
    ndim = x.ndim + len(listed(axis))
    new = normalize_axes("expand_dims", listed(axis), ndim)
    sizes = iter(x.shape)
    return to_shape(x, tuple(1 if axis in new else next(sizes) for axis in range(ndim)))


@operation(
    reference=np.squeeze,
    samples=[
        Sample(Arg((1, 3, 1))),
        Sample(Arg((1, 3, 1)), -1),
        Sample(Arg((1, 3, 1)), (0, 2)),
        Sample(Arg((1, 0))),
        Sample(Arg()),
    ],
    rejects=[Reject(ShapeError, "axis 1 has size 3, not 1", Arg((1, 3)), 1)],
    dtypes="bifc",
)
def squeeze(x: Any, axis: Any = None) -> Node:
    """Drop axes of size one: those given, or all (named dimensions are kept)."""
    x = as_node(x)
    if axis is None:
        dropped = tuple(axis for axis, size in enumerate(x.shape) if size == 1)
    else:
        dropped = normalize_axes("squeeze", axis, x.ndim)
    for each in dropped:
        if x.shape[each] != 1:
            raise ShapeError(f"squeeze: axis {each} has size {x.shape[each]}, not 1")
    return to_shape(x, tuple(size for axis, size in enumerate(x.shape) if axis not in dropped))


def _flattened(x: Any, start_axis: int = 0, end_axis: int = -1) -> Any:
    start, end = start_axis % max(x.ndim, 1), end_axis % max(x.ndim, 1)
    merged = int(np.prod(x.shape[start : end + 1]))
    return np.reshape(x, (*x.shape[:start], merged, *x.shape[end + 1 :]))


@operation(
    reference=_flattened,
    samples=[
        Sample(Arg((2, 3, 4))),
        Sample(Arg((2, 3, 4)), 1),
        Sample(Arg((2, 3, 4)), 0, -2),
        Sample(Arg((2, 0)), 1),
        Sample(Arg()),
    ],
    rejects=[Reject(ShapeError, "comes before", Arg((2, 3, 4)), 2, 1)],
    dtypes="bifc",
)
def flatten(x: Any, start_axis: int = 0, end_axis: int = -1) -> Node:
    """Several neighbouring axes as one, by default all; a 0-d array gets an axis of size one.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.flatten(gn.input("x", shape=("batch", 8, 8)), 1).shape
    (Dim(batch), 64)
    """
    x = as_node(x)
    if x.ndim == 0:
        return to_shape(x, (1,))
    start = normalize_axis("flatten", start_axis, x.ndim)
    end = normalize_axis("flatten", end_axis, x.ndim)
    if end < start:
        raise ShapeError(f"flatten: end axis {end} comes before start axis {start}")
    merged = product(x.shape[start : end + 1])
    return to_shape(x, (*x.shape[:start], merged, *x.shape[end + 1 :]))


@operation(reference=np.ravel, samples=[Sample(Arg((2, 3))), Sample(Arg())], dtypes="bifc")
def ravel(x: Any) -> Node:
    """All elements in row-major order along one axis."""
    return flatten(x)


@operation(
    reference=np.flip,
    samples=[
        Sample(Arg((3, 4))),
        Sample(Arg((3, 4)), 0),
        Sample(Arg((2, 3, 4)), (0, -1)),
        Sample(Arg((0, 2)), 0),
        Sample(Arg()),
    ],
    rejects=[Reject(ShapeError, "axis 2 is out of range", Arg((3, 4)), 2)],
    dtypes="bifc",
)
def flip(x: Any, axis: Any = None) -> Node:
    """Elements in reverse order along some axes, by default all."""
    x = as_node(x)
    axes = normalize_axes("flip", axis, x.ndim)
    return make_node(FLIP, (x,), {"axes": axes}) if axes else x
