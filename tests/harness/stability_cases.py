"""A case, or several, for every stability rule, with the truth in extended precision."""

from typing import Any

import numpy as np
from rewriting import Case, elementwise, shaped, shifted

import graphnn as gn

LOGITS = [
    [0.0, 1.0, -2.0, 0.5],
    [300.0, -300.0, 299.0, 0.0],
    [-1e4, -1.0001e4, -1.0002e4, -1e4],
    [-1e30, 0.0, 3.0, -np.inf],
    [1e-5, 2e-5, -1e-5, 0.0],
    [-np.inf, -np.inf, 2.0, 1.0],
    [np.nan, 0.0, 1.0, 2.0],
]


def softmax_truth(x: Any) -> Any:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def logsumexp_truth(x: Any, keepdims: bool = False) -> Any:
    top = x.max(-1, keepdims=True)
    total = np.log(np.exp(x - top).sum(-1, keepdims=True)) + top
    return total if keepdims else total[..., 0]


def log_softmax_truth(x: Any) -> Any:
    below = x - x.max(-1, keepdims=True)
    return below - np.log(np.exp(below).sum(-1, keepdims=True))


def sigmoid_truth(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softplus_truth(x: Any) -> Any:
    return np.logaddexp(0, x)


def stable(rule: str, before: Any, after: Any, truth: Any, improves: bool = True) -> Case:
    return elementwise(
        rule, "f", before, after, dtypes=("float32",), truth=truth, improves=improves
    )


def on_rows(rule: str, before: Any, after: Any, truth: Any, improves: bool = True) -> Case:
    return shaped(rule, (7, 4), before, after, truth=truth, rows=LOGITS, improves=improves)


STABLE = [
    stable("log_of_exp", lambda x: gn.log(gn.exp(x)), lambda x: x, lambda x: x),
    stable("log_of_exp", lambda x: gn.log1p(gn.expm1(x)), lambda x: x, lambda x: x),
    stable(
        "log_of_one_minus_sigmoid",
        lambda x: gn.log(1.0 - gn.sigmoid(x)),
        lambda x: gn.log_sigmoid(-x),
        lambda x: -softplus_truth(x),
    ),
    stable(
        "log_of_one_minus_sigmoid",
        lambda x: gn.log1p(-gn.sigmoid(x)),
        lambda x: gn.log_sigmoid(-x),
        lambda x: -softplus_truth(x),
    ),
    stable("log_of_one_plus", lambda x: gn.log(1.0 + x), gn.log1p, np.log1p),
    stable(
        "log_of_one_minus",
        lambda x: gn.log(1.0 - x),
        lambda x: gn.log1p(-x),
        lambda x: np.log1p(-x),
    ),
    stable("log1p_of_exp", lambda x: gn.log1p(gn.exp(x)), gn.softplus, softplus_truth),
    stable(
        "softplus_by_hand",
        lambda x: gn.maximum(x, 0.0) + gn.log1p(gn.exp(-abs(x))),
        gn.softplus,
        softplus_truth,
        improves=False,
    ),
    stable(
        "softplus_by_hand",
        lambda x: gn.log1p(gn.exp(-abs(x))) + gn.relu(x),
        gn.softplus,
        softplus_truth,
        improves=False,
    ),
    stable("exp_minus_one", lambda x: gn.exp(x) - 1.0, gn.expm1, np.expm1),
    stable("exp_minus_one", lambda x: -1.0 + gn.exp(x), gn.expm1, np.expm1),
    Case(
        "log_of_exp_plus_exp",
        ("f", "f"),
        lambda x, y: gn.log(gn.exp(x) + gn.exp(y)),
        gn.logaddexp,
        truth=np.logaddexp,
    ),
    stable("one_over_exp", lambda x: 1.0 / gn.exp(x), lambda x: gn.exp(-x), lambda x: np.exp(-x)),
    stable(
        "one_over_exp",
        lambda x: gn.reciprocal(gn.exp(x)),
        lambda x: gn.exp(-x),
        lambda x: np.exp(-x),
    ),
    stable(
        "log_of_sigmoid",
        lambda x: gn.log(gn.sigmoid(x)),
        gn.log_sigmoid,
        lambda x: -softplus_truth(-x),
    ),
    stable(
        "exp_of_log_sigmoid",
        lambda x: gn.exp(gn.log_sigmoid(x)),
        gn.sigmoid,
        sigmoid_truth,
        improves=False,
    ),
    stable(
        "sigmoid_by_hand",
        lambda x: 1.0 / (1.0 + gn.exp(-x)),
        gn.sigmoid,
        sigmoid_truth,
        improves=False,
    ),
    stable(
        "sigmoid_by_hand",
        lambda x: gn.reciprocal(gn.exp(-x) + 1.0),
        gn.sigmoid,
        sigmoid_truth,
        improves=False,
    ),
    stable("sigmoid_by_hand", lambda x: gn.exp(x) / (1.0 + gn.exp(x)), gn.sigmoid, sigmoid_truth),
    stable(
        "sigmoid_of_negative_by_hand",
        lambda x: 1.0 / (1.0 + gn.exp(x)),
        lambda x: gn.sigmoid(-x),
        lambda x: sigmoid_truth(-x),
        improves=False,
    ),
    stable(
        "tanh_by_hand",
        lambda x: (gn.exp(x) - gn.exp(-x)) / (gn.exp(-x) + gn.exp(x)),
        gn.tanh,
        np.tanh,
    ),
    on_rows("log_of_softmax", lambda x: gn.log(gn.softmax(x)), gn.log_softmax, log_softmax_truth),
    on_rows(
        "exp_of_log_softmax",
        lambda x: gn.exp(gn.log_softmax(x)),
        gn.softmax,
        softmax_truth,
        False,
    ),
    on_rows(
        "log_of_sum_of_exp",
        lambda x: gn.log(gn.sum(gn.exp(x), -1)),
        lambda x: gn.logsumexp(x, -1),
        logsumexp_truth,
    ),
    on_rows(
        "softmax_by_hand",
        lambda x: gn.exp(x) / gn.sum(gn.exp(x), -1, keepdims=True),
        gn.softmax,
        softmax_truth,
    ),
    on_rows(
        "softmax_by_hand",
        lambda x: gn.exp(x.T) / gn.sum(gn.exp(x.T), 0),
        lambda x: gn.softmax(x.T, 0),
        lambda x: softmax_truth(x).T,
    ),
    on_rows(
        "log_softmax_by_hand",
        lambda x: x - gn.logsumexp(x, -1, keepdims=True),
        gn.log_softmax,
        log_softmax_truth,
    ),
    on_rows(
        "softmax_of_shifted", lambda x: gn.softmax(shifted(x)), gn.softmax, softmax_truth, False
    ),
    on_rows(
        "softmax_of_shifted",
        lambda x: gn.log_softmax(x - gn.stop_gradient(gn.max(x, 1))[:, None]),
        gn.log_softmax,
        log_softmax_truth,
        False,
    ),
    on_rows(
        "logsumexp_of_shifted",
        lambda x: gn.logsumexp(shifted(x), -1) + gn.max(x, -1),
        lambda x: gn.logsumexp(x, -1),
        logsumexp_truth,
        False,
    ),
    on_rows(
        "logsumexp_of_shifted",
        lambda x: gn.max(x, 1, keepdims=True) + gn.logsumexp(shifted(x), -1, keepdims=True),
        lambda x: gn.logsumexp(x, -1, keepdims=True),
        lambda x: logsumexp_truth(x, keepdims=True),
        False,
    ),
    on_rows(
        "log_of_moved",
        lambda x: gn.log(gn.softmax(x)[:, 1]),
        lambda x: gn.log(gn.softmax(x))[:, 1],
        lambda x: log_softmax_truth(x)[:, 1],
        False,
    ),
    on_rows(
        "log_of_moved",
        lambda x: gn.log(gn.take_along_axis(gn.softmax(x), [[0], [1], [2], [3], [0], [1], [2]])),
        lambda x: gn.take_along_axis(gn.log(gn.softmax(x)), [[0], [1], [2], [3], [0], [1], [2]]),
        None,
        False,
    ),
    on_rows(
        "log_of_moved",
        lambda x: gn.log(gn.sum(gn.exp(x), -1, keepdims=True)),
        lambda x: gn.log(gn.sum(gn.exp(x), -1)).reshape(7, 1),
        None,
        False,
    ),
]
