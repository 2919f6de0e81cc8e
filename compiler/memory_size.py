"""Sizes of memory in words: ``"64 MiB"`` to bytes and back."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from graphnn.core.errors import ArgumentError
from graphnn.core.text import size_text

__all__ = ["as_nbytes", "size_text"]

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def as_nbytes(what: str, value: Any) -> int:
    """A number of bytes, given as one or in words.

    Parameters
    ----------
    what : str
        The argument's name, for errors.
    value : int or str
        ``"64 MiB"`` (2**20 bytes each), ``"64 MB"`` (10**6), ``"1.5GiB"``.

    Raises
    ------
    ArgumentError
        If it is neither, or not positive.
    """
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", value)
        factor = _UNITS.get(found[2].lower()) if found else None
        nbytes = int(float(found[1]) * factor) if found and factor else 0
    else:
        is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        nbytes = int(value) if is_whole else 0
    if nbytes <= 0:
        raise ArgumentError(
            f"{what} must be a positive number of bytes, not {value!r}",
            hint='for example 64 * 2**20, or "64 MiB"',
        )
    return nbytes
