"""Walking over strided memory: what the generators of special kernels share."""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.native.builder import Builder, V
from graphnn.compiler.native.target import Target
from graphnn.core.dtypes import as_dtype

__all__ = ["begun", "joined", "offset", "parameter", "to_int64", "wrapped"]

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


def offset(b: Builder, number: V, sizes: Sequence[int], *strides: Sequence[int]) -> list[V]:
    """Bytes from the start to the element of a row-major number, for every operand."""
    found = [b.integer(0) for _ in strides]
    for axis in reversed(range(len(sizes))):
        index = number
        if axis:
            number = b.binary("udiv", index, b.integer(sizes[axis]))
            index = b.binary("urem", index, b.integer(sizes[axis]))
        for at, each in enumerate(strides):
            if each[axis]:
                moved = b.binary("mul", index, b.integer(each[axis]))
                found[at] = b.binary("add", found[at], moved)
    return found


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
