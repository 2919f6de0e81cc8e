"""cut_first: on a GPU, what is cut into slices is cut before it is computed.

Before: ``z = p + x``, then ``z[:, :64]`` and ``z[:, 64:]``.
After: ``p[:, :64] + x[:, :64]`` and ``p[:, 64:] + x[:, 64:]``.

The gates of a recurrent cell are slices of a sum. A processor makes that sum as the epilogue of
the product; on a GPU a library multiplies, and the sum would be a kernel of its own at every time
step, because one that reads it cannot see through a slice. Cut first, it is part of the cell's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from graphnn.compiler.domain import sizes_of
from graphnn.compiler.driver import Driver
from graphnn.compiler.unit import Unit
from graphnn.core.graph import Graph, with_inputs
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import made_by
from graphnn.ops.joining import SLICE, slice_

__all__ = ["cut_first"]


def cut_first(unit: Unit, driver: Driver) -> Unit:
    """See the module. Nothing is computed twice: what is cut is read through slices alone."""
    if unit.options.backend != "cupy":
        return unit
    graph = unit.graph
    whole = _only_cut(graph)
    if not whole:
        return unit
    cut: dict[Node, int] = {}
    """What became of the nodes that are only cut, in order."""

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        made = with_inputs(node, inputs)
        if node in whole:
            cut.setdefault(made, len(cut))
        if node.op is not SLICE or made.inputs[0] not in cut:
            return made
        with made_by("cut_first", node):
            parts = _of_slices(made, cut)
        return parts if driver.spend("cut_first", made, parts) else made

    return driver.with_graph(unit, graph.map(replace))


def _only_cut(graph: Graph) -> set[Node]:
    """Elementwise nodes that are read through slices alone, each element once at most."""
    found: set[Node] = set()
    outputs = set(graph.outputs)
    for node in reversed(graph.nodes):
        users = graph.users[node]
        if not (node.op.is_elementwise and users) or node in outputs:
            continue
        if any(each.op.name == "conv" for each in node.inputs):
            continue  # it is computed where the convolution is
        slices = [each for each in users if _is_part(each)]
        others = [each for each in users if not _is_part(each)]
        n_read = sum(math.prod(sizes_of(each)) for each in slices)
        is_cut = n_read <= math.prod(sizes_of(node)) and not (slices and others)
        if is_cut and all(each in found and each.shape == node.shape for each in others):
            found.add(node)
    return found if any(node.op is SLICE for node in graph.nodes) else set()


def _is_part(node: Node) -> bool:
    """Whether a node is a slice of neighbours."""
    return node.op is SLICE and all(each == 1 for each in node.attrs["step"])


def _of_slices(node: Node, cut: Mapping[Node, int]) -> Node:
    """A slice of elementwise nodes as these nodes of slices."""
    found, waiting = {node.inputs[0]}, [node.inputs[0]]
    while waiting:
        fresh = {each for each in waiting.pop().inputs if each in cut} - found
        found |= fresh
        waiting += fresh
    made: dict[Node, Node] = {}
    for each in sorted(found, key=cut.__getitem__):
        inputs = (made[other] if other in made else _part(other, node) for other in each.inputs)
        made[each] = make_node(each.op, tuple(inputs), each.attrs)
    return made[node.inputs[0]]


def _part(source: Node, like: Node) -> Node:
    """What of an operand, which may be broadcast, the slice needs."""
    beyond = like.ndim - source.ndim
    starts, sizes = [], []
    for axis, size in enumerate(source.shape):
        start, length = (like.attrs[each][beyond + axis] for each in ("start", "size"))
        starts.append(0 if size == 1 else start)
        sizes.append(1 if size == 1 else length)
    return slice_(source, starts, sizes, [1] * source.ndim)
