"""Finished sums of a chunk: where they wait, and how the epilogue writes its results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from graphnn.compiler.kernel import Contraction
from graphnn.compiler.native.builder import Builder, V, vector_of
from graphnn.compiler.native.convolution.cost import free_axes, item_bytes
from graphnn.compiler.native.convolution.plan import Plan
from graphnn.compiler.native.convolution.squares import Squares
from graphnn.compiler.native.convolution.walking import hidden
from graphnn.compiler.native.convolution.windows import phases_of
from graphnn.compiler.native.memory import ITEMSIZE, Strip
from graphnn.compiler.native.scalars import from_storage, register_type, to_storage
from graphnn.compiler.native.tile import evaluate
from graphnn.compiler.native.walk import as_value

__all__ = ["ResultWriter"]


class ResultWriter:
    """The buffer of a chunk, and the epilogue on it."""

    def __init__(
        self,
        b: Builder,
        contraction: Contraction,
        plan: Plan,
        pointers: Sequence[V],
        squares: Squares,
    ) -> None:
        self.squares = squares
        self.b, self.contraction, self.plan, self.pointers = b, contraction, plan, pointers
        self.free = free_axes(contraction)
        self.item = item_bytes(contraction)
        self.element = register_type(contraction.dtype)
        self.type = vector_of(self.element, plan.lanes)
        self.is_dot = plan.vector in contraction.summed
        self.strides, self.nbytes = self._shape()
        self.buffer = b.local("i8", self.nbytes)
        self.square: V | None = None
        if plan.strip >= 0 and plan.strip != plan.vector:
            self.square = b.local(self.type, plan.lanes)

    def _shape(self) -> tuple[dict[int, int], int]:
        """Bytes of the buffer by axis, and in all: lanes innermost, then the strip axis."""
        plan = self.plan
        step = plan.width * self.item if not self.is_dot else plan.lanes * self.item
        strides = {}
        axes = [axis for axis in self.free if axis not in (plan.vector, plan.strip)]
        if plan.strip >= 0 and plan.strip != plan.vector:
            axes.append(plan.strip)
        for axis in reversed(axes):
            size = plan.chunks[axis]
            if axis == plan.strip:  # the last square may read further
                size += plan.lanes - 1
            strides[axis] = step
            step *= size
        return strides, step

    def place(self, at: dict[int, V]) -> V:
        """Where the sums wait that are at a position of a chunk's register blocks."""
        b, address = self.b, self.buffer
        for axis, position in at.items():
            stride = b.integer(self.strides[axis])
            address = b.at(address, b.binary("mul", position, stride))
        return address

    def offset(self, within: dict[int, int]) -> int:
        """Bytes to a position within a register block; along the vector axis, of vectors."""
        return sum(
            n * (self.plan.lanes * self.item if axis == self.plan.vector else self.strides[axis])
            for axis, n in within.items()
        )

    def clear(self) -> None:
        """All sums begin with zero."""
        b, step = self.b, self.item * self.plan.lanes
        with b.loop(0, self.nbytes, step) as at:
            zero = b.real(0.0, self.type)
            b.store(zero, b.at(self.buffer, at), self.item)

    def write(self, starts: dict[int, V | int], fresh: dict[int, V | int]) -> None:
        """Run the epilogue on all that no earlier chunk has written."""
        plan = self.plan
        axes = [axis for axis in self.free if axis != plan.vector or self.is_dot]
        if plan.strip != plan.vector and plan.strip >= 0:
            axes.remove(plan.strip)
        uneven = {each.place for each in phases_of(self.contraction).values()}
        axes = [axis for axis in axes if plan.chunks[axis] > 1 or axis in uneven]
        with self._each(axes, fresh, self._ends(starts)) as at:
            if plan.strip < 0:
                self._single(starts, at)
            elif plan.strip == plan.vector:
                self._along_vector(starts, at)
            else:
                self._across(starts, fresh, at)

    def _ends(self, starts: dict[int, V | int]) -> dict[int, V | int]:
        """Ends of a chunk; the last places of some phases are not there."""
        b, ends = self.b, dict[int, V | int](enumerate(self.plan.chunks))
        for phase, bound in phases_of(self.contraction).items():
            if bound.n_complete < len(bound.begins):
                count = self.contraction.sizes[bound.place]
                here = as_value(b, starts[phase])
                is_complete = b.compare("icmp slt", here, b.integer(bound.n_complete))
                size = b.select(is_complete, b.integer(count), b.integer(count - 1))
                left = b.binary("sub", size, as_value(b, starts[bound.place]))
                chunk = b.integer(self.plan.chunks[bound.place])
                ends[bound.place] = b.intrinsic("smin", left, chunk)
        return ends

    @contextmanager
    def _each(
        self, axes: Sequence[int], fresh: dict[int, V | int], ends: dict[int, V | int]
    ) -> Iterator[dict[int, V]]:
        if not axes:
            yield {}
            return
        axis = axes[0]
        with (
            self.b.loop(fresh[axis], ends[axis]) as position,
            self._each(axes[1:], fresh, ends) as inner,
        ):
            yield {axis: position, **inner}

    def _single(self, starts: dict[int, V | int], at: dict[int, V]) -> None:
        """One result; lanes of the sum are added up, halves first."""
        b = self.b
        value = b.load(self.place(at), self.type, self.item)
        half = self.plan.lanes // 2
        while half:
            type_ = vector_of(self.element, half)
            parts = [
                b.emit(
                    f"<{half} x {self.element}>",
                    f"shufflevector {value}, {value.type} poison, <{half} x i32> "
                    f"<{', '.join(f'i32 {n + first}' for n in range(half))}>",
                )
                for first in (0, half)
            ]
            value = b.binary("fadd", *parts)
            if half == 1:
                value = b.lane(value, 0)
            assert value.type == type_
            half //= 2
        self._evaluate(value, Strip(1, 1), self._absolute(starts, at), -1)

    def _along_vector(self, starts: dict[int, V | int], at: dict[int, V]) -> None:
        """Results along the vectors, as they were computed."""
        b, plan = self.b, self.plan
        lanes, size = plan.lanes, self.contraction.sizes[plan.vector]
        position = self._absolute(starts, at)
        first = b.binary("mul", as_value(b, starts[plan.vector]), b.integer(plan.width))
        address = self.place(at)
        with b.loop(0, plan.width, lanes) as lane:
            here = b.binary("add", first, lane)
            left = b.binary("sub", b.integer(size), here)
            value = b.load(
                b.at(address, b.binary("mul", lane, b.integer(self.item))), self.type, self.item
            )
            for condition, valid in _lengths(b, left, lanes, {size % lanes}, size >= lanes):
                with b.when(condition):
                    positions = {**position, plan.vector: here}
                    self._evaluate(value, Strip(lanes, valid), positions, plan.vector)

    def _across(
        self, starts: dict[int, V | int], fresh: dict[int, V | int], at: dict[int, V]
    ) -> None:
        """Results along another axis: squares of the buffer are transposed."""
        b, plan, strip = self.b, self.plan, self.plan.strip
        lanes, count = plan.lanes, plan.chunks[strip]
        steps = plan.n_steps(self.contraction, strip)
        rests = {count % lanes, (steps % count) % lanes}
        has_vector = self.contraction.sizes[plan.vector]
        first = b.binary("mul", as_value(b, starts[plan.vector]), b.integer(plan.width))
        assert self.square is not None
        with b.loop(fresh[strip], count, lanes) as along:
            row = self.place({**at, strip: along})
            left = b.binary("sub", b.integer(count), along)
            with b.loop(0, plan.width, lanes) as lane:
                corner = b.at(row, b.binary("mul", lane, b.integer(self.item)))
                dtype, step = "float64" if self.item == 8 else "float32", lanes * self.item
                self.squares.turn(b, dtype, corner, self.strides[strip], self.square, step)
                here = b.binary("add", first, lane)
                there = b.binary("sub", b.integer(has_vector), here)
                n_valid = b.intrinsic("smin", there, b.integer(lanes))
                for condition, valid in _lengths(b, left, lanes, rests, count >= lanes):
                    with b.when(condition), b.loop(0, n_valid) as n:
                        value = b.load(
                            b.at(self.square, b.binary("mul", n, b.integer(lanes * self.item))),
                            self.type,
                            self.item,
                        )
                        positions = self._absolute(starts, {**at, strip: along})
                        positions[plan.vector] = b.binary("add", here, n)
                        self._evaluate(value, Strip(lanes, valid), positions, strip)

    def _absolute(self, starts: dict[int, V | int], at: dict[int, V]) -> dict[int, V | int]:
        """Positions in the whole domain; those of the vector axis are not known yet."""
        b = self.b
        found: dict[int, V | int] = {}
        for axis in self.free:
            if axis == self.plan.vector:
                continue
            start = starts[axis]
            if axis not in at:
                found[axis] = start
            elif start == 0:
                found[axis] = at[axis]
            else:
                found[axis] = b.binary("add", as_value(b, start), at[axis])
        return found

    def _evaluate(
        self, product: V, strip: Strip, positions: dict[int, V | int], along: int
    ) -> None:
        b, epilogue = self.b, self.contraction.epilogue
        addresses, strides = [], []
        for pointer, operand in zip(self.pointers, epilogue.operands, strict=True):
            address, step = pointer, ITEMSIZE[operand.dtype]
            for axis, stride in zip(self.free, operand.strides, strict=True):
                if stride and positions[axis] != 0:
                    position = as_value(b, positions[axis])
                    address = b.at(address, b.binary("mul", position, b.integer(stride)))
                if axis == along:
                    step = stride
            addresses.append(hidden(b, address))
            strides.append(step)

        def index(number: int) -> V:
            position = b.splat(as_value(b, positions[self.free[number]]), strip.lanes)
            if self.free[number] != along or strip.lanes == 1:
                return position
            return b.binary("add", position, b.numbered(strip.lanes))

        dtype = self.contraction.dtype
        if ITEMSIZE[dtype] < 4:
            product = from_storage(b, dtype, to_storage(b, dtype, product))
        evaluate(b, epilogue, strip, addresses, strides, index, product)


def _lengths(
    b: Builder, left: V, lanes: int, rests: set[int], has_full: bool
) -> list[tuple[V, int]]:
    """Whether so many are left, for all numbers of lanes that occur."""
    found = []
    if has_full:
        found.append((b.compare("icmp sge", left, b.integer(lanes)), lanes))
    rest_lengths = sorted(rests - {0})
    found += [(b.compare("icmp eq", left, b.integer(rest)), rest) for rest in rest_lengths]
    return found
