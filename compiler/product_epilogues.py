"""What may be the epilogue of a product on a GPU: candidates, by the operators that are in them.

Whether a library has the epilogue is known when code is generated, from how arrays lie. What it
has not is a kernel behind the product, as if nothing had been merged: no candidate costs anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from graphnn.core.dtypes import FLOAT32, is_half
from graphnn.core.node import Node
from graphnn.ops.contraction import DOT_GENERAL

__all__ = ["product_before"]

OPS = frozenset({"add", "cast", "divide", "exp", "maximum", "minimum", "multiply", "negative"})
"""Those of sums, of relu, and of gelu's approximation by tanh."""

MOST_NODES = 20
"""An array is added, a bias is added, and a function of 14 primitives applied, between casts."""


def product_before(
    nodes: Sequence[Node],
    roots: Mapping[Node, Node],
    readers: Mapping[Node, Collection[int]],
    results: Collection[Node],
) -> Node | None:
    """The product whose epilogue a kernel may be; None if it is none.

    Nobody else reads the product, and one value, of its dtype, is all that others read of the
    kernel.

    Parameters
    ----------
    nodes : sequence of Node
        The kernel's.
    roots : mapping of Node to Node
        Through all views.
    readers : mapping of Node to collection of int
        The groups that read a node of another group.
    results : collection of Node
        What else is needed.
    """
    if len(nodes) > MOST_NODES or any(node.op.name not in OPS for node in nodes):
        return None
    needed = [node for node in nodes if node in readers or node in results]
    if len(needed) != 1:
        return None
    for each in (roots[each] for node in nodes for each in node.inputs):
        is_alone = len(readers.get(each, ())) == 1 and each not in results
        if each.op is DOT_GENERAL and is_alone and _may_be_finished(each, needed[0]):
            return each
    return None


def _may_be_finished(product: Node, result: Node) -> bool:
    """Whether the dtypes are those of a library's epilogues."""
    dtype = product.dtype
    return dtype == result.dtype and (dtype == FLOAT32 or is_half(dtype))
