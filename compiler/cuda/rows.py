"""Kernels in CUDA C++ whose rows are summed up.

Lanes take turns along their row, meet, and sweep over it again where a value needs what they found;
how many there are is said by :mod:`~graphnn.compiler.cuda.layout`. A lane may take neighbours
together: :mod:`~graphnn.compiler.cuda.vectors`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext

from graphnn.compiler.cuda.code import Code, Part
from graphnn.compiler.cuda.layout import Layout, layout_of
from graphnn.compiler.cuda.scalars import apply, combined, identity, literal, register
from graphnn.compiler.cuda.vectors import MOST_UNROLLED, Neighbours, Turn, Wide
from graphnn.compiler.cuda.writer import Writer, signature
from graphnn.compiler.kernel import EXPENSIVE, Apply, Load, Pick, Reduce
from graphnn.compiler.sweeps import Sweeps
from graphnn.core.dtypes import as_dtype, is_half, is_inexact

__all__ = ["Rows"]

TURNS_PER_SUM = 64
"""Additions of a lane before a float32 sum goes on to float64: keeps rounding errors small."""

MOST_KEPT = 8
"""Turns of a lane for which values that several sweeps need are kept in registers."""


class Rows(Neighbours):
    """A kernel with sums along its rows."""

    def __init__(
        self, sweeps: Sweeps, name: str, w: Writer, n_before: int = 0, wide: Wide | None = None
    ) -> None:
        super().__init__(sweeps, name, w, n_before, wide)
        worth = self._worth_keeping()
        n_kept = sum(1 + (sweeps.dtypes[each] in ("float64", "int64")) for each in worth)
        self.layout: Layout = layout_of(sweeps, self.width, n_kept)
        fits = self.layout.turns * self.width * n_kept <= self.layout.kept_registers
        self.kept = worth if fits and self.layout.turns <= MOST_KEPT else frozenset[int]()
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
                kind = register(self.sweeps.dtypes[number])
                w.line(f"{kind} k{number}[{layout.turns}]{self.array(number)};")
            self._position()
            self._outer_values(loads_only=True)
            self._outer_values()
            for sweep, roots in enumerate(self.sweeps.roots_by_sweep):
                self._sweep(sweep, roots)
                self._outer_values()
            self._row_stores()
        nbytes = 8 * threads if layout.lanes > 1 else 0
        return Code(w.text, (Part(self.name, layout.blocks, threads, static_nbytes=nbytes),))

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
        self.row_indices = self.index_variables("row", axes)
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
        """What several sweeps need, and costs a read or much arithmetic."""
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
        long = [each for each in sums if self._is_long(each)]
        for each in sums:
            self._begin(f"s{each}", each, self._wide(each))
            if each in long:
                self._begin(f"t{each}", each, "float64")
        kind, together = self.index_type, self._together(sums, stores)
        count, lanes = layout.elements, layout.lanes
        turns = [f"at + {turn * lanes}" if turn else "at" for turn in range(together)]
        unroll = f"#pragma unroll {1 if stores else MOST_UNROLLED}"
        if self.kept:
            w.line("#pragma unroll")
            with w.block(f"for (int turn = 0; turn < {layout.turns}; turn += {together})"):
                w.line(f"const {kind} at = lane + turn * {lanes};")
                if count % lanes:
                    w.line(f"if (at >= {count}) break;")
                self._elements(turns, roots, sums, stores)
        elif long:
            step = lanes * max(together, TURNS_PER_SUM // self._per_turn())
            with w.block(f"for ({kind} from = lane; from < {count}; from += {step})"):
                until = f"(from + {step} < {count} ? from + {step} : {count})"
                w.line(unroll)
                with w.block(f"for ({kind} at = from; at < {until}; at += {lanes * together})"):
                    self._elements(turns, roots, sums, stores)
                for each in long:
                    e = self.element(each)
                    with self.each() if e else nullcontext():
                        w.line(f"t{each}{e} += s{each}{e};")
                        w.line(f"s{each}{e} = 0;")
        else:
            w.line(unroll)
            with w.block(f"for ({kind} at = lane; at < {count}; at += {lanes * together})"):
                self._elements(turns, roots, sums, stores)
        for each in sums:
            self._meet(each)

    def _together(self, sums: Sequence[int], stores: Sequence[tuple[int, int]]) -> int:
        """Turns that read before the first of them writes: what is written may be read later."""
        layout, together = self.layout, MOST_UNROLLED if stores else 1
        if not (sums or self.kept):
            return min(together, layout.turns)  # the last turns may find nothing to do
        if layout.elements % layout.lanes:
            return 1
        while layout.turns % together:
            together //= 2
        return together

    def _begin(self, name: str, number: int, dtype: str) -> None:
        """A variable that a lane sums up in."""
        nothing = literal(dtype, identity(self._op(number), dtype))
        array = self.array(number)
        self.w.line(f"{register(dtype)} {name}{array}{'' if array else f' = {nothing}'};")
        if array:
            with self.each():
                self.w.line(f"{name}[e] = {nothing};")

    def _elements(
        self,
        turns: Sequence[str],
        roots: Sequence[int],
        sums: Sequence[int],
        stores: Sequence[tuple[int, int]],
    ) -> None:
        """What is done for some elements of a row: reads, values and sums, stores."""
        outer, made = self.values, []
        known = frozenset(outer) | self.known
        numbers = self.sweeps.needed(roots, known)
        for turn, at in enumerate(turns):
            self.suffix = f"_{turn}" if len(turns) > 1 else ""
            self.values = dict(outer)
            for number in self.known:
                self.values[number] = self._kept(number, turn)
            made.append(self._element(at, len(turns)))
            self.define_first(numbers, made[-1].address, made[-1].indices)
        for turn, each in enumerate(made):
            self.suffix, self.values = each.suffix, each.values
            self._keep([number for number in numbers if not self.is_many(number)], turn)
            for number in sums:
                if not self._is_per_neighbour(number):
                    self._add(number)
            self.declare(stores)
            with self.each():
                self.define_others(numbers, each.address, each.indices)
                self._keep([number for number in numbers if self.is_many(number)], turn)
                for number in sums:
                    if self._is_per_neighbour(number):
                        self._add(number)
                self.fill(stores)
        for each in made:
            self.suffix, self.values = each.suffix, each.values
            self.write(stores, each.address, each.guard)
        self.suffix, self.values = "", outer
        self.known |= self.kept & set(numbers)

    def _element(self, at: str, n_turns: int) -> Turn:
        """Where an element of the row is, in one of several turns."""
        kind, count, guard = self.index_type, self.layout.elements, "if (is_in) "
        if self.suffix:
            if count % (self.layout.lanes * n_turns):
                guard = f"if (is_in && {at} < {count}) "
                at = f"{at} < {count} ? {at} : {count - 1}"
            self.w.line(f"const {kind} at{self.suffix} = {at};")
            at = f"at{self.suffix}"
        axes = [*self.sweeps.swept_axes]
        if self.sweeps.vector_axis in self.kernel.reduced:
            axes.append(self.sweeps.vector_axis)
        own = self.index_variables(at, axes)
        address = {n: f"q{n} + ({self.offset(n, own)})" for n in range(len(self.kernel.operands))}
        return Turn(self.suffix, guard, {**self.row_indices, **own}, address, self.values)

    def _kept(self, number: int, turn: int) -> str:
        """The place of a value that is kept."""
        place = f"turn + {turn}" if turn else "turn"
        return f"k{number}[{place}]{self.element(number)}"

    def _keep(self, numbers: Sequence[int], turn: int) -> None:
        """Keep what later sweeps need."""
        for number in numbers:
            if number in self.kept:
                self.w.line(f"{self._kept(number, turn)} = {self.values[number]};")

    def _row_stores(self) -> None:
        """Write what there is one of for a row."""
        w, layout, stores = self.w, self.layout, self.sweeps.row_stores
        if not stores:
            return
        if self.sweeps.swept_stores and layout.lanes > 1:
            w.line("__syncthreads();  // all have read what may be written now")
        with w.block("if (is_in && lane == 0)"):
            self.declare(stores)
            with self.each():
                self.fill(stores)
            self.write(stores, self.row_address, "")

    # ----------------------------------------------------------------------------- the sums

    def _reduce(self, number: int) -> Reduce:
        value = self.kernel.values[number]
        assert isinstance(value, Reduce)
        return value

    def _op(self, number: int) -> str:
        return self._reduce(number).op

    def _argument(self, number: int) -> int:
        return self._reduce(number).arg

    def _is_per_neighbour(self, number: int) -> bool:
        """Whether a sum takes up neighbours one by one, or there is one sum for each of them."""
        return self.sweeps.vector_axis in self.kernel.reduced or self.is_many(number)

    def _add(self, number: int) -> None:
        """Take up an element."""
        sum_ = f"s{number}{self.element(number)}"
        made = self.values[self._argument(number)]
        self.w.line(f"{sum_} = {combined(self._op(number), sum_, made)};")

    def _meet(self, number: int) -> None:
        """Bring together what the lanes of a row have summed up."""
        layout, wide, dtype = self.layout, self._wide(number), self.sweeps.dtypes[number]
        e, array = self.element(number), self.array(number)
        partial = f"s{number}{e}"
        if self._is_long(number):
            wide, partial = "float64", f"t{number}{e}"
        if layout.lanes > 1:
            apart = layout.slots if layout.is_column else 1
            partial = (
                f"gn_together<gn_{self._op(number)}, {layout.lanes}, {apart}>({partial}, shared)"
            )
        made = apply("cast", dtype, [partial], [wide]) if wide != dtype else partial
        if array:
            self.w.line(f"{register(dtype)} v{number}{array};")
            with self.each():
                self.w.line(f"v{number}[e] = {made};")
        else:
            self.w.line(f"const {register(dtype)} v{number} = {made};")
        self.values[number] = f"v{number}{e}"

    def _per_turn(self) -> int:
        """Additions of a lane to a sum in one turn."""
        return 1 if self.layout.is_column else self.width

    def _wide(self, number: int) -> str:
        """The dtype in which lanes sum up."""
        dtype = self.sweeps.dtypes[number]
        return "float32" if is_half(as_dtype(dtype)) else dtype

    @property
    def _additions(self) -> int:
        """Of a lane, to one sum."""
        return self.layout.turns * self._per_turn()

    def _is_long(self, number: int) -> bool:
        """Whether a float sum goes on to float64 now and then."""
        is_float = is_inexact(as_dtype(self._wide(number)))
        return self._op(number) == "sum" and is_float and self._additions > TURNS_PER_SUM


def _arguments(value: object) -> tuple[int, ...]:
    match value:
        case Apply():
            return value.args
        case Pick():
            return tuple(each for each, _ in value.terms)
    return ()
