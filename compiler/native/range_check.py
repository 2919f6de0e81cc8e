"""Native code that looks for integers out of range, and says so in the status word."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from graphnn.compiler.native.code import Code
from graphnn.compiler.native.scalars import storage_type
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.walk import BEGIN, END, begun, joined, located, parameter, to_int64
from graphnn.core.dtypes import as_dtype

__all__ = ["RangeCheck"]

PER_CHUNK = 8192
"""Elements of a chunk: some microseconds."""


@dataclass(frozen=True, slots=True)
class RangeCheck:
    """Whether integers lie in ``low <= x < high``; writes 1 into the status word if one does not.

    Operands are the integers and the status word.
    """

    dtype: str
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    low: int
    high: int

    scratch_nbytes: ClassVar[int] = 0

    def generate(self, target: Target, name: str) -> Code:
        """See `Generated`."""
        b = begun(name, target)
        sizes, (strides,) = joined(self.sizes, [self.strides])
        count, itemsize = prod(sizes), as_dtype(self.dtype).itemsize
        x, status = parameter(b, 0), parameter(b, 1)
        bad = b.local("i1")
        b.store(b.integer(0, "i1"), bad, 1)
        start = b.binary("mul", BEGIN, b.integer(PER_CHUNK))
        stop = b.binary("mul", END, b.integer(PER_CHUNK))
        stop = b.intrinsic("smin", stop, b.integer(count))
        with b.loop(start, stop) as number:
            (at,) = located(b, [x], number, sizes, [strides])
            value = to_int64(b, b.load(at, storage_type(self.dtype), itemsize), self.dtype)
            # One comparison: below ``low`` the difference is a huge unsigned number.
            above = b.binary("sub", value, b.integer(self.low))
            outside = b.compare("icmp uge", above, b.integer(self.high - self.low))
            b.store(b.binary("or", b.load(bad, "i1", 1), outside), bad, 1)
        with b.when(b.load(bad, "i1", 1)):
            b.store(b.integer(1), status, 8)
        n_chunks = -(-count // PER_CHUNK)
        return Code("\n".join([*sorted(b.declared), b.function()]), ((name, n_chunks),))
