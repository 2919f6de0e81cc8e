"""Native code that brings updates to computed places, in order.

First every update's place is computed (and checked) into scratch memory. Then each chunk owns a
range of rows, or of columns, of the result: it walks over all places and takes what is its own,
so that updates of one place arrive in their order, whoever runs the chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod

from graphnn.compiler.native.builder import Builder, V
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.memory import Strip, load_strip, store_strip
from graphnn.compiler.native.scalars import combine, storage_type
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.walk import (
    BEGIN,
    END,
    begun,
    joined,
    located,
    parameter,
    to_int64,
    wrapped,
)
from graphnn.core.dtypes import as_dtype, is_half

__all__ = ["Scatter"]

PLACES_PER_CHUNK = 4096
"""Updates whose places one chunk computes."""

COLUMNS_PER_CHUNK = 64
"""Least elements of a row that a chunk owns, where rows are divided."""

MOST_CHUNKS = 16
"""Chunks of rows: each walks over all places, so they must not be many."""

WIDTH_PER_WALK = 4
"""Elements of an update that make up for one more walk over all places."""

LEAST_WORK = 8192
"""Elements that are brought in by one chunk of rows at least, on average."""


@dataclass(frozen=True)
class Scatter:
    """Updates at indices of the leading axes, brought in by an operation, in their order.

    Operands are the updates, those indices that are in memory, the array that they come into, and
    the status word. Sums and products of half floats are made in float32 and rounded at the end.

    Attributes
    ----------
    op : {"set", "sum", "prod", "max", "min"}
    dtype : str
    sizes : tuple of int
        Of the axes that are indexed. The array is row-major: these, then ``width`` elements.
    shape : tuple of int
        Of the indices.
    others : tuple of int
        Of the axes that are not indexed; their product is the width.
    updates : tuple of int
        Strides of the updates, along the indices' axes and the others.
    indices : tuple of (str, tuple of int), or int
        Dtype and strides of each index; or the axis of the indices along which it counts.
    """

    op: str
    dtype: str
    sizes: tuple[int, ...]
    shape: tuple[int, ...]
    others: tuple[int, ...]
    updates: tuple[int, ...]
    indices: tuple[tuple[str, tuple[int, ...]] | int, ...]

    # -------------------------------------------------------------------------------- sizes

    @property
    def count(self) -> int:
        """How many places are named."""
        return prod(self.shape)

    @property
    def width(self) -> int:
        """Elements that come to one place."""
        return prod(self.others)

    @property
    def n_rows(self) -> int:
        """How many places there are."""
        return prod(self.sizes)

    @cached_property
    def column_chunks(self) -> int:
        """Into how many parts rows are divided; 1 if they are short, or not one axis."""
        return -(-self.width // self.columns) if len(self._other_axes[0]) == 1 else 1

    @property
    def columns(self) -> int:
        """Elements of a row that a chunk owns, where rows are divided: whole vectors."""
        share = -(-self.width // MOST_CHUNKS)
        return -(-share // COLUMNS_PER_CHUNK) * COLUMNS_PER_CHUNK

    @cached_property
    def row_chunks(self) -> int:
        """Into how many ranges the rows are divided."""
        if self.column_chunks > 1:
            return 1
        by_work = self.count * self.width // LEAST_WORK
        by_width = self.width // WIDTH_PER_WALK
        return max(1, min(MOST_CHUNKS, self.n_rows, by_work, by_width))

    @cached_property
    def _index_axes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Axes of the indices and the updates' strides, as few as can be."""
        sizes, (strides,) = joined(self.shape, [self.updates[: len(self.shape)]])
        return sizes, strides

    @cached_property
    def _other_axes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The other axes: sizes, strides of the updates, and of the array."""
        dense, step = [], as_dtype(self.sum_dtype).itemsize
        for size in reversed(self.others):
            dense.append(step)
            step *= size
        behind = self.updates[len(self.shape) :]
        sizes, (updates, into) = joined(self.others, [behind, dense[::-1]])
        return sizes, updates, into

    # --------------------------------------------------------------------------------- code

    def generate(self, target: Target, name: str) -> Code:
        """See `Generated`."""
        row_parts = self.row_chunks * self.column_chunks
        n_chunks = -(-self.n_rows * self.width // PLACES_PER_CHUNK)
        parts: list[tuple[str, Callable[[str, Target], Builder], int]] = [
            (f"{name}_places", self._places, -(-self.count // PLACES_PER_CHUNK)),
            (f"{name}_widen", partial(self._converted, narrows=False), n_chunks),
            (f"{name}_bring", self._arrivals, row_parts),
            (f"{name}_narrow", partial(self._converted, narrows=True), n_chunks),
        ]
        if not self.is_widened:
            parts = parts[::2]
        builders = [function(word, target) for word, function, _ in parts]
        declared = sorted(set().union(*(each.declared for each in builders)))
        return Code(
            "\n".join([*declared, *(each.function() for each in builders)]),
            tuple((word, count) for word, _, count in parts),
            self.scratch_nbytes,
        )

    @property
    def scratch_nbytes(self) -> int:
        """Bytes of scratch: the places, and the results if they are made in float32."""
        return self.wide_offset + (4 * self.n_rows * self.width if self.is_widened else 0)

    @property
    def is_widened(self) -> bool:
        """Whether results are made in float32, in scratch."""
        return is_half(as_dtype(self.dtype)) and self.op in ("sum", "prod")

    @property
    def sum_dtype(self) -> str:
        """The dtype that updates are brought together in."""
        return "float32" if self.is_widened else self.dtype

    @property
    def wide_offset(self) -> int:
        """Where in scratch the float32 copy begins, behind the places."""
        return -(-8 * self.count // 64) * 64

    @property
    def _n_in_memory(self) -> int:
        return sum(not isinstance(each, int) for each in self.indices)

    def _into(self, b: Builder) -> V:
        return parameter(b, 1 + self._n_in_memory)

    def _scratch(self, b: Builder) -> V:
        return parameter(b, 3 + self._n_in_memory)

    def _converted(self, name: str, target: Target, *, narrows: bool) -> Builder:
        """The array to float32 in scratch, or back."""
        b = begun(name, target)
        count, lanes = self.n_rows * self.width, target.lanes(4)
        into, wide = self._into(b), b.at(self._scratch(b), self.wide_offset)
        half = as_dtype(self.dtype).itemsize

        def convert(first: V, n: int) -> None:
            at_half = b.at(into, b.binary("mul", first, b.integer(half)))
            at_wide = b.at(wide, b.binary("mul", first, b.integer(4)))
            if narrows:
                value = load_strip(b, "float32", at_wide, 4, Strip(lanes, n))
                store_strip(b, self.dtype, value, at_half, half, Strip(lanes, n))
            else:
                value = load_strip(b, self.dtype, at_half, half, Strip(lanes, n))
                store_strip(b, "float32", value, at_wide, 4, Strip(lanes, n))

        start = b.binary("mul", BEGIN, b.integer(PLACES_PER_CHUNK))
        stop = b.binary("mul", END, b.integer(PLACES_PER_CHUNK))
        whole = count // lanes * lanes
        with b.loop(start, b.intrinsic("smin", stop, b.integer(whole)), lanes) as first:
            convert(first, lanes)
        if whole < count:
            with b.when(b.compare("icmp sge", stop, b.integer(count))):
                convert(b.integer(whole), count - whole)
        return b

    def _places(self, name: str, target: Target) -> Builder:
        """Rows of the array, by update, into scratch."""
        b = begun(name, target)
        status, scratch = parameter(b, 2 + self._n_in_memory), self._scratch(b)
        bases = [parameter(b, 1 + number) for number in range(self._n_in_memory)]
        in_memory = [each for each in self.indices if not isinstance(each, int)]
        sizes, strides = joined(self.shape, [each for _, each in in_memory])
        bad = b.local("i1")
        b.store(b.integer(0, "i1"), bad, 1)
        start = b.binary("mul", BEGIN, b.integer(PLACES_PER_CHUNK))
        stop = b.binary("mul", END, b.integer(PLACES_PER_CHUNK))
        with b.loop(start, b.intrinsic("smin", stop, b.integer(self.count))) as number:
            addresses = located(b, bases, number, sizes, strides)
            row: V = b.integer(0)
            for size, index in zip(self.sizes, self.indices, strict=True):
                if isinstance(index, int):
                    place = self._counted(b, number, index)
                else:
                    address = addresses.pop(0)
                    place = self._checked(b, address, index[0], size, bad)
                row = b.binary("add", b.binary("mul", row, b.integer(size)), place)
            b.store(row, b.at(scratch, b.binary("mul", number, b.integer(8))), 8)
        with b.when(b.load(bad, "i1", 1)):
            b.store(b.integer(1), status, 8)
        return b

    def _checked(self, b: Builder, address: V, dtype: str, size: int, bad: V) -> V:
        """The place along an axis that an index in memory names."""
        stored = b.load(address, storage_type(dtype), as_dtype(dtype).itemsize)
        place, outside = wrapped(b, to_int64(b, stored, dtype), size)
        b.store(b.binary("or", b.load(bad, "i1", 1), outside), bad, 1)
        return place

    def _counted(self, b: Builder, number: V, axis: int) -> V:
        """The position of an update along an axis of the indices."""
        behind = b.binary("udiv", number, b.integer(prod(self.shape[axis + 1 :])))
        return b.binary("urem", behind, b.integer(self.shape[axis])) if axis else behind

    def _arrivals(self, name: str, target: Target) -> Builder:
        """Each chunk's own updates, in order."""
        b = begun(name, target)
        updates, scratch = parameter(b, 0), self._scratch(b)
        into = b.at(scratch, self.wide_offset) if self.is_widened else self._into(b)
        with b.loop(BEGIN, END) as chunk:
            if self.column_chunks > 1:
                with self._each_update(b, updates, scratch) as (place, update):
                    self._columns(b, target, self._row(b, into, place), update, chunk)
            elif self.row_chunks > 1:
                low, length = self._own_rows(b, chunk)
                with self._each_update(b, updates, scratch) as (place, update):
                    ahead = b.binary("sub", place, low)
                    with b.when(b.compare("icmp ult", ahead, length)):
                        self._bring(b, target, self._row(b, into, place), update)
            else:
                with self._each_update(b, updates, scratch) as (place, update):
                    self._bring(b, target, self._row(b, into, place), update)
        return b

    def _own_rows(self, b: Builder, chunk: V) -> tuple[V, V]:
        """The first row of a chunk, and how many it has."""
        size = -(-self.n_rows // self.row_chunks)
        low = b.binary("mul", chunk, b.integer(size))
        return low, b.integer(size)

    def _row(self, b: Builder, into: V, place: V) -> V:
        nbytes = self.width * as_dtype(self.sum_dtype).itemsize
        return b.at(into, b.binary("mul", place, b.integer(nbytes)))

    @contextmanager
    def _each_update(self, b: Builder, updates: V, scratch: V) -> Iterator[tuple[V, V]]:
        """A loop over the updates: the place of each, and its address."""
        sizes, strides = self._index_axes
        with b.loop(0, self.count) as number:
            (update,) = located(b, [updates], number, sizes, [strides])
            place = b.load(b.at(scratch, b.binary("mul", number, b.integer(8))), "i64", 8)
            yield place, update

    # ------------------------------------------------------------------------------ one update

    def _bring(self, b: Builder, target: Target, into: V, update: V) -> None:
        """All elements of an update to its place."""
        sizes, from_, to = self._other_axes
        if len(sizes) == 1:
            self._line(b, target, into, update, sizes[0])
            return
        with b.loop(0, prod(sizes[:-1])) as number:
            steps = from_[:-1], to[:-1]
            source, place = located(b, [update, into], number, sizes[:-1], steps)
            self._line(b, target, place, source, sizes[-1])

    def _columns(self, b: Builder, target: Target, into: V, update: V, chunk: V) -> None:
        """A chunk's columns of one update."""
        _, from_, to = self._other_axes
        size = self.columns
        start = b.binary("mul", chunk, b.integer(size))
        stop = b.intrinsic("smin", b.binary("add", start, b.integer(size)), b.integer(self.width))
        lanes = target.lanes(max(4, as_dtype(self.dtype).itemsize))
        whole = self.width // lanes * lanes
        with b.loop(start, b.intrinsic("smin", stop, b.integer(whole)), lanes) as column:
            self._combine(b, into, update, column, from_[-1], to[-1], lanes, lanes)
        if whole < self.width:
            with b.when(b.compare("icmp eq", stop, b.integer(self.width))):
                rest = self.width - whole
                self._combine(b, into, update, b.integer(whole), from_[-1], to[-1], lanes, rest)

    def _line(self, b: Builder, target: Target, into: V, update: V, length: int) -> None:
        """Elements along the last of the other axes."""
        _, from_, to = self._other_axes
        lanes = target.lanes(max(4, as_dtype(self.dtype).itemsize))
        while lanes > 1 and lanes // 2 >= length:
            lanes //= 2
        whole = length // lanes * lanes
        if whole == lanes:
            self._combine(b, into, update, b.integer(0), from_[-1], to[-1], lanes, lanes)
        elif whole:
            with b.loop(0, whole, lanes) as column:
                self._combine(b, into, update, column, from_[-1], to[-1], lanes, lanes)
        if whole < length:
            rest = length - whole
            self._combine(b, into, update, b.integer(whole), from_[-1], to[-1], lanes, rest)

    def _combine(
        self, b: Builder, into: V, update: V, column: V, from_: int, to: int, lanes: int, count: int
    ) -> None:
        """So many elements from a column on."""
        target = b.at(into, b.binary("mul", column, b.integer(to)))
        source = b.at(update, b.binary("mul", column, b.integer(from_)))
        strip = Strip(lanes, count)
        arriving = load_strip(b, self.dtype, source, from_, strip)
        if self.op != "set":
            there = load_strip(b, self.sum_dtype, target, to, strip)
            arriving = combine(b, self.op, self.sum_dtype, there, arriving)
        store_strip(b, self.sum_dtype, arriving, target, to, strip)
