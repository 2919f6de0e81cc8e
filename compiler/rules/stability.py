"""Numerical stability: the formulas of textbooks become those that do not overflow or cancel.

All are exact in the sense of `Exactness`: nowhere worse than by the last bits, and right where
the formula as it was written overflows, underflows or cancels. They run in `simplify`, and before
differentiation in `stabilize`: a gradient that already holds ``1 / softmax(x)`` is beyond repair.

``1 - sigmoid(x)`` stays as it is outside of a logarithm: the derivative of a sigmoid is
``y * (1 - y)``, and a second exponential would cost more than the digits are worth.
"""

from __future__ import annotations

from graphnn.compiler.pattern import Apply, Exactness, Rule, Var, op, rule
from graphnn.core.node import Node, make_node
from graphnn.ops.activation import log_sigmoid, sigmoid, softplus
from graphnn.ops.arithmetic import negative
from graphnn.ops.broadcasting import BROADCAST_TO, RESHAPE, SUM, keep_axes, to_shape
from graphnn.ops.control import STOP_GRADIENT
from graphnn.ops.exponential import exp, expm1, log, log1p, logaddexp
from graphnn.ops.gathering import GATHER
from graphnn.ops.joining import SLICE
from graphnn.ops.movement import FLIP, TRANSPOSE
from graphnn.ops.reduction import MAX
from graphnn.ops.softmaxes import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX
from graphnn.ops.trigonometric import tanh

__all__ = ["STABILITY"]

EXACT = Exactness.EXACT
x, y, z, axes = Var("x"), Var("y"), Var("z"), Var("axes")

Axes = tuple[int, ...]


def _reciprocal(denominator: Apply) -> tuple[Apply, Apply]:
    """Both spellings of ``1 / denominator``."""
    return op("reciprocal", denominator), op("divide", 1.0, denominator)


def _spread(reduced: Apply) -> tuple[Apply, ...]:
    """A reduction as it may stand beside what it reduces; see `_is_kept`."""
    kept = op("reshape", reduced)
    return reduced, kept, op("broadcast_to", reduced), op("broadcast_to", kept)


def _is_kept(value: Node, x: Node, axes: Axes) -> bool:
    """Whether a reduction of ``x`` broadcasts against it as with ``keepdims``."""
    kept = value.inputs[0] if value.op is BROADCAST_TO else value
    return (1,) * (x.ndim - kept.ndim) + kept.shape == keep_axes(x.shape, axes)


# ----------------------------------------------------------------- logarithms and exponentials


@rule(EXACT, op("log", op("exp", x)), op("log1p", op("expm1", x)))
def log_of_exp(x: Node) -> Node:
    """``log(exp(x)) -> x``, ``log1p(expm1(x)) -> x``."""
    return x


@rule(
    EXACT,
    op("log", op("subtract", 1.0, op("sigmoid", x))),
    op("log1p", op("negative", op("sigmoid", x))),
)
def log_of_one_minus_sigmoid(x: Node) -> Node:
    """``log(1 - sigmoid(x)) -> log_sigmoid(-x)``."""
    return log_sigmoid(negative(x))


@rule(EXACT, op("log", op("add", x, 1.0)))
def log_of_one_plus(x: Node) -> Node:
    """``log(1 + x) -> log1p(x)``."""
    return log1p(x)


@rule(EXACT, op("log", op("subtract", 1.0, x)))
def log_of_one_minus(x: Node) -> Node:
    """``log(1 - x) -> log1p(-x)``."""
    return log1p(negative(x))


@rule(EXACT, op("log1p", op("exp", x)))
def log1p_of_exp(x: Node) -> Node | None:
    """``log1p(exp(x)) -> softplus(x)``, unless ``x`` is ``-abs(y)`` and cannot overflow."""
    if x.op.name == "negative" and x.inputs[0].op.name == "abs":
        return None
    return softplus(x)


_LOG1P_EXP_ABS = op("log1p", op("exp", op("negative", op("abs", x))))


