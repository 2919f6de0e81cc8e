"""The memory model: which values a graph computes, how large they are, and who reads them.

It looks through views to the values that hold their memory. The search for what to compute again
works on it, with numbers instead of nodes; what a program will really need is always asked of
`plan_memory`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphnn.compiler.scans.rewriting import is_scan
from graphnn.compiler.unit import Buffer, Storage, Unit, View
from graphnn.compiler.views import contiguous, look
from graphnn.core.node import Node
from graphnn.core.op import output_size
from graphnn.core.spec import TensorSpec, TupleSpec
from graphnn.core.state import aligned
from graphnn.ops.constants import CONSTANT
from graphnn.ops.control import PROJECT, TUPLE

__all__ = ["Model", "nbytes_of"]

HOST_COST = 16
"""FLOPs per element of an operator on the host that does not say how many it needs."""


@dataclass(frozen=True)
class Model:
    """Values by number, in the order in which they are computed.

    Attributes
    ----------
    nodes : sequence of Node
        What computes each: neither sources nor views.
    nbytes : sequence of int
        Memory of each in the arena, aligned; 0 for what is written straight into state.
    costs : sequence of int
        FLOPs of computing each, and one per element for moving it.
    reads : sequence of tuple of int
        Values that each is computed from, once each.
    uses : sequence of tuple of int
        Numbers of the values computed from each; the number of values for a result.
    is_repeatable : sequence of bool
        Whether it may be computed again. Not the results: they are all there at the end, and
        what they were computed from is not.
    roots : mapping of Node to tuple of int
        The values whose memory a node looks at; none for sources.
    """

    nodes: Sequence[Node]
    nbytes: Sequence[int]
    costs: Sequence[int]
    reads: Sequence[tuple[int, ...]]
    uses: Sequence[tuple[int, ...]]
    is_repeatable: Sequence[bool]
    roots: Mapping[Node, tuple[int, ...]]

    @staticmethod
    def of(unit: Unit) -> Model:
        """The model of a unit, in the order of its schedule, or of its graph if it has none."""
        order = unit.schedule or unit.graph.nodes
        roots = _roots(order)
        nodes = [node for index, node in enumerate(order) if roots[node] == (~index,)]
        number = {node: index for index, node in enumerate(nodes)}
        position = {~index: number[node] for index, node in enumerate(order) if node in number}
        looked = {node: tuple(position[each] for each in seen) for node, seen in roots.items()}
        results = {root for node in unit.graph.outputs for root in looked[node]}
        updates = {node for node in unit.graph.outputs[unit.n_results :] if node in number}
        uses: list[list[int]] = [[] for _ in nodes]
        reads = []
        for index, node in enumerate(nodes):
            read = tuple(dict.fromkeys(root for each in node.inputs for root in looked[each]))
            reads.append(read)
            for root in read:
                uses[root].append(index)
        for node in unit.graph.outputs:
            for root in looked[node]:
                uses[root].append(len(nodes))
        return Model(
            nodes,
            [0 if node in updates else nbytes_of(node) for node in nodes],
            [_cost(node) for node in nodes],
            reads,
            [tuple(dict.fromkeys(each)) for each in uses],
            [bool(node.inputs) and index not in results for index, node in enumerate(nodes)],
            looked,
        )

    @cached_property
    def total_nbytes(self) -> int:
        """Memory if nothing ever shared any."""
        return sum(self.nbytes)


def nbytes_of(node: Node) -> int:
    """Bytes that a value takes up in the arena."""
    specs = node.spec.elements if isinstance(node.spec, TupleSpec) else (node.spec,)
    return sum(aligned(spec.nbytes) for spec in specs)


def _cost(node: Node) -> int:
    """What it takes to compute a node again."""
    specs = node.spec.elements if isinstance(node.spec, TupleSpec) else (node.spec,)
    size = sum(int(spec.size) for spec in specs)
    is_counted = isinstance(node.spec, TensorSpec) or is_scan(node)
    flops = node.op.flops(node) if is_counted else 0
    if flops == 0 and node.op.instruction == "host" and not node.op.is_view:
        flops = HOST_COST * (size + sum(output_size(each) for each in node.inputs))
    return flops + size


def _roots(order: Iterable[Node]) -> dict[Node, tuple[int, ...]]:
    """Whose memory each node looks at, as the complement of a position in the order."""
    roots: dict[Node, tuple[int, ...]] = {}
    views: dict[Node, View] = {}
    for index, node in enumerate(order):
        if node.op.is_source or node.op is CONSTANT:
            roots[node] = ()
        elif node.op is TUPLE:
            roots[node] = tuple(dict.fromkeys(root for each in node.inputs for root in roots[each]))
        elif node.op is PROJECT:
            packed = node.inputs[0]
            chosen = packed.inputs[node.attrs["index"]] if packed.op is TUPLE else packed
            roots[node] = roots[chosen]
            if chosen in views:
                views[node] = views[chosen]
        elif node.op.is_view:
            seen = look(node, views.get(node.inputs[0]) or _whole(node.inputs[0]))
            roots[node] = roots[node.inputs[0]] if seen is not None else (~index,)
            if seen is not None:
                views[node] = seen
        else:
            roots[node] = (~index,)
    return roots


def _whole(node: Node) -> View:
    """A node as an array of its own, for looking at."""
    return contiguous(Buffer(Storage.ARENA, 0, node.tensor.nbytes), node.tensor)
