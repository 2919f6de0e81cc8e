"""Kernels in CUDA C++: elementwise ones here, those whose rows are summed up in `rows`.

Every thread takes some points, so many that enough reads are under way at once, and reads all of
them before it writes. It may take neighbours together: :mod:`~graphnn.compiler.cuda.vectors`.
"""

from __future__ import annotations

from math import prod

from graphnn.compiler.cuda.code import Code, Part
from graphnn.compiler.cuda.layout import MOST_THREADS, PROCESSORS, THREADS
from graphnn.compiler.cuda.rows import Rows
from graphnn.compiler.cuda.transposition import tiled, tiles_of
from graphnn.compiler.cuda.vectors import MOST_UNROLLED, Neighbours, Turn, Wide, has_rows
from graphnn.compiler.cuda.writer import Writer, signature
from graphnn.compiler.kernel import Kernel, Load, Pick
from graphnn.compiler.sweeps import Sweeps

__all__ = ["generate", "generate_wide"]

UNDER_WAY = 64
"""Bytes that a thread reads before it needs them. By Little's law, 3.35 TB/s at 0.7 us of latency
are 18 KB under way for each of 132 processors, which run 1024 to 2048 threads: twice that, as
threads come and go."""


def generate(kernel: Kernel, name: str, n_before: int = 0) -> Code:
    """Print a kernel without a `Product` as one function.

    Parameters
    ----------
    kernel : Kernel
    name : str
    n_before : int
        How many addresses the function is given before those of its operands.
    """
    sweeps = Sweeps(kernel)
    if has_rows(sweeps):
        return Rows(sweeps, name, Writer(), n_before).code()
    tiles = tiles_of(kernel)
    if tiles is not None:
        return tiled(sweeps, tiles, name, n_before)
    return _Points(sweeps, name, Writer(), n_before, None).code()


def generate_wide(wide: Wide, name: str) -> Code:
    """Print a kernel whose threads take neighbours together as one function."""
    sweeps = Sweeps(wide.kernel)
    if has_rows(sweeps):
        return Rows(sweeps, name, Writer(), 0, wide).code()
    return _Points(sweeps, name, Writer(), 0, wide).code()


class _Points(Neighbours):
    """A kernel without sums."""

    def code(self) -> Code:
        """The function."""
        total = prod(self.kernel.sizes)
        count = total // self.width
        unroll = self._unroll(count)
        blocks = -(-count // (THREADS * unroll))
        w, n_operands = self.w, self.n_before + len(self.kernel.operands)
        with w.block(signature(self.name, n_operands, THREADS)):
            w.line(f"const {self.index_type} first = ({self.index_type})blockIdx.x * "
                   f"{THREADS * unroll} + threadIdx.x;")  # fmt: skip
            self._points("first", count, unroll, is_whole=count % (THREADS * unroll) == 0)
            if total % self.width:
                with w.block("if (blockIdx.x == 0)"):  # the last ones, fewer than go together
                    w.line(f"const {self.index_type} last = {count * self.width} + threadIdx.x;")
                    alone = _Points(self.sweeps, self.name, w, self.n_before, None)
                    alone._points("last", total, 1, "_alone", is_whole=False)
        return Code(w.text, (Part(self.name, blocks, THREADS),))

    def _unroll(self, count: int) -> int:
        """Turns of a thread: until enough is under way, as long as all processors are busy."""
        read = {each.operand for each in self.kernel.values if isinstance(each, Load | Pick)}
        nbytes = sum(
            self.sweeps.itemsize(each) * self.width
            for each in read
            if self.sweeps.vector_axis in self.sweeps.axes_of(each)
        )
        unroll = 1
        while (
            unroll < MOST_UNROLLED
            and unroll * nbytes < UNDER_WAY
            and count >= 2 * unroll * PROCESSORS * MOST_THREADS
        ):
            unroll *= 2
        return unroll

    def _points(
        self, first: str, count: int, unroll: int, ending: str = "", *, is_whole: bool
    ) -> None:
        """All reads of the points of a thread, then all values, then all stores."""
        stores = self.kernel.stores
        numbers = self.sweeps.needed([value for _, value in stores], frozenset())
        turns = []
        for turn in range(unroll):
            self.suffix, self.values = f"{ending}_{turn}", {}
            place = f"{first} + {turn * THREADS}" if turn else first
            turns.append(self._place(place, count, is_whole=is_whole))
            self.define_first(numbers, turns[-1].address, turns[-1].indices)
        for each in turns:
            self.suffix, self.values = each.suffix, each.values
            self.declare(stores)
            with self.each():
                self.define_others(numbers, each.address, each.indices)
                self.fill(stores)
        for each in turns:
            self.suffix, self.values = each.suffix, each.values
            self.write(stores, each.address, each.guard)

    def _place(self, place: str, count: int, *, is_whole: bool) -> Turn:
        """Where a thread is in one of its turns."""
        w, guard, number = self.w, "", f"n{self.suffix}"
        if not is_whole:
            w.line(f"const bool is_in{self.suffix} = {place} < {count};")
            guard = f"if (is_in{self.suffix}) "
            place = f"is_in{self.suffix} ? {place} : {count - 1}"
        w.line(f"const {self.index_type} {number} = {place};")
        axes = [*self.sweeps.row_axes, *self.kernel.reduced]
        if self.sweeps.vector_axis >= 0 and self.sweeps.vector_axis not in axes:
            axes.append(self.sweeps.vector_axis)
        indices = self.index_variables(number, axes)
        address = {
            operand: f"p{self.n_before + operand} + ({self.offset(operand, indices)})"
            for operand in range(len(self.kernel.operands))
        }
        return Turn(self.suffix, guard, indices, address, self.values)
