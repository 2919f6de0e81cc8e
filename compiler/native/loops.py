"""Printing the loops of a kernel: vectors, sums, sweeps, tails.

:mod:`~graphnn.compiler.native.loop_plan` says how the loops are arranged; here they are printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from graphnn.compiler.kernel import Apply, Index, Kernel, Literal, Load, Pick, Reduce
from graphnn.compiler.native.accumulator import Accumulator
from graphnn.compiler.native.builder import V, vector_of
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.loop_plan import STEPS_PER_SUM, LoopPlan
from graphnn.compiler.native.memory import Strip, load_strip, pick, store_strip
from graphnn.compiler.native.scalars import apply, literal, register_type
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.walk import BEGIN, END, begun, moved, parameter, positions
from graphnn.core.dtypes import as_dtype

__all__ = ["generate"]


def generate(kernel: Kernel, target: Target, name: str) -> Code:
    """Print a kernel as one function.

    Parameters
    ----------
    kernel : Kernel
        Without a `Product`.
    target : Target
    name : str
        Of the function.

    Returns
    -------
    Code
    """
    plan = LoopPlan(kernel, target)
    return Code(_Printer(plan, target, name).printed(), ((name, plan.n_chunks),))


class Frame:
    """A place in the loop nest: the indices that are known there, and the values.

    Attributes
    ----------
    lanes, unroll : int
        Values are so many vectors of so many lanes: one scalar outside of the vector axis.
    count : int
        Lanes of the (last) vector that exist.
    """

    def __init__(
        self,
        parent: Frame | None,
        indices: Mapping[int, V],
        pointers: Mapping[int, V] | None = None,
        vectors: tuple[int, int, int] | None = None,
    ) -> None:
        self.parent = parent
        self.indices = indices
        self.values: dict[int, list[V]] = {}
        self.pointers: dict[int, V] = dict(pointers or {})
        self.vectors: tuple[int, int, int] = vectors or (parent.vectors if parent else (1, 1, 1))
        self.lanes, self.unroll, self.count = self.vectors

    @property
    def strip(self) -> Strip:
        """Each of its vectors."""
        return Strip(self.lanes, self.count)

    def index(self, axis: int) -> V:
        """The position along an axis: of the first lane for the vector axis."""
        frame: Frame | None = self
        while frame is not None:
            if axis in frame.indices:
                return frame.indices[axis]
            frame = frame.parent
        raise KeyError(axis)

    def find(self, number: int) -> tuple[Frame, list[V]] | None:
        """The frame that has computed a value, and the value there."""
        frame: Frame | None = self
        while frame is not None:
            if number in frame.values:
                return frame, frame.values[number]
            frame = frame.parent
        return None


class _Printer:
    """Prints one kernel."""

    def __init__(self, plan: LoopPlan, target: Target, name: str) -> None:
        self.plan = plan
        self.kernel = plan.kernel
        self.b = begun(name, target)
        self._kept: dict[int, V] = {}  # where what earlier sweeps made is kept
        self._recallable: frozenset[int] = frozenset()

    def printed(self) -> str:
        """The function, and what it declares."""
        b, plan = self.b, self.plan
        bases = {number: parameter(b, number) for number in range(len(self.kernel.operands))}
        with b.loop(BEGIN, END) as chunk:
            (block,), row = positions(b, chunk, [plan.n_blocks])
            places, _ = positions(b, row, [self.kernel.sizes[axis] for axis in plan.row_axes])
            indices = dict(zip(plan.row_axes, places, strict=True))
            frame = Frame(None, indices, pointers=self._moved(bases, indices))
            self._compute_outer(frame)
            if plan.is_column and plan.vector_axis >= 0:
                for columns in self._columns(frame, block):
                    self._piece(columns)
            else:
                self._piece(frame)
        return "\n".join([*sorted(b.declared), b.function()])

    # ------------------------------------------------------------------------- addresses

    def _moved(self, pointers: Mapping[int, V], indices: Mapping[int, V]) -> dict[int, V]:
        """Addresses moved along some axes."""
        at = tuple(indices.values())
        return {
            number: moved(self.b, pointers[number], at, [operand.strides[axis] for axis in indices])
            for number, operand in enumerate(self.kernel.operands)
        }

    def _inner(
        self, parent: Frame, axis: int, index: V, vectors: tuple[int, int, int] | None = None
    ) -> Frame:
        """The frame within a loop over an axis."""
        pointers = self._moved(parent.pointers, {axis: index})
        return Frame(parent, {axis: index}, pointers, vectors)

    def _address(self, frame: Frame, operand: int, vector: int) -> V:
        """Where a vector of an operand begins."""
        stride = self._lane_stride(frame, operand)
        return self.b.at(frame.pointers[operand], vector * frame.lanes * stride)

    def _lane_stride(self, frame: Frame, operand: int) -> int:
        """Bytes from lane to lane; 0 outside of the vector axis."""
        axis = self.plan.vector_axis
        if axis < 0 or not self._is_vector(frame):
            return 0
        return self.kernel.operands[operand].strides[axis]

    def _is_vector(self, frame: Frame | None) -> bool:
        """Whether a frame is within the loop over the vector axis."""
        while frame is not None:
            if self.plan.vector_axis in frame.indices:
                return True
            frame = frame.parent
        return False

    # --------------------------------------------------------------------------- pieces

    def _columns(self, row: Frame, block: V) -> Iterator[Frame]:
        """The columns of a chunk: the main loop, then single vectors, then a part of one."""
        b, plan = self.b, self.plan
        n_main = plan.length // plan.step * plan.step
        if n_main:
            start = b.binary("mul", block, b.integer(plan.block))
            stop: V = b.binary("add", start, b.integer(plan.block))
            if n_main != plan.n_blocks * plan.block:
                stop = b.intrinsic("smin", stop, b.integer(n_main))
            with b.loop(start, stop, plan.step) as index:
                yield self._inner(
                    row, plan.vector_axis, index, (plan.lanes, plan.unroll, plan.lanes)
                )
        if n_main == plan.length:
            return
        if plan.n_blocks == 1:
            yield from self._rest(row, n_main)
            return
        with b.when(b.compare("icmp eq", block, b.integer(plan.n_blocks - 1))):
            yield from self._rest(row, n_main)

    def _rest(self, parent: Frame, start: int) -> Iterator[Frame]:
        """What the main loop has left of the vector axis."""
        plan, axis, lanes = self.plan, self.plan.vector_axis, self.plan.lanes
        stop = plan.length // lanes * lanes
        if stop > start:
            with self.b.loop(start, stop, lanes) as index:
                yield self._inner(parent, axis, index, (lanes, 1, lanes))
        if plan.length > stop:
            index = self.b.integer(stop)
            yield self._inner(parent, axis, index, (lanes, 1, plan.length - stop))

    def _piece(self, outer: Frame) -> None:
        """All sweeps for one row, or for one step of columns."""
        self._kept = {}
        self._compute_outer(outer)
        for sweep, roots in enumerate(self.plan.roots_by_sweep):
            self._sweep(outer, sweep, roots)
            self._compute_outer(outer)
        for operand, value in self.plan.row_stores:
            self._store(outer, operand, value)

    def _compute_outer(self, frame: Frame) -> None:
        """What is known outside of the sweeps so far and not yet computed."""
        plan = self.plan
        roots = [value for _, value in self.kernel.stores]
        roots += [each for roots in plan.roots_by_sweep for each in roots]
        roots += [each for sums in plan.sums for each in sums]
        is_vector = self._is_vector(frame) or not plan.is_column
        for number in plan.needed(roots, frozenset()):
            value = self.kernel.values[number]
            if plan.is_swept(number) or isinstance(value, Reduce) or frame.find(number):
                continue
            if not is_vector and (plan.vector_axis in plan.varies[number] or plan.sweep[number]):
                continue
            if all(frame.find(each) for each in _arguments(value)):
                self._compute(frame, number)

    # --------------------------------------------------------------------------- sweeps

    def _sweep(self, outer: Frame, sweep: int, roots: Sequence[int]) -> None:
        """One pass over the reduced axes: sums are added up, and elements stored in the last."""
        plan, kernel = self.plan, self.kernel
        sums = plan.sums[sweep] if sweep < len(plan.sums) else ()
        is_last = plan.swept_stores and sweep == plan.last_stores_sweep
        accumulators = {each: self._accumulator(each, outer) for each in sums}
        self._recallable = frozenset(self._kept)

        def body(frame: Frame) -> None:
            for root in roots:
                self._require(frame, root)
            for each, accumulator in accumulators.items():
                value = kernel.values[each]
                assert isinstance(value, Reduce)
                accumulator.add(self._value(frame, value.arg), frame.count)
            for operand, stored in plan.swept_stores if is_last else ():
                self._store(frame, operand, stored)

        def flush() -> None:
            for accumulator in accumulators.values():
                accumulator.flush()

        self._run_loops(outer, 0, body, flush)
        for each, accumulator in accumulators.items():
            outer.values[each] = accumulator.result()

    def _accumulator(self, number: int, outer: Frame) -> Accumulator:
        plan, value = self.plan, self.kernel.values[number]
        assert isinstance(value, Reduce)
        lanes, unroll = (outer.lanes, outer.unroll) if plan.is_column else (plan.lanes, plan.unroll)
        return Accumulator(
            self.b,
            value.op,
            plan.dtypes[number],
            lanes,
            unroll,
            adds_lanes=not plan.is_column,
            is_long=plan.flushes_after is not None,
        )

    def _run_loops(
        self, frame: Frame, depth: int, body: Callable[[Frame], None], flush: Callable[[], None]
    ) -> None:
        """The loops over the reduced axes from a depth inwards."""
        b, plan = self.b, self.plan
        if depth == len(plan.sweep_trips):
            body(frame)
            return
        is_vector = depth == len(plan.swept_axes)
        axis, step = (plan.vector_axis, plan.step) if is_vector else (plan.swept_axes[depth], 1)
        stop = plan.sweep_trips[depth] * step
        vectors = (plan.lanes, plan.unroll, plan.lanes) if is_vector else None

        def loop(first: V | int, last: V | int) -> None:
            with b.loop(first, last, step) as index:
                self._run_loops(self._inner(frame, axis, index, vectors), depth + 1, body, flush)
                if plan.flushes_after == depth:
                    flush()

        if plan.flushes_after == len(plan.sweep_trips) and depth == plan.flushes_after - 1:
            block = STEPS_PER_SUM // 2 * step
            with b.loop(0, stop, block) as start:
                end = b.binary("add", start, b.integer(block))
                loop(start, b.intrinsic("smin", end, b.integer(stop)))
                flush()
        elif stop:
            loop(0, stop)
        if is_vector:
            for rest in self._rest(frame, stop):
                body(rest)

    # --------------------------------------------------------------------------- values

    def _require(self, frame: Frame, root: int) -> None:
        """Compute a value and what it needs, in order."""
        known = frozenset(number for number in range(len(self.kernel.values)) if frame.find(number))
        for number in self.plan.needed([root], known | self._recallable):
            self._compute(frame, number)

    def _value(self, frame: Frame, number: int) -> list[V]:
        """A value in the vectors of a frame."""
        found = frame.find(number)
        if found is None:
            frame.values[number] = self._recalled(frame, number)
            return frame.values[number]
        where, value = found
        if (where.lanes, where.unroll) != (frame.lanes, frame.unroll):
            value = [self.b.splat(value[0], frame.lanes)] * frame.unroll
            frame.values[number] = value
        return value

    def _compute(self, frame: Frame, number: int) -> None:
        """Print the computation of a value whose arguments are known."""
        value, b = self.kernel.values[number], self.b
        vectors = range(frame.unroll)
        match value:
            case Load(operand):
                made = [self._read(frame, operand, each) for each in vectors]
            case Pick():
                made = [self._pick(frame, value, each) for each in vectors]
            case Literal(dtype, text):
                made = [literal(b, dtype, text, frame.lanes)] * frame.unroll
            case Index(axis):
                made = [self._index(frame, axis, each) for each in vectors]
            case Apply(op, dtype, args):
                given = [self._value(frame, each) for each in args]
                dtypes = [self.plan.dtypes[each] for each in args]
                made = [apply(b, op, dtype, [a[each] for a in given], dtypes) for each in vectors]
            case _:
                raise TypeError(f"a kernel of loops holds {value!r}")
        frame.values[number] = made
        if number in self.plan.kept and self._is_vector(frame):
            self._keep(frame, number, made)

    def _read(self, frame: Frame, operand: int, vector: int) -> V:
        address, stride = self._address(frame, operand, vector), self._lane_stride(frame, operand)
        dtype = self.kernel.operands[operand].dtype
        return load_strip(self.b, dtype, address, stride, frame.strip)

    def _store(self, frame: Frame, operand: int, number: int) -> None:
        """Write a value; one that has lanes, but no place for each, is the same in all."""
        dtype, stride = self.kernel.operands[operand].dtype, self._lane_stride(frame, operand)
        for vector, value in enumerate(self._value(frame, number)):
            strip = frame.strip
            if stride == 0:
                value, strip = self.b.lane(value, 0), Strip(1, 1)
            store_strip(self.b, dtype, value, self._address(frame, operand, vector), stride, strip)

    def _index(self, frame: Frame, axis: int, vector: int) -> V:
        b, index = self.b, frame.index(axis)
        if axis != self.plan.vector_axis:
            return b.splat(index, frame.lanes)
        steps = b.numbered(frame.lanes)
        first = b.binary("add", index, b.integer(vector * frame.lanes))
        return b.binary("add", b.splat(first, frame.lanes), steps)

    def _pick(self, frame: Frame, value: Pick, vector: int) -> V:
        b, operand = self.b, value.operand
        dtype = self.kernel.operands[operand].dtype
        start, stride = self._address(frame, operand, vector), self._lane_stride(frame, operand)
        terms = [(self._value(frame, each)[vector], bytes_) for each, bytes_ in value.terms]
        if all(self.plan.vector_axis not in self.plan.varies[each] for each, _ in value.terms):
            return load_strip(b, dtype, self._along(start, terms, 0), stride, frame.strip)
        addresses = [
            self._along(b.at(start, lane * stride), terms, lane) for lane in range(frame.count)
        ]
        return pick(b, dtype, addresses, frame.lanes)

    def _along(self, address: V, terms: Iterable[tuple[V, int]], lane: int) -> V:
        """An address moved by the terms of one lane."""
        b = self.b
        for index, bytes_ in terms:
            address = b.at(address, b.binary("mul", b.lane(index, lane), b.integer(bytes_)))
        return address

    # ----------------------------------------------------------------- kept between sweeps

    def _place(self, frame: Frame, memory: V, itemsize: int, vector: int) -> V:
        """Where in the memory of a row a vector of the sweep lies."""
        b, plan = self.b, self.plan
        width = plan.step if plan.is_column else plan.length
        position = b.integer(0)
        for axis in plan.swept_axes:
            position = b.binary("mul", position, b.integer(self.kernel.sizes[axis]))
            position = b.binary("add", position, frame.index(axis))
        position = b.binary("mul", position, b.integer(width))
        if not plan.is_column:
            position = b.binary("add", position, frame.index(plan.vector_axis))
        position = b.binary("add", position, b.integer(vector * frame.lanes))
        return b.at(memory, b.binary("mul", position, b.integer(itemsize)))

    def _keep(self, frame: Frame, number: int, made: Sequence[V]) -> None:
        """Keep a value for the sweeps that follow."""
        dtype = self.plan.dtypes[number]
        itemsize = max(4, as_dtype(dtype).itemsize)
        if number not in self._kept:
            count = self.plan.row_elements + self.plan.step
            self._kept[number] = self.b.local("i8", count * itemsize)
        for vector, value in enumerate(made):
            self.b.store(value, self._place(frame, self._kept[number], itemsize, vector), itemsize)

    def _recalled(self, frame: Frame, number: int) -> list[V]:
        """What was kept of a value in an earlier sweep."""
        dtype = self.plan.dtypes[number]
        itemsize = max(4, as_dtype(dtype).itemsize)
        wide = vector_of(register_type(dtype), frame.lanes)
        return [
            self.b.load(self._place(frame, self._kept[number], itemsize, vector), wide, itemsize)
            for vector in range(frame.unroll)
        ]


def _arguments(value: object) -> tuple[int, ...]:
    """The values that a value is computed from."""
    match value:
        case Apply():
            return value.args
        case Pick():
            return tuple(each for each, _ in value.terms)
        case _:
            return ()
