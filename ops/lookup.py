"""Embedding: rows of a table, looked up by codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.ops.arithmetic import add, where
from graphnn.ops.axes import whole_number
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.control import stop_gradient
from graphnn.ops.gathering import gather, index_node
from graphnn.ops.logic import equal, logical_or
from graphnn.ops.movement import expand_dims
from graphnn.ops.operands import as_node
from graphnn.ops.statistics import size_of

__all__ = ["embedding"]


@operation(
    reference=lambda codes, table, padding_index=None: np.asarray(table)[codes],
    samples=[
        Sample(Arg((5,), 0, 3, kind="int"), Arg((4, 3))),
        Sample(Arg((2, 3), -4, 3, kind="int"), Arg((4, 3))),
        Sample(Arg((), 0, 3, kind="int"), Arg((4, 2))),
        Sample([3, 0, 3], Arg((4, 2, 2))),
        Sample(Arg((0,), 0, 3, kind="int"), Arg((4, 3))),
        # No code is that of the padding: there, the derivative is not that of the value.
        Sample(Arg((2, 3), 1, 3, kind="int"), Arg((4, 3)), padding_index=0),
        Sample(Arg((2, 3), 0, 2, kind="int"), Arg((4, 3)), padding_index=-1),
    ],
    rejects=[
        Reject(ShapeError, "index 4 is out of range for 4 elements", [0, 4], Arg((4, 3))),
        Reject(DTypeError, "must be integers", [0.5], Arg((4, 3))),
        Reject(ShapeError, "the table is 0-d", [0], Arg()),
        Reject(ShapeError, "padding_index 4 is out of range", [0], Arg((4, 3)), padding_index=4),
        Reject(ShapeError, "padding_index must be an integer", [0], Arg((4, 3)), padding_index=0.5),
    ],
    dtypes="bifc",
    corner="derivatives of a row that is looked up twice add up; that of the padding row is 0",
)
def embedding(codes: Any, table: Any, *, padding_index: int | None = None) -> Node:
    """``table[codes]``: a row of the table for every code.

    Parameters
    ----------
    codes : array_like or Node
        Integers of any shape. As everywhere, negative ones count from the end.
    table : array_like or Node, of shape (n, ...)
        A row for every code, usually of shape (n, features).
    padding_index : int, optional
        The code that fills sequences up: its row is looked up like others, but no derivative
        flows to it, so that it stays as it is while the table is trained.

    Returns
    -------
    Node
        Of the shape of ``codes``, followed by that of a row; of the dtype of the table.

    Raises
    ------
    ShapeError
        If a code that is known, or the padding index, is no row of the table.
    DTypeError
        If the codes are not integers.
    FeedError
        At run time, if a code is no row of the table.

    Examples
    --------
    >>> import graphnn as gn
    >>> codes = gn.input("codes", shape=("batch", "time"), dtype="int64")
    >>> table = gn.parameter([[0.0, 0.0], [1.0, 2.0]])
    >>> vectors = gn.embedding(codes, table, padding_index=0)
    >>> vectors.shape
    (Dim(batch), Dim(time), 2)
    >>> gn.evaluate(gn.grad(gn.sum(vectors), table), {codes: [[1, 1, 0]]})
    array([[0., 0.],
           [2., 2.]], dtype=float32)
    """
    rows = as_node(table)
    if rows.ndim == 0:
        raise ShapeError("embedding: the table is 0-d, it needs an axis of codes")
    chosen = index_node("embedding", codes, rows.shape[0])
    found = gather(rows, chosen)
    if padding_index is None:
        return found
    is_padding = _is_row(chosen, whole_number("embedding", "padding_index", padding_index), rows)
    features = tuple(range(chosen.ndim, found.ndim))
    return where(expand_dims(is_padding, features), stop_gradient(found), found)


def _is_row(codes: Node, index: int, table: Node) -> Node:
    """Where codes, counted from either end, mean one row."""
    size = table.shape[0]
    if isinstance(size, int) and not -size <= index < size:
        raise ShapeError(
            f"embedding: padding_index {index} is out of range for {size} rows",
            hint=f"it runs from {-size} to {size - 1}" if size else None,
        )
    row = size_of(index if index >= 0 else size + index, codes.dtype)
    from_end = add(codes, size_of(size, codes.dtype))
    return logical_or(equal(codes, row), equal(from_end, row))
