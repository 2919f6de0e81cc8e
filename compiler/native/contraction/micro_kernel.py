"""Micro-kernels: a block of sums that stays in registers while products are added to it.

*Across*: vectors lie along the columns, the rows' factors are broadcast. *Along*: vectors of both
operands lie along the summed axis, and the lanes of every sum are added up at the end. The order
of summation depends on the plan alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from graphnn.compiler.native.builder import Builder, V, element_of, lanes_of, vector_of
from graphnn.compiler.native.contraction.access import Access
from graphnn.compiler.native.contraction.plan import FLOATS, Plan, Segment, accumulated
from graphnn.compiler.native.memory import ITEMSIZE, Strip, load_strip
from graphnn.compiler.native.scalars import register_type
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.walk import Number, moved, nested, plus

__all__ = ["multiply", "sum_type"]

Block = list[list[V]]
"""Vectors of a block, by row."""

Sums = list[list[list[V]]]
"""Where the sums of a block are kept: by copy, row and vector."""

Step = Callable[[Sequence[Number], int, int], None]
"""Add products at these positions to one copy; so many lanes are in use."""


def sum_type(plan: Plan, lanes: int) -> str:
    """The LLVM type of so many sums."""
    return vector_of(register_type(accumulated(plan.matrices.dtype)), lanes)


def multiply(
    b: Builder,
    plan: Plan,
    target: Target,
    left: Access,
    right: Access,
    shape: tuple[Segment, Segment],
    between: tuple[Number, Number],
    before: Callable[[int, int], V] | None,
) -> Block:
    """Print a block's sums over a range of the outermost summed axis.

    Parameters
    ----------
    left, right : Access
        At the block.
    shape : pair of Segment
        The rows and the columns.
    between : pair of V or int
        The range.
    before : callable, optional
        Sums so far, by row and vector; else they begin at zero.
    """
    rows, columns = shape[0].width, shape[1]
    vectors = columns.width if plan.is_dot else columns.stored // plan.lanes
    type_ = sum_type(plan, plan.lanes)
    sums = [
        [[b.local(type_) for _ in range(vectors)] for _ in range(rows)] for _ in range(plan.copies)
    ]
    starts_from = before if not plan.is_dot else None
    for copy, block in enumerate(sums):
        for i, row in enumerate(block):
            for j, place in enumerate(row):
                known = starts_from is not None and copy == 0
                zero = V("0" if plan.lanes == 1 else "zeroinitializer", type_)
                if plan.lanes == 1 and plan.matrices.dtype in FLOATS:
                    zero = b.real(0.0, type_)
                b.store(starts_from(i, j) if known and starts_from else zero, place, 4)
    add = _across if not plan.is_dot else _along
    add(b, plan, target, left, right, columns, between, sums)
    block = [
        [_total(b, plan, [copy[i][j] for copy in sums]) for j in range(vectors)]
        for i in range(rows)
    ]
    return [[_reduced(b, row)] for row in block] if plan.is_dot else block


def _total(b: Builder, plan: Plan, places: Sequence[V]) -> V:
    """The copies of one sum added up."""
    values = [b.load(place, sum_type(plan, plan.lanes), 4) for place in places]
    while len(values) > 1:
        values = [_add(b, plan, *pair) if len(pair) > 1 else pair[0] for pair in _pairs(values)]
    return values[0]


def _pairs(values: Sequence[V]) -> Iterator[Sequence[V]]:
    return (values[at : at + 2] for at in range(0, len(values), 2))


def _add(b: Builder, plan: Plan, x: V, y: V) -> V:
    dtype = plan.matrices.dtype
    return b.binary("fadd" if dtype in FLOATS else "or" if dtype == "bool" else "add", x, y)


def _add_product(b: Builder, plan: Plan, target: Target, x: V, y: V, place: V) -> None:
    """``place += x * y``."""
    total, dtype = b.load(place, x.type, 4), plan.matrices.dtype
    if dtype in FLOATS:
        if target.has_fma:
            total = b.intrinsic("fma", x, y, total)
        else:
            total = b.binary("fadd", total, b.binary("fmul", x, y))
    elif dtype == "bool":
        total = b.binary("or", total, b.binary("and", x, y))
    else:
        total = b.binary("add", total, b.binary("mul", x, y))
    b.store(total, place, 4)


# ------------------------------------------------------------------------------------- loops


def _walk(b: Builder, plan: Plan, between: tuple[Number, Number], width: int, step: Step) -> None:
    """Call ``step`` for all positions along the summed axes, ``width`` of the innermost at once."""
    axes = plan.matrices.summed
    size = axes[-1].size
    whole = not plan.is_summed_in_steps or len(axes) > 1
    with nested(b, [axis.size for axis in axes[:-1]], *between) as outer:
        if not whole:
            with b.loop(*between, width) as index:
                step([*outer, index], 0, width)
            return
        turn = plan.copies * width
        done = size // turn * turn
        if done == turn:
            for copy in range(plan.copies):
                step([*outer, copy * width], copy, width)
        elif done:
            with b.loop(0, done, turn) as index:
                for copy in range(plan.copies):
                    at = plus(b, index, copy * width)
                    step([*outer, at], copy, width)
        for copy, rest in enumerate(range(done, size, width)):
            step([*outer, rest], copy, min(width, size - rest))


def _across(
    b: Builder,
    plan: Plan,
    target: Target,
    left: Access,
    right: Access,
    columns: Segment,
    between: tuple[Number, Number],
    sums: Sums,
) -> None:
    lanes = plan.lanes
    vectors = columns.stored // lanes
    strips = [
        Strip(lanes, lanes if right.dtype != plan.matrices.right or plan.packs_right
              else min(lanes, columns.width - j * lanes))
        for j in range(vectors)
    ]  # fmt: skip

    def step(at: Sequence[Number], copy: int, _: int) -> None:
        from_left = moved(b, left.base, at, left.summed)
        from_right = moved(b, right.base, at, right.summed)
        factors = [
            load_strip(b, right.dtype, b.at(from_right, j * lanes * right.lane_step),
                       right.lane_step, strip)
            for j, strip in enumerate(strips)
        ]  # fmt: skip
        for i, row in enumerate(sums[copy]):
            place = b.at(from_left, i * left.step)
            if left.lane_step == 0:
                shared = load_strip(b, left.dtype, place, 0, Strip(lanes, lanes))
            for j, (strip, total) in enumerate(zip(strips, row, strict=True)):
                if left.lane_step:
                    own = b.at(place, j * lanes * left.lane_step)
                    shared = load_strip(b, left.dtype, own, left.lane_step, strip)
                _add_product(b, plan, target, shared, factors[j], total)

    _walk(b, plan, between, 1, step)


def _along(
    b: Builder,
    plan: Plan,
    target: Target,
    left: Access,
    right: Access,
    columns: Segment,
    between: tuple[Number, Number],
    sums: Sums,
) -> None:
    def step(at: Sequence[Number], copy: int, valid: int) -> None:
        strip = Strip(plan.lanes, valid)
        from_left = moved(b, left.base, at, left.summed)
        from_right = moved(b, right.base, at, right.summed)

        def factor(side: Access, base: V, number: int) -> V:
            return load_strip(
                b, side.dtype, b.at(base, number * side.step), ITEMSIZE[side.dtype], strip
            )

        # The side with fewer vectors stays in registers.
        rows = sums[copy]
        if len(rows) > columns.width:
            kept = [factor(right, from_right, j) for j in range(columns.width)]
            for i, row in enumerate(rows):
                passing = factor(left, from_left, i)
                for each, total in zip(kept, row, strict=True):
                    _add_product(b, plan, target, passing, each, total)
            return
        kept = [factor(left, from_left, i) for i in range(len(rows))]
        for j in range(columns.width):
            passing = factor(right, from_right, j)
            for each, row in zip(kept, rows, strict=True):
                _add_product(b, plan, target, each, passing, row[j])

    _walk(b, plan, between, plan.lanes, step)


def _reduced(b: Builder, values: Sequence[V]) -> V:
    """The lanes of every vector added up: one vector of sums, filled up to a power of two."""
    lanes = lanes_of(values[0].type)
    count = 1 << (len(values) - 1).bit_length()
    level = [*values, *[V("zeroinitializer", values[0].type)] * (count - len(values))]
    if lanes == 1:
        return level[0]
    group = lanes  # lanes that belong to one sum
    while len(level) > 1:
        level = [_halved(b, x, y, group) for x, y in zip(level[::2], level[1::2], strict=True)]
        group //= 2
    (value,) = level
    while group > 1:
        value = _halved(b, value, None, group)
        group //= 2
    return value


def _halved(b: Builder, x: V, y: V | None, group: int) -> V:
    """Add the two halves of every group of lanes of one vector, then of another."""
    lanes = lanes_of(x.type)
    n_lanes = lanes if y is None else 2 * lanes
    starts = range(0, n_lanes, group)
    low = [start + lane for start in starts for lane in range(group // 2)]
    high = [lane + group // 2 for lane in low]
    other = y if y is not None else V("poison", x.type)
    if len(low) == 1:
        return b.binary("fadd", b.lane(x, 0), b.lane(x, 1))
    parts = []
    for picked in (low, high):
        mask = ", ".join(f"i32 {lane}" for lane in picked)
        kept = vector_of(element_of(x.type), len(picked))
        text = f"shufflevector {x}, {other}, <{len(picked)} x i32> <{mask}>"
        parts.append(b.emit(kept, text))
    return b.binary("fadd", *parts)
