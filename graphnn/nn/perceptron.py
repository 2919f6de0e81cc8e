"""The perceptron: a neuron with a threshold, and the rule by which it learns from its mistakes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from graphnn.compiler.compilation import compile
from graphnn.core.arguments import require_known, require_number, require_positive
from graphnn.core.arrays import as_array
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.spec import shape_text
from graphnn.core.state import Parameter, parameter
from graphnn.nn.module import Module
from graphnn.ops.arithmetic import where
from graphnn.ops.broadcasting import sum
from graphnn.ops.leaves import input
from graphnn.ops.logic import greater, not_equal
from graphnn.ops.operands import as_node, cast_to
from graphnn.ops.products import matmul
from graphnn.ops.scans import scan

__all__ = ["Perceptron"]

_OUTPUTS = {"step": (0.0, 1.0), "sign": (-1.0, 1.0)}
"""What a perceptron says below and above its threshold."""


class Perceptron(Module):
    """A neuron with a threshold: the upper of two numbers where ``x @ weight + bias > 0``.

    It tells two classes apart that a line, a plane or a hyperplane separates, and learns to by
    :meth:`learn`. Source: F. Rosenblatt, The perceptron: a probabilistic model for information
    storage and organization in the brain (1958).

    Parameters
    ----------
    in_features : int
    output : {"step", "sign"}, default "step"
        Whether it says 0 and 1, or -1 and 1.
    weight : array_like, optional
        Of shape (in_features,). Default: zeros.
    bias : float, default 0
    dtype : optional
        Default float32.

    Attributes
    ----------
    weight : Parameter of shape (in_features,)
        No optimizer trains it: a threshold has no derivative that tells anything.
    bias : Parameter of shape ()

    Raises
    ------
    ArgumentError
        If there are no inputs, or the output is neither of the two.
    ShapeError
        If the weight has another shape.

    Examples
    --------
    All circuits can be made of NAND gates, and this is one:

    >>> import numpy as np
    >>> import graphnn as gn
    >>> nand = gn.nn.Perceptron(2, weight=[-2, -2], bias=3)
    >>> inputs = np.float32([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> gn.evaluate(nand(inputs))
    array([1., 1., 1., 0.], dtype=float32)

    Another one learns it. The mistakes of every epoch:

    >>> learner = gn.nn.Perceptron(2)
    >>> learner.learn(inputs, [1, 1, 1, 0])
    [2, 3, 3, 2, 1, 0]
    """

    def __init__(
        self,
        in_features: int,
        *,
        output: Literal["step", "sign"] = "step",
        weight: Any = None,
        bias: float = 0.0,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        require_positive("Perceptron", in_features=in_features)
        require_known("Perceptron", "output", output, _OUTPUTS)
        given = np.zeros(in_features) if weight is None else as_array(weight)
        if given.shape != (in_features,):
            raise ShapeError(
                f"Perceptron: a weight of shape {shape_text(given.shape)} for {in_features} inputs"
            )
        self.output = output
        self.weight = parameter(given, dtype=dtype, trainable=False)
        self.bias = parameter(bias, dtype=dtype, trainable=False)

    def forward(self, x: Any) -> Node:
        """Apply the perceptron to nodes of shape ``(..., in_features)``; one axis less is left."""
        return self._output(self._checked(x), self.weight, self.bias)

    def _output(self, x: Node, weight: Node, bias: Node) -> Node:
        below, above = _OUTPUTS[self.output]
        return cast_to(where(greater(matmul(x, weight) + bias, 0.0), above, below), x.dtype)

    def learning_rule(
        self, x: Any, y: Any, *, learning_rate: float = 1.0
    ) -> tuple[Node, dict[Parameter, Node]]:
        """One epoch of Rosenblatt's rule: ``weight += learning_rate * (y - output) * x``.

        Samples come one after another, and the bias learns as the weight of an input of 1. Where
        the output is right nothing changes.

        Parameters
        ----------
        x : Node or array_like
            Of shape (batch, in_features).
        y : Node or array_like
            Of shape (batch,): what is to be said.
        learning_rate : float, default 1

        Returns
        -------
        (Node, dict of Parameter to Node)
            How many samples were wrong when their turn came, and the updates for
            :func:`graphnn.compile`.

        Raises
        ------
        ShapeError
            If samples and labels do not fit.
        ArgumentError
            If the learning rate is not above 0.

        Examples
        --------
        >>> import numpy as np
        >>> import graphnn as gn
        >>> x, y = gn.input("x", shape=("batch", 2)), gn.input("y", shape=("batch",))
        >>> perceptron = gn.nn.Perceptron(2, output="sign")
        >>> mistakes, updates = perceptron.learning_rule(x, y, learning_rate=0.5)
        >>> epoch = gn.compile([x, y], mistakes, updates)
        >>> epoch(np.float32([[1, 2], [-1, 0]]), np.float32([1, -1]))
        array(1)
        >>> perceptron.weight.value, perceptron.bias.value
        (array([1., 2.], dtype=float32), array(1., dtype=float32))
        """
        rate = require_number("Perceptron", "learning_rate", learning_rate, positive=True)
        samples, labels = self._checked(x), cast_to(as_node(y), self.weight.dtype)
        if samples.ndim != 2 or labels.shape != samples.shape[:1]:
            raise ShapeError(
                f"{self!r}: samples (batch, {self.in_features}) and labels (batch,) are needed, "
                f"not {shape_text(samples.shape)} and {shape_text(labels.shape)}"
            )

        def correct(
            state: tuple[Node, Node], sample: tuple[Node, Node]
        ) -> tuple[tuple[Node, Node], Node]:
            weight, bias = state
            features, label = sample
            output = self._output(features, weight, bias)
            change = rate * (label - output)
            return (weight + change * features, bias + change), not_equal(label, output)

        last, wrong = scan(correct, (self.weight, self.bias), (samples, labels))
        return sum(wrong), dict(zip((self.weight, self.bias), last, strict=True))

    def learn(self, x: Any, y: Any, *, epochs: int = 100, learning_rate: float = 1.0) -> list[int]:
        """Go on with the :meth:`learning_rule` until an epoch is without mistakes.

        It gets there if a hyperplane separates the classes, and never if none does.

        Parameters
        ----------
        x : array_like
            Of shape (n, in_features).
        y : array_like
            Of shape (n,), of the two numbers that the perceptron says.
        epochs : int, default 100
            The most there are.
        learning_rate : float, default 1
            Where weight and bias begin at 0 it changes their scale and no output.

        Returns
        -------
        list of int
            The mistakes of every epoch; the last is 0 if the classes were separated.

        Raises
        ------
        ShapeError
            If samples and labels do not fit, or there are none.
        ArgumentError
            If a label is none of the two numbers, or ``epochs`` or ``learning_rate`` not positive.
        """
        require_positive("Perceptron", epochs=epochs)
        dtype = self.weight.dtype
        samples, labels = as_array(x).astype(dtype), as_array(y).astype(dtype)
        self._require_outputs(labels)
        if samples.shape[:1] == (0,):
            raise ShapeError(f"{self!r}: there are no samples to learn from")
        names = zip(("x", "y"), (samples, labels), strict=True)
        inputs = [input(name, shape=each.shape, dtype=dtype) for name, each in names]
        mistakes, updates = self.learning_rule(*inputs, learning_rate=learning_rate)
        epoch = compile(inputs, mistakes, updates)
        made: list[int] = []
        while len(made) < epochs and (not made or made[-1]):
            made.append(int(epoch(samples, labels)))
        return made

    @property
    def in_features(self) -> int:
        """Number of inputs."""
        return int(self.weight.shape[0])

    def _require_outputs(self, labels: Array) -> None:
        below, above = _OUTPUTS[self.output]
        wrong = labels[(labels != below) & (labels != above)]
        if wrong.size:
            other = next(name for name in _OUTPUTS if name != self.output)
            raise ArgumentError(
                f"{self!r}: labels are {below:g} and {above:g}, and {wrong.flat[0]:g} is neither",
                hint=f'output="{other}" says {_OUTPUTS[other][0]:g} and {_OUTPUTS[other][1]:g}',
            )

    def _checked(self, x: Any) -> Node:
        node = as_node(x)
        if node.ndim == 0 or node.shape[-1] != self.in_features:
            raise ShapeError(
                f"{self!r}: the last axis of the input must have size {self.in_features}, "
                f"its shape is {shape_text(node.shape)}"
            )
        return cast_to(node, self.weight.dtype)

    def extra_repr(self) -> str:
        """The number of inputs, and what it says."""
        return str(self.in_features) + (
            "" if self.output == "step" else f", output={self.output!r}"
        )
