"""Arrays of other libraries that lie on a GPU, taken as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.compiler.cuda.requirements import import_cupy
from graphnn.core.errors import FeedError

__all__ = ["from_gpu"]

_KINDS_OF_GPU_MEMORY = (2, 13)
"""DLPack's device types kDLCUDA and kDLCUDAManaged."""


def from_gpu(value: Any) -> Any | None:
    """What lies on a GPU as a contiguous CuPy array; None for what lies elsewhere.

    Nothing passes through the host; where ``value`` is contiguous, nothing is copied.

    Raises
    ------
    FeedError
        If the library that it comes from does not hand it out.
    """
    if isinstance(value, np.ndarray) or not _is_on_gpu(value):
        return None
    cupy = import_cupy()
    try:
        if isinstance(value, cupy.ndarray):
            array = value
        elif hasattr(value, "__dlpack__"):
            array = cupy.from_dlpack(value)
        else:
            array = cupy.asarray(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise FeedError(
            f"{type(value).__name__} lies on a GPU, but cannot be taken from there: {error}",
            hint="detach it from what records gradients, or feed a CuPy array",
            where="",
        ) from None
    return cupy.ascontiguousarray(array)


def _is_on_gpu(value: Any) -> bool:
    if hasattr(value, "__cuda_array_interface__"):
        return True
    found = getattr(value, "__dlpack_device__", None)
    return found is not None and int(found()[0]) in _KINDS_OF_GPU_MEMORY
