"""Reading tables in CSV files into one array for each column."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import numpy as np

from graphnn.core.arguments import require_known
from graphnn.core.dtypes import BOOL, DType, as_dtype, is_floating, is_integer
from graphnn.core.errors import ArgumentError, DTypeError
from graphnn.core.op import Array
from graphnn.data.text_files import read_text

__all__ = ["read_csv"]

_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(
    r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf(inity)?)", re.IGNORECASE
)
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def read_csv(
    path: str | PathLike[str],
    *,
    header: bool = True,
    dtypes: Mapping[str, Any] | None = None,
    missing: Collection[str] = ("", "NA", "N/A", "null"),
    delimiter: str = ",",
    encoding: str = "utf-8",
) -> dict[str, Array | tuple[str, ...]]:
    r"""The columns of a CSV file, by name.

    Fields may stand in double quotes, and then have delimiters, ends of lines and doubled quotes
    in them. Empty lines are left out.

    Parameters
    ----------
    path : path
    header : bool, default True
        Whether the first row has the names; else they are "0", "1" and so on.
    dtypes : mapping of str to dtype, optional
        Of some columns: integers, floats, bool (true, false, 1, 0) or ``str``. The others are
        int64 if all their fields are integers, float32 if all are numbers or missing, and else
        text.
    missing : collection of str
        Fields for a number that is not known: NaN in columns of floats, an error in columns of
        integers and bool.
    delimiter : str, default ","
        One character.
    encoding : str, default "utf-8"

    Returns
    -------
    dict of str to (array of shape (rows,), or tuple of str)

    Raises
    ------
    ArgumentError
        Naming the line, and the column, of a field that is not of its dtype or does not fit it, of
        a row with more or fewer fields, of a quote that is not closed; if there are no rows, two
        columns have one name, or a dtype is given for none.
    DTypeError
        For other dtypes.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import graphnn as gn
    >>> lines = ["maker,doors,weight", '"Smith, Sons",4,1.5', "Miller,2,", "Miller,4,2"]
    >>> _ = Path("cars.csv").write_text("\n".join(lines))
    >>> table = gn.data.read_csv("cars.csv", dtypes={"doors": "float32"})
    >>> table["maker"]
    ('Smith, Sons', 'Miller', 'Miller')
    >>> np.stack([table["doors"], table["weight"]], axis=1)
    array([[4. , 1.5],
           [2. , nan],
           [4. , 2. ]], dtype=float32)

    Classes as numbers:

    >>> names, labels = np.unique(table["maker"], return_inverse=True)
    >>> labels
    array([1, 0, 0])
    """
    text = read_text(path, encoding=encoding)
    rows = _rows(str(path), text, delimiter)
    _, first = next(rows, (0, []))
    names = first if header else [str(number) for number in range(len(first))]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ArgumentError(f"{path}:1: two columns are named {twice!r}")
    columns = [
        _Column(str(path), number, name, frozenset(missing)) for number, name in enumerate(names, 1)
    ]
    if not header:
        rows = _rows(str(path), text, delimiter)
    for line, row in rows:
        if len(row) != len(columns):
            raise ArgumentError(f"{path}:{line}: {len(row)} fields, not {len(columns)}")
        for column, value in zip(columns, row, strict=True):
            column.fields.append(value)
            column.lines.append(line)
    if not columns or not columns[0].fields:
        raise ArgumentError(f"{path}: there are no rows")
    given = dict(dtypes or {})
    for name in given:
        require_known(f"{path}", "column", name, names)
    return {
        each.name: each.converted(given[each.name]) if each.name in given else each.guessed()
        for each in columns
    }


def _rows(path: str, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Every row that is not empty, with the line that it begins on."""
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"read_csv: {error}") from None
    line = 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise ArgumentError(f"{path}:{line}: this row cannot be read: {error}") from None


@dataclass
class _Column:
    """The fields of a column, and the lines that their rows begin on."""

    path: str
    number: int
    name: str
    missing: frozenset[str]
    fields: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def guessed(self) -> Array | tuple[str, ...]:
        """As integers if all are, as floats if all are or are missing, or else as text."""
        stripped = [each.strip() for each in self.fields]
        if all(map(_INTEGER.fullmatch, stripped)):
            return self.converted(np.int64)
        if all(each in self.missing or _FLOAT.fullmatch(each) for each in stripped):
            return self.converted(np.float32)
        return tuple(self.fields)

    def converted(self, dtype: Any) -> Array | tuple[str, ...]:
        """As a dtype that was asked for."""
        if dtype is str or dtype == "str":
            return tuple(self.fields)
        wanted = as_dtype(dtype)
        if wanted == BOOL:
            values = self._each(wanted, lambda text: _TRUTH[text.lower()])
        elif is_integer(wanted):
            values = self._each(wanted, _integer)
            limits = np.iinfo(wanted)
            self._require_fit(wanted, [limits.min <= each <= limits.max for each in values])
        elif is_floating(wanted):
            values = self._each(wanted, _float)
            with np.errstate(over="ignore"):
                array = np.array(values, np.float64).astype(wanted)
            self._require_fit(wanted, np.isinf(array) <= np.isinf(values))
            return array
        else:
            raise DTypeError(f"{self.path}: a column cannot be {wanted.name}")
        return np.array(values, wanted)

    def _each(self, dtype: DType, convert: Callable[[str], float]) -> list[float]:
        values = []
        for index, text in enumerate(map(str.strip, self.fields)):
            try:
                values.append(convert(text))
            except (KeyError, ValueError):
                if text not in self.missing:
                    raise ArgumentError(
                        f"{self._place(index)}: {self.fields[index]!r} is no {dtype.name}"
                    ) from None
                if not is_floating(dtype):
                    raise ArgumentError(
                        f"{self._place(index)}: a {dtype.name} is missing",
                        hint=f"dtypes={{{self.name!r}: 'float32'}} makes it NaN",
                    ) from None
                values.append(math.nan)
        return values

    def _require_fit(self, dtype: DType, fits: Sequence[Any] | Array) -> None:
        if not all(fits):
            index = [bool(each) for each in fits].index(False)
            raise ArgumentError(
                f"{self._place(index)}: {self.fields[index]!r} does not fit {dtype.name}",
                hint=f"dtypes={{{self.name!r}: ...}} takes a wider one, or str",
            )

    def _place(self, index: int) -> str:
        return f"{self.path}:{self.lines[index]}, column {self.number} ({self.name!r})"


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError  # int takes underscores and the digits of all scripts
    return int(text)


def _float(text: str) -> float:
    if not _FLOAT.fullmatch(text):
        raise ValueError
    return float(text)
