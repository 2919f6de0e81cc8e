"""Lowerings of argmax and argmin."""

from __future__ import annotations

from graphnn.compiler.native.moves.piece import Piece, Sketch
from graphnn.compiler.native.moves.windows import place_of
from graphnn.compiler.unit import View
from graphnn.core.node import Node

__all__ = ["lower_arg_extremum"]

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
