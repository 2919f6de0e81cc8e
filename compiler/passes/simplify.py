"""simplify: apply the rewrite rules until none fires.

Before: ``log(softmax(x)) * 1.0``.
After: ``log_softmax(x)``.

Bottom-up: a node's inputs are simple before it is looked at, and what a rule builds is
simplified in turn. Rules that a level does not allow (see `Exactness`) are left out.
"""

from __future__ import annotations

from graphnn.compiler.driver import Driver
from graphnn.compiler.passes.fold_constants import fold
from graphnn.compiler.pattern import Exactness, RuleBook
from graphnn.compiler.rules import RULES
from graphnn.compiler.unit import Options, Unit
from graphnn.core.graph import topological_order, with_inputs
from graphnn.core.node import Node
from graphnn.core.provenance import carry, made_by

__all__ = ["simplify"]

MOST_REWRITES = 64
"""Rewrites of one node in a row; a pair of rules that undo each other ends here."""


def allowed(options: Options) -> frozenset[Exactness]:
    """The kinds of rules that the options permit."""
    kinds = {Exactness.EXACT}
    if options.optimize == "O2":
        kinds.add(Exactness.REASSOCIATING)
    if options.value_unsafe:
        kinds.add(Exactness.VALUE_UNSAFE)
    return frozenset(kinds)


def simplify(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    book = RULES.only(allowed(unit.options))
    simple: dict[Node, Node] = {}
    for node in unit.graph.nodes:
        _simplify(node, simple, book, driver)
    return driver.with_graph(unit, unit.graph.map(lambda node, inputs: simple[node]))


def _simplify(root: Node, simple: dict[Node, Node], book: RuleBook, driver: Driver) -> None:
    """Fill in ``simple`` for a node and for all that rewriting it builds; iterative."""
    order = topological_order([root], boundary=simple)
    for node in order:
        result = with_inputs(node, tuple(simple[each] for each in node.inputs))
        if result is not node:
            carry(node, result)
        for _ in range(MOST_REWRITES):
            if result in simple:
                result = simple[result]
                break
            rewritten = _rewrite_once(result, book, driver)
            if rewritten is None:
                break
            carry(result, rewritten)
            # What the rule built between its leaves is new: simplify that first.
            fresh = topological_order(rewritten.inputs, boundary=simple)
            if fresh:
                for each in fresh:
                    if each not in simple:
                        _simplify(each, simple, book, driver)
                rewritten = with_inputs(rewritten, tuple(simple[each] for each in rewritten.inputs))
            result = rewritten
        simple[node] = result
        simple[result] = result


def _rewrite_once(node: Node, book: RuleBook, driver: Driver) -> Node | None:
    """What folding or the first rule that applies makes of a node; None if nothing does."""
    with made_by("simplify", node):
        folded = fold(node)
        if folded is not None and driver.spend("fold", node, folded):
            return folded
        for each, made in book.matching(node):
            if driver.spend(each.name, node, made):
                return made
    return None
