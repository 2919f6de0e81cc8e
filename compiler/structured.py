"""The rules of operators with bodies: derivatives and batches, by the name of the operator.

They are apart from the operators, for they differentiate and batch graphs themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphnn.compiler.conditionals.batch import batch_cond, batch_while
from graphnn.compiler.conditionals.forward import jvp_of_cond, jvp_of_while
from graphnn.compiler.conditionals.reverse import vjp_of_cond, vjp_of_while
from graphnn.compiler.scans.batch import batch_scan
from graphnn.compiler.scans.forward import jvp_of_scan
from graphnn.compiler.scans.reverse import vjp_of_scan
from graphnn.core.dims import Size
from graphnn.core.node import Node

__all__ = ["batch_structured", "jvp_of_structured", "vjp_of_structured"]

JVP = {"scan": jvp_of_scan, "cond": jvp_of_cond, "while_loop": jvp_of_while}
VJP = {"scan": vjp_of_scan, "cond": vjp_of_cond, "while_loop": vjp_of_while}
BATCH = {"scan": batch_scan, "cond": batch_cond, "while_loop": batch_while}


def jvp_of_structured(node: Node, tangents: Sequence[Node | None]) -> list[Any]:
    """Tangents of all results from those of the inputs; None for zero."""
    return JVP[node.op.name](node, tangents)


def vjp_of_structured(node: Node, cotangents: Sequence[Node | None]) -> list[Any]:
    """Cotangents of all inputs from those of the results; None for zero."""
    return VJP[node.op.name](node, cotangents)


def batch_structured(
    node: Node, inputs: Sequence[Node], mapped: Sequence[bool], size: Size
) -> Node:
    """The node for many examples, given its inputs for all of them; see `Op.batch`."""
    return BATCH[node.op.name](node, inputs, mapped, size)
