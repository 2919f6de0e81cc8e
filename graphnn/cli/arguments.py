"""Types of arguments on the command line; argparse words what is wrong, and ends with 2."""

from __future__ import annotations

from argparse import ArgumentTypeError

__all__ = ["count", "delimiter", "positive", "shape", "share"]


def count(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def delimiter(text: str) -> str:
    """One character, or ``tab``."""
    text = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(text) != 1 or text in '"\n\r':
        raise ArgumentTypeError(f"{text!r} is no character that stands between fields")
    return text


def positive(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def share(text: str) -> float:
    """A number between 0 and 1."""
    value = positive(text)
    if value >= 1.0:
        raise ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return value


def shape(text: str) -> tuple[int, ...]:
    """Sizes between commas: ``28,28``."""
    return tuple(map(count, text.split(",")))
