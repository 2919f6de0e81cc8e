"""Losses against float64 formulas, PyTorch, and labels that must be refused."""

import numpy as np
import pytest
from scipy import special

import graphnn as gn
from graphnn.core.errors import ArgumentError, DTypeError, FeedError, ShapeError

REDUCTIONS = {"mean": np.mean, "sum": np.sum, "none": lambda terms: terms}


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


LOGITS, LABELS = rows(6, 5), np.array([0, 4, 2, 2, 1, 3])
SOFT = special.softmax(rows(6, 5, seed=1), axis=-1)
Y, T = 2.0 * rows(6, 3), rows(6, 3, seed=1)
P, B = special.expit(Y), (T > 0).astype(np.float64)


def of_huber(y, t, delta=1.0):
    e = np.abs(y - t)
    return np.where(e <= delta, e**2 / 2, delta * (e - delta / 2))


CASES = {
    "cross_entropy index": (
        gn.losses.cross_entropy,
        (LOGITS, LABELS),
        lambda z, t: -special.log_softmax(z, axis=-1)[np.arange(len(t)), t],
        "cross_entropy",
    ),
    "cross_entropy soft": (
        gn.losses.cross_entropy,
        (LOGITS, SOFT),
        lambda z, t: -(t * special.log_softmax(z, axis=-1)).sum(axis=-1),
        "cross_entropy",
    ),
    "binary_cross_entropy": (
        gn.losses.binary_cross_entropy,
        (P, B),
        lambda p, t: -(t * np.log(p) + (1 - t) * np.log(1 - p)),
        "binary_cross_entropy",
    ),
    "binary_cross_entropy_with_logits": (
        gn.losses.binary_cross_entropy_with_logits,
        (Y, B),
        lambda y, t: np.logaddexp(0, y) - t * y,
        "binary_cross_entropy_with_logits",
    ),
    "mse": (gn.losses.mse, (Y, T), lambda y, t: (y - t) ** 2, "mse_loss"),
    "mae": (gn.losses.mae, (Y, T), lambda y, t: np.abs(y - t), "l1_loss"),
    "huber": (gn.losses.huber, (Y, T), of_huber, "huber_loss"),
}


def built(loss, arrays, **options):
    """The loss as a program of its value and its gradient with respect to the first argument."""
    inputs = [
        gn.input(name, shape=("batch", *array.shape[1:]), dtype=array.dtype)
        for name, array in zip("yt", arrays, strict=True)
    ]
    value = loss(*inputs, **options)
    gradient = gn.grad(gn.sum(value), inputs[0])
    return gn.compile(inputs, [value, gradient])(*arrays)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", CASES)
def test_losses_are_their_formulas(case, reduction):
    loss, arrays, formula, _ = CASES[case]
    value, _ = built(loss, arrays, reduction=reduction)
    expected = REDUCTIONS[reduction](formula(*arrays))
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_agree_with_pytorch(case, reduction):
    torch = pytest.importorskip("torch")
    loss, arrays, _, name = CASES[case]
    value, gradient = built(loss, arrays, reduction=reduction)
    y, t = map(torch.from_numpy, arrays)
    y.requires_grad_()
    if not torch.is_floating_point(t):
        t = t.long()
    theirs = getattr(torch.nn.functional, name)(y, t, reduction=reduction)
    theirs.sum().backward()
    np.testing.assert_allclose(value, theirs.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(gradient, y.grad.numpy(), rtol=1e-10, atol=1e-15)


def test_huber_with_another_delta():
    value, _ = built(gn.losses.huber, (Y, T), delta=0.3)
    np.testing.assert_allclose(value, of_huber(Y, T, 0.3).mean(), rtol=1e-12)
    with pytest.raises(ArgumentError, match="delta must be positive"):
        gn.losses.huber(Y, T, delta=0.0)


def test_the_quadratic_cost_divides_by_samples():
    value, gradient = built(gn.losses.quadratic, (Y, T))
    np.testing.assert_allclose(value, ((Y - T) ** 2).sum() / (2 * len(Y)), rtol=1e-12)
    np.testing.assert_allclose(gradient, (Y - T) / len(Y), rtol=1e-12)


def test_cross_entropy_of_sequences():
    logits, labels = rows(2, 3, 4), np.array([[0, 1, 3], [2, 2, 0]])
    value, gradient = built(gn.losses.cross_entropy, (logits, labels), reduction="sum")
    chosen = np.take_along_axis(special.log_softmax(logits, axis=-1), labels[..., None], -1)
    np.testing.assert_allclose(value, -chosen.sum(), rtol=1e-12)
    expected = special.softmax(logits, axis=-1) - np.eye(4)[labels]
    np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32"])
def test_labels_of_any_integer_dtype(dtype):
    value, _ = built(gn.losses.cross_entropy, (LOGITS, LABELS.astype(dtype)))
    expected, _ = built(gn.losses.cross_entropy, (LOGITS, LABELS))
    assert value == expected


def test_hopeless_logits_stay_finite():
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype=np.float32)
    value, gradient = built(gn.losses.cross_entropy, (logits, np.array([1, 1])))
    assert value == 1e4
    np.testing.assert_allclose(gradient, [[0.5, -0.5], [0.0, 0.0]])
    flat, targets = logits.ravel(), np.array([0, 1, 0, 1], np.float32)
    value, gradient = built(gn.losses.binary_cross_entropy_with_logits, (flat, targets))
    assert value == 5e3
    np.testing.assert_allclose(gradient, [0.25, -0.25, 0.0, 0.0])


def test_certain_probabilities_stay_finite():
    p = np.array([0.0, 0.0, 1.0, 1.0], dtype=np.float32)
    t = np.array([0.0, 1.0, 0.0, 1.0], dtype=np.float32)
    value, gradient = built(gn.losses.binary_cross_entropy, (p, t), reduction="none")
    np.testing.assert_array_equal(value, [0.0, 100.0, 100.0, 0.0])
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("backend", ["reference", "numpy"])
@pytest.mark.parametrize("label", [-1, 5, -6])
def test_a_label_out_of_range_is_an_error(label, backend):
    z = gn.input("z", shape=("batch", 5))
    t = gn.input("t", shape=("batch",), dtype="int64")
    program = gn.compile([z, t], gn.losses.cross_entropy(z, t), backend=backend)
    with pytest.raises(FeedError, match=f"label {label} is out of range") as caught:
        program(np.zeros((2, 5), np.float32), [0, label])
    assert "from 0 to 4" in str(caught.value)
    assert any("test_losses.py" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x, t: gn.losses.mse(x, t), ShapeError, "mse: predictions have shape"),
        (lambda x, t: gn.losses.mae(x, x, reduction="avg"), ArgumentError, "no reduction 'avg'"),
        (lambda x, t: gn.losses.cross_entropy(x, t > 0.0), DTypeError, "not bool"),
        (lambda x, t: gn.losses.cross_entropy(x, t), ShapeError, "soft labels"),
        (
            lambda x, t: gn.losses.cross_entropy(x, gn.cast(x, "float64")),
            DTypeError,
            "do not mix silently",
        ),
        (
            lambda x, t: gn.losses.cross_entropy(x, gn.cast(x, "int64")),
            ShapeError,
            "cast one-hot labels",
        ),
        (lambda x, t: gn.losses.cross_entropy(0.5, t), ShapeError, "axis of classes"),
    ],
)
def test_losses_refuse(call, error, words):
    x, t = gn.input("x", shape=("batch", 1)), gn.input("t", shape=("batch",))
    with pytest.raises(error, match=words):
        call(x, t)
