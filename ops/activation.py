"""Activation functions of neurons, element by element.

Each is an expression of primitives that cannot overflow into NaN, with a derivative that cannot
either, at any finite or infinite input. Slopes and scales are operands: they may be numbers, or
nodes that are learned. ``tanh`` is in :mod:`graphnn.ops.trigonometric`, ``sign`` in
:mod:`graphnn.ops.arithmetic`; softmax looks at a whole axis and is no function of one element.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.dtypes import is_half
from graphnn.core.errors import ShapeError, UnsupportedOpError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.ops.arithmetic import (
    abs,
    clip,
    maximum,
    minimum,
    negative,
    reciprocal,
    sign,
    square,
    where,
)
from graphnn.ops.contract import Arg, Reject, Sample, operation
from graphnn.ops.elementwise import Partial, elementwise, scipy_special
from graphnn.ops.exponential import exp, expm1, log1p
from graphnn.ops.logic import greater, greater_equal, less, logical_and
from graphnn.ops.operands import as_node
from graphnn.ops.special import erf

__all__ = [
    "elu",
    "gelu",
    "gelu_erf",
    "gelu_tanh",
    "hard_sigmoid",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "step",
    "swish",
]

_SPECIAL = (0.0, -0.0, 1.0, 1e4, -1e4, np.inf, -np.inf, np.nan)


def _beside(parameter: float) -> tuple[tuple[float, float], ...]:
    """The special values, each with a parameter."""
    return tuple((value, parameter) for value in _SPECIAL)


# ---------------------------------------------------------------------------- steps and lines


@elementwise(
    reference=lambda x: np.heaviside(x, 1.0),
    special=_SPECIAL,
    corner="1 at 0; derivative 0 everywhere",
)
def step(x: Node) -> Node:
    """1 where ``x >= 0``, else 0: the perceptron's threshold. ``x > 0`` is the other convention."""
    return where(greater_equal(x, 0.0), 1.0, where(less(x, 0.0), 0.0, x))


@step.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (None,)


@operation(reference=np.positive, samples=[Sample(Arg((3,))), Sample(Arg())], dtypes="ifc")
def linear(x: Any) -> Node:
    """The identity, for an output that is not squashed: the node itself."""
    return as_node(x)


@elementwise(reference=lambda x: np.maximum(x, 0.0), special=_SPECIAL, corner="derivative 0 at 0")
def relu(x: Node) -> Node:
    """``max(x, 0)``, the rectified linear unit."""
    return maximum(x, 0.0)


@relu.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (greater(result, 0.0),)  # x itself need not be kept


@elementwise(
    reference=lambda x: np.clip(x, 0.0, 6.0),
    domain=(-2.0, 8.0),
    special=(*_SPECIAL, 6.0),
    corner="derivative 0 at 0 and 6",
)
def relu6(x: Node) -> Node:
    """``min(max(x, 0), 6)``."""
    return clip(x, 0.0, 6.0)


@relu6.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (_between(x, 0.0, 6.0),)


@elementwise(
    reference=lambda x, slope: np.where(x > 0.0, x, slope * x),
    domain=((-2.0, 2.0), (0.01, 0.5)),
    special=_beside(0.01),
    corner="derivative negative_slope at 0, as in PyTorch",
)
def leaky_relu(x: Node, negative_slope: Any = 0.01) -> Node:
    """``x`` where it is positive, else ``negative_slope * x``."""
    return where(greater(x, 0.0), x, negative_slope * x)


@leaky_relu.partials
def _(x: Node, negative_slope: Node, result: Node) -> Sequence[Partial]:
    positive = greater(x, 0.0)
    return where(positive, 1.0, negative_slope), where(positive, 0.0, x)


@operation(
    reference=lambda x, slope: np.where(x > 0.0, x, slope * x),
    samples=[
        Sample(Arg((3, 4)), Arg((), 0.1, 0.5)),
        Sample(Arg((3, 4)), Arg((4,), 0.1, 0.5)),
        Sample(Arg((2, 3, 5)), Arg((3, 1), 0.1, 0.5)),
    ],
    rejects=[
        Reject(ShapeError, "do not broadcast", Arg((3, 4)), Arg((3,))),
        Reject(ShapeError, "more than the input", Arg((3,)), Arg((4, 3))),
    ],
    corner="derivative slope at 0, as in PyTorch",
)
def prelu(x: Any, slope: Any) -> Node:
    """Leaky ReLU whose slope is learned.

    Parameters
    ----------
    x : array_like or Node
    slope : Node
        A parameter whose shape broadcasts to that of ``x``: ``()`` for one slope, ``(features,)``
        for one per feature of ``(batch, features)``, ``(channels, 1, 1)`` for one per channel of
        ``(batch, channels, height, width)``.

    Returns
    -------
    Node

    Examples
    --------
    >>> import graphnn as gn
    >>> slope = gn.parameter(0.25)
    >>> gn.prelu(gn.input("x", shape=("batch", 8)), slope).shape
    (Dim(batch), 8)
    """
    x, slope = as_node(x), as_node(slope)
    result = leaky_relu(x, slope)
    if result.shape != x.shape:
        raise ShapeError(
            f"prelu: slopes of shape {shape_text(slope.shape)} are more than the input "
            f"{shape_text(x.shape)} has a place for"
        )
    return result


