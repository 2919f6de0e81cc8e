"""Derivatives of textbook formulas are finite and right where the formulas themselves overflow."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rewriting import vector

import graphnn as gn
from graphnn.compiler.autodiff.stabilize import stabilize
from graphnn.core.graph import topological_order

LOGITS = np.array([1e4, -1e4, 3.0], "float32")


def one(target: int) -> Any:
    return np.eye(3, dtype="float32")[target]


def softmax_of(x: Any) -> Any:
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def curvature(p: Any) -> Any:
    """The Hessian of cross-entropy by the logits."""
    return np.diag(p) - np.outer(p, p)


def sigmoid_of(x: Any) -> Any:
    return np.exp(-np.logaddexp(0, -x))


def by_hand(x: gn.Node) -> gn.Node:
    return gn.exp(x) / gn.sum(gn.exp(x))


def by_hand_shifted(x: gn.Node) -> gn.Node:
    powers = gn.exp(x - gn.stop_gradient(gn.max(x)))
    return powers / gn.sum(powers)


def logsumexp_by_hand(x: gn.Node) -> gn.Node:
    top = gn.max(x)
    return top + gn.log(gn.sum(gn.exp(x - top)))


CROSS_ENTROPIES = {
    "log, index": lambda x: -gn.log(gn.softmax(x))[2],
    "index, log": lambda x: -gn.log(gn.softmax(x)[2]),
    "one-hot": lambda x: -gn.sum(gn.log(gn.softmax(x)) * one(2)),
    "by hand": lambda x: -gn.log(by_hand(x)[2]),
    "by hand, shifted": lambda x: -gn.log(by_hand_shifted(x))[2],
    "log of sum of exp": lambda x: gn.log(gn.sum(gn.exp(x))) - x[2],
    "log of sum of exp, shifted": lambda x: logsumexp_by_hand(x) - x[2],
}


@pytest.mark.parametrize("optimize", ["O0", "O2"])
@pytest.mark.parametrize("loss", CROSS_ENTROPIES.values(), ids=CROSS_ENTROPIES)
def test_cross_entropy(loss: Callable[[gn.Node], gn.Node], optimize: str) -> None:
    x, v = vector(shape=(3,)), gn.input("v", (3,))
    y = loss(x)
    for logits in (LOGITS, np.array([0.5, -1.0, 2.0], "float32")):
        wanted = softmax_of(logits.astype("float64"))
        gradient, hessian, tangent = gn.evaluate(
            [gn.grad(y, x), gn.hessian(y, x), gn.jvp(y, x, v)],
            {x: logits, v: [1.0, 2.0, 3.0]},
            optimize=optimize,
        )
        np.testing.assert_allclose(gradient, wanted - one(2), atol=1e-6)
        np.testing.assert_allclose(hessian, curvature(wanted), atol=1e-6)
        np.testing.assert_allclose(tangent, (wanted - one(2)) @ [1.0, 2.0, 3.0], atol=1e-5)


SIGMOIDS = {
    "log(sigmoid)": (lambda x: gn.log(gn.sigmoid(x)), lambda x: sigmoid_of(-x)),
    "log of sigmoid by hand": (
        lambda x: gn.log(1.0 / (1.0 + gn.exp(-x))),
        lambda x: sigmoid_of(-x),
    ),
    "-log(1 - sigmoid)": (lambda x: -gn.log(1.0 - gn.sigmoid(x)), sigmoid_of),
    "log(1 + exp)": (lambda x: gn.log(1.0 + gn.exp(x)), sigmoid_of),
    "log1p(exp)": (lambda x: gn.log1p(gn.exp(x)), sigmoid_of),
    "log(exp + exp)": (lambda x: gn.log(gn.exp(x) + gn.exp(gn.constant(0.0))), sigmoid_of),
}


@pytest.mark.parametrize("optimize", ["O0", "O2"])
@pytest.mark.parametrize(("function", "slope"), SIGMOIDS.values(), ids=SIGMOIDS)
def test_sigmoid_family(function: Any, slope: Any, optimize: str) -> None:
    x = vector(shape=(4,))
    values = np.array([-1e4, 1e4, 0.0, 2.0], "float32")
    y = gn.sum(function(x))
    gradient, hessian = gn.evaluate(
        [gn.grad(y, x), gn.hessian(y, x)], {x: values}, optimize=optimize
    )
    wide = values.astype("float64")
    np.testing.assert_allclose(gradient, slope(wide), atol=1e-6)
    bend = sigmoid_of(wide) * sigmoid_of(-wide)
    sign = 1.0 if slope(1e4) == 1.0 else -1.0
    np.testing.assert_allclose(hessian, np.diag(sign * bend), atol=1e-6)


def test_binary_cross_entropy_as_written_in_textbooks() -> None:
    x, t = vector(shape=(2,)), gn.input("t", (2,))
    p = gn.sigmoid(x)
    loss = -gn.sum(t * gn.log(p) + (1.0 - t) * gn.log(1.0 - p))
    gradient = gn.evaluate(gn.grad(loss, x), {x: [-200.0, 200.0], t: [1.0, 0.0]})
    np.testing.assert_array_equal(gradient, [-1.0, 1.0])


def test_nothing_to_do_gives_the_same_nodes() -> None:
    x, w = vector(shape=(3,)), gn.parameter(np.eye(3, dtype="float32"))
    outputs = [gn.log_softmax(w @ x), gn.sum(1.0 / x), x]
    assert stabilize(outputs, [x, w]) == outputs


def test_kept_nodes_stay_in_the_graph() -> None:
    """The derivative with respect to p = softmax(x) of -log(p) is -1/p, whatever p is made of."""
    x = vector(shape=(3,))
    p = gn.softmax(x)
    (kept,) = stabilize([gn.log(p)], [p])
    assert kept is gn.log(p)
    gradient = gn.evaluate(gn.grad(-gn.log(p)[1], p), {x: [0.0, 1.0, 2.0]})
    expected = [0.0, -1.0 / softmax_of(np.arange(3.0))[1], 0.0]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_what_stands_above_a_kept_node_is_still_made_stable() -> None:
    x, w = vector(shape=(3,)), gn.parameter(np.eye(3, dtype="float32"))
    logits = gn.log(1.0 + gn.exp(x)) * 1.0
    scores = gn.log(gn.softmax(w @ logits))
    (stable,) = stabilize([scores], [logits, w])
    assert stable is gn.log_softmax(w @ logits)
    assert stabilize([logits], [logits]) == [logits]


def test_names_and_lines_are_kept() -> None:
    x = vector(shape=(3,))
    y = gn.log(gn.softmax(x)).named("scores")
    (stable,) = stabilize([y], [x])
    known = gn.provenance(stable)
    assert known.name == "scores"
    assert known.made_by == "stabilize"
    assert known.sources == gn.provenance(y).sources


def test_stop_gradient_and_custom_rules_are_not_looked_through() -> None:
    @gn.custom_vjp
    def saturating(x: gn.Node) -> gn.Node:
        return gn.softmax(x)

    @saturating.defvjp
    def _(arguments: Any, result: Any, cotangent: gn.Node) -> gn.Node:
        return cotangent * 7.0

    x = vector(shape=(3,))
    gradient = gn.evaluate(gn.grad(gn.sum(saturating(x)), x), {x: [0.0, 1.0, 2.0]})
    np.testing.assert_array_equal(gradient, [7.0, 7.0, 7.0])
    held = gn.log(gn.stop_gradient(gn.softmax(x)) * x)
    assert stabilize([held], [x]) == [held]
    half = gn.exp(x) / gn.sum(gn.exp(gn.stop_gradient(x)))
    assert stabilize([half], [x]) == [half]


def test_long_chains() -> None:
    x = vector(shape=(3,))
    node = x
    for _ in range(20_000):
        node = gn.tanh(node)
    (same,) = stabilize([node], [x])
    assert same is node
    (stable,) = stabilize([gn.log(1.0 + gn.exp(node))], [x])
    assert stable is gn.softplus(node)
    assert len(topological_order([stable])) == 20_002
