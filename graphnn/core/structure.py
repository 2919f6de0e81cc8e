"""Nested containers of leaves: how arguments are taken apart and results keep their structure.

Containers are dicts, lists, tuples, NamedTuples and instances of dataclasses. ``None`` has no
leaves, so an absent output stays absent. Anything else is a leaf.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any

from graphnn.core.dims import Dim
from graphnn.core.dtypes import as_dtype
from graphnn.core.spec import TensorSpec

__all__ = [
    "flatten",
    "flatten_like",
    "form_text",
    "leaf_paths",
    "map_leaves",
    "outline",
    "parts",
    "unflatten",
]


def parts(tree: Any) -> dict[Any, Any] | None:
    """What a container holds, by key, index or name of field; None for a leaf."""
    if isinstance(tree, dict):
        return tree
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return dict(zip(tree._fields, tree, strict=True))
    if isinstance(tree, list | tuple):
        return dict(enumerate(tree))
    if tree is None:
        return {}
    if is_dataclass(tree) and not isinstance(tree, type | TensorSpec | Dim):
        return {field.name: getattr(tree, field.name) for field in fields(tree)}
    return None


def _with_parts(tree: Any, values: list[Any]) -> Any:
    """The same container with other parts, in order."""
    if isinstance(tree, dict):
        filled = copy(tree)  # also of an OrderedDict or defaultdict
        filled.update(zip(tree, values, strict=True))
        return filled
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*values)
    if isinstance(tree, list | tuple):
        return type(tree)(values)
    if tree is None:
        return None
    # Not by its constructor: that may look at values, and nodes have none.
    made = copy(tree)
    for field, value in zip(fields(tree), values, strict=True):
        object.__setattr__(made, field.name, value)
    return made


def flatten(tree: Any) -> list[Any]:
    """The leaves of nested containers, in order."""
    inside = parts(tree)
    if inside is None:
        return [tree]
    return [leaf for value in inside.values() for leaf in flatten(value)]


def unflatten(tree: Any, leaves: Iterable[Any]) -> Any:
    """The same structure as ``tree`` with other leaves."""
    remaining = iter(leaves)
    return map_leaves(lambda _: next(remaining), tree)


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same structure with ``function(leaf)`` in place of every leaf."""
    inside = parts(tree)
    if inside is None:
        return function(tree)
    return _with_parts(tree, [map_leaves(function, value) for value in inside.values()])


def leaf_paths(tree: Any, path: str = "") -> Iterator[str]:
    """For every leaf how to get there, such as ``layers.0.weight``; in order."""
    inside = parts(tree)
    if inside is None:
        yield path
        return
    for name, value in inside.items():
        yield from leaf_paths(value, f"{path}.{name}" if path else str(name))


def outline(tree: Any) -> Hashable:
    """The structure without its leaves, to compare and to look up by."""
    inside = parts(tree)
    if inside is None:
        return None
    return (type(tree), tuple(inside), tuple(map(outline, inside.values())))


def flatten_like(pattern: Any, tree: Any) -> list[Any]:
    """What lies in ``tree`` at the places of the leaves of ``pattern``.

    Raises
    ------
    ValueError
        If the containers of ``pattern`` are not in ``tree``.
    """
    expected = parts(pattern)
    if expected is None:
        return [tree]
    found = parts(tree)
    if found is None or found.keys() != expected.keys():
        is_named = isinstance(pattern, dict) or not isinstance(next(iter(expected), 0), int)
        inside = ", ".join(map(repr, expected)) if is_named else str(len(expected))
        raise ValueError(f"{tree!r} in place of a {type(pattern).__name__} of {inside}")
    return [leaf for name, value in expected.items() for leaf in flatten_like(value, found[name])]


def form_text(tree: Any) -> str:
    """A structure for messages: its containers, and shape and dtype of its leaves.

    Examples
    --------
    >>> import numpy as np
    >>> from graphnn.core.structure import form_text
    >>> form_text((np.zeros((2, 3)), {"c": 1}))
    '(f64[2, 3], {c: 1})'
    """
    inside = parts(tree)
    if inside is None:
        spec = getattr(tree, "spec", None)
        if spec is None and hasattr(tree, "shape") and hasattr(tree, "dtype"):
            spec = TensorSpec(tuple(map(int, tree.shape)), as_dtype(tree.dtype))
        return reprlib.repr(tree) if spec is None else str(spec)
    if tree is None:
        return "None"
    texts = [form_text(value) for value in inside.values()]
    if isinstance(tree, list):
        return f"[{', '.join(texts)}]"
    if isinstance(tree, tuple) and not hasattr(tree, "_fields"):
        return f"({', '.join(texts)}{',' * (len(texts) == 1)})"
    named = ", ".join(f"{name}: {text}" for name, text in zip(inside, texts, strict=True))
    return f"{{{named}}}" if isinstance(tree, dict) else f"{type(tree).__name__}({named})"
