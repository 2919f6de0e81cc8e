"""How much of a convolution is done at a time: the chunks of a plan, and turns within them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphnn.compiler.kernel import Contraction
from graphnn.compiler.native.convolution.cost import (
    extents_of,
    free_axes,
    item_bytes,
    moves,
    touched,
)
from graphnn.compiler.native.convolution.windows import is_tabled, phases_of
from graphnn.compiler.native.target import Target

__all__ = ["chunks_of", "chunks_of_dots", "hoistings"]

BUFFER_BYTES = 16 << 10
"""Sums of one chunk, kept in the innermost cache until the epilogue reads them."""

HOISTED_PART = 0.5
"""Of the innermost cache: what a register block may read in a turn."""

HOISTED_BYTES = 24 << 10
"""What the register blocks of a chunk may read for one turn of a hoisted axis."""


def hoistings(
    contraction: Contraction,
    target: Target,
    vector: int,
    width: int,
    tiles: Sequence[int],
    linear: Sequence[bool],
    packs: tuple[bool, bool],
) -> list[tuple[tuple[int, int], ...]]:
    """Which axes may be hoisted: none, or as many as leave little to read in a turn."""
    if vector in contraction.summed:
        windows = [axis for each in contraction.bounds for axis in (each.place, each.tap)]
        return [() if vector in windows else ((vector, 1),)]
    if vector >= 0 and moves(contraction, vector) == (True, False):
        # Vectors of windows lie far apart, often in the same few sets of the cache: they do not
        # stay in it, as was measured.
        return [()]
    tabled = {
        bound.tap
        for bound, linear in zip(contraction.bounds, linear, strict=True)
        if is_tabled(bound, linear)
    }
    steps = {axis: abs(contraction.left.strides[axis]) for axis in contraction.summed}
    steps |= {bound.tap: abs(bound.step * bound.dilation) for bound in contraction.bounds}
    most = target.l1_bytes * HOISTED_PART
    hoisted: list[tuple[int, int]] = []
    for axis in sorted(steps, key=lambda axis: -steps[axis]):
        extents = extents_of(contraction, vector, width, tiles, hoisted)
        nbytes = sum(touched(contraction, extents, side, vector, packs) for side in (0, 1))
        if nbytes <= most:
            break
        size = contraction.sizes[axis]
        if axis in tabled:  # axes inside of it would be read in pieces of lines
            break
        if size == 1:
            continue
        turn = max(1, int(size * most / nbytes))
        hoisted.append((axis, -(-size // -(-size // turn))))
    return [(), tuple(hoisted)] if hoisted else [()]


def chunks_of_dots(
    contraction: Contraction, vector: int, width: int, tiles: list[int], is_hoisted: bool
) -> tuple[int, ...]:
    """Positions per chunk where a summed axis lies along the vectors."""
    sizes = contraction.sizes
    chunks, most = list(tiles), _most_sums(contraction, vector, width)
    for bound in contraction.bounds:
        if bound.place != vector:
            _widen(sizes, tiles, chunks, most, bound.place)
            chunks[bound.place] -= chunks[bound.place] % tiles[bound.place]
    if is_hoisted:
        for axis, n in enumerate(tiles):
            if n == 1 or moves(contraction, axis) != (False, True):
                continue
            per_one = width * item_bytes(contraction) * prod(
                sizes[each] for each in contraction.summed if each != vector
                and contraction.right.strides[each]
            )  # fmt: skip
            room = min(most // max(1, prod(chunks) // chunks[axis]), HOISTED_BYTES // per_one)
            count = max(1, room // tiles[axis])
            chunks[axis] = min(sizes[axis] // tiles[axis], count) * tiles[axis]
    return tuple(chunks)


def chunks_of(
    contraction: Contraction,
    vector: int,
    width: int,
    tiles: list[int],
    strip: int,
    is_hoisted: bool,
) -> tuple[int, ...]:
    """Positions per chunk."""
    chunks, most = list(tiles), _most_sums(contraction, vector, width)
    phases = phases_of(contraction)
    places = [bound.place for bound in reversed(contraction.bounds) if bound.place != vector]
    if strip >= 0 and strip != vector:
        axes = [strip]
    else:
        axes = places[:1]
    if is_hoisted:  # the more blocks share what is read in a turn
        axes += [*places, *(axis for axis in free_axes(contraction) if axis not in phases)]
    for axis in dict.fromkeys(axes):
        if axis != vector:
            _widen(contraction.sizes, tiles, chunks, most, axis)
    return tuple(chunks)


def _most_sums(contraction: Contraction, vector: int, width: int) -> int:
    """Sums of a chunk, in vectors of a register block."""
    return max(1, BUFFER_BYTES // ((1 if vector < 0 else width) * item_bytes(contraction)))


def _widen(
    sizes: Sequence[int], tiles: Sequence[int], chunks: list[int], most: int, axis: int
) -> None:
    """Let a chunk have as many positions along an axis as there is room for."""
    room = max(1, most // prod(n for i, n in enumerate(chunks) if i != axis))
    if room >= tiles[axis]:
        count = -(-sizes[axis] // room)
        even = -(-sizes[axis] // count)
        chunks[axis] = max(tiles[axis], min(sizes[axis], even))
