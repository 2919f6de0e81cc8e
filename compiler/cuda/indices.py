"""Numbers in CUDA C++: the indices that one stands for, the bytes these make, and their type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

__all__ = ["decoded", "index_type", "offset", "offset_text", "reach"]

BEYOND = 1 << 16
"""Threads have numbers that go so far beyond the last point."""


def index_type(*largest: int) -> str:
    """The type of indices and offsets: 32 bits, where the largest numbers are so small.

    What they are: points that threads are numbered by, and the `reach` of every operand that is
    read or written.
    """
    return "int" if max(largest) + BEYOND < 1 << 31 else "i64"


def reach(strides: Sequence[int], sizes: Sequence[int]) -> int:
    """Bytes between the first and the last element that an operand has."""
    return sum(abs(by) * (size - 1) for by, size in zip(strides, sizes, strict=True))


def decoded(number: str, sizes: Sequence[int]) -> list[str]:
    """The indices along axes, the last of which is the fastest, that a number stands for."""
    found = []
    for axis, size in enumerate(sizes):
        after = prod(sizes[axis + 1 :])
        index = number if after == 1 else f"{number} / {after}"
        index = f"{index} % {size}" if axis else index
        found.append(index if size > 1 else "0")
    return found


def offset(indices: Mapping[int, str], strides: Mapping[int, int] | Sequence[int]) -> str:
    """The bytes that indices along some axes make."""
    terms = [
        index if strides[axis] == 1 else f"{index} * {strides[axis]}"
        for axis, index in indices.items()
        if strides[axis] and index != "0"
    ]
    return " + ".join(terms) or "0"


def offset_text(number: str, sizes: Sequence[int], strides: Sequence[int]) -> str:
    """The bytes that element ``number``, counted in row-major order, lies from the first."""
    return f"({offset(dict(enumerate(decoded(number, sizes))), strides)})"
