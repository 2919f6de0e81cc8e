"""simplify: apply the rewrite rules until none fires.

Before: ``log(softmax(x)) * 1.0``.
After: ``log_softmax(x)``.

Bottom-up: a node's inputs are simple before it is looked at, and what a rule builds is
simplified in turn. Rules that a level does not allow (see `Exactness`) are left out.
"""

from __future__ import annotations

from functools import cache

from graphnn.compiler.driver import Driver
from graphnn.compiler.passes.fold_constants import fold, is_foldable
from graphnn.compiler.pattern import Exactness, RuleBook
from graphnn.compiler.rewrite import rewrite
from graphnn.compiler.rules import RULES
from graphnn.compiler.unit import Options, Unit
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.provenance import made_by

__all__ = ["simplify"]


def allowed(options: Options) -> frozenset[Exactness]:
    """The kinds of rules that the options permit."""
    kinds = {Exactness.EXACT}
    if options.optimize == "O2":
        kinds.add(Exactness.REASSOCIATING)
    if options.value_unsafe:
        kinds.add(Exactness.VALUE_UNSAFE)
    return frozenset(kinds)


@cache
def _book(kinds: frozenset[Exactness]) -> RuleBook:
    return RULES.only(kinds)


def simplify(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    book, graph = _book(allowed(unit.options)), unit.graph

    def step(node: Node) -> Node | None:
        if is_foldable(node):
            with made_by("simplify", node):
                folded = fold(node)
            if folded is not None and driver.spend("fold", node, folded):
                return folded
        for each in book.candidates(node):
            made = each.apply(node, by="simplify")
            if made is not None and driver.spend(each.name, node, made):
                return made
        return None

    simple = rewrite(graph.nodes, step, "simplify")
    outputs = tuple(simple[node] for node in graph.outputs)
    return (
        unit if outputs == graph.outputs else driver.with_graph(unit, Graph(graph.inputs, outputs))
    )
