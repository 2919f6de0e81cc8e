"""Derivatives of functions: what takes nodes may be given a function of nodes instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from graphnn.core.errors import ArgumentError
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.structure import flatten, unflatten
from graphnn.ops.contract import as_node
from graphnn.ops.leaves import input_like

__all__ = ["of_functions_too"]

F = TypeVar("F", bound=Callable[..., Any])


def of_functions_too(derivative: F) -> F:
    """Decorator for a derivative ``(outputs, wrt)`` of nodes.

    Given a function for ``outputs`` and positions of its arguments for ``wrt`` (default 0), it
    gives the function of the same arguments whose result is the derivative.
    """

    @wraps(derivative)
    def either(outputs: Any, wrt: Any = 0, **options: Any) -> Any:
        if not callable(outputs):
            return derivative(outputs, wrt, **options)

        @wraps(outputs)
        def derived(*args: Any, **kwargs: Any) -> Any:
            positions = _positions(derivative.__name__, wrt, len(args))
            # Symbols stand for the arguments, for two of them may be one node.
            given = [as_node(leaf) for leaf in flatten([args[each] for each in positions])]
            symbols = [input_like(each.name or "argument", each.tensor) for each in given]
            chosen = unflatten([args[each] for each in positions], list(symbols))
            moved = dict(zip(positions, chosen, strict=True))
            value = outputs(*(moved.get(i, each) for i, each in enumerate(args)), **kwargs)
            found = derivative(value, tuple(chosen) if _is_several(wrt) else chosen[0], **options)
            return _substituted(found, symbols, given)

        return derived

    return either  # type: ignore[return-value]


def _is_several(wrt: Any) -> bool:
    return isinstance(wrt, tuple | list)


def _positions(what: str, wrt: Any, count: int) -> list[int]:
    """Positions of arguments, from one or several."""
    positions = list(wrt) if _is_several(wrt) else [wrt]
    for each in positions:
        if isinstance(each, bool) or not isinstance(each, int) or not -count <= each < count:
            raise ArgumentError(
                f"{what}: {each!r} is not the position of one of {count} arguments",
                hint=f"gn.{what}(f, 0) derives by the first argument of f",
            )
    return [each % count for each in positions]


def _substituted(tree: Any, symbols: Sequence[Node], nodes: Sequence[Node]) -> Any:
    """A nested structure of nodes with nodes put in for symbols."""
    graph = Graph((), tuple(flatten(tree)))
    replaced = graph.substitute(dict(zip(symbols, nodes, strict=True)))
    return unflatten(tree, list(replaced.outputs))
