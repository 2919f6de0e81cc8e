"""The perceptron beside Rosenblatt's rule in NumPy, and beside scikit-learn's."""

import itertools

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, ShapeError

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
GATES = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "NAND": [1, 1, 1, 0]}


def reference(x, y, epochs, rate, below):
    """Weight, bias and the mistakes of every epoch, sample by sample in float64."""
    weight, bias, mistakes = np.zeros(x.shape[1]), 0.0, []
    for _ in range(epochs):
        wrong = 0
        for features, label in zip(x, y, strict=True):
            output = 1.0 if features @ weight + bias > 0 else below
            weight = weight + rate * (label - output) * features
            bias += rate * (label - output)
            wrong += int(label != output)
        mistakes.append(wrong)
        if wrong == 0:
            break
    return weight, bias, mistakes


def classes(seed, *, separable, count=60, features=5):
    """Samples, and on which side of a plane they lie; a wide gap, or noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, features))
    distance = x @ rng.normal(size=features) + 0.3
    if separable:
        x, distance = x[abs(distance) > 0.3], distance[abs(distance) > 0.3]
    else:
        distance += rng.normal(size=len(x))
    return x, distance > 0


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize(("output", "below"), [("step", 0.0), ("sign", -1.0)])
def test_learning_takes_the_steps_of_the_rule(output, below, separable):
    x, above = classes(3, separable=separable)
    y = np.where(above, 1.0, below)
    perceptron = gn.nn.Perceptron(5, output=output, dtype="float64")
    mistakes = perceptron.learn(x, y, epochs=40, learning_rate=0.3)
    weight, bias, expected = reference(x, y, 40, 0.3, below)
    assert mistakes == expected
    assert (mistakes[-1] == 0) == separable
    np.testing.assert_allclose(perceptron.weight.value, weight, rtol=1e-12, atol=1e-12)
    assert perceptron.bias.value == pytest.approx(bias, rel=1e-12, abs=1e-12)
    said = gn.evaluate(perceptron(x))
    np.testing.assert_array_equal(said, np.where(x @ weight + bias > 0, 1.0, below))
    assert said.dtype == np.float64


def test_learning_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, above = classes(1, separable=False, count=50)
    y = np.where(above, 1.0, -1.0)
    x, y = np.roll(x, -np.argmax(y), 0), np.roll(y, -np.argmax(y))  # the only tie: both learn
    other = linear_model.Perceptron(shuffle=False, tol=None, max_iter=20).fit(x, y)
    # Labels differ from outputs by 2.
    perceptron = gn.nn.Perceptron(5, output="sign", dtype="float64")
    mistakes = perceptron.learn(x, y, epochs=20, learning_rate=0.5)
    assert len(mistakes) == 20
    np.testing.assert_allclose(perceptron.weight.value, other.coef_[0], rtol=1e-9)
    np.testing.assert_allclose(perceptron.bias.value, other.intercept_[0], rtol=1e-9)


@pytest.mark.parametrize("gate", GATES)
def test_gates_that_a_line_separates_are_learned(gate):
    perceptron = gn.nn.Perceptron(2)
    assert perceptron.learn(INPUTS, GATES[gate])[-1] == 0
    np.testing.assert_array_equal(gn.evaluate(perceptron(INPUTS)), GATES[gate])


def test_xor_is_not_learned_and_the_epochs_are_bounded():
    mistakes = gn.nn.Perceptron(2).learn(INPUTS, [0, 1, 1, 0], epochs=30)
    assert len(mistakes) == 30
    assert min(mistakes) > 0


def test_learning_goes_on_from_what_was_learned():
    x, above = classes(5, separable=True)
    at_once, in_parts = gn.nn.Perceptron(5), gn.nn.Perceptron(5)
    whole = at_once.learn(x, above)
    assert len(whole) > 3
    assert in_parts.learn(x, above, epochs=2) + in_parts.learn(x, above) == whole
    np.testing.assert_array_equal(at_once.weight.value, in_parts.weight.value)
    assert in_parts.learn(x, above) == [0]


def test_nand_gates_add_numbers():
    """A full adder of nine NANDs, rippling over four bits."""
    nand = gn.nn.Perceptron(2, weight=[-2, -2], bias=3)

    def gate(a, b):
        return nand(gn.stack([a, b], axis=-1))

    def half(a, b):
        neither = gate(a, b)
        return gate(gate(a, neither), gate(b, neither)), neither

    numbers = np.array(list(itertools.product(range(16), repeat=2)))
    bits = (numbers[:, :, None] >> np.arange(4) & 1).astype(np.float32)
    a, b = gn.input("a", shape=("batch", 4)), gn.input("b", shape=("batch", 4))
    digits, carry = [], gn.zeros_like(a[:, 0])
    for n in range(4):
        partial, first = half(a[:, n], b[:, n])
        digit, second = half(partial, carry)
        digits.append(digit)
        carry = gate(first, second)
    add = gn.compile([a, b], gn.stack([*digits, carry], axis=-1))
    np.testing.assert_array_equal(add(bits[:, 0], bits[:, 1]) @ 2 ** np.arange(5), numbers.sum(1))


def test_the_lower_side_holds_the_plane_itself():
    for output, below in (("step", 0.0), ("sign", -1.0)):
        perceptron = gn.nn.Perceptron(2, output=output, weight=[1, 1], bias=-1)
        said = gn.evaluate(perceptron(np.float32([[0.5, 0.5], [1, 1]])))
        np.testing.assert_array_equal(said, [below, 1.0])


def test_weights_are_saved_and_not_trained():
    perceptron = gn.nn.Perceptron(3, output="sign")
    assert list(perceptron.state_dict()) == ["weight", "bias"]
    assert perceptron.parameters() == []
    assert repr(perceptron) == "Perceptron(3, output='sign')"
    assert repr(gn.nn.Perceptron(3)) == "Perceptron(3)"


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda p: gn.nn.Perceptron(0), ArgumentError, "in_features must be a positive"),
        (lambda p: gn.nn.Perceptron(2, output="tanh"), ArgumentError, "no output 'tanh'"),
        (lambda p: gn.nn.Perceptron(2, weight=[1.0]), ShapeError, r"shape \(1,\) for 2 inputs"),
        (lambda p: p(gn.input("x", shape=(4, 3))), ShapeError, "last axis .* must have size 2"),
        (lambda p: p.learn(INPUTS, [1, 0, 1]), ShapeError, r"not \(4, 2\) and \(3,\)"),
        (lambda p: p.learn(INPUTS[0], 1), ShapeError, r"not \(2,\) and \(\)"),
        (lambda p: p.learn(INPUTS[:0], []), ShapeError, "no samples"),
        (lambda p: p.learn(INPUTS, [-1, 1, 1, 1]), ArgumentError, "(?s)-1 is neither.*sign"),
        (lambda p: p.learn(INPUTS, [0, 0, 0, 1], epochs=0), ArgumentError, "epochs must be"),
        (
            lambda p: p.learn(INPUTS, [0, 0, 0, 1], learning_rate=-1.0),
            ArgumentError,
            "learning_rate is -1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(build, error, words):
    with pytest.raises(error, match=words):
        build(gn.nn.Perceptron(2))
