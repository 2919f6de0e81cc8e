"""Contractions in CUDA C++: a library's product and an epilogue, or one kernel that does both.

What is no plain product of matrices (convolutions look through windows) is one: blocks of the
result, of which every thread keeps a few sums in registers, and panels of both factors that a block
reads into shared memory together. Indices along merged axes are computed where they are needed, so
that no array of windows is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import prod

from graphnn.compiler.cuda import loops
from graphnn.compiler.cuda.code import Code, Part, Product
from graphnn.compiler.cuda.convolutions import convolved
from graphnn.compiler.cuda.epilogues import at_once
from graphnn.compiler.cuda.indices import index_type, offset, reach
from graphnn.compiler.cuda.matrices import Axes, axes_of, dense_strides, matrices_of
from graphnn.compiler.cuda.printer import Printer
from graphnn.compiler.cuda.scalars import HALVES, apply, load, register, register_nbytes, store
from graphnn.compiler.cuda.unfolding import Slice, Unfolded, unfold
from graphnn.compiler.cuda.windows import copied, indices_along, meet, reaches
from graphnn.compiler.cuda.writer import Writer, signature
from graphnn.compiler.kernel import Contraction, Kernel, Load, Operand
from graphnn.compiler.kernel import Product as Summed
from graphnn.compiler.sweeps import Sweeps
from graphnn.core.dtypes import as_dtype
from graphnn.core.state import aligned

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
    if matrices is not None:
        axes = axes_of(contraction)
        order = (*axes.batch, *axes.rows, *axes.columns)
        lies = dense_strides(contraction, order)
        plain = Unfolded((Slice(contraction, matrices),), (), lies)
        code, whole = _by_library(contraction, plain, name), at_once(contraction, matrices)
        return code if whole is None else replace(code, alternative=(whole,))
    unfolded = unfold(contraction)
    if unfolded is None:
        return _with_alternative(contraction, _Tiles(contraction, name).code(), name)
    code = _by_library(contraction, unfolded, name)
    return _with_alternative(contraction, code, name) if unfolded.copies else code


def _by_library(contraction: Contraction, unfolded: Unfolded, name: str) -> Code:
    """Copies of factors if need be, a product, and a kernel for the epilogue if it has one.

    Scratch memory holds the product, if that is not where results go, then the copies. Slices of
    the left factor follow each other in the same place.
    """
    scratch = _scratch_number(contraction)
    in_place = not unfolded.copies
    out, text, after, nbytes = _after(contraction, unfolded.strides, name, in_place=in_place)
    operands, offsets = [0, 1], [0, 0]
    for copy in unfolded.copies:
        nbytes = aligned(nbytes)
        operands[copy.side], offsets[copy.side] = scratch, nbytes
        nbytes += copy.nbytes(unfolded.slices[0].contraction)
    parts: list[Part | Product] = []
    for number, some in enumerate(unfolded.slices):
        for copy in unfolded.copies:
            if copy.side == 1 and number > 0:
                continue  # it is the same for all
            known = f"{name}_{('left', 'right')[copy.side]}{number or ''}"
            moved = some.left if copy.side == 0 else 0
            source, part = copied(
                some.contraction, copy, known, scratch + 1, (moved, offsets[copy.side])
            )
            text += source
            parts.append(part)
        left = offsets[0] if operands[0] == scratch else some.left
        places = (operands[0], operands[1], out)
        parts.append(Product(some.matrices, places, (left, offsets[1], some.out)))
    return Code(text, (*parts, *after), nbytes)


def _with_alternative(contraction: Contraction, code: Code, name: str) -> Code:
    """The same code, and what a library of convolutions does in its place.

    Unless that takes more scratch memory, which would be there for nothing without the library.
    """
    found = convolved(contraction)
    if found is None:
        return code
    first, strides = found
    in_place = not code.scratch_nbytes
    out, text, after, nbytes = _after(contraction, strides, f"{name}_rest", in_place=in_place)
    if nbytes > code.scratch_nbytes:
        return code
    first = replace(first, operands=(0, 1, out))
    return replace(code, source=code.source + text, alternative=(first, *after))


def _after(
    contraction: Contraction, strides: Mapping[int, int], name: str, *, in_place: bool
) -> tuple[int, str, tuple[Part, ...], int]:
    """What follows a product that lies by ``strides``.

    Parameters
    ----------
    contraction : Contraction
    strides : mapping of int to int
    name : str
    in_place : bool
        Whether the epilogue may work where results go; functions are given no scratch memory then.

    Returns
    -------
    int
        The operand that the product is written to: scratch memory, or where results go.
    str, tuple of Part
        The epilogue.
    int
        Bytes of scratch memory.
    """
    out = _like_product(contraction, strides)
    if out is not None and _is_product(contraction):
        return 2 + out, "", (), 0
    number = out if out is not None and in_place else len(contraction.epilogue.operands)
    kernel, nbytes = _on_memory(contraction, strides, number)
    code = loops.generate(kernel, name, n_before=2)
    return 2 + number, code.source, code.functions, nbytes


def _scratch_number(contraction: Contraction) -> int:
    """The number of the address of scratch memory."""
    return 2 + len(contraction.epilogue.operands)


def _free(contraction: Contraction) -> list[int]:
    """The axes of the epilogue's domain."""
    return [n for n in range(len(contraction.sizes)) if n not in contraction.summed]


