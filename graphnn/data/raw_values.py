"""Values of arrays from files whose heads may lie: no more memory is taken than the file has."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from graphnn.core.errors import ArgumentError
from graphnn.core.op import Array

__all__: list[str] = []

DEFLATE_RATIO = 1032
"""How many bytes one compressed byte stands for at most, in what gzip and zip files hold."""

_PIECE = 1 << 20


class Readable(Protocol):
    """An open file, or what unpacks one."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


def read_values(
    place: str,
    file: Readable,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    *,
    most: int,
    is_fortran: bool = False,
) -> Array:
    """An array of what is left of a file, in the byte order of this machine.

    Parameters
    ----------
    place : str
        How messages name the file.
    file : binary file
    dtype, shape
        As the head of the file tells them.
    most : int
        Bytes that there can be, from the size of the file.
    is_fortran : bool, default False
        Whether the first index runs fastest.

    Raises
    ------
    ArgumentError
        If there are more or fewer bytes than the head tells.
    """
    expected = math.prod(shape) * dtype.itemsize
    told = f"its head tells {expected:,} bytes of values ({dtype.name} of shape {shape})"
    if expected > most:
        raise ArgumentError(f"{place}: {told}, more than the file can hold")
    # Piece by piece: compressed files tell their size only when they end.
    values = bytearray()
    while piece := file.read(min(_PIECE, expected + 1 - len(values))):
        values += piece
    if len(values) != expected:
        found = f"{len(values):,}" if len(values) < expected else "more"
        raise ArgumentError(f"{place}: {told}, there are {found}")
    try:
        array = np.ndarray(shape, dtype, values, order="F" if is_fortran else "C")
    except ValueError as error:  # more axes than NumPy has, or sizes beyond its integers
        raise ArgumentError(f"{place}: no array has the shape {shape}: {error}") from None
    return array.astype(dtype.newbyteorder("="), copy=False)