@rule(
    EXACT,
    op("add", op("maximum", x, 0.0), _LOG1P_EXP_ABS),
    op("add", op("relu", x), _LOG1P_EXP_ABS),
)
def softplus_by_hand(x: Node) -> Node:
    """``maximum(x, 0) + log1p(exp(-abs(x))) -> softplus(x)``: one name for it."""
    return softplus(x)


@rule(EXACT, op("subtract", op("exp", x), 1.0), op("add", op("exp", x), -1.0))
def exp_minus_one(x: Node) -> Node:
    """``exp(x) - 1 -> expm1(x)``."""
    return expm1(x)


@rule(EXACT, op("log", op("add", op("exp", x), op("exp", y))))
def log_of_exp_plus_exp(x: Node, y: Node) -> Node:
    """``log(exp(x) + exp(y)) -> logaddexp(x, y)``."""
    return logaddexp(x, y)


@rule(EXACT, *_reciprocal(op("exp", x)))
def one_over_exp(x: Node) -> Node:
    """``1 / exp(x) -> exp(-x)``."""
    return exp(negative(x))


# ---------------------------------------------------------------------------- sigmoid and tanh


@rule(EXACT, op("log", op("sigmoid", x)))
def log_of_sigmoid(x: Node) -> Node:
    """``log(sigmoid(x)) -> log_sigmoid(x)``."""
    return log_sigmoid(x)


@rule(EXACT, op("exp", op("log_sigmoid", x)))
def exp_of_log_sigmoid(x: Node) -> Node:
    """``exp(log_sigmoid(x)) -> sigmoid(x)``."""
    return sigmoid(x)


@rule(
    EXACT,
    *_reciprocal(op("add", op("exp", op("negative", x)), 1.0)),
    op("divide", op("exp", x), op("add", op("exp", x), 1.0)),
)
def sigmoid_by_hand(x: Node) -> Node:
    """``1 / (1 + exp(-x)) -> sigmoid(x)``, ``exp(x) / (1 + exp(x)) -> sigmoid(x)``."""
    return sigmoid(x)


@rule(EXACT, *_reciprocal(op("add", op("exp", x), 1.0)))
def sigmoid_of_negative_by_hand(x: Node) -> Node:
    """``1 / (1 + exp(x)) -> sigmoid(-x)``."""
    return sigmoid(negative(x))


_EXP_MINUS = op("exp", op("negative", x))


@rule(
    EXACT,
    op("divide", op("subtract", op("exp", x), _EXP_MINUS), op("add", op("exp", x), _EXP_MINUS)),
)
def tanh_by_hand(x: Node) -> Node:
    """``(exp(x) - exp(-x)) / (exp(x) + exp(-x)) -> tanh(x)``."""
    return tanh(x)


# --------------------------------------------------------------------------- the softmax family


@rule(EXACT, op("log", op("softmax", x, axes=axes)))
def log_of_softmax(x: Node, axes: Axes) -> Node:
    """``log(softmax(x)) -> log_softmax(x)``."""
    return make_node(LOG_SOFTMAX, (x,), {"axes": axes})


@rule(EXACT, op("exp", op("log_softmax", x, axes=axes)))
def exp_of_log_softmax(x: Node, axes: Axes) -> Node:
    """``exp(log_softmax(x)) -> softmax(x)``."""
    return make_node(SOFTMAX, (x,), {"axes": axes})


@rule(EXACT, op("log", op("sum", op("exp", x), axes=axes)))
def log_of_sum_of_exp(x: Node, axes: Axes) -> Node:
    """``log(sum(exp(x))) -> logsumexp(x)``."""
    return make_node(LOGSUMEXP, (x,), {"axes": axes})


@rule(
    EXACT,
    *(op("divide", op("exp", x), each) for each in _spread(op("sum", op("exp", x), axes=axes))),
)
def softmax_by_hand(x: Node, axes: Axes, node: Node) -> Node | None:
    """``exp(x) / sum(exp(x), keepdims) -> softmax(x)``."""
    is_softmax = _is_kept(node.inputs[1], x, axes)
    return make_node(SOFTMAX, (x,), {"axes": axes}) if is_softmax else None


