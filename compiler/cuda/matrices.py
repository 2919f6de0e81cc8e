"""Contractions as products of matrices: where axes can be walked as one, a library multiplies."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from graphnn.compiler.cuda.code import Matrices, Matrix
from graphnn.compiler.kernel import Contraction
from graphnn.core.dtypes import as_dtype, is_inexact

__all__ = ["Axes", "axes_of", "matrices_of", "matrix_of"]


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
    axes, sizes = axes_of(contraction), contraction.sizes
    m, n, k, batch = (
        prod(sizes[axis] for axis in each)
        for each in (axes.rows, axes.columns, axes.summed, axes.batch)
    )

    left = matrix_of(contraction.left.strides, (axes.rows, axes.summed, axes.batch), contraction)
    right = matrix_of(
        contraction.right.strides, (axes.summed, axes.columns, axes.batch), contraction
    )
    if left is None or right is None:
        return None
    if not (_is_matrix(left, m, k) and _is_matrix(right, k, n)):
        return None
    if max(m, n, k, batch, left.row, left.column, right.row, right.column) >= 1 << 31:
        return None  # cuBLAS counts in 32 bits
    return Matrices(m, n, k, batch, contraction.dtype, left, right, Matrix(n, 1, m * n))


def matrix_of(
    strides: Sequence[int], axes: Sequence[Sequence[int]], contraction: Contraction
) -> Matrix | None:
    """How an operand lies along rows, columns and batches; None if it is no such matrix.

    Parameters
    ----------
    strides : sequence of int
        Bytes, along every axis of the contraction.
    axes : sequence of sequence of int
        Those of rows, of columns and of batches.
    contraction : Contraction
    """
    itemsize = as_dtype(contraction.dtype).itemsize
    steps = [_step(each, contraction.sizes, strides, itemsize) for each in axes]
    known = [each for each in steps if each is not None]
    return Matrix(*known) if len(known) == len(steps) else None


def _step(
    axes: Sequence[int], sizes: Sequence[int], strides: Sequence[int], itemsize: int
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
