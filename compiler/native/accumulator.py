"""Sums and other reductions in registers: several at a time, long ones on two levels."""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.native.builder import Builder, V, element_of, lanes_of, vector_of
from graphnn.compiler.native.memory import Strip, mask_of
from graphnn.compiler.native.scalars import (
    combine,
    from_storage,
    identity,
    literal,
    register_type,
    to_storage,
)
from graphnn.core.dtypes import as_dtype, is_half, is_inexact

__all__ = ["Accumulator", "folded"]


class Accumulator:
    """One reduction on its way.

    It lives in local memory of the function, which LLVM turns into registers. Half floats are
    accumulated in float32; long float sums go on to float64 at every `flush`.

    Parameters
    ----------
    b : Builder
    op, dtype : str
        What is reduced how, see `Reduce`.
    lanes, unroll : int
        Vectors that are accumulated side by side.
    adds_lanes : bool
        Whether the result is one number, of all lanes, instead of one for every lane.
    is_long : bool
        Whether `flush` is going to be called.
    """

    def __init__(
        self,
        b: Builder,
        op: str,
        dtype: str,
        lanes: int,
        unroll: int,
        *,
        adds_lanes: bool,
        is_long: bool,
    ) -> None:
        self.b, self.op, self.dtype = b, op, dtype
        self.wide = "float32" if is_half(as_dtype(dtype)) else dtype
        self._adds_lanes = adds_lanes
        self._type = vector_of(register_type(self.wide), lanes)
        self._identity = literal(b, self.wide, identity(op, self.wide), lanes)
        self._partial = [b.local(self._type) for _ in range(unroll)]
        self._totals: list[V] = []
        for each in self._partial:
            b.store(self._identity, each, 1)
        if is_long and op == "sum" and is_inexact(as_dtype(dtype)):
            total_type = vector_of("double", lanes)
            self._totals = [b.local(total_type) for _ in range(unroll)]
            for each in self._totals:
                b.store(b.real(0.0, total_type), each, 1)

    def add(self, values: Sequence[V], count: int) -> None:
        """Take in some vectors, of which ``count`` lanes exist."""
        b = self.b
        for place, value in zip(self._partial, values, strict=False):
            strip = Strip(lanes_of(value.type), count)
            if self._adds_lanes and count < strip.lanes:
                value = b.select(mask_of(strip), value, self._identity)
            before = b.load(place, self._type, 1)
            b.store(combine(b, self.op, self.wide, before, value), place, 1)

    def flush(self) -> None:
        """Carry what was summed up over to float64."""
        b = self.b
        for partial, total in zip(self._partial, self._totals, strict=False):
            value = b.cast("fpext", b.load(partial, self._type, 1), "double")
            before = b.load(total, value.type, 1)
            b.store(b.binary("fadd", before, value), total, 1)
            b.store(self._identity, partial, 1)

    def result(self) -> list[V]:
        """The reduced value: a vector for each that was accumulated, or one number."""
        b, dtype = self.b, self.wide
        self.flush()
        if self._totals:
            dtype = "float64"
            wide = vector_of("double", lanes_of(self._type))
            made = [b.load(each, wide, 1) for each in self._totals]
        else:
            made = [b.load(each, self._type, 1) for each in self._partial]
        if self._adds_lanes:
            made = [folded(b, self.op, dtype, made)]
        if dtype != self.wide:
            made = [b.cast("fptrunc", each, register_type(self.wide)) for each in made]
        if self.wide != self.dtype:
            made = [from_storage(b, self.dtype, to_storage(b, self.dtype, each)) for each in made]
        return made


def folded(b: Builder, op: str, dtype: str, vectors: Sequence[V]) -> V:
    """All lanes of some vectors reduced to one number, halves at a time."""
    total = vectors[0]
    for each in vectors[1:]:
        total = combine(b, op, dtype, total, each)
    while (lanes := lanes_of(total.type)) > 1:
        half = lanes // 2
        low, high = (_part(b, total, start, half) for start in (0, half))
        total = combine(b, op, dtype, low, high)
    return total


def _part(b: Builder, vector: V, start: int, count: int) -> V:
    """Some neighbouring lanes of a vector."""
    if count == 1:
        return b.lane(vector, start)
    order = ", ".join(f"i32 {start + lane}" for lane in range(count))
    to, source = vector_of(element_of(vector.type), count), vector.type
    return b.emit(to, f"shufflevector {vector}, {source} poison, <{count} x i32> <{order}>")
