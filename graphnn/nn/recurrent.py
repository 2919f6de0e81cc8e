"""Recurrent layers: a cell, applied step by step with the same weights.

Recurrence is unrolled while the graph is built, so it is an acyclic graph like any other, and
backpropagation through time is backpropagation. Every node knows its time step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphnn.init as initializers
from graphnn.core.arguments import require_positive
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node
from graphnn.core.provenance import time_step
from graphnn.core.spec import shape_text
from graphnn.core.state import parameter
from graphnn.nn.module import Module
from graphnn.ops.creation import zeros
from graphnn.ops.joining import stack
from graphnn.ops.operands import as_node
from graphnn.ops.products import matmul
from graphnn.ops.trigonometric import tanh

__all__ = ["SimpleRNN", "SimpleRNNCell"]


class SimpleRNNCell(Module):
    """One step of the simple recurrent net of J. Elman (1990).

    ``h = f(x @ input_weight + h_before @ recurrent_weight + bias)``

    Parameters
    ----------
    in_features, hidden_features : int
    activation : callable, default ``gn.tanh``
        ``f``: a function from node to node, or a layer.
    init : initialiser, default :func:`graphnn.init.glorot_uniform`
        Of the weight of the input.
    recurrent_init : initialiser, default :func:`graphnn.init.orthogonal`
        Of the weight of the state.
    bias_init : initialiser, default :func:`graphnn.init.zeros`
    rng : numpy.random.Generator, optional
    dtype : optional
        Default float32.

    Attributes
    ----------
    input_weight : Parameter of shape (in_features, hidden_features)
    recurrent_weight : Parameter of shape (hidden_features, hidden_features)
    bias : Parameter of shape (hidden_features,)
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        activation: Callable[[Node], Node] = tanh,
        init: initializers.Initializer = initializers.glorot_uniform,
        recurrent_init: initializers.Initializer = initializers.orthogonal,
        bias_init: initializers.Initializer = initializers.zeros,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        require_positive(
            type(self).__name__, in_features=in_features, hidden_features=hidden_features
        )
        square = (hidden_features, hidden_features)
        self.activation = activation
        self.input_weight = parameter(init((in_features, hidden_features), rng), dtype=dtype)
        self.recurrent_weight = parameter(recurrent_init(square, rng), dtype=dtype)
        self.bias = parameter(bias_init((hidden_features,), rng), dtype=dtype)

    def forward(self, x: Node, state: Node) -> Node:
        """The next state, from an input ``(batch, in)`` and a state ``(batch, hidden)``."""
        from_input = matmul(x, self.input_weight)
        from_state = matmul(state, self.recurrent_weight)
        return self.activation(from_input + from_state + self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        return ", ".join(map(str, self.input_weight.shape))


class SimpleRNN(Module):
    """The simple recurrent net over a whole sequence.

    Parameters
    ----------
    in_features, hidden_features : int
    return_sequences : bool, default False
        Give the states of all steps instead of the last one.
    batch_first : bool, default False
        Sequences are ``(batch, time, features)`` instead of ``(time, batch, features)``.
    **options
        Those of :class:`SimpleRNNCell`.

    Attributes
    ----------
    cell : SimpleRNNCell

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(20, "batch", 3))
    >>> gn.nn.SimpleRNN(3, 8)(x)
    <Node h[19] = tanh (batch, 8) float32>
    >>> gn.nn.SimpleRNN(3, 8, return_sequences=True)(x).shape
    (20, Dim(batch), 8)
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        return_sequences: bool = False,
        batch_first: bool = False,
        **options: Any,
    ) -> None:
        self.cell = SimpleRNNCell(in_features, hidden_features, **options)
        self.return_sequences = return_sequences
        self.batch_first = batch_first

    def forward(self, x: Any, initial_state: Node | None = None) -> Node:
        """Apply the net.

        Parameters
        ----------
        x : Node
            The number of time steps must be known.
        initial_state : Node, optional
            Of shape (batch, hidden_features). Default: zeros.

        Returns
        -------
        Node
            The last state, (batch, hidden_features), or all of them with the time axis where
            ``x`` has it.

        Raises
        ------
        ShapeError
            If the shapes do not fit, or the number of steps is unknown or 0.
        """
        x = as_node(x)
        steps = self._steps(x)
        features, hidden = self.cell.input_weight.shape
        time_axis = 1 if self.batch_first else 0
        batch = x.shape[1 - time_axis]
        expected = (batch, hidden)
        if x.shape[2] != features:
            raise ShapeError(f"{self!r}: the input has {x.shape[2]} features, not {features}")
        if initial_state is None:
            state = zeros(expected, self.cell.bias.dtype)
        else:
            state = as_node(initial_state)
            if state.shape != expected:
                raise ShapeError(
                    f"{self!r}: the initial state must have shape {shape_text(expected)}, "
                    f"not {shape_text(state.shape)}"
                )
        states = []
        for step in range(steps):
            with time_step(step):
                now = x[:, step] if self.batch_first else x[step]
                state = self.cell(now, state).named(f"h[{step}]")
            states.append(state)
        return stack(states, axis=time_axis) if self.return_sequences else state

    def _steps(self, x: Node) -> int:
        """The number of time steps of an input."""
        layout = "(batch, time, features)" if self.batch_first else "(time, batch, features)"
        if x.ndim != 3:
            raise ShapeError(f"{self!r}: the input must be {layout}, not {shape_text(x.shape)}")
        steps = x.shape[1 if self.batch_first else 0]
        if not isinstance(steps, int) or steps < 1:
            raise ShapeError(
                f"{self!r}: the input is {layout}, and its {steps} time steps cannot be unrolled",
                hint="give the time axis a fixed size of at least 1",
            )
        return steps

    def extra_repr(self) -> str:
        """The sizes and what differs from the default."""
        flags = ("return_sequences", "batch_first")
        return ", ".join(
            [self.cell.extra_repr(), *(f"{flag}=True" for flag in flags if getattr(self, flag))]
        )
