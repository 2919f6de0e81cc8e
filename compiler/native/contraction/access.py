"""Where micro-kernels and packing find an operand."""

from __future__ import annotations

from dataclasses import dataclass

from graphnn.compiler.native.builder import V

__all__ = ["Access"]


@dataclass(frozen=True, slots=True)
class Access:
    """An operand from the first element of a block on.

    Attributes
    ----------
    base : V
        Address of that element.
    dtype : str
        It is stored in.
    step : int
        Bytes from one row (or column) of the block to the next.
    summed : tuple of int
        Bytes along every summed axis.
    lane_step : int
        Bytes from lane to lane.
    """

    base: V
    dtype: str
    step: int
    summed: tuple[int, ...]
    lane_step: int = 0
