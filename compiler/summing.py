"""What a matrix product or a convolution sums over, and how its factors move along the axes.

A convolution is the product of an array seen through windows and a kernel. Where every tap of
every place meets an element, the array moves by plain strides; where there is padding, or there
are gaps between its elements, a `Bound` says which places and taps meet what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphnn.compiler.domain import Axes, Dims, axis_numbers, sizes_of
from graphnn.compiler.kernel import Bound
from graphnn.compiler.layout import Strides, strides_along
from graphnn.compiler.unit import View
from graphnn.core.node import Node
from graphnn.ops.contraction import free_axes

__all__ = ["Sum", "summing"]


@dataclass
class Sum:
    """The sum of products that an anchor computes.

    Attributes
    ----------
    left, right : (View, Strides)
        The factors.
    summed : dict of int to int
        Axes that are summed over.
    places : dict of int to int
        Axes of size 1 that bounds speak of.
    kinds : dict of int to object
        Axes that keep to themselves.
    """

    left: tuple[View, Strides]
    right: tuple[View, Strides]
    summed: dict[int, int]
    places: dict[int, int] = field(default_factory=dict)
    kinds: dict[int, object] = field(default_factory=dict)
    _bounds: list[Bound] = field(default_factory=list)

    def bounds(self, place: Mapping[int, int]) -> tuple[Bound, ...]:
        """The bounds, with the axes' places in the loop nest."""
        return tuple(
            Bound(
                place[each.place],
                place[each.tap],
                each.stride,
                each.dilation,
                each.low,
                each.size,
                each.x_dilation,
                each.step,
            )
            for each in self._bounds
        )


def summing(node: Node, points: Dims, sizes: Mapping[int, int], left: View, right: View) -> Sum:
    """The sum of an anchor whose result has the dims ``points``."""
    build = _product if node.op.name == "dot_general" else _convolution
    return build(node, points, sizes, left, right)


def _new_axis(size: int, summed: dict[int, int]) -> Axes:
    """A dim of one new axis; of none if its size is 1."""
    if size == 1:
        return ()
    axis = next(axis_numbers)
    summed[axis] = size
    return (axis,)


def _product(node: Node, points: Dims, sizes: Mapping[int, int], left: View, right: View) -> Sum:
    """A ``dot_general``: its result has batch dims, free ones of the left, then of the right."""
    contract, batch = node.attrs["contract"], node.attrs["batch"]
    summed: dict[int, int] = {}
    shared = [_new_axis(left.shape[axis], summed) for axis in contract[0]]
    n_batch = len(batch[0])
    end = n_batch
    factors = []
    for side, view in enumerate((left, right)):
        free = free_axes(len(view.shape), contract[side], batch[side])
        begin, end = end, end + len(free)
        dims: list[Axes] = [()] * len(view.shape)
        for axes, where in (
            (batch[side], points[:n_batch]),
            (free, points[begin:end]),
            (contract[side], shared),
        ):
            for axis, each in zip(axes, where, strict=True):
                dims[axis] = each
        factors.append((view, strides_along(view, tuple(dims), {**sizes, **summed})))
    return Sum(factors[0], factors[1], summed)


def _convolution(
    node: Node, points: Dims, sizes: Mapping[int, int], left: View, right: View
) -> Sum:
    """A ``conv`` of (examples, groups, channels, *spatial) and (groups, filters, channels, *taps).

    The kernel is read forward: see the pass ``correlate``.
    """
    attrs = node.attrs
    examples, groups, filters, *places = points
    summed: dict[int, int] = {}
    channels = _new_axis(left.shape[2], summed)
    x: Strides = strides_along(
        View(left.buffer, left.offset, left.shape[:3], left.strides[:3], left.dtype),
        (examples, groups, channels),
        {**sizes, **summed},
    )
    total = Sum((left, x), (right, {}), summed)
    taps = []
    for axis, place in enumerate(places, start=3):
        stride, dilation, low, x_dilation = (
            attrs[name][axis - 3] for name in ("stride", "dilation", "low", "x_dilation")
        )
        size, window, step = left.shape[axis], right.shape[axis], left.strides[axis]
        count = sizes_of(node)[axis]
        last = stride * (count - 1) + dilation * (window - 1)
        if low == 0 and x_dilation == 1 and last < size:
            tap = _new_axis(window, summed)
            x.update((each, stride * step) for each in place)
            x.update((each, dilation * step) for each in tap)
        else:
            tap = (_lone_axis(window, summed),)
            at = place or (_lone_axis(1, total.places),)
            bound = Bound(at[0], tap[0], stride, dilation, low, size, x_dilation, step)
            total._bounds.append(bound)
            total.kinds.update((each, bound) for each in at)
            total.kinds[tap[0]] = ("tap", bound)
        taps.append(tap)
    dims = (groups, filters, channels, *taps)
    total.right = (right, strides_along(right, dims, {**sizes, **summed}))
    return total


def _lone_axis(size: int, sizes: dict[int, int]) -> int:
    axis = next(axis_numbers)
    sizes[axis] = size
    return axis
