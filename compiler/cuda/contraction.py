"""Contractions in CUDA C++: a library's product and an epilogue, or one kernel that does both.

What is no plain product of matrices (convolutions look through windows) is one: blocks of the
result, of which every thread keeps a few sums in registers, and panels of both factors that a block
reads into shared memory together. Indices along merged axes are computed where they are needed, so
that no array of windows is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from math import prod

from graphnn.compiler.cuda import loops
from graphnn.compiler.cuda.code import Code, Part, Product
from graphnn.compiler.cuda.epilogues import at_once
from graphnn.compiler.cuda.matrices import Axes, axes_of, matrices_of
from graphnn.compiler.cuda.printer import Printer
from graphnn.compiler.cuda.scalars import HALVES, apply, load, register, store
from graphnn.compiler.cuda.writer import Writer, signature
from graphnn.compiler.kernel import Contraction, Kernel, Load, Operand
from graphnn.compiler.kernel import Product as Summed
from graphnn.compiler.sweeps import Sweeps
from graphnn.core.dtypes import as_dtype

__all__ = ["generate"]

TILE = 64
"""Rows and columns of the result that a block makes."""

DEPTH = 16
"""Terms whose factors are in shared memory at a time."""

OWN = 4
"""Rows and columns of a thread."""

THREADS = (TILE // OWN) ** 2


def generate(contraction: Contraction, name: str) -> Code:
    """Print a contraction whose factors lie in memory as they are."""
    matrices = matrices_of(contraction)
    if matrices is None:
        return _Tiles(contraction, name).code()
    out, whole = _like_product(contraction), at_once(contraction, matrices)
    number = len(contraction.epilogue.operands) if out is None else out
    product = Product(matrices, (0, 1, 2 + number))
    if out is not None and _is_product(contraction):
        return Code("", (product,))
    kernel, nbytes = _on_memory(contraction, number)
    code = loops.generate(kernel, name, n_before=2)
    return Code(code.source, (product, *code.parts), nbytes, whole)


def _dense(contraction: Contraction) -> dict[int, int]:
    """Bytes along every free axis where the product lies as its matrices do."""
    axes, step, strides = axes_of(contraction), as_dtype(contraction.dtype).itemsize, {}
    for axis in reversed((*axes.batch, *axes.rows, *axes.columns)):
        strides[axis] = step
        step *= contraction.sizes[axis]
    return strides


def _free(contraction: Contraction) -> list[int]:
    """The axes of the epilogue's domain."""
    return [n for n in range(len(contraction.sizes)) if n not in contraction.summed]


def _is_product(contraction: Contraction) -> bool:
    """Whether the epilogue stores the product and does no more."""
    epilogue = contraction.epilogue
    return all(epilogue.values[each] == Summed(contraction.dtype) for _, each in epilogue.stores)


def _like_product(contraction: Contraction) -> int | None:
    """The only result, if the product can be written there: no other operand may lie there too."""
    epilogue, dense = contraction.epilogue, _dense(contraction)
    itemsize = as_dtype(contraction.dtype).itemsize
    alike = [
        number
        for number, each in enumerate(epilogue.operands)
        if as_dtype(each.dtype).itemsize == itemsize
        and all(
            contraction.sizes[axis] == 1 or each.strides[n] == dense[axis]
            for n, axis in enumerate(_free(contraction))
        )
    ]
    if alike != [operand for operand, _ in epilogue.stores]:
        return None
    return alike[0] if epilogue.operands[alike[0]].dtype == contraction.dtype else None


def _on_memory(contraction: Contraction, number: int) -> tuple[Kernel, int]:
    """The epilogue as a kernel that reads the product as an operand, and bytes of scratch memory.

    The operand is one that there is, or lies in scratch memory behind all others.
    """
    epilogue, dense = contraction.epilogue, _dense(contraction)
    values = tuple(Load(number) if isinstance(each, Summed) else each for each in epilogue.values)
    if number < len(epilogue.operands):
        return replace(epilogue, values=values), 0
    lies = Operand(contraction.dtype, tuple(dense[axis] for axis in _free(contraction)))
    kernel = replace(epilogue, operands=(*epilogue.operands, lies), values=values)
    itemsize = as_dtype(contraction.dtype).itemsize
    return kernel, itemsize * prod(contraction.sizes[axis] for axis in dense)


