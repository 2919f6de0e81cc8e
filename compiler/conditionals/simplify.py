"""simplify_conditionals: drop of conds and while loops what is known, unread, or there twice.

Before: ``cond(True, ...)``; a cond of whose results one is read; two conds of one predicate, of
which one computes the tangents of the other; a while loop, and the same one with tangents.
After: the branch itself; a cond of that result; one cond, and one loop.

Before: ``total + cond(p, f, zeros)``, as gradients are summed over the rounds of a loop.
After: ``cond(p, total + f, total)``, so that a round that is skipped adds nothing.

Only conds and loops of which neither needs the other's results are put together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from itertools import islice

from graphnn.compiler.driver import Driver
from graphnn.compiler.scans.components import strong_components
from graphnn.compiler.scans.rewriting import replace_scans
from graphnn.compiler.scans.trim import same_carries
from graphnn.compiler.unit import Unit
from graphnn.core.graph import (
    Graph,
    rebuild,
    substitute,
    topological_order,
    with_inputs,
)
from graphnn.core.node import Node
from graphnn.core.provenance import made_by
from graphnn.ops.arithmetic import add
from graphnn.ops.conditionals import COND, Choice
from graphnn.ops.constants import is_zero
from graphnn.ops.control import PROJECT, project
from graphnn.ops.leaves import input_like
from graphnn.ops.scan_primitive import Carry, Step
from graphnn.ops.while_loops import WHILE, Rounds

__all__ = ["simplify_conditionals"]

Merge = Callable[[Sequence[Node]], Mapping[Node, Sequence[Node]]]


def simplify_conditionals(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    graph = unit.graph
    if not any(map(_is_one, graph.nodes)):
        return unit

    def trimmed(node: Node, used: Set[int]) -> Sequence[Node | None] | None:
        results = _trimmed_cond(node, used) if node.op is COND else _trimmed_while(node, used)
        made = next(each for each in results if each is not None)
        if node in made.inputs or not driver.spend("trim_conditional", node, made):
            return None
        return results

    graph = replace_scans(graph, "simplify_conditionals", trimmed, _is_one)
    if unit.options.optimize == "O2":  # -0.0 stays what it is, where + 0.0 would change its sign
        graph = _with_sums_inside(graph, driver)
    return driver.with_graph(unit, _merged(graph, driver))


def _is_one(node: Node) -> bool:
    return node.op is COND or node.op is WHILE


def _trimmed_cond(node: Node, used: Set[int]) -> list[Node | None]:
    """The results that are read, by number."""
    choice = Choice.of(node)
    one, other = (
        tuple(side[number] for number in sorted(used)) for side in (choice.if_true, choice.if_false)
    )
    made = replace(choice, if_true=one, if_false=other).build()
    found = dict(zip(sorted(used), made, strict=True))
    return [found.get(number) for number in range(len(choice.if_true))]


def _trimmed_while(node: Node, used: Set[int]) -> list[Node | None]:
    """The carries that are read, by number, after rounds of those that they depend on."""
    rounds = Rounds.of(node)
    live = {rounds.carries[number] for number in used}
    while True:
        read = set(topological_order((rounds.condition, *(each.next for each in live))))
        more = {each for each in rounds.carries if each.symbol in read} - live
        if not more:
            break
        live |= more
    kept = tuple(each for each in rounds.carries if each in live)
    found = dict(zip(kept, replace(rounds, carries=kept).build(), strict=True))
    return [found[each] if number in used else None for number, each in enumerate(rounds.carries)]


def _with_sums_inside(graph: Graph, driver: Driver) -> Graph:
    """The graph with what is zero in one branch of a cond added in the other one alone."""
    sums = _sums(graph)
    if not sums:
        return graph
    totals = {
        total: project(node, number)
        for node, found in sums.items()
        for number, (total, _) in found.items()
    }

    def results_of(node: Node, made: Mapping[Node, Node]) -> Mapping[Node, Sequence[Node]]:
        if node not in sums:
            return {}
        addends = {number: made[addend] for number, (_, addend) in sums[node].items()}
        results = _with_addends(made[node], addends)
        return {node: results} if driver.spend("sum_inside", node, results[0]) else {}

    order = topological_order(graph.outputs, follow=lambda node: _read_with(node, sums))
    return _with_results(graph, order, results_of, totals)


def _with_addends(node: Node, addends: Mapping[int, Node]) -> list[Node]:
    """The results of a cond, to some of which something is added in the branches."""
    choice = Choice.of(node)
    one, other = list(choice.if_true), list(choice.if_false)
    given = dict(choice.operands)
    for number, addend in addends.items():
        symbol = input_like("addend", addend.tensor)
        given[symbol] = addend
        for side in (one, other):
            side[number] = symbol if is_zero(side[number]) else add(symbol, side[number])
    return replace(choice, operands=given, if_true=tuple(one), if_false=tuple(other)).build()


Sums = Mapping[Node, Mapping[int, tuple[Node, Node]]]


def _sums(graph: Graph) -> Sums:
    """The results of conds that are only added to something, the sums, and that something."""
    found: dict[Node, dict[int, tuple[Node, Node]]] = {}
    taken: set[Node] = set()
    for node in reversed(graph.nodes):  # of two conds in one sum, the second may need the first
        if node.op is not COND:
            continue
        sides = zip(*(node.attrs[name].outputs for name in COND.body_attrs), strict=True)
        for number, pair in enumerate(sides):
            result = project(node, number)
            users = graph.users.get(result, ())
            if len(users) != 1 or users[0].op.name != "add" or result in graph.outputs:
                continue
            (total,) = users
            addends = [each for each in total.inputs if each is not result]
            if len(addends) != 1 or addends[0].spec != result.spec or not any(map(is_zero, pair)):
                continue
            if total not in taken:
                taken.add(total)
                found.setdefault(node, {})[number] = total, addends[0]
    return _without_circles(graph, found)


def _without_circles(graph: Graph, sums: Sums) -> Sums:
    """Those whose something does not need the cond.

    Others would be right too, and cost more: what they need of the old cond keeps it beside the
    new one, and both are computed.
    """
    components = strong_components(graph.outputs, lambda node: _read_with(node, sums))
    place = {node: count for count, each in enumerate(components) for node in each}
    left = {
        node: {number: sum_ for number, sum_ in found.items() if place[sum_[1]] != place[node]}
        for node, found in sums.items()
    }
    return {node: found for node, found in left.items() if found}


def _read_with(node: Node, sums: Sums) -> Sequence[Node]:
    """What a node reads, and what is added inside of it."""
    return [*node.inputs, *(addend for _, addend in sums.get(node, {}).values())]


def _with_results(
    graph: Graph,
    order: Iterable[Node],
    results_of: Callable[[Node, Mapping[Node, Node]], Mapping[Node, Sequence[Node]]],
    instead: Mapping[Node, Node],
) -> Graph:
    """The graph with results of nodes replaced.

    Parameters
    ----------
    graph : Graph
    order : iterable of Node
        Of all nodes.
    results_of : callable
        From a node, and what the nodes up to it became, to new results, by node of the old graph.
    instead : mapping of Node to Node
        From nodes to results that stand for them, if these are new.
    """
    made: dict[Node, Node] = {}
    results: dict[Node, Sequence[Node]] = {}

    def replaced(node: Node, inputs: tuple[Node, ...]) -> Node:
        result = instead.get(node, node)
        if result.op is PROJECT and result.inputs[0] in results:
            number: int = result.attrs["index"]
            made[node] = results[result.inputs[0]][number]
            return made[node]
        made[node] = with_inputs(node, inputs)
        if _is_one(node):
            with made_by("simplify_conditionals", node):
                results.update(results_of(node, made))
        return made[node]

    new = rebuild(order, replaced)
    outputs = tuple(new[each] for each in graph.outputs)
    return graph if outputs == graph.outputs else Graph(graph.inputs, outputs)


def _merged(graph: Graph, driver: Driver) -> Graph:
    """The graph with all nodes put together that are alike; itself if no two are."""
    order, groups = _groups(graph)
    if not groups:
        return graph
    group_ending = {group[-1]: group for group in groups}

    def results_of(node: Node, made: Mapping[Node, Node]) -> Mapping[Node, Sequence[Node]]:
        if node not in group_ending:
            return {}
        group = group_ending[node]
        found = _MERGES[node.op.name](list(dict.fromkeys(made[each] for each in group)))
        first = next((each[0] for each in found.values()), None)
        if first is None or not driver.spend("merge_conditionals", node, first):
            return {}
        return {each: found[made[each]] for each in group if made[each] in found}

    merged = _with_results(graph, order, results_of, {})
    # Nodes are alike when those that they read have become one.
    return graph if merged is graph else _merged(merged, driver)


def _groups(graph: Graph) -> tuple[list[Node], list[list[Node]]]:
    """The nodes, inputs before users, and those in a row that are of one kind.

    Nodes of a kind wait until nothing else can be computed: then none of those whose inputs are
    there needs another one. A kind of which all are there comes first, so that it stays together.
    """
    number = {node: count for count, node in enumerate(graph.nodes)}
    kinds = {node: _kind(node) for node in graph.nodes if _is_one(node)}
    left = Counter(kinds.values())
    order: list[Node] = []
    groups: list[list[Node]] = []
    if len(left) == len(kinds):
        return order, groups
    missing = {node: len(set(node.inputs)) for node in graph.nodes}
    free = [node for node in reversed(graph.nodes) if not missing[node]]
    waiting: dict[tuple[str, Node], list[Node]] = {}
    complete: list[tuple[str, Node]] = []
    while free or waiting:
        if free:
            computed = [free.pop()]
        else:
            kind = complete.pop() if complete else next(iter(waiting))
            computed = sorted(waiting.pop(kind), key=number.__getitem__)
            left[kind] -= len(computed)
            if len(computed) > 1:
                groups.append(computed)
        order += computed
        for user in (user for node in computed for user in graph.users[node]):
            missing[user] -= 1
            if missing[user]:
                continue
            if user not in kinds:
                free.append(user)
                continue
            kind = kinds[user]
            waiting.setdefault(kind, []).append(user)
            if len(waiting[kind]) == left[kind]:
                complete.append(kind)
    return order, groups


def _kind(node: Node) -> tuple[str, Node]:
    """What nodes have in common that may be put together: what says whether they do anything."""
    if node.op is COND:
        return COND.name, node.inputs[0]
    condition: Graph = node.attrs["condition"]
    given = dict(zip(condition.inputs, node.inputs, strict=True))
    return WHILE.name, substitute(condition.outputs, given)[0]


def _merged_conds(nodes: Sequence[Node]) -> dict[Node, Sequence[Node]]:
    """The results of conds of one predicate."""
    symbols: dict[Node, Node] = {}
    if_true: list[Node] = []
    if_false: list[Node] = []
    choices = list(map(Choice.of, nodes))
    for each in choices:
        pairs = each.operands.items()
        known = ((symbol, symbols.setdefault(outer, symbol)) for symbol, outer in pairs)
        twins = {symbol: twin for symbol, twin in known if symbol is not twin}
        if_true += substitute(each.if_true, twins)
        if_false += substitute(each.if_false, twins)
    made = replace(
        choices[0],
        operands={symbol: outer for outer, symbol in symbols.items()},
        if_true=tuple(if_true),
        if_false=tuple(if_false),
    ).build()
    results = iter(made)
    return {
        node: list(islice(results, len(each.if_true)))
        for node, each in zip(nodes, choices, strict=True)
    }


def _merged_whiles(nodes: Sequence[Node]) -> dict[Node, Sequence[Node]]:
    """The results of those loops that go round equally often, as far as one knows that.

    They do if one condition is the other's, given that carries which begin alike and are treated
    alike are equal.
    """
    opened = {node: Rounds.of(node) for node in nodes}
    twins = _twins(opened.values())
    symbols = {carry.symbol: twin.symbol for carry, twin in twins.items()}
    alike: dict[Node, list[Node]] = {}
    for node, rounds in opened.items():
        (condition,) = substitute((rounds.condition,), symbols)
        alike.setdefault(condition, []).append(node)
    results: dict[Node, Sequence[Node]] = {}
    for group in alike.values():
        if len(group) > 1:
            results |= _one_loop({node: opened[node] for node in group})
    return results


def _one_loop(opened: Mapping[Node, Rounds]) -> dict[Node, Sequence[Node]]:
    """The results of loops that go round equally often."""
    twins = _twins(opened.values())
    symbols = {carry.symbol: twin.symbol for carry, twin in twins.items()}
    first = next(iter(opened.values()))
    carries = [each for rounds in opened.values() for each in rounds.carries if each not in twins]
    condition, *nexts = substitute((first.condition, *(each.next for each in carries)), symbols)
    kept = (replace(each, next=after) for each, after in zip(carries, nexts, strict=True))
    found = dict(zip(carries, Rounds(tuple(kept), condition).build(), strict=True))
    return {
        node: [found[twins.get(each, each)] for each in rounds.carries]
        for node, rounds in opened.items()
    }


def _twins(opened: Iterable[Rounds]) -> dict[Carry, Carry]:
    """For carries that are equal to an earlier one, in any of some loops, that one."""
    carries = tuple(each for rounds in opened for each in rounds.carries)
    return same_carries(Step(carries, {}, (), 1))


_MERGES: dict[str, Merge] = {COND.name: _merged_conds, WHILE.name: _merged_whiles}
