"""Derivatives of functions: what takes nodes may be given a function of nodes instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from graphnn.core.errors import ArgumentError
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.structure import flatten, unflatten
from graphnn.ops.leaves import input_like
from graphnn.ops.operands import as_node

__all__ = ["of_functions_too"]

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class OfFunctionsToo(Protocol[P, R]):
    """A derivative of nodes, and of functions of nodes."""

    @overload
    def __call__(
        self,
        f: Callable[..., Any],
        wrt: int | Sequence[int] = 0,
        /,
        *,
        has_aux: bool = False,
        allow_unused: bool = False,
    ) -> Callable[..., Any]: ...

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...


def of_functions_too(derivative: Callable[P, R]) -> OfFunctionsToo[P, R]:
    """Decorator for a derivative ``(outputs, wrt)`` of nodes.

    Given a function for ``outputs`` and positions of its arguments for ``wrt`` (default 0), it
    gives the function of the same arguments whose result is the derivative. With ``has_aux`` that
    function gives a pair: what is derived, and anything else, which is handed on beside the
    derivative (beside the value, where the derivative comes with it).
    """
    what = derivative.__name__

    @wraps(derivative)
    def either(*args: Any, **options: Any) -> Any:
        if not (args and callable(args[0])):
            return derivative(*args, **options)
        return _of_function(what, derivative, *args, **options)

    return either


def _of_function(
    what: str,
    derivative: Callable[..., Any],
    f: Callable[..., Any],
    wrt: Any = 0,
    *,
    has_aux: bool = False,
    **options: Any,
) -> Callable[..., Any]:
    """The function whose result is the derivative of ``f``."""

    @wraps(f)
    def derived(*args: Any, **kwargs: Any) -> Any:
        positions = _positions(what, wrt, len(args), kwargs)
        # Symbols stand for the arguments, for two of them may be one node.
        given = [as_node(leaf) for leaf in flatten([args[each] for each in positions])]
        symbols = [input_like(each.name or "argument", each.tensor) for each in given]
        chosen = unflatten([args[each] for each in positions], list(symbols))
        moved = dict(zip(positions, chosen, strict=True))
        value = f(*(moved.get(i, each) for i, each in enumerate(args)), **kwargs)
        value, aux = _value_and_aux(what, f, value) if has_aux else (value, None)
        found = derivative(value, tuple(chosen) if _is_several(wrt) else chosen[0], **options)
        if has_aux:
            found = ((value, aux), found[1]) if what == "value_and_grad" else (found, aux)
        return _substituted(found, symbols, given)

    return derived


def _value_and_aux(what: str, f: Callable[..., Any], value: Any) -> tuple[Any, Any]:
    """What is derived and what is handed on."""
    if not isinstance(value, tuple) or len(value) != 2:
        raise ArgumentError(
            f"{what}: with has_aux=True, {getattr(f, '__name__', f)} gives a pair, not {value!r}",
            hint="return loss, aux",
        )
    return value


def _is_several(wrt: Any) -> bool:
    return isinstance(wrt, tuple | list)


def _positions(what: str, wrt: Any, count: int, kwargs: Mapping[str, Any]) -> list[int]:
    """Positions of arguments, from one or several."""
    positions = list(wrt) if _is_several(wrt) else [wrt]
    for each in positions:
        if isinstance(each, bool) or not isinstance(each, int) or not -count <= each < count:
            raise ArgumentError(
                f"{what}: {each!r} is not the position of one of {count} arguments",
                hint=f"give {', '.join(kwargs)} by position, not by keyword"
                if kwargs
                else f"gn.{what}(f, 0) derives by the first argument of f",
            )
    return [each % count for each in positions]


def _substituted(tree: Any, symbols: Sequence[Node], nodes: Sequence[Node]) -> Any:
    """A nested structure of nodes with nodes put in for symbols."""
    leaves = flatten(tree)
    graph = Graph((), tuple(each for each in leaves if isinstance(each, Node)))
    replaced = iter(graph.substitute(dict(zip(symbols, nodes, strict=True))).outputs)
    return unflatten(tree, [next(replaced) if isinstance(each, Node) else each for each in leaves])
