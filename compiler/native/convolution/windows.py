"""Which taps of a window meet an array, and finding windows in strides."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from graphnn.compiler.kernel import Bound, Contraction, Operand

__all__ = ["Taps", "is_free", "progression", "reach", "taps_at", "with_bounds"]


@dataclass(frozen=True, slots=True)
class Taps:
    """The taps that meet the array at one place: every so many, beginning with ``first``.

    ``element`` is what the first one meets.
    """

    first: int
    count: int
    element: int


def progression(bound: Bound) -> tuple[int, int]:
    """From one tap that meets the array to the next: taps, and elements."""
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
