"""Padding of sequences: which steps of which rows are real, for layers, attention and losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphnn.core.dims import Size
from graphnn.core.dtypes import INT64, is_bool, is_integer
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.ops.arithmetic import where
from graphnn.ops.broadcasting import broadcast_to, to_shape
from graphnn.ops.broadcasting import sum as total
from graphnn.ops.constants import constant
from graphnn.ops.creation import iota
from graphnn.ops.cumulative import cumsum
from graphnn.ops.logic import equal, logical_and
from graphnn.ops.movement import moveaxis
from graphnn.ops.operands import as_node, cast_to

__all__ = ["beside", "last_step", "or_all_real", "real_steps"]


def real_steps(
    what: str,
    shape: tuple[Size, Size],
    lengths: Any = None,
    mask: Any = None,
    *,
    batch_first: bool = False,
) -> Node | None:
    """Which steps of which rows are real, (time, batch); None if all are.

    Parameters
    ----------
    what : str
        Whom messages name.
    shape : tuple of sizes
        (time, batch).
    lengths, mask, batch_first
        See :meth:`graphnn.nn.SequenceLayer.forward`.

    Raises
    ------
    ShapeError, DTypeError
        If lengths or mask do not fit.
    ArgumentError
        If both are given, or a length that is known is below 0 or above the number of steps.
        Lengths that programs are fed with are not looked at: one above it stands for all steps,
        one below 0 for none.
    """
    if lengths is not None and mask is not None:
        raise ArgumentError(f"{what}: lengths and mask say the same", hint="give one of them")
    steps, batch = shape
    if lengths is not None:
        given = as_node(lengths)
        if not is_integer(given.dtype):
            raise DTypeError(f"{what}: lengths are integers, not {given.dtype.name}")
        if given.shape != (batch,):
            raise ShapeError(
                f"{what}: lengths must be {shape_text((batch,))}, one for each row, "
                f"not {shape_text(given.shape)}"
            )
        _check_range(what, given, steps)
        # Numbers of steps need not fit into the dtype of the lengths.
        return iota((steps, batch), 0) < cast_to(given, INT64)
    if mask is None:
        return None
    given = as_node(mask)
    expected = (batch, steps) if batch_first else (steps, batch)
    if given.shape != expected:
        raise ShapeError(
            f"{what}: the mask must be {shape_text(expected)}, not {shape_text(given.shape)}"
        )
    if not is_bool(given.dtype):
        raise DTypeError(
            f"{what}: the mask is bool, not {given.dtype.name}", hint="mask=weights > 0"
        )
    return moveaxis(given, 1, 0) if batch_first else given


def _check_range(what: str, lengths: Node, steps: Size) -> None:
    """Refuse known lengths that no row has."""
    if lengths.op.name != "constant":
        return
    known = lengths.attrs["value"].array
    most = steps if isinstance(steps, int) else np.iinfo(np.int64).max
    wrong = known[(known < 0) | (known > most)]
    if wrong.size:
        told = f"from 0 to {steps}, the number of steps" if isinstance(steps, int) else "0 or more"
        raise ArgumentError(f"{what}: a length is {wrong[0]}, it must be {told}")


def or_all_real(real: Node | None, steps: Size) -> Node | None:
    """Which steps are real, (time, 1) if all are but there may be none of them; else as given."""
    if real is None and not (isinstance(steps, int) and steps > 0):
        return broadcast_to(constant(True), (steps, 1))
    return real


def last_step(y: Node, real: Node | None, reverse: bool) -> Node:
    """The element of a sequence that belongs to the last real step; 0 for a row that has none."""
    real = or_all_real(real, y.shape[0])
    if real is None:
        return y[0 if reverse else -1]
    # One element or none is added up: of no step nothing can be taken.
    is_last = logical_and(real, equal(cumsum(cast_to(real, INT64), 0, reverse=not reverse), 1))
    return cast_to(total(where(beside(is_last, y), y, 0), 0), y.dtype)


def beside(real: Node, leaf: Node) -> Node:
    """Which rows are real, with axes of size 1 for all other axes."""
    return to_shape(real, (*real.shape, *[1] * (leaf.ndim - real.ndim)))
