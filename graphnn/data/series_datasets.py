"""Classified series that lie inside of the package aeon: nothing is downloaded.

What aeon depends on does not fit what graphnn depends on, so it is installed by itself
(``pip install --no-deps aeon``); its files are read, and it is never imported.
"""

from __future__ import annotations

import numpy as np

from graphnn.core.errors import ShapeError
from graphnn.core.op import Array
from graphnn.data.datasets import package_file
from graphnn.data.sequences import pad_sequences
from graphnn.data.ts_format import read_ts

__all__ = [
    "load_arrow_head",
    "load_basic_motions",
    "load_italy_power_demand",
    "load_japanese_vowels",
]

Sequences = tuple[Array, Array, Array]
Series = tuple[Array, Array]

_HINT = "pip install --no-deps aeon==1.6.0: its files are read, and it is not imported"


def load_arrow_head() -> tuple[Series, Series]:
    """211 outlines of arrowheads, as distances from the centre along the outline; from aeon.

    Source: L. Ye and E. Keogh, Time series shapelets (2009).

    Returns
    -------
    (x, labels), (x, labels)
        The training and the test part, as their authors divided them: outlines of float32 of shape
        (36, 251, 1) and (175, 251, 1), and labels of int64: 0 Avonlea, 1 Clovis, 2 Mix.

    Raises
    ------
    MissingPackageError
        If aeon is not installed.
    ShapeError
        If the data of the installed aeon are not these.

    Examples
    --------
    >>> import graphnn as gn
    >>> (x, labels), test = gn.data.load_arrow_head()
    >>> x.shape
    (36, 251, 1)
    """
    return _series("ArrowHead", ("0", "1", "2"), (36, 251, 1), (175, 251, 1))


def load_basic_motions() -> tuple[Series, Series]:
    """80 movements of a wrist, 100 steps of acceleration and rotation in 3 axes each; from aeon.

    Returns
    -------
    (x, labels), (x, labels)
        The training and the test part, as their authors divided them: ten seconds of a smart watch,
        float32 of shape (40, 100, 6) each, and labels of int64: 0 standing, 1 running, 2 walking,
        3 badminton.

    Raises
    ------
    MissingPackageError
        If aeon is not installed.
    ShapeError
        If the data of the installed aeon are not these.

    Examples
    --------
    >>> import graphnn as gn
    >>> (x, labels), test = gn.data.load_basic_motions()
    >>> x.shape
    (40, 100, 6)
    """
    classes = ("Standing", "Running", "Walking", "Badminton")
    return _series("BasicMotions", classes, (40, 100, 6), (40, 100, 6))


def load_italy_power_demand() -> tuple[Series, Series]:
    """1,096 days of electrical power demand in Italy, hour by hour; from aeon.

    Source: E. Keogh and others, Intelligent icons (2006). Every day was standardised by itself.

    Returns
    -------
    (x, labels), (x, labels)
        The training and the test part, as their authors divided them: days of float32 of shape
        (67, 24, 1) and (1029, 24, 1), and labels of int64, 0 and 1: they tell October to March from
        April to September.

    Raises
    ------
    MissingPackageError
        If aeon is not installed.
    ShapeError
        If the data of the installed aeon are not these.

    Examples
    --------
    >>> import graphnn as gn
    >>> (x, labels), test = gn.data.load_italy_power_demand()
    >>> x.shape
    (67, 24, 1)
    """
    return _series("ItalyPowerDemand", ("1", "2"), (67, 24, 1), (1029, 24, 1))


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
        If aeon is not installed.
    ShapeError
        If the data of the installed aeon are not these.

    Examples
    --------
    >>> import graphnn as gn
    >>> (sequences, lengths, labels), test = gn.data.load_japanese_vowels()
    >>> sequences.shape
    (270, 29, 12)
    """
    speakers = tuple("123456789")
    train, test = (270, 29, 12), (370, 29, 12)
    return (
        _part("JapaneseVowels", "TRAIN", speakers, train),
        _part("JapaneseVowels", "TEST", speakers, test),
    )


def _series(
    name: str, classes: tuple[str, ...], train: tuple[int, ...], test: tuple[int, ...]
) -> tuple[Series, Series]:
    """Both parts of a data set whose series have one length."""
    x, _, labels = _part(name, "TRAIN", classes, train)
    x_test, _, labels_test = _part(name, "TEST", classes, test)
    return (x, labels), (x_test, labels_test)


def _part(name: str, part: str, classes: tuple[str, ...], shape: tuple[int, ...]) -> Sequences:
    """Series of shape (samples, time, channels), their lengths, and their classes as numbers."""
    path = package_file("aeon", f"datasets/data/{name}/{name}_{part}.ts", f"the {name} data", _HINT)
    sequences, labels = read_ts(path)
    x, lengths = pad_sequences(sequences, max(shape[1], *map(len, sequences)), batch_first=True)
    found = set(labels)
    if x.shape != shape or found != set(classes):
        raise ShapeError(
            f"{path}: {x.shape} of {len(found)} classes, not {shape} of {len(classes)}", hint=_HINT
        )
    return x, lengths, np.array([classes.index(each) for each in labels], np.int64)
