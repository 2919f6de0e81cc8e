"""Arrays from what users have: Python numbers and lists, NumPy, DLPack, anything array-like."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.dims import Dim, no_value
from graphnn.core.dtypes import (
    COMPLEX64,
    COMPLEX128,
    FLOAT32,
    FLOAT64,
    DType,
    DTypeLike,
    as_dtype,
    is_complex,
    is_floating,
    is_integer,
)
from graphnn.core.errors import DTypeError, FeedError
from graphnn.core.op import Array
from graphnn.core.structure import map_leaves

__all__ = ["as_array", "is_on_gpu", "require_fit", "require_on_host", "to_host", "to_numpy"]

_KINDS_OF_GPU_MEMORY = (2, 13)
"""DLPack's device types kDLCUDA and kDLCUDAManaged."""


def is_on_gpu(value: Any) -> bool:
    """Whether something is an array that lies on a GPU."""
    if isinstance(value, np.ndarray):
        return False
    # Before the other protocol, which PyTorch answers with an error while it records gradients.
    place = getattr(value, "__dlpack_device__", None)
    if place is not None:
        return int(place()[0]) in _KINDS_OF_GPU_MEMORY
    return hasattr(value, "__cuda_array_interface__")


def require_on_host(value: Any) -> None:
    """Refuse arrays that lie on a GPU, for nothing moves to the host silently.

    Raises
    ------
    FeedError
        Naming the type of the array.
    """
    if is_on_gpu(value):
        raise FeedError(
            f"{type(value).__name__} lies on a GPU; "
            "implicit conversion to a NumPy array is not allowed",
            hint="gn.to_host(...) copies arrays of CuPy, .cpu() those of PyTorch",
            where="",
        )


def to_numpy(value: Any) -> Array:
    """A NumPy array in native byte order from anything array-like on the host.

    Raises
    ------
    DTypeError
        For object arrays, strings and dtypes that graphnn does not have.
    FeedError
        For arrays on a device: nothing moves to the host silently.
    """
    require_on_host(value)
    if value is None or isinstance(value, str):
        raise DTypeError(f"{value!r} is not a number or an array")
    if isinstance(value, np.ndarray):
        array = value
    elif hasattr(value, "__dlpack__") and not isinstance(value, np.generic):
        array = np.from_dlpack(value)
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise DTypeError(
                f"this is not an array: {error}", hint="are rows of one length?"
            ) from None
    dtype = as_dtype(array.dtype)
    return array if array.dtype == dtype else array.astype(dtype)


def to_host(results: Any) -> Any:
    """What a program gives, on the host: arrays of CuPy become arrays of NumPy.

    With ``backend="numpy"`` results lie there already, and nothing is copied: what looks at results
    with NumPy is the same for both backends if it asks for this first.

    Parameters
    ----------
    results : array, or nested dicts, lists, tuples and dataclasses of arrays

    Returns
    -------
    same structure as ``results``
        With what lies on the host as it is. Copies wait until the GPU has done its work.

    Raises
    ------
    FeedError
        For arrays on a GPU of another library than CuPy.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(3,))
    >>> program = gn.compile(x, {"y": gn.exp(x), "total": gn.sum(x)})  # for any backend
    >>> results = gn.to_host(program([0.0, 1.0, 2.0]))
    >>> np.log(results["y"])
    array([0., 1., 2.], dtype=float32)
    """
    return map_leaves(_on_host, results)


def _on_host(value: Any) -> Any:
    if is_on_gpu(value) and hasattr(value, "get"):
        return value.get()
    require_on_host(value)
    return value


def as_array(value: Any, dtype: DTypeLike | None = None) -> Array:
    """An array for a constant or parameter.

    Python floats without a dtype become float32, complex numbers complex64.

    Raises
    ------
    DTypeError
        As `to_numpy`, and for values that an integer or real ``dtype`` cannot hold.
    ShapeError
        For a size that is not known yet.
    """
    if isinstance(value, Dim):
        raise no_value(value)
    array = to_numpy(value)
    if dtype is not None:
        require_fit(array, as_dtype(dtype))
        return array.astype(as_dtype(dtype))
    is_python = not hasattr(value, "dtype") and not hasattr(value, "__dlpack__")
    narrow = {FLOAT64: FLOAT32, COMPLEX128: COMPLEX64}.get(array.dtype) if is_python else None
    return array if narrow is None else array.astype(narrow)


def require_fit(array: Array, dtype: DType) -> None:
    """Check that converting loses nothing but digits.

    No fractions and no wrapping around of integers, no imaginary parts.

    Raises
    ------
    DTypeError
        Naming the first value that does not fit, or that complex numbers do not.
    """
    if is_complex(array.dtype) and not is_complex(dtype):
        raise DTypeError(
            f"these are complex numbers, but {dtype.name} was asked for",
            hint="take their real part or absolute value first",
        )
    if not is_integer(dtype) or np.can_cast(array.dtype, dtype):
        return
    if is_floating(array.dtype):
        inexact = array[(array != np.trunc(array)) | ~np.isfinite(array)]
        if inexact.size:
            raise DTypeError(
                f"{inexact.flat[0]} is not an integer, but {dtype.name} was asked for",
                hint="round it first, or use gn.cast",
            )
    limits = np.iinfo(dtype)
    outside = array[(array < limits.min) | (array > limits.max)]
    if outside.size:
        raise DTypeError(
            f"{outside.flat[0]} does not fit {dtype.name}",
            hint=f"{dtype.name} runs from {limits.min} to {limits.max}",
        )
