"""Nested dicts, lists and tuples of leaves: how results keep the structure they were asked in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["flatten", "unflatten"]


def flatten(tree: Any) -> list[Any]:
    """The leaves of nested dicts, lists and tuples, in order.

    ``None`` has no leaves, so an absent output stays absent.
    """
    if tree is None:
        return []
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in flatten(value)]
    if isinstance(tree, list | tuple):
        return [leaf for value in tree for leaf in flatten(value)]
    return [tree]


def unflatten(tree: Any, leaves: list[Any]) -> Any:
    """The same structure as ``tree`` with other leaves."""
    return _rebuild(tree, iter(leaves))


def _rebuild(tree: Any, leaves: Iterator[Any]) -> Any:
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {key: _rebuild(value, leaves) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_rebuild(value, leaves) for value in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(_rebuild(value, leaves) for value in tree)
    return next(leaves)
