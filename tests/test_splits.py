"""Splits, folds and standardisation, against scikit-learn and the properties of its splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphnn as gn
from graphnn.core.errors import ArgumentError, CheckpointError, ShapeError

classes_of_samples = st.lists(st.integers(0, 3), min_size=4, max_size=60)

# ------------------------------------------------------------------------------ stratified splits


@settings(deadline=None, derandomize=True, database=None)
@given(classes=classes_of_samples, test=st.floats(0.05, 0.95), seed=st.integers(-3, 3))
def test_a_stratified_split_divides_every_class_alike(classes, test, seed):
    labels, numbers = np.array(classes), np.arange(len(classes))
    try:
        train, held = gn.data.split(numbers, labels, test=test, seed=seed, stratify=labels)
    except ArgumentError:
        # Only if a part is empty, or all of a rare class would be held out.
        counts = np.bincount(labels)
        tests = round(test * len(labels))
        share = counts[counts > 0] * tests / len(labels)
        assert tests in (0, len(labels)) or (np.ceil(share) == counts[counts > 0]).any()
        return
    assert sorted([*train[0], *held[0]]) == numbers.tolist()
    assert len(held[0]) == round(test * len(labels))
    for part in (train, held):
        np.testing.assert_array_equal(part[1], labels[part[0]])
        for each in set(classes):
            share = len(part[0]) * np.mean(labels == each)
            assert abs(np.sum(part[1] == each) - share) < 1
    again = gn.data.split(numbers, labels, test=test, seed=seed, stratify=labels)
    np.testing.assert_array_equal(again[1][0], held[0])


def test_a_stratified_split_is_random():
    labels = np.repeat([0, 1], 50)
    parts = [
        gn.data.split(np.arange(100), test=0.2, seed=seed, stratify=labels)[1][0]
        for seed in range(200)
    ]
    drawn = np.bincount(np.concatenate(parts), minlength=100)
    # 200 draws of probability 0.2: mean 40, deviation 5.7.
    assert drawn.min() > 15
    assert drawn.max() < 65
    # And the order tells nothing of the class.
    firsts = labels[[part[0] for part in parts]]
    assert 60 < firsts.sum() < 140


@settings(deadline=None, derandomize=True, database=None)
@given(classes=classes_of_samples, count=st.integers(2, 8), seed=st.integers(0, 3))
def test_folds_have_the_properties_of_sklearns(classes, count, seed):
    model_selection = pytest.importorskip("sklearn.model_selection")
    labels, numbers = np.array(classes), np.arange(len(classes))
    count = min(count, len(classes))
    theirs = model_selection.KFold(count, shuffle=True, random_state=0).split(numbers)
    ours = [(train, test) for (train,), (test,) in gn.data.folds(numbers, count=count, seed=seed)]
    assert sorted(len(test) for _, test in ours) == sorted(len(test) for _, test in theirs)
    assert sorted(np.concatenate([test for _, test in ours])) == numbers.tolist()
    for train, test in ours:
        assert sorted([*train, *test]) == numbers.tolist()
    if min(np.bincount(labels)[np.unique(labels)]) < count:
        return  # scikit-learn warns
    theirs = model_selection.StratifiedKFold(count, shuffle=True, random_state=0)
    expected = [np.bincount(labels[test], minlength=4) for _, test in theirs.split(labels, labels)]
    stratified = gn.data.folds(numbers, count=count, seed=seed, stratify=labels)
    found = [np.bincount(labels[test], minlength=4) for _, (test,) in stratified]
    for each in range(4):
        assert sorted(np.array(found)[:, each]) == sorted(np.array(expected)[:, each])
    sizes = [counts.sum() for counts in found]
    assert max(sizes) - min(sizes) <= 1


def test_classes_may_be_words_and_arrays_any_number():
    words = np.array(["cat", "dog"] * 6)
    x = np.arange(24.0).reshape(12, 2)
    for train, test in gn.data.folds(x, x[:, 0], count=3, stratify=words):
        assert [len(part) for part in (*train, *test)] == [8, 8, 4, 4]
        np.testing.assert_array_equal(test[0][:, 0], test[1])
        assert np.sum(test[1] % 4 == 0) == 2  # the cats


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gn.data.split(range(4), stratify=[0, 1]), ShapeError, "each of 4 samples"),
        (
            lambda: gn.data.split(range(4), test=0.5, stratify=[0, 0, 0, 1]),
            ArgumentError,
            r"none of class number 1 \(of 2\), of which there are 1",
        ),
        (lambda: gn.data.folds(range(4), count=5), ArgumentError, "4 samples cannot be divided"),
        (lambda: gn.data.folds(range(4), count=1), ArgumentError, "into 1 folds"),
        (lambda: gn.data.folds(range(4), count=0), ArgumentError, "positive integer"),
        (
            lambda: gn.data.folds(range(4), count=2, stratify=[0, 0, 0, 1]),
            ArgumentError,
            "none of class number 1",
        ),
    ],
)
def test_splits_refuse(call, error, words):
    with pytest.raises(error, match=words):
        call()


# -------------------------------------------------------------------------------- standardisation


def test_standardising_agrees_with_sklearn():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x = np.random.default_rng(0).normal(5.0, 3.0, size=(50, 4))
    x[:, 2] = 0.1  # constant, and its mean is rounded
    ours, theirs = gn.data.Standardizer().fit(x), preprocessing.StandardScaler().fit(x)
    np.testing.assert_allclose(ours.mean, theirs.mean_, rtol=1e-14)
    np.testing.assert_allclose(ours.std, theirs.scale_, rtol=1e-14)
    np.testing.assert_allclose(ours.transform(x), theirs.transform(x), rtol=1e-12, atol=1e-14)


def test_channels_of_pictures_share_a_scale():
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(20, 3, 5, 4)).astype(np.float32)
    scale = gn.data.Standardizer(axis=(0, 2, 3)).fit(x)
    assert scale.mean.shape == (3, 1, 1)
    for channel in range(3):
        np.testing.assert_allclose(scale.mean[channel], x[:, channel].astype(float).mean())
        np.testing.assert_allclose(scale.std[channel], x[:, channel].astype(float).std())
    z = scale.transform(x)
    assert z.dtype == np.float32
    np.testing.assert_array_equal(scale.transform(x[0]), z[0])


def test_a_standardizer_is_taken_over_exactly():
    x = np.random.default_rng(0).normal(5.0, 3.0, size=(50, 4))
    scale, other = gn.data.Standardizer().fit(x), gn.data.Standardizer()
    state = scale.state_dict()
    other.load_state_dict(state)
    state["mean"][:] = 0.0  # a copy
    np.testing.assert_array_equal(other.transform(x), scale.transform(x))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"mean": [0.0]}, r"has \['mean'\], not \['mean', 'std'\]"),
        ({"mean": [0.0], "std": [1.0, 1.0]}, r"mean is \(1,\), the deviation \(2,\)"),
        ({"mean": [0.0], "std": [0.0]}, "above 0"),
        ({"mean": [np.nan], "std": [1.0]}, "finite"),
    ],
)
def test_a_standardizer_refuses_a_state(state, words):
    with pytest.raises(CheckpointError, match=words):
        gn.data.Standardizer().load_state_dict(state)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: s.fit([]), ShapeError, "no samples"),
        (lambda s: s.fit([[1.0, np.nan]]), ArgumentError, "1 of 2 features have NaNs"),
        (lambda s: gn.data.Standardizer(axis=2).fit([[1.0]]), ShapeError, "axis 2 is out of"),
        (lambda s: s.state_dict(), ArgumentError, "not fitted"),
        (
            lambda s: s.fit(np.ones((2, 3))).transform(np.ones((2, 4))),
            ShapeError,
            r"features of shape \(3,\), x is \(2, 4\)",
        ),
        (lambda s: s.fit(np.ones((2, 3))).transform(np.ones((2, 1))), ShapeError, r"x is \(2, 1\)"),
        (lambda s: s.fit(np.ones((2, 3))).inverse_transform(1.0), ShapeError, r"x is \(\)"),
    ],
)
def test_a_standardizer_refuses(call, error, words):
    with pytest.raises(error, match=words):
        call(gn.data.Standardizer())
