"""Which values of a step are kept for the way back: the cut of least memory.

Before: the way back reads ``h``, ``1 - tanh(z)**2`` and ``z``.
After: ``tanh(z)`` and ``h`` are kept for every step; the rest is computed again from them.

Elementwise nodes and concatenations are cheap to compute again, so any of them may lie behind the
cut; products, reductions and the like may not.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from math import inf

from graphnn.compiler.scans.minimum_cut import minimum_cut
from graphnn.core.dims import Dim
from graphnn.core.graph import topological_order
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec
from graphnn.ops.control import PROJECT
from graphnn.ops.joining import CONCATENATE

__all__ = ["choose_residuals"]

UNKNOWN_SIZE = 64
"""What a dimension counts that is not known yet."""


def choose_residuals(
    read: Sequence[Node], within: Collection[Node], after: Mapping[Node, Node]
) -> list[Node]:
    """The values to keep, so that ``read`` can be computed again from them.

    Parameters
    ----------
    read : sequence of Node
        What the way back reads of a step.
    within : collection of Node
        What is known during a step alone; everything else is known afterwards too.
    after : mapping of Node to Node
        From carries to what they are after a step. All of them lie in one row, so where a carry is
        kept what comes after it is there too.
    """

    def inputs_within(node: Node) -> Sequence[Node]:
        return [each for each in node.inputs if each in within]

    wanted = [node for node in read if node in within]
    order = topological_order(wanted, follow=inputs_within)
    free = {after[node] for node in wanted if node in after}
    edges: list[tuple[Hashable, Hashable, float]] = [
        ((node, "out"), "back", inf) for node in wanted
    ]
    for node in order:
        # Several results are kept one by one.
        capacity = _nbytes(node, free) if isinstance(node.spec, TensorSpec) else inf
        edges.append(((node, "in"), (node, "out"), capacity))
        edges += [((each, "out"), (node, "in"), inf) for each in inputs_within(node)]
        if not (node.op.is_view or node.op.is_elementwise or node.op in (CONCATENATE, PROJECT)):
            edges.append(("step", (node, "in"), inf))
    before = minimum_cut(edges, "step", "back")
    return [node for node in order if (node, "in") in before and (node, "out") not in before]


def _nbytes(node: Node, free: Collection[Node]) -> int:
    if node in free:
        return 1  # not nothing: what is not needed is not kept
    count = node.dtype.itemsize
    for size in node.shape:
        count *= size if isinstance(size, int) else _guessed(size)
    return max(count, 1)


def _guessed(size: Dim) -> int:
    return size.bind(dict.fromkeys(size.names, UNKNOWN_SIZE))
