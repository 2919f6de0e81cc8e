"""Lowerings of sliding windows: pooling, its undoing, sums of windows and their transpose.

Where all that windows see lies inside of the array, every tap of a window is a strided view, and
a result is a plain kernel over these. Near an edge the places of taps are computed and brought
inside: a box of the result for each side, so that the middle stays plain.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from graphnn.compiler.native.moves.piece import Piece, Sketch, box, filled, frame
from graphnn.compiler.unit import View
from graphnn.core.dtypes import is_floating, is_half
from graphnn.core.node import Node
from graphnn.ops.geometry import Window

__all__ = [
    "lower_max_pool",
    "lower_max_pool_indices",
    "lower_overlap_add",
    "lower_window_pick",
    "lower_window_place",
    "lower_window_sum",
]

Views = tuple[View, ...]

MOST_TAPS = 32
"""Windows of more elements are reduced in loops over their taps."""

MOST_TERMS = 64
"""Terms that one kernel over places adds up for all remainders, at most."""


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


def place_of(
    sketch: Sketch, value: int, dtype: np.dtype[np.generic], place: int, *, last_nan: bool,
    op: str = "max",
) -> int:  # fmt: skip
    """The number of the extremum along the reduced axes: the first of equals, or one NaN."""
    best = sketch.reduce(op, value)
    is_best = sketch.apply("equal", "bool", value, best)
    none = sketch.integer(np.iinfo(np.int64).max)
    if not is_floating(dtype):
        return sketch.reduce("min", sketch.apply("where", "int64", is_best, place, none))
    is_nan = sketch.apply("isnan", "bool", value)
    hit = sketch.apply("logical_or", "bool", is_best, is_nan)
    # A NaN among them makes the extremum NaN, which equals nothing: only NaN are hit then.
    if not last_nan:
        return sketch.reduce("min", sketch.apply("where", "int64", hit, place, none))
    turned = sketch.apply("where", "int64", is_nan, sketch.apply("negative", "int64", place), place)
    found = sketch.reduce("min", sketch.apply("where", "int64", hit, turned, none))
    return sketch.apply("abs", "int64", found)


# --------------------------------------------------------------------- elements that won, placed


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


def lower_window_place(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """Every element looks at the windows that may see it, for those whose index is its own."""
    (values, indices), (out,), window = inputs, outputs, node.attrs["window"]
    if 0 in out.shape:
        return []
    if 0 in values.shape:
        return filled(out, 0)
    ndim = len(window.size)
    n_lead = len(out.shape) - ndim
    counts = values.shape[n_lead:]
    behind = [range(_n_candidates(window, axis)) for axis in range(ndim)]
    wide = _wide(out)

    def value(sketch: Sketch, start: Sequence[int], remainder: Sequence[int]) -> int:
        zero = sketch.literal(wide, 0)
        total, own = zero, _own_index(sketch, out.shape, n_lead, window, start, remainder)
        for distances in itertools.product(*behind):
            shifted = [first - each for first, each in zip(start[n_lead:], distances, strict=True)]
            corner = (*start[:n_lead], *shifted)
            index = sketch.load(box(indices, corner, sketch.sizes))
            arriving = sketch.cast(
                sketch.load(box(values, corner, sketch.sizes)), out.dtype.name, wide
            )
            is_own = sketch.apply("equal", "bool", index, own)
            arriving = sketch.apply("where", wide, is_own, arriving, zero)
            total = arriving if total == zero else sketch.apply("add", wide, total, arriving)
        return sketch.cast(total, wide, out.dtype.name)

    def near_edge(start: Sequence[int], sizes: Sequence[int]) -> list[Piece]:
        return _placed(values, indices, box(out, start, sizes), out.shape, window, start)

    reach = [(each.start, each.stop - 1) for each in behind]
    return _by_remainders(out, counts, window, reach, value, near_edge)


def _wide(view: View) -> str:
    """What elements are added up in."""
    return "float32" if is_half(view.dtype) else view.dtype.name


def _n_candidates(window: Window, axis: int) -> int:
    """How many places along an axis may have a window that sees a given element."""
    return -(-window.extent[axis] // window.stride[axis])


def _own_index(
    sketch: Sketch,
    shape: Sequence[int],
    n_lead: int,
    window: Window,
    start: Sequence[int],
    remainder: Sequence[int],
) -> int:
    """The number, among the last axes, of the element at a remainder behind a window's start."""
    total: int | None = None
    for axis, rest in enumerate(remainder):
        at, step = n_lead + axis, prod(shape[n_lead + axis + 1 :])
        stride, low = window.stride[axis], window.low[axis]
        place = sketch.affine(at, stride * step, step * (start[at] * stride + rest - low))
        total = place if total is None else sketch.apply("add", "int64", total, place)
    assert total is not None
    return total


