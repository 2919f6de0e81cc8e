"""Lowerings of sliding windows: pooling, sums of windows, elements that won.

Where all that windows see lies inside of the array, every tap of a window is a strided view, and
a result is a plain kernel over these. Near an edge the places of taps are computed and brought
inside: a box of the result for each side, so that the middle stays plain.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import prod

from graphnn.compiler.native.moves.piece import Piece, Sketch, box, frame
from graphnn.compiler.native.moves.searching import place_of
from graphnn.compiler.unit import View
from graphnn.core.dtypes import is_floating, is_half
from graphnn.core.node import Node
from graphnn.ops.geometry import Window

__all__ = [
    "lower_max_pool",
    "lower_max_pool_indices",
    "lower_window_pick",
    "lower_window_sum",
]

Views = tuple[View, ...]

MOST_TAPS = 32
"""Windows of more elements are reduced in loops over their taps."""


# ---------------------------------------------------------------------------------- max pooling


def lower_max_pool(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """The largest of the taps."""
    (x,), (out,), window = inputs, outputs, node.attrs["window"]
    return _pooled(x, out, window, _largest)


def lower_max_pool_indices(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """The place of the largest of the taps."""
    (x,), (out,), window = inputs, outputs, node.attrs["window"]
    return _pooled(x, out, window, _place_of_largest)


class _Taps:
    """What the windows at a box of places see: values, and where they lie in the array.

    Parameters
    ----------
    sketch : Sketch
        Over the box, and over the window's axes behind it where taps are looped over.
    x : View
        The array.
    window : Window
    start : tuple of int
        The first place of the box, along all axes of the result.
    is_inside : bool
        Whether all taps are inside of the array.
    """

    def __init__(
        self, sketch: Sketch, x: View, window: Window, start: Sequence[int], is_inside: bool
    ) -> None:
        self.sketch, self.x, self.window = sketch, x, window
        self.start, self.is_inside = start, is_inside
        self.n_lead = len(x.shape) - len(window.size)

    @property
    def is_looped(self) -> bool:
        """Whether the taps are axes of the kernel."""
        return bool(self.sketch.reduced)

    def numbers(self) -> Iterator[tuple[int, ...]]:
        """Every tap; for all at once where they are axes of the kernel."""
        if self.is_looped:
            yield (0,) * len(self.window.size)
        else:
            yield from itertools.product(*map(range, self.window.size))

    def value(self, tap: tuple[int, ...]) -> int:
        """What a tap sees at every place."""
        window, x, n_lead = self.window, self.x, self.n_lead
        lead, spatial = self.sketch.sizes[:n_lead], x.strides[n_lead:]
        start, places = self.start[:n_lead], self.start[n_lead:]
        if not self.is_inside:
            seen = box(x, (*start, *(0 for _ in spatial)), (*lead, *x.shape[n_lead:]))
            terms = [(self._position(axis, tap[axis]), each) for axis, each in enumerate(spatial)]
            return self.sketch.pick(seen, x.strides[:n_lead], terms)
        origin = [
            place * step - low + number * dilation
            for place, step, low, number, dilation in zip(
                places, window.stride, window.low, tap, window.dilation, strict=True
            )
        ]
        corner = box(x, (*start, *origin), x.shape)
        moves = [a * b for a, b in zip(spatial, window.stride, strict=True)]
        if self.is_looped:
            moves += [a * b for a, b in zip(spatial, window.dilation, strict=True)]
        strides = (*x.strides[:n_lead], *moves)
        return self.sketch.load(replace(corner, shape=self.sketch.sizes, strides=strides))

    def flat(self, tap: tuple[int, ...]) -> int:
        """Where a tap lies in the spatial axes, counted row-major."""
        sketch, sizes = self.sketch, self.x.shape[self.n_lead :]
        total: int | None = None
        for axis in range(len(sizes)):
            position = self._position(axis, tap[axis])
            step = prod(sizes[axis + 1 :])
            if step != 1:
                position = sketch.apply("multiply", "int64", position, sketch.integer(step))
            total = position if total is None else sketch.apply("add", "int64", total, position)
        assert total is not None
        return total

    def _position(self, axis: int, tap: int) -> int:
        """Where along a spatial axis a tap lies, brought to the nearest one inside."""
        sketch, window = self.sketch, self.window
        size, dilation = self.x.shape[self.n_lead + axis], window.dilation[axis]
        step, at = window.stride[axis], self.n_lead + axis
        first = sketch.affine(at, step, self.start[at] * step - window.low[axis])
        ahead = sketch.integer(tap * dilation)
        if self.is_looped:
            ahead = sketch.affine(len(self.x.shape) + axis, dilation, 0)
        position = sketch.apply("add", "int64", first, ahead)
        if self.is_inside:
            return position
        if dilation == 1:
            return sketch.clamped(position, 0, size - 1)
        return self._nearest(first, position, dilation, size, window.size[axis])

    def _nearest(self, first: int, position: int, dilation: int, size: int, taps: int) -> int:
        """The tap inside the array that is nearest to a position, all of them being dilated."""
        sketch = self.sketch
        remainder = sketch.rest(first, dilation)
        negative = sketch.apply("less", "bool", first, sketch.integer(0))
        lowest = sketch.apply("where", "int64", negative, remainder, first)
        room = sketch.apply("subtract", "int64", sketch.integer(size - 1), first)
        within = sketch.divided(room, dilation)
        steps = sketch.apply("minimum", "int64", within, sketch.integer(taps - 1))
        reach = sketch.apply("multiply", "int64", steps, sketch.integer(dilation))
        highest = sketch.apply("add", "int64", first, reach)
        above = sketch.apply("maximum", "int64", position, lowest)
        return sketch.apply("minimum", "int64", above, highest)


def _pooled(x: View, out: View, window: Window, result: Callable[[_Taps], int]) -> list[Piece]:
    """A kernel for the places whose windows are inside, and one for each side that is not."""
    if 0 in out.shape:
        return []
    n_lead = len(out.shape) - len(window.size)
    ranges = [_places_inside(window, axis, x.shape[n_lead + axis], out.shape[n_lead + axis])
              for axis in range(len(window.size))]  # fmt: skip
    start = (*(0 for _ in range(n_lead)), *(first for first, _ in ranges))
    stop = (*out.shape[:n_lead], *(last for _, last in ranges))
    boxes = []
    if all(a < b for a, b in zip(start, stop, strict=True)):
        boxes.append((start, tuple(b - a for a, b in zip(start, stop, strict=True)), True))
        boxes += [(*each, False) for each in frame(out.shape, start, stop)]
    else:
        boxes.append(((0,) * len(start), out.shape, False))
    pieces = []
    for first, sizes, is_inside in boxes:
        looped = not is_inside or prod(window.size) > MOST_TAPS
        domain = (*sizes, *window.size) if looped else sizes
        sketch = Sketch(domain, range(len(sizes), len(domain)))
        value = result(_Taps(sketch, x, window, first, is_inside))
        sketch.store(box(out, first, sizes), value)
        pieces.append(sketch.piece())
    return pieces


def _places_inside(window: Window, axis: int, size: int, count: int) -> tuple[int, int]:
    """The places along an axis at which a window has all its taps inside: first, and behind."""
    stride, low = window.stride[axis], window.low[axis]
    first = max(0, -(-low // stride))
    behind = (size - window.extent[axis] + low) // stride + 1
    return first, min(behind, count)


def _largest(taps: _Taps) -> int:
    sketch, dtype = taps.sketch, taps.x.dtype.name
    if taps.is_looped:
        (only,) = taps.numbers()
        return sketch.reduce("max", taps.value(only))
    first, *others = map(taps.value, taps.numbers())
    for each in others:
        first = sketch.apply("maximum", dtype, first, each)
    return first


def _place_of_largest(taps: _Taps) -> int:
    """The first of equals, but the last NaN, as `MaxPoolIndicesOp` has it."""
    if taps.is_looped:
        return _place_in_loops(taps)
    sketch, dtype = taps.sketch, taps.x.dtype
    first, *others = taps.numbers()
    best, place = taps.value(first), taps.flat(first)
    for tap in others:
        value = taps.value(tap)
        better = sketch.apply("greater", "bool", value, best)
        if is_floating(dtype):
            better = sketch.apply(
                "logical_or", "bool", better, sketch.apply("isnan", "bool", value)
            )
        place = sketch.apply("where", "int64", better, taps.flat(tap), place)
        best = sketch.apply("where", dtype.name, better, value, best)
    return place


def _place_in_loops(taps: _Taps) -> int:
    """The same over axes of taps: the largest, then the place of those that are as large."""
    sketch, dtype = taps.sketch, taps.x.dtype
    (only,) = taps.numbers()
    value, place = taps.value(only), taps.flat(only)
    return place_of(sketch, value, dtype, place, last_nan=True)


# ------------------------------------------------------------------------------ sums of windows


def lower_window_sum(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """The sum of the taps; integers add as they are, half floats in float32."""
    (x,), (out,), window = inputs, outputs, node.attrs["window"]
    return _pooled(x, out, window, _total)


def _total(taps: _Taps) -> int:
    sketch, dtype = taps.sketch, taps.x.dtype
    if taps.is_looped:
        (only,) = taps.numbers()
        return sketch.reduce("sum", taps.value(only))
    wide = "float32" if is_half(dtype) else dtype.name
    total: int | None = None
    for tap in taps.numbers():
        value = sketch.cast(taps.value(tap), dtype.name, wide)
        total = value if total is None else sketch.apply("add", wide, total, value)
    assert total is not None
    return sketch.cast(total, wide, dtype.name)


# ------------------------------------------------------------------------- elements that won


def lower_window_pick(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """The element at each index, of its own row."""
    (x, indices), (out,) = inputs, outputs
    if 0 in out.shape:
        return []
    sketch, n_lead = Sketch(out.shape), len(x.shape) - len(node.attrs["window"].size)
    spatial = x.shape[n_lead:]
    index = sketch.clamped(sketch.load(indices), 0, prod(spatial) - 1)
    place = sketch.pick(x, x.strides[:n_lead], _terms(sketch, index, x, n_lead))
    sketch.store(out, place)
    return [sketch.piece()]


def _terms(sketch: Sketch, index: int, x: View, n_lead: int) -> list[tuple[int, int]]:
    """A flat index into the last axes as steps in memory; one term if they lie row-major."""
    spatial, strides = x.shape[n_lead:], x.strides[n_lead:]
    if all(
        size == 1 or stride == strides[-1] * prod(spatial[axis + 1 :])
        for axis, (size, stride) in enumerate(zip(spatial, strides, strict=True))
    ):
        return [(index, strides[-1])]
    terms = []
    for axis in reversed(range(len(spatial))):
        along = sketch.rest(index, spatial[axis]) if axis else index
        index = sketch.divided(index, spatial[axis])
        terms.append((along, strides[axis]))
    return terms
