"""Rewrite a graph before it is differentiated, so that its derivative is stable too.

Before: ``log(softmax(x))``, whose derivative would hold ``1 / softmax(x)``.
After: ``log_softmax(x)``, whose derivative is ``1 - softmax(x)``.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.pattern import RuleBook
from graphnn.compiler.rewrite import rewrite
from graphnn.compiler.rules import STABILITY
from graphnn.core.graph import Graph, topological_order
from graphnn.core.node import Node
from graphnn.ops.leaves import input_like

__all__ = ["stabilize"]

_BOOK = RuleBook(STABILITY)


def stabilize(outputs: Sequence[Node], keep: Sequence[Node]) -> list[Node]:
    """The outputs, computed by stable formulas; linear in the size of the graph.

    Parameters
    ----------
    outputs : sequence of Node
    keep : sequence of Node
        Nodes that stay in the graph as they are, with all that they depend on: those with
        respect to which the outputs will be differentiated.

    Returns
    -------
    list of Node
        The same nodes where no rule applies.
    """
    stable = _apply_rules(outputs, keep)
    inner = [node for node in keep if node.inputs]
    if not inner or stable == list(outputs):
        return stable
    # A pattern must not look into a node that is kept: an input takes its place.
    stand_ins = {node: input_like("kept", node.tensor) for node in inner}
    stable = _apply_rules(Graph((), tuple(outputs)).substitute(stand_ins).outputs, ())
    back = {stand_in: node for node, stand_in in stand_ins.items()}
    return list(Graph((), tuple(stable)).substitute(back).outputs)


def _apply_rules(outputs: Sequence[Node], boundary: Sequence[Node]) -> list[Node]:
    order = topological_order(outputs, frozenset(boundary))
    stable = rewrite(order, _step, "stabilize")
    return [stable.get(node, node) for node in outputs]


def _step(node: Node) -> Node | None:
    for each in _BOOK.candidates(node):
        made = each.apply(node, by="stabilize")
        if made is not None:
            return made
    return None
