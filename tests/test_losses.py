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
DISTANCES = {
    "kl_divergence": (
        gn.losses.kl_divergence,
        (special.log_softmax(LOGITS, axis=-1), SOFT),
        lambda p, t: (t * (np.log(t) - p)).sum(axis=-1),
    ),
    "squared_hellinger": (
        gn.losses.squared_hellinger,
        (special.softmax(LOGITS, axis=-1), SOFT),
        lambda p, t: ((np.sqrt(p) - np.sqrt(t)) ** 2).sum(axis=-1) / 2,
    ),
    "hellinger": (
        gn.losses.hellinger,
        (special.softmax(LOGITS, axis=-1), SOFT),
        lambda p, t: np.sqrt(((np.sqrt(p) - np.sqrt(t)) ** 2).sum(axis=-1) / 2),
    ),
    "cosine": (
        gn.losses.cosine,
        (Y, T),
        lambda y, t: (
            1 - (y * t).sum(-1) / (np.linalg.norm(y, axis=-1) * np.linalg.norm(t, axis=-1))
        ),
    ),
    "hinge of signs": (
        gn.losses.hinge,
        (Y, np.sign(T)),
        lambda y, t: np.maximum(0, 1 - t * y),
    ),
    "hinge of classes": (
        gn.losses.hinge,
        (LOGITS, LABELS),
        lambda y, t: np.array(
            [
                sum(max(0.0, 1 - row[own] + row[other]) for other in range(5) if other != own)
                for row, own in zip(y, t, strict=True)
            ]
        ),
    ),
}
CASES_WITH_FORMULAS = {name: case[:3] for name, case in CASES.items()} | DISTANCES


def built(loss, arrays, **options):
    """The loss as a program of its value and its gradient with respect to the first argument."""
    size = len(arrays[0]) if {"mask", "weights"} & set(options) else "batch"
    inputs = [
        gn.input(name, shape=(size, *array.shape[1:]), dtype=array.dtype)
        for name, array in zip("yt", arrays, strict=True)
    ]
    value = loss(*inputs, **options)
    gradient = gn.grad(gn.sum(value), inputs[0])
    return gn.compile(inputs, [value, gradient])(*arrays)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", CASES_WITH_FORMULAS)
def test_losses_are_their_formulas(case, reduction):
    loss, arrays, formula = CASES_WITH_FORMULAS[case]
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
        (lambda x, t: gn.losses.mse(x, x, mask=t), DTypeError, "mask holds bools, not float32"),
        (lambda x, t: gn.losses.mse(x, x, weights=[1.0, 2.0]), ShapeError, "weights of shape"),
        (lambda x, t: gn.losses.cross_entropy(x, x, ignore_index=1), DTypeError, "indices"),
        (lambda x, t: gn.losses.cross_entropy(x, x, label_smoothing=1), ArgumentError, "smooth"),
        (
            lambda x, t: gn.losses.cross_entropy(x, x, class_weights=[1, 2]),
            ShapeError,
            "class weights",
        ),
        (lambda x, t: gn.losses.kl_divergence(0.5, 0.5), ShapeError, "rows are needed"),
        (lambda x, t: gn.losses.cosine(0.5, 0.5), ShapeError, "rows are needed"),
        (lambda x, t: gn.losses.hinge(x, gn.cast(x, "int32")), ShapeError, "labels of -1 and 1"),
    ],
)
def test_losses_refuse(call, error, words):
    x, t = gn.input("x", shape=("batch", 1)), gn.input("t", shape=("batch",))
    with pytest.raises(error, match=words):
        call(x, t)


# --------------------------------------------------------------------- masks, weights, options


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", CASES_WITH_FORMULAS)
def test_masks_and_weights(case, reduction):
    loss, arrays, formula = CASES_WITH_FORMULAS[case]
    terms = formula(*arrays)
    kept = rows(*terms.shape, seed=2) > -0.5
    weights = np.abs(rows(*terms.shape, seed=3))
    masked = np.where(kept, terms, 0.0)
    for options, counted, weighed in [
        ({"mask": kept}, kept.sum(), masked),
        ({"weights": weights}, weights.sum(), terms * weights),
        ({"mask": kept, "weights": weights}, (weights * kept).sum(), masked * weights),
    ]:
        value, gradient = built(loss, arrays, reduction=reduction, **options)
        expected = {"mean": weighed.sum() / counted, "sum": weighed.sum(), "none": weighed}
        np.testing.assert_allclose(value, expected[reduction], rtol=1e-12)
        if "mask" in options:
            without = gradient if gradient.ndim == kept.ndim else gradient.any(axis=-1)
            assert not without[~kept].any()


