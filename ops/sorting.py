"""Sorting, and what follows from the order of elements: the largest k, the distinct ones.

One operator finds an order, ``argsort`` (or ``top_k`` its beginning), and ``pick`` brings the
elements into it. Given the order, picking is linear: that is the whole derivative. Whoever asks
for values, indices and derivatives gets them from one order, computed once.

NaN comes after every number, as in NumPy, JAX and PyTorch; 0.0 and -0.0 are equal.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from graphnn.core.dims import Size
from graphnn.core.dtypes import FLOAT32, INT64, is_floating, is_half
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec
from graphnn.ops.arithmetic import where
from graphnn.ops.axes import as_shape, normalize_axis, whole_number
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.constants import fill_value as fill_constant
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.counting import bincount
from graphnn.ops.creation import iota
from graphnn.ops.cumulative import cumsum, shifted
from graphnn.ops.gathering import gather
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.logic import equal, greater, isnan, logical_and, logical_not, logical_or, not_equal
from graphnn.ops.movement import ravel
from graphnn.ops.operands import as_real
from graphnn.ops.searching import searchsorted

__all__ = ["argsort", "sort", "top_k", "unique"]


# ------------------------------------------------------------------------------------- the ops


class ArgsortOp(Op):
    """The indices that bring the elements along an axis into order.

    With ``stable``, elements that tie stay in their order; without, theirs is arbitrary.
    """

    name = "argsort"
    axis_attrs = ("axis",)

    def infer(self, x: TensorSpec, *, axis: int, descending: bool, stable: bool) -> TensorSpec:
        return TensorSpec(x.shape, INT64)

    def evaluate(self, x: Array, *, axis: int, descending: bool, stable: bool) -> Array:
        wide = x.astype(FLOAT32) if is_half(x.dtype) else x
        kind: Literal["stable"] | None = "stable" if stable else None
        if not descending:
            return np.argsort(wide, axis, kind)
        # Reversing an ascending order reverses ties: turned round before, they come out right.
        turned = np.argsort(np.flip(wide, axis), axis, kind)
        order: Array = x.shape[axis] - 1 - np.flip(turned, axis)
        return order


class TopKOp(Op):
    """The first ``k`` indices of a stable order, found without ordering the rest."""

    name = "top_k"
    axis_attrs = ("axis",)

    def infer(self, x: TensorSpec, *, k: int, axis: int, largest: bool) -> TensorSpec:
        size = x.shape[axis]
        if isinstance(size, int) and k > size:
            raise ShapeError(
                f"top_k: the {k} {'largest' if largest else 'smallest'} of {size} elements "
                f"along axis {axis}",
                hint=f"k can be {size} at most",
            )
        return TensorSpec((*x.shape[:axis], k, *x.shape[axis + 1 :]), INT64)

    def evaluate(self, x: Array, *, k: int, axis: int, largest: bool) -> Array:
        rows = np.moveaxis(x, axis, -1)
        if is_half(x.dtype):
            rows = rows.astype(FLOAT32)
        if k == 0:
            return np.empty((*x.shape[:axis], 0, *x.shape[axis + 1 :]), INT64)
        # Exactly k of a row are chosen, so what nonzero finds row by row has k columns.
        chosen = np.nonzero(_is_among_first(rows, k, largest))[-1].reshape(*rows.shape[:-1], k)
        values = np.take_along_axis(rows, chosen, -1)
        order = ARGSORT.evaluate(values, axis=rows.ndim - 1, descending=largest, stable=True)
        return np.moveaxis(np.take_along_axis(chosen, order, -1), -1, axis)


def _is_among_first(rows: Array, k: int, largest: bool) -> Array:
    """Which elements are the first ``k`` of their row in order; the first of those that tie."""
    last = rows.shape[-1] - k if largest else k - 1
    bound = np.partition(rows, last, axis=-1)[..., last : last + 1]
    ties = (rows == bound) | ((rows != rows) & (bound != bound))
    above = (rows > bound) | ((rows != rows) & (bound == bound))
    inside = above if largest else ~(above | ties)
    room = k - np.count_nonzero(inside, axis=-1, keepdims=True)
    return np.asarray(inside | (ties & (np.cumsum(ties, axis=-1) <= room)))


class PickOp(LinearOp):
    """Elements along an axis by indices of which none occurs twice, so that none adds up."""

    name = "pick"
    axis_attrs = ("axis",)
    linear_in = (0,)

    def infer(self, x: TensorSpec, order: TensorSpec, *, axis: int) -> TensorSpec:
        return TensorSpec(order.shape, x.dtype)

    def evaluate(self, x: Array, order: Array, *, axis: int) -> Array:
        return np.take_along_axis(x, order, axis)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        x, order = node.inputs
        return placed(cotangent, order, node.attrs["axis"], x.shape[node.attrs["axis"]])


class PlaceOp(LinearOp):
    """Zeros with values at indices along an axis, none of which occurs twice."""

    name = "place"
    axis_attrs = ("axis",)
    linear_in = (0,)

    def infer(self, values: TensorSpec, order: TensorSpec, *, axis: int, size: Size) -> TensorSpec:
        return TensorSpec((*order.shape[:axis], size, *order.shape[axis + 1 :]), values.dtype)

    def evaluate(self, values: Array, order: Array, *, axis: int, size: int) -> Array:
        out = np.zeros((*order.shape[:axis], size, *order.shape[axis + 1 :]), values.dtype)
        np.put_along_axis(out, order, values, axis)
        return out

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        return picked(cotangent, node.inputs[1], node.attrs["axis"])


ARGSORT, TOP_K, PICK, PLACE = ArgsortOp(), TopKOp(), PickOp(), PlaceOp()
for _op in (ARGSORT, TOP_K, PICK, PLACE):
    register(_op)


def picked(x: Node, order: Node, axis: int) -> Node:
    """Elements along an axis, by indices that do not repeat."""
    return make_node(PICK, (x, order), {"axis": axis})


def placed(values: Node, order: Node, axis: int, size: Size) -> Node:
    """Zeros with values along an axis of ``size``, at indices that do not repeat."""
    return make_node(PLACE, (values, order), {"axis": axis, "size": size})


# ------------------------------------------------------------------------------- what users call


def _order(
    what: str, x: Any, axis: int | None, descending: bool, stable: bool
) -> tuple[Node, Node, int]:
    """What is sorted, its order, and along which axis."""
    x = as_real(what, x)
    if axis is None:
        x, axis = ravel(x), 0
    along = normalize_axis(what, axis, x.ndim)
    attrs = {"axis": along, "descending": bool(descending), "stable": bool(stable)}
    return x, make_node(ARGSORT, (x,), attrs), along


def _ranked(row: Any, descending: bool = False) -> list[int]:
    """The stable order of a row, by Python's sort; NaN is greater than all."""
    sign = -1 if descending else 1
    return sorted(range(len(row)), key=lambda i: (sign * int(row[i] != row[i]), sign * row[i]))


