"""Reading ``.npz`` files, the archives of arrays that ``numpy.savez`` writes."""

from __future__ import annotations

import ast
import re
import zipfile
import zlib
from os import PathLike
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from graphnn.core.errors import ArgumentError
from graphnn.core.op import Array
from graphnn.data.raw_values import DEFLATE_RATIO, Readable, read_values

__all__ = ["read_npz"]

_LONGEST_HEAD = 10_000
# What zipfile raises for archives that are none, or were changed; the file itself is open by then.
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    UnicodeDecodeError,
)
_DTYPE = re.compile(r"[<>|=]?[biufcSUMm]\d{1,9}(\[\w{1,9}\])?")


def read_npz(path: str | PathLike[str]) -> dict[str, Array]:
    """The arrays in an ``.npz`` file, by name.

    Python objects are not read: a file that has them could run code.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str to array
        In the order of the file; numbers, truth values, strings and times, as they were saved.

    Raises
    ------
    ArgumentError
        If it is no such file, is damaged or cut off, or an array is of Python objects or tells
        another size than it has. No more memory is taken than the file has values.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> np.savez_compressed("small.npz", x=np.eye(2), y=np.arange(3))
    >>> {name: array.shape for name, array in gn.data.read_npz("small.npz").items()}
    {'x': (2, 2), 'y': (3,)}
    """
    path = Path(path)
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _arrays(path, archive)
        except _DAMAGES as error:
            raise ArgumentError(f"{path}: no .npz file, or damaged: {error}") from None


def _arrays(path: Path, archive: zipfile.ZipFile) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in arrays:
            raise ArgumentError(f"{path}: two arrays are named {name!r}")
        arrays[name] = _array(f"{path}, array {name!r}", archive, member)
    return arrays


def _array(place: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArgumentError(f"{place}: compressed in a way that NumPy does not use")
    most = min(member.file_size, member.compress_size * DEFLATE_RATIO)
    with archive.open(member) as file:
        head = _head(place, file)
        dtype, shape = _dtype(place, head["descr"]), head["shape"]
        return read_values(place, file, dtype, shape, most=most, is_fortran=head["fortran_order"])


def _head(place: str, file: Readable) -> dict[str, Any]:
    """What an array begins with: a mark, a version, and a dict in Python's notation."""
    mark = file.read(8)
    width = {1: 2, 2: 4, 3: 4}.get(mark[6]) if len(mark) == 8 else None
    if mark[:6] != b"\x93NUMPY" or width is None:
        raise ArgumentError(f"{place}: no array: it begins with {mark.hex(' ') or 'nothing'}")
    length = int.from_bytes(file.read(width), "little")
    if length > _LONGEST_HEAD:
        raise ArgumentError(f"{place}: damaged: a head of {length:,} bytes")
    try:
        head = ast.literal_eval(file.read(length).decode())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ArgumentError(f"{place}: damaged: its head cannot be read: {error}") from None
    if not _is_head(head):
        raise ArgumentError(f"{place}: damaged: its head is {head!r}")
    return head


def _is_head(head: Any) -> TypeGuard[dict[str, Any]]:
    if not isinstance(head, dict) or set(head) != {"descr", "fortran_order", "shape"}:
        return False
    shape = head["shape"]
    return isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)


def _dtype(place: str, described: Any) -> np.dtype[Any]:
    if isinstance(described, str) and "O" in described:
        raise ArgumentError(
            f"{place}: it holds Python objects, which are not read: they could run code",
            hint="save arrays of numbers or strings",
        )
    if not isinstance(described, str) or not _DTYPE.fullmatch(described):
        raise ArgumentError(
            f"{place}: only numbers, truth values, strings and times are read, not {described!r}"
        )
    try:
        return np.dtype(described)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{place}: {error}") from None
