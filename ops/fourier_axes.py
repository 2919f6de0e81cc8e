"""Fourier transforms along several axes; frequencies of their bins, and shifts to the middle.

The transforms along one axis, and the ops, are in :mod:`graphnn.ops.fourier`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphnn.core.dims import Size
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.ops.axes import normalize_axes, whole_number
from graphnn.ops.constants import constant
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.fourier import (
    FFT_CORNER,
    IRFFT_CORNER,
    reference_fftn,
    reference_irfftn,
    reference_rfftn,
    transform_complex,
    transform_real,
    transform_to_real,
)
from graphnn.ops.joining import concatenate, slice_axis
from graphnn.ops.operands import as_node

__all__ = [
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "ifft2",
    "ifftn",
    "ifftshift",
    "irfft2",
    "irfftn",
    "rfft2",
    "rfftfreq",
    "rfftn",
]

_SEVERAL = [
    Sample(Arg((3, 4))),
    Sample(Arg((2, 3, 4)), None, (-1, 0)),
    Sample(Arg((2, 3, 4)), (5, 2), norm="forward"),
    Sample(Arg((3, 2, 4)), (2, 3), (2, 0), "ortho"),
]
_TWO = [
    Sample(Arg((2, 3, 4))),
    Sample(Arg((3, 4)), (4, 3), norm="ortho"),
    Sample(Arg((3, 4, 2)), None, (0, 1)),
]
_REJECTS = [
    Reject(ShapeError, "twice", Arg((3, 4)), None, (0, -2)),
    Reject(ShapeError, "1 sizes for 2 axes", Arg((3, 4)), (3,), (0, 1)),
    Reject(ShapeError, "no axis", Arg((3,)), None, ()),
]


def _two_axes(reference: Callable[..., Any]) -> Callable[..., Any]:
    def along(x: Any, s: Any = None, axes: Any = (-2, -1), norm: str = "backward") -> Any:
        return reference(x, s, axes, norm)

    return along


@operation(
    reference=reference_fftn(-1),
    samples=_SEVERAL,
    rejects=_REJECTS,
    dtypes="ifc",
    corner=FFT_CORNER,
)
def fftn(x: Any, s: Any = None, axes: Any = None, norm: str = "backward") -> Node:
    """:func:`fft` along several axes.

    Parameters
    ----------
    x : array_like or Node
    s : tuple of sizes, optional
        Sizes of the transforms, one for each axis.
    axes : tuple of int, optional
        Default: all, or the last ``len(s)``.
    norm
        See :func:`fft`; ``n`` is the product of the sizes.

    Returns
    -------
    Node
        Complex.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.fftn(gn.input("volume", shape=("batch", 8, 8, 8)), axes=(1, 2, 3)).shape
    (Dim(batch), 8, 8, 8)
    """
    return transform_complex("fftn", x, s, axes, norm, inverse=False)


@operation(
    reference=reference_fftn(1),
    samples=_SEVERAL,
    rejects=_REJECTS,
    dtypes="ifc",
    corner=FFT_CORNER,
)
def ifftn(x: Any, s: Any = None, axes: Any = None, norm: str = "backward") -> Node:
    """:func:`ifft` along several axes: the inverse of :func:`fftn`."""
    return transform_complex("ifftn", x, s, axes, norm, inverse=True)


@operation(reference=reference_rfftn, samples=_SEVERAL, rejects=_REJECTS, dtypes="if")
def rfftn(x: Any, s: Any = None, axes: Any = None, norm: str = "backward") -> Node:
    """:func:`rfft` along the last of several axes, then :func:`fft` along the others."""
    return transform_real("rfftn", x, s, axes, norm)


@operation(
    reference=reference_irfftn,
    samples=[*_SEVERAL, Sample(Arg((3, 4)), (3, 5))],
    rejects=_REJECTS,
    dtypes="ifc",
    corner=IRFFT_CORNER,
)
def irfftn(x: Any, s: Any = None, axes: Any = None, norm: str = "backward") -> Node:
    """:func:`ifft` along all but the last of several axes, then :func:`irfft` along that one."""
    return transform_to_real("irfftn", x, s, axes, norm)


@operation(reference=_two_axes(reference_fftn(-1)), samples=_TWO, dtypes="ifc", corner=FFT_CORNER)
def fft2(x: Any, s: Any = None, axes: Any = (-2, -1), norm: str = "backward") -> Node:
    """:func:`fftn` along two axes, by default the last."""
    return transform_complex("fft2", x, s, axes, norm, inverse=False)


@operation(reference=_two_axes(reference_fftn(1)), samples=_TWO, dtypes="ifc", corner=FFT_CORNER)
def ifft2(x: Any, s: Any = None, axes: Any = (-2, -1), norm: str = "backward") -> Node:
    """:func:`ifftn` along two axes, by default the last."""
    return transform_complex("ifft2", x, s, axes, norm, inverse=True)


@operation(reference=_two_axes(reference_rfftn), samples=_TWO, dtypes="if")
def rfft2(x: Any, s: Any = None, axes: Any = (-2, -1), norm: str = "backward") -> Node:
    """:func:`rfftn` along two axes, by default the last."""
    return transform_real("rfft2", x, s, axes, norm)


@operation(reference=_two_axes(reference_irfftn), samples=_TWO, dtypes="ifc", corner=IRFFT_CORNER)
def irfft2(x: Any, s: Any = None, axes: Any = (-2, -1), norm: str = "backward") -> Node:
    """:func:`irfftn` along two axes, by default the last."""
    return transform_to_real("irfft2", x, s, axes, norm)


# ------------------------------------------------------------------------ frequencies and shifts


def _count(what: str, n: Any) -> int:
    count = whole_number(what, "n", n)
    if count < 1:
        raise ShapeError(f"{what}: a transform needs at least one element, not {count}")
    return count


def _spacing(what: str, d: float) -> float:
    if d == 0:
        raise ArgumentError(
            f"{what}: the time between samples is {d}", hint="1 divided by the sampling rate"
        )
    return d


_FREQUENCIES = [Sample(5, 0.1, "float64"), Sample(4, 2.0, "float64"), Sample(1, dtype="float64")]
_FREQUENCY_REJECTS = [
    Reject(ShapeError, "at least one element, not 0", 0),
    Reject(ShapeError, "n must be an integer", 2.5),
    Reject(ArgumentError, "the time between samples is 0", 4, 0),
]


@operation(
    reference=lambda n, d=1.0, dtype=None: np.fft.fftfreq(n, d),
    samples=_FREQUENCIES,
    rejects=_FREQUENCY_REJECTS,
    differentiable=False,
)
def fftfreq(n: int, d: float = 1.0, dtype: DTypeLike = FLOAT32) -> Node:
    """Frequencies of the bins of :func:`fft`, ``[0, 1, ..., -2, -1] / (d * n)``.

    Parameters
    ----------
    n : int
        Size of the transform.
    d : float, default 1
        Time between samples; frequencies are in cycles per unit of it.
    dtype : optional
        Default float32.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.fftfreq(5, d=0.1), {})
    array([ 0.,  2.,  4., -4., -2.], dtype=float32)
    """
    return constant(np.fft.fftfreq(_count("fftfreq", n), _spacing("fftfreq", d)), dtype)


@operation(
    reference=lambda n, d=1.0, dtype=None: np.fft.rfftfreq(n, d),
    samples=_FREQUENCIES,
    rejects=_FREQUENCY_REJECTS,
    differentiable=False,
)
def rfftfreq(n: int, d: float = 1.0, dtype: DTypeLike = FLOAT32) -> Node:
    """Frequencies of the bins of :func:`rfft`, ``[0, 1, ..., n // 2] / (d * n)``."""
    return constant(np.fft.rfftfreq(_count("rfftfreq", n), _spacing("rfftfreq", d)), dtype)


_SHIFTED = [
    Sample(Arg((5,))),
    Sample(Arg((4, 3))),
    Sample(Arg((4, 3)), 1),
    Sample(Arg((2, 3, 4)), (0, -1)),
    Sample(Arg((0, 1))),
]


@operation(
    reference=np.fft.fftshift,
    samples=_SHIFTED,
    rejects=[Reject(ShapeError, "axis 1 is out of range", Arg((3,)), 1)],
    dtypes="bifc",
)
def fftshift(x: Any, axes: Any = None) -> Node:
    """Halves of axes (by default of all) swapped, so that frequency 0 stands in the middle.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.fftshift(gn.fftfreq(4)), {})
    array([-0.5 , -0.25,  0.  ,  0.25], dtype=float32)
    """
    return _swapped("fftshift", x, axes, lambda size: size - size // 2)


@operation(
    reference=np.fft.ifftshift,
    samples=_SHIFTED,
    rejects=[Reject(ShapeError, "axis 1 is out of range", Arg((3,)), 1)],
    dtypes="bifc",
)
def ifftshift(x: Any, axes: Any = None) -> Node:
    """The inverse of :func:`fftshift`, which differs from it for odd sizes."""
    return _swapped("ifftshift", x, axes, lambda size: size // 2)


def _swapped(what: str, x: Any, axes: Any, cut: Callable[[Size], Size]) -> Node:
    """The part of each axis from the cut on before the part up to it."""
    node = as_node(x)
    for axis in normalize_axes(what, axes, node.ndim):
        size = node.shape[axis]
        first = cut(size)
        tail = slice_axis(node, axis, first, size - first)
        node = concatenate([tail, slice_axis(node, axis, 0, first)], axis)
    return node
