"""Regularisers: what is added to a loss so that weights stay small."""

from __future__ import annotations

from collections.abc import Iterable

from graphnn.core.arguments import require_number
from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node
from graphnn.ops.arithmetic import abs, square
from graphnn.ops.broadcasting import sum

__all__ = ["l1_penalty", "l2_penalty"]


def l1_penalty(parameters: Iterable[Node], factor: float) -> Node:
    """``factor`` times the sum of all absolute values: pulls weights to exactly 0.

    Parameters
    ----------
    parameters : iterable of Node
        Weights; biases are usually left out.
    factor : float

    Returns
    -------
    Node
        0-d.

    Raises
    ------
    ArgumentError
        If there are no parameters, or the factor is negative.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter([1.0, -3.0])
    >>> gn.evaluate(gn.losses.l1_penalty([w], 0.5))
    array(2., dtype=float32)
    """
    return _penalty("l1_penalty", [sum(abs(each)) for each in parameters], factor)


def l2_penalty(parameters: Iterable[Node], factor: float) -> Node:
    """``factor / 2`` times the sum of all squares: its gradient is ``factor * p``.

    For plain gradient descent it is the same as ``weight_decay=factor``.

    Parameters
    ----------
    parameters : iterable of Node
    factor : float

    Returns
    -------
    Node
        0-d.

    Raises
    ------
    ArgumentError
        If there are no parameters, or the factor is negative.

    Examples
    --------
    >>> import graphnn as gn
    >>> w = gn.parameter([1.0, -3.0])
    >>> gn.evaluate(gn.losses.l2_penalty([w], 0.5))
    array(2.5, dtype=float32)
    """
    return _penalty("l2_penalty", [0.5 * sum(square(each)) for each in parameters], factor)


def _penalty(what: str, terms: list[Node], factor: float) -> Node:
    factor = require_number(what, "factor", factor)
    if not terms:
        raise ArgumentError(f"{what}: there are no parameters")
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return factor * total
