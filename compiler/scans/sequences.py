"""Sequences: many nodes as one array, cut from what they are parts of where that is known.

Before: ``[x[3], x[4], x[5]]``, or ``[h0, ys[0], ys[1]]``.
After: ``x[3:6]``, or ``concatenate([h0, ys[0:2]])``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from graphnn.compiler.scans.rows import Row
from graphnn.compiler.scans.written_loops import Loop
from graphnn.core.node import Node
from graphnn.ops.broadcasting import RESHAPE, to_shape
from graphnn.ops.constants import CONSTANT, constant
from graphnn.ops.control import PROJECT
from graphnn.ops.joining import SLICE, SPLIT, concatenate, slice_axis
from graphnn.ops.leaves import INPUT
from graphnn.ops.movement import flip, moveaxis

__all__ = ["Origin", "Piece", "Stack", "is_cheap", "joined", "parts_of", "pieces_of", "sequence_of"]

MOST_COPIED = 4
"""Nodes that are no parts of anything and may be copied into a sequence nevertheless."""


class Stack(NamedTuple):
    """What a row of a loop gives in all rounds; an array that is not made yet."""

    loop: Loop
    row: Row


class Origin(NamedTuple):
    """What a node is a part of: an array cut along an axis into parts of a size, or a row.

    Attributes
    ----------
    whole : Node or Stack
    axis, size : int
        0 and 0 for a row, of which the nodes are elements.
    number : int
        Of the part.
    """

    whole: Node | Stack
    axis: int
    size: int
    number: int


class Piece(NamedTuple):
    """Nodes that follow each other in what they are parts of, each as many parts further."""

    nodes: list[Node]
    origin: Origin | None
    step: int


def part_of(node: Node) -> Origin | None:
    """The array that a node was cut from, if it was cut into equal parts."""
    if node.op is PROJECT and node.inputs[0].op is SPLIT:
        split = node.inputs[0]
        sizes, axis, index = split.attrs["sizes"], split.attrs["axis"], node.attrs["index"]
        return Origin(split.inputs[0], axis, sizes[0], index) if len(set(sizes)) == 1 else None
    if node.op is not SLICE:
        return None
    (array,) = node.inputs
    axes = [axis for axis, size in enumerate(array.shape) if node.shape[axis] != size]
    if len(axes) != 1:
        return None
    (axis,) = axes
    start, size, step = (node.attrs[name][axis] for name in ("start", "size", "step"))
    if (step != 1 and size != 1) or size == 0 or start % size or array.shape[axis] % size:
        return None
    return Origin(array, axis, size, start // size)


def pieces_of(nodes: Sequence[Node], row_of: Callable[[Node], Origin | None]) -> list[Piece]:
    """Nodes as few pieces.

    Parameters
    ----------
    nodes : sequence of Node
    row_of : callable
        From a node to the row it belongs to, if it belongs to one.
    """
    pieces: list[Piece] = []
    for node in nodes:
        origin = _origin(node, row_of)
        before, first, step = pieces[-1] if pieces else Piece([], None, 1)
        if origin is not None and first is not None:
            ahead = origin.number - first.number - step * (len(before) - 1)
            fits = origin[:3] == first[:3] and node.shape == before[0].shape
            if fits and ahead and (len(before) == 1 or ahead == step):
                before.append(node)
                pieces[-1] = Piece(before, first, ahead)
                continue
        pieces.append(Piece([node], origin, 1))
    return pieces


def _origin(node: Node, row_of: Callable[[Node], Origin | None]) -> Origin | None:
    """What a node, or that of which it is another shape, is a part of."""
    while (origin := row_of(node) or part_of(node)) is None and node.op is RESHAPE:
        (node,) = node.inputs
    return origin


def is_cheap(pieces: Sequence[Piece]) -> bool:
    """Whether a sequence of pieces is made without copying much."""
    single = [piece.nodes[0] for piece in pieces if len(piece.nodes) == 1]
    computed = [node for node in single if node.op not in (INPUT, CONSTANT)]
    return len(computed) <= MOST_COPIED


def sequence_of(
    pieces: Sequence[Piece],
    array_of: Callable[[Origin], Node],
    made: Callable[[Node], Node],
) -> Node:
    """Pieces of nodes of one shape as an array, with a new axis before theirs.

    Parameters
    ----------
    pieces : sequence of Piece
    array_of : callable
        From an origin to the array of all parts, along its leading axis.
    made : callable
        From a node to what stands for it in the new graph.
    """
    arrays = [
        each
        for run in _runs_of_constants(pieces)
        for each in ([_stacked(run)] if len(run) > 1 else [_array(run[0], array_of, made)])
    ]
    result: Node = concatenate(arrays)
    return result


def joined(
    node: Node,
    pieces: Sequence[Piece],
    array_of: Callable[[Origin], Node],
    made: Callable[[Node], Node],
) -> Node:
    """A concatenation, of pieces."""
    axis: int = node.attrs["axis"]
    arrays = []
    for piece in pieces:
        if len(piece.nodes) == 1:
            arrays.append(made(piece.nodes[0]))
            continue
        shape = list(piece.nodes[0].shape)
        shape[axis] *= len(piece.nodes)
        along = moveaxis(_array(piece, array_of, made), 0, axis)
        arrays.append(to_shape(along, tuple(shape)))
    result: Node = concatenate(arrays, axis)
    return result


def _array(piece: Piece, array_of: Callable[[Origin], Node], made: Callable[[Node], Node]) -> Node:
    """The nodes of a piece along a new leading axis."""
    nodes, origin, step = piece
    shape = (len(nodes), *nodes[0].shape)
    if origin is None or (len(nodes) == 1 and origin.size):
        return to_shape(made(nodes[0]), shape)
    whole = array_of(origin)
    low = min(origin.number, origin.number + step * (len(nodes) - 1))
    part = slice_axis(whole, 0, low, len(nodes), abs(step))
    return to_shape(part if step > 0 else flip(part, 0), shape)


def parts_of(whole: Node, axis: int, size: int) -> Node:
    """The parts of a size that an array is cut into along an axis, along a new leading axis."""
    before, after = whole.shape[:axis], whole.shape[axis + 1 :]
    apart = to_shape(whole, (*before, whole.shape[axis] // size, size, *after))
    result: Node = moveaxis(apart, axis, 0)
    return result


def _runs_of_constants(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces one by one, but constants that follow each other together."""
    runs: list[list[Piece]] = []
    for piece in pieces:
        if runs and _is_constant(piece) and _is_constant(runs[-1][0]):
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs


def _is_constant(piece: Piece) -> bool:
    return piece.nodes[0].op is CONSTANT


def _stacked(run: Sequence[Piece]) -> Node:
    arrays = [piece.nodes[0].attrs["value"].array for piece in run]
    return constant(np.stack(arrays), run[0].nodes[0].dtype)