def _argsort(x: Any, axis: int | None = -1, descending: bool = False, stable: bool = True) -> Any:
    x = np.ravel(x) if axis is None else np.asarray(x)
    axis = 0 if axis is None else axis
    rows = np.moveaxis(x, axis, -1)
    order = np.empty(rows.shape, np.int64)
    for place in np.ndindex(rows.shape[:-1]):
        order[place] = _ranked(rows[place].tolist(), descending)
    return np.moveaxis(order, -1, axis)


def _sort(x: Any, axis: int | None = -1, descending: bool = False, stable: bool = True) -> Any:
    ascending = np.sort(x, axis)
    return np.flip(ascending, -1 if axis is None else axis) if descending else ascending


_SORT_SAMPLES = [
    Sample(Arg((5,), distinct=True)),
    Sample(Arg((3, 4), distinct=True), 0),
    Sample(Arg((2, 3, 4), distinct=True), -2, descending=True),
    Sample(Arg((3, 4), distinct=True), None),
    Sample(Arg((2, 5), distinct=True), stable=False),
    Sample(Arg((1,))),
    Sample(Arg((0,))),
    Sample(Arg((0, 3)), 1, descending=True),
]
_SORT_REJECTS = [
    Reject(ShapeError, "axis 2 is out of range for 2 axes", Arg((3, 4)), 2),
    Reject(ShapeError, "axis -1 is out of range for 0 axes", Arg()),
]


@operation(
    reference=_sort,
    samples=_SORT_SAMPLES,
    rejects=_SORT_REJECTS,
    dtypes="bif",
    corner="NaN after every number; among ties, the derivative follows the stable order",
)
def sort(x: Any, axis: int | None = -1, descending: bool = False, stable: bool = True) -> Node:
    """The elements along an axis in ascending order.

    Parameters
    ----------
    x : array_like or Node
        Of any dtype.
    axis : int or None, default -1
        None sorts all elements, along one axis.
    descending : bool, default False
        The largest first, and NaN before it.
    stable : bool, default True
        Elements that tie keep their order, which shows in the derivative and between 0.0 and
        -0.0. False is faster, and leaves their order open.

    Returns
    -------
    Node
        Of the shape and dtype of ``x``. Its derivative is a permutation: the cotangent of every
        element goes back to where the element came from.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.sort([3.0, 1.0, 2.0]))
    array([1., 2., 3.], dtype=float32)
    """
    return picked(*_order("sort", x, axis, descending, stable))


