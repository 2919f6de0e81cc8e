"""What it saves to make one product of several, and what it costs: the numbers of that decision.

Every product reads the operand that they share and packs it for itself, and is an instruction, at
whose end threads meet. Of products that are added, all but one write what another one reads.
Against that stands copying the operands that are joined: weights once, before a loop; what is
computed for nothing else is written where it belongs, and costs nothing. And what reads a product,
such as the update of a weight, is computed with it, but not with a part of one.

What is computed in every step counts as often as there are steps. Outside of loops products are
large, and one of them is hardly faster than several: measured on Zen 3, products of 128 columns
and more gain between -10 and 15 %, and narrow ones of few summed elements up to 35 %. So they must
gain more than some part of the time that they take. Within a loop they need not: forward passes
of an LSTM took between 0.8 and 1.06 of the time with four products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphnn.compiler.memory_model import nbytes_of
from graphnn.core.node import Node

__all__ = ["Times", "reason_against"]

INSTRUCTION_NS = 300
BYTES_PER_NS = 10
FLOPS_PER_NS = 50

LEAST_GAIN = 0.05
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
    results : int
        Results are read that would have been computed together with what reads them. Within a
        loop that makes no difference: they are in the nearest caches.
    """

    products: int = 1
    steps: int = 1
    results: int = 1


def reason_against(
    products: Sequence[Node],
    read_again: Node | None,
    is_changing: bool,
    copied: int,
    times: Times,
) -> str:
    """Why products stay apart; empty if they should be one.

    Parameters
    ----------
    products : sequence of Node
    read_again : Node or None
        The operand that they share; None if they are added.
    is_changing : bool
        Whether that is another one at every step.
    copied : int
        Bytes that are copied to join operands, all in all.
    times : Times
    """
    if read_again is None:
        moved = nbytes_of(products[0]) * times.steps
    else:
        moved = nbytes_of(read_again) * (times.steps if is_changing else times.products)
    fewer = len(products) - 1
    saved = fewer * (2 * moved / BYTES_PER_NS + INSTRUCTION_NS * times.products)
    if read_again is not None:
        copied += sum(map(nbytes_of, products)) * times.results
    spent = 2 * copied / BYTES_PER_NS
    if saved <= spent:
        return f"{copied:,} bytes would be copied, which takes longer than it saves"
    if times.products == 1:
        flops = sum(each.op.flops(each) for each in products) * times.steps
        if saved - spent < LEAST_GAIN * flops / FLOPS_PER_NS:
            return "large products outside of a loop are as fast by themselves"
    return ""
