"""Tables with numbers and words as arrays of numbers, the same way in training and prediction.

A column of numbers is one column of the array. A column of words is one for each word that it had
in training: 1 where the word stands, 0 elsewhere. How that was is a list of dicts, which the run
keeps: ``{"name": "doors"}`` or ``{"name": "maker", "words": ["Miller", "Smith"]}``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphnn.core.arguments import require_known
from graphnn.core.errors import ArgumentError
from graphnn.core.op import Array
from graphnn.data.csv_format import read_csv

__all__ = ["Column", "Table", "columns_of", "numbers_of", "read_table"]

Column = Mapping[str, Any]
Table = Mapping[str, Array | tuple[str, ...]]

MOST_WORDS = 100
"""Of a column: one with more is an identifier rather than a kind."""


def read_table(path: Path, columns: Sequence[Column] = (), delimiter: str = ",") -> Table:
    """The columns of a CSV file; those that are known hold what they held in training."""
    dtypes = {each["name"]: str if "words" in each else "float32" for each in columns}
    if not columns:
        return read_csv(path, delimiter=delimiter)
    there = set(read_csv(path, missing=(), delimiter=delimiter))
    lacking = [name for name in dtypes if name not in there]
    if lacking:
        raise ArgumentError(
            f"{path}: the network was trained on columns that are missing: "
            f"{', '.join(map(repr, lacking))}",
            hint=f"the file has {', '.join(map(repr, sorted(there)))}",
            where="",
        )
    return read_csv(path, dtypes=dtypes, delimiter=delimiter)


def columns_of(path: Path, table: Table, leave_out: Collection[str]) -> tuple[Column, ...]:
    """How each column of a table becomes numbers, but for those that are left out."""
    for name in leave_out:
        require_known(str(path), "column", name, table)
    chosen = tuple(
        _column(path, name, values) for name, values in table.items() if name not in leave_out
    )
    if not chosen:
        raise ArgumentError(
            f"{path}: there is no column to learn from; the file has {', '.join(map(repr, table))}",
            hint="what stands between fields? --delimiter ';', for example"
            if len(table) == 1
            else "drop fewer of them",
            where="",
        )
    return chosen


def _column(path: Path, name: str, values: Array | tuple[str, ...]) -> Column:
    if not isinstance(values, tuple):
        return {"name": name}
    words = sorted(set(values))
    if len(words) > MOST_WORDS:
        raise ArgumentError(
            f"{path}: the column {name!r} has {len(words):,} different words: too many to be kinds",
            hint=f"--drop {name} leaves it out",
            where="",
        )
    return {"name": name, "words": words}


def numbers_of(path: Path, table: Table, columns: Sequence[Column]) -> Array:
    """The rows of a table as float32, of shape (rows, numbers).

    Raises
    ------
    ArgumentError
        If a value is missing, or a word is new.
    """
    parts: list[Array] = []
    for column in columns:
        name, values = column["name"], table[column["name"]]
        if "words" in column:
            parts.append(_one_of(path, name, values, column["words"]))
            continue
        numbers = np.asarray(values, np.float32)
        unknown = np.flatnonzero(~np.isfinite(numbers))
        if unknown.size:
            raise ArgumentError(
                f"{path}: the column {name!r} has no number in {unknown.size} of {len(numbers)} "
                f"rows, the first of them row {unknown[0] + 1}",
                hint=f"fill them in, or leave these rows out, or the column: --drop {name}",
                where="",
            )
        parts.append(numbers[:, None])
    return np.concatenate(parts, axis=1)


def _one_of(path: Path, name: str, values: Any, words: Sequence[str]) -> Array:
    given = np.array(values, object)
    found = given[:, None] == np.array(words, object)
    new = np.flatnonzero(~found.any(axis=1))
    if new.size:
        raise ArgumentError(
            f"{path}: the column {name!r} has {given[new[0]]!r} in row {new[0] + 1}, which it "
            "never had in training",
            hint=f"there it had {', '.join(map(repr, words))}",
            where="",
        )
    numbers: Array = found.astype(np.float32)
    return numbers
