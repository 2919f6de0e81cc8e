"""schedule: choose the order of computation.

Depth first, so that what is used soon is computed late and little is live at a time. The last
step of an update (``w - lr * g``) waits until nothing reads the parameter any more, so that it
may overwrite it in place, and until nothing can fail any more, so that a call that raises leaves
the state as it was. An order that `rematerialize` has chosen is kept but for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphnn.compiler.driver import Driver
from graphnn.compiler.scans.rewriting import may_raise
from graphnn.compiler.unit import Unit
from graphnn.core.graph import Graph
from graphnn.core.node import Node

__all__ = ["schedule"]


def schedule(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    order = unit.schedule or unit.graph.nodes
    target = dict(
        zip(unit.graph.outputs[unit.n_results :], unit.updated, strict=True),
    )
    last_steps = _last_steps(unit.graph, target)
    if not last_steps:
        return replace(unit, schedule=order)
    position = {node: index for index, node in enumerate(order)}
    last_read = _last_reads(order, position, last_steps)
    last_risk = max((position[node] for node in order if may_raise(node)), default=-1)
    waiting: dict[int, list[Node]] = {}
    for node in order:
        if node in last_steps:
            after = max(
                position[node],
                last_read.get(target[node], -1),
                last_risk,
                *(position[each] for each in node.inputs),
            )
            position[node] = after
            waiting.setdefault(after, []).append(node)
    result: list[Node] = []
    for index, node in enumerate(order):
        if node not in last_steps:
            result.append(node)
        result += waiting.get(index, ())
    return replace(unit, schedule=tuple(result))


def _last_steps(graph: Graph, target: Mapping[Node, Node]) -> set[Node]:
    """Nodes that compute new values and are read by other such nodes alone."""
    found: set[Node] = set()
    for node in reversed(graph.nodes):
        if node in target and node.inputs and found.issuperset(graph.users[node]):
            found.add(node)
    return found


def _last_reads(
    order: Sequence[Node], position: Mapping[Node, int], last_steps: set[Node]
) -> dict[Node, int]:
    """Where each source is read for the last time, be it through views."""
    sources: dict[Node, Node] = {}
    last: dict[Node, int] = {}
    for node in order:
        for each in node.inputs:
            source = sources.get(each, each)
            if source.op.is_source and node not in last_steps:
                last[source] = position[node]
        if node.op.is_source:
            sources[node] = node
        elif node.op.is_view:
            sources[node] = sources.get(node.inputs[0], node.inputs[0])
    return last
