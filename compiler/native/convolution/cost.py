"""Estimated cycles of a planned convolution: arithmetic, loads, caches, copies, results.

Numbers are of a core that does two vector operations and two vector loads per cycle. Only the
order of estimates matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from graphnn.compiler.kernel import Contraction
from graphnn.compiler.native.convolution.windows import is_tabled, part_met, phases_of, reach
from graphnn.compiler.native.memory import ITEMSIZE
from graphnn.compiler.native.target import Target

__all__ = [
    "Sums",
    "around",
    "estimated_cycles",
    "extents_of",
    "free_axes",
    "item_bytes",
    "moves",
    "sums_of",
    "touched",
]

LINE = 64
STREAMED, STRIDED, FAR = 32.0, 12.0, 5.0
"""Bytes per cycle from the second cache, in order and with jumps, and from beyond it."""

SHOWN = 0.2
"""Which part of the shorter of arithmetic and loading does not hide behind the longer."""

HIDDEN_VECTORS, HIDDEN_ELEMENTS = 0.15, 0.5
"""Jumps that take up to this part of the arithmetic hide behind it: vectors straddle lines."""

TABLE = 3.0
"""Cycles to begin the loop over the taps that meet the array at a place."""

SHORT = 256
"""Bytes of a run of elements below which it counts as a jump."""


def item_bytes(contraction: Contraction) -> int:
    """Of an element as it is held in registers."""
    return max(4, ITEMSIZE[contraction.dtype])


def free_axes(contraction: Contraction) -> list[int]:
    """The axes that are not summed, in order."""
    return [axis for axis in range(len(contraction.sizes)) if axis not in contraction.summed]


def moves(contraction: Contraction, axis: int) -> tuple[bool, bool]:
    """Whether the left and the right operand move along an axis."""
    if axis in phases_of(contraction):
        return True, True
    bounded = any(axis in (bound.place, bound.tap) for bound in contraction.bounds)
    return (
        bounded or contraction.left.strides[axis] != 0,
        contraction.right.strides[axis] != 0,
    )


_met = lru_cache(maxsize=1024)(part_met)


@dataclass(frozen=True, slots=True)
class Sums:
    """How the sums of a plan are made.

    Attributes
    ----------
    blocks : int
        Register blocks.
    steps : float
        Products of every sum in a block, without taps that meet nothing.
    met : float
        Which part of all products these are.
    cycles : float
        Of all blocks, if the operands are in the innermost cache.
    vectors : int
        Side by side in a block.
    """

    blocks: int
    steps: float
    met: float
    cycles: float
    vectors: int


def sums_of(
    contraction: Contraction,
    target: Target,
    lanes: int,
    vector: int,
    vectors: int,
    tiles: Sequence[int],
    linear: Sequence[bool],
) -> Sums:
    """Count and time the register blocks of a plan; its parts are those of `Plan`."""
    sizes, summed = contraction.sizes, contraction.summed
    blocks, steps, met, rows, columns = 1, 1.0, 1.0, 1, 1
    for axis, size in enumerate(sizes):
        if axis in summed:
            steps *= -(-size // lanes) if axis == vector else size
            continue
        count = vectors if axis == vector else tiles[axis]
        blocks *= -(-size // (lanes * count if axis == vector else count))
        if count > 1 and moves(contraction, axis)[0]:
            rows *= count
        elif count > 1:
            columns *= count
    inner = 1.0  # products of a sum in a turn of the innermost loop over taps of a table
    for bound, is_linear in reversed(list(zip(contraction.bounds, linear, strict=True))):
        is_whole = not is_tabled(bound, is_linear)
        part = 1.0 if is_whole else _met(bound, sizes[bound.place], sizes[bound.tap])
        if met == 1.0:
            inner *= part * sizes[bound.tap]
        met *= part
    steps *= met
    sums, loads = rows * columns, rows + columns
    latency = 4.0 if target.has_fma else 3.0
    step = max(sums * (0.5 if target.has_fma else 1.0), loads * 0.5, latency) + 0.15
    is_any_tabled = any(map(is_tabled, contraction.bounds, linear))
    entries = steps / inner * TABLE if is_any_tabled else 0.0
    overhead = (6.0 if vector in summed else 1.0) * sums + 15
    return Sums(blocks, steps, met, blocks * (steps * step + entries + overhead), vectors)


def estimated_cycles(
    contraction: Contraction,
    target: Target,
    way: Sums,
    vector: int,
    width: int,
    tiles: Sequence[int],
    chunks: Sequence[int],
    packs: tuple[bool, bool],
    hoisted: Sequence[tuple[int, int]],
) -> float:
    """Cycles of the sums of a plan, with what it takes to bring operands near."""
    counts = [
        -(-size // (width if axis == vector else tiles[axis]))
        for axis, size in enumerate(contraction.sizes)
    ]
    streamed, jumping = _memory(
        contraction, target, vector, width, tiles, chunks, counts, packs, hoisted
    )
    blocks, more = way.blocks * way.met, 0.0
    if hoisted:
        n_turns = prod(-(-counts[axis] // turn) for axis, turn in hoisted)
        n_vectors = 1 if vector in contraction.summed else way.vectors
        blocks *= n_turns
        more = way.blocks * n_turns * (1.5 * prod(tiles) * n_vectors + 10)
    streamed, jumping = streamed * blocks, jumping * blocks
    least, most = sorted((way.cycles, streamed))
    of_vectors = vector >= 0 and moves(contraction, vector)[0]
    hidden = (HIDDEN_VECTORS if of_vectors else HIDDEN_ELEMENTS) * way.cycles
    return most + SHOWN * least + max(0.0, jumping - hidden) + more


def _memory(
    contraction: Contraction,
    target: Target,
    vector: int,
    width: int,
    tiles: Sequence[int],
    chunks: Sequence[int],
    counts: Sequence[int],
    packs: tuple[bool, bool],
    hoisted: Sequence[tuple[int, int]],
) -> tuple[float, float]:
    """Cycles of a register block to bring what it reads to the innermost cache.

    Apart for what comes in long runs, which overlaps with arithmetic, and for what does not.
    """
    free = free_axes(contraction)
    extents = extents_of(contraction, vector, width, tiles, hoisted)
    inner = [axis for axis in reversed(free) if chunks[axis] > tiles[axis]]
    order = [
        *((axis, -(-chunks[axis] // tiles[axis])) for axis in inner),
        *((axis, -(-counts[axis] // turn)) for axis, turn in reversed(hoisted)),
        *((axis, -(-counts[axis] * tiles[axis] // chunks[axis])) for axis in reversed(free)),
    ]
    order = [(axis, count) for axis, count in order if count > 1]
    sets = [touched(contraction, extents, number, vector, packs) for number in range(2)]
    cycles = [0.0, 0.0]
    for number in range(2):
        grown, distance, fresh = list(extents), sum(sets), sets[number]
        for axis, count in order:
            if not moves(contraction, axis)[number]:
                break
            one = grown[axis]
            more = min(contraction.sizes[axis], one * count)
            if more <= one:
                continue
            before = touched(contraction, grown, number, vector, packs)
            grown[axis] = more
            after = touched(contraction, grown, number, vector, packs)
            share = (after - before) / max(1.0, more / one - 1)
            fresh = min(fresh, share * sets[number] / before)
            distance = after + touched(contraction, grown, 1 - number, vector, packs)
        again = sets[number] - fresh  # windows that overlap read it at the last place as well
        jumps = number == 0 and _run(contraction, extents, vector) < SHORT
        near = STRIDED if jumps else STREAMED
        brought = _brought(target, fresh, distance, near) + _brought(target, again, sum(sets), near)
        cycles[jumps] += brought
    return cycles[0], cycles[1]


def extents_of(
    contraction: Contraction,
    vector: int,
    width: int,
    tiles: Sequence[int],
    hoisted: Sequence[tuple[int, int]],
) -> list[int]:
    """Positions along every axis that a register block sees in one turn."""
    extents = list(tiles)
    if vector >= 0:
        extents[vector] = width
    for axis in contraction.summed:
        extents[axis] = contraction.sizes[axis]
    for axis, turn in hoisted:
        extents[axis] = min(turn * (width if axis == vector else 1), contraction.sizes[axis])
    return extents


def _run(contraction: Contraction, extents: Sequence[int], vector: int) -> float:
    """Bytes of the left operand that lie side by side: the vector and the shortest step."""
    item, strides = item_bytes(contraction), contraction.left.strides
    run = item * (extents[vector] if vector >= 0 and strides[vector] else 1)
    spans = [(abs(stride), extents[axis]) for axis, stride in enumerate(strides)
             if stride and axis != vector]  # fmt: skip
    for bound in contraction.bounds:
        asked = bound.stride * (extents[bound.place] - 1)
        asked += bound.dilation * (extents[bound.tap] - 1)
        spans.append((abs(bound.step), min(bound.size, asked // bound.x_dilation + 1)))
    return run * min(spans, default=(0, 1))[1]


def _brought(target: Target, nbytes: float, distance: float, near: float) -> float:
    if distance <= 0.8 * target.l1_bytes:
        return 0.0
    return nbytes / (near if distance <= 0.7 * target.l2_bytes else FAR)


def touched(
    contraction: Contraction,
    extents: Sequence[int],
    number: int,
    vector: int,
    packs: tuple[bool, bool],
) -> float:
    """Bytes of an operand in whole cache lines that a part of the domain reads."""
    item, operand = item_bytes(contraction), (contraction.left, contraction.right)[number]
    spans: list[tuple[int, float, bool]] = []
    for axis, stride in enumerate(operand.strides):
        if stride:
            spans.append((abs(stride), extents[axis], axis == vector))
    if number == 0:
        for bound in contraction.bounds:
            asked = bound.stride * (extents[bound.place] - 1)
            asked += bound.dilation * (extents[bound.tap] - 1)
            span = max(1, min(bound.size, asked / bound.x_dilation + 1))
            spans.append((abs(bound.step), span, vector in (bound.place, bound.tap)))
    total = item * prod(span[1] for span in spans)
    is_window = any(vector in (bound.place, bound.tap) for bound in contraction.bounds)
    if number == 1 or (packs[0] and vector >= 0 and operand.strides[vector] and not is_window):
        return total  # long runs
    innermost = min(spans, key=lambda span: (not (span[2] and packs[0]), span[0]), default=None)
    if innermost is not None:
        run = innermost[1] * item
        total *= (run // LINE * LINE + (LINE * 1.3 if run % LINE else 0)) / run
    return total


def around(
    contraction: Contraction, vector: int, lanes: int, strip: int, packs: tuple[bool, bool]
) -> float:
    """Cycles of what is not summation: copies, the epilogue, writing results."""
    return _results(contraction, vector, lanes, strip) + _copies(contraction, packs)


def _results(contraction: Contraction, vector: int, lanes: int, strip: int) -> float:
    """Cycles of the epilogue and of writing."""
    free, epilogue = free_axes(contraction), contraction.epilogue
    count = prod(contraction.sizes[axis] for axis in free)
    if vector in contraction.summed or lanes == 1:
        return 3.0 * count
    if strip != vector:
        return 8.0 / lanes * count
    operand = epilogue.operands[epilogue.stores[0][0]]
    is_unit = operand.strides[free.index(vector)] == ITEMSIZE[operand.dtype]
    return (3.0 / lanes if is_unit else 1.5) * count


def _copies(contraction: Contraction, packs: tuple[bool, bool]) -> float:
    sizes, cycles = contraction.sizes, 0.0
    if packs[0]:
        count = 1.0
        for axis, stride in enumerate(contraction.left.strides):
            count *= sizes[axis] if stride else 1
        for bound in contraction.bounds:
            first, end = reach(bound, sizes[bound.place], sizes[bound.tap])
            count *= min(bound.size, max(1, end - first))
        cycles += 0.8 * count
    if packs[1]:
        strides = enumerate(contraction.right.strides)
        cycles += 0.8 * prod(sizes[axis] for axis, stride in strides if stride)
    return cycles
