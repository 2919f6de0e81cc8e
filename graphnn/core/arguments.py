"""Checks of what users pass to operations, layers, optimizers and training loops."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from graphnn.core.errors import ArgumentError

__all__ = [
    "options_of",
    "require_function",
    "require_known",
    "require_number",
    "require_positive",
]


def require_positive(what: str, **counts: Any) -> None:
    """Check that all are integers of at least 1.

    Raises
    ------
    ArgumentError
        Naming the first that is not.
    """
    for name, count in counts.items():
        is_integer = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if not is_integer or count < 1:
            raise ArgumentError(f"{what}: {name} must be a positive integer, not {count!r}")


def require_number(
    what: str, name: str, value: Any, below: float = math.inf, *, positive: bool = False
) -> float:
    """A finite number of at least 0, or above 0, as a float.

    Raises
    ------
    ArgumentError
        If it is no number, too small, not finite, or not below a bound.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ArgumentError(f"{what}: {name} must be a number, not {value!r}")
    if not 0 <= value < below or (positive and value == 0):
        least = "above 0" if positive else "0 or more"
        bound = f"{least}, and finite" if below == math.inf else f"from 0 to below {below:g}"
        raise ArgumentError(f"{what}: {name} is {value}, it must be {bound}")
    return float(value)


def require_known(what: str | None, word: str, given: Any, known: Iterable[Any]) -> None:
    """Check that one of a few words is given.

    Raises
    ------
    ArgumentError
        That says what there is, or of many words those that are near.
    """
    listed = list(known)
    if given in listed:
        return
    near = difflib.get_close_matches(str(given), [str(each) for each in listed], n=3, cutoff=0.5)
    shown = near if near and len(listed) > 6 else listed
    raise ArgumentError(
        f"{what}: no {word} {given!r}" if what else f"no {word} {given!r}",
        hint=f"there are {', '.join(map(repr, shown))}",
    )


def require_function(what: str, **functions: Any) -> None:
    """Check that all are functions from node to node, or layers.

    Raises
    ------
    ArgumentError
        Naming the first that is a class, or nothing to call.
    """
    for name, given in functions.items():
        if not callable(given) or isinstance(given, type):
            raise ArgumentError(
                f"{what}: {name} must be a function or a layer, not {given!r}",
                hint="such as gn.tanh, or gn.nn.Tanh()",
            )


def options_of(made: type) -> dict[str, Any]:
    """What a class takes by name, with what it hands on to its bases, and the defaults."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    options: dict[str, Any] = {}
    for maker in (vars(each)["__init__"] for each in made.__mro__ if "__init__" in vars(each)):
        found = inspect.signature(maker).parameters.values()
        for each in found:
            if each.kind in by_name and each.name != "self":
                options.setdefault(each.name, each.default)
        if not any(each.kind is each.VAR_KEYWORD for each in found):
            break
    return options
