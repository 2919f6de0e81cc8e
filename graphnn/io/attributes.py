"""Attributes of nodes as JSON, and back: what a file of a graph says beside which node reads which.

What JSON knows stands for itself, and a list for a tuple. Anything else is an object with one key
that says what it is: ``{"dtype": "float32"}``. Arrays are not in the JSON, but their names are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from graphnn.core.dims import Dim, FloorDiv, Size, as_size, product
from graphnn.core.dtypes import as_dtype
from graphnn.core.graph import Graph
from graphnn.core.literal import Literal
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.spec import TensorSpec
from graphnn.io.limits import check_integer, check_size, check_spec
from graphnn.ops.geometry import Window
from graphnn.ops.sparse import Pattern

__all__ = ["Reader", "Writer"]

_RECORDS: dict[str, type[Any]] = {each.__name__: each for each in (Window, Pattern)}
"""Dataclasses that attributes may be, by the name that a file calls them."""


class Writer:
    """From attributes to JSON.

    Parameters
    ----------
    numbers : mapping of Node to int
        Where nodes stand in the file, those in bodies too.
    arrays : dict of str to array
        Arrays are added to it.
    """

    def __init__(self, numbers: Mapping[Node, int], arrays: dict[str, Array]) -> None:
        self._numbers = numbers
        self._arrays = arrays

    def written(self, value: Any) -> Any:
        """What JSON says of a value.

        Raises
        ------
        TypeError
            If it is nothing that a file can hold, such as a function.
        DamagedError
            If it is larger than what is read.
        """
        if isinstance(value, int):
            check_integer(value)
        if value is None or isinstance(value, str | bool | int):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        if isinstance(value, complex):
            return {"complex": [self.written(value.real), self.written(value.imag)]}
        if isinstance(value, tuple):
            return [self.written(each) for each in value]
        if isinstance(value, np.dtype):
            return {"dtype": value.name}
        if isinstance(value, Dim):
            return {"dim": _terms(value)}
        if isinstance(value, TensorSpec):
            return {"spec": [self.written(value.shape), value.dtype.name, value.weak]}
        if isinstance(value, Literal):
            return {"array": self.added(value.array)}
        if isinstance(value, Graph):
            return {"graph": [self._listed(value.inputs), self._listed(value.outputs)]}
        name = type(value).__name__
        if _RECORDS.get(name) is type(value):
            return {name: [self.written(getattr(value, each.name)) for each in fields(value)]}
        raise TypeError(name)

    def added(self, array: Array) -> str:
        """The name under which an array is in the file from now on."""
        name = str(len(self._arrays))
        self._arrays[name] = array
        return name

    def _listed(self, nodes: Sequence[Node]) -> list[int]:
        return [self._numbers[each] for each in nodes]


def _atom(atom: str | FloorDiv) -> Any:
    """A name; or a quotient, as the terms of its numerator and its denominator."""
    if isinstance(atom, str):
        return atom
    return [_terms(atom.numerator), atom.denominator]


def _terms(size: Dim) -> list[Any]:
    """Names and a coefficient of every term."""
    check_size(size.terms)
    for _, number in size.terms:
        check_integer(number)
    return [[list(map(_atom, atoms)), number] for atoms, number in size.terms]


class Reader:
    """From JSON to attributes. What does not fit raises TypeError, ValueError or LookupError.

    Parameters
    ----------
    nodes : sequence of Node
        Those that are made already.
    arrays : mapping of str to array
    """

    def __init__(self, nodes: Sequence[Node], arrays: Mapping[str, Array]) -> None:
        self._nodes = nodes
        self._arrays = arrays
        self._kinds: dict[str, Callable[[Any], Any]] = {
            "float": float,
            "complex": lambda parts: complex(*map(self.read, parts)),
            "dtype": as_dtype,
            "dim": _size,
            "spec": self.spec,
            "array": lambda name: Literal(self._arrays[name]),
            "graph": lambda ends: Graph(*map(self.nodes, ends)),
        }

    def read(self, said: Any) -> Any:
        """The value that was written."""
        if isinstance(said, list):
            return tuple(map(self.read, said))
        if not isinstance(said, dict):
            if isinstance(said, int):
                check_integer(said)
            return said
        ((kind, content),) = said.items()
        if kind in _RECORDS:
            return _RECORDS[kind](*map(self.read, content))
        return self._kinds[kind](content)

    def spec(self, said: Any) -> TensorSpec:
        """A shape, a dtype, and whether it is weak."""
        shape, dtype, weak = said
        sizes = self.read(shape)
        if not all(isinstance(each, Dim) or _is_count(each) for each in sizes):
            raise ValueError(f"{shape} is no shape")
        spec = TensorSpec(sizes, as_dtype(dtype), bool(weak))
        check_spec(spec)
        return spec

    def nodes(self, numbers: Any) -> tuple[Node, ...]:
        """Nodes by their numbers: those before, so that nothing reads what reads it."""
        if not all(map(_is_count, numbers)):
            raise ValueError(f"{numbers} are no numbers of nodes")
        return tuple(self._nodes[each] for each in numbers)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _size(terms: Any) -> Size:
    """A size by its terms; computed, so that equal sizes are equal whoever wrote them."""
    total: Size = 0
    check_size(terms)
    for atoms, number in terms:
        if not isinstance(number, int):
            raise ValueError(f"{number} is no coefficient")
        check_integer(number)
        total = total + product([number, *map(_factor, atoms)])
    return total


def _factor(atom: Any) -> Size:
    if isinstance(atom, str):
        return as_size(atom)
    terms, denominator = atom
    return _size(terms) // int(denominator)
