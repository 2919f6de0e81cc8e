"""Sizes and axes as users give them, as checked tuples of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.dims import Shape, as_size
from graphnn.core.errors import ShapeError

__all__ = ["as_shape", "listed", "normalize_axes", "normalize_axis", "whole_number"]


def listed(given: Any) -> tuple[Any, ...]:
    """One thing, or a tuple, list or 1-D array of several, as a tuple."""
    if isinstance(given, np.ndarray):
        given = given.tolist()
    return tuple(given) if isinstance(given, tuple | list) else (given,)


def as_shape(what: str, shape: Any) -> Shape:
    """A shape from a size or several, none of them negative.

    Raises
    ------
    ShapeError
    """
    sizes = tuple(map(as_size, listed(shape)))
    for size in sizes:
        if isinstance(size, int) and size < 0:
            raise ShapeError(f"{what}: size {size} is negative")
    return sizes


def whole_number(what: str, word: str, value: Any) -> int:
    """An integer of Python or NumPy as a Python integer.

    Raises
    ------
    ShapeError
        For anything else, also for floats that happen to be whole.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ShapeError(f"{what}: {word} must be an integer, not {value!r}")
    return int(value)


def normalize_axis(what: str, axis: Any, ndim: int) -> int:
    """A non-negative axis.

    Raises
    ------
    ShapeError
        If it is out of range.
    """
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise ShapeError(f"{what}: axis must be an integer, not {axis!r}")
    index = int(axis.__index__())
    if not -ndim <= index < ndim:
        raise ShapeError(
            f"{what}: axis {index} is out of range for {ndim} axes",
            hint=f"axes run from {-ndim} to {ndim - 1}" if ndim else "a 0-d array has no axes",
        )
    return index % ndim


def normalize_axes(what: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """Non-negative, sorted axes from an axis, several, or None for all.

    Raises
    ------
    ShapeError
        If one is out of range or given twice.
    """
    if axis is None:
        return tuple(range(ndim))
    given = listed(axis)
    axes = tuple(sorted(normalize_axis(what, each, ndim) for each in given))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{what}: an axis is given twice in {given}")
    return axes
