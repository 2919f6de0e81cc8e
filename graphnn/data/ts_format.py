"""Reading ``.ts`` files: classified sequences of one or more channels, as archives of series use.

A line ``@name value`` describes the file, and behind ``@data`` every line is one sequence: its
channels between colons, the values of each between commas, and the label last.
"""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np

from graphnn.core.errors import ArgumentError
from graphnn.core.op import Array
from graphnn.data.text_files import read_lines

__all__ = ["read_ts"]


def read_ts(path: str | PathLike[str]) -> tuple[list[Array], list[str]]:
    r"""The sequences of a ``.ts`` file, which may differ in length, and their labels.

    Parameters
    ----------
    path : path

    Returns
    -------
    (list of array of float32, list of str)
        Every sequence is of shape (time, channels).

    Raises
    ------
    ArgumentError
        Naming the line that is not as the format, or the head of the file, wants it; for time
        stamps, and for files without labels.

    Examples
    --------
    >>> from pathlib import Path
    >>> import graphnn as gn
    >>> lines = ["@dimensions 2", "@classLabel true a b", "@data", "1,2,3:4,5,6:a", "7:8:b"]
    >>> _ = Path("small.ts").write_text("\n".join(lines))
    >>> sequences, labels = gn.data.read_ts("small.ts")
    >>> [each.tolist() for each in sequences], labels
    ([[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]], [[7.0, 8.0]]], ['a', 'b'])
    """
    lines = _lines(Path(path))
    head = _head(path, lines)
    told, *classes = head.get("classlabel", "false").split()
    if told.lower() != "true" or head.get("timestamps", "false").lower() == "true":
        raise ArgumentError(
            f"{path}: only sequences with labels and without time stamps can be read"
        )
    dimensions = head.get("dimensions")
    if dimensions is not None and not dimensions.isdecimal():
        raise ArgumentError(f"{path}: @dimensions is a number, not {dimensions!r}")
    sequences, labels = [], []
    for place, line in lines:
        *channels, label = line.split(":")
        if classes and label.strip() not in classes:
            raise ArgumentError(f"{place}: the label {label.strip()!r} is none of {classes}")
        if dimensions is not None and len(channels) != int(dimensions):
            raise ArgumentError(f"{place}: {len(channels)} channels, not {dimensions}")
        sequences.append(_sequence(place, channels))
        labels.append(label.strip())
    return sequences, labels


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Every line that says something, with its place."""
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip() and not line.startswith("#"):
            yield f"{path}:{number}", line.strip()


def _head(path: str | PathLike[str], lines: Iterator[tuple[str, str]]) -> dict[str, str]:
    """What stands before the data, by name in small letters."""
    head: dict[str, str] = {}
    for place, line in lines:
        name, _, value = line.partition(" ")
        if not name.startswith("@"):
            raise ArgumentError(f"{place}: a sequence before the line @data")
        if name.lower() == "@data":
            return head
        head[name[1:].lower()] = value.strip()
    raise ArgumentError(f"{path}: there is no line @data, with which the sequences begin")


def _sequence(place: str, channels: list[str]) -> Array:
    """One sequence, of shape (time, channels)."""
    try:
        columns = [np.array(each.split(","), np.float32) for each in channels]
    except ValueError as error:
        raise ArgumentError(f"{place}: {error}") from None
    lengths = {len(each) for each in columns}
    if len(lengths) != 1:
        raise ArgumentError(f"{place}: channels of different lengths, {sorted(lengths)}")
    return np.stack(columns, axis=1)
