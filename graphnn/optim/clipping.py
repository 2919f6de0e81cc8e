"""Clipping: gradients that explode are made shorter before an optimizer takes them."""

from __future__ import annotations

from typing import Any

from graphnn.core.arguments import require_number
from graphnn.core.dtypes import real_dtype
from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node
from graphnn.core.structure import flatten, map_leaves
from graphnn.ops.arithmetic import clip, maximum
from graphnn.ops.joining import stack
from graphnn.ops.norms import norm
from graphnn.ops.operands import as_node, cast_to, widened

__all__ = ["clip_by_global_norm", "clip_by_norm", "clip_by_value", "global_norm"]


def global_norm(gradients: Any) -> Node:
    """The Euclidean length of gradients, all of them taken as one vector.

    Parameters
    ----------
    gradients : Node or nested structure of Nodes
        At least one; real or complex.

    Returns
    -------
    Node
        0-d, in the widest of their dtypes, at least float32.

    Raises
    ------
    ArgumentError
        If there are no gradients.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.optim.global_norm([gn.constant([3.0]), gn.constant([[0.0, 4.0]])]))
    array(5., dtype=float32)
    """
    norms = [norm(widened(as_node(each))) for each in flatten(gradients)]
    if not norms:
        raise ArgumentError("global_norm: there are no gradients")
    widest = max((each.dtype for each in norms), key=lambda dtype: dtype.itemsize)
    return norm(stack([cast_to(each, widest) for each in norms]))


def clip_by_global_norm(gradients: Any, max_norm: float) -> Any:
    """Gradients, made shorter by one factor for all if they are longer than ``max_norm`` together.

    The direction of the step stays as it is. Source: R. Pascanu, T. Mikolov and Y. Bengio, On the
    difficulty of training recurrent neural networks (2013).

    Parameters
    ----------
    gradients : Node or nested structure of Nodes
        As :func:`graphnn.grad` gives them. If the square of their length overflows its dtype, they
        become 0; NaN stays NaN.
    max_norm : float
        Above 0.

    Returns
    -------
    The structure of ``gradients``, with their dtypes.

    Raises
    ------
    ArgumentError
        If ``max_norm`` is not above 0 and finite, or there are no gradients.

    Examples
    --------
    >>> import graphnn as gn
    >>> w, b = gn.parameter([30.0], name="w"), gn.parameter(40.0, name="b")
    >>> loss = gn.sum(w**2 + b**2) / 2.0
    >>> clipped = gn.optim.clip_by_global_norm(gn.grad(loss, {w: w, b: b}), 1.0)
    >>> step = gn.compile([], loss, updates=gn.optim.SGD(10.0).apply(clipped))
    >>> _ = step()
    >>> w.value, b.value
    (array([24.], dtype=float32), array(32., dtype=float32))
    """
    limit = require_number("clip_by_global_norm", "max_norm", max_norm, positive=True)
    factor = limit / maximum(global_norm(gradients), limit)
    return map_leaves(lambda each: _scaled(as_node(each), factor), gradients)


def clip_by_norm(gradients: Any, max_norm: float) -> Any:
    """Gradients, each made shorter if it is longer than ``max_norm`` by itself.

    Parameters
    ----------
    gradients : Node or nested structure of Nodes
    max_norm : float
        Above 0.

    Returns
    -------
    The structure of ``gradients``, with their dtypes.

    Raises
    ------
    ArgumentError
        If ``max_norm`` is not above 0 and finite.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.optim.clip_by_norm([gn.constant([3.0, 4.0]), gn.constant([0.5])], 1.0))
    [array([0.6, 0.8], dtype=float32), array([0.5], dtype=float32)]
    """
    limit = require_number("clip_by_norm", "max_norm", max_norm, positive=True)

    def clipped(gradient: Any) -> Node:
        node = as_node(gradient)
        return _scaled(node, limit / maximum(norm(widened(node)), limit))

    return map_leaves(clipped, gradients)


def clip_by_value(gradients: Any, limit: float) -> Any:
    """Gradients with every element from ``-limit`` to ``limit``; the direction may change.

    Parameters
    ----------
    gradients : Node or nested structure of Nodes
        Real.
    limit : float
        Above 0.

    Returns
    -------
    The structure of ``gradients``, with their dtypes.

    Raises
    ------
    ArgumentError
        If ``limit`` is not above 0 and finite.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.evaluate(gn.optim.clip_by_value(gn.constant([-3.0, 0.5]), 1.0))
    array([-1. ,  0.5], dtype=float32)
    """
    most = require_number("clip_by_value", "limit", limit, positive=True)
    return map_leaves(lambda each: clip(as_node(each), -most, most), gradients)


def _scaled(node: Node, factor: Node) -> Node:
    """A node times a real number, computed in at least float32."""
    wide = widened(node)
    return cast_to(wide * cast_to(factor, real_dtype(wide.dtype)), node.dtype)
