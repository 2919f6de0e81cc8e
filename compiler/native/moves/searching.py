"""Lowerings of argmax and argmin, and how the place of an extremum is found."""

from __future__ import annotations

import numpy as np

from graphnn.compiler.native.moves.piece import Piece, Sketch
from graphnn.compiler.unit import View
from graphnn.core.dtypes import is_floating
from graphnn.core.node import Node

__all__ = ["lower_arg_extremum", "place_of"]

Views = tuple[View, ...]


def lower_arg_extremum(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """The extremum, and then the first place that has it; or the first NaN."""
    (x,), (out,), axis = inputs, outputs, node.attrs["axis"]
    if 0 in out.shape:
        return []
    sketch = Sketch(x.shape, (axis,))
    op = "max" if node.op.name == "argmax" else "min"
    place = place_of(sketch, sketch.load(x), x.dtype, sketch.index(axis), last_nan=False, op=op)
    sketch.store(out, place, (*out.strides[:axis], 0, *out.strides[axis:]))
    return [sketch.piece()]


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
