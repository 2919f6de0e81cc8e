"""Lowerings of operators that have code for GPUs, but none for processors.

Their threads work by themselves, each on one element or one column of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from graphnn.compiler.native.moves import LOWERINGS as MOVES
from graphnn.compiler.native.moves.piece import DeviceWork, Piece, filled, is_native_dtype
from graphnn.compiler.unit import View
from graphnn.core.node import Node
from graphnn.core.op import Array

__all__ = [
    "Polygamma",
    "Search",
    "SparseProduct",
    "Substitution",
    "WholeConvolution",
    "device_pieces_of",
]

Views: TypeAlias = tuple[View, ...]
Constant: TypeAlias = Callable[[Array], View]
"""Where numbers that are known beforehand lie on the device."""


@dataclass(frozen=True, slots=True)
class Search(DeviceWork):
    """For every value how many elements of its ascending row come before it; NaN come last.

    Operands: rows, values, result.

    Attributes
    ----------
    dtype : str
        Of rows and values.
    size : int
        Elements of a row.
    along : int
        Bytes from one element of a row to the next.
    shape : tuple of int
        Of the values.
    rows, values, out : tuple of int
        Strides along the axes of the values; 0 for rows along the last.
    side : {"left", "right"}
        Whether equal elements come behind the value, or before it.
    """

    dtype: str
    size: int
    along: int
    shape: tuple[int, ...]
    rows: tuple[int, ...]
    values: tuple[int, ...]
    out: tuple[int, ...]
    side: str


@dataclass(frozen=True, slots=True)
class SparseProduct(DeviceWork):
    """A matrix in compressed rows times a dense one: the entries of a row follow each other.

    Operands: entries, dense, where rows begin, the column of every entry, its number among the
    entries, result.

    Attributes
    ----------
    dtype : str
    shape : tuple of int
        Of the result: batches, rows, columns.
    entries : tuple of int
        Strides of the entries: along batches, then from one to the next.
    dense, out : tuple of int
        Strides along batches, rows and columns.
    """

    dtype: str
    shape: tuple[int, ...]
    entries: tuple[int, ...]
    dense: tuple[int, ...]
    out: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Substitution(DeviceWork):
    """Triangular systems, solved by substitution. Operands: matrices, right sides, result.

    Attributes
    ----------
    dtype : str
    shape : tuple of int
        Of the result: batches, rows, columns.
    matrix, right, out : tuple of int
        Strides along batches, rows and columns.
    is_lower, has_unit_diagonal : bool
    """

    dtype: str
    shape: tuple[int, ...]
    matrix: tuple[int, ...]
    right: tuple[int, ...]
    out: tuple[int, ...]
    is_lower: bool
    has_unit_diagonal: bool


@dataclass(frozen=True, slots=True)
class Polygamma(DeviceWork):
    """A derivative of digamma, of every element. Operands: elements, result.

    Attributes
    ----------
    dtype : str
    order : int
        At least 1.
    shape : tuple of int
    given, out : tuple of int
        Strides.
    """

    dtype: str
    order: int
    shape: tuple[int, ...]
    given: tuple[int, ...]
    out: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WholeConvolution(DeviceWork):
    """A convolution of integers, as `graphnn.ops.conv_primitive` has it. Operands: x, kernel, out.

    Attributes
    ----------
    dtype : str
    shape : tuple of int
        Of the result: examples, groups, filters and places.
    window : tuple of int
        Of what is summed over: channels and taps.
    given : tuple of int
        Sizes of the array along the spatial axes.
    x, kernel, out : tuple of int
        Strides.
    stride, low, x_dilation, dilation : tuple of int
    flip : bool
    """

    dtype: str
    shape: tuple[int, ...]
    window: tuple[int, ...]
    given: tuple[int, ...]
    x: tuple[int, ...]
    kernel: tuple[int, ...]
    out: tuple[int, ...]
    stride: tuple[int, ...]
    low: tuple[int, ...]
    x_dilation: tuple[int, ...]
    dilation: tuple[int, ...]
    flip: bool


OF_COMPLEX = frozenset(
    {
        "concatenate",
        "cumprod",
        "cumsum",
        "diagonal_matrix",
        "gather",
        "linear_recurrence",
        "overlap_add",
        "pad",
        "pick",
        "place",
        "scatter_add",
        "scatter_multiply",
        "scatter_set",
    }
)
"""Operators whose pieces move complex numbers, add or multiply them, and no more."""


def device_pieces_of(
    node: Node, inputs: Views, outputs: Views, constant: Constant
) -> list[Piece] | None:
    """The work of a node for a GPU; None if there is no code.

    Parameters
    ----------
    node : Node
    inputs, outputs : tuple of View
    constant : callable
        Gives the place of an array that the program keeps on the device.
    """
    name = node.op.name
    if not is_native_dtype(*inputs, *outputs):
        return MOVES[name](node, inputs, outputs) if name in OF_COMPLEX else None
    lowering = _LOWERINGS.get(name)
    return None if lowering is None else lowering(node, inputs, outputs, constant)


def _search(node: Node, inputs: Views, outputs: Views, constant: Constant) -> list[Piece]:
    (ordered, values), (out,) = inputs, outputs
    search = Search(
        ordered.dtype.name,
        ordered.shape[-1],
        ordered.strides[-1],
        values.shape,
        (*ordered.strides[:-1], 0),
        values.strides,
        out.strides,
        node.attrs["side"],
    )
    return [Piece(search, (ordered, values, out))]


def _sparse_product(node: Node, inputs: Views, outputs: Views, constant: Constant) -> list[Piece]:
    (entries, dense), (out,), pattern = inputs, outputs, node.attrs["pattern"]
    columns, begin = pattern.indices.array, pattern.indptr.array
    order = np.arange(pattern.count)
    if node.attrs["transposed"]:  # sort by columns: they become the rows
        order = np.argsort(columns, kind="stable")
        ends = np.cumsum(np.bincount(columns, minlength=pattern.shape[1]))
        begin, columns = np.append(0, ends), pattern.rows[order]
    tables = [constant(np.ascontiguousarray(each, np.int64)) for each in (begin, columns, order)]
    product = SparseProduct(out.dtype.name, out.shape, entries.strides, dense.strides, out.strides)
    return [Piece(product, (entries, dense, *tables, out))]


def _substitution(node: Node, inputs: Views, outputs: Views, constant: Constant) -> list[Piece]:
    (matrix, right), (out,) = inputs, outputs
    work = Substitution(
        out.dtype.name,
        out.shape,
        matrix.strides,
        right.strides,
        out.strides,
        node.attrs["lower"],
        node.attrs["unit_diagonal"],
    )
    return [Piece(work, (matrix, right, out))]


def _polygamma(node: Node, inputs: Views, outputs: Views, constant: Constant) -> list[Piece]:
    (x,), (out,) = inputs, outputs
    work = Polygamma(out.dtype.name, node.attrs["order"], out.shape, x.strides, out.strides)
    return [Piece(work, (x, out))]


def _convolution(node: Node, inputs: Views, outputs: Views, constant: Constant) -> list[Piece]:
    """Of integers, or of nothing: what has other numbers to multiply is a contraction."""
    (x, kernel), (out,) = inputs, outputs
    if 0 in (*x.shape, *kernel.shape):
        return filled(out, 0)
    sizes = {name: node.attrs[name] for name in ("stride", "low", "x_dilation", "dilation", "flip")}
    work = WholeConvolution(
        out.dtype.name,
        out.shape,
        kernel.shape[2:],
        x.shape[3:],
        x.strides,
        kernel.strides,
        out.strides,
        **sizes,
    )
    return [Piece(work, (x, kernel, out))]


_LOWERINGS: dict[str, Callable[[Node, Views, Views, Constant], list[Piece]]] = {
    "conv": _convolution,
    "csr_matmul": _sparse_product,
    "polygamma": _polygamma,
    "searchsorted": _search,
    "solve_triangular": _substitution,
}
"""By name of the operator."""