@operation(
    reference=_argsort,
    samples=[
        *(each for each in _SORT_SAMPLES if each.kwargs.get("stable", True)),
        Sample(Arg((6,), values=(1.0, np.nan, -1.0, 1.0, np.inf, np.nan))),
        Sample(Arg((6,), values=(1.0, np.nan, -1.0, 1.0, np.inf, np.nan)), descending=True),
        Sample(Arg((4,), values=(0.0, -0.0, 0.0, -0.0)), descending=True),
        Sample(Arg((5,), distinct=True, kind="int", low=-9, high=9), stable=True),
    ],
    rejects=_SORT_REJECTS,
    dtypes="bif",
    differentiable=False,
    corner="the first of equals first, also if descending; NaN is greater than all",
)
def argsort(x: Any, axis: int | None = -1, descending: bool = False, stable: bool = True) -> Node:
    """The indices of the elements along an axis in ascending order, see :func:`sort`.

    Parameters
    ----------
    x : array_like or Node
        Of any dtype.
    axis : int or None, default -1
        None sorts all elements in row-major order.
    descending : bool, default False
        The largest first.
    stable : bool, default True
        Elements that tie keep their order. False is faster, and leaves their order open.

    Returns
    -------
    Node
        Of the shape of ``x``, int64.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.argsort([3.0, 1.0, 2.0], descending=True))
    array([0, 2, 1])
    """
    return _order("argsort", x, axis, descending, stable)[1]


def _top_k(x: Any, k: int, axis: int = -1, largest: bool = True) -> Any:
    order = np.moveaxis(np.moveaxis(_argsort(x, axis, largest), axis, 0)[:k], 0, axis)
    return np.take_along_axis(x, order, axis), order


@operation(
    reference=_top_k,
    samples=[
        Sample(Arg((6,), distinct=True), 2),
        Sample(Arg((5, 4), distinct=True), 3, 0),
        Sample(Arg((2, 5, 2), distinct=True), 2, -2, largest=False),
        Sample(Arg((2, 3), distinct=True), 3),
        Sample(Arg((2, 3)), 0),
        Sample(Arg((0, 3)), 2),
        Sample(Arg((0,)), 0),
    ],
    rejects=[
        Reject(ShapeError, "the 4 largest of 3 elements along axis 1", Arg((2, 3)), 4),
        Reject(ShapeError, "k must be an integer", Arg((3,)), 1.5),
        Reject(ShapeError, "k = -1 is negative", Arg((3,)), -1),
        Reject(ShapeError, "axis 1 is out of range", Arg((3,)), 1, 1),
    ],
    dtypes="bif",
    corner="the first of equals first; NaN is greater than all",
)
def top_k(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Node, Node]:
    """The ``k`` largest elements along an axis, the largest first, and their indices.

    Parameters
    ----------
    x : array_like or Node
        Of any dtype.
    k : int
        At most as many as there are.
    axis : int, default -1
    largest : bool, default True
        False gives the ``k`` smallest, the smallest first.

    Returns
    -------
    values : Node
        Of the shape of ``x`` with ``k`` elements along the axis.
    indices : Node
        Where along the axis they stand, int64.

    Raises
    ------
    ShapeError
        If there are fewer than ``k`` elements.

    Examples
    --------
    >>> import graphnn as gn
    >>> values, indices = gn.top_k([0.1, 0.7, 0.0, 0.2], 2)
    >>> gn.evaluate(values), gn.evaluate(indices)
    (array([0.7, 0.2], dtype=float32), array([1, 3]))
    """
    x, k = as_real("top_k", x), whole_number("top_k", "k", k)
    if k < 0:
        raise ShapeError(f"top_k: k = {k} is negative")
    along = normalize_axis("top_k", axis, x.ndim)
    indices = make_node(TOP_K, (x,), {"k": k, "axis": along, "largest": bool(largest)})
    return picked(x, indices, along), indices


