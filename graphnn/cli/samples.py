"""What ``graphnn train`` learns from: the data sets that it knows by name, in one form with files.

Files of one's own are read by :mod:`graphnn.cli.sample_files` into the same form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphnn import data
from graphnn.core.op import Array

__all__ = ["DATA_SETS", "Samples", "held_out"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs, and what is to be said about them.

    Attributes
    ----------
    x : array of shape (samples, ...)
        Numbers in a row, pictures (height, width) or (channels, height, width), or sequences
        (time, channels).
    targets : array, optional
        Labels, int64 of shape (samples,); or values, float32 of shape (samples, values). None for
        samples to predict.
    classes : tuple of str
        Names of what the labels number; empty for values.
    lengths : array of int64, optional
        Of sequences that are padded with zeros.
    values : tuple of str
        Names of the values.
    columns : tuple of dict
        Of a table: where the numbers of a row come from; see :mod:`graphnn.cli.table`.
    tests : Samples, optional
        A part that the authors of the data hold out.
    in_time : bool
        Whether samples are in the order of time, so that the last ones are held out.
    """

    x: Array
    targets: Array | None = None
    classes: tuple[str, ...] = ()
    lengths: Array | None = None
    values: tuple[str, ...] = ()
    columns: tuple[Mapping[str, Any], ...] = ()
    tests: Samples | None = None
    in_time: bool = False

    def __len__(self) -> int:
        return len(self.x)

    def take(self, chosen: Array) -> Samples:
        """Some of the samples."""
        return replace(
            self,
            x=self.x[chosen],
            targets=None if self.targets is None else self.targets[chosen],
            lengths=None if self.lengths is None else self.lengths[chosen],
            tests=None,
        )

    def checksum(self) -> str:
        """SHA-256 of all numbers and names, to know again by."""
        found = hashlib.sha256(repr((self.classes, self.values, self.columns)).encode())
        for each in (self.x, self.targets, self.lengths):
            if each is not None:
                found.update(f"{each.dtype} {each.shape}".encode())
                found.update(np.ascontiguousarray(each).tobytes())
        if self.tests is not None:
            found.update(self.tests.checksum().encode())
        return found.hexdigest()


def held_out(samples: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    """The part to learn from, and the one to test on.

    The latter is what the authors of the data hold out; else the last samples of a series; else a
    share that is drawn at random, with classes in proportion.
    """
    if samples.tests is not None:
        return replace(samples, tests=None), samples.tests
    every = np.arange(len(samples))
    if samples.in_time:
        (known,), (unknown,) = data.split_in_time(every, test=share)
    else:
        labels = samples.targets if samples.classes else None
        (known,), (unknown,) = data.split(every, test=share, seed=seed, stratify=labels)
    return samples.take(known), samples.take(unknown)


# --------------------------------------------------------------------------------- known by name


def _labelled(load: Callable[[], tuple[Array, Array]], *classes: str) -> Samples:
    x, labels = load()
    return Samples(x, labels, classes or _numbers(labels))


def _pictures(load: Callable[[], tuple[Array, Array]], side: int) -> Samples:
    x, labels = load()
    return Samples(x.reshape(-1, side, side), labels, _numbers(labels))


def _diabetes() -> Samples:
    x, progression = data.load_diabetes()
    return Samples(x, progression[:, None], values=("progression",))


def _series(
    load: Callable[[], tuple[tuple[Array, Array], tuple[Array, Array]]], *classes: str
) -> Samples:
    (x, labels), tests = load()
    return Samples(x, labels, classes, tests=Samples(*tests, classes))


def _vowels() -> Samples:
    (x, lengths, labels), (x_test, lengths_test, labels_test) = data.load_japanese_vowels()
    speakers = _numbers(labels)
    tests = Samples(x_test, labels_test, speakers, lengths_test)
    return Samples(x, labels, speakers, lengths, tests=tests)


def _forecast(series: Array, steps: int, name: str) -> Samples:
    """All stretches of so many steps, each with the value that follows."""
    past, following = data.windows(series.astype(np.float32)[:, None], steps)
    return Samples(past, following, values=(name,), in_time=True)


def _co2() -> Samples:
    times, parts = data.load_co2()
    known = ~np.isnan(parts)
    return _forecast(np.interp(times, times[known], parts[known]), 52, "co2")


def _numbers(labels: Array) -> tuple[str, ...]:
    return tuple(map(str, range(int(labels.max()) + 1)))


DATA_SETS: Mapping[str, tuple[str, Callable[[], Samples]]] = {
    "digits": (
        "1,797 handwritten digits of 8 x 8 pixels",
        lambda: _pictures(data.load_digits, 8),
    ),
    "mnist_5k": (
        "5,000 handwritten digits of 28 x 28 pixels",
        lambda: _pictures(data.load_mnist_5k, 28),
    ),
    "iris": (
        "150 irises, 4 measures, 3 species",
        lambda: _labelled(data.load_iris, "setosa", "versicolor", "virginica"),
    ),
    "wine": ("178 wines, 13 measures, 3 growers", lambda: _labelled(data.load_wine)),
    "breast_cancer": (
        "569 tumours, 30 measures, malignant or benign",
        lambda: _labelled(data.load_breast_cancer, "malignant", "benign"),
    ),
    "diabetes": ("442 patients, 10 measures; a value: how far the disease went", _diabetes),
    "japanese_vowels": ("640 utterances of 7 to 29 steps, 12 channels, 9 speakers", _vowels),
    "italy_power_demand": (
        "1,096 days of 24 hours, two halves of the year",
        lambda: _series(data.load_italy_power_demand, "October to March", "April to September"),
    ),
    "arrow_head": (
        "211 outlines of 251 steps, 3 kinds of arrowheads",
        lambda: _series(data.load_arrow_head, "Avonlea", "Clovis", "Mix"),
    ),
    "basic_motions": (
        "80 movements of 100 steps, 6 channels, 4 kinds",
        lambda: _series(data.load_basic_motions, "standing", "running", "walking", "badminton"),
    ),
    "sunspots": (
        "a series: the yearly number of sunspots after 20 years",
        lambda: _forecast(data.load_sunspots()[1], 20, "sunspots"),
    ),
    "co2": ("a series: weekly carbon dioxide in the air after 52 weeks", _co2),
    "el_nino": (
        "a series: monthly temperatures of the Pacific after 24 months",
        lambda: _forecast(data.load_el_nino()[1].ravel(), 24, "temperature"),
    ),
}
"""What a data set is, and how it is loaded."""
