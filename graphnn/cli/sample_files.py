"""Samples from a user's files: tables, arrays, pictures in IDX files, series in ``.ts`` files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from graphnn.cli.samples import DATA_SETS, Samples
from graphnn.cli.table import Column, columns_of, numbers_of, read_table
from graphnn.core.arguments import require_known
from graphnn.core.errors import ArgumentError
from graphnn.core.op import Array
from graphnn.data.idx_format import read_idx
from graphnn.data.npz_format import read_npz
from graphnn.data.sequences import pad_sequences
from graphnn.data.ts_format import read_ts

__all__ = ["Source", "read_samples"]

MOST_CLASSES = 100
"""Different integers up to which they are taken for classes."""

FILES_HINT = (
    "files are .csv tables, .npz arrays x and y, .ts series, or two IDX files, of pictures and of "
    "labels; known by name: " + ", ".join(DATA_SETS)
)


@dataclass(frozen=True)
class Source:
    """Where samples come from, as the command line says it.

    Attributes
    ----------
    files : tuple of str
        The name of a data set, or one or two paths.
    target : str, optional
        The column of a table that is to be predicted; by default the last one.
    task : {"classification", "regression"}, optional
        By default integers and words are classes, other numbers are values.
    drop : tuple of str
        Columns to leave out.
    shape : tuple of int, optional
        Of each sample, such as (28, 28) for pictures that stand in rows.
    delimiter : str
        What stands between the fields of a table.
    columns : tuple of dict, optional
        How a table becomes numbers, as in training. Given to predict: then no target is read.
    """

    files: tuple[str, ...]
    target: str | None = None
    task: str | None = None
    drop: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None
    delimiter: str = ","
    columns: tuple[Column, ...] | None = None

    @property
    def is_known(self) -> bool:
        """Whether it is a data set by name."""
        return len(self.files) == 1 and self.files[0] in DATA_SETS

    def absolute(self) -> Source:
        """The same, found from any folder."""
        if self.is_known:
            return self
        return replace(self, files=tuple(str(Path(each).resolve()) for each in self.files))

    @property
    def with_targets(self) -> bool:
        """Whether it is learned from, and not predicted."""
        return self.columns is None


Raw = tuple[Array, Any, Array | None]
"""Inputs, targets as they stand in the file or None, and lengths."""


def read_samples(source: Source) -> Samples:
    """All samples of a data set or of files.

    Raises
    ------
    ArgumentError
        If it is neither, or the files do not hold what is needed.
    """
    if source.is_known:
        return _known(source)
    paths = [Path(each) for each in source.files]
    for path in paths:
        if not path.is_file():
            raise ArgumentError(
                f"there is no data set and no file {str(path)!r}", hint=FILES_HINT, where=""
            )
    suffix = paths[0].suffix.lower()
    if suffix == ".csv":
        samples = _table(paths[0], source)
    else:
        x, targets, lengths = _READERS.get(suffix, _idx)(paths, source.with_targets)
        samples = Samples(_numbers(paths[0], x), lengths=lengths)
        if source.with_targets:
            samples = _with_targets(paths[-1], samples, targets, source.task, "value")
    if source.shape is not None:
        samples = replace(samples, x=_shaped(paths[0], samples.x, source.shape))
    return samples


def _known(source: Source) -> Samples:
    given = {
        "--target": source.target,
        "--drop": source.drop,
        "--delimiter": source.delimiter != ",",
        "--task": source.task,
        "--shape": source.shape,
    }
    for option, value in given.items():
        if value and source.with_targets:
            raise ArgumentError(
                f"{option} is for files; the data set {source.files[0]!r} is complete", where=""
            )
    return DATA_SETS[source.files[0]][1]()


def _table(path: Path, source: Source) -> Samples:
    table = read_table(path, source.columns or (), source.delimiter)
    if source.columns is not None:
        # Of a network that was not trained on a table, no names are known: all columns, in order.
        return Samples(numbers_of(path, table, source.columns or columns_of(path, table, ())))
    target = source.target or list(table)[-1]
    require_known(str(path), "column", target, table)
    columns = columns_of(path, table, {target, *source.drop})
    samples = Samples(numbers_of(path, table, columns), columns=columns)
    return _with_targets(path, samples, table[target], source.task, target)


def _npz(paths: Sequence[Path], with_targets: bool) -> Raw:
    arrays = read_npz(paths[0])
    for name in ("x", "y") if with_targets else ("x",):
        if name not in arrays:
            raise ArgumentError(
                f"{paths[0]}: there is no array {name!r}, only "
                f"{', '.join(map(repr, arrays)) or 'nothing'}",
                hint="x holds the samples, y their classes or values, lengths, if it is there, "
                "the steps of padded sequences",
                where="",
            )
    x, lengths = arrays["x"], arrays.get("lengths")
    if lengths is not None:
        fit = lengths.dtype.kind in "iu" and lengths.shape == x.shape[:1] and x.ndim > 1
        if not fit or lengths.min(initial=1) < 1 or lengths.max(initial=0) > x.shape[1]:
            raise ArgumentError(
                f"{paths[0]}: lengths are one integer for each sample, from 1 to its steps",
                where="",
            )
        lengths = lengths.astype(np.int64)
    return x, arrays.get("y"), lengths


def _ts(paths: Sequence[Path], with_targets: bool) -> Raw:
    sequences, labels = read_ts(paths[0])
    x, lengths = pad_sequences(sequences, batch_first=True)
    return x, labels, None if np.all(lengths == x.shape[1]) else lengths


def _idx(paths: Sequence[Path], with_targets: bool) -> Raw:
    if with_targets and len(paths) != 2:
        raise ArgumentError(
            f"{paths[0]}: two IDX files are needed, of pictures and of labels",
            hint=f"--data {paths[0]} LABELS; {FILES_HINT}",
            where="",
        )
    return read_idx(paths[0]), read_idx(paths[1]) if with_targets else None, None


_READERS: Mapping[str, Callable[[Sequence[Path], bool], Raw]] = {".npz": _npz, ".ts": _ts}


# ------------------------------------------------------------------------------------- conversion


def _numbers(path: Path, x: Array) -> Array:
    """Inputs as float32."""
    if x.dtype.kind not in "biuf" or x.ndim < 2:
        raise ArgumentError(
            f"{path}: samples are numbers in an array of two axes or more, not {x.dtype} "
            f"of shape {x.shape}",
            where="",
        )
    numbers = x.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ArgumentError(f"{path}: some numbers are NaN or infinite", where="")
    return numbers


def _shaped(path: Path, x: Array, shape: tuple[int, ...]) -> Array:
    if int(np.prod(shape)) != int(np.prod(x.shape[1:])):
        raise ArgumentError(
            f"{path}: samples of {np.prod(x.shape[1:])} numbers cannot have the shape "
            f"{'x'.join(map(str, shape))}",
            where="",
        )
    return x.reshape(-1, *shape)


def _with_targets(path: Path, samples: Samples, given: Any, task: str | None, name: str) -> Samples:
    """Samples with what is to be predicted, as classes or as values."""
    targets = np.asarray(given)
    if len(targets) != len(samples):
        raise ArgumentError(f"{path}: {len(targets)} targets for {len(samples)} samples", where="")
    is_number = targets.dtype.kind in "biuf"
    default = "regression" if targets.dtype.kind == "f" else "classification"
    if (task or default) == "classification":
        classes, labels = np.unique(targets, return_inverse=True)
        if targets.dtype.kind == "f" or targets.ndim != 1:
            raise ArgumentError(
                f"{path}: classes are integers or words, not {targets.dtype} of shape "
                f"{targets.shape}",
                where="",
            )
        if is_number and task is None and len(classes) > MOST_CLASSES:
            raise ArgumentError(
                f"{path}: the target has {len(classes):,} different integers: too many to be "
                "taken for classes unasked",
                hint="--task regression, or --task classification",
                where="",
            )
        names = tuple(map(str, classes))
        return replace(samples, targets=labels.astype(np.int64), classes=names)
    if not is_number or targets.ndim > 2 or not np.isfinite(targets).all():
        raise ArgumentError(
            f"{path}: the values to predict are finite numbers, one or a row of them for each "
            f"sample, not {targets.dtype} of shape {targets.shape}"
            + (" with NaNs" if is_number and not np.isfinite(targets).all() else ""),
            hint="--task classification for classes",
            where="",
        )
    values = targets.astype(np.float32).reshape(len(targets), -1)
    count = values.shape[1]
    names = (name,) if count == 1 else tuple(f"{name}[{index}]" for index in range(count))
    return replace(samples, targets=values, values=names)