def test_what_a_mask_leaves_out_may_be_nan():
    y, t = np.array([1.0, np.nan, 3.0]), np.array([0.0, 1.0, np.inf])
    kept = np.array([True, False, False])
    for loss in (gn.losses.mse, gn.losses.mae, gn.losses.huber):
        value, gradient = built(loss, (y, t), mask=kept)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    logits = np.array([[1.0, 2.0], [np.nan, np.inf], [-np.inf, np.nan]])
    value, gradient = built(gn.losses.cross_entropy, (logits, np.array([1, -7, 9])), mask=kept)
    np.testing.assert_allclose(value, np.log1p(np.exp(-1.0)), rtol=1e-12)
    assert np.isfinite(gradient).all()
    value, gradient = built(gn.losses.mse, (y, t), mask=np.zeros(3, bool))
    assert value == 0.0
    assert not gradient.any()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    "options",
    [
        {"label_smoothing": 0.3},
        {"class_weights": [0.5, 2.0, 0.0, 1.5, 1.0]},
        {"ignore_index": 2},
        {"ignore_index": -100},
        {"class_weights": [0.5, 2.0, 0.0, 1.5, 1.0], "label_smoothing": 0.2, "ignore_index": 4},
    ],
)
def test_options_of_cross_entropy_agree_with_pytorch(options, reduction):
    torch = pytest.importorskip("torch")
    labels = np.where(LABELS == 3, options.get("ignore_index", 3), LABELS)
    theirs = dict(options)
    if "class_weights" in theirs:
        theirs["weight"] = torch.tensor(theirs.pop("class_weights"), dtype=torch.float64)
    for targets in (labels, SOFT)[: 1 if "ignore_index" in options else 2]:
        value, gradient = built(
            gn.losses.cross_entropy, (LOGITS, targets), reduction=reduction, **options
        )
        y, t = torch.from_numpy(LOGITS).requires_grad_(), torch.from_numpy(targets)
        expected = torch.nn.functional.cross_entropy(y, t, reduction=reduction, **theirs)
        expected.sum().backward()
        np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-12)
        np.testing.assert_allclose(gradient, y.grad.numpy(), rtol=1e-9, atol=1e-14)
        y.grad = None


def test_distances_of_equal_and_certain_distributions_have_safe_gradients():
    certain = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    for loss in (gn.losses.hellinger, gn.losses.squared_hellinger):
        value, gradient = built(loss, (certain, certain))
        assert value == 0.0
        assert np.isfinite(gradient).all()
        value, _ = built(loss, (certain, certain[::-1]))
        assert value == 1.0
    value, gradient = built(gn.losses.cosine, (np.zeros((2, 3)), np.ones((2, 3))))
    assert value == 1.0
    assert not gradient.any()


def test_the_root_of_the_mean_squared_error():
    value, gradient = built(gn.losses.rmse, (Y, T))
    root = np.sqrt(((Y - T) ** 2).mean())
    np.testing.assert_allclose(value, root, rtol=1e-12)
    np.testing.assert_allclose(gradient, (Y - T) / (Y.size * root), rtol=1e-12)
    value, gradient = built(gn.losses.rmse, (T, T))
    assert value == 0.0
    assert not gradient.any()


def test_penalties():
    w, b = gn.parameter(rows(3, 2)), gn.parameter(rows(4))
    for penalty, total, slope in [
        (gn.losses.l1_penalty, lambda a: np.abs(a).sum(), np.sign),
        (gn.losses.l2_penalty, lambda a: (a**2).sum() / 2, lambda a: a),
    ]:
        value = penalty([w, b], 0.3)
        found, gradient = gn.evaluate([value, gn.grad(value, w)])
        np.testing.assert_allclose(found, 0.3 * (total(w.value) + total(b.value)), rtol=1e-12)
        np.testing.assert_allclose(gradient, 0.3 * slope(w.value), rtol=1e-12)
        with pytest.raises(ArgumentError, match="there are no parameters"):
            penalty([], 0.1)
        with pytest.raises(ArgumentError, match="factor is -1"):
            penalty([w], -1)
