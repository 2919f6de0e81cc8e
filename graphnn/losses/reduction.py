"""What all losses share: checks of shapes, masks, weights, and the three reductions."""

from __future__ import annotations

from typing import Any

from graphnn.core.dtypes import is_bool
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.ops.arithmetic import maximum, where
from graphnn.ops.broadcasting import broadcast_to, sum
from graphnn.ops.movement import expand_dims
from graphnn.ops.operands import as_node, cast_to, operands
from graphnn.ops.statistics import mean, safe_divide

__all__ = ["as_pair", "as_weights", "only", "reduced", "require_same_shape"]


def reduced(what: str, terms: Node, reduction: str, mask: Any = None, weights: Any = None) -> Node:
    """The terms as they are, their sum or their mean, of those that count, by their weights.

    Parameters
    ----------
    what : str
        For messages.
    terms : Node
    reduction : {"mean", "sum", "none"}
        The weighted mean is the weighted sum over the sum of weights, 0 if that is 0.
    mask : array_like or Node, optional
        Bools that broadcast to the terms. Where it is false a term is 0; see :func:`only` for its
        gradients.
    weights : array_like or Node, optional
        Numbers that broadcast to the terms.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(
            f"{what}: there is no reduction {reduction!r}", hint='"mean", "sum" or "none"'
        )
    counted: Node | None = None
    if weights is not None:
        counted = _spread(what, "weights", as_weights(what, weights, terms), terms)
        terms = terms * counted
    if mask is not None:
        kept = _spread(what, "mask", _as_mask(what, mask), terms)
        terms = where(kept, terms, 0.0)
        ones = cast_to(kept, terms.dtype)
        counted = ones if counted is None else where(kept, counted, 0.0)
    if reduction == "none":
        return terms
    if reduction == "sum":
        return sum(terms)
    if counted is None:
        return mean(terms)
    total = sum(counted)
    if weights is None:
        return sum(terms) / maximum(total, 1.0)
    return safe_divide(sum(terms), total)


def _spread(what: str, word: str, given: Node, terms: Node) -> Node:
    try:
        return broadcast_to(given, terms.shape)
    except ShapeError:
        raise ShapeError(
            f"{what}: {word} of shape {shape_text(given.shape)} do not fit terms of shape "
            f"{shape_text(terms.shape)}"
        ) from None


def _as_mask(what: str, mask: Any) -> Node:
    kept = as_node(mask)
    if not is_bool(kept.dtype):
        raise DTypeError(
            f"{what}: a mask holds bools, not {kept.dtype.name}",
            hint="compare with something: lengths > 0; numbers are weights=",
        )
    return kept


def only(what: str, mask: Any, values: Node, *, rows: bool = False) -> Node:
    """The values where a mask is true, else 0, which every loss and its derivative is finite at.

    To leave out terms alone would not do: the derivative of a term that is NaN is NaN times 0.

    Parameters
    ----------
    rows : bool, default False
        Whether the mask has one element for each row of the values, not for each element.
    """
    if mask is None:
        return values
    kept = _as_mask(what, mask)
    if rows:
        kept = expand_dims(kept, -1)
    zero = cast_to(as_node(0), values.dtype)
    return where(_spread(what, "mask", kept, values), values, zero)


def as_weights(what: str, weights: Any, like: Node) -> Node:
    """Weights as a node of the dtype of another one, which arrays and numbers take."""
    given = as_node(weights)
    if isinstance(weights, Node):
        return operands(what, [like, given], "f")[1]
    return cast_to(given, like.dtype)


def as_pair(
    what: str, predictions: Any, targets: Any, mask: Any, *, rows: bool = False
) -> tuple[Node, Node]:
    """Both in one float dtype, and of one shape: broadcasting would hide a mistake here."""
    y, t = operands(what, [as_node(predictions), as_node(targets)], "f")
    require_same_shape(what, y, t, "predictions", "targets")
    if rows and y.ndim == 0:
        raise ShapeError(f"{what}: rows are needed, along the last axis; this is one number")
    return only(what, mask, y, rows=rows), only(what, mask, t, rows=rows)


def require_same_shape(what: str, a: Node, b: Node, word_a: str, word_b: str) -> None:
    """Check that two nodes have one shape.

    Raises
    ------
    ShapeError
    """
    if a.shape != b.shape:
        raise ShapeError(
            f"{what}: {word_a} have shape {shape_text(a.shape)}, {word_b} {shape_text(b.shape)}",
            hint="they must be equal; reshape or expand_dims one of them",
        )
