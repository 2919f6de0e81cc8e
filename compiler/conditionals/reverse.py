"""Cotangents of conds and while loops.

The cotangent of a cond is a cond: each branch computes once more what it needs of the way there,
and goes back. Nothing is kept in between but the operands, so the branch that is not taken costs
neither time nor memory. A while loop has none, for nobody knows how much it would have to keep.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.autodiff.reverse import pull_back
from graphnn.compiler.conditionals.forward import chosen
from graphnn.core.dtypes import is_inexact
from graphnn.core.errors import UnsupportedOpError
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.ops.conditionals import Choice
from graphnn.ops.leaves import input_like

__all__ = ["vjp_of_cond", "vjp_of_while"]


def vjp_of_cond(node: Node, cotangents: Sequence[Node | None]) -> list[Node | None]:
    """Cotangents of all inputs of a cond from those of its results; None for zero."""
    choice = Choice.of(node)
    given = dict(choice.operands)
    seeds: list[Node | None] = []
    for result, cotangent in zip(choice.if_true, cotangents, strict=True):
        symbol = None if cotangent is None else input_like("cotangent", result.tensor)
        seeds.append(symbol)
        if symbol is not None and cotangent is not None:
            given[symbol] = cotangent
    wanted = [each for each in choice.operands if is_inexact(each.dtype)]
    sides = [pull_back(side, seeds, wanted) for side in (choice.if_true, choice.if_false)]
    found = dict(zip(wanted, chosen(choice, given, sides, wanted), strict=True))
    return [None, *(found.get(symbol) for symbol in choice.operands)]


def vjp_of_while(node: Node, cotangents: Sequence[Node | None]) -> list[Node | None]:
    """Refused: see the module."""
    raise UnsupportedOpError(
        "while_loop: without a bound there is no reverse mode, for what it would have to keep has "
        "no bound either",
        hint="gn.while_loop(..., bound=most_rounds) can be differentiated in both modes; "
        "gn.jvp and gn.jacobian(..., mode='forward') need none",
        where=provenance(node).where,
    )
