"""reroll: loops that were written out in Python become scans.

Before, for ``for t in range(100): h = tanh(x[t] @ w + h @ u)``::

    h0 -> step -> step -> ... -> step        100 times the same nodes
           x[0]    x[1]           x[99]

After::

    scan x100(h0, x)                         the nodes of one step

Whatever comes later costs as much as there are nodes, so this comes early; and what is known of
scans serves these loops too: products over all steps at once, weights packed once.

1. Rows are found: nodes that do the same at every step (:mod:`.rows`).
2. Rows that depend on themselves are loops (:mod:`.written_loops`), each apart: two layers, or the
   way there and the way back, are two loops, however they were written.
3. Loops take along rows that read them and nothing that comes later: gradients of weights, and
   their sums.
4. A loop must get what it reads as constants, carries and sequences, and sequences without much
   copying; and it must be worth it. Then it is built, and who read one of its steps reads an
   element of what it gives.

Steps that differ, at the ends or in the middle, stay as they are.
"""

from __future__ import annotations

from graphnn.compiler.driver import Driver
from graphnn.compiler.scans.loop_choice import Plan
from graphnn.compiler.scans.rerolled import Rebuilding
from graphnn.compiler.scans.rows import find_rows, is_heavy
from graphnn.compiler.scans.written_loops import Loop, begin_sums, find_loops
from graphnn.compiler.unit import Unit

__all__ = ["reroll"]

LARGE = 4000
"""Nodes from which on a loop of elementwise operators alone is made a scan.

A short one is faster as one fused kernel, which goes over memory once.
"""


def reroll(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    options = unit.options
    if options.debug == "nan" or options.memory_budget is not None:
        return unit  # which step it was is asked for; what is kept is decided node by node
    rows = find_rows(unit.graph)
    if not rows:
        return unit
    begin_sums(rows)
    loops = find_loops(rows)
    worthy = [each for each in loops if _is_worth_it(each)]
    for each in loops:
        if each not in worthy:
            why = "they are elementwise, and faster fused than in a loop"
            driver.decide(each.text, "stay as they are", why, each.heaviest)
    plan = Plan(unit.graph, worthy)
    plan.settle(rows)
    if not plan.loops:
        return unit
    return driver.with_graph(unit, Rebuilding(unit.graph, plan, driver).graph())


def _is_worth_it(loop: Loop) -> bool:
    """Whether steps hold more than what would be fused, or are many."""
    if len(loop.rounds) * len(loop.shifts) >= LARGE:
        return True
    return any(is_heavy(row.one) for row in loop.shifts)
