"""An operator that counts how often it is computed: only branches that are taken are."""

from collections.abc import Sequence

from drawing import Array

from graphnn.core.node import Node, make_node
from graphnn.core.op import Op
from graphnn.core.spec import TensorSpec


class CountingOp(Op):
    """The identity, on the host.

    Attributes
    ----------
    n_calls : int
        How often it was computed.
    """

    name = "counting_identity"
    axis_attrs = ()
    n_calls = 0

    def infer(self, x: TensorSpec) -> TensorSpec:
        return x

    def evaluate(self, x: Array) -> Array:
        self.n_calls += 1
        return x.copy()

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        return tangents[0]


COUNTING = CountingOp()


def counted(x: Node) -> Node:
    """``x``, counted."""
    return make_node(COUNTING, (x,))
