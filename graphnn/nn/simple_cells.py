"""Recurrent cells without gates: those of Elman and of Jordan."""

from __future__ import annotations

from typing import Any

from graphnn.core.arguments import require_function, require_number, require_positive
from graphnn.core.dims import Size
from graphnn.core.node import Node
from graphnn.core.state import Parameter
from graphnn.nn.cells import Activation, WeightedCell
from graphnn.ops.activation import linear
from graphnn.ops.products import matmul
from graphnn.ops.trigonometric import tanh

__all__ = ["JordanCell", "SimpleRNNCell"]


class SimpleRNNCell(WeightedCell):
    """One step of the simple recurrent net of J. Elman, Finding structure in time (1990).

    ``h = f(x @ input_weight + h_before @ recurrent_weight + bias)``; the output is ``h``, or with
    ``out_features`` that of a layer above, ``y = g(h @ output_weight + output_bias)``.

    Parameters
    ----------
    in_features, hidden_features : int
    out_features : int, optional
        Size of the layer above; default: none.
    activation : callable, default ``gn.tanh``
        ``f``: a function from node to node, or a layer.
    output_activation : callable, default ``gn.linear``
        ``g``.
    **options
        Those of :class:`WeightedCell`.

    Attributes
    ----------
    output_weight : Parameter of shape (hidden_features, out_features), or None
    output_bias : Parameter of shape (out_features,), or None

    Examples
    --------
    >>> import graphnn as gn
    >>> net = gn.nn.Recurrent(gn.nn.SimpleRNNCell(3, 8, activation=gn.relu))
    >>> net(gn.input("x", shape=("time", "batch", 3))).shape
    (Dim(batch), 8)
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int | None = None,
        *,
        activation: Activation = tanh,
        output_activation: Activation = linear,
        **options: Any,
    ) -> None:
        super().__init__(in_features, hidden_features, **options)
        require_function(
            type(self).__name__, activation=activation, output_activation=output_activation
        )
        self.activation = activation
        self.output_activation = output_activation
        self.output_weight: Parameter | None = None
        self.output_bias: Parameter | None = None
        if out_features is not None:
            self._add_output(out_features)

    def _add_output(self, out_features: int) -> None:
        """A dense layer above the state."""
        require_positive(type(self).__name__, out_features=out_features)
        self.out_features = out_features
        self.output_weight = self._parameter(self._init, (self.hidden_features, out_features))
        if self.bias is not None:
            self.output_bias = self._parameter(self._bias_init, (out_features,))

    def forward(self, carry: Node, x: Any, recurrent_mask: Node | None = None) -> tuple[Node, Node]:
        """One step: from h to h, and the output."""
        carry = self._checked(carry, x)
        h = self.activation(self._from_input(x) + self._from_state(carry, recurrent_mask))
        return h, self._output(h)

    def _output(self, h: Node) -> Node:
        if self.output_weight is None:
            return h
        y = matmul(h, self.output_weight)
        return self.output_activation(y if self.output_bias is None else y + self.output_bias)

    def _sizes(self) -> list[Any]:
        above = [] if self.output_weight is None else [self.out_features]
        return [*super()._sizes(), *above]


class JordanCell(SimpleRNNCell):
    """One step of M. Jordan's net (Serial order, 1986), whose outputs come back, not its state.

    ``h = f(x @ input_weight + context @ recurrent_weight + bias)``,
    ``y = g(h @ output_weight + output_bias)``; the next context is ``alpha * context + y``.

    Parameters
    ----------
    in_features, hidden_features, out_features : int
    alpha : float, default 0
        How much of the context stays: 0 for the last output alone.
    **options
        Those of :class:`SimpleRNNCell`.

    Attributes
    ----------
    recurrent_weight : Parameter of shape (out_features, hidden_features)

    Examples
    --------
    >>> import graphnn as gn
    >>> net = gn.nn.Recurrent(gn.nn.JordanCell(3, 8, 2))
    >>> net(gn.input("x", shape=("time", "batch", 3))).shape
    (Dim(batch), 2)
    """

    state_names = ("context",)

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int,
        *,
        alpha: float = 0.0,
        **options: Any,
    ) -> None:
        self.recurrent_features = out_features
        super().__init__(in_features, hidden_features, out_features, **options)
        self.alpha = require_number("JordanCell", "alpha", alpha)

    def zero_state(self, batch: Size | str) -> Node:
        """The context before the first step: zeros."""
        return self._zeros(batch, self.out_features)

    def forward(self, carry: Node, x: Any, recurrent_mask: Node | None = None) -> tuple[Node, Node]:
        """One step: from context to context, and the output."""
        carry = self._checked(carry, x)
        h = self.activation(self._from_input(x) + self._from_state(carry, recurrent_mask))
        y = self._output(h)
        return (y if self.alpha == 0 else self.alpha * carry + y), y
