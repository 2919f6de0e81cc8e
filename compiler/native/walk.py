"""Walking over strided memory: positions, addresses and loops, for all code generators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from graphnn.compiler.native.builder import Builder, V
from graphnn.compiler.native.target import Target
from graphnn.core.dtypes import as_dtype

__all__ = [
    "ARGS",
    "BEGIN",
    "END",
    "Number",
    "as_value",
    "begun",
    "joined",
    "located",
    "minus",
    "moved",
    "nested",
    "parameter",
    "plus",
    "positions",
    "scaled",
    "to_int64",
    "wrapped",
]

Number: TypeAlias = V | int
"""A position: known here, or by the running code."""

ARGS, BEGIN, END = V("%args", "ptr"), V("%begin", "i64"), V("%end", "i64")


def begun(name: str, target: Target) -> Builder:
    """A function ``void name(ptr args, i64 begin, i64 end)``, to be filled."""
    return Builder(name, [ARGS, BEGIN, END], target=target)


def parameter(b: Builder, number: int) -> V:
    """The pointer to an operand."""
    return b.load(b.at(ARGS, 8 * number), "ptr", 8)


def joined(
    sizes: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Axes that are steps of one another in all operands made one; those of size 1 dropped.

    Parameters
    ----------
    sizes : sequence of int
    strides : sequence of sequence of int
        Of every operand.

    Returns
    -------
    sizes, strides
        At least one axis.
    """
    kept: list[tuple[int, list[int]]] = []
    for axis, size in enumerate(sizes):
        steps = [each[axis] for each in strides]
        if size == 1:
            continue
        if kept and kept[-1][1] == [size * step for step in steps]:
            kept[-1] = (kept[-1][0] * size, steps)
        else:
            kept.append((size, steps))
    kept = kept or [(1, [0 for _ in strides])]
    columns = zip(*(steps for _, steps in kept), strict=True)
    return tuple(size for size, _ in kept), tuple(columns)


def as_value(b: Builder, x: Number) -> V:
    """As an operand of an instruction."""
    return b.integer(x) if isinstance(x, int) else x


def scaled(b: Builder, index: Number, stride: int) -> Number:
    """``index * stride``, a number where it is known."""
    if isinstance(index, int):
        return stride * index
    if stride == 0 or index.text == "0":
        return 0
    return b.binary("mul", index, b.integer(stride)) if stride != 1 else index


def plus(b: Builder, x: Number, y: Number) -> Number:
    """``x + y``, a number where it is known."""
    if isinstance(x, int) and isinstance(y, int):
        return x + y
    if x == 0:
        return y
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


def located(
    b: Builder,
    bases: Sequence[V],
    number: V,
    sizes: Sequence[int],
    strides: Sequence[Sequence[int]],
) -> list[V]:
    """Addresses of the element of a row-major number, one for every operand."""
    if not sizes:
        return list(bases)
    inner, outermost = positions(b, number, sizes[1:])
    at = [outermost, *inner]
    return [moved(b, base, at, each) for base, each in zip(bases, strides, strict=True)]


@contextmanager
def nested(b: Builder, sizes: Sequence[int], first: Number, last: Number) -> Iterator[list[Number]]:
    """Loops over axes; the outermost one from ``first`` to ``last``."""
    if not sizes:
        yield []
        return
    if sizes[0] == 1:
        with nested(b, sizes[1:], 0, sizes[1] if len(sizes) > 1 else 1) as indices:
            yield [0, *indices]
        return
    with b.loop(first, last) as index:
        if len(sizes) == 1:
            yield [index]
            return
        with nested(b, sizes[1:], 0, sizes[1]) as indices:
            yield [index, *indices]


def to_int64(b: Builder, value: V, dtype: str) -> V:
    """An integer of some dtype as int64."""
    return b.cast("zext" if as_dtype(dtype).kind in "ub" else "sext", value, "i64")


def wrapped(b: Builder, index: V, size: int) -> tuple[V, V]:
    """An index counted from the end if it is negative, brought into the axis; and if it was out.

    What comes back is a place in the axis in any case: memory outside is never touched.
    """
    from_end = b.binary("add", index, b.integer(size))
    negative = b.compare("icmp slt", index, b.integer(0))
    place = b.select(negative, from_end, index)
    outside = b.compare("icmp uge", place, b.integer(size))
    return b.select(outside, b.integer(0), place), outside
