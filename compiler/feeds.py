"""Feeds: what a program is called with, as arrays of its inputs' dtypes and sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphnn.core.arrays import require_fit, to_numpy
from graphnn.core.dims import Dim
from graphnn.core.dtypes import is_inexact, is_integer
from graphnn.core.errors import DTypeError, FeedError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.provenance import provenance
from graphnn.core.spec import shape_text
from graphnn.ops.operands import is_weak

__all__ = ["Inputs"]

Adopt = Callable[[Any], Any | None]


class Inputs:
    """The inputs of a program, and how feeds fit them.

    Parameters
    ----------
    nodes : tuple of Node
    adopt : callable, optional
        Takes what is not on the host; see `graphnn.compiler.backends.ADOPTERS`.

    Attributes
    ----------
    nodes : tuple of Node
    names : list of str
        What feeds may be given by.
    dimensions : frozenset of str
        The named dimensions of their shapes.
    """

    def __init__(self, nodes: tuple[Node, ...], adopt: Adopt | None = None) -> None:
        self.nodes = nodes
        self._adopt = adopt
        self.names = [node.name or f"input{i}" for i, node in enumerate(nodes)]
        sizes = [size for node in nodes for size in node.shape if isinstance(size, Dim)]
        self.dimensions = frozenset(name for size in sizes for name in size.names)

    def take(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Array]:
        """What is fed, in order, as arrays of the inputs' dtypes and ranks."""
        feeds = self._arrange(args, kwargs)
        adopt = self._adopt
        return [_fed(*each, adopt) for each in zip(self.names, self.nodes, feeds, strict=True)]

    def bind(self, arrays: Sequence[Array]) -> dict[str, int]:
        """What the named dimensions are for these feeds."""
        sizes: dict[str, int] = {}
        bound_by: dict[str, str] = {}
        for name, node, array in zip(self.names, self.nodes, arrays, strict=True):
            for axis, (size, given) in enumerate(zip(node.shape, array.shape, strict=True)):
                if isinstance(size, Dim) and str(size) in size.names:
                    dimension = str(size)
                    if sizes.setdefault(dimension, given) != given:
                        raise FeedError(
                            f"dimension {dimension!r} is {sizes[dimension]} in "
                            f"{bound_by[dimension]} but {given} in {name!r} (axis {axis})",
                            where="",
                        )
                    bound_by.setdefault(dimension, f"{name!r}")
        for name, node, array in zip(self.names, self.nodes, arrays, strict=True):
            unbound = {n for s in node.shape if isinstance(s, Dim) for n in s.names} - sizes.keys()
            if unbound:
                raise FeedError(
                    f"{', '.join(sorted(unbound))} cannot be told from the feeds",
                    hint="let an input have that dimension by itself",
                    where="",
                )
            if node.tensor.bind(sizes).shape != array.shape:
                raise FeedError(
                    f"{name!r} must have shape {shape_text(node.shape)}, not {array.shape}",
                    where=provenance(node).where,
                )
        return sizes

    def _arrange(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """One value per input, in order."""
        if len(args) > len(self.names):
            raise FeedError(
                f"{len(self.names)} inputs, but {len(args)} feeds", where="", hint=self._hint()
            )
        given = dict(zip(self.names, args, strict=False))
        known = set(self.names) if kwargs else ()
        for name, value in kwargs.items():
            if name not in known:
                raise FeedError(f"there is no input {name!r}", where="", hint=self._hint())
            if name in given:
                raise FeedError(f"input {name!r} is fed twice", where="", hint=self._hint())
            given[name] = value
        missing = [name for name in self.names if name not in given]
        if missing:
            raise FeedError(
                f"nothing is fed to {', '.join(map(repr, missing))}", where="", hint=self._hint()
            )
        return [given[name] for name in self.names]

    def _hint(self) -> str:
        return f"call it as program({', '.join(self.names)})"


def _fed(name: str, node: Node, value: Any, adopt: Adopt | None) -> Array:
    """A feed as an array of the input's dtype and rank."""
    spec = node.tensor
    where = provenance(node).where
    if isinstance(value, Node):
        raise FeedError(f"{name!r} is fed a node; feed an array", where=where)
    is_python = is_weak(value) or isinstance(value, list | tuple)
    try:
        adopted = adopt(value) if adopt is not None else None
        array = to_numpy(value) if adopted is None else adopted
        if is_python:
            require_fit(array, spec.dtype)
    except DTypeError as error:
        raise FeedError(f"{name!r}: {error.what}", hint=error.hint, where=where) from None
    if array.ndim != spec.ndim or any(
        isinstance(size, int) and size != given
        for size, given in zip(spec.shape, array.shape, strict=True)
    ):
        raise FeedError(
            f"{name!r} must have shape {shape_text(spec.shape)}, not {array.shape}", where=where
        )
    if array.dtype != spec.dtype:
        lossless = is_integer(array.dtype) and (
            np.can_cast(array.dtype, spec.dtype) if is_integer(spec.dtype) else False
        )
        widths_only = is_python and (
            is_inexact(spec.dtype) or (is_integer(spec.dtype) and not is_inexact(array.dtype))
        )
        if not (lossless or widths_only):
            raise FeedError(
                f"{name!r} must be {spec.dtype.name}, not {array.dtype.name}",
                hint=f"convert it: {name}.astype({spec.dtype.name!r})",
                where=where,
            )
        array = array.astype(spec.dtype)
    return array