def _is_product(contraction: Contraction) -> bool:
    """Whether the epilogue stores the product and does no more."""
    epilogue = contraction.epilogue
    return all(epilogue.values[each] == Summed(contraction.dtype) for _, each in epilogue.stores)


def _like_product(contraction: Contraction, strides: Mapping[int, int]) -> int | None:
    """The only result, if the product can be written there: no other operand may lie there too."""
    epilogue = contraction.epilogue
    itemsize = as_dtype(contraction.dtype).itemsize
    alike = [
        number
        for number, each in enumerate(epilogue.operands)
        if as_dtype(each.dtype).itemsize == itemsize
        and all(
            contraction.sizes[axis] == 1 or each.strides[n] == strides[axis]
            for n, axis in enumerate(_free(contraction))
        )
    ]
    if alike != [operand for operand, _ in epilogue.stores]:
        return None
    return alike[0] if epilogue.operands[alike[0]].dtype == contraction.dtype else None


def _on_memory(
    contraction: Contraction, strides: Mapping[int, int], number: int
) -> tuple[Kernel, int]:
    """The epilogue as a kernel that reads the product as an operand, and bytes of scratch memory.

    The operand is one that there is, or lies in scratch memory behind all others.
    """
    epilogue = contraction.epilogue
    values = tuple(Load(number) if isinstance(each, Summed) else each for each in epilogue.values)
    if number < len(epilogue.operands):
        return replace(epilogue, values=values), 0
    lies = Operand(contraction.dtype, tuple(strides[axis] for axis in _free(contraction)))
    kernel = replace(epilogue, operands=(*epilogue.operands, lies), values=values)
    itemsize = as_dtype(contraction.dtype).itemsize
    return kernel, itemsize * prod(contraction.sizes[axis] for axis in strides)