def _unique(
    x: Any,
    size: int,
    fill_value: Any = None,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
) -> Any:
    found = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    values, index, inverse, counts = found
    absent = max(0, size - len(values))
    values = np.append(values, np.repeat(values[:1] if fill_value is None else fill_value, absent))
    index = np.append(index, np.repeat(index[:1], absent))
    counts = np.append(counts, np.repeat(0, absent))
    flags = (True, return_index, return_inverse, return_counts)
    all_four = (
        values[:size].astype(np.asarray(x).dtype),
        index[:size],
        inverse.reshape(np.shape(x)),
        counts[:size],
    )
    wanted = [each for each, is_wanted in zip(all_four, flags, strict=True) if is_wanted]
    return wanted if len(wanted) > 1 else wanted[0]


_EVERYTHING = {"return_index": True, "return_inverse": True, "return_counts": True}


@operation(
    reference=_unique,
    samples=[
        Sample(Arg((6,), distinct=True), 6),
        Sample(Arg((2, 3), distinct=True), 8, 1, **_EVERYTHING),
        Sample(Arg((4,), distinct=True), 3, **_EVERYTHING),
        Sample(Arg((8,), -2, 2, kind="int"), 6, return_counts=True),
        Sample(Arg((8,), -2, 2, kind="int"), 3, -9, **_EVERYTHING),
        Sample(Arg((), 1, 2), 2, return_inverse=True),
        Sample(Arg((2,), distinct=True), 0),
    ],
    rejects=[
        Reject(ShapeError, "size -1 is negative", Arg((3,)), -1),
        Reject(ShapeError, "unique of no elements", Arg((0, 3)), 2),
        Reject(DTypeError, "0.5 is no int64", Arg((3,), kind="int"), 2, 0.5),
    ],
    dtypes="bif",
    corner="the derivative goes to the first of equals; all NaN count as one value, the last",
)
def unique(
    x: Any,
    size: Any,
    fill_value: float | None = None,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
) -> Any:
    """The distinct elements in ascending order, in an array of a size that is fixed beforehand.

    Parameters
    ----------
    x : array_like or Node
        Of any dtype and shape; at least one element.
    size : size
        Length of the result. If there are more distinct elements, the largest are left out; how
        many there are is ``gn.max(inverse) + 1``.
    fill_value : number, optional
        Stands at the end where there are fewer. Default: the smallest element.
    return_index, return_inverse, return_counts : bool, default False
        Which of the results below are wanted beside the values.

    Returns
    -------
    values : Node
        ``(size,)``, of the dtype of ``x``.
    index : Node
        ``(size,)``: where in ``gn.ravel(x)`` each value occurs first; where there are too few
        values, that of the smallest. int64, as the following.
    inverse : Node
        Of the shape of ``x``: which of the values each element is.
    counts : Node
        ``(size,)``: how often each value occurs; 0 where there are too few.

    Raises
    ------
    ShapeError
        If ``x`` has no elements, or the size is negative.
    DTypeError
        If the dtype of ``x`` cannot hold the fill value.

    Examples
    --------
    >>> import graphnn as gn
    >>> values, counts = gn.unique([3, 1, 3, 2], size=5, fill_value=-1, return_counts=True)
    >>> gn.evaluate(values), gn.evaluate(counts)
    (array([ 1,  2,  3, -1, -1]), array([1, 1, 2, 0, 0]))
    """
    x = as_real("unique", x)
    (length,) = as_shape("unique", size)
    if x.size == 0:
        raise ShapeError("unique of no elements", hint="concatenate a value to find then")
    flat, order, _ = _order("unique", x, None, descending=False, stable=True)
    # In order, equal elements are neighbours: a running count of the first ones numbers them.
    number = cumsum(_is_first_of_equals(picked(flat, order, 0)), 0) - 1
    counts = bincount(number, length=length)
    first = searchsorted(number, iota((length,)))
    is_found = greater(counts, 0)
    index = gather(order, where(is_found, first, 0))
    values = gather(flat, index)
    if fill_value is not None:
        values = where(is_found, values, fill_constant("unique", fill_value, x.dtype))
    inverse = to_shape(placed(number, order, 0, flat.shape[0]), x.shape)
    optional = ((index, return_index), (inverse, return_inverse), (counts, return_counts))
    results = (values, *(each for each, is_wanted in optional if is_wanted))
    return results if len(results) > 1 else values


def _is_first_of_equals(ordered: Node) -> Node:
    """Where a value occurs first among ordered ones; NaN, which stand last, are one value."""
    before = shifted(ordered, 1, 0)
    differs = not_equal(ordered, before)
    if is_floating(ordered.dtype):
        differs = logical_and(differs, logical_not(isnan(before)))
    return logical_or(differs, equal(iota(ordered.shape), 0))
