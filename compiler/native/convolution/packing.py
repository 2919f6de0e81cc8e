"""Copies of operands: another order of axes, zeros around, as numbers are held in registers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import prod

from graphnn.compiler.native.builder import Builder, V, vector_of
from graphnn.compiler.native.convolution.layout import Copy, CopyAxis
from graphnn.compiler.native.convolution.squares import Squares
from graphnn.compiler.native.convolution.walking import hidden, walk
from graphnn.compiler.native.memory import ITEMSIZE, Strip, load_strip
from graphnn.compiler.native.scalars import register_type
from graphnn.compiler.native.target import Target

__all__ = ["copy_function"]

CHUNK_BYTES = 16 << 10
"""About how much a chunk copies."""


def copy_function(
    copy: Copy, name: str, target: Target, scratch: int, squares: Squares
) -> tuple[Builder, int]:
    """A function that makes a copy, and its number of chunks."""
    copy = _merged(copy)
    args, begin, end = V("%args", "ptr"), V("%begin", "i64"), V("%end", "i64")
    b = Builder(name, [args, begin, end], target=target)
    lanes = squares.lanes
    n_outer, region = _division(copy)
    source = b.at(b.load(b.at(args, 8 * copy.argument), "ptr", 8), copy.source)
    dest = b.at(b.load(b.at(args, 8 * scratch), "ptr", 8), copy.target)
    outer = copy.axes[:n_outer]
    is_padded = any(axis.count != axis.size for axis in copy.axes) or (
        copy.lanes and copy.length % copy.lanes
    )
    with b.loop(begin, end) as chunk:
        to = b.at(dest, b.binary("mul", chunk, b.integer(region)))
        if is_padded:
            _zero(b, to, region, copy, lanes)
        rest, inside, from_ = chunk, None, source
        block: V | int = 0
        for number in reversed(range(n_outer)):
            axis = outer[number]
            at = b.binary("urem", rest, b.integer(axis.size))
            rest = b.binary("udiv", rest, b.integer(axis.size))
            if axis.count != axis.size:
                at = b.binary("sub", at, b.integer(axis.first))
                here = b.compare("icmp ult", at, b.integer(axis.count))
                inside = here if inside is None else b.binary("and", inside, here)
            from_ = b.at(from_, b.binary("mul", at, b.integer(axis.stride)))
            if number == 0:
                block = at
        with _maybe(b, inside):
            _rest(b, copy, n_outer, squares, hidden(b, from_), hidden(b, to), block)
    return b, prod(axis.size for axis in outer)


def _merged(copy: Copy) -> Copy:
    """With as few axes as possible: neighbours in both memories become one."""
    axes: list[CopyAxis] = []
    fixed = 1 if copy.lanes else 0
    for number, axis in enumerate(copy.axes):
        last = axes[-1] if axes else None
        if (
            last is not None
            and number > fixed
            and number < len(copy.axes) - fixed
            and last.count == last.size
            and axis.count == axis.size
            and last.stride == axis.size * axis.stride
        ):
            size = last.size * axis.size
            axes[-1] = CopyAxis(size, 0, size, axis.stride)
        else:
            axes.append(axis)
    return replace(copy, axes=tuple(axes))


def _division(copy: Copy) -> tuple[int, int]:
    """How many axes are divided into chunks, and the bytes of a chunk."""
    region, kept = copy.item, 2 if copy.lanes else 1
    sizes = [axis.size for axis in copy.axes]
    outer = max(0, len(sizes) - kept)
    region *= prod(sizes[outer:])
    while outer > 0 and region * sizes[outer - 1] <= CHUNK_BYTES:
        outer -= 1
        region *= sizes[outer]
    return outer, region


@contextmanager
def _maybe(b: Builder, condition: V | None) -> Iterator[None]:
    if condition is None:
        yield
    else:
        with b.when(condition):
            yield


def _zero(b: Builder, to: V, nbytes: int, copy: Copy, lanes: int) -> None:
    element = register_type(copy.dtype)
    vector = V("zeroinitializer", vector_of(element, lanes))
    wide = nbytes // (lanes * copy.item) * lanes * copy.item
    if lanes > 1 and wide:
        with b.loop(0, wide, lanes * copy.item) as at:
            b.store(vector, b.at(to, at), copy.item)
    if wide < nbytes or lanes == 1:
        with b.loop(wide if lanes > 1 else 0, nbytes, copy.item) as at:
            b.store(b.real(0.0, element), b.at(to, at), copy.item)


def _rest(
    b: Builder, copy: Copy, first: int, squares: Squares, source: V, to: V, block: V | int
) -> None:
    """Loops over what is left of the axes, all inside of the zeros."""
    axes, unit = copy.axes, ITEMSIZE[copy.dtype]
    steps = [copy.item * prod(axis.size for axis in axes[n + 1 :]) for n in range(len(axes))]
    loose = list(range(first, len(axes) - 1))
    turned = next((n for n in reversed(loose) if axes[n].stride == unit), None)
    lanes = squares.lanes
    if axes[-1].stride == unit or lanes == 1 or (turned is not None and axes[turned].count < lanes):
        turned = None
    outside = [n for n in loose if n != turned]
    with _loops(b, copy, outside, steps, source, to) as (from_, at, index):
        count = _count(b, copy, index.get(0, block))
        into = b.at(at, axes[-1].first * copy.item)
        if turned is None:
            _row(b, copy, lanes, count, from_, into)
        else:
            put = b.at(into, axes[turned].first * steps[turned])
            _turned(b, copy, squares, count, (axes[turned].count, steps[turned]), from_, put)


def _count(b: Builder, copy: Copy, block: V | int) -> V | int:
    """Elements in the last axis; the last block of lanes may have fewer."""
    if not copy.lanes:
        return copy.axes[-1].count
    if isinstance(block, int):  # there is one block
        return min(copy.lanes, copy.length)
    if copy.length % copy.lanes == 0:
        return copy.lanes
    left = b.binary("sub", b.integer(copy.length), b.binary("mul", block, b.integer(copy.lanes)))
    return b.intrinsic("smin", left, b.integer(copy.lanes))


@contextmanager
def _loops(
    b: Builder, copy: Copy, numbers: Sequence[int], steps: Sequence[int], source: V, to: V
) -> Iterator[tuple[V, V, dict[int, V]]]:
    if not numbers:
        yield source, to, {}
        return
    axis, step = copy.axes[numbers[0]], steps[numbers[0]]
    pointers = [(source, axis.stride), (b.at(to, axis.first * step), step)]
    with (
        walk(b, 0, axis.count, pointers) as (at, (from_, into)),
        _loops(b, copy, numbers[1:], steps, from_, into) as (inner, put, index),
    ):
        yield inner, put, {numbers[0]: at, **index}


def _row(b: Builder, copy: Copy, lanes: int, count: V | int, source: V, to: V) -> None:
    """The last axis, in vectors where it can be, then element by element."""
    unit = ITEMSIZE[copy.dtype]
    if copy.axes[-1].stride != unit:
        lanes = 1
    full = _whole(b, count, lanes)
    if lanes > 1 and full != 0:
        with b.loop(0, full, lanes) as at:
            _move(b, copy, Strip(lanes, lanes), source, to, unit, at)
    if lanes == 1 or full != count:
        with b.loop(full if lanes > 1 else 0, count) as at:
            _move(b, copy, Strip(1, 1), source, to, copy.axes[-1].stride, at)


def _whole(b: Builder, count: V | int, lanes: int) -> V | int:
    """The part of a count that fills vectors."""
    if isinstance(count, int):
        return count // lanes * lanes
    return b.binary("and", count, b.integer(-lanes))


def _move(b: Builder, copy: Copy, strip: Strip, source: V, to: V, stride: int, at: V) -> None:
    from_ = b.at(source, b.binary("mul", at, b.integer(stride)))
    into = b.at(to, b.binary("mul", at, b.integer(copy.item)))
    value = load_strip(b, copy.dtype, from_, stride, strip)
    b.store(value, into, copy.item)


def _turned(
    b: Builder,
    copy: Copy,
    squares: Squares,
    count: V | int,
    along: tuple[int, int],
    source: V,
    to: V,
) -> None:
    """Vectors along another axis of the source become vectors along the last one of the copy.

    ``along`` is the size of that axis and its step in the copy. Its last square is moved back to
    fit; rows that fill no square are copied by single elements.
    """
    unit, stride = ITEMSIZE[copy.dtype], copy.axes[-1].stride
    lanes, (length, step) = squares.lanes, along
    full = _whole(b, count, lanes)
    if full != 0:
        with b.loop(0, full, lanes) as row, b.loop(0, length, lanes) as wanted:
            at = wanted
            if length % lanes:
                at = b.intrinsic("smin", wanted, b.integer(length - lanes))
            from_ = b.at(source, b.binary("mul", row, b.integer(stride)))
            from_ = b.at(from_, b.binary("mul", at, b.integer(unit)))
            into = b.at(to, b.binary("mul", row, b.integer(copy.item)))
            into = b.at(into, b.binary("mul", at, b.integer(step)))
            squares.turn(b, copy.dtype, from_, stride, into, step)
    if full != count:
        with b.loop(full, count) as row, b.loop(0, length) as at:
            from_ = b.at(source, b.binary("mul", row, b.integer(stride)))
            into = b.at(to, b.binary("mul", row, b.integer(copy.item)))
            into = b.at(into, b.binary("mul", at, b.integer(step)))
            from_ = b.at(from_, b.binary("mul", at, b.integer(unit)))
            b.store(load_strip(b, copy.dtype, from_, unit, Strip(1, 1)), into, copy.item)
