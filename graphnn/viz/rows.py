"""Time axes, and what is there for all their steps: rows.

Of a long axis the steps at both ends are there one by one, and those between as one sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphnn.core.dims import Size
from graphnn.core.node import Node
from graphnn.ops.joining import concatenate, stack

__all__ = ["Axis", "Place", "Row", "Window", "axis_from", "minus"]


@dataclass(frozen=True, slots=True)
class Window:
    """How many steps at both ends are written out.

    Attributes
    ----------
    first, last : int
        At least one.
    most : int
        All, of an axis that has no more.
    """

    first: int
    last: int
    most: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A step that is written out.

    Attributes
    ----------
    index : int or Dim
        Its number, along the axis.
    column : int
        Its number among all steps of a picture.
    number : int
        Its number, counted from the end and negative where the length is not known.
    start : int
        How many steps come before the axis, of which it is a part.
    """

    index: Size
    column: int
    number: int
    start: int = 0

    @property
    def label(self) -> str:
        """Its number in words: ``"3"``, ``"T − 1"``."""
        return minus(self.index + self.start)


@dataclass(frozen=True, eq=False)
class Axis:
    """The steps of one or more recurrences that go along each other.

    Attributes
    ----------
    length : int or Dim
    places : tuple of Place
        The steps that are written out, in the order of time.
    split : int
        How many of them lie before those that are not.
    between : int or Dim
        How many are not.
    """

    length: Size
    places: tuple[Place, ...]
    split: int
    between: Size = 0

    @property
    def column_between(self) -> int:
        """The number, among all steps of a picture, of those between."""
        return self.places[0].column + self.split

    @property
    def told_between(self) -> str:
        """Which steps are not written out."""
        first = self.split + self.places[0].start
        return f"t = {first} to {minus(first + self.between - 1)}"

    @property
    def labels(self) -> dict[int, str]:
        """What is to be told of a step above its column, where that is not the column's number."""
        told = {each.column: f"t = {each.label}" for each in self.places}
        return {column: text for column, text in told.items() if text != f"t = {column}"}

    @property
    def end(self) -> int:
        """The number that comes after its last step, among all steps of a picture."""
        return self.places[-1].column + 1

    def order(self, *, reverse: bool) -> list[int | None]:
        """Positions of the places, and None where the others are."""
        positions: list[int | None] = [*range(len(self.places))]
        if self.between != 0:
            positions.insert(self.split, None)
        return positions[::-1] if reverse else positions


def minus(size: Size) -> str:
    """A size with the sign that is as wide as a plus."""
    return str(size).replace("-", "−")


def axis_from(length: Size, column: int, window: Window | None, start: int = 0) -> Axis | None:
    """An axis that begins at a column, after ``start`` steps; None if it cannot be written out."""
    if isinstance(length, int):
        if length < 1:
            return None
        if window is None or length <= max(window.most, window.first + window.last + 1):
            full = tuple(Place(index, column + index, index, start) for index in range(length))
            return Axis(length, full, length)
    elif window is None:
        return None
    first, last = window.first, window.last
    begin = length - last if isinstance(length, int) else first + 1
    places = [Place(index, column + index, index, start) for index in range(first)]
    for offset in range(last):
        index = length - last + offset
        number = index if isinstance(index, int) else offset - last
        places.append(Place(index, column + begin + offset, number, start))
    return Axis(length, tuple(places), first, length - (first + last))


@dataclass(frozen=True, slots=True)
class Row:
    """What is there for all steps of an axis.

    Attributes
    ----------
    axis : Axis
    elements : sequence of Node
        By place.
    between : Node or None
        Those of the other steps, one after the other.
    """

    axis: Axis
    elements: Sequence[Node]
    between: Node | None = None

    def whole(self) -> Node:
        """All of them as one node."""
        if self.between is None:
            return stack(self.elements)
        ends = self.elements[: self.axis.split], self.elements[self.axis.split :]
        first, last = ([stack(each)] if each else [] for each in ends)
        return concatenate([*first, self.between, *last])
