"""Kernels in CUDA C++: elementwise ones, and those whose rows are summed up.

Elementwise, every thread takes some points, `UNROLL` of them side by side, so that enough reads are
under way at once. With sums, see :mod:`~graphnn.compiler.cuda.layout`: lanes take turns along their
row, meet, and sweep over it again where a value needs what they found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import prod

from graphnn.compiler.cuda.code import Code, Part
from graphnn.compiler.cuda.layout import THREADS, Layout, layout_of
from graphnn.compiler.cuda.printer import Printer
from graphnn.compiler.cuda.scalars import apply, combined, identity, literal, register, store
from graphnn.compiler.cuda.transposition import tiled, tiles_of
from graphnn.compiler.cuda.writer import Writer, signature
from graphnn.compiler.kernel import EXPENSIVE, Apply, Kernel, Literal, Load, Pick, Reduce
from graphnn.compiler.sweeps import Sweeps
from graphnn.core.dtypes import as_dtype, is_half, is_inexact

__all__ = ["generate"]

UNROLL = 4
"""Points of a thread whose reads are under way together."""

TURNS_PER_SUM = 64
"""Additions of a lane before a float32 sum goes on to float64: keeps rounding errors small."""

MOST_KEPT = 8
"""Turns of a lane for which values that several sweeps need are kept in registers."""


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
    if prod(kernel.sizes[axis] for axis in kernel.reduced) > 1 or sweeps.sums:
        return _Rows(sweeps, name, Writer(), n_before).code()
    tiles = tiles_of(kernel)
    if tiles is not None:
        return tiled(sweeps, tiles, name, n_before)
    return _Points(sweeps, name, Writer(), n_before).code()


class _Points(Printer):
    """A kernel without sums."""

    def code(self) -> Code:
        """The function."""
        total = prod(self.kernel.sizes)
        unroll = min(UNROLL, max(1, total // (THREADS * 64)))
        blocks = -(-total // (THREADS * unroll))
        axes = [*self.sweeps.row_axes, *self.kernel.reduced]
        if self.sweeps.vector_axis >= 0 and self.sweeps.vector_axis not in axes:
            axes.append(self.sweeps.vector_axis)
        w, n_operands = self.w, self.n_before + len(self.kernel.operands)
        with w.block(signature(self.name, n_operands, THREADS)):
            w.line(f"const {self.index_type} first = ({self.index_type})blockIdx.x * "
                   f"{THREADS * unroll} + threadIdx.x;")  # fmt: skip
            self._points(axes, total, unroll, is_whole=total % (THREADS * unroll) == 0)
        return Code(w.text, (Part(self.name, blocks, THREADS),))

    def _points(self, axes: Sequence[int], total: int, unroll: int, *, is_whole: bool) -> None:
        """All reads and values of the points of a thread, then all stores."""
        w, numbers = self.w, self.sweeps.needed([v for _, v in self.kernel.stores], frozenset())
        made: list[tuple[str, dict[int, str], dict[int, str]]] = []
        for turn in range(unroll):
            number = f"n{turn}"
            place = f"first + {turn * THREADS}" if turn else "first"
            if not is_whole:
                w.line(f"const bool is_in{turn} = {place} < {total};")
                place = f"is_in{turn} ? {place} : {total - 1}"
            w.line(f"const {self.index_type} {number} = {place};")
            indices = {}
            for axis, index in self.decode(number, axes).items():
                w.line(f"const {self.index_type} i{axis}_{turn} = {index};")
                indices[axis] = f"i{axis}_{turn}"
            address = {
                operand: f"p{self.n_before + operand} + ({self.offset(operand, indices)})"
                for operand in range(len(self.kernel.operands))
            }
            made.append((number, indices, address))
        by_turn: list[dict[int, str]] = [{} for _ in made]
        for each in numbers:
            for turn, (_, indices, address) in enumerate(made):
                self.values = by_turn[turn]
                text = self.expression(each, address, indices)
                if isinstance(self.kernel.values[each], Literal):
                    self.values[each] = text
                    continue
                w.line(f"const {register(self.sweeps.dtypes[each])} v{each}_{turn} = {text};")
                self.values[each] = f"v{each}_{turn}"
        for turn, (_, _, address) in enumerate(made):
            for operand, value in self.kernel.stores:
                written = store(
                    self.kernel.operands[operand].dtype, address[operand], by_turn[turn][value]
                )
                w.line(written if is_whole else f"if (is_in{turn}) {written}")


class _Rows(Printer):
    """A kernel with sums along its rows."""

    def __init__(self, sweeps: Sweeps, name: str, w: Writer, n_before: int = 0) -> None:
        super().__init__(sweeps, name, w, n_before)
        self.layout: Layout = layout_of(sweeps)
        self.kept = self._worth_keeping()
        self.known: set[int] = set()
        """Those of the kept values that an earlier sweep has made."""

    def code(self) -> Code:
        """The function."""
        w, layout = self.w, self.layout
        threads = layout.threads
        with w.block(signature(self.name, self.n_before + len(self.kernel.operands), threads)):
            if layout.lanes > 1:
                w.line(f"__shared__ double memory[{threads}];")
                w.line("char* const shared = (char*)memory;")
            for number in sorted(self.kept):
                w.line(f"{register(self.sweeps.dtypes[number])} k{number}[{layout.turns}];")
            self._position()
            self._outer_values(loads_only=True)
            self._outer_values()
            for sweep, roots in enumerate(self.sweeps.roots_by_sweep):
                self._sweep(sweep, roots)
                self._outer_values()
            self._row_stores()
        return Code(w.text, (Part(self.name, layout.blocks, threads),))

    def _position(self) -> None:
        """Which row a thread works on, and which of its lanes it is."""
        w, layout, sweeps = self.w, self.layout, self.sweeps
        slot, lane = ("%", "/") if layout.is_column else ("/", "%")
        by = layout.slots if layout.is_column else layout.lanes
        w.line(f"const int slot = threadIdx.x {slot} {by};")
        w.line(f"const int lane = threadIdx.x {lane} {by};")
        kind = self.index_type
        w.line(f"const {kind} place = ({kind})blockIdx.x * {layout.slots} + slot;")
        w.line(f"const bool is_in = place < {layout.rows};")
        w.line(f"const {kind} row = place < {layout.rows} ? place : {layout.rows - 1};")
        axes = list(sweeps.row_axes)
        if sweeps.vector_axis >= 0 and sweeps.vector_axis not in self.kernel.reduced:
            axes.append(sweeps.vector_axis)
        self.row_indices: dict[int, str] = {}
        for axis, index in self.decode("row", axes).items():
            w.line(f"const {kind} i{axis} = {index};")
            self.row_indices[axis] = f"i{axis}"
        for operand in range(len(self.kernel.operands)):
            start = f"p{self.n_before + operand}"
            w.line(
                f"char* const q{operand} = {start} + ({self.offset(operand, self.row_indices)});"
            )
        self.row_address = {n: f"q{n}" for n in range(len(self.kernel.operands))}

    def _outer_values(self, *, loads_only: bool = False) -> None:
        """What is the same along a row and known by now.

        What is read is read before any thread of the row can write.
        """
        sweeps = self.sweeps
        roots = [value for _, value in self.kernel.stores]
        roots += [each for some in sweeps.roots_by_sweep for each in some]
        for number in sweeps.needed(roots, frozenset()):
            value = self.kernel.values[number]
            if number in self.values or sweeps.is_swept(number) or isinstance(value, Reduce):
                continue
            if loads_only and not isinstance(value, Load):
                continue
            if all(each in self.values for each in _arguments(value)):
                self.define(number, self.row_address, self.row_indices)

    # ------------------------------------------------------------------------------- sweeps

    def _worth_keeping(self) -> frozenset[int]:
        """What several sweeps need, and costs a read or much arithmetic: kept in registers."""
        if self.layout.turns > MOST_KEPT:
            return frozenset()
        sweeps, uses = self.sweeps, Counter[int]()
        sums = frozenset(each for some in sweeps.sums for each in some)
        for roots in sweeps.roots_by_sweep:
            uses.update(filter(sweeps.is_swept, sweeps.needed(roots, sums)))
        return frozenset(each for each, count in uses.items() if count > 1 and self._costs(each))

    def _costs(self, number: int) -> bool:
        value = self.kernel.values[number]
        is_costly = isinstance(value, Apply) and value.op in EXPENSIVE
        return is_costly or isinstance(value, Load | Pick)

    def _sweep(self, sweep: int, roots: Sequence[int]) -> None:
        """One pass over the elements of a row: some sums, and perhaps the stores."""
        w, sweeps, layout = self.w, self.sweeps, self.layout
        sums = sweeps.sums[sweep] if sweep < len(sweeps.sums) else ()
        stores = sweeps.swept_stores if sweep == sweeps.last_stores_sweep else ()
        for each in sums:
            kind = register(self._wide(each))
            nothing = literal(self._wide(each), identity(self._op(each), self._wide(each)))
            w.line(f"{kind} s{each} = {nothing};")
            if self._is_long(each):
                w.line(f"double t{each} = 0.0;")
        axes = [*sweeps.swept_axes]
        if sweeps.vector_axis in self.kernel.reduced:
            axes.append(sweeps.vector_axis)
        kind, long = self.index_type, [each for each in sums if self._is_long(each)]
        step = layout.lanes * TURNS_PER_SUM
        if self.kept:
            w.line("#pragma unroll")
            with w.block(f"for (int turn = 0; turn < {layout.turns}; ++turn)"):
                w.line(f"const {kind} at = lane + turn * {layout.lanes};")
                w.line(f"if (at >= {layout.elements}) break;")
                self._element(axes, roots, sums, stores)
        elif long:
            with w.block(f"for ({kind} from = lane; from < {layout.elements}; from += {step})"):
                until = f"(from + {step} < {layout.elements} ? from + {step} : {layout.elements})"
                with w.block(f"for ({kind} at = from; at < {until}; at += {layout.lanes})"):
                    self._element(axes, roots, sums, stores)
                for each in long:
                    w.line(f"t{each} += s{each};")
                    w.line(f"s{each} = 0;")
        else:
            with w.block(f"for ({kind} at = lane; at < {layout.elements}; at += {layout.lanes})"):
                self._element(axes, roots, sums, stores)
        for each in sums:
            self._meet(each)

    def _element(
        self,
        axes: Sequence[int],
        roots: Sequence[int],
        sums: Iterable[int],
        stores: Iterable[tuple[int, int]],
    ) -> None:
        """What is done for one element of a row."""
        w, outer = self.w, dict(self.values)
        self.values.update((number, f"k{number}[turn]") for number in self.known)
        indices = dict(self.row_indices)
        for axis, index in self.decode("at", axes).items():
            w.line(f"const {self.index_type} i{axis} = {index};")
            indices[axis] = f"i{axis}"
        own = {axis: indices[axis] for axis in axes}
        address = {n: f"q{n} + ({self.offset(n, own)})" for n in range(len(self.kernel.operands))}
        for number in self.sweeps.needed(roots, frozenset(self.values) | self.known):
            self.define(number, address, indices)
            if number in self.kept:
                w.line(f"k{number}[turn] = v{number};")
        for each in sums:
            made = self.values[self._argument(each)]
            w.line(f"s{each} = {combined(self._op(each), f's{each}', made)};")
        for operand, value in stores:
            written = store(
                self.kernel.operands[operand].dtype, address[operand], self.values[value]
            )
            w.line(f"if (is_in) {written}")
        self.values = outer
        self.known |= self.kept & set(self.sweeps.needed(roots, frozenset(self.values)))

    def _meet(self, number: int) -> None:
        """Bring together what the lanes of a row have summed up."""
        layout, wide = self.layout, self._wide(number)
        partial = f"s{number}"
        if self._is_long(number):
            wide, partial = "float64", f"t{number}"
        if layout.lanes > 1:
            apart = layout.slots if layout.is_column else 1
            partial = (
                f"gn_together<gn_{self._op(number)}, {layout.lanes}, {apart}>({partial}, shared)"
            )
        dtype = self.sweeps.dtypes[number]
        made = apply("cast", dtype, [partial], [wide]) if wide != dtype else partial
        self.w.line(f"const {register(dtype)} v{number} = {made};")
        self.values[number] = f"v{number}"

    def _row_stores(self) -> None:
        """Write what there is one of for a row."""
        w, layout = self.w, self.layout
        if not self.sweeps.row_stores:
            return
        if self.sweeps.swept_stores and layout.lanes > 1:
            w.line("__syncthreads();  // all have read what may be written now")
        with w.block("if (is_in && lane == 0)"):
            for operand, value in self.sweeps.row_stores:
                dtype = self.kernel.operands[operand].dtype
                w.line(store(dtype, f"q{operand}", self.values[value]))

    # ----------------------------------------------------------------------------- the sums

    def _reduce(self, number: int) -> Reduce:
        value = self.kernel.values[number]
        assert isinstance(value, Reduce)
        return value

    def _op(self, number: int) -> str:
        return self._reduce(number).op

    def _argument(self, number: int) -> int:
        return self._reduce(number).arg

    def _wide(self, number: int) -> str:
        """The dtype in which lanes sum up."""
        dtype = self.sweeps.dtypes[number]
        return "float32" if is_half(as_dtype(dtype)) else dtype

    def _is_long(self, number: int) -> bool:
        """Whether a float sum goes on to float64 now and then."""
        is_float = is_inexact(as_dtype(self._wide(number)))
        return self._op(number) == "sum" and is_float and self.layout.turns > TURNS_PER_SUM


def _arguments(value: object) -> tuple[int, ...]:
    match value:
        case Apply():
            return value.args
        case Pick():
            return tuple(each for each, _ in value.terms)
    return ()