@elementwise(
    reference=lambda x: np.clip(x, -1.0, 1.0), special=_SPECIAL, corner="derivative 0 at -1 and 1"
)
def hard_tanh(x: Node) -> Node:
    """``min(max(x, -1), 1)``."""
    return clip(x, -1.0, 1.0)


@hard_tanh.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (_between(x, -1.0, 1.0),)


@elementwise(
    reference=lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    domain=(-4.0, 4.0),
    special=(*_SPECIAL, 3.0, -3.0),
    corner="derivative 0 at -3 and 3, as in PyTorch",
)
def hard_sigmoid(x: Node) -> Node:
    """``relu6(x + 3) / 6``."""
    return relu6(x + 3.0) / 6.0


def _between(x: Node, low: float, high: float) -> Node:
    """Whether ``low < x < high``."""
    return logical_and(greater(x, low), less(x, high))


# ----------------------------------------------------------------- the sigmoid and its integrals


@elementwise(reference=scipy_special("expit"), special=_SPECIAL)
def sigmoid(x: Node) -> Node:
    """``1 / (1 + exp(-x))``, the logistic function."""
    return reciprocal(exp(negative(x)) + 1.0)  # where exp overflows to inf, 0 is right


@sigmoid.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (result * (1.0 - result),)


@elementwise(reference=lambda x: np.logaddexp(0.0, x), special=_SPECIAL, keeps_float32=True)
def softplus(x: Node) -> Node:
    """``log(1 + exp(x))``, arranged so that nothing overflows."""
    return maximum(x, 0.0) + log1p(exp(negative(abs(x))))


@softplus.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (sigmoid(x),)


@elementwise(
    reference=lambda x: np.where(np.isinf(x), np.sign(x), x / (1.0 + np.abs(x))),
    special=_SPECIAL,
    corner="derivative 1 at 0",
)
def softsign(x: Node) -> Node:
    """``x / (1 + abs(x))``, which tends to 1 and -1 more slowly than tanh."""
    return reciprocal(reciprocal(x) + sign(x))  # the quotient would be inf / inf at infinity


@softsign.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (square(1.0 - abs(result)),)


@elementwise(reference=lambda x: -np.logaddexp(0.0, -x), special=_SPECIAL, keeps_float32=True)
def log_sigmoid(x: Node) -> Node:
    """``log(sigmoid(x))``, which is ``-softplus(-x)`` and never the logarithm of 0."""
    return negative(softplus(negative(x)))


@log_sigmoid.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (sigmoid(negative(x)),)


# ------------------------------------------------------- x times a gate that opens from 0 to 1

# Beyond its bound, a gate is exactly 0 or 1 in every dtype, and its derivative 0. The factor x
# need not grow beyond it, so that ``inf * 0`` never arises; for x = -inf, 0 is the limit.
_SILU_BOUND = 1000.0
_GELU_BOUND = 40.0
_GELU_TANH_BOUND = 30.0


def _bounded(x: Node, bound: float) -> Node:
    return clip(x, -bound, bound)


@elementwise(
    reference=lambda x: np.maximum(x, -1e5) * scipy_special("expit")(x),
    special=_SPECIAL,
    corner="0 at -inf",
)
def silu(x: Node) -> Node:
    """``x * sigmoid(x)``, also known as Swish."""
    return maximum(x, -_SILU_BOUND) * sigmoid(x)


@silu.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    gate = sigmoid(x)
    return (gate * (1.0 + _bounded(x, _SILU_BOUND) * (1.0 - gate)),)


swish = silu


@elementwise(
    reference=lambda x: np.maximum(x, -1e5) * scipy_special("ndtr")(x),
    special=_SPECIAL,
    corner="0 at -inf",
)
def gelu_erf(x: Node) -> Node:
    """``x`` times the normal distribution function, ``x * (1 + erf(x / sqrt(2))) / 2``."""
    return maximum(x, -_GELU_BOUND) * _normal_cdf(x)


@gelu_erf.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    near = _bounded(x, _GELU_BOUND)
    density = exp(square(near) * -0.5) * (1.0 / math.sqrt(2.0 * math.pi))
    return (_normal_cdf(x) + near * density,)


def _normal_cdf(x: Node) -> Node:
    return erf(x * math.sqrt(0.5)) * 0.5 + 0.5


def _gelu_tanh_reference(x: Any) -> Any:
    x = np.maximum(x, -1e5)
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


