"""Row loops in CUDA C++: one function, whose blocks take some rows each through all rounds.

A product brings its rows into shared memory, multiplies them with the matrix that lies there, in
parts, and adds the parts up; an elementwise kernel is computed at the points of these rows. Threads
meet after each of these.
"""

from __future__ import annotations

from math import prod

from graphnn.compiler.cuda.code import Code, Part
from graphnn.compiler.cuda.printer import Printer
from graphnn.compiler.cuda.row_loop import RowKernel, RowLoop, RowProduct
from graphnn.compiler.cuda.scalars import store
from graphnn.compiler.cuda.writer import Writer, signature
from graphnn.compiler.sweeps import Sweeps

__all__ = ["generate"]

MEET = "__syncthreads();"


def generate(loop: RowLoop, name: str) -> Code:
    """Print a row loop."""
    return _Function(loop, name).code()


class _Function:
    """The function of one loop."""

    def __init__(self, loop: RowLoop, name: str) -> None:
        self.loop, self.name, self.w = loop, name, Writer()
        self.places = loop.places

    def code(self) -> Code:
        """All of it."""
        loop, w = self.loop, self.w
        per_block = loop.rows_per_block
        blocks = -(-loop.rows // per_block)
        with w.block(signature(self.name, len(loop.operands), loop.threads, is_alone=True)):
            w.line(f"const int first = blockIdx.x * {per_block};")
            rest = f"{loop.rows} - first"
            w.line(f"const int rows = {rest} < {per_block} ? {rest} : {per_block};")
            self._fixed_operands()
            self._matrices()
            with w.block(f"for (int round = 0; round < {loop.count}; ++round)"):
                self._moving_operands()
                for stage in loop.stages:
                    with w.block(""):
                        if isinstance(stage, RowProduct):
                            self._product(stage)
                        else:
                            self._kernel(stage)
                        w.line(MEET)
        part = Part(self.name, blocks, loop.threads, loop.shared_nbytes)
        return Code(w.text, (part,))

    def _fixed_operands(self) -> None:
        """Operands that are in the same place in all rounds."""
        for number, operand in enumerate(self.loop.operands):
            if operand.local >= 0:
                begin = self.places["local", operand.local] + operand.offset
                where = f"gn_shared_memory + {begin} - first * {operand.row}ll"
                self.w.line(f"char* const q{number} = {where};")
            elif not operand.move:
                self.w.line(f"char* const q{number} = p{number};")

    def _moving_operands(self) -> None:
        """Operands that are somewhere else in every round."""
        for number, operand in enumerate(self.loop.operands):
            if operand.local < 0 and operand.move:
                self.w.line(f"char* const q{number} = p{number} + round * {operand.move}ll;")

    # ----------------------------------------------------------------------------- products

    def _matrices(self) -> None:
        """Bring all matrices to shared memory: threads meet before they multiply."""
        done = set()
        for each in self.loop.products:
            where = self._matrix(each)
            if where in done:
                continue
            done.add(where)
            row, column = each.right_steps
            width = 2 * each.pairs
            kinds = f"gn_{each.dtype}, gn_{self.loop.factor(each)}"
            sizes = f"{each.k}, {each.n}, {each.depth}, {width}"
            self.w.line(
                f"gn_keep_matrix<{kinds}, {sizes}>(q{each.right}, {row}, {column}, {where});"
            )

    def _matrix(self, product: RowProduct) -> str:
        """Where a matrix is in shared memory."""
        return self._at(product.matrix)

    def _at(self, name: object) -> str:
        return f"gn_shared_memory + {self.places[name]}"

    def _product(self, product: RowProduct) -> None:
        """Rows, parts of sums, sums."""
        loop, w = self.loop, self.w
        per_block, width = loop.rows_per_block, 2 * product.pairs
        factor, slices = f"gn_{loop.factor(product)}", loop.slices(product)
        row, column = product.left_steps
        rows, sums = self._at("rows"), self._at("sums")
        w.line(
            f"gn_take_rows<gn_{product.dtype}, {factor}, {product.k}, {product.depth}, {per_block}>"
            f"(q{product.left}, {row}, {column}, first, rows, {rows});"
        )
        w.line(MEET)
        w.line(
            f"gn_multiply_rows<{factor}, {product.depth}, {width}, {per_block}, {slices}>"
            f"({self._matrix(product)}, {rows}, {sums});"
        )
        w.line(MEET)
        with w.block(f"for (int at = threadIdx.x; at < rows * {product.n}; at += {loop.threads})"):
            w.line(f"const int r = at / {product.n}, n = at % {product.n};")
            row, column = product.out_steps
            place = f"q{product.out} + (first + r) * {row}ll + n * {column}ll"
            total = f"gn_sum_slices<{factor}, {width}, {per_block}, {slices}>({sums}, r, n)"
            w.line(store(product.dtype, place, total))

    # ------------------------------------------------------------------------------ kernels

    def _kernel(self, stage: RowKernel) -> None:
        """The points of a block's rows."""
        loop, w, kernel = self.loop, self.w, stage.kernel
        inner = prod(kernel.sizes[1:])
        printer = Printer(Sweeps(kernel), self.name, w)
        kind = printer.index_type
        points = f"({kind})rows * {inner}"
        with w.block(f"for ({kind} at = threadIdx.x; at < {points}; at += {loop.threads})"):
            w.line(f"const {kind} n = at % {inner};")
            w.line(f"const {kind} i0 = first + at / {inner};")
            indices = {0: "i0"}
            for axis, index in printer.decode("n", range(1, len(kernel.sizes))).items():
                w.line(f"const {kind} i{axis} = {index};")
                indices[axis] = f"i{axis}"
            address = {
                n: f"q{number} + ({printer.offset(n, indices)})"
                for n, number in enumerate(stage.operands)
            }
            self._prefetch(stage, address)
            for value in printer.sweeps.needed([v for _, v in kernel.stores], frozenset()):
                printer.define(value, address, indices)
            for operand, value in kernel.stores:
                dtype = kernel.operands[operand].dtype
                w.line(store(dtype, address[operand], printer.values[value]))

    def _prefetch(self, stage: RowKernel, address: dict[int, str]) -> None:
        """Ask for what the next round reads that no round writes: it is far away."""
        operands = self.loop.operands
        far = [
            f"gn_prefetch({address[n]} + {operands[number].move}ll);"
            for n, number in enumerate(stage.operands)
            if operands[number].move and not operands[number].is_written
        ]
        if far:
            with self.w.block(f"if (round + 1 < {self.loop.count})"):
                for each in far:
                    self.w.line(each)
