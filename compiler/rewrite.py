"""The rewriting engine: apply a step to every node, bottom-up, until it applies nowhere.

`simplify` and `stabilize` are steps of it. Linear in the size of the graph as long as what a
step builds is, and iterative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from graphnn.compiler.pattern import Rule, RuleBook
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import carry, made_by

__all__ = ["Step", "apply_rules", "rewrite"]

Step: TypeAlias = Callable[[Node], "Node | None"]
"""From a node whose inputs are final to what replaces it, or None to leave it."""

MOST_STEPS = 64
"""Steps from one node in a row; a pair of rules that undo each other ends here."""


def rewrite(order: Iterable[Node], step: Step, name: str) -> dict[Node, Node]:
    """What becomes of every node.

    Parameters
    ----------
    order : iterable of Node
        Inputs before users. Inputs that are not listed are taken as they are.
    step : callable
    name : str
        The pass on whose behalf nodes are rebuilt.

    Returns
    -------
    dict of Node to Node
        A node to which nothing happened is mapped to itself.
    """
    final: dict[Node, Node] = {}
    for node in order:
        for each in node.inputs:
            if final.get(each, each) is not each:
                break
        else:
            if step_is_done(node, step, final):
                continue
        _settle(node, step, final, name)
    return final


def step_is_done(node: Node, step: Step, final: dict[Node, Node]) -> bool:
    return False
