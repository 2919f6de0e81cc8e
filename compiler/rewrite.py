"""The rewriting engine: a step is applied to every node, bottom-up, until it applies nowhere.

`simplify` and `stabilize` give the steps. Iterative, and linear in the size of the graph as
long as what steps build is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from graphnn.core.node import Node, make_node
from graphnn.core.provenance import carry, made_by

__all__ = ["Step", "rewrite"]

Step: TypeAlias = Callable[[Node], "Node | None"]
"""From a node whose inputs are final to what replaces it, or None to leave it."""

MOST_STEPS = 64
"""Steps from one node in a row; a pair of rules that undo each other ends here."""


def rewrite(order: Iterable[Node], step: Step, name: str) -> dict[Node, Node]:
    """What becomes of every node; one to which nothing happens is mapped to itself.

    Parameters
    ----------
    order : iterable of Node
        Inputs before users; inputs that are not listed are taken as they are.
    step : callable
        What it builds is rewritten in turn.
    name : str
        The pass on whose behalf nodes are rebuilt.
    """
    final: dict[Node, Node] = {}
    for node in order:
        for each in node.inputs:
            final.setdefault(each, each)
        if node not in final:
            _settle(node, step, final, name)
    return final


def _settle(root: Node, step: Step, final: dict[Node, Node], name: str) -> None:
    """Fill in ``final`` for a node and for all that steps from it build."""
    pending = [(root, root, MOST_STEPS)]  # node, what it is so far, steps left
    while pending:
        node, current, steps = pending[-1]
        fresh = [(each, each, steps) for each in current.inputs if each not in final]
        if fresh:
            pending += fresh
            continue
        result = final.get(current)
        if result is None:
            current = _with_final_inputs(current, final, name)
            result = final.get(current)
        if result is None:
            made = step(current) if steps else None
            if made is not None:
                carry(current, made)
                pending[-1] = (node, made, steps - 1)
                continue
            result = current
        pending.pop()
        final[node] = final[current] = final[result] = result
        carry(current, result)


def _with_final_inputs(node: Node, final: dict[Node, Node], name: str) -> Node:
    """The node on what its inputs became; the node itself if that is what they were."""
    inputs = tuple([final[each] for each in node.inputs])
    if inputs == node.inputs:
        return node
    with made_by(name, node):
        rebuilt = make_node(node.op, inputs, node.attrs)
    carry(node, rebuilt)
    return rebuilt
