"""again: the identity that tells a value that is computed once more from the first one.

Nodes are interned, so the same operator on the same inputs is the same node. Rematerialisation
wants it twice: the second time it reads one of its inputs through `again`. It is a view, so it
costs nothing when the program runs, and no rewrite rule knows it.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec

__all__ = ["AGAIN", "SEGMENT", "again"]

SEGMENT = -1
"""The copy that belongs to a segment of a recurrence, see `graphnn.compiler.scans.segments`."""


class AgainOp(Op):
    """The identity, told apart by a number."""

    name = "again"
    is_view = True
    axis_attrs = ()

    def infer(self, x: TensorSpec, *, copy: int) -> TensorSpec:
        return x

    def evaluate(self, x: Array, *, copy: int) -> Array:
        return x

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        return tangents[0]

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node]:
        return (cotangent,)


AGAIN = AgainOp()
register(AGAIN)


def again(x: Node, copy: int) -> Node:
    """``x``, and another node for every ``copy``."""
    return make_node(AGAIN, (x,), {"copy": copy})
