"""How a convolution is computed: what lies along vectors, in registers, in a chunk, in a copy.

Sums are held in registers, a block of *left positions* times *right positions*; a step of the
summation reads each position once, as a vector or as one number in all lanes. Whatever axis lies
along the vectors, that is the same code:

- examples, or neighbouring places: vectors of the array times single weights;
- filters: single elements of the array times vectors of weights;
- groups: vectors times vectors;
- a summed axis: vectors times vectors, whose lanes are added up in the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from graphnn.compiler.kernel import Contraction
from graphnn.compiler.native.convolution.cost import (
    estimated_cycles,
    free_axes,
    item_bytes,
    moves,
)
from graphnn.compiler.native.convolution.windows import is_free
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.tile import ITEMSIZE

__all__ = ["Plan", "candidates", "plan"]

BUFFER_BYTES = 16 << 10
"""Sums of one chunk, kept in the innermost cache until the epilogue reads them."""

HOISTED_BYTES = 24 << 10
"""What the register blocks of a chunk may read for one turn of a hoisted axis."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A way to compute a contraction.

    Attributes
    ----------
    lanes : int
        Of a vector; 1 where single numbers are computed.
    vector : int
        The axis along vectors, -1 for none.
    vectors : int
        Vectors side by side in a register block.
    tiles : tuple of int
        Positions along every axis in a register block; 1 for the vector axis.
    chunks : tuple of int
        Positions along every axis in a chunk; 1 for the vector axis and the summed ones.
    linear : tuple of bool
        By bound: whether addresses are linear in place and tap, over zeros around the array
        where there is no element; else taps without an element are left out.
    packs : (bool, bool)
        Whether the left and the right operand are copied first.
    strip : int
        The axis along which results are written; -1 for one by one.
    hoisted : int
        A summed axis outside of the register blocks, whose sums wait in memory; -1 for none.
    cost : float
        Estimated cycles.
    """

    lanes: int
    vector: int
    vectors: int
    tiles: tuple[int, ...]
    chunks: tuple[int, ...]
    linear: tuple[bool, ...]
    packs: tuple[bool, bool]
    strip: int
    hoisted: int
    cost: float

    @property
    def width(self) -> int:
        """Elements of the vector axis in a register block."""
        return self.lanes * self.vectors

    def n_steps(self, contraction: Contraction, axis: int) -> int:
        """How often a register block moves along an axis."""
        width = self.width if axis == self.vector else 1
        return -(-contraction.sizes[axis] // width)


def plan(contraction: Contraction, target: Target) -> Plan:
    """The cheapest way by estimated cycles."""
    return min(candidates(contraction, target), key=lambda each: each.cost)


def candidates(contraction: Contraction, target: Target) -> list[Plan]:
    """All ways that are worth an estimate; the first computes single numbers and always works."""
    found = [_candidate(contraction, target, -1, 1, {})]
    lanes = target.lanes(item_bytes(contraction))
    if lanes > 1:
        for vector, size in enumerate(contraction.sizes):
            if size < 2 or True not in moves(contraction, vector):
                continue
            for vectors in _counts(contraction, vector, lanes, target):
                found += [
                    _candidate(contraction, target, vector, vectors, tiles)
                    for tiles in _tilings(contraction, vector, vectors, target)
                ]
    return [each for each in found if each is not None]


def _counts(contraction: Contraction, vector: int, lanes: int, target: Target) -> list[int]:
    if vector in contraction.summed or all(moves(contraction, vector)):
        return [1]
    most = -(-contraction.sizes[vector] // lanes)
    return [count for count in (1, 2, 3, 4, 6, 8, 12) if count <= most]


def _tilings(
    contraction: Contraction, vector: int, vectors: int, target: Target
) -> list[dict[int, int]]:
    """Positions of one axis of the left operand and of one of the right that fit in registers."""
    free = [a for a in free_axes(contraction) if a != vector and contraction.sizes[a] > 1]
    dilated = {bound.place for bound in contraction.bounds if bound.x_dilation > 1}
    lefts = [a for a in free if moves(contraction, a) == (True, False) and a not in dilated]
    rights = [a for a in free if moves(contraction, a) == (False, True)]
    on_left, on_right = moves(contraction, vector)
    of_vector = (
        vectors if on_left and not on_right else 1,
        vectors if on_right and not on_left else 1,
    )
    sizes = contraction.sizes
    most = target.n_registers
    found: list[tuple[int, dict[int, int]]] = []
    for left in [-1, *lefts]:
        for n_left in range(1, 1 + min(12, sizes[left] if left >= 0 else 1)):
            if left >= 0 and n_left == 1:
                continue
            for right in [-1, *rights]:
                for n_right in range(1, 1 + min(12, sizes[right] if right >= 0 else 1)):
                    if right >= 0 and n_right == 1:
                        continue
                    rows, columns = n_left * of_vector[0], n_right * of_vector[1]
                    if rows * columns + min(rows, columns) + 1 <= most:
                        tiles = {left: n_left, right: n_right}
                        tiles.pop(-1, None)
                        found.append((rows * columns, tiles))
    largest = max((sums for sums, _ in found), default=0)
    return [tiles for sums, tiles in found if 2 * sums >= largest]


def _candidate(
    contraction: Contraction, target: Target, vector: int, vectors: int, tiles: dict[int, int]
) -> Plan | None:
    sizes, item = contraction.sizes, item_bytes(contraction)
    lanes = target.lanes(item) if vector >= 0 else 1
    width = lanes * vectors
    linear = []
    for bound in contraction.bounds:
        free = is_free(bound, sizes[bound.place], sizes[bound.tap])
        needed = tiles.get(bound.place, 1) > 1 or vector in (bound.place, bound.tap)
        if needed and bound.x_dilation != 1:
            return None
        if (vector == bound.place and bound.stride != 1) or (
            vector == bound.tap and bound.dilation != 1
        ):
            return None
        linear.append(needed or free)
    packs = (
        _packs_left(contraction, vector, width, linear),
        _packs_right(contraction, vector, width),
    )
    is_dot = vector in contraction.summed
    strip = _strip(contraction, vector, lanes)
    all_tiles = [tiles.get(axis, 1) for axis in range(len(sizes))]
    chunks, hoisted = _chunks(contraction, vector, width, all_tiles, strip, is_dot)
    cost = estimated_cycles(
        contraction, target, vector, vectors, all_tiles, chunks, linear, packs, strip, hoisted
    )
    return Plan(
        lanes, vector, vectors, tuple(all_tiles), chunks, tuple(linear), packs, strip, hoisted, cost
    )


def _is_half(contraction: Contraction) -> bool:
    return ITEMSIZE[contraction.dtype] < 4


def _packs_left(contraction: Contraction, vector: int, width: int, linear: list[bool]) -> bool:
    """Zeros around it are needed, or vectors of it that do not lie so in memory."""
    sizes, left = contraction.sizes, contraction.left
    if _is_half(contraction):
        return True
    for bound, is_linear in zip(contraction.bounds, linear, strict=True):
        if not is_linear:
            continue
        counts = [sizes[bound.place], sizes[bound.tap]]
        for i, axis in enumerate((bound.place, bound.tap)):
            if axis == vector:
                counts[i] = -(-counts[i] // width) * width
                if bound.step != ITEMSIZE[left.dtype]:
                    return True
        if not is_free(bound, *counts):
            return True
    is_window = any(vector in (bound.place, bound.tap) for bound in contraction.bounds)
    if vector < 0 or is_window or not moves(contraction, vector)[0]:
        return False
    return left.strides[vector] != ITEMSIZE[left.dtype] or sizes[vector] % width != 0


def _packs_right(contraction: Contraction, vector: int, width: int) -> bool:
    right = contraction.right
    if _is_half(contraction):
        return True
    if vector < 0 or not moves(contraction, vector)[1]:
        return False
    is_unit = right.strides[vector] == ITEMSIZE[right.dtype]
    return not is_unit or contraction.sizes[vector] % width != 0


def _strip(contraction: Contraction, vector: int, lanes: int) -> int:
    """Results are written along the axis on which they are neighbours, if it is long enough."""
    free, epilogue = free_axes(contraction), contraction.epilogue
    if vector < 0 or vector in contraction.summed:
        return -1
    for operand, _ in epilogue.stores:
        dtype, strides = epilogue.operands[operand].dtype, epilogue.operands[operand].strides
        for axis, stride in zip(free, strides, strict=True):
            if stride == ITEMSIZE[dtype] and contraction.sizes[axis] * 2 > lanes:
                return axis
    return vector


def _chunks(
    contraction: Contraction, vector: int, width: int, tiles: list[int], strip: int, is_dot: bool
) -> tuple[tuple[int, ...], int]:
    """Positions per chunk, and the axis that is hoisted."""
    sizes, item = contraction.sizes, item_bytes(contraction)
    chunks = list(tiles)
    lane_bytes = (1 if vector < 0 else width) * item
    most = max(1, BUFFER_BYTES // lane_bytes)

    def widen(axis: int) -> None:
        room = max(1, most // prod(n for i, n in enumerate(chunks) if i != axis))
        if room >= tiles[axis]:
            count = -(-sizes[axis] // room)
            even = -(-sizes[axis] // count)
            chunks[axis] = max(tiles[axis], min(sizes[axis], even))
            if is_dot:  # blocks that add to sums in memory must not overlap
                chunks[axis] -= chunks[axis] % tiles[axis]

    if is_dot:
        for bound in contraction.bounds:
            if bound.place != vector:
                widen(bound.place)
        hoisted = -1
        is_window = any(vector in (each.place, each.tap) for each in contraction.bounds)
        if not is_window:
            hoisted = vector
            rights = [
                axis
                for axis, n in enumerate(tiles)
                if n > 1 and moves(contraction, axis) == (False, True)
            ]
            for axis in rights:
                per_one = width * item * prod(
                    sizes[each] for each in contraction.summed if each != vector
                    and contraction.right.strides[each]
                )  # fmt: skip
                room = min(most // max(1, prod(chunks) // chunks[axis]), HOISTED_BYTES // per_one)
                count = max(1, room // tiles[axis])
                chunks[axis] = min(sizes[axis] // tiles[axis], count) * tiles[axis]
        return tuple(chunks), hoisted
    if strip >= 0 and strip != vector:
        widen(strip)
    else:
        for bound in reversed(contraction.bounds):
            if bound.place != vector:
                widen(bound.place)
                break
    return tuple(chunks), -1
