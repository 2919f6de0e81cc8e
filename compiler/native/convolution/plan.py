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

from graphnn.compiler.kernel import Contraction
from graphnn.compiler.native.convolution.chunking import chunks_of, chunks_of_dots, hoistings
from graphnn.compiler.native.convolution.cost import (
    Sums,
    around,
    estimated_cycles,
    free_axes,
    item_bytes,
    moves,
    sums_of,
)
from graphnn.compiler.native.convolution.windows import Phased, is_free, phases_of
from graphnn.compiler.native.memory import ITEMSIZE
from graphnn.compiler.native.target import Target

__all__ = ["Plan", "candidates", "plan"]


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
    hoisted : tuple of (int, int)
        Summed axes that are walked in turns of so many steps, outermost first: all register
        blocks of a chunk add to sums that wait in memory, so that what they read in a turn stays
        in the innermost cache.
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
    hoisted: tuple[tuple[int, int], ...]
    cost: float

    @property
    def width(self) -> int:
        """Elements of the vector axis in a register block."""
        return self.lanes * self.vectors

    def n_steps(self, contraction: Contraction, axis: int) -> int:
        """How often a register block moves along an axis."""
        width = self.width if axis == self.vector else 1
        return -(-contraction.sizes[axis] // width)


@dataclass(frozen=True, slots=True)
class _Draft:
    """What lies along vectors and in registers, before its chunks are known."""

    lanes: int
    vector: int
    vectors: int
    tiles: tuple[int, ...]
    linear: tuple[bool, ...]
    packs: tuple[bool, bool]
    strip: int
    sums: Sums
    around: float

    @property
    def least(self) -> float:
        """Cycles without waiting for memory."""
        return self.sums.cycles + self.around


def plan(contraction: Contraction, target: Target) -> Plan:
    """The cheapest way by estimated cycles."""
    best: Plan | None = None
    for draft in sorted(_drafts(contraction, target), key=lambda each: each.least):
        if best is not None and draft.least >= best.cost:
            break
        for found in _completed(contraction, target, draft):
            if best is None or found.cost < best.cost:
                best = found
    assert best is not None
    return best


def candidates(contraction: Contraction, target: Target) -> list[Plan]:
    """All ways that are worth an estimate; the first computes single numbers and always works."""
    drafts = _drafts(contraction, target)
    return [way for draft in drafts for way in _completed(contraction, target, draft)]


def _drafts(contraction: Contraction, target: Target) -> list[_Draft]:
    axes = range(len(contraction.sizes))
    found = _forms(contraction, target, 1, -1, 1, [{}])
    lanes = target.lanes(item_bytes(contraction))
    if lanes > 1:
        for vector in axes:
            if contraction.sizes[vector] < 2 or vector in phases_of(contraction):
                continue
            if True not in moves(contraction, vector):
                continue
            for vectors in _counts(contraction, vector, lanes, target):
                tilings = _tilings(contraction, vector, vectors, target)
                found += _forms(contraction, target, lanes, vector, vectors, tilings)
    return found


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


def _forms(
    contraction: Contraction,
    target: Target,
    lanes: int,
    vector: int,
    vectors: int,
    tilings: list[dict[int, int]],
) -> list[_Draft]:
    """Drafts with the same vectors; those that differ in the counts of a tiling share copies."""
    strip = _strip(contraction, vector, lanes)
    found: list[_Draft] = []
    known: dict[tuple[bool, ...], tuple[tuple[bool, bool], float]] = {}
    for tiles in tilings:
        linear = _linear(contraction, vector, tiles)
        if linear is None:
            continue
        if linear not in known:
            packs = (
                _packs_left(contraction, vector, lanes * vectors, linear),
                _packs_right(contraction, vector, lanes * vectors),
            )
            known[linear] = packs, around(contraction, vector, lanes, strip, packs)
        packs, rest = known[linear]
        counts = tuple(tiles.get(axis, 1) for axis in range(len(contraction.sizes)))
        sums = sums_of(contraction, target, lanes, vector, vectors, counts, linear)
        found.append(_Draft(lanes, vector, vectors, counts, linear, packs, strip, sums, rest))
    return found


def _linear(
    contraction: Contraction, vector: int, tiles: dict[int, int]
) -> tuple[bool, ...] | None:
    """By bound, whether addresses are linear; None where they would have to be and cannot."""
    sizes, linear = contraction.sizes, []
    for bound in contraction.bounds:
        needed = tiles.get(bound.place, 1) > 1 or vector in (bound.place, bound.tap)
        if needed and bound.x_dilation != 1:
            return None
        if (vector == bound.place and bound.stride != 1) or (
            vector == bound.tap and bound.dilation != 1
        ):
            return None
        if isinstance(bound, Phased):
            if vector == bound.tap or (vector == bound.place and not _is_even(bound)):
                return None
            needed = True
        linear.append(needed or is_free(bound, sizes[bound.place], sizes[bound.tap]))
    return tuple(linear)


def _completed(contraction: Contraction, target: Target, draft: _Draft) -> list[Plan]:
    """The plans of a draft: with chunks and cost, hoisted and not."""
    vector, width = draft.vector, draft.lanes * draft.vectors
    tiles, found = list(draft.tiles), []
    for hoisted in hoistings(contraction, target, vector, width, tiles, draft.linear, draft.packs):
        if vector in contraction.summed:
            chunks = chunks_of_dots(contraction, vector, width, tiles, bool(hoisted))
        else:
            chunks = chunks_of(contraction, vector, width, tiles, draft.strip, bool(hoisted))
        cycles = estimated_cycles(
            contraction, target, draft.sums, vector, width, tiles, chunks, draft.packs, hoisted
        )
        found.append(
            Plan(
                draft.lanes,
                vector,
                draft.vectors,
                draft.tiles,
                chunks,
                draft.linear,
                draft.packs,
                draft.strip,
                hoisted,
                draft.around + cycles,
            )
        )
    return found


def _is_even(bound: Phased) -> bool:
    """Whether all phases have as many places."""
    return bound.n_complete == len(bound.begins)


def _is_half(contraction: Contraction) -> bool:
    return ITEMSIZE[contraction.dtype] < 4


def _packs_left(
    contraction: Contraction, vector: int, width: int, linear: tuple[bool, ...]
) -> bool:
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
    phases = phases_of(contraction)
    barred = {*phases, *(each.place for each in phases.values() if not _is_even(each))}
    for operand, _ in epilogue.stores:
        dtype, strides = epilogue.operands[operand].dtype, epilogue.operands[operand].strides
        for axis, stride in zip(free, strides, strict=True):
            is_long = contraction.sizes[axis] * 2 > lanes
            if stride == ITEMSIZE[dtype] and is_long and axis not in barred:
                return axis
    return vector
