"""Which taps of a window meet an array, and finding windows in strides."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from graphnn.compiler.kernel import Bound, Contraction, Operand

__all__ = [
    "Phased",
    "Taps",
    "is_free",
    "is_tabled",
    "part_met",
    "phases_of",
    "progression",
    "reach",
    "table",
    "taps_at",
    "with_bounds",
]


@dataclass(frozen=True, slots=True)
class Taps:
    """The taps that meet the array at one place: every so many, beginning with ``first``.

    ``element`` is what the first one meets.
    """

    first: int
    count: int
    element: int


@dataclass(frozen=True, slots=True)
class Phased(Bound):
    """A bound of places that are a period apart; ``x_dilation`` is 1.

    Attributes
    ----------
    phase : int
        The axis of phases, along which neither operand has a stride.
    begins : tuple of Taps
        By phase: its first tap, how many there are, and the element that place 0 and this tap
        meet, which need not be in the array.
    every : int
        From one of these taps to the next.
    n_places : int
        Of all phases together; the last ones may have one place less than the first.
    """

    phase: int
    begins: tuple[Taps, ...]
    every: int
    n_places: int

    @property
    def n_complete(self) -> int:
        """How many phases have as many places as any, or all."""
        return self.n_places % len(self.begins) or len(self.begins)


def phases_of(contraction: Contraction) -> dict[int, Phased]:
    """Bounds that have phases, by the axis of these."""
    return {each.phase: each for each in contraction.bounds if isinstance(each, Phased)}


def is_tabled(bound: Bound, is_linear: bool) -> bool:
    """Whether a table says which taps are met."""
    return not is_linear or isinstance(bound, Phased)


def table(bound: Bound, n_places: int, n_taps: int) -> list[Taps]:
    """The taps at every place or phase; elements are counted from the first that is reached."""
    if not isinstance(bound, Phased):
        return [taps_at(bound, n_taps, place) for place in range(n_places)]
    first, _ = reach(bound, n_places, n_taps)
    return [replace(each, element=max(0, each.element - first)) for each in bound.begins]


def part_met(bound: Bound, n_places: int, n_taps: int) -> float:
    """Which part of places times taps meets an element, about."""
    if isinstance(bound, Phased):
        some = list(bound.begins)
    else:
        step = max(1, n_places // 64)
        some = [taps_at(bound, n_taps, place) for place in range(0, n_places, step)]
    return max(sum(each.count for each in some), 1) / (len(some) * n_taps)


def progression(bound: Bound) -> tuple[int, int]:
    """From one tap that meets the array to the next: taps, and elements."""
    if isinstance(bound, Phased):
        return bound.every, bound.dilation
    common = math.gcd(bound.x_dilation, bound.dilation)
    return bound.x_dilation // common, bound.dilation // common


def taps_at(bound: Bound, n_taps: int, place: int) -> Taps:
    """The taps that meet the array at a place."""
    every, elements = progression(bound)
    for first in range(min(every, n_taps)):
        at = bound.stride * place + bound.dilation * first - bound.low
        element, rest = divmod(at, bound.x_dilation)
        if rest == 0:
            skipped = max(0, -(element // elements))
            last = min((bound.size - 1 - element) // elements, (n_taps - 1 - first) // every)
            if last >= skipped:
                return Taps(
                    first + skipped * every, last - skipped + 1, element + skipped * elements
                )
            break
    return Taps(0, 0, 0)


def reach(bound: Bound, n_places: int, n_taps: int) -> tuple[int, int]:
    """The first element that a place and a tap ask for, there or not, and the end of all."""
    if isinstance(bound, Phased):
        met = [each for each in bound.begins if each.count] or [Taps(0, 1, 0)]
        far = max(each.element + bound.dilation * (each.count - 1) for each in met)
        first = min(each.element for each in met)
        return first, far + bound.stride * (n_places - 1) + 1
    last = bound.stride * (n_places - 1) + bound.dilation * (n_taps - 1) - bound.low
    return -bound.low, last + 1


def is_free(bound: Bound, n_places: int, n_taps: int) -> bool:
    """Whether every place and tap meet an element, so that addresses are linear in both."""
    first, end = reach(bound, n_places, n_taps)
    return bound.x_dilation == 1 and first >= 0 and end <= bound.size


def with_bounds(contraction: Contraction) -> Contraction:
    """The same contraction; windows that overlap are told by bounds, not by strides.

    A place and a tap that move along the same memory must not become two axes of a copy.
    """
    strides, bounds = list(contraction.left.strides), list(contraction.bounds)
    free = [axis for axis in range(len(strides)) if axis not in contraction.summed]
    for tap in contraction.summed:
        for place in free:
            bound = _overlap(contraction, strides, place, tap)
            if bound is not None:
                bounds.append(bound)
                strides[place] = strides[tap] = 0
    left = Operand(contraction.left.dtype, tuple(strides))
    return replace(contraction, left=left, bounds=tuple(bounds))


def _overlap(contraction: Contraction, strides: list[int], place: int, tap: int) -> Bound | None:
    of_place, of_tap = strides[place], strides[tap]
    if of_place * of_tap <= 0 or contraction.right.strides[place] != 0:
        return None
    sizes = contraction.sizes
    small, large = sorted((place, tap), key=lambda axis: (abs(strides[axis]), axis))
    if abs(strides[small]) * (sizes[small] - 1) < abs(strides[large]) or sizes[large] == 1:
        return None
    step = math.copysign(math.gcd(of_place, of_tap), of_place)
    step = int(step)
    stride, dilation = of_place // step, of_tap // step
    size = stride * (sizes[place] - 1) + dilation * (sizes[tap] - 1) + 1
    return Bound(place, tap, stride, dilation, 0, size, 1, step)