class _Tiles:
    """One kernel: panels in shared memory, sums in registers, the epilogue for each."""

    def __init__(self, contraction: Contraction, name: str) -> None:
        self.contraction, self.name = contraction, name
        self.axes: Axes = axes_of(contraction)
        self.w = Writer()
        sizes = contraction.sizes
        self.m, self.n, self.k, self.batch = (
            prod(sizes[axis] for axis in each)
            for each in (self.axes.rows, self.axes.columns, self.axes.summed, self.axes.batch)
        )
        dtype = contraction.dtype
        self.wide = "float32" if dtype in HALVES else dtype

    def code(self) -> Code:
        """The function."""
        down, across = -(-self.m // TILE), -(-self.n // TILE)
        n_operands = 2 + len(self.contraction.epilogue.operands)
        w, kind = self.w, register(self.wide)
        with w.block(signature(self.name, n_operands, THREADS)):
            w.line(f"__shared__ {kind} left[{DEPTH}][{TILE + 1}];")
            w.line(f"__shared__ {kind} right[{DEPTH}][{TILE + 1}];")
            w.line(f"const i64 tile = blockIdx.x % {down * across};")
            w.line(f"const i64 number = blockIdx.x / {down * across};")
            w.line(f"const i64 first_row = tile / {across} * {TILE};")
            w.line(f"const i64 first_column = tile % {across} * {TILE};")
            side = TILE // OWN
            w.line(f"const int down = threadIdx.x / {side}, across = threadIdx.x % {side};")
            batch = self._decode("number", self.axes.batch, "b")
            w.line(f"{kind} sum[{OWN}][{OWN}];")
            with self._own():
                w.line("sum[i][j] = 0;")
            with w.block(f"for (i64 from = 0; from < {self.k}; from += {DEPTH})"):
                self._panel("left", 0, self.axes.rows, "first_row", self.m, batch)
                self._panel("right", 1, self.axes.columns, "first_column", self.n, batch)
                w.line("__syncthreads();")
                w.line("#pragma unroll")
                with w.block(f"for (int term = 0; term < {DEPTH}; ++term)"), self._own():
                    a = f"left[term][down + i * {TILE // OWN}]"
                    b = f"right[term][across + j * {TILE // OWN}]"
                    w.line(f"sum[i][j] = {self._multiply_add(a, b, 'sum[i][j]')};")
                w.line("__syncthreads();")
            self._finish(batch)
        return Code(w.text, (Part(self.name, down * across * self.batch, THREADS),))

    def _own(self) -> AbstractContextManager[None]:
        """Loops over the sums of a thread."""
        return self.w.block(f"for (int i = 0; i < {OWN}; ++i) for (int j = 0; j < {OWN}; ++j)")

    def _multiply_add(self, a: str, b: str, total: str) -> str:
        match self.wide:
            case "float32":
                return f"fmaf({a}, {b}, {total})"
            case "float64":
                return f"fma({a}, {b}, {total})"
            case _:
                return f"gn_add({total}, gn_multiply({a}, {b}))"

    def _decode(self, number: str, axes: Sequence[int], prefix: str) -> dict[int, str]:
        """Variables for the indices along some axes, the last of which is the fastest."""
        sizes, found = [self.contraction.sizes[axis] for axis in axes], {}
        for place, axis in enumerate(axes):
            after = prod(sizes[place + 1 :])
            index = number if after == 1 else f"{number} / {after}"
            index = f"{index} % {sizes[place]}" if place else index
            self.w.line(f"const i64 {prefix}{axis} = {index};")
            found[axis] = f"{prefix}{axis}"
        return found

    def _panel(
        self,
        name: str,
        operand: int,
        outer: Sequence[int],
        first: str,
        count: int,
        batch: Mapping[int, str],
    ) -> None:
        """Read a factor's part into shared memory, with zeros where there is none."""
        w, lies = self.w, (self.contraction.left, self.contraction.right)[operand]
        # Neighbouring threads read neighbours in memory.
        inner_first = any(
            abs(lies.strides[axis]) == self._itemsize(lies) for axis in self.axes.summed
        )
        with w.block(f"for (int at = threadIdx.x; at < {TILE * DEPTH}; at += {THREADS})"):
            if inner_first:
                w.line(f"const int term = at % {DEPTH}, place = at / {DEPTH};")
            else:
                w.line(f"const int term = at / {TILE}, place = at % {TILE};")
            w.line(f"const i64 which = {first} + place, summed = from + term;")
            w.line(f"{register(self.wide)} value = 0;")
            with w.block(f"if (which < {count} && summed < {self.k})"):
                indices = dict(batch)
                indices |= self._decode("which", outer, "o")
                indices |= self._decode("summed", self.axes.summed, "s")
                self._read(operand, lies, indices)
            w.line(f"{name}[term][place] = value;")

    def _itemsize(self, operand: Operand) -> int:
        return as_dtype(operand.dtype).itemsize

    def _read(self, operand: int, lies: Operand, indices: Mapping[int, str]) -> None:
        """One element of a factor, if windows meet one there."""
        w, terms, conditions = self.w, [], []
        for axis, index in indices.items():
            if lies.strides[axis]:
                terms.append(f"{index} * {lies.strides[axis]}")
        for number, bound in enumerate(self.contraction.bounds if operand == 0 else ()):
            place = f"{indices[bound.place]} * {bound.stride}"
            tap = f"{indices[bound.tap]} * {bound.dilation}"
            w.line(f"const i64 at{number} = {place} + {tap} - {bound.low};")
            element = f"at{number}"
            if bound.x_dilation > 1:
                conditions.append(f"at{number} % {bound.x_dilation} == 0")
                element = f"at{number} / {bound.x_dilation}"
            last = (bound.size - 1) * bound.x_dilation
            conditions.append(f"at{number} >= 0 && at{number} <= {last}")
            terms.append(f"{element} * {bound.step}")
        made = load(lies.dtype, f"p{operand} + ({' + '.join(terms) or '0'})")
        if lies.dtype != self.wide and lies.dtype not in HALVES:
            made = apply("cast", self.wide, [made], [lies.dtype])
        w.line(
            f"if ({' && '.join(conditions)}) value = {made};" if conditions else f"value = {made};"
        )

    def _finish(self, batch: Mapping[int, str]) -> None:
        """The epilogue for every sum that exists."""
        w, contraction = self.w, self.contraction
        epilogue, half = contraction.epilogue, TILE // OWN
        with self._own():
            w.line(f"const i64 which_row = first_row + down + i * {half};")
            w.line(f"const i64 which_column = first_column + across + j * {half};")
            w.line(f"if (which_row >= {self.m} || which_column >= {self.n}) continue;")
            indices = dict(batch)
            indices |= self._decode("which_row", self.axes.rows, "r")
            indices |= self._decode("which_column", self.axes.columns, "c")
            free = {n: indices[axis] for n, axis in enumerate(_free(contraction))}
            total = "sum[i][j]"
            if contraction.dtype in HALVES:
                total = f"gn_round_{contraction.dtype}({total})"
            printer = Printer(Sweeps(epilogue), self.name, w, n_before=2)
            printer.index_type = "i64"
            address = {
                n: f"p{2 + n} + ({printer.offset(n, free)})" for n in range(len(epilogue.operands))
            }
            for number in printer.sweeps.needed([v for _, v in epilogue.stores], frozenset()):
                if isinstance(epilogue.values[number], Summed):
                    printer.values[number] = total
                else:
                    printer.define(number, address, free)
            for operand, value in epilogue.stores:
                w.line(
                    store(epilogue.operands[operand].dtype, address[operand], printer.values[value])
                )
