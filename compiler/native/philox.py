"""Native code for random bits: Philox-4x32-10, several counters at a time.

The algorithm and its constants are those of :mod:`graphnn.ops.philox`; words are computed in the
lower halves of 64-bit lanes, where a product of two words is one instruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphnn.compiler.native.builder import Builder, V
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.memory import Strip, store_strip
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.walk import BEGIN, END, begun, parameter
from graphnn.core.dtypes import as_dtype
from graphnn.ops.philox import KEY_STEPS, MULTIPLIERS, ROUNDS

__all__ = ["Philox"]

PER_CHUNK = 2048
"""Numbers of a chunk: some microseconds."""

LOW = 0xFFFFFFFF

VECTORS = 2
"""Vectors worked on together, to hide the latency of products."""


@dataclass(frozen=True, slots=True)
class Philox:
    """Uniform random integers; operands are the keys and the numbers, both row-major.

    Attributes
    ----------
    dtype : {"int32", "int64"}
    n_keys : int
        Each key makes ``count`` numbers.
    count : int
    """

    dtype: str
    n_keys: int
    count: int

    scratch_nbytes: ClassVar[int] = 0

    def generate(self, target: Target, name: str) -> Code:
        """See `Generated`."""
        b = begun(name, target)
        keys, out = parameter(b, 0), parameter(b, 1)
        lanes, itemsize = target.lanes(8), as_dtype(self.dtype).itemsize
        step = lanes * VECTORS
        per_key = -(-self.count // PER_CHUNK)
        whole = self.count // step * step
        with b.loop(BEGIN, END) as chunk:
            number = b.binary("udiv", chunk, b.integer(per_key))
            block = b.binary("urem", chunk, b.integer(per_key))
            key = b.at(keys, b.binary("mul", number, b.integer(16)))
            row = b.at(out, b.binary("mul", number, b.integer(self.count * itemsize)))
            words = [
                b.splat(each, lanes)
                for offset in (0, 8)
                for each in _halves(b, b.load(b.at(key, offset), "i64", 8))
            ]
            start = b.binary("mul", block, b.integer(PER_CHUNK))
            stop = b.binary("add", start, b.integer(PER_CHUNK))
            with b.loop(start, b.intrinsic("smin", stop, b.integer(whole)), step) as first:
                self._numbers(b, row, words, first, lanes, step)
            if whole < self.count:
                with b.when(b.compare("icmp sge", stop, b.integer(self.count))):
                    self._numbers(b, row, words, b.integer(whole), lanes, self.count - whole)
        n_chunks = self.n_keys * per_key
        return Code("\n".join([*sorted(b.declared), b.function()]), ((name, n_chunks),))

    def _numbers(
        self, b: Builder, row: V, words: list[V], first: V, lanes: int, count: int
    ) -> None:
        """So many numbers of one key, from the first."""
        itemsize = as_dtype(self.dtype).itemsize
        for start in range(0, count, lanes):
            ahead = b.binary("add", first, b.integer(start))
            index = b.binary("add", b.splat(ahead, lanes), b.numbered(lanes))
            high, low = _philox(b, [*_halves(b, index), *words[2:]], words[:2])
            if self.dtype == "int32":
                made = b.cast("trunc", high, "i32")
            else:
                upper = b.binary("shl", high, b.integer(32, high.type))
                made = b.binary("or", upper, low)
            at = b.at(row, b.binary("mul", ahead, b.integer(itemsize)))
            strip = Strip(lanes, min(lanes, count - start))
            store_strip(b, self.dtype, made, at, itemsize, strip)


def _halves(b: Builder, word: V) -> list[V]:
    """Lower and upper 32 bits."""
    return [
        b.binary("and", word, b.integer(LOW, word.type)),
        b.binary("lshr", word, b.integer(32, word.type)),
    ]


def _philox(b: Builder, counter: list[V], key: list[V]) -> tuple[V, V]:
    """The first two words for every counter."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for number in range(ROUNDS):
        if number:
            k0, k1 = (_stepped(b, k, by) for k, by in zip((k0, k1), KEY_STEPS, strict=True))
        p0, p1 = (
            b.binary("mul", each, b.integer(by, each.type))
            for each, by in zip((c0, c2), MULTIPLIERS, strict=True)
        )
        (low0, high0), (low1, high1) = _halves(b, p0), _halves(b, p1)
        c0 = b.binary("xor", b.binary("xor", high1, c1), k0)
        c2 = b.binary("xor", b.binary("xor", high0, c3), k1)
        c1, c3 = low1, low0
    return c0, c1


def _stepped(b: Builder, key: V, by: int) -> V:
    added = b.binary("add", key, b.integer(by, key.type))
    return b.binary("and", added, b.integer(LOW, key.type))
