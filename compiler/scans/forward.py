"""The tangent of a scan: one scan over the carry and its tangent.

The step is linearised where it is, next to what it computes; a pass merges the copy of the primal
with the scan that was there before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphnn.compiler.autodiff.forward import push_forward
from graphnn.core.node import Node
from graphnn.ops.constants import zeros_like
from graphnn.ops.leaves import input_like
from graphnn.ops.scan_primitive import Carry, Step

__all__ = ["carries_of_tangents", "jvp_of_scan", "or_zeros", "push_carries"]


def jvp_of_scan(node: Node, tangents: Sequence[Node | None]) -> list[Node | None]:
    """Tangents of all results of a scan from those of its inputs; None for zero."""
    step = Step.of(node)
    n_constants = len(node.inputs) - len(step.symbols)
    constants = node.inputs[:n_constants]
    seeds = {
        each: tangent
        for each, tangent in zip(constants, tangents, strict=False)
        if tangent is not None
    }
    arriving = dict(zip(step.symbols, tangents[n_constants:], strict=True))
    elements = dict(step.elements)
    for symbol in step.elements:
        tangent = arriving[symbol]
        if tangent is not None:
            seeds[symbol] = input_like("tangent", symbol.tensor)
            elements[seeds[symbol]] = tangent
    moving = {
        each.symbol: input_like("tangent", each.symbol.tensor)
        for each in step.carries
        if arriving[each.symbol] is not None
    }
    found = push_carries(step.outputs, step.carries, seeds, moving, constants)
    carries = carries_of_tangents(step.carries, arriving, moving, found)
    ys = found[len(step.carries) :]
    some = [each for each in ys if each is not None]
    derived = Step((*step.carries, *carries), elements, tuple(some), step.length, step.reverse)
    finals, stacked = derived.build()
    places = {each.symbol: final for each, final in zip(derived.carries, finals, strict=True)}
    of_carries = [
        places[moving[each.symbol]] if each.symbol in moving else None for each in step.carries
    ]
    remaining = iter(stacked)
    return [*of_carries, *(None if each is None else next(remaining) for each in ys)]


def push_carries(
    outputs: Sequence[Node],
    carries: Sequence[Carry],
    seeds: Mapping[Node, Node],
    moving: dict[Node, Node],
    constants: Sequence[Node],
) -> list[Any]:
    """Tangents of what a step gives: the next carries, then others; None for zero.

    A carry may get one only after some steps: until nothing is new. ``moving`` holds the symbols
    for tangents of carries, and gets those that are new.
    """
    while True:
        found = push_forward(outputs, {**seeds, **moving}, boundary=constants)
        late = [
            each.symbol
            for each, tangent in zip(carries, found, strict=False)
            if tangent is not None and each.symbol not in moving
        ]
        if not late:
            return found
        moving.update((symbol, input_like("tangent", symbol.tensor)) for symbol in late)


def carries_of_tangents(
    carries: Sequence[Carry],
    arriving: Mapping[Node, Node | None],
    moving: Mapping[Node, Node],
    found: Sequence[Node | None],
) -> list[Carry]:
    """The tangents of carries, as carries."""
    return [
        Carry(
            moving[each.symbol],
            or_zeros(arriving[each.symbol], each.first),
            or_zeros(tangent, each.next),
        )
        for each, tangent in zip(carries, found, strict=False)
        if each.symbol in moving
    ]


def or_zeros(tangent: Node | None, primal: Node) -> Node:
    """A tangent that is a node also where it is zero."""
    zeros: Node = zeros_like(primal) if tangent is None else tangent
    return zeros
