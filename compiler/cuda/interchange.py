"""Arrays of other libraries that lie on a GPU, taken as they are."""

from __future__ import annotations

from typing import Any

from graphnn.core.arrays import is_on_gpu
from graphnn.core.errors import FeedError

__all__ = ["from_gpu"]


def from_gpu(value: Any) -> Any | None:
    """What lies on a GPU as a contiguous CuPy array; None for what lies elsewhere.

    Nothing passes through the host; where ``value`` is contiguous, nothing is copied.

    Raises
    ------
    FeedError
        If the library that it comes from does not hand it out.
    """
    if not is_on_gpu(value):
        return None
    from graphnn.compiler.cuda.requirements import import_cupy  # needed on GPUs alone

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
