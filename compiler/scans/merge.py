"""merge_scans: scans that go over the same carry become one.

Before: a scan for ``h``, and another one for ``h`` and what the way back needs of every step.
After: one scan that gives all of it.

Derivative rules compute the primal once more, next to what they need; here the copies meet. Only
scans of which neither needs the other's results may be merged. The outer ones come first: scans
within go over the same carry when those that they are in do.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from graphnn.compiler.driver import Driver, expression
from graphnn.compiler.scans.rewriting import is_scan, replace_scans, used_results
from graphnn.compiler.scans.trim import build_trimmed, same_carries
from graphnn.compiler.unit import Unit
from graphnn.core.graph import Graph, depending_on
from graphnn.core.node import Node
from graphnn.ops.scan_primitive import Step

__all__ = ["merge_scans"]


def merge_scans(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    graph = unit.graph
    while True:
        merged = _merge_once(graph, driver)
        if merged is graph:
            return driver.with_graph(unit, graph)
        graph = merged


def _merge_once(graph: Graph, driver: Driver) -> Graph:
    """The graph with two scans merged; itself if no two are alike."""
    by_kind: dict[object, list[Node]] = {}
    for node in graph.nodes:
        if not is_scan(node):
            continue
        kinds = _kinds(node)
        for earlier in dict.fromkeys(each for kind in kinds for each in by_kind.get(kind, ())):
            if not set(_firsts(earlier)) & set(_firsts(node)):
                continue
            step = _together(earlier, node)
            if step is None:
                reason = "a step makes something else of it"
                driver.decide(expression(node), "begins with a carry of another scan", reason, node)
                continue
            if node in depending_on((node,), (earlier,)):
                reason = "it needs the results of the other"
                driver.decide(expression(node), "goes over a carry of another scan", reason, node)
                continue
            merged = _merged(graph, earlier, node, step, driver)
            if merged is not None:
                reason = "they go over the same carry"
                driver.decide(expression(node), "becomes one with another scan", reason, node)
                return merged
        for kind in kinds:
            by_kind.setdefault(kind, []).append(node)
    return graph


def _kinds(node: Node) -> list[tuple[object, ...]]:
    """What two scans have in common if they may go over the same carry.

    The same steps, and something that a step reads besides the carry, unless it reads nothing.
    """
    firsts = {id(each) for each in _firsts(node)}
    read: list[Node | None] = [each for each in node.inputs if id(each) not in firsts]
    steps = (node.attrs["length"], node.attrs["reverse"])
    return [(*steps, each) for each in read or [None]]


def _together(one: Node, other: Node) -> Step | None:
    """Both steps in one, if they have a carry in common."""
    left, right = Step.of(one), Step.of(other)
    step = Step(
        (*left.carries, *right.carries),
        {**left.elements, **right.elements},
        (*left.ys, *right.ys),
        left.length,
        left.reverse,
    )
    mine = set(left.carries)
    meets = any(twin in mine and carry not in mine for carry, twin in same_carries(step).items())
    return step if meets else None


def _firsts(node: Node) -> Sequence[Node]:
    n_whole = len(node.inputs) - node.attrs["n_xs"]
    return node.inputs[n_whole - node.attrs["n_carry"] : n_whole]


def _merged(graph: Graph, one: Node, other: Node, step: Step, driver: Driver) -> Graph | None:
    """The graph with both scans computed by one step."""
    used = used_results(graph)
    places = _places(one, other)
    wanted = {places[scan][number] for scan in (one, other) for number in used[scan]}
    results = build_trimmed(step, wanted)
    made = next(each for each in results if each is not None)
    if not driver.spend("merge_scans", other, made):
        return None

    def replaced(node: Node, read: Set[int]) -> Sequence[Node | None] | None:
        return [results[place] for place in places[node]] if node in places else None

    return replace_scans(graph, "merge_scans", replaced)


def _places(one: Node, other: Node) -> dict[Node, list[int]]:
    """For the results of two scans, their places among those of the step that is both."""
    n_one, n_other = one.attrs["n_carry"], other.attrs["n_carry"]
    y_one, y_other = (
        len(each.attrs["body"].outputs) - each.attrs["n_carry"] for each in (one, other)
    )
    carries = n_one + n_other
    return {
        one: [*range(n_one), *range(carries, carries + y_one)],
        other: [*range(n_one, carries), *range(carries + y_one, carries + y_one + y_other)],
    }
