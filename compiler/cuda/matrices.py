"""Contractions as products of matrices: where axes can be walked as one, a library multiplies."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

from graphnn.compiler.cuda.code import Matrices, Matrix
from graphnn.compiler.kernel import Contraction
from graphnn.core.dtypes import as_dtype, is_inexact

__all__ = [
    "Axes",
    "axes_of",
    "dense_strides",
    "matrices_of",
    "matrix_of",
    "product_of",
    "step_along",
]

Strides: TypeAlias = Mapping[int, int] | Sequence[int]
"""Bytes along axes, by their numbers."""


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of a contraction by what they are, each in the order of the domain.

    Attributes
    ----------
    batch, rows, columns, summed : tuple of int
        The left operand moves along rows, the right one along columns, both along batches.
    """

    batch: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    summed: tuple[int, ...]


def axes_of(contraction: Contraction) -> Axes:
    """The axes sorted. One that no operand moves along, or only a `Bound`, is a row."""
    free = [n for n in range(len(contraction.sizes)) if n not in contraction.summed]
    left, right = contraction.left.strides, contraction.right.strides
    places = {bound.place for bound in contraction.bounds}
    moves_left = {n for n in free if left[n] or n in places}
    batch = tuple(n for n in free if n in moves_left and right[n])
    columns = tuple(n for n in free if n not in moves_left and right[n])
    rows = tuple(n for n in free if n not in batch and n not in columns)
    return Axes(batch, rows, columns, contraction.summed)


def matrices_of(contraction: Contraction) -> Matrices | None:
    """A contraction as one product of matrices into dense memory; None if it is not one."""
    dtype = as_dtype(contraction.dtype)
    stored = {contraction.left.dtype, contraction.right.dtype}
    if contraction.bounds or not is_inexact(dtype) or stored != {contraction.dtype}:
        return None
    axes = axes_of(contraction)
    order = (*axes.batch, *axes.rows, *axes.columns)
    return product_of(contraction, axes, dense_strides(contraction, order))


def dense_strides(contraction: Contraction, order: Sequence[int]) -> dict[int, int]:
    """Bytes along axes that follow each other without gaps."""
    step, strides = as_dtype(contraction.dtype).itemsize, {}
    for axis in reversed(order):
        strides[axis] = step
        step *= contraction.sizes[axis]
    return strides


def product_of(contraction: Contraction, axes: Axes, out: Mapping[int, int]) -> Matrices | None:
    """The product of factors that move by strides; None if something is no matrix.

    Parameters
    ----------
    contraction : Contraction
        Its bounds are not looked at.
    axes : Axes
        Along a batch axis, one of the factors may stand still.
    out : mapping of int to int
        Bytes along every free axis of the result.
    """
    m, n, k, batch = (
        prod(contraction.sizes[axis] for axis in each)
        for each in (axes.rows, axes.columns, axes.summed, axes.batch)
    )
    left = matrix_of(contraction.left.strides, (axes.rows, axes.summed, axes.batch), contraction)
    right = matrix_of(
        contraction.right.strides, (axes.summed, axes.columns, axes.batch), contraction
    )
    made = matrix_of(out, (axes.rows, axes.columns, axes.batch), contraction)
    if left is None or right is None or made is None:
        return None
    sides = ((left, m, k), (right, k, n), (made, m, n))
    if not all(_is_matrix(*each) for each in sides):
        return None
    steps = (step for each, _, _ in sides for step in (each.row, each.column))
    if max(m, n, k, batch, *steps) >= 1 << 31:
        return None  # cuBLAS counts in 32 bits
    return Matrices(m, n, k, batch, contraction.dtype, left, right, made)


def matrix_of(
    strides: Strides, axes: Sequence[Sequence[int]], contraction: Contraction
) -> Matrix | None:
    """How an operand lies along rows, columns and batches; None if it is no such matrix.

    Parameters
    ----------
    strides : mapping of int to int, or sequence of int
        Bytes, along every one of these axes.
    axes : sequence of sequence of int
        Those of rows, of columns and of batches.
    contraction : Contraction
    """
    itemsize = as_dtype(contraction.dtype).itemsize
    steps = [step_along(each, contraction.sizes, strides, itemsize) for each in axes]
    known = [each for each in steps if each is not None]
    return Matrix(*known) if len(known) == len(steps) else None


def step_along(
    axes: Sequence[int], sizes: Sequence[int], strides: Strides, itemsize: int
) -> int | None:
    """Elements from one point to the next along axes walked as one; None if they cannot be."""
    kept = [axis for axis in axes if sizes[axis] > 1]
    if not kept:
        return 0
    for outer, inner in itertools.pairwise(kept):
        if strides[outer] != sizes[inner] * strides[inner]:
            return None
    whole, rest = divmod(strides[kept[-1]], itemsize)
    return None if rest else whole


def _is_matrix(matrix: Matrix, rows: int, columns: int) -> bool:
    """Whether a library can read it: it lies row by row, or column by column."""
    by_row = (columns == 1 or matrix.column == 1) and (rows == 1 or matrix.row >= columns)
    by_column = (rows == 1 or matrix.row == 1) and (columns == 1 or matrix.column >= rows)
    return by_row or by_column
