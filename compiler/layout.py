"""In which order a loop nest walks its axes, and which of them are one loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from graphnn.compiler.domain import Dims
from graphnn.compiler.unit import View

__all__ = ["Axis", "Strides", "arrange", "strides_along"]

Strides: TypeAlias = dict[int, int]
"""Bytes from one point to the next along an axis; axes that are missing have stride 0."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One loop: an axis of a group, or several that follow each other everywhere in memory."""

    size: int
    innermost: int


def strides_along(view: View, dims: Dims, sizes: Mapping[int, int]) -> Strides:
    """The strides of a view along the axes of its dims."""
    strides: Strides = {}
    for axes, stride in zip(dims, view.strides, strict=True):
        for axis in reversed(axes):
            strides[axis] = strides.get(axis, 0) + stride
            stride *= sizes[axis]
    return strides


def arrange(
    sizes: Mapping[int, int], operands: Sequence[Strides], kinds: Mapping[int, object]
) -> list[Axis]:
    """The loops of a domain, outermost first.

    Parameters
    ----------
    sizes : mapping of int to int
        Axes of the domain and their sizes.
    operands : sequence of Strides
        The one that matters most first: memory is walked in its order, where it moves at all.
    kinds : mapping of int to object
        Axes of different kinds are not merged.
    """
    order: list[int] = []
    for axis in sizes:
        place = len(order)
        while place and _is_outside(axis, order[place - 1], operands):
            place -= 1
        order.insert(place, axis)
    merged: list[Axis] = []
    for axis in order:
        before = merged[-1] if merged else None
        if before is not None and _follow(before.innermost, axis, sizes, operands, kinds):
            merged[-1] = Axis(before.size * sizes[axis], axis)
        else:
            merged.append(Axis(sizes[axis], axis))
    return merged


def _is_outside(axis: int, other: int, operands: Sequence[Strides]) -> bool:
    """Whether memory is walked better with an axis outside of another."""
    for strides in operands:
        one, two = abs(strides.get(axis, 0)), abs(strides.get(other, 0))
        if one and two and one != two:
            return one > two
    return False


def _follow(
    outer: int,
    inner: int,
    sizes: Mapping[int, int],
    operands: Sequence[Strides],
    kinds: Mapping[int, object],
) -> bool:
    """Whether two axes are one: each step of the outer one is all steps of the inner one."""
    return kinds.get(outer) == kinds.get(inner) and all(
        strides.get(outer, 0) == strides.get(inner, 0) * sizes[inner] for strides in operands
    )
