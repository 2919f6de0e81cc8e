"""Lowering of random bits."""

from __future__ import annotations

from math import prod

from graphnn.compiler.native.moves.piece import Piece, is_dense
from graphnn.compiler.native.philox import Philox
from graphnn.compiler.unit import View
from graphnn.core.node import Node

__all__ = ["lower_random_bits"]

Views = tuple[View, ...]


def lower_random_bits(node: Node, inputs: Views, outputs: Views) -> list[Piece] | None:
    """The numbers of every key."""
    (key,), (out,) = inputs, outputs
    if 0 in out.shape:
        return []
    if not is_dense(key) or not is_dense(out):
        return None
    count = prod(node.attrs["shape"])
    return [Piece(Philox(out.dtype.name, prod(key.shape[:-1]), count), (key, out))]
