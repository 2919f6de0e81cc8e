"""Activation functions as layers: one class per function of :mod:`graphnn.ops`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node
from graphnn.core.state import parameter
from graphnn.nn.module import Module
from graphnn.ops import activation as ops
from graphnn.ops.arithmetic import sign
from graphnn.ops.softmaxes import log_softmax, softmax
from graphnn.ops.trigonometric import tanh

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "HardSigmoid",
    "HardTanh",
    "Identity",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Sign",
    "Softmax",
    "Softplus",
    "Step",
    "Swish",
    "Tanh",
]


class Activation(Module):
    """An activation function as a layer; the subclasses differ in ``function`` alone.

    Parameters
    ----------
    **options
        Those of the function, such as ``negative_slope`` or ``axis``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.LeakyReLU(negative_slope=0.2)
    LeakyReLU(negative_slope=0.2)
    >>> gn.nn.GELU(approximate="tanh")(gn.input("x", shape=(3,)))
    <Node gelu_tanh (3,) float32>
    """

    function: Callable[..., Node]

    def __init__(self, **options: Any) -> None:
        try:
            inspect.signature(self.function).bind(None, **options)
        except TypeError as error:
            raise ArgumentError(f"{type(self).__name__}: {error}") from None
        self.options = options

    def forward(self, x: Any) -> Node:
        """Apply the function."""
        return self.function(x, **self.options)

    def extra_repr(self) -> str:
        """The options."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


def _layer(name: str, function: Callable[..., Node]) -> type[Activation]:
    """The class of layers that apply a function."""
    lines = [
        (function.__doc__ or "").strip().split("\n")[0],
        "",
        f"A layer; see :func:`graphnn.{function.__name__}`.",
        "",
        "Examples",
        "--------",
        ">>> import graphnn as gn",
        f'>>> gn.nn.{name}()(gn.input("x", shape=("batch", 8))).shape',
        "(Dim(batch), 8)",
    ]
    contents = {
        "function": staticmethod(function),
        "__doc__": "\n".join(lines),
        "__module__": __name__,
    }
    return type(name, (Activation,), contents)


ELU = _layer("ELU", ops.elu)
GELU = _layer("GELU", ops.gelu)
HardSigmoid = _layer("HardSigmoid", ops.hard_sigmoid)
HardTanh = _layer("HardTanh", ops.hard_tanh)
Identity = _layer("Identity", ops.linear)
LeakyReLU = _layer("LeakyReLU", ops.leaky_relu)
LogSigmoid = _layer("LogSigmoid", ops.log_sigmoid)
LogSoftmax = _layer("LogSoftmax", log_softmax)
Mish = _layer("Mish", ops.mish)
ReLU = _layer("ReLU", ops.relu)
ReLU6 = _layer("ReLU6", ops.relu6)
SELU = _layer("SELU", ops.selu)
SiLU = _layer("SiLU", ops.silu)
Sigmoid = _layer("Sigmoid", ops.sigmoid)
Sign = _layer("Sign", sign)
Softmax = _layer("Softmax", softmax)
Softplus = _layer("Softplus", ops.softplus)
Step = _layer("Step", ops.step)
Swish = SiLU
Tanh = _layer("Tanh", tanh)


class PReLU(Module):
    """Leaky ReLU whose slope is learned (K. He et al., arXiv:1502.01852).

    Parameters
    ----------
    shape : tuple of int, default ()
        One slope, or ``(features,)`` for one per feature; see :func:`graphnn.prelu`.
    initial : float, default 0.25
    dtype : optional
        Default float32.

    Attributes
    ----------
    slope : Parameter

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.PReLU((8,))(gn.input("x", shape=("batch", 8))).shape
    (Dim(batch), 8)
    """

    def __init__(
        self, shape: tuple[int, ...] = (), initial: float = 0.25, dtype: DTypeLike = FLOAT32
    ) -> None:
        self.slope = parameter(np.full(shape, initial), dtype=dtype)

    def forward(self, x: Any) -> Node:
        """Apply the function."""
        return ops.prelu(x, self.slope)

    def extra_repr(self) -> str:
        """The number of slopes, if there are several."""
        return str(self.slope.shape) if self.slope.shape else ""
