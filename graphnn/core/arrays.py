"""Arrays from what users have: Python numbers and lists, NumPy, DLPack, anything array-like."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.dtypes import FLOAT32, DTypeLike, as_dtype
from graphnn.core.errors import DTypeError, FeedError
from graphnn.core.op import Array

__all__ = ["as_array", "to_numpy"]


def to_numpy(value: Any) -> Array:
    """A NumPy array in native byte order from anything array-like on the host.

    Raises
    ------
    DTypeError
        For object arrays, strings and dtypes that graphnn does not have.
    FeedError
        For arrays on a device: nothing moves to the host silently.
    """
    if hasattr(value, "__cuda_array_interface__"):
        raise FeedError(
            f"{type(value).__name__} lies on a GPU; "
            "implicit conversion to a NumPy array is not allowed",
            hint="call .get() (CuPy) or .cpu() (PyTorch) first",
            where="",
        )
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


def as_array(value: Any, dtype: DTypeLike | None = None) -> Array:
    """An array for a constant or parameter; Python floats without a dtype become float32."""
    array = to_numpy(value)
    if dtype is not None:
        return array.astype(as_dtype(dtype))
    is_python = not hasattr(value, "dtype") and not hasattr(value, "__dlpack__")
    if is_python and array.dtype == np.float64:
        return array.astype(FLOAT32)
    return array
