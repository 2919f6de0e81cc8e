"""A constant array as an attribute: immutable, hashable, compared by bits or by identity."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Literal"]

MOST_BYTES_COMPARED = 256
"""Constants up to this size are the same node when their bits agree; larger ones never are."""


class Literal:
    """A read-only copy of an array.

    Small literals are equal when dtype, shape and bytes agree (so ``1``, ``True``, ``1.0`` and
    ``-0.0`` differ and equal NaNs agree); large ones only when they are the same object.
    """

    __slots__ = ("_key", "array")

    def __init__(self, array: npt.NDArray[Any]) -> None:
        copy = np.array(array, order="C", copy=True)
        copy.setflags(write=False)
        self.array = copy
        self._key: object = id(self)
        if copy.nbytes <= MOST_BYTES_COMPARED:
            self._key = (copy.dtype.name, copy.shape, copy.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        if self.array.size == 1:
            return str(self.array.item())
        if self.array.size <= 6:
            return np.array2string(self.array, separator=", ").replace("\n", "")
        return f"<{self.array.size} values>"
