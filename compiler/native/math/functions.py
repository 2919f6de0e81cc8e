"""The functions by name, with their stated errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphnn.compiler.native.math.lanes import Lanes

__all__ = ["FUNCTIONS", "Function"]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of floats.

    Attributes
    ----------
    code : callable
        Prints it for arguments of float or double.
    ulp32, ulp64 : float
        Largest errors in units of the last place.
    """

    code: Callable[[Sequence[Lanes]], Lanes]
    ulp32: float
    ulp64: float


FUNCTIONS: dict[str, Function] = {}
"""By the operator's name."""
