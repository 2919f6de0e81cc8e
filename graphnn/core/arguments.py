"""Checks of numbers that users pass to operations, layers, optimizers and training loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphnn.core.errors import ArgumentError

__all__ = ["require_number", "require_positive"]


def require_positive(what: str, **counts: Any) -> None:
    """Check that all are integers of at least 1.

    Raises
    ------
    ArgumentError
        Naming the first that is not.
    """
    for name, count in counts.items():
        is_integer = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if not is_integer or count < 1:
            raise ArgumentError(f"{what}: {name} must be a positive integer, not {count!r}")


def require_number(what: str, name: str, value: Any, below: float = math.inf) -> float:
    """A finite number of at least 0 as a float.

    Raises
    ------
    ArgumentError
        If it is no number, negative, not finite, or not below a bound.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ArgumentError(f"{what}: {name} must be a number, not {value!r}")
    if not 0 <= value < below:
        bound = "0 or more, and finite" if below == math.inf else f"from 0 to below {below:g}"
        raise ArgumentError(f"{what}: {name} is {value}, it must be {bound}")
    return float(value)
