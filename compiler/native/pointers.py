"""Where the elements of an array begin, found quickly: every call of a program asks."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from graphnn.core.op import Array

__all__ = ["address_of"]


def _finder() -> Callable[[Array], int]:
    """The quickest way that gives the right answer here.

    CPython keeps an object where `id` says, and NumPy keeps the address of the elements at a fixed
    place in an array. Where that place is not found, the slow way is left.
    """
    read = ctypes.c_ssize_t.from_address
    probes = [np.empty(size, np.uint8) for size in (1, 100, 10_000)]
    for place in range(8, 64, 8):
        if all(read(id(each) + place).value == each.ctypes.data for each in probes):
            return lambda array: read(id(array) + place).value
    return lambda array: int(array.ctypes.data)


address_of = _finder()
"""The address of an array's first element."""
