"""Dropout: neurons that fail at random while the network learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphnn.core.arguments import require_number
from graphnn.core.node import Node
from graphnn.nn.module import Module
from graphnn.ops.arithmetic import multiply
from graphnn.ops.axes import normalize_axes
from graphnn.ops.operands import as_node, require_floating
from graphnn.ops.random import dropout_mask

__all__ = ["Dropout"]


class Dropout(Module):
    """Zero elements at random in training mode, and scale the others so that the mean stays.

    In evaluation mode it is the identity. Source: N. Srivastava et al., Dropout: a simple way to
    prevent neural networks from overfitting (2014), in the inverted form.

    Parameters
    ----------
    rate : float, default 0.5
        Probability that an element is zeroed.
    shared_axes : tuple of int, default ()
        Axes along which all elements share their fate: ``(0,)`` drops the same features at all
        steps of a sequence (variational dropout), ``(2, 3)`` whole channels of pictures.

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.Dropout(0.2)
    >>> x = gn.input("x", shape=("batch", 8))
    >>> layer.eval()(x) is x
    True
    """

    def __init__(self, rate: float = 0.5, *, shared_axes: Sequence[int] = ()) -> None:
        self.rate = require_number("Dropout", "the rate", rate, below=1.0)
        self.shared_axes = tuple(shared_axes)

    def forward(self, x: Any, key: Node | None = None) -> Node:
        """Apply the layer.

        Parameters
        ----------
        x : Node
        key : Node, optional
            Of :mod:`graphnn.random`; default: a fresh one from the default stream.
        """
        given = as_node(x)
        if not self.training or self.rate == 0:
            return given
        value = require_floating("Dropout", given)
        shared = normalize_axes("Dropout", self.shared_axes, value.ndim)
        shape = tuple(1 if n in shared else size for n, size in enumerate(value.shape))
        return multiply(value, dropout_mask(key, self.rate, shape, value.dtype))

    def extra_repr(self) -> str:
        """The rate."""
        shared = f", shared_axes={self.shared_axes}" if self.shared_axes else ""
        return f"{self.rate}{shared}"
