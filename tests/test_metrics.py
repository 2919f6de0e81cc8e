"""Metrics against scikit-learn and SciPy, as nodes too, and what they refuse."""

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError

sklearn = pytest.importorskip("sklearn.metrics")

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(200, 5))
LABELS = np.where(RNG.random(200) < 0.5, SCORES.argmax(-1), RNG.integers(0, 5, 200))
CHOSEN = SCORES.argmax(-1)


def test_accuracy_and_confusion_matrix():
    assert gn.metrics.accuracy(SCORES, LABELS) == sklearn.accuracy_score(LABELS, CHOSEN)
    assert gn.metrics.accuracy(CHOSEN, LABELS) == sklearn.accuracy_score(LABELS, CHOSEN)
    expected = sklearn.confusion_matrix(LABELS, CHOSEN)
    np.testing.assert_array_equal(gn.metrics.confusion_matrix(SCORES, LABELS), expected)
    wide = gn.metrics.confusion_matrix(CHOSEN, LABELS, classes=7)
    np.testing.assert_array_equal(wide[:5, :5], expected)
    assert wide.shape == (7, 7)
    assert wide.sum() == 200


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_top_k(k):
    expected = np.mean([y in np.argsort(-s)[:k] for s, y in zip(SCORES, LABELS, strict=True)])
    assert gn.metrics.top_k_accuracy(SCORES, LABELS, k) == expected


def test_nodes_give_nodes():
    x = gn.input("x", shape=("batch", 5), dtype="float64")
    t = gn.input("t", shape=("batch",), dtype="int64")
    outputs = [gn.metrics.accuracy(x, t), gn.metrics.top_k_accuracy(x, t, 2)]
    outputs.append(gn.metrics.accuracy(gn.argmax(x, axis=-1), t))
    found = gn.compile([x, t], outputs)(SCORES, LABELS)
    expected = [
        gn.metrics.accuracy(SCORES, LABELS),
        gn.metrics.top_k_accuracy(SCORES, LABELS, 2),
        gn.metrics.accuracy(SCORES, LABELS),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "none"])
@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
@pytest.mark.parametrize("unseen", [False, True])
def test_rates_agree_with_scikit_learn(name, average, unseen):
    labels = np.where(LABELS == 2, 1, LABELS) if unseen else LABELS
    chosen = np.where(CHOSEN == 4, 0, CHOSEN) if unseen else CHOSEN
    theirs = getattr(sklearn, f"{name}_score")
    expected = theirs(
        labels, chosen, average=None if average == "none" else average, zero_division=0
    )
    found = getattr(gn.metrics, name)(chosen, labels, average=average)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("decimals", [1, 8])  # with and without equal scores
def test_areas_agree_with_scikit_learn(decimals):
    binary, scores = (LABELS == 1).astype(int), SCORES[:, 1].round(decimals)
    expected = sklearn.roc_auc_score(binary, scores)
    np.testing.assert_allclose(gn.metrics.roc_auc(scores, binary), expected, rtol=1e-12)
    shares = np.exp(SCORES) / np.exp(SCORES).sum(-1, keepdims=True)
    expected = sklearn.roc_auc_score(LABELS, shares, multi_class="ovr")
    np.testing.assert_allclose(gn.metrics.roc_auc(shares, LABELS), expected, rtol=1e-12)


def test_r2_agrees_with_scikit_learn():
    targets = RNG.normal(size=(30, 3))
    predictions = targets + 0.3 * RNG.normal(size=(30, 3))
    for y, t in [
        (predictions, targets),
        (predictions[:, 0], targets[:, 0]),
        (np.ones(5), np.ones(5)),
        (np.zeros(5), np.ones(5)),
    ]:
        np.testing.assert_allclose(gn.metrics.r2(y, t), sklearn.r2_score(t, y), rtol=1e-12)


def slow_distance(a, b):
    """By the recursive definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        slow_distance(a[1:], b[1:]) + (a[0] != b[0]),
        slow_distance(a[1:], b) + 1,
        slow_distance(a, b[1:]) + 1,
    )


def test_edit_distances():
    pairs = [("", ""), ("abc", ""), ("abc", "abc"), ("kitten", "sitting"), ("flaw", "lawn")]
    pairs += [
        tuple("".join(RNG.choice(list("ab"), RNG.integers(0, 6))) for _ in "12") for _ in "x" * 20
    ]
    for a, b in pairs:
        assert gn.metrics.edit_distance(a, b) == slow_distance(a, b)
        assert gn.metrics.edit_distance(list(b), list(a)) == slow_distance(a, b)
    assert gn.metrics.error_rate(["kitten", ""], ["sitting", "ab"]) == 5 / 9
    assert gn.metrics.perplexity(0.0) == 1.0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m.accuracy([0, 1], [0, 1, 2]), ShapeError, "do not fit labels"),
        (lambda m: m.accuracy([0, 1], [0.0, 1.0]), DTypeError, "class indices"),
        (lambda m: m.accuracy(np.zeros(0), np.zeros(0, int)), ShapeError, "no samples"),
        (lambda m: m.top_k_accuracy([0, 1], [0, 1]), ShapeError, "one axis more"),
        (lambda m: m.top_k_accuracy(SCORES, LABELS, 0), ArgumentError, "k must be"),
        (lambda m: m.confusion_matrix([0, 5], [0, 1], 3), ArgumentError, "from 0 to 2, not to 5"),
        (lambda m: m.confusion_matrix([0, -1], [0, 1]), ArgumentError, "from 0 to 1"),
        (lambda m: m.f1([0], [0], average="mean"), ArgumentError, "no average 'mean'"),
        (lambda m: m.roc_auc([0.1, 0.2], [1, 1]), ArgumentError, "2 of 2 samples are of class 1"),
        (lambda m: m.r2([1.0], [1.0]), ShapeError, "at least two samples"),
        (lambda m: m.error_rate(["a"], []), ShapeError, "1 predictions for 0 references"),
        (lambda m: m.error_rate([""], [""]), ArgumentError, "no tokens"),
    ],
)
def test_metrics_refuse(call, error, words):
    with pytest.raises(error, match=words):
        call(gn.metrics)
