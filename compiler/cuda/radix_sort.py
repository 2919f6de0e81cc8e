"""CUDA code that sorts numbered keys: equal ones stay in their order, and nothing is atomic.

Keys are sorted by their digits, the last one first. For every digit, each thread counts those of
its own keys, which lie side by side; the counts are summed up by digit, block and thread, in this
order, which says where every key goes.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphnn.compiler.cuda.code import Part
from graphnn.compiler.cuda.writer import Writer, signature

__all__ = ["RadixSort"]

THREADS, KEYS = 128, 16
"""Of a block, and of a thread."""

MOST_DIGIT_BITS = 6
"""A thread counts 64 digits: 16 KiB of what a block shares."""

ROW = THREADS + 2
"""Counts of a digit, and between two digits: so that threads read from different banks."""

SUMMING_THREADS = 1024
"""Of the one block that sums up all counts."""


@dataclass(frozen=True, slots=True)
class RadixSort:
    """Keys of 32 bits in scratch memory, sorted; their numbers tell where they were.

    Attributes
    ----------
    count : int
    bits : int
        Of the largest key.
    """

    count: int
    bits: int

    @property
    def n_passes(self) -> int:
        """How many digits there are."""
        return -(-self.bits // MOST_DIGIT_BITS)

    @property
    def digit_bits(self) -> int:
        """Of one digit."""
        return -(-self.bits // self.n_passes)

    @property
    def blocks(self) -> int:
        """Which the keys are divided among."""
        return -(-self.count // (THREADS * KEYS))

    def keys(self, after: int) -> int:
        """Where keys begin in scratch after so many passes; before the first, they are put here."""
        return after % 2 * self._array_nbytes

    def numbers(self, after: int) -> int:
        """Where the numbers begin; before the first pass they are not written down."""
        return (2 + after % 2) * self._array_nbytes

    @property
    def scratch_nbytes(self) -> int:
        """Bytes for two copies of keys and numbers, and for the counts."""
        return self._counts + (4 * self.blocks << self.digit_bits)

    @property
    def _array_nbytes(self) -> int:
        return -(-4 * self.count // 64) * 64

    @property
    def _counts(self) -> int:
        """Where the counts of all digits begin, by block."""
        return 4 * self._array_nbytes

    @property
    def _counting_nbytes(self) -> int:
        """Bytes that a block shares to count its digits."""
        return 2 * ROW << self.digit_bits

    def parts(self, w: Writer, name: str, n_operands: int) -> list[Part]:
        """The functions that sort; scratch memory is the last of their operands."""
        made = []
        for number in range(self.n_passes):
            for word, function in (
                ("count", self._count),
                ("sum", self._sum),
                ("move", self._move),
            ):
                made.append(function(w, f"{name}_{word}{number}", n_operands, number))
        return made

    # ---------------------------------------------------------------------------- functions

    def _begin(self, w: Writer, number: int) -> None:
        """The counts of a thread's own keys, by digit."""
        digits = 1 << self.digit_bits
        w.line(f"__shared__ u16 counts[{digits * ROW}];")
        w.line("const int own = threadIdx.x;")
        w.line(f"const u32* keys = (const u32*)(scratch + {self.keys(number)});")
        w.line(f"const i64 first = ((i64)blockIdx.x * {THREADS} + own) * {KEYS};")
        w.line(f"const i64 last = first + {KEYS} < {self.count} ? first + {KEYS} : {self.count};")
        with w.block(f"for (int digit = 0; digit < {digits}; ++digit)"):
            w.line(f"counts[digit * {ROW} + own] = 0;")
        with w.block("for (i64 at = first; at < last; ++at)"):
            w.line(f"++counts[{self._digit(number)} * {ROW} + own];")
        w.line("__syncthreads();")

    def _digit(self, number: int) -> str:
        shift, mask = number * self.digit_bits, (1 << self.digit_bits) - 1
        return f"(keys[at] >> {shift} & {mask}u)"

    def _count(self, w: Writer, name: str, n_operands: int, number: int) -> Part:
        """How often a digit comes in a block."""
        with w.block(signature(name, n_operands, THREADS)):
            w.line(f"char* const scratch = p{n_operands - 1};")
            self._begin(w, number)
            with w.block(f"if (own < {1 << self.digit_bits})"):
                w.line("u32 total = 0;")
                with w.block(f"for (int other = 0; other < {THREADS}; ++other)"):
                    w.line(f"total += counts[own * {ROW} + other];")
                w.line(
                    f"((u32*)(scratch + {self._counts}))[own * {self.blocks} + blockIdx.x] = total;"
                )
        return Part(name, self.blocks, THREADS, static_nbytes=self._counting_nbytes)

    def _sum(self, w: Writer, name: str, n_operands: int, number: int) -> Part:
        """How many keys come before those of a digit and a block: one block sums up runs."""
        count = self.blocks << self.digit_bits
        run = -(-count // SUMMING_THREADS)
        with w.block(signature(name, n_operands, SUMMING_THREADS)):
            w.line(f"__shared__ u32 sums[{SUMMING_THREADS}];")
            w.line(f"u32* const table = (u32*)(p{n_operands - 1} + {self._counts});")
            w.line("const int own = threadIdx.x;")
            w.line(f"const int first = own * {run};")
            w.line(f"const int last = first + {run} < {count} ? first + {run} : {count};")
            w.line("u32 total = 0;")
            w.line("for (int at = first; at < last; ++at) total += table[at];")
            w.line("u32 before = total;")
            with w.block(f"for (int by = 1; by < {SUMMING_THREADS}; by *= 2)"):
                w.line("sums[own] = before;")
                w.line("__syncthreads();")
                w.line("if (own >= by) before += sums[own - by];")
                w.line("__syncthreads();")
            w.line("before -= total;")
            with w.block("for (int at = first; at < last; ++at)"):
                w.line("const u32 mine = table[at];")
                w.line("table[at] = before;")
                w.line("before += mine;")
        return Part(name, 1, SUMMING_THREADS, static_nbytes=4 * SUMMING_THREADS)

    def _move(self, w: Writer, name: str, n_operands: int, number: int) -> Part:
        """Every key, with its number, to its place."""
        with w.block(signature(name, n_operands, THREADS)):
            w.line(f"char* const scratch = p{n_operands - 1};")
            w.line(f"__shared__ u32 starts[{1 << self.digit_bits}];")
            self._begin(w, number)
            with w.block(f"if (own < {1 << self.digit_bits})"):
                w.line(
                    f"starts[own] = ((u32*)(scratch + {self._counts}))"
                    f"[own * {self.blocks} + blockIdx.x];"
                )
                w.line("u16 before = 0;")
                with w.block(f"for (int other = 0; other < {THREADS}; ++other)"):
                    w.line(f"const u16 mine = counts[own * {ROW} + other];")
                    w.line(f"counts[own * {ROW} + other] = before;")
                    w.line("before += mine;")
            w.line("__syncthreads();")
            w.line(f"u32* const to = (u32*)(scratch + {self.keys(number + 1)});")
            w.line(f"u32* const numbers = (u32*)(scratch + {self.numbers(number + 1)});")
            with w.block("for (i64 at = first; at < last; ++at)"):
                w.line(f"const u32 digit = {self._digit(number)};")
                w.line(f"const u32 place = starts[digit] + counts[digit * {ROW} + own]++;")
                w.line("to[place] = keys[at];")
                known = f"((const u32*)(scratch + {self.numbers(number)}))[at]"
                w.line(f"numbers[place] = {known if number else '(u32)at'};")
        nbytes = self._counting_nbytes + (4 << self.digit_bits)
        return Part(name, self.blocks, THREADS, static_nbytes=nbytes)
