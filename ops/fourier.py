"""Discrete Fourier transforms, ``y[k] = sum(x[j] * exp(-2j * pi * j * k / n))``.

The names and options are those of ``numpy.fft``, which computes them. Single precision stays
single: float32 becomes complex64. Three linear ops without any scaling do it all; the rest is
made of these: sizes by padding and slicing, norms by a product, several axes
(:mod:`graphnn.ops.fourier_axes`) by one op after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import Size, as_size, product
from graphnn.core.dtypes import INT64, complex_dtype, real_dtype
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, register
from graphnn.core.spec import TensorSpec, shape_text
from graphnn.ops.arithmetic import multiply, reciprocal, where
from graphnn.ops.axes import listed, normalize_axes, normalize_axis
from graphnn.ops.complex_numbers import conj
from graphnn.ops.constants import constant
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.creation import iota
from graphnn.ops.exponential import sqrt
from graphnn.ops.joining import pad_with, slice_axis
from graphnn.ops.linear_tier import LinearOp
from graphnn.ops.logic import equal, logical_or
from graphnn.ops.operands import cast_to, operands, widened
from graphnn.ops.statistics import size_of

__all__ = [
    "fft",
    "ifft",
    "irfft",
    "rfft",
]


# ------------------------------------------------------------------------------------- the ops


class FftOp(LinearOp):
    """The transform along some axes, or with the other sign in the exponent; never scaled.

    Its matrix is symmetric, so it is its own transpose.
    """

    name = "fft"
    axis_attrs = ("axes",)

    def infer(self, x: TensorSpec, *, axes: tuple[int, ...], inverse: bool) -> TensorSpec:
        return x

    def evaluate(self, x: Array, *, axes: tuple[int, ...], inverse: bool) -> Array:
        if inverse:
            return np.fft.ifftn(x, axes=axes, norm="forward")
        return np.fft.fftn(x, axes=axes)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        return make_node(self, (cotangent,), node.attrs)

    def flops(self, node: Node) -> int:
        return _flops(node, node.attrs["axes"], 5)


class RfftOp(LinearOp):
    """The first half of the transform of real numbers; the other half is its conjugate."""

    name = "rfft"
    axis_attrs = ("axis",)

    def infer(self, x: TensorSpec, *, axis: int) -> TensorSpec:
        return TensorSpec(_with_size(x.shape, axis, _bins(x.shape[axis])), complex_dtype(x.dtype))

    def evaluate(self, x: Array, *, axis: int) -> Array:
        return np.fft.rfft(x, axis=axis)

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        axis, n = node.attrs["axis"], node.inputs[0].shape[node.attrs["axis"]]
        # The inverse counts all but the first and the middle bin twice: half of each is given.
        halved = multiply(conj(cotangent), _weights(cotangent, axis, n, 0.5))
        return make_node(IRFFT, (halved,), {"axis": axis, "n": n})

    def flops(self, node: Node) -> int:
        return _flops(node.inputs[0], (node.attrs["axis"],), 2.5)


class IrfftOp(LinearOp):
    """``n`` real numbers from the first half of their transform; not scaled.

    The other half is taken to be the conjugate; the imaginary parts of the first and of the
    middle bin are ignored.
    """

    name = "irfft"
    axis_attrs = ("axis",)

    def infer(self, x: TensorSpec, *, axis: int, n: Size) -> TensorSpec:
        if x.shape[axis] != _bins(n):
            raise ShapeError(
                f"irfft: {n} numbers have {_bins(n)} bins, axis {axis} has {x.shape[axis]}"
            )
        return TensorSpec(_with_size(x.shape, axis, n), real_dtype(x.dtype))

    def evaluate(self, x: Array, *, axis: int, n: int) -> Array:
        return np.fft.irfft(x, n, axis, norm="forward")

    def transpose(self, node: Node, cotangent: Node, index: int) -> Node:
        axis = node.attrs["axis"]
        bins = conj(make_node(RFFT, (cotangent,), {"axis": axis}))
        return multiply(bins, _weights(bins, axis, node.attrs["n"], 2.0))

    def flops(self, node: Node) -> int:
        return _flops(node, (node.attrs["axis"],), 2.5)


FFT, RFFT, IRFFT = FftOp(), RfftOp(), IrfftOp()
for _op in (FFT, RFFT, IRFFT):
    register(_op)


def _bins(n: Size) -> Size:
    """How many bins the transform of ``n`` real numbers has, up to the middle."""
    return n // 2 + 1


def _with_size(shape: Sequence[Size], axis: int, size: Size) -> tuple[Size, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _weights(bins: Node, axis: int, n: Size, inside: float) -> Node:
    """1 for the bins that stand for themselves alone, ``inside`` for those with a mirror image."""
    shape = [bins.shape[axis] if each == axis else 1 for each in range(bins.ndim)]
    bin_ = iota(shape, axis)
    is_alone = logical_or(equal(bin_, 0), equal(2 * bin_, size_of(n, INT64)))
    dtype = real_dtype(bins.dtype)
    return where(is_alone, constant(1.0, dtype), constant(inside, dtype))


def _flops(node: Node, axes: Sequence[int], factor: float) -> int:
    """The customary count: ``factor * n * log2(n)`` for every transform of ``n`` numbers."""
    n = math.prod(int(node.shape[axis]) for axis in axes)
    return int(factor * int(node.size) * math.log2(max(n, 2)))


# ----------------------------------------------------------------------- sizes, axes and norms


def _axes_and_sizes(
    what: str, x: Node, s: Any, axes: Any
) -> tuple[tuple[int, ...], tuple[Size | None, ...]]:
    """Axes to transform, in the order given, and sizes along them; None where none is given."""
    if axes is None:
        axes = tuple(range(-x.ndim if s is None else -len(listed(s)), 0))
    given = listed(axes)
    found = tuple(normalize_axis(what, axis, x.ndim) for axis in given)
    normalize_axes(what, given, x.ndim)  # none is given twice
    if not found:
        raise ShapeError(f"{what}: there is no axis to transform along")
    if s is None:
        return found, (None,) * len(found)
    sizes = tuple(map(as_size, listed(s)))
    if len(sizes) != len(found):
        raise ShapeError(f"{what}: {len(sizes)} sizes for {len(found)} axes")
    for size in sizes:
        if isinstance(size, int) and size < 1:
            raise ShapeError(f"{what}: a transform needs at least one element, not {size}")
    return found, sizes


def _resized(what: str, x: Node, axis: int, size: Size | None) -> Node:
    """Elements dropped from, or zeros put at, the end of an axis."""
    have = x.shape[axis]
    if have == 0:
        raise ShapeError(f"{what}: axis {axis} of {shape_text(x.shape)} has no elements")
    if size is None or size == have:
        return x
    if not (isinstance(size, int) and isinstance(have, int)):
        raise ShapeError(
            f"{what}: whether axis {axis} of size {have} is longer than {size} is not known",
            hint="slice or pad it first, or give the input a fixed size",
        )
    if size < have:
        return slice_axis(x, axis, 0, size)
    high = [size - have if each == axis else 0 for each in range(x.ndim)]
    return pad_with(x, [0] * x.ndim, high)


_POWERS = {"backward": (0.0, 1.0), "ortho": (0.5, 0.5), "forward": (1.0, 0.0)}
"""The power of ``n`` that the transform and its inverse are divided by, for every norm."""


def _scaled(what: str, x: Node, sizes: Sequence[Size], norm: Any, *, inverse: bool) -> Node:
    norm = "backward" if norm is None else norm  # as NumPy, JAX and PyTorch have it
    if norm not in _POWERS:
        raise ArgumentError(
            f"{what}: there is no norm {norm!r}", hint="one of " + ", ".join(map(repr, _POWERS))
        )
    power = _POWERS[norm][inverse]
    if power == 0.0:
        return x
    count = size_of(product(sizes), real_dtype(x.dtype))
    return multiply(x, reciprocal(sqrt(count) if power == 0.5 else count))


def _sizes(x: Node, axes: Sequence[int]) -> list[Size]:
    return [x.shape[axis] for axis in axes]


def _numbers(what: str, x: Any, accepts: str) -> Node:
    """In single or double precision."""
    (node,) = operands(what, (x,), accepts)
    return widened(node)


def transform_complex(what: str, x: Any, s: Any, axes: Any, norm: Any, *, inverse: bool) -> Node:
    """`fftn` or `ifftn`."""
    node = _numbers(what, x, "fc")
    along, sizes = _axes_and_sizes(what, node, s, axes)
    for axis, size in zip(along, sizes, strict=True):
        node = _resized(what, node, axis, size)
    node = cast_to(node, complex_dtype(node.dtype))
    made = make_node(FFT, (node,), {"axes": tuple(sorted(along)), "inverse": inverse})
    return _scaled(what, made, _sizes(made, along), norm, inverse=inverse)


def transform_real(what: str, x: Any, s: Any, axes: Any, norm: Any) -> Node:
    """`rfftn`: the last axis is the one of which half is kept."""
    node = _numbers(what, x, "f")
    along, sizes = _axes_and_sizes(what, node, s, axes)
    for axis, size in zip(along, sizes, strict=True):
        node = _resized(what, node, axis, size)
    counts = _sizes(node, along)
    made = make_node(RFFT, (node,), {"axis": along[-1]})
    if along[:-1]:
        made = make_node(FFT, (made,), {"axes": tuple(sorted(along[:-1])), "inverse": False})
    return _scaled(what, made, counts, norm, inverse=False)


def transform_to_real(what: str, x: Any, s: Any, axes: Any, norm: Any) -> Node:
    """`irfftn`: the last axis is the one of which half is given."""
    node = _numbers(what, x, "fc")
    along, sizes = _axes_and_sizes(what, node, s, axes)
    *others, last = along
    for axis, size in zip(others, sizes, strict=False):
        node = _resized(what, node, axis, size)
    n = 2 * (node.shape[last] - 1) if sizes[-1] is None else sizes[-1]
    if isinstance(n, int) and n < 1:
        raise ShapeError(
            f"{what}: axis {last} has {node.shape[last]} bins, which make {n} numbers",
            hint="give the size of the result: n=1 for one bin",
        )
    node = _resized(what, node, last, _bins(n))
    node = cast_to(node, complex_dtype(node.dtype))
    if others:
        node = make_node(FFT, (node,), {"axes": tuple(sorted(others)), "inverse": True})
    made = make_node(IRFFT, (node,), {"axis": last, "n": n})
    return _scaled(what, made, _sizes(made, along), norm, inverse=True)


# ---------------------------------------------------------------- references: sums, term by term


def _summed(x: Array, axis: int, n: int, sign: int, norm: str) -> Array:
    """One transform as the product with its matrix."""
    rows = np.moveaxis(np.asarray(x, np.complex128), axis, -1)
    kept = rows[..., :n]
    k, j = np.meshgrid(np.arange(n), np.arange(kept.shape[-1]))
    scale = {"backward": n if sign > 0 else 1, "ortho": n**0.5, "forward": 1 if sign > 0 else n}
    summed: Array = kept @ np.exp(sign * 2j * np.pi * j * k / n) / scale[norm]
    return np.moveaxis(summed, -1, axis)


def _all_axes(x: Any, s: Any, axes: Any) -> list[tuple[int, int | None]]:
    if axes is None:
        axes = range(-np.ndim(x) if s is None else -len(s), 0)
    return list(zip(axes, s or [None] * len(axes), strict=True))


def reference_fftn(sign: int) -> Callable[..., Any]:
    def reference(x: Any, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
        for axis, n in _all_axes(x, s, axes):
            x = _summed(x, axis, n or x.shape[axis], sign, norm)
        return x

    return reference


def reference_rfftn(x: Any, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    last, n = _all_axes(x, s, axes)[-1]
    whole = reference_fftn(-1)(x, s, axes, norm)
    return np.take(whole, range((n or x.shape[last]) // 2 + 1), last)


def reference_irfftn(x: Any, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    *others, (last, n) = _all_axes(x, s, axes)
    for axis, size in others:
        x = _summed(x, axis, size or x.shape[axis], 1, norm)
    n = n or 2 * (x.shape[last] - 1)
    half = np.moveaxis(np.asarray(x, np.complex128), last, -1)[..., : n // 2 + 1]
    mirrored = np.zeros((*half.shape[:-1], n), np.complex128)
    for k in range(half.shape[-1]):
        mirrored[..., k] = half[..., k]
        mirrored[..., -k % n] = half[..., k].conj()
    return np.moveaxis(_summed(mirrored, -1, n, 1, norm).real, -1, last)


def _one_axis(reference: Callable[..., Any]) -> Callable[..., Any]:
    def along(x: Any, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
        return reference(x, None if n is None else (n,), (axis,), norm)

    return along


# ------------------------------------------------------------------------------- what users call

_SAMPLES = [
    Sample(Arg((5,))),
    Sample(Arg((2, 4, 3)), axis=1),
    Sample(Arg((2, 4)), 7),
    Sample(Arg((5, 2)), 3, 0, "ortho"),
    Sample(Arg((4,)), norm="forward"),
    Sample(Arg((0, 3))),
    Sample(Arg((2, 1)), 1),
]
_REJECTS = [
    Reject(ShapeError, "axis -1 is out of range", Arg()),
    Reject(ShapeError, "has no elements", Arg((2, 0))),
    Reject(ShapeError, "at least one element, not 0", Arg((3,)), 0),
    Reject(ArgumentError, "no norm 'unit'", Arg((3,)), norm="unit"),
]
FFT_CORNER = "real numbers become complex of the same precision, half floats complex64"
IRFFT_CORNER = "imaginary parts of the first and the middle bin are ignored: derivative 0"


@operation(
    reference=_one_axis(reference_fftn(-1)),
    samples=_SAMPLES,
    rejects=_REJECTS,
    dtypes="ifc",
    corner=FFT_CORNER,
)
def fft(x: Any, n: Any = None, axis: int = -1, norm: str = "backward") -> Node:
    """``y[k] = sum(x[j] * exp(-2j * pi * j * k / n))`` along an axis.

    Parameters
    ----------
    x : array_like or Node
        Real or complex.
    n : size, optional
        Size of the transform: the axis is cut, or filled up with zeros at its end. Default: the
        size of the axis.
    axis : int, default -1
    norm : {"backward", "ortho", "forward"}
        Whether the inverse is divided by ``n``, both by its root, or this one by ``n``.

    Returns
    -------
    Node
        Complex: complex64 from single, complex128 from double precision.

    Raises
    ------
    ShapeError
        If the axis is empty, or ``n`` is below 1.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.fft([1.0, 2.0, 3.0, 4.0]), {})
    array([10.+0.j, -2.+2.j, -2.+0.j, -2.-2.j], dtype=complex64)
    """
    return transform_complex("fft", x, n, (axis,), norm, inverse=False)


@operation(
    reference=_one_axis(reference_fftn(1)),
    samples=_SAMPLES,
    rejects=_REJECTS,
    dtypes="ifc",
    corner=FFT_CORNER,
)
def ifft(x: Any, n: Any = None, axis: int = -1, norm: str = "backward") -> Node:
    """``x[j] = sum(y[k] * exp(2j * pi * j * k / n)) / n``: the inverse of :func:`fft`."""
    return transform_complex("ifft", x, n, (axis,), norm, inverse=True)


@operation(reference=_one_axis(reference_rfftn), samples=_SAMPLES, rejects=_REJECTS, dtypes="if")
def rfft(x: Any, n: Any = None, axis: int = -1, norm: str = "backward") -> Node:
    """The first ``n // 2 + 1`` bins of :func:`fft` of real numbers; the others mirror them.

    Parameters
    ----------
    x : array_like or Node
        Real.
    n, axis, norm
        See :func:`fft`.

    Returns
    -------
    Node
        Complex.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.rfft(gn.input("sound", shape=("batch", 1024))).shape
    (Dim(batch), 513)
    """
    return transform_real("rfft", x, n, (axis,), norm)


@operation(
    reference=_one_axis(reference_irfftn),
    samples=[
        Sample(Arg((3,))),
        Sample(Arg((3,)), 5),
        Sample(Arg((2, 4, 3)), axis=1),
        Sample(Arg((2, 3)), 8, norm="forward"),
        Sample(Arg((5, 2)), 3, 0, "ortho"),
        Sample(Arg((2, 1)), 1),
        Sample(Arg((0, 3))),
    ],
    rejects=[
        Reject(ShapeError, "axis -1 is out of range", Arg()),
        Reject(ShapeError, "1 bins, which make 0 numbers", Arg((2, 1))),
        Reject(ShapeError, "has no elements", Arg((2, 0)), 4),
        Reject(ShapeError, "at least one element, not 0", Arg((3,)), 0),
    ],
    dtypes="ifc",
    corner=IRFFT_CORNER,
)
def irfft(x: Any, n: Any = None, axis: int = -1, norm: str = "backward") -> Node:
    """The real numbers of which ``x`` is the :func:`rfft`.

    Parameters
    ----------
    x : array_like or Node
        Bins 0 to ``n // 2``; more are cut off, missing ones are 0.
    n : size, optional
        How many numbers. Default: ``2 * (bins - 1)``; for an odd number it must be given.
    axis, norm
        See :func:`fft`.

    Returns
    -------
    Node
        Real.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 5))
    >>> gn.irfft(gn.rfft(x), n=5).shape
    (Dim(batch), 5)
    """
    return transform_to_real("irfft", x, n, (axis,), norm)
