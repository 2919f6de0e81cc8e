"""Lowerings of what runs along an axis."""

from __future__ import annotations

from dataclasses import replace

from graphnn.compiler.native.moves.piece import Piece
from graphnn.compiler.native.scanning import Scan
from graphnn.compiler.unit import View
from graphnn.core.node import Node

__all__ = ["lower_scan"]

Views = tuple[View, ...]

_OPS = {"cumsum": "sum", "cumprod": "prod", "linear_recurrence": "recurrence"}


def lower_scan(node: Node, inputs: Views, outputs: Views) -> list[Piece]:
    """One scan; backwards, it begins at the last elements and steps are negative."""
    (out,), axis = outputs, node.attrs["axis"]
    if 0 in out.shape:
        return []
    views = [*inputs, out]
    along = [each.strides[axis] for each in views]
    steps = out.shape[axis]
    if node.attrs["reverse"]:
        views = [
            replace(each, offset=each.offset + (steps - 1) * step)
            for each, step in zip(views, along, strict=True)
        ]
        along = [-step for step in along]
        views = [_turned(each, axis) for each in views]
    scan = Scan(
        _OPS[node.op.name],
        out.dtype.name,
        steps,
        tuple(along),
        tuple(size for at, size in enumerate(out.shape) if at != axis),
        tuple(tuple(s for at, s in enumerate(each.strides) if at != axis) for each in views),
    )
    return [Piece(scan, tuple(views))]


def _turned(view: View, axis: int) -> View:
    """A view that has been moved to its last element along an axis, going backwards."""
    strides = list(view.strides)
    strides[axis] = -strides[axis]
    return replace(view, strides=tuple(strides))
