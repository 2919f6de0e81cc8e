"""Lowerings of what sliding windows hold, brought back to the elements that they saw.

Every element looks at the windows that may see it, so that no two windows write to one place.
Elements are told apart by their remainder by the stride: see `_by_remainders`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from graphnn.compiler.native.moves.piece import Piece, Sketch, box, filled, frame
from graphnn.compiler.unit import View
from graphnn.core.dtypes import is_half
from graphnn.core.node import Node
from graphnn.ops.geometry import Window

__all__ = ["lower_overlap_add", "lower_window_place"]

Views = tuple[View, ...]

MOST_TERMS = 64
"""Terms that one kernel over places adds up for all remainders, at most."""


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
