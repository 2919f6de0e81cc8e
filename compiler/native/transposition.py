"""Transposing a square of vectors in registers."""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.native.builder import Builder, V

__all__ = ["transposed"]


def transposed(b: Builder, rows: Sequence[V]) -> list[V]:
    """As many vectors as each has lanes (a power of two), with rows and lanes exchanged.

    Blocks of half the size change places, then blocks of a quarter, and so on.
    """
    lanes, values = len(rows), list(rows)
    half = lanes // 2
    while half:
        low = [n if not n & half else lanes + n - half for n in range(lanes)]
        high = [n + half if not n & half else lanes + n for n in range(lanes)]
        for i in range(lanes):
            if not i & half:
                x, y = values[i], values[i + half]
                values[i], values[i + half] = _picked(b, x, y, low), _picked(b, x, y, high)
        half //= 2
    return values


def _picked(b: Builder, x: V, y: V, lanes: Sequence[int]) -> V:
    mask = ", ".join(f"i32 {lane}" for lane in lanes)
    return b.emit(x.type, f"shufflevector {x}, {y}, <{len(lanes)} x i32> <{mask}>")
