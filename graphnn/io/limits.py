"""What a graph in a file may be at most: far more than any graph needs, and little enough to read.

A few lines of a file can ask for far more than they take: sizes that are squared by every node, or
bodies that hold the next one twice. They are refused where they are read, before anything is
computed with them; and where they are written, so that what is saved can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from graphnn.core.dims import Dim
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec, TupleSpec
from graphnn.io.files import DamagedError

__all__ = ["Opened", "check_integer", "check_size", "check_spec", "check_texts"]

MOST_AXES = 64
"""As many as arrays of NumPy may have."""
MOST_ELEMENTS = 2**60
MOST_TERMS = 100
"""Of a size that depends on named dimensions, and names in one term of it."""
MOST_LINES = 100
"""That have built one node."""
MOST_CHARACTERS = 1_000_000
"""Of all texts of one node; a gradient of very many weights has the names of all."""
MOST_LEVELS = 100
"""Of scopes, and of bodies within bodies."""
MOST_OPENED = 100_000
"""Nodes within one, in its bodies and in theirs, as many times as they are held."""


def check_integer(value: int) -> None:
    """Refuse a number that no attribute needs: powers of it would fill the memory."""
    if abs(value) >= 2**64:
        raise DamagedError("it has a number of more than 64 bits")


def check_texts(said: Mapping[str, Any]) -> None:
    """Refuse too many lines, scopes that are too deep, and names that are too long."""
    lines = said["lines"]
    if len(lines) > MOST_LINES:
        raise DamagedError(f"{len(lines):,} lines have built it: {MOST_LINES} are possible")
    texts = [said["scope"], said["by"], *said["names"], *said["gradient_of"]]
    texts += [each for path, _, function in lines for each in (path, function)]
    if sum(map(len, texts)) > MOST_CHARACTERS:
        raise DamagedError(f"its names and lines have more than {MOST_CHARACTERS:,} characters")
    if said["scope"].count("/") >= MOST_LEVELS:
        raise DamagedError(f"it is in scopes of more than {MOST_LEVELS} levels")


def check_size(terms: Any) -> None:
    """Refuse a size of very many terms, or of very many names in one."""
    if len(terms) > MOST_TERMS or any(len(atoms) > MOST_TERMS for atoms, _ in terms):
        raise DamagedError(f"a size of more than {MOST_TERMS} terms")


def check_spec(spec: TensorSpec | TupleSpec) -> None:
    """Refuse what no array can be."""
    if isinstance(spec, TupleSpec):
        for each in spec.elements:
            check_spec(each)
        return
    if len(spec.shape) > MOST_AXES:
        raise DamagedError(f"an array of {len(spec.shape):,} axes: {MOST_AXES} are possible")
    known = [each for each in spec.shape if not isinstance(each, Dim)]
    if any(each < 0 for each in known):
        raise DamagedError(f"an array of {spec.shape} elements")
    # One empty axis makes all empty, but its other sizes are computed with all the same.
    if prod(max(each, 1) for each in known) > MOST_ELEMENTS:
        raise DamagedError("an array of more than 2**60 elements")


class Opened:
    """Counts the nodes that a graph has when all of its bodies are opened."""

    def __init__(self) -> None:
        self._sizes: dict[Node, tuple[int, int]] = {}  # nodes within, and levels

    def note(self, node: Node) -> None:
        """A node is made, after those in its bodies.

        Raises
        ------
        DamagedError
            If bodies are nested too deeply, or hold too much.
        """
        count, levels = 1, 0
        for name in node.op.body_attrs:
            inside = [self._sizes.get(each, (1, 0)) for each in node.attrs[name].nodes]
            count += sum(each for each, _ in inside)
            levels = max(levels, 1 + max((each for _, each in inside), default=0))
        if levels > MOST_LEVELS or count > MOST_OPENED:
            raise DamagedError(
                f"bodies with {count:,} nodes in {levels} levels: {MOST_OPENED:,} in {MOST_LEVELS} "
                "are possible"
            )
        if levels:
            self._sizes[node] = count, levels
