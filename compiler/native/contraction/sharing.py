"""When it is worth it to pack an operand once for several products, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphnn.compiler.kernel import Contraction
from graphnn.compiler.native.contraction.blocking import make_plan
from graphnn.compiler.native.contraction.cost import pack_cycles
from graphnn.compiler.native.contraction.packing import packings
from graphnn.compiler.native.contraction.panels import Panels
from graphnn.compiler.native.target import Target

__all__ = ["Offer", "is_worth_it", "offer"]

LEAST_SAVED = 0.05
"""Share of the products' time that must be saved: panels that stay take memory, and caches."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A product that would read an operand from panels.

    Attributes
    ----------
    contraction : Contraction
        That does.
    panels : Panels
        The panels that it wants.
    cycles, saved, spent : float
        Cycles that it takes as it is, those that it would save, and those that filling the panels
        takes.
    """

    contraction: Contraction
    panels: Panels
    cycles: float
    saved: float
    spent: float


def offer(contraction: Contraction, factor: int, target: Target) -> Offer:
    """What a product would do if its left (0) or right (1) factor were in panels."""
    left, right = contraction.packed
    given = replace(contraction, packed=(left or factor == 0, right or factor == 1))
    plan = make_plan(given, target)
    (packing,) = (each for each in packings(plan) if each and each.argument == factor)
    cycles = make_plan(contraction, target).cycles
    spent = pack_cycles(plan, is_left=packing.is_left)
    return Offer(given, packing.panels, cycles, cycles - plan.cycles, spent)


def is_worth_it(offers: Sequence[Offer]) -> bool:
    """Whether panels of one operand that so many products want should be filled once for all."""
    if len(offers) < 2:
        return False
    saved = sum(each.saved for each in offers) - offers[0].spent
    return saved > LEAST_SAVED * sum(each.cycles for each in offers)