@dataclass(frozen=True, slots=True)
class _Panel:
    """How blocks read one factor.

    Attributes
    ----------
    name : str
        Of the shared memory.
    operand : int
    outer : tuple of int
        The factor's free axes.
    first : str
        The variable of the block's first point along these.
    count : int
        Their points.
    is_inner_first : bool
        Whether neighbouring threads read along the sum.
    """

    name: str
    operand: int
    outer: tuple[int, ...]
    first: str
    count: int
    is_inner_first: bool


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
        epilogue = contraction.epilogue
        ends = [reach(each.strides, epilogue.sizes) for each in epilogue.operands]
        self.index = index_type(*reaches(contraction), *ends)

    def code(self) -> Code:
        """The function."""
        down, across = -(-self.m // TILE), -(-self.n // TILE)
        n_operands = 2 + len(self.contraction.epilogue.operands)
        w, kind, index = self.w, register(self.wide), self.index
        with w.block(signature(self.name, n_operands, THREADS)):
            w.line(f"__shared__ {kind} left[{DEPTH}][{TILE + 1}];")
            w.line(f"__shared__ {kind} right[{DEPTH}][{TILE + 1}];")
            w.line(f"const {index} tile = blockIdx.x % {down * across};")
            w.line(f"const {index} number = blockIdx.x / {down * across};")
            w.line(f"const {index} first_row = tile / {across} * {TILE};")
            w.line(f"const {index} first_column = tile % {across} * {TILE};")
            side = TILE // OWN
            w.line(f"const int down = threadIdx.x / {side}, across = threadIdx.x % {side};")
            batch = self._decode("number", self.axes.batch, "b")
            w.line(f"{kind} sum[{OWN}][{OWN}];")
            with self._own():
                w.line("sum[i][j] = 0;")
            panels = [
                _Panel("left", 0, self.axes.rows, "first_row", self.m, self._is_inner_first(0)),
                _Panel(
                    "right", 1, self.axes.columns, "first_column", self.n, self._is_inner_first(1)
                ),
            ]
            held = [self._place(each) for each in panels]
            with w.block(f"for ({index} from = 0; from < {self.k}; from += {DEPTH})"):
                for panel, indices in zip(panels, held, strict=True):
                    self._read_panel(panel, batch | indices)
                w.line("__syncthreads();")
                w.line("#pragma unroll")
                with w.block(f"for (int term = 0; term < {DEPTH}; ++term)"), self._own():
                    a = f"left[term][down + i * {TILE // OWN}]"
                    b = f"right[term][across + j * {TILE // OWN}]"
                    w.line(f"sum[i][j] = {self._multiply_add(a, b, 'sum[i][j]')};")
                w.line("__syncthreads();")
            self._finish(batch)
        nbytes = 2 * DEPTH * (TILE + 1) * register_nbytes(self.wide)
        blocks = down * across * self.batch
        return Code(w.text, (Part(self.name, blocks, THREADS, static_nbytes=nbytes),))

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
        """Variables for the indices along some axes."""
        return indices_along(self.w, number, self.contraction.sizes, axes, prefix, self.index)

    def _is_inner_first(self, operand: int) -> bool:
        """Whether neighbouring threads read along the sum: there neighbours are in memory."""
        lies = (self.contraction.left, self.contraction.right)[operand]
        return any(
            abs(lies.strides[axis]) == as_dtype(lies.dtype).itemsize for axis in self.axes.summed
        )

    def _place(self, panel: _Panel) -> dict[int, str]:
        """Where a thread reads in all panels: along the free axes, if neighbours are there."""
        if panel.is_inner_first:
            return {}
        which = f"{panel.name}_which"
        self.w.line(f"const {self.index} {which} = {panel.first} + threadIdx.x % {TILE};")
        return self._decode(which, panel.outer, f"{panel.name}_o")

    def _read_panel(self, panel: _Panel, indices: Mapping[int, str]) -> None:
        """Read a factor's part into shared memory, with zeros where there is none."""
        w, own = self.w, TILE * DEPTH // THREADS
        with w.block(""):
            if panel.is_inner_first:
                w.line(f"const int term = threadIdx.x % {DEPTH}, row = threadIdx.x / {DEPTH};")
                w.line(f"const {self.index} summed = from + term;")
                indices = dict(indices) | self._decode("summed", self.axes.summed, "s")
            else:
                w.line(f"const int place = threadIdx.x % {TILE}, row = threadIdx.x / {TILE};")
                w.line(f"const {self.index} which = {panel.name}_which;")
            w.line("#pragma unroll")
            with w.block(f"for (int turn = 0; turn < {own}; ++turn)"):
                if panel.is_inner_first:
                    w.line(f"const int place = row + turn * {THREADS // DEPTH};")
                    w.line(f"const {self.index} which = {panel.first} + place;")
                else:
                    w.line(f"const int term = row + turn * {THREADS // TILE};")
                    w.line(f"const {self.index} summed = from + term;")
                w.line(f"{register(self.wide)} value = 0;")
                with w.block(f"if (which < {panel.count} && summed < {self.k})"):
                    if panel.is_inner_first:
                        here = self._decode("which", panel.outer, "o")
                    else:
                        here = self._decode("summed", self.axes.summed, "s")
                    self._read(panel.operand, dict(indices) | here)
                w.line(f"{panel.name}[term][place] = value;")

    def _read(self, operand: int, indices: Mapping[int, str]) -> None:
        """One element of a factor, if windows meet one there."""
        contraction = self.contraction
        lies = (contraction.left, contraction.right)[operand]
        bounds = contraction.bounds if operand == 0 else ()
        met, conditions = meet(self.w, bounds, indices, self.index)
        at = " + ".join([offset(indices, lies.strides), *met])
        made = load(lies.dtype, f"p{operand} + ({at})")
        if lies.dtype != self.wide and lies.dtype not in HALVES:
            made = apply("cast", self.wide, [made], [lies.dtype])
        self.w.line(
            f"if ({' && '.join(conditions)}) value = {made};" if conditions else f"value = {made};"
        )

    def _finish(self, batch: Mapping[int, str]) -> None:
        """The epilogue for every sum that exists."""
        w, contraction = self.w, self.contraction
        epilogue, half = contraction.epilogue, TILE // OWN
        with self._own():
            w.line(f"const {self.index} which_row = first_row + down + i * {half};")
            w.line(f"const {self.index} which_column = first_column + across + j * {half};")
            w.line(f"if (which_row >= {self.m} || which_column >= {self.n}) continue;")
            indices = dict(batch)
            indices |= self._decode("which_row", self.axes.rows, "r")
            indices |= self._decode("which_column", self.axes.columns, "c")
            free = {n: indices[axis] for n, axis in enumerate(_free(contraction))}
            total = "sum[i][j]"
            if contraction.dtype in HALVES:
                total = f"gn_round_{contraction.dtype}({total})"
            printer = Printer(Sweeps(epilogue), self.name, w, n_before=2)
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