def _by_remainders(
    out: View,
    counts: Sequence[int],
    window: Window,
    reach: Sequence[tuple[int, int]],
    value: Callable[[Sketch, Sequence[int], Sequence[int]], int],
    near_edge: Callable[[Sequence[int], Sequence[int]], list[Piece]],
) -> list[Piece]:
    """A kernel over places, which writes all elements from one window's start to the next.

    Elements are told apart by their remainder by the stride: those of one remainder are seen from
    places at fixed distances, so that all reads are plain. What lies near an edge has fewer
    windows and is computed element by element.

    Parameters
    ----------
    out : View
    counts : sequence of int
        Of places along each axis.
    window : Window
    reach : sequence of (int, int)
        Least and largest distance of the places that see an element, counted back from the one at
        whose start, or behind it, the element lies.
    value : function
        Of a sketch over places, the first of them, and the remainders.
    near_edge : function
        The pieces for a box of elements.
    """
    ndim = len(counts)
    n_lead = len(out.shape) - ndim
    lead, zeros = out.shape[:n_lead], (0,) * n_lead
    first, last = [], []
    for axis, ((least, most), count) in enumerate(zip(reach, counts, strict=True)):
        stride, low, size = window.stride[axis], window.low[axis], out.shape[n_lead + axis]
        first.append(max(most, -(-low // stride), 0))
        last.append(min(count + min(least, 0), (size + low) // stride))
    n_terms = prod(most - least + 1 for least, most in reach)
    many = prod(window.stride) * n_terms > MOST_TERMS
    if many or any(a >= b for a, b in zip(first, last, strict=True)):
        return near_edge((0,) * len(out.shape), out.shape)
    sizes = (*lead, *(b - a for a, b in zip(first, last, strict=True)))
    sketch, start = Sketch(sizes), (*zeros, *first)
    steps = (*(1 for _ in lead), *window.stride)
    for remainder in itertools.product(*map(range, window.stride)):
        origin = [
            place * stride + rest - low
            for place, stride, rest, low in zip(
                first, window.stride, remainder, window.low, strict=True
            )
        ]
        target = box(out, (*zeros, *origin), sizes, steps)
        sketch.store(target, value(sketch, start, remainder))
    begin, end = (
        [a * stride - low for a, stride, low in zip(each, window.stride, window.low, strict=True)]
        for each in (first, last)
    )
    boxes = frame(out.shape, (*zeros, *begin), (*lead, *end))
    return [sketch.piece(), *(piece for each in boxes for piece in near_edge(*each))]


def _placed(
    values: View,
    indices: View,
    out: View,
    shape: Sequence[int],
    window: Window,
    start: Sequence[int],
) -> list[Piece]:
    """A box of elements, each adding up those windows around it that have its index."""
    ndim = len(window.size)
    n_lead, axes = len(shape) - ndim, range(ndim)
    numbers = [_n_candidates(window, axis) for axis in axes]
    sketch = Sketch((*out.shape, *numbers), range(len(shape), len(shape) + ndim))
    wide, own = _wide(out), sketch.integer(0)
    conditions, value_terms, index_terms = [], [], []
    for axis in axes:
        at, count, stride = n_lead + axis, values.shape[n_lead + axis], window.stride[axis]
        place = sketch.divided(sketch.affine(at, 1, start[at] + window.low[axis]), stride)
        place = sketch.apply("subtract", "int64", place, sketch.index(len(shape) + axis))
        inside = sketch.clamped(place, 0, count - 1)
        conditions.append(sketch.apply("equal", "bool", place, inside))
        value_terms.append((inside, values.strides[at]))
        index_terms.append((inside, indices.strides[at]))
        step = prod(shape[at + 1 :])
        own = sketch.apply("add", "int64", own, sketch.affine(at, step, step * start[at]))
    corner = (*start[:n_lead], *(0 for _ in axes))
    seen = (*out.shape[:n_lead], *values.shape[n_lead:])
    lead = values.strides[:n_lead]
    index = sketch.pick(box(indices, corner, seen), indices.strides[:n_lead], index_terms)
    value = sketch.pick(box(values, corner, seen), lead, value_terms)
    value = sketch.cast(value, out.dtype.name, wide)
    is_own = sketch.both(*conditions, sketch.apply("equal", "bool", index, own))
    arriving = sketch.apply("where", wide, is_own, value, sketch.literal(wide, 0))
    total = sketch.reduce("sum", arriving)
    sketch.store(out, sketch.cast(total, wide, out.dtype.name))
    return [sketch.piece()]


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


def lower_overlap_add(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """What windows hold, added up at the elements they saw: each element looks at its windows."""
    (x,), (out,), window = inputs, outputs, node.attrs["window"]
    if 0 in out.shape:
        return []
    if 0 in x.shape:
        return filled(out, 0)
    ndim, wide = len(window.size), _wide(out)
    n_lead = len(out.shape) - ndim
    counts = x.shape[n_lead : n_lead + ndim]

    def value(sketch: Sketch, start: Sequence[int], remainder: Sequence[int]) -> int:
        total: int | None = None
        for taps in itertools.product(*map(range, window.size)):
            ahead = [
                tap * dilation - rest
                for tap, dilation, rest in zip(taps, window.dilation, remainder, strict=True)
            ]
            if any(each % stride for each, stride in zip(ahead, window.stride, strict=True)):
                continue
            places = [
                first - each // stride
                for first, each, stride in zip(start[n_lead:], ahead, window.stride, strict=True)
            ]
            held = box(x, (*start[:n_lead], *places, *taps), (*sketch.sizes, *(1 for _ in taps)))
            held = replace(held, shape=sketch.sizes, strides=held.strides[: len(out.shape)])
            arriving = sketch.cast(sketch.load(held), x.dtype.name, wide)
            total = arriving if total is None else sketch.apply("add", wide, total, arriving)
        found = sketch.literal(wide, 0) if total is None else total
        return sketch.cast(found, wide, out.dtype.name)

    def near_edge(start: Sequence[int], sizes: Sequence[int]) -> list[Piece]:
        return _added(x, box(out, start, sizes), window, start)

    reach = [
        (0, (extent - 1) // stride)
        for extent, stride in zip(window.extent, window.stride, strict=True)
    ]
    return _by_remainders(out, counts, window, reach, value, near_edge)


def _added(x: View, out: View, window: Window, start: Sequence[int]) -> list[Piece]:
    """A box of elements, each adding up what it finds by every tap: the place that sees it."""
    ndim, n_axes = len(window.size), len(out.shape)
    n_lead = n_axes - ndim
    sketch = Sketch((*out.shape, *window.size), range(n_axes, n_axes + ndim))
    wide = _wide(out)
    conditions, terms = [], []
    for axis in range(ndim):
        at, count, stride = n_lead + axis, x.shape[n_lead + axis], window.stride[axis]
        ahead = sketch.affine(n_axes + axis, window.dilation[axis], 0)
        distance = sketch.apply("subtract", "int64", sketch.affine(at, 1, start[at]), ahead)
        place = distance
        if stride > 1:
            place = sketch.divided(distance, stride)
            met = sketch.apply("multiply", "int64", place, sketch.integer(stride))
            conditions.append(sketch.apply("equal", "bool", met, distance))
        inside = sketch.clamped(place, 0, count - 1)
        conditions.append(sketch.apply("equal", "bool", place, inside))
        terms.append((inside, x.strides[at]))
    corner = (*start[:n_lead], *(0 for _ in x.shape[n_lead:]))
    seen = box(x, corner, (*out.shape[:n_lead], *x.shape[n_lead:]))
    strides = (*x.strides[:n_lead], *(0 for _ in range(ndim)), *x.strides[n_lead + ndim :])
    value = sketch.cast(sketch.pick(seen, strides, terms), x.dtype.name, wide)
    kept = sketch.apply("where", wide, sketch.both(*conditions), value, sketch.literal(wide, 0))
    sketch.store(out, sketch.cast(sketch.reduce("sum", kept), wide, out.dtype.name))
    return [sketch.piece()]
