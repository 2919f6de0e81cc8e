"""Which values of a step are kept for the way back: the cut of least memory.

Before: the way back reads ``h``, ``1 - tanh(z)**2`` and ``z``.
After: ``tanh(z)`` and ``h`` are kept for every step; the rest is computed again from them.

Elementwise nodes are cheap to compute again, so any of them may lie behind the cut; products,
reductions and the like may not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graphnn.core.dims import Size
from graphnn.core.graph import topological_order
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec

__all__ = ["choose_residuals"]

UNKNOWN_SIZE = 64
"""What a dimension counts that is not known yet."""


def choose_residuals(read: Sequence[Node], within: Collection[Node]) -> list[Node]:
    """The values to keep, so that ``read`` can be computed again from them.

    Parameters
    ----------
    read : sequence of Node
        What the way back reads of a step.
    within : collection of Node
        What is known during a step alone; everything else is known afterwards too.
    """
    import networkx as nx  # it takes long to import, and only derivatives of scans need it

    def inputs_within(node: Node) -> Sequence[Node]:
        return [each for each in node.inputs if each in within]

    wanted = [node for node in read if node in within]
    order = topological_order(wanted, follow=inputs_within)
    network = nx.DiGraph()
    network.add_nodes_from(("step", "back"))
    for node in order:
        network.add_edge((node, "in"), (node, "out"), capacity=_nbytes(node))
        if not (node.op.is_view or node.op.is_elementwise):
            network.add_edge("step", (node, "in"))
        for each in inputs_within(node):
            network.add_edge((each, "out"), (node, "in"))
    for node in wanted:
        network.add_edge((node, "out"), "back")
    _, (before, _) = nx.minimum_cut(network, "step", "back")
    return [node for node in order if (node, "in") in before and (node, "out") not in before]


def _nbytes(node: Node) -> int:
    specs = (node.spec,) if isinstance(node.spec, TensorSpec) else node.spec.elements
    return sum(_nbytes_of(each) for each in specs)


def _nbytes_of(spec: TensorSpec) -> int:
    count = spec.dtype.itemsize
    for size in spec.shape:
        count *= _number(size)
    return max(count, 1)


def _number(size: Size) -> int:
    return size if isinstance(size, int) else size.bind(dict.fromkeys(size.names, UNKNOWN_SIZE))
