"""Weights alone, as plain safetensors files that other programs read and write as well."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from graphnn.core.op import Array
from graphnn.io.files import read, write
from graphnn.io.tensors import decode, encode, storable

__all__ = ["load_weights", "save_weights"]


def save_weights(path: str | PathLike[str], state: Mapping[str, Any]) -> None:
    """Write arrays by name as a safetensors file, with checksums in its metadata.

    The file is whole or not there, whatever happens. What it replaces is not kept.

    Parameters
    ----------
    path : path
    state : mapping of str to array_like
        Such as ``model.state_dict()``.

    Raises
    ------
    CheckpointError
        If the file cannot be written.
    ArgumentError
        If a value is no array of numbers.

    Examples
    --------
    >>> import graphnn as gn
    >>> model = gn.nn.Dense(3, 2)
    >>> gn.io.save_weights("model.safetensors", model.state_dict())
    >>> model.load_state_dict(gn.io.load_weights("model.safetensors"))
    Unmatched(missing=[], unexpected=[])
    """
    tensors = {name: storable(name, value) for name, value in state.items()}
    write(Path(path), encode(tensors, {}), keep_previous=False)


def load_weights(path: str | PathLike[str]) -> dict[str, Array]:
    """The arrays of a safetensors file by name, checked if graphnn has written it.

    Parameters
    ----------
    path : path

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.io.save_weights("model.safetensors", {"w": [1.0, 2.0]})
    >>> gn.io.load_weights("model.safetensors")
    {'w': array([1., 2.])}
    """
    return decode(str(path), read(Path(path))).tensors
