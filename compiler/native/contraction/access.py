"""Where micro-kernels and packing find an operand, and how they walk along the summed axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from graphnn.compiler.native.builder import Builder, V
from graphnn.compiler.native.contraction.matrices import Axis

__all__ = [
    "Access",
    "Number",
    "as_value",
    "minus",
    "moved",
    "nested",
    "plus",
    "positions",
    "scaled",
]

Number: TypeAlias = V | int
"""A position: known here, or by the running code."""


@dataclass(frozen=True, slots=True)
class Access:
    """An operand from the first element of a block on.

    Attributes
    ----------
    base : V
        Address of that element.
    dtype : str
        It is stored in.
    step : int
        Bytes from one row (or column) of the block to the next.
    summed : tuple of int
        Bytes along every summed axis.
    lane_step : int
        Bytes from lane to lane.
    """

    base: V
    dtype: str
    step: int
    summed: tuple[int, ...]
    lane_step: int = 0


def as_value(b: Builder, x: Number) -> V:
    """As an operand of an instruction."""
    return b.integer(x) if isinstance(x, int) else x


def scaled(b: Builder, index: Number, stride: int) -> Number:
    """``index * stride``, a number where it is known."""
    if stride == 0 or isinstance(index, int):
        return stride * index if isinstance(index, int) else 0
    return b.binary("mul", index, b.integer(stride)) if stride != 1 else index


def plus(b: Builder, x: Number, y: Number) -> Number:
    """``x + y``, a number where it is known."""
    if isinstance(x, int) and isinstance(y, int):
        return x + y
    if y == 0:
        return x
    return b.binary("add", as_value(b, x), as_value(b, y))


def minus(b: Builder, x: Number, y: Number) -> Number:
    """``x - y``, a number where it is known."""
    if isinstance(y, int):
        return plus(b, x, -y)
    return b.binary("sub", as_value(b, x), y)


def moved(b: Builder, base: V, indices: Sequence[Number], strides: Sequence[int]) -> V:
    """The address of an element."""
    for index, stride in zip(indices, strides, strict=True):
        base = b.at(base, scaled(b, index, stride))
    return base


def positions(b: Builder, number: V, sizes: Sequence[int]) -> tuple[list[V], V]:
    """Take a number apart into positions along axes, the last one fastest; and what is left."""
    found = []
    for size in reversed(sizes):
        if size == 1:
            found.append(b.integer(0))
            continue
        found.append(b.binary("urem", number, b.integer(size)))
        number = b.binary("udiv", number, b.integer(size))
    return found[::-1], number


@contextmanager
def nested(b: Builder, axes: Sequence[Axis], first: Number, last: Number) -> Iterator[list[Number]]:
    """Loops over axes; the outermost one from ``first`` to ``last``."""
    if not axes:
        yield []
        return
    if axes[0].size == 1:
        with nested(b, axes[1:], 0, axes[1].size if len(axes) > 1 else 1) as indices:
            yield [0, *indices]
        return
    with b.loop(first, last) as index:
        if len(axes) == 1:
            yield [index]
            return
        with nested(b, axes[1:], 0, axes[1].size) as indices:
            yield [index, *indices]
