"""States as trees: what checkpoints hold is taken apart into arrays and JSON, and put together.

A tree is an array, a number, a string, None, a list of trees, or a dict of trees by strings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from graphnn.core.errors import ArgumentError
from graphnn.core.op import Array
from graphnn.io.tensors import storable

__all__ = ["Tree", "pack", "unpack"]

Tree: TypeAlias = Any

_TENSOR, _FLOAT = "$tensor", "$float"
"""Keys of what stands in JSON for an array, and for a float that JSON does not know."""


def pack(tree: Tree, name: str, tensors: dict[str, Array]) -> Any:
    """What JSON can say of a tree; its arrays are added to ``tensors`` under their paths.

    Parameters
    ----------
    tree : tree
    name : str
        Path of the tree.
    tensors : dict of str to array
        Added to.

    Raises
    ------
    ArgumentError
        Naming the place of what is no tree.
    """
    if tree is None or isinstance(tree, str | bool | int):
        return tree
    if isinstance(tree, float):
        return float(tree) if math.isfinite(tree) else {_FLOAT: str(float(tree))}
    if isinstance(tree, np.ndarray | np.generic):
        return {_TENSOR: _add(tree, name, tensors)}
    if isinstance(tree, Mapping):
        for key in tree:
            if not isinstance(key, str) or key.startswith("$"):
                raise ArgumentError(
                    f"{name}: the key {key!r} cannot be saved",
                    hint="keys are strings that do not begin with $",
                )
        return {key: pack(value, f"{name}.{key}", tensors) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [pack(value, f"{name}.{number}", tensors) for number, value in enumerate(tree)]
    raise ArgumentError(
        f"{name}: {tree!r} cannot be saved",
        hint="arrays, numbers, strings, None, lists and dicts can, and what has a state_dict",
    )


def _add(value: Any, name: str, tensors: dict[str, Array]) -> str:
    """The name under which an array was added: another one if its path is taken."""
    array = storable(name, value)
    while name in tensors:  # "a.b" in a dict, beside "b" in a dict "a"
        name += "'"
    tensors[name] = array
    return name


def unpack(packed: Any, tensors: Mapping[str, Array]) -> Tree:
    """The tree that was packed; tuples have become lists.

    Raises
    ------
    KeyError
        If an array is not there.
    """
    if isinstance(packed, list):
        return [unpack(each, tensors) for each in packed]
    if not isinstance(packed, dict):
        return packed
    if _TENSOR in packed:
        return tensors[packed[_TENSOR]]
    if _FLOAT in packed:
        return float(packed[_FLOAT])
    return {key: unpack(value, tensors) for key, value in packed.items()}
