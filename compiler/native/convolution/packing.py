"""Copies of operands: another order of axes, zeros around, as numbers are held in registers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import prod

from graphnn.compiler.native.builder import Builder, V, vector_of
from graphnn.compiler.native.convolution.layout import Copy, CopyAxis
from graphnn.compiler.native.memory import ITEMSIZE, Strip, load_strip, store_strip
from graphnn.compiler.native.scalars import register_type
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.transposition import transposed

__all__ = ["copy_function"]

CHUNK_BYTES = 16 << 10
"""About how much a chunk copies."""


def copy_function(copy: Copy, name: str, target: Target, scratch: int) -> tuple[Builder, int]:
    """A function that makes a copy, and its number of chunks."""
    copy = _merged(copy)
    args, begin, end = V("%args", "ptr"), V("%begin", "i64"), V("%end", "i64")
    b = Builder(name, [args, begin, end], target=target)
    lanes = target.lanes(copy.item)
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
            _rest(b, copy, n_outer, lanes, from_, to, block)
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


def _rest(b: Builder, copy: Copy, first: int, lanes: int, source: V, to: V, block: V | int) -> None:
    """Loops over what is left of the axes, all inside of the zeros."""
    axes = copy.axes
    steps = [copy.item * prod(axis.size for axis in axes[n + 1 :]) for n in range(len(axes))]
    loose = list(range(first, len(axes) - 1))
    unit = ITEMSIZE[copy.dtype]
    turned = next((n for n in reversed(loose) if axes[n].stride == unit), None)
    if axes[-1].stride == unit or lanes == 1:
        turned = None
    with _loops(b, copy, [n for n in loose if n != turned], steps, source, to) as (
        from_,
        at,
        index,
    ):
        if 0 in index:
            block = index[0]
        for condition, count in _counts(b, copy, block if copy.axes else 0):
            with _maybe(b, condition):
                into = b.at(at, axes[-1].first * copy.item)
                if turned is None:
                    _row(b, copy, lanes, count, from_, into)
                else:
                    put = b.at(into, axes[turned].first * steps[turned])
                    _square(b, copy, lanes, count, axes[turned].count, steps[turned], from_, put)


def _counts(b: Builder, copy: Copy, block: V | int) -> list[tuple[V | None, int]]:
    """Elements in the last axis, and when: the last block of lanes may have fewer."""
    if not copy.lanes or copy.length % copy.lanes == 0:
        return [(None, copy.axes[-1].count)]
    tail, last = copy.length % copy.lanes, copy.length // copy.lanes
    if last == 0 or isinstance(block, int):
        return [(None, tail)]
    return [
        (b.compare("icmp ne", block, b.integer(last)), copy.lanes),
        (b.compare("icmp eq", block, b.integer(last)), tail),
    ]


@contextmanager
def _loops(
    b: Builder, copy: Copy, numbers: Sequence[int], steps: Sequence[int], source: V, to: V
) -> Iterator[tuple[V, V, dict[int, V]]]:
    if not numbers:
        yield source, to, {}
        return
    axis = copy.axes[numbers[0]]
    with b.loop(0, axis.count) as at:
        from_ = b.at(source, b.binary("mul", at, b.integer(axis.stride)))
        moved = b.binary("add", at, b.integer(axis.first))
        into = b.at(to, b.binary("mul", moved, b.integer(steps[numbers[0]])))
        with _loops(b, copy, numbers[1:], steps, from_, into) as (inner, put, index):
            yield inner, put, {numbers[0]: at, **index}


def _row(b: Builder, copy: Copy, lanes: int, count: int, source: V, to: V) -> None:
    """The last axis, element by element or in vectors."""
    stride = copy.axes[-1].stride
    if stride != ITEMSIZE[copy.dtype]:
        lanes = 1
    full = count // lanes * lanes
    if full:
        with b.loop(0, full, lanes) as at:
            _move(b, copy, Strip(lanes, lanes), source, to, stride, at)
    if full < count:
        _move(b, copy, Strip(lanes, count - full), source, to, stride, b.integer(full))


def _move(b: Builder, copy: Copy, strip: Strip, source: V, to: V, stride: int, at: V) -> None:
    from_ = b.at(source, b.binary("mul", at, b.integer(stride)))
    into = b.at(to, b.binary("mul", at, b.integer(copy.item)))
    value = load_strip(b, copy.dtype, from_, stride, strip)
    store_strip(b, _held(copy), value, into, copy.item, strip)


def _held(copy: Copy) -> str:
    return "float64" if copy.item == 8 else "float32"


def _square(
    b: Builder, copy: Copy, lanes: int, count: int, length: int, step: int, source: V, to: V
) -> None:
    """Vectors along another axis of the source become vectors along the last one of the copy."""
    unit, stride = ITEMSIZE[copy.dtype], copy.axes[-1].stride

    def squares(at: V, valid: int) -> None:
        for group in range(0, count, lanes):
            n_rows = min(lanes, count - group)
            rows = [
                load_strip(
                    b,
                    copy.dtype,
                    b.at(
                        b.at(source, b.binary("mul", at, b.integer(unit))), (group + row) * stride
                    ),
                    unit,
                    Strip(lanes, valid),
                )
                for row in range(n_rows)
            ]
            rows += [V("zeroinitializer", rows[0].type)] * (lanes - n_rows)
            put = b.at(b.at(to, b.binary("mul", at, b.integer(step))), group * copy.item)
            for row, value in enumerate(transposed(b, rows)[:valid]):
                strip = Strip(lanes, n_rows)
                store_strip(b, _held(copy), value, b.at(put, row * step), copy.item, strip)

    full = length // lanes * lanes
    if full:
        with b.loop(0, full, lanes) as at:
            squares(at, lanes)
    if full < length:
        squares(b.integer(full), length - full)
