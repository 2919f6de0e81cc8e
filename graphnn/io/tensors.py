"""Named arrays and texts as the bytes of a safetensors file, each with its SHA-256.

The checksums stand in the file's metadata, where other readers of safetensors pass over them.
Dtypes that safetensors does not know are stored as what they consist of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors import SafetensorError
from safetensors.numpy import save

from graphnn.core.dtypes import BFLOAT16, COMPLEX128, FLOAT64, DType
from graphnn.core.errors import ArgumentError
from graphnn.core.op import Array
from graphnn.io.files import DamagedError

__all__ = ["Decoded", "decode", "encode", "holds_tensors", "storable"]

_CHECKSUMS, _AS_PAIRS = "sha256", "complex128"
"""Keys of the metadata that are this module's own."""

_DTYPES: dict[str, DType] = {
    "BOOL": np.dtype(np.bool_),
    "BF16": BFLOAT16,
    **{f"I{n}": np.dtype(f"<i{n // 8}") for n in (8, 16, 32, 64)},
    **{f"U{n}": np.dtype(f"<u{n // 8}") for n in (8, 16, 32, 64)},
    **{f"F{n}": np.dtype(f"<f{n // 8}") for n in (16, 32, 64)},
    "C64": np.dtype("<c8"),
}
"""What safetensors calls the dtypes that arrays have."""

_deserialize: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = safetensors.deserialize


def storable(name: str, value: Any) -> Array:
    """A value as an array that can be stored, in native byte order.

    Raises
    ------
    ArgumentError
        If it is none.
    """
    array = np.asarray(value)
    dtype = array.dtype.newbyteorder("=")
    if dtype not in {*_DTYPES.values(), COMPLEX128}:
        raise ArgumentError(
            f"{name}: an array of {dtype} cannot be saved",
            hint=f"one of {', '.join(each.name for each in _DTYPES.values())}, complex128",
        )
    return array.astype(dtype, copy=False)


@dataclass(frozen=True)
class Decoded:
    """What a safetensors file holds.

    Attributes
    ----------
    tensors : dict of str to array
    texts : dict of str to str
        The rest of the metadata.
    is_checked : bool
        Whether there were checksums, which then are right.
    """

    tensors: dict[str, Array]
    texts: dict[str, str]
    is_checked: bool


def encode(tensors: Mapping[str, Array], texts: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file with these arrays, and with texts in its metadata."""
    checksums = {
        "tensors": {name: _checksum(array) for name, array in tensors.items()},
        "texts": {name: _text_checksum(text) for name, text in texts.items()},
    }
    pairs = [name for name, array in tensors.items() if array.dtype == COMPLEX128]
    metadata = {**texts, _CHECKSUMS: json.dumps(checksums)}
    if pairs:
        metadata[_AS_PAIRS] = json.dumps(pairs)
    stored = {name: _plain(array) for name, array in tensors.items()}
    return save(stored, metadata)


def decode(what: str, content: bytes) -> Decoded:
    """What the bytes of a safetensors file hold.

    Parameters
    ----------
    what : str
        Where they come from, for errors.

    Raises
    ------
    DamagedError
        If it is no such file, or one that was changed.
    """
    try:
        # All sizes are compared with that of the content before anything is allocated.
        found = dict(_deserialize(content))
        metadata = _metadata(content)
        checksums = json.loads(metadata.pop(_CHECKSUMS, "null"))
        pairs = json.loads(metadata.pop(_AS_PAIRS, "[]"))
        tensors = {name: _array(view, name in pairs) for name, view in found.items()}
    except SafetensorError as error:
        raise DamagedError(f"{what} is no whole safetensors file: {error}") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedError(f"{what} is no file that graphnn can read: {error}") from None
    if checksums is not None:
        actual = {
            "tensors": {name: _checksum(array) for name, array in tensors.items()},
            "texts": {name: _text_checksum(text) for name, text in metadata.items()},
        }
        wrong = _differences(checksums, actual)
        if wrong:
            raise DamagedError(
                f"{what} was changed: the checksums of {', '.join(wrong)} are not right"
            )
    return Decoded(tensors, metadata, checksums is not None)


def holds_tensors(path: Path) -> bool:
    """Whether a file begins like one of safetensors: the length of a header, and the header."""
    try:
        with open(path, "rb") as file:
            begin = file.read(9)
    except OSError:
        return False
    return len(begin) == 9 and begin[6:] == b"\0\0{"


def _metadata(content: bytes) -> dict[str, str]:
    # deserialize gives tensors alone. Here it has looked at the length of the header already.
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    return dict(header.get("__metadata__", {}))


def _plain(array: Array) -> Array:
    """An array of a dtype that safetensors knows, contiguous."""
    whole = np.asarray(array, order="C")
    if whole.dtype == COMPLEX128:
        return whole.reshape(-1).view(FLOAT64).reshape(*whole.shape, 2)
    return whole


def _array(view: Mapping[str, Any], is_pairs: bool) -> Array:
    if view["dtype"] not in _DTYPES:
        raise ValueError(f"dtype {view['dtype']} is not supported")
    flat, shape = np.frombuffer(view["data"], _DTYPES[view["dtype"]]), view["shape"]
    return flat.view(COMPLEX128).reshape(shape[:-1]) if is_pairs else flat.reshape(shape)


def _checksum(array: Array) -> str:
    """Of shape, dtype and bytes: a header that was changed is as bad as changed values."""
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    digest = hashlib.sha256(f"{array.dtype.name} {list(array.shape)} ".encode())
    digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _text_checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _differences(one: Any, other: dict[str, dict[str, str]]) -> list[str]:
    """Names under which two tables of checksums differ."""
    if not isinstance(one, dict) or not all(isinstance(each, dict) for each in one.values()):
        return ["all"]
    return sorted(
        name
        for kind, own in other.items()
        for name in {*own, *one.get(kind, {})}
        if one.get(kind, {}).get(name) != own.get(name)
    )
