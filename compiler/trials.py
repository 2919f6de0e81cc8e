"""What passes that try out the passes after them have in common: how to try, and how to aim."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphnn.compiler.driver import Driver, Pass, wanted
from graphnn.compiler.unit import Unit

__all__ = ["AIM", "CLOSE", "geometric_mean", "planned"]

CLOSE = 0.96
"""An arena of this part of the budget is as good as one that fills it."""

AIM = 0.99
"""The part of the budget that the next trial aims at."""


def planned(unit: Unit, rest: Sequence[Pass], fuel: int | None) -> Unit:
    """The unit after the remaining passes."""
    driver = Driver(fuel)
    for each in wanted(rest, unit):
        unit = each(unit, driver)
    return unit


def geometric_mean(low: int, high: int) -> int:
    """The middle of two sizes, by their ratio."""
    return math.isqrt(max(low, 1) * max(high, 1))
