"""What it saves to make one product of several, and what it costs: the numbers of that decision.

Every product reads the operand that they share and packs it for itself, and is an instruction, at
whose end threads meet. Of products that are added, all but one write what another one reads.
Against that stands copying the operands that are joined: weights once, before a loop; what is
computed for nothing else is written where it belongs, and costs nothing. And what reads a product,
such as the update of a weight, is computed with it, but not with a part of one.

What is computed in every step counts as often as there are steps. Outside of loops products are
large, and one of them is hardly faster than several: measured on Zen 3, one took between 0.85 and
1.15 of the time of four, and what reads parts of it is slower. So these must save much of the time
that they take, as narrow ones do. Within a loop that makes up for little else; training steps of
an LSTM with a weight for each gate took between 0.92 and 1.02 of the time, of a GRU 0.94 to 1.04.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphnn.compiler.memory_model import nbytes_of
from graphnn.core.node import Node

__all__ = ["Times", "reason_against"]

INSTRUCTION_NS = 50
BYTES_PER_NS = 10
FLOPS_PER_NS = 50

IN_CACHE = 0.5
"""Part of the time that is taken to write and read results, of a step for example."""

LEAST_NBYTES = 1 << 17
"""Bytes of what is read again outside of loops: less stays in a core's caches."""

LEAST_GAIN = 0.2
"""Part of the time of products outside of loops that must be saved."""


@dataclass(frozen=True)
class Times:
    """How often things are done.

    Attributes
    ----------
    products : int
        Products are carried out.
    steps : int
        What changes from step to step is there.
    results : float
        Results are written and read that would have been computed together with what reads
        them.
    """

    products: int = 1
    steps: int = 1
    results: float = IN_CACHE


def reason_against(
    products: Sequence[Node],
    read_again: Node | None,
    is_changing: bool,
    copies: Sequence[tuple[Node, int]],
    times: Times,
    n_uses: int,
) -> str:
    """Why products stay apart; empty if they should be one.

    Parameters
    ----------
    products : sequence of Node
    read_again : Node or None
        The operand that they share; None if they are added.
    is_changing : bool
        Whether that is another one at every step.
    copies : sequence of (Node, int)
        The operands that are copied to be joined, and how often.
    times : Times
    n_uses : int
        How many such products read what is joined.
    """
    fewer = len(products) - 1
    again = nbytes_of(products[0] if read_again is None else read_again)
    if times.products == 1 and again * times.steps < LEAST_NBYTES:
        return "outside of a loop, so little is read again for next to nothing"
    if read_again is None:
        saved = _moving(products[0], times.steps)
        results = 0.0
    else:
        saved = _moving(read_again, times.steps if is_changing else times.products)
        results = sum(_moving(each, times.results) for each in products)
    saved = fewer * (saved + INSTRUCTION_NS * times.products)
    joining = sum(_moving(each, count) for each, count in copies)
    joining += INSTRUCTION_NS * max((count for _, count in copies), default=0)
    spent = results + joining / n_uses
    if saved <= spent:
        return "joining the operands, and taking the result apart, would take longer than it saves"
    if times.products == 1:
        flops = sum(each.op.flops(each) for each in products) * times.steps
        if saved - spent < LEAST_GAIN * flops / FLOPS_PER_NS:
            return "large products outside of a loop are as fast by themselves"
    return ""


def _moving(node: Node, times: float) -> float:
    """Nanoseconds to read and write a value so often."""
    return 2 * nbytes_of(node) * times / BYTES_PER_NS
