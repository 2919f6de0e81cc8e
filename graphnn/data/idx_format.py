"""Reading ``.idx`` files, in which MNIST and its relatives are published."""

from __future__ import annotations

import gzip
import zlib
from os import PathLike
from pathlib import Path

import numpy as np

from graphnn.core.errors import ArgumentError
from graphnn.core.op import Array
from graphnn.data.raw_values import DEFLATE_RATIO, Readable, read_values

__all__ = ["read_idx"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | PathLike[str]) -> Array:
    """The array in an IDX file, compressed with gzip or not.

    Source of the format: Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten
    digits: two zero bytes, one that tells the dtype, one the number of axes; their sizes, of four
    bytes each; the values. The most significant byte comes first.

    Parameters
    ----------
    path : path
        Such as ``train-images-idx3-ubyte`` or ``train-images-idx3-ubyte.gz``. What is compressed
        is known by its first bytes, not by its name.

    Returns
    -------
    array
        uint8, int8, int16, int32, float32 or float64, in the byte order of this machine. Pictures
        of MNIST have the shape (samples, 28, 28) and values from 0 to 255.

    Raises
    ------
    ArgumentError
        If it is no IDX file, or longer or shorter than its head tells. No more memory is taken
        than the file has values.

    Examples
    --------
    >>> from pathlib import Path
    >>> import graphnn as gn
    >>> head = bytes([0, 0, 0x08, 2, 0, 0, 0, 2, 0, 0, 0, 3])
    >>> _ = Path("small-idx2-ubyte").write_bytes(head + bytes([1, 2, 3, 4, 5, 6]))
    >>> gn.data.read_idx("small-idx2-ubyte")
    array([[1, 2, 3],
           [4, 5, 6]], dtype=uint8)
    """
    path = Path(path)
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            return _read(path, file, path.stat().st_size)
        try:
            with gzip.open(file) as unpacked:
                return _read(path, unpacked, path.stat().st_size * DEFLATE_RATIO)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ArgumentError(f"{path}: damaged: {error}") from None


def _read(path: Path, file: Readable, most: int) -> Array:
    """An array from a file that has no more bytes than ``most``."""
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES:
        raise ArgumentError(
            f"{path}: no IDX file: it begins with {head.hex(' ') or 'nothing'}",
            hint="the first bytes are 00 00, one of 08 09 0b 0c 0d 0e, and the number of axes",
        )
    dtype, axes = np.dtype(_DTYPES[head[2]]), head[3]
    sizes = file.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise ArgumentError(f"{path}: it ends within the sizes of its {axes} axes")
    shape = tuple(map(int, np.frombuffer(sizes, ">u4")))
    return read_values(str(path), file, dtype, shape, most=most)