_GELU_SCALE = 2.0 * math.sqrt(2.0 / math.pi)  # twice, since (1 + tanh(u)) / 2 = sigmoid(2 u)
_GELU_CUBIC = 0.044715


@elementwise(reference=_gelu_tanh_reference, special=_SPECIAL, corner="0 at -inf")
def gelu_tanh(x: Node) -> Node:
    """``x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2``, close to `gelu_erf`."""
    return maximum(x, -_GELU_TANH_BOUND) * _gelu_tanh_gate(x)


@gelu_tanh.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    gate, near = _gelu_tanh_gate(x), _bounded(x, _GELU_TANH_BOUND)
    slope = (square(near) * (3.0 * _GELU_CUBIC) + 1.0) * _GELU_SCALE
    return (gate * (1.0 + near * slope * (1.0 - gate)),)


def _gelu_tanh_gate(x: Node) -> Node:
    near = _bounded(x, _GELU_TANH_BOUND)
    return sigmoid(near * (square(near) * _GELU_CUBIC + 1.0) * _GELU_SCALE)


@operation(
    reference=lambda x, approximate="none": (
        x * scipy_special("ndtr")(x) if approximate == "none" else _gelu_tanh_reference(x)
    ),
    samples=[Sample(Arg((3, 4))), Sample(Arg((2, 3)), approximate="tanh")],
    rejects=[Reject(UnsupportedOpError, "'tan'", Arg((3,)), approximate="tan")],
    corner="0 at -inf",
)
def gelu(x: Any, approximate: str = "none") -> Node:
    """Gaussian error linear unit (Hendrycks and Gimpel, arXiv:1606.08415).

    Parameters
    ----------
    x : array_like or Node
    approximate : {"none", "tanh"}
        `gelu_erf`, or `gelu_tanh`.

    Returns
    -------
    Node

    Raises
    ------
    UnsupportedOpError
        For another word.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.gelu(gn.input("x", shape=(3,)), approximate="tanh")
    <Node gelu_tanh (3,) float32>
    """
    if approximate not in ("none", "tanh"):
        raise UnsupportedOpError(
            f"gelu: there is no approximation {approximate!r}", hint='it is "none" or "tanh"'
        )
    return gelu_erf(x) if approximate == "none" else gelu_tanh(x)


@elementwise(
    reference=lambda x: np.maximum(x, -1e5) * np.tanh(np.logaddexp(0.0, x)),
    special=(*_SPECIAL, 20.0, -20.0),
    corner="0 at -inf",
)
def mish(x: Node) -> Node:
    """``x * tanh(softplus(x))`` (Misra, arXiv:1908.08681)."""
    return maximum(x, -_SILU_BOUND) * _mish_gate(x)


@mish.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    gate = _mish_gate(x)
    return (gate + _bounded(x, _SILU_BOUND) * sigmoid(x) * (1.0 - square(gate)),)


def _mish_gate(x: Node) -> Node:
    """``tanh(softplus(x)) = n / (n + 2)`` with ``n = e**x * (e**x + 2)``: one exponential.

    Where it rounds to 1, x is bounded so that n does not overflow.
    """
    power = exp(minimum(x, 5.0 if is_half(x.dtype) else 20.0))
    n = power * (power + 2.0)
    return n / (n + 2.0)


# ---------------------------------------------------------------------------- exponential linear


def _elu_reference(x: Any, alpha: Any = 1.0) -> Any:
    return np.where(x > 0.0, x, alpha * np.expm1(np.minimum(x, 0.0)))


@elementwise(
    reference=_elu_reference,
    domain=((-2.0, 2.0), (0.5, 2.0)),
    special=_beside(1.5),
    corner="derivative alpha at 0",
)
def elu(x: Node, alpha: Any = 1.0) -> Node:
    """``x`` where it is positive, else ``alpha * (exp(x) - 1)`` (arXiv:1511.07289)."""
    return where(greater(x, 0.0), x, alpha * expm1(minimum(x, 0.0)))


@elu.partials
def _(x: Node, alpha: Node, result: Node) -> Sequence[Partial]:
    positive = greater(x, 0.0)
    by_alpha = where(positive, 0.0, expm1(minimum(x, 0.0)))
    return where(positive, 1.0, result + alpha), by_alpha


# Klambauer et al., arXiv:1706.02515: with these, zero mean and unit variance are a fixed point.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


@elementwise(
    reference=lambda x: _SELU_SCALE * _elu_reference(x, _SELU_ALPHA),
    special=_SPECIAL,
    corner="derivative scale * alpha at 0",
)
def selu(x: Node) -> Node:
    """``scale * elu(x, alpha)`` with the constants of self-normalising networks."""
    return elu(x, _SELU_ALPHA) * _SELU_SCALE


@selu.partials
def _(x: Node, result: Node) -> Sequence[Partial]:
    return (where(greater(x, 0.0), _SELU_SCALE, result + _SELU_SCALE * _SELU_ALPHA),)
