"""Arrays from nothing: constants of any shape, counters, and grids of numbers."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import Dim, Shape, Size
from graphnn.core.dtypes import FLOAT32, INT64, DType, DTypeLike, as_dtype, is_bool
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, broadcast_shapes
from graphnn.ops.arithmetic import cast
from graphnn.ops.axes import as_shape, normalize_axis, whole_number
from graphnn.ops.broadcasting import broadcast_to
from graphnn.ops.constants import constant
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.logic import equal
from graphnn.ops.operands import as_node, is_number, operands

__all__ = [
    "arange",
    "eye",
    "full",
    "full_like",
    "iota",
    "linspace",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]


class IotaOp(Op):
    """The position along one axis, at every element."""

    name = "iota"

    def infer(self, *, shape: Shape, axis: int, dtype: DType) -> TensorSpec:
        return TensorSpec(shape, dtype)

    def evaluate(self, *, shape: Any, axis: int, dtype: DType) -> Array:
        column = (shape[axis],) + (1,) * (len(shape) - axis - 1)
        counted: Array = np.arange(shape[axis]).astype(dtype).reshape(column)
        return np.array(np.broadcast_to(counted, shape))

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> None:
        return None

    def vjp(self, node: Node, cotangent: Node) -> Sequence[None]:
        return ()


IOTA = IotaOp()
register(IOTA)


def _iota(shape: Any, axis: int = 0, dtype: Any = "int64") -> Array:
    return np.asarray(np.indices(shape)[axis], dtype)


@operation(
    reference=_iota,
    samples=[Sample((2, 3), 0), Sample((2, 3), -1), Sample((2, 0), 0), Sample((4,), 0, "float32")],
    rejects=[
        Reject(ShapeError, "axis 2 is out of range", (2, 3), 2),
        Reject(DTypeError, "counts in numbers", (2, 3), 0, "bool"),
    ],
    differentiable=False,
)
def iota(shape: Any, axis: int = 0, dtype: DTypeLike = INT64) -> Node:
    """The position along one axis at every element: 0, 1, 2 and so on.

    Parameters
    ----------
    shape : tuple of sizes
        May hold named dimensions.
    axis : int, default 0
    dtype : optional
        Default int64.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.iota(("batch", 3), axis=1)
    <Node iota (batch, 3) int64>
    """
    sizes = as_shape("iota", shape)
    normalized = normalize_axis("iota", axis, len(sizes))
    if is_bool(as_dtype(dtype)):
        raise DTypeError("iota counts in numbers, not in bool")
    return make_node(IOTA, (), {"shape": sizes, "axis": normalized, "dtype": as_dtype(dtype)})


@operation(
    reference=lambda shape, fill_value, dtype=None: np.full(shape, fill_value, dtype),
    samples=[
        Sample((2, 3), 7.0),
        Sample((), 1.5),
        Sample((0, 2), 1.0),
        Sample(3, 2),
        Sample((2, 3), Arg((3,))),
    ],
    rejects=[
        Reject(ShapeError, "size -1 is negative", (2, -1), 0.0),
        Reject(ShapeError, "do not broadcast", (2, 3), Arg((2,))),
    ],
    dtypes="fc",
)
def full(shape: Any, fill_value: Any, dtype: DTypeLike | None = None) -> Node:
    """An array of one value.

    Parameters
    ----------
    shape : tuple of sizes
        May hold named dimensions.
    fill_value : array_like or Node
        Broadcast to the shape.
    dtype : optional
        Default: that of the value; float32 for Python floats, int64 for ints.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.full(("batch", 3), 0.5)
    <Node broadcast_to (batch, 3) float32>
    """
    sizes = as_shape("full", shape)
    value = as_node(fill_value, dtype)
    return broadcast_to(value if dtype is None else cast(value, dtype), sizes)


@operation(
    reference=np.zeros,
    samples=[Sample((2, 3)), Sample(()), Sample((0, 2)), Sample(4, "int64")],
    rejects=[Reject(ShapeError, "size -1 is negative", (2, -1))],
    differentiable=False,
)
def zeros(shape: Any, dtype: DTypeLike = FLOAT32) -> Node:
    """An array of zeros; the shape may hold named dimensions."""
    return broadcast_to(constant(0, dtype), as_shape("zeros", shape))


@operation(
    reference=np.ones,
    samples=[Sample((2, 3)), Sample(()), Sample((0, 2)), Sample(4, "int64")],
    rejects=[Reject(ShapeError, "size -1 is negative", (2, -1))],
    differentiable=False,
)
def ones(shape: Any, dtype: DTypeLike = FLOAT32) -> Node:
    """An array of ones; the shape may hold named dimensions."""
    return broadcast_to(constant(1, dtype), as_shape("ones", shape))


_LIKE = (Sample(Arg((2, 3))), Sample(Arg()), Sample(Arg((0, 2))), Sample(Arg((2,)), "int64"))


@operation(reference=np.zeros_like, samples=_LIKE, dtypes="bifc", differentiable=False)
def zeros_like(x: Any, dtype: DTypeLike | None = None) -> Node:
    """Zeros of the shape, and by default the dtype, of another array."""
    x = as_node(x)
    return zeros(x.shape, x.dtype if dtype is None else dtype)


@operation(reference=np.ones_like, samples=_LIKE, dtypes="bifc", differentiable=False)
def ones_like(x: Any, dtype: DTypeLike | None = None) -> Node:
    """Ones of the shape, and by default the dtype, of another array."""
    x = as_node(x)
    return ones(x.shape, x.dtype if dtype is None else dtype)


@operation(
    reference=np.full_like,
    samples=[Sample(Arg((2, 3)), 0.5), Sample(Arg(), 2.0), Sample(Arg((2, 3)), Arg((3,)))],
    dtypes="fc",
    differentiable=False,
)
def full_like(x: Any, fill_value: Any, dtype: DTypeLike | None = None) -> Node:
    """One value in the shape, and by default the dtype, of another array."""
    x = as_node(x)
    return full(x.shape, fill_value, x.dtype if dtype is None else dtype)


@operation(
    reference=np.eye,
    samples=[Sample(3), Sample(2, 4, 1), Sample(3, 3, -1), Sample(0), Sample(2, 2, 0, "bool")],
    rejects=[
        Reject(ShapeError, "size -1 is negative", -1),
        Reject(ShapeError, "k must be an integer", 3, 3, 0.5),
    ],
    differentiable=False,
)
def eye(n: Any, m: Any = None, k: int = 0, dtype: DTypeLike = FLOAT32) -> Node:
    """A matrix with ones on a diagonal and zeros elsewhere.

    Parameters
    ----------
    n : size
        Number of rows.
    m : size, optional
        Number of columns; default: as many as rows.
    k : int, default 0
        The diagonal: 0 the main one, positive above, negative below it.
    dtype : optional
        Default float32.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.eye(3, 4, k=1).shape
    (3, 4)
    """
    shape, k = (n, n if m is None else m), whole_number("eye", "k", k)
    rows = iota(shape, 0)
    return cast(equal(iota(shape, 1), rows + k if k else rows), dtype)


@operation(
    reference=np.arange,
    samples=[
        Sample(5),
        Sample(2, 7),
        Sample(1, 2, 0.25),
        Sample(7, -2, -3),
        Sample(3, 3),
        Sample(0, 4, 1, "float64"),
    ],
    rejects=[
        Reject(ShapeError, "step is 0", 1, 5, 0),
        Reject(DTypeError, "must be numbers", Arg((3,))),
        Reject(DTypeError, "must be integers beside the size n", 0.5, Dim.named("n")),
    ],
    differentiable=False,
)
def arange(start: Any, stop: Any = None, step: Any = 1, dtype: DTypeLike | None = None) -> Node:
    """Numbers from ``start`` up to, not including, ``stop``.

    Parameters
    ----------
    start, stop : number or size
        ``arange(n)`` starts at 0. Named dimensions are sizes: ``arange(x.shape[0])``.
    step : number, default 1
    dtype : optional
        Default int64, or float32 if one of the numbers is a float.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.arange(2, 10, 3).shape
    (3,)
    >>> gn.arange(gn.input("x", shape=("batch", 3)).shape[0]).shape
    (Dim(batch),)
    """
    first, end = (0, start) if stop is None else (start, stop)
    first, end, step = (
        each.item() if isinstance(each, np.generic) else each for each in (first, end, step)
    )
    if not (is_number(first) and is_number(step) and (is_number(end) or isinstance(end, Dim))):
        raise DTypeError(
            f"arange: start, stop and step must be numbers, not {first!r}, {end!r}, {step!r}"
        )
    if step == 0:
        raise ShapeError("arange: the step is 0")
    if any(isinstance(each, float) for each in (first, end, step)):
        if isinstance(end, Dim):
            raise DTypeError(
                f"arange: start and step must be integers beside the size {end}",
                hint="scale the integers: start + step * gn.arange(size)",
            )
        return constant(np.arange(first, end, step), FLOAT32 if dtype is None else dtype)
    distance: Size = end - first if step > 0 else first - end
    count: Size = (distance + builtins.abs(step) - 1) // builtins.abs(step)
    numbers = iota((builtins.max(count, 0) if isinstance(count, int) else count,))
    if step != 1:
        numbers = numbers * step
    if first != 0:
        numbers = numbers + first
    return cast(numbers, INT64 if dtype is None else dtype)


@operation(
    reference=np.linspace,
    samples=[
        Sample(0.0, 1.0, 5),
        Sample(Arg(), Arg(), 4),
        Sample(Arg((3,)), Arg(()), 4),
        Sample(Arg(), Arg(), 4, False),
        Sample(2, 5, 1),
        Sample(1.0, 2.0, 0),
    ],
    rejects=[
        Reject(ShapeError, "-1 numbers", 0.0, 1.0, -1),
        Reject(ShapeError, "num must be an integer", 0.0, 1.0, 2.5),
    ],
    corner="both ends are exact",
)
def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: DTypeLike | None = None
) -> Node:
    """Evenly spaced numbers from ``start`` to ``stop``.

    Parameters
    ----------
    start, stop : array_like or Node
        They broadcast together; the numbers run along a new first axis.
    num : int, default 50
    endpoint : bool, default True
        Whether ``stop`` is the last number.
    dtype : optional
        Default float32, or that of ``start`` and ``stop`` if they are floats.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.linspace(0.0, 1.0, 11)
    <Node add (11,) float32>
    """
    num = whole_number("linspace", "num", num)
    if num < 0:
        raise ShapeError(f"linspace: {num} numbers")
    first, last = operands("linspace", [start, stop], "f")
    shape = broadcast_shapes("linspace", first.shape, last.shape)
    part = np.linspace(0.0, 1.0, num, endpoint).reshape((num,) + (1,) * len(shape))
    # Weighted like this, both ends come out exactly.
    numbers = first * constant(1.0 - part, first.dtype) + last * constant(part, first.dtype)
    return numbers if dtype is None else cast(numbers, dtype)
