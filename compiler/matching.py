"""Whether the axes of two groups are the same ones, seen through the edges between them.

Axes of one group are paired with axes of the other. A reshape may split an axis, and then its
partner, into an outer and an inner one. Nothing is changed before all of it fits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Mapping

from graphnn.compiler.domain import Axes, Dims, axis_numbers, sizes_of
from graphnn.core.node import Node
from graphnn.ops.broadcasting import BROADCAST_TO, RESHAPE
from graphnn.ops.control import PROJECT, TUPLE
from graphnn.ops.movement import TRANSPOSE

__all__ = ["LOOKS", "Matching", "MismatchError", "through_views"]

LOOKS = frozenset({BROADCAST_TO, RESHAPE, TRANSPOSE})
"""View operators that keep a value inside a group: they map its dims to axes."""

_PASSED = LOOKS | {PROJECT}


class MismatchError(Exception):
    """Two groups do not run along the same axes; says why."""


def through_views(node: Node) -> Node:
    """What a node is a look at, through views that a group can see through."""
    while node.op in _PASSED:  # most nodes are none
        seen = _seen(node)
        if seen is None:
            break
        node = seen
    return node


def _seen(node: Node) -> Node | None:
    """What a node is a look at; None if it is no such view."""
    if node.op in LOOKS:
        return node.inputs[0]
    if node.op is PROJECT and node.inputs[0].op is TUPLE:
        number: int = node.attrs["index"]
        return node.inputs[0].inputs[number]
    return None


class Matching:
    """Pairs of axes found so far.

    Parameters
    ----------
    sizes : mapping of int to int
        The axes of both groups.
    fixed : container of int
        Axes that cannot be split.
    """

    def __init__(self, sizes: Mapping[int, int], fixed: Container[int] = ()) -> None:
        self.sizes = dict(sizes)
        self.fixed = fixed
        self.partner: dict[int, int] = {}
        self.splits: dict[int, tuple[int, int]] = {}

    def resolve(self, axes: Axes) -> Axes:
        """Axes after all splits."""
        if not self.splits or not any(axis in self.splits for axis in axes):
            return axes
        found: list[int] = []
        stack = list(reversed(axes))
        while stack:
            axis = stack.pop()
            if axis in self.splits:
                stack += reversed(self.splits[axis])
            else:
                found.append(axis)
        return tuple(found)

    def pair(self, one: int, other: int) -> None:
        """Two axes are the same."""
        if self.partner.setdefault(one, other) != other:
            raise MismatchError("it is read along two axes at once")
        if self.partner.setdefault(other, one) != one:
            raise MismatchError("it is read along two axes at once")

    def split(self, axis: int, outer: int) -> tuple[int, int]:
        """Make two axes of one, and of its partner."""
        if axis in self.fixed:
            raise MismatchError("a reshape splits an axis of a convolution")
        inner = self.sizes[axis] // outer
        parts = next(axis_numbers), next(axis_numbers)
        self.splits[axis] = parts
        self.sizes[parts[0]], self.sizes[parts[1]] = outer, inner
        other = self.partner.pop(axis, None)
        if other is not None:
            del self.partner[other]
            for one, two in zip(parts, self.split(other, outer), strict=True):
                self.pair(one, two)
        return parts

    def match(self, one: Dims, other: Dims) -> None:
        """Two ways to see the same value."""
        for mine, theirs in zip(one, other, strict=True):
            mine, theirs = self.resolve(mine), self.resolve(theirs)
            if len(mine) == len(theirs) == 1 and self.sizes[mine[0]] == self.sizes[theirs[0]]:
                self.pair(mine[0], theirs[0])  # most dims
                continue
            left, right = deque(mine), deque(theirs)
            while left and right:
                a, b = left.popleft(), right.popleft()
                size_a, size_b = self.sizes[a], self.sizes[b]
                if size_a != size_b:
                    if size_a % size_b == 0:
                        a, rest = self.split(a, size_b)
                        left.appendleft(rest)
                    elif size_b % size_a == 0:
                        b, rest = self.split(b, size_a)
                        right.appendleft(rest)
                    else:
                        raise MismatchError("a reshape regroups the axes")
                self.pair(a, b)
            if left or right:
                raise MismatchError("the sizes differ")

    def pull_back(self, node: Node, base: Node, dims: Dims) -> Dims:
        """The dims of ``base``, if those of ``node``, a look at it, are ``dims``."""
        while node is not base:
            source = _seen(node)
            assert source is not None
            if node.op is PROJECT:
                pass
            elif node.op is TRANSPOSE:
                order = node.attrs["axes"]
                dims = tuple(dims[order.index(axis)] for axis in range(len(order)))
            elif node.op is BROADCAST_TO:
                shape = sizes_of(source)
                behind = dims[len(dims) - len(shape) :]
                dims = tuple(
                    () if size == 1 else axes for size, axes in zip(shape, behind, strict=True)
                )
            else:
                dims = self._regroup(dims, sizes_of(source))
            node = source
        return dims

    def _regroup(self, dims: Dims, shape: tuple[int, ...]) -> Dims:
        """The same elements in row-major order under another shape."""
        axes = deque(axis for each in dims for axis in self.resolve(each))
        made: list[Axes] = []
        for size in shape:
            taken: list[int] = []
            while size > 1:
                if not axes:
                    raise MismatchError("a reshape regroups what is broadcast")
                axis = axes.popleft()
                have = self.sizes[axis]
                if have > size and have % size == 0:
                    axis, rest = self.split(axis, size)
                    axes.appendleft(rest)
                    have = size
                if size % have:
                    raise MismatchError("a reshape regroups the axes")
                taken.append(axis)
                size //= have
            made.append(tuple(taken))
        return tuple(made)
