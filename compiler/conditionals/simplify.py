"""simplify_conditionals: drop of conds and while loops what is known, unread, or there twice.

Before: ``cond(True, ...)``; a cond of whose results one is read; two conds of one predicate, of
which one computes the tangents of the other; a while loop, and the same one with tangents.
After: the branch itself; a cond of that result; one cond, and one loop.

Before: ``total + cond(p, f, zeros)``, as gradients are summed over the rounds of a loop.
After: ``cond(p, total + f, total)``, so that a round that is skipped adds nothing.

Only conds and loops of which neither needs the other's results are put together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import replace

from graphnn.compiler.driver import Driver
from graphnn.compiler.scans.rewriting import replace_scans
from graphnn.compiler.scans.trim import same_carries
from graphnn.compiler.unit import Unit
from graphnn.core.graph import Graph, depending_on, substitute, topological_order
from graphnn.core.node import Node
from graphnn.core.spec import TupleSpec
from graphnn.ops.arithmetic import add
from graphnn.ops.conditionals import COND, Choice
from graphnn.ops.constants import is_zero
from graphnn.ops.control import project
from graphnn.ops.leaves import input_like
from graphnn.ops.scans import Step
from graphnn.ops.while_loops import WHILE, Rounds

__all__ = ["simplify_conditionals"]

Merge = Callable[[Node, Node], Sequence[Node] | None]


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
        graph = _until_done(_summed_once, graph, driver)
    return driver.with_graph(unit, _until_done(_merged_once, graph, driver))


def _until_done(work: Callable[[Graph, Driver], Graph], graph: Graph, driver: Driver) -> Graph:
    """The graph when nothing changes any more."""
    while True:
        made = work(graph, driver)
        if made is graph:
            return graph
        graph = made


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


def _summed_once(graph: Graph, driver: Driver) -> Graph:
    """The graph with what is zero in one branch of a cond added in the other one alone."""
    for node in [each for each in graph.nodes if each.op is COND]:
        sums = _sums(graph, node)
        if not sums:
            continue
        choice = Choice.of(node)
        one, other = list(choice.if_true), list(choice.if_false)
        given = dict(choice.operands)
        for number, (_, addend) in sums.items():
            symbol = input_like("addend", addend.tensor)
            given[symbol] = addend
            for side in (one, other):
                side[number] = symbol if is_zero(side[number]) else add(symbol, side[number])
        made = replace(choice, operands=given, if_true=tuple(one), if_false=tuple(other)).build()
        if driver.spend("sum_inside", node, made[0]):
            replaced = {project(node, number): each for number, each in enumerate(made)}
            replaced |= {total: made[number] for number, (total, _) in sums.items()}
            return graph.substitute(replaced)
    return graph


def _sums(graph: Graph, node: Node) -> dict[int, tuple[Node, Node]]:
    """The results of a cond that are only added to something, the sums, and that something."""
    found: dict[int, tuple[Node, Node]] = {}
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
        if depending_on(addends, (node,)) == {node}:
            found[number] = total, addends[0]
    return found


def _merged_once(graph: Graph, driver: Driver) -> Graph:
    """The graph with two nodes put together; itself if no two are alike."""
    by_kind: dict[object, list[Node]] = {}
    for node in graph.nodes:
        if not _is_one(node):
            continue
        for kind in _kinds(node):
            for earlier in by_kind.setdefault(kind, []):
                if earlier is node or node in depending_on((node,), (earlier,)):
                    continue
                results = _MERGES[node.op.name](earlier, node)
                if results is not None and driver.spend("merge_conditionals", node, results[0]):
                    return _with_results(graph, (earlier, node), results)
            by_kind[kind].append(node)
    return graph


def _kinds(node: Node) -> Sequence[object]:
    """What two nodes have in common that may be put together."""
    if node.op is COND:
        return (node.inputs[0],)
    firsts = node.inputs[len(node.inputs) - node.attrs["n_carry"] :]
    return tuple(dict.fromkeys((WHILE, each) for each in firsts))


def _with_results(graph: Graph, nodes: tuple[Node, Node], results: Sequence[Node]) -> Graph:
    """The graph with the results of two nodes, one after the other, replaced."""
    spec = nodes[0].spec
    assert isinstance(spec, TupleSpec)
    first = len(spec.elements)
    found = {nodes[0]: results[:first], nodes[1]: results[first:]}
    return replace_scans(graph, "simplify_conditionals", lambda node, _: found.get(node), _is_one)


def _merged_conds(one: Node, other: Node) -> Sequence[Node] | None:
    """The results of two conds of one predicate."""
    left, right = Choice.of(one), Choice.of(other)
    symbols = {outer: symbol for symbol, outer in left.operands.items()}
    twins = {symbol: symbols[outer] for symbol, outer in right.operands.items() if outer in symbols}
    return replace(
        left,
        operands={**right.operands, **left.operands},
        if_true=(*left.if_true, *substitute(right.if_true, twins)),
        if_false=(*left.if_false, *substitute(right.if_false, twins)),
    ).build()


def _merged_whiles(one: Node, other: Node) -> Sequence[Node] | None:
    """The results of two loops that go round equally often; None if nobody knows that.

    They do if one condition is the other's, given that carries which begin alike and are treated
    alike are equal.
    """
    left, right = Rounds.of(one), Rounds.of(other)
    carries = (*left.carries, *right.carries)
    twins = same_carries(Step(carries, {}, (), 1))
    symbols = {carry.symbol: twin.symbol for carry, twin in twins.items()}
    ours, theirs = substitute((left.condition, right.condition), symbols)
    if ours is not theirs:
        return None
    kept = [each for each in carries if each not in twins]
    nexts = substitute((each.next for each in kept), symbols)
    made = Rounds(
        tuple(replace(each, next=after) for each, after in zip(kept, nexts, strict=True)), ours
    ).build()
    found = dict(zip(kept, made, strict=True))
    return [found[twins.get(each, each)] for each in carries]


_MERGES: dict[str, Merge] = {COND.name: _merged_conds, WHILE.name: _merged_whiles}
