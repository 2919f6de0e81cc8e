"""Tangents of conds and while loops, which are conds and while loops.

The tangent of a cond is a cond of the tangents, which computes of the branch what it needs; a pass
merges it with the cond that was there before. A while loop goes round once more, with its carry and
the tangent of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphnn.compiler.autodiff.forward import push_forward
from graphnn.compiler.scans.forward import carries_of_tangents, or_zeros, push_carries
from graphnn.core.node import Node
from graphnn.ops.conditionals import Choice
from graphnn.ops.leaves import input_like
from graphnn.ops.while_loops import Rounds

__all__ = ["chosen", "jvp_of_cond", "jvp_of_while"]


def jvp_of_cond(node: Node, tangents: Sequence[Node | None]) -> list[Node | None]:
    """Tangents of all results of a cond from those of its inputs; None for zero."""
    choice = Choice.of(node)
    given = dict(choice.operands)
    seeds: dict[Node, Node] = {}
    for symbol, tangent in zip(choice.operands, tangents[1:], strict=True):
        if tangent is not None:
            seeds[symbol] = input_like("tangent", symbol.tensor)
            given[seeds[symbol]] = tangent
    sides = [push_forward(side, seeds) for side in (choice.if_true, choice.if_false)]
    return chosen(choice, given, sides, choice.if_true)


def chosen(
    choice: Choice,
    operands: Mapping[Node, Node],
    sides: Sequence[Sequence[Node | None]],
    primals: Sequence[Node],
) -> list[Node | None]:
    """Derivatives that branches give, as results of a cond; None where they are zero in both.

    Parameters
    ----------
    choice : Choice
        The cond that is differentiated.
    operands : mapping of Node to Node
        What the branches read, derivatives too.
    sides : two sequences of Node or None
        Of the branches if true and if false; None for zero.
    primals : sequence of Node
        Of which these are the derivatives.
    """
    pairs = list(zip(*sides, strict=True))
    some = [number for number, pair in enumerate(pairs) if pair != (None, None)]
    one, other = (
        tuple(or_zeros(side[number], primals[number]) for number in some) for side in sides
    )
    made = replace(choice, operands=operands, if_true=one, if_false=other).build()
    found = dict(zip(some, made, strict=True))
    return [found.get(number) for number in range(len(pairs))]


def jvp_of_while(node: Node, tangents: Sequence[Node | None]) -> list[Node | None]:
    """Tangents of all results of a while loop from those of its inputs; None for zero."""
    rounds = Rounds.of(node)
    n_constants = len(node.inputs) - len(rounds.carries)
    constants = node.inputs[:n_constants]
    pairs = zip(constants, tangents, strict=False)
    seeds = {each: tangent for each, tangent in pairs if tangent is not None}
    arriving = dict(zip(rounds.symbols, tangents[n_constants:], strict=True))
    moving = {
        symbol: input_like("tangent", symbol.tensor)
        for symbol, tangent in arriving.items()
        if tangent is not None
    }
    nexts = [each.next for each in rounds.carries]
    found = push_carries(nexts, rounds.carries, seeds, moving, constants)
    carries = carries_of_tangents(rounds.carries, arriving, moving, found)
    finals = replace(rounds, carries=(*rounds.carries, *carries)).build()
    places = zip((each.symbol for each in carries), finals[len(rounds.carries) :], strict=True)
    made = dict(places)
    return [made.get(moving.get(symbol, symbol)) for symbol in rounds.symbols]
