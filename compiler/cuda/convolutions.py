"""Contractions as the convolutions that libraries know, and their two derivatives.

A contraction says which element a place and a tap of a window meet; a library asks for padding,
stride and dilation, and which of the three arrays is the result. For every axis of space it is

    q = stride * i + dilation * j - before

with the element ``q`` of ``x``, ``i`` of ``y`` and the tap ``j`` of ``w``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd, prod

from graphnn.compiler.cuda.code import Convolution, Convolved, Tensor
from graphnn.compiler.cuda.matrices import Axes, axes_of, dense_strides, step_along
from graphnn.compiler.kernel import Bound, Contraction
from graphnn.core.dtypes import as_dtype, is_floating

__all__ = ["convolved"]

Pair = tuple[int, int]
"""Points of an axis, and elements from one to the next."""


@dataclass(frozen=True, slots=True)
class _Space:
    """One axis of space: numbers of `Convolution`, and its axis in x, w and y."""

    stride: int
    dilation: int
    before: int
    x: Pair
    w: Pair
    y: Pair

    @property
    def after(self) -> int:
        """Zeros behind the last element of ``x`` that windows see."""
        last = self.stride * (self.y[0] - 1) + self.dilation * (self.w[0] - 1)
        return last - self.before - (self.x[0] - 1)


def convolved(contraction: Contraction) -> tuple[Convolved, dict[int, int]] | None:
    """A contraction as a convolution; None if it is not one that libraries know.

    Returns
    -------
    Convolved
        Its operands are those of the contraction; that of the result is left to the caller.
    dict of int to int
        Bytes along every free axis of the result, whose axes are in the order that libraries want.
    """
    dtype = as_dtype(contraction.dtype)
    stored = {contraction.left.dtype, contraction.right.dtype}
    if not is_floating(dtype) or stored != {contraction.dtype}:
        return None
    return _Match(contraction).convolved()


class _Match:
    """The search for the convolution that a contraction is."""

    def __init__(self, contraction: Contraction) -> None:
        self.sizes = contraction.sizes
        self.itemsize = as_dtype(contraction.dtype).itemsize
        self.dtype = contraction.dtype
        axes = axes_of(contraction)
        self.left = dict(enumerate(contraction.left.strides))
        self.right = dict(enumerate(contraction.right.strides))
        self.bounds = [*contraction.bounds, *_unbounded(contraction, axes)]
        self.bounds.sort(key=lambda each: -abs(each.step))
        seen = {axis for each in self.bounds for axis in (each.place, each.tap)}
        self.axes = replace(
            axes,
            rows=tuple(axis for axis in axes.rows if axis not in seen),
            summed=tuple(axis for axis in axes.summed if axis not in seen),
        )

        self.kind = self._kind()
        whole = self._outer_axes() + tuple(each.place for each in self.bounds)
        self.out = dense_strides(contraction, whole)

    def _kind(self) -> str:
        """What is computed: see `Convolution`."""
        is_turned = [self.right[each.tap] < 0 for each in self.bounds if self.sizes[each.tap] > 1]
        if any(is_turned) or any(each.x_dilation > 1 for each in self.bounds):
            return "dgrad"
        taps, places = (
            prod(self.sizes[axis] for axis in axes)
            for axes in ([e.tap for e in self.bounds], [e.place for e in self.bounds])
        )
        return "wgrad" if taps > places else "fprop"  # large windows that move little: a gradient

    def _outer_axes(self) -> tuple[int, ...]:
        """The axes of the result before those of space."""
        batch, rows, columns = self.axes.batch, self.axes.rows, self.axes.columns
        return (*batch, *columns, *rows) if self.kind == "wgrad" else (*rows, *batch, *columns)

    def convolved(self) -> tuple[Convolved, dict[int, int]] | None:
        """The whole."""
        kind = self.kind
        if not 1 <= len(self.bounds) <= 3 or any(each.step <= 0 for each in self.bounds):
            return None
        build = {"fprop": self._forward, "dgrad": self._by_array, "wgrad": self._by_filters}[kind]
        spaces = [build(each) for each in self.bounds]
        known = [each for each in spaces if each is not None]
        outer = self._outer()
        if len(known) < len(spaces) or outer is None:
            return None
        if len(known) == 1:  # libraries want two axes of space at least
            known.insert(0, _Space(1, 1, 0, (1, 0), (1, 0), (1, 0)))
        x, w, y = (
            _tensor(first, [getattr(each, name) for each in known])
            for first, name in zip(outer, "xwy", strict=True)
        )
        if x is None or w is None or y is None:
            return None
        convolution = Convolution(
            kind,
            self.dtype,
            x,
            w,
            y,
            stride=tuple(each.stride for each in known),
            dilation=tuple(each.dilation for each in known),
            before=tuple(each.before for each in known),
            after=tuple(max(each.after, 0) for each in known),
        )
        back = sum(
            self.right[each.tap] * (self.sizes[each.tap] - 1)
            for each in self.bounds
            if kind == "dgrad"
        )
        return Convolved(convolution, (0, 1, -1), (0, back, 0)), self.out

    # ------------------------------------------------------------------------ axes of space

    def _pair(self, axis: int, strides: Mapping[int, int]) -> Pair:
        """An axis of one array, whichever way it is walked."""
        return self.sizes[axis], abs(strides[axis]) // self.itemsize

    def _forward(self, bound: Bound) -> _Space | None:
        space = _Space(
            bound.stride,
            bound.dilation,
            bound.low,
            (bound.size, bound.step // self.itemsize),
            self._pair(bound.tap, self.right),
            self._pair(bound.place, self.out),
        )
        return _trimmed(space)

    def _by_filters(self, bound: Bound) -> _Space | None:
        """Taps are the places of ``y``, and places are what the result has for taps."""
        space = _Space(
            bound.dilation,
            bound.stride,
            bound.low,
            (bound.size, bound.step // self.itemsize),
            self._pair(bound.place, self.out),
            self._pair(bound.tap, self.right),
        )
        return _trimmed(space)

    def _by_array(self, bound: Bound) -> _Space | None:
        """Elements are the places of ``y``, and the last tap comes first."""
        turned = self.sizes[bound.tap] == 1 or self.right[bound.tap] < 0
        if bound.stride != 1 or not turned:
            return None
        space = _Space(
            bound.x_dilation,
            bound.dilation,
            bound.dilation * (self.sizes[bound.tap] - 1) - bound.low,
            self._pair(bound.place, self.out),
            self._pair(bound.tap, self.right),
            (bound.size, bound.step // self.itemsize),
        )
        # All of the result is to be written: behind it, less than a stride may be unseen.
        return space if space.before >= 0 and space.after > -space.stride else None

    # ------------------------------------------------------------------------------ the rest

    def _outer(self) -> tuple[list[Pair], list[Pair], list[Pair]] | None:
        """The first two axes of x, w and y: groups are the outer part of channels and filters."""
        axes, kind = self.axes, self.kind
        by_sum = kind == "wgrad"  # whose sum is over examples, and which has channels for rows
        # The axes that each array has; those in groups come second.
        left = (axes.summed, axes.rows) if by_sum else (axes.rows, axes.summed)
        right = (axes.summed, axes.columns) if by_sum else (axes.columns, axes.summed)
        out = (axes.columns, axes.rows) if by_sum else (axes.rows, axes.columns)
        if kind == "dgrad":
            right = (axes.summed, axes.columns)
        grouped = {"fprop": (1, 0, 1), "dgrad": (1, 0, 1), "wgrad": (1, 1, 0)}[kind]
        arrays = ((self.left, left), (self.right, right), (self.out, out))
        found = []
        for (strides, pair), place in zip(arrays, grouped, strict=True):
            steps = [self._walked(each, strides) for each in pair]
            batch = self._walked(axes.batch, strides)
            known = [each for each in steps if each is not None]
            if len(known) < 2 or batch is None:
                return None
            joined = _joined(batch, known[place])
            if joined is None:
                return None
            known[place] = joined
            found.append(known)
        first, second, last = found
        order = {"fprop": (first, second, last), "dgrad": (last, second, first)}
        return order.get(kind, (first, last, second))

    def _walked(self, axes: Sequence[int], strides: Mapping[int, int]) -> Pair | None:
        """Several axes as one."""
        step = step_along(axes, self.sizes, strides, self.itemsize)
        return None if step is None else (prod(self.sizes[axis] for axis in axes), step)


def _trimmed(space: _Space) -> _Space | None:
    """The same without elements behind those that windows see; None for unseen ones before."""
    if space.before < 0:
        return None
    size, step = space.x
    return replace(space, x=(size + min(space.after, 0), step))


def _joined(outer: Pair, inner: Pair) -> Pair | None:
    """Two axes as one."""
    if outer[0] == 1:
        return inner
    if inner[0] == 1:
        return outer
    return (outer[0] * inner[0], inner[1]) if outer[1] == inner[0] * inner[1] else None


def _tensor(outer: Sequence[Pair], space: Sequence[Pair]) -> Tensor | None:
    """An array of two axes and those of space."""
    pairs = [*outer, *space]
    if any(size > 1 and step <= 0 for size, step in pairs):
        return None
    reach = max(
        1, *(size * step for size, step in pairs)
    )  # from the only point of an axis to the next
    return Tensor(
        tuple(size for size, _ in pairs), tuple(step if size > 1 else reach for size, step in pairs)
    )


def _unbounded(contraction: Contraction, axes: Axes) -> Iterator[Bound]:
    """The windows that have no bound, as they meet elements everywhere.

    Of such an axis of space, places and taps move by multiples of one step, and windows overlap:
    where they do not, there is nothing to gain over a product.
    """
    sizes, strides = contraction.sizes, contraction.left.strides
    bounded = {axis for each in contraction.bounds for axis in (each.place, each.tap)}
    taken: set[int] = set()
    for place in (axis for axis in axes.rows if axis not in bounded):
        for tap in (axis for axis in axes.summed if axis not in bounded | taken):
            by, tap_by = strides[place], strides[tap]
            if min(by, tap_by) <= 0:
                continue
            if (sizes[tap] - 1) * tap_by >= by and (sizes[place] - 1) * by >= tap_by:
                step = gcd(by, tap_by)
                stride, dilation = by // step, tap_by // step
                size = stride * (sizes[place] - 1) + dilation * (sizes[tap] - 1) + 1
                yield Bound(place, tap, stride, dilation, 0, size, 1, step)
                taken.add(tap)
                break
