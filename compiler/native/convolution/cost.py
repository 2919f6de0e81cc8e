"""Estimated cycles of a planned convolution: arithmetic, loads, caches, copies, results.

Numbers are of a core that does two vector operations and two vector loads per cycle. Only the
order of estimates matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

from graphnn.compiler.kernel import Bound, Contraction
from graphnn.compiler.native.convolution.windows import reach, taps_at
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.tile import ITEMSIZE

__all__ = ["estimated_cycles", "free_axes", "item_bytes", "moves"]

LINE = 64
STREAMED, STRIDED, FAR = 40.0, 12.0, 10.0
"""Bytes per cycle from the second cache, in order and with jumps, and from beyond it."""


def item_bytes(contraction: Contraction) -> int:
    """Of an element as it is held in registers."""
    return max(4, ITEMSIZE[contraction.dtype])


def free_axes(contraction: Contraction) -> list[int]:
    """The axes that are not summed, in order."""
    return [axis for axis in range(len(contraction.sizes)) if axis not in contraction.summed]


def moves(contraction: Contraction, axis: int) -> tuple[bool, bool]:
    """Whether the left and the right operand move along an axis."""
    bounded = any(axis in (bound.place, bound.tap) for bound in contraction.bounds)
    return (
        bounded or contraction.left.strides[axis] != 0,
        contraction.right.strides[axis] != 0,
    )


@lru_cache(maxsize=256)
def _met(bound: Bound, n_places: int, n_taps: int) -> float:
    """Which part of places times taps meets an element."""
    some = range(0, n_places, max(1, n_places // 64))
    met = sum(taps_at(bound, n_taps, place).count for place in some)
    return max(met, 1) / (len(some) * n_taps)


def estimated_cycles(
    contraction: Contraction,
    target: Target,
    vector: int,
    vectors: int,
    tiles: Sequence[int],
    chunks: Sequence[int],
    linear: Sequence[bool],
    packs: tuple[bool, bool],
    strip: int,
    hoisted: int,
) -> float:
    """What a plan costs; its parts are those of `Plan`."""
    sizes, summed, item = contraction.sizes, contraction.summed, item_bytes(contraction)
    lanes = target.lanes(item) if vector >= 0 else 1
    counts = [
        -(-size // (lanes * vectors if axis == vector and axis not in summed else
                    lanes if axis == vector else tiles[axis]))
        for axis, size in enumerate(sizes)
    ]  # fmt: skip
    rows, columns = _register_block(contraction, vector, vectors, tiles)
    per_block = float(prod(counts[axis] for axis in summed))
    for bound, is_linear in zip(contraction.bounds, linear, strict=True):
        if not is_linear:
            per_block *= _met(bound, sizes[bound.place], sizes[bound.tap])
    sums, loads = rows * columns, rows + columns
    latency = 4.0 if target.has_fma else 3.0
    step = max(sums * (0.5 if target.has_fma else 1.0), loads * 0.55, latency) + 0.25
    arithmetic = per_block * step
    width = vectors * lanes
    streamed, jumping = _memory(
        contraction, target, vector, width, tiles, chunks, counts, packs, hoisted
    )
    blocks = prod(counts[axis] for axis in free_axes(contraction))
    overhead = (6.0 if vector in summed else 1.0) * sums + 15
    if hoisted >= 0:
        streamed, jumping = streamed * counts[hoisted], jumping * counts[hoisted]
        overhead += counts[hoisted] * (1.5 * sums + 10)
    hidden = min(jumping, 0.35 * arithmetic)
    one = max(arithmetic, streamed) + 0.15 * min(arithmetic, streamed) + jumping - hidden
    one += overhead
    return blocks * one + _results(contraction, vector, lanes, strip) + _copies(contraction, packs)


def _register_block(
    contraction: Contraction, vector: int, vectors: int, tiles: Sequence[int]
) -> tuple[int, int]:
    """Positions of the left and of the right operand."""
    rows = columns = 1
    for axis, count in enumerate(tiles):
        if moves(contraction, axis)[0]:
            rows *= count
        else:
            columns *= count
    if vector >= 0 and moves(contraction, vector) == (True, False):
        rows *= vectors
    elif vector >= 0 and moves(contraction, vector) == (False, True):
        columns *= vectors
    return rows, columns


def _memory(
    contraction: Contraction,
    target: Target,
    vector: int,
    width: int,
    tiles: Sequence[int],
    chunks: Sequence[int],
    counts: Sequence[int],
    packs: tuple[bool, bool],
    hoisted: int,
) -> tuple[float, float]:
    """Cycles of a register block to bring what it reads to the innermost cache.

    Apart for what comes in order, which overlaps with arithmetic, and for what does not.
    """
    free = free_axes(contraction)
    extents = [
        contraction.sizes[axis] if axis in contraction.summed else tiles[axis]
        for axis in range(len(tiles))
    ]
    if vector >= 0 and vector not in contraction.summed:
        extents[vector] = width
    if hoisted >= 0:
        extents[hoisted] = width
    inner = [axis for axis in reversed(free) if chunks[axis] > tiles[axis]]
    order = [
        *((axis, -(-chunks[axis] // tiles[axis])) for axis in inner),
        *([(hoisted, counts[hoisted])] if hoisted >= 0 else []),
        *((axis, -(-counts[axis] * tiles[axis] // chunks[axis])) for axis in reversed(free)),
    ]
    order = [(axis, count) for axis, count in order if count > 1]
    sets = [_touched(contraction, extents, number, vector, packs) for number in range(2)]
    cycles = [0.0, 0.0]
    for number in range(2):
        grown, distance, fresh = list(extents), sum(sets), sets[number]
        for axis, count in order:
            if not moves(contraction, axis)[number]:
                break
            before = _touched(contraction, grown, number, vector, packs)
            one = grown[axis]
            grown[axis] = min(contraction.sizes[axis], one * count)
            after = _touched(contraction, grown, number, vector, packs)
            fresh = min(fresh, (after - before) / max(1, count - 1) * sets[number] / before)
            distance = after + _touched(contraction, grown, 1 - number, vector, packs)
        again = sets[number] - fresh  # windows that overlap read it at the last place as well
        in_order = number == 1 or not contraction.bounds
        near = STREAMED if in_order else STRIDED
        brought = _brought(target, fresh, distance, near) + _brought(target, again, sum(sets), near)
        cycles[0 if in_order else 1] += brought
    return cycles[0], cycles[1]


def _brought(target: Target, nbytes: float, distance: float, near: float) -> float:
    if distance <= 0.8 * target.l1_bytes:
        return 0.0
    return nbytes / (near if distance <= 0.7 * target.l2_bytes else FAR)


def _touched(
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