@rule(EXACT, *(op("subtract", x, each) for each in _spread(op("logsumexp", x, axes=axes))))
def log_softmax_by_hand(x: Node, axes: Axes, node: Node) -> Node | None:
    """``x - logsumexp(x, keepdims) -> log_softmax(x)``."""
    is_log_softmax = _is_kept(node.inputs[1], x, axes)
    return make_node(LOG_SOFTMAX, (x,), {"axes": axes}) if is_log_softmax else None


@rule(
    EXACT,
    op("softmax", op("subtract", x, y), axes=axes),
    op("log_softmax", op("subtract", x, y), axes=axes),
)
def softmax_of_shifted(x: Node, y: Node, axes: Axes, node: Node) -> Node | None:
    """``softmax(x - max(x, keepdims)) -> softmax(x)``, which subtracts the maximum by itself."""
    is_maximum = _is_maximum(y, x, axes) and _is_kept(y, x, axes)
    return make_node(node.op, (x,), {"axes": axes}) if is_maximum else None


_SHIFTED = op("logsumexp", op("subtract", x, y), axes=axes)


@rule(EXACT, op("add", _SHIFTED, z), op("add", op("reshape", _SHIFTED), z))
def logsumexp_of_shifted(x: Node, y: Node, z: Node, axes: Axes, node: Node) -> Node | None:
    """``logsumexp(x - max(x)) + max(x) -> logsumexp(x)``."""
    result = make_node(LOGSUMEXP, (x,), {"axes": axes})
    is_maximum = _is_maximum(y, x, axes) and _is_kept(y, x, axes)
    if not is_maximum or _base(z) is not _base(y):
        return None
    if node.shape not in (result.shape, keep_axes(x.shape, axes)):
        return None
    return to_shape(result, node.shape)


def _is_maximum(value: Node, x: Node, axes: Axes) -> bool:
    """Whether it is ``max(x, axes)``, with or without a derivative: here it does not matter."""
    top = _base(value)
    if top.op is STOP_GRADIENT:
        top = _base(top.inputs[0])
    return top.op is MAX and top.inputs[0] is x and top.attrs["axes"] == axes


def _base(value: Node) -> Node:
    """What a value is before it is broadcast and reshaped."""
    while value.op in (BROADCAST_TO, RESHAPE):
        (value,) = value.inputs
    return value


_MOVES = (BROADCAST_TO, RESHAPE, TRANSPOSE, SLICE, FLIP, GATHER)
_MOST_MOVES = 16
"""A logarithm looks no further, so that many of them above one long chain stay cheap."""


@rule(EXACT, op("log", y))
def log_of_moved(y: Node) -> Node | None:
    """``log(softmax(x)[i]) -> log_softmax(x)[i]``; so for every move and for the sigmoid."""
    moves: list[Node] = []
    while y.op in _MOVES and len(moves) < _MOST_MOVES:
        moves.append(y)
        y = y.inputs[0]
    is_sum_of_exp = y.op is SUM and y.inputs[0].op is exp
    if not moves or not (y.op in (SOFTMAX, sigmoid) or is_sum_of_exp):
        return None
    result = log(y)
    for move in reversed(moves):
        result = make_node(move.op, (result, *move.inputs[1:]), move.attrs)
    return result


STABILITY: tuple[Rule, ...] = (
    log_of_exp,
    log_of_one_minus_sigmoid,
    log_of_one_plus,
    log_of_one_minus,
    log1p_of_exp,
    softplus_by_hand,
    exp_minus_one,
    log_of_exp_plus_exp,
    one_over_exp,
    log_of_sigmoid,
    exp_of_log_sigmoid,
    sigmoid_by_hand,
    sigmoid_of_negative_by_hand,
    tanh_by_hand,
    log_of_softmax,
    exp_of_log_softmax,
    log_of_sum_of_exp,
    softmax_by_hand,
    log_softmax_by_hand,
    softmax_of_shifted,
    logsumexp_of_shifted,
    log_of_moved,
)
