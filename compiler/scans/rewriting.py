"""Replacing scans in a graph: what all passes over scans have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

from graphnn.core.graph import Graph, with_inputs
from graphnn.core.node import Node
from graphnn.core.provenance import made_by
from graphnn.ops.control import PROJECT

__all__ = ["has_bodies", "has_scans", "is_scan", "may_raise", "replace_scans", "used_results"]


def is_scan(node: Node) -> bool:
    """Whether a node is a scan."""
    return node.op.name == "scan"


def has_scans(graph: Graph) -> bool:
    """Whether there is a scan in a graph."""
    return any(map(is_scan, graph.nodes))


def may_raise(node: Node) -> bool:
    """Whether computing a node can fail: its operator can, or one in a body of it."""
    return node.op.may_raise or any(
        may_raise(each) for name in node.op.body_attrs for each in node.attrs[name].nodes
    )


def has_bodies(node: Node) -> bool:
    """Whether a node applies graphs to what it reads: a scan, a cond, a while loop."""
    return bool(node.op.body_attrs)


def used_results(graph: Graph, among: Callable[[Node], bool] = is_scan) -> dict[Node, set[int]]:
    """For some nodes, scans or others, the numbers of the results that are read."""
    used: dict[Node, set[int]] = {node: set() for node in graph.nodes if among(node)}
    for node in graph.nodes:
        if node.op is PROJECT and node.inputs[0] in used:
            used[node.inputs[0]].add(node.attrs["index"])
    return used


def replace_scans(
    graph: Graph,
    by: str,
    replace: Callable[[Node, Set[int]], Sequence[Node | None] | None],
    among: Callable[[Node], bool] = is_scan,
) -> Graph:
    """A graph with scans, or other nodes of several results, replaced by other nodes.

    Parameters
    ----------
    graph : Graph
    by : str
        Name of the pass.
    replace : callable
        From a scan and the numbers of its results that are read to nodes for these results, by
        number; None if the scan stays.
    among : callable
        Which nodes: scans, if nothing else is said.
    """
    used = used_results(graph, among)
    if not used:
        return graph
    made: dict[Node, Sequence[Node | None]] = {}

    def each(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node in used:
            new = with_inputs(node, inputs)
            with made_by(by, node):
                results = replace(new, used[node])
            if results is not None:
                made[new] = results
            return new
        if node.op is PROJECT and inputs[0] in made:
            number: int = node.attrs["index"]
            result = made[inputs[0]][number]
            assert result is not None, "a result that is read"
            return result
        return with_inputs(node, inputs)

    return graph.map(each)
