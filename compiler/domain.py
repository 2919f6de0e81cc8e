"""The domain of a fusion group: the axes that its members run along.

Every member of a group is computed for all points of one set of axes, its *domain*. A dim of a
value lies along some of these axes, outermost first: along none if its size is 1, along several
if another member sees the same elements reshaped. A value that lacks an axis is the same for all
points along it.

For example ``x - sum(x, axis=1)[:, None]`` for ``x`` of shape ``(8, 100)`` has the axes ``0`` and
``1`` of sizes 8 and 100; ``x`` has the dims ``((0,), (1,))``, the sum ``((0,),)``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from graphnn.compiler.native import scalars
from graphnn.core.dtypes import DType, is_complex, is_floating
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec
from graphnn.ops.control import PROJECT, TUPLE

__all__ = [
    "ANCHOR_OPS",
    "REDUCTION_OPS",
    "Axes",
    "Dims",
    "Group",
    "extent",
    "input_dims",
    "is_computed",
    "is_native",
    "reduces",
    "result_dims",
    "roots_of",
    "sizes_of",
]

Axes: TypeAlias = tuple[int, ...]
"""The axes that one dim lies along, outermost first."""

Dims: TypeAlias = tuple[Axes, ...]
"""The axes of every dim of a value."""

REDUCTION_OPS = frozenset({"sum", "max", "min", "prod", "any", "all"})
ANCHOR_OPS = frozenset({"dot_general", "conv"})
NATIVE_OPS = REDUCTION_OPS | ANCHOR_OPS | {"iota"}
"""What code is generated for, beside elementwise operators."""

axis_numbers = itertools.count()
"""Axes of different groups have different numbers, so that groups can be merged."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Nodes that are computed together, by one instruction.

    Attributes
    ----------
    nodes : tuple of Node
        Inputs before users.
    sizes : mapping of int to int
        The axes of the domain. (Those that a matrix product or a convolution sums over are its
        own.) Empty also for a node that has no native form and is alone in its group.
    dims : mapping of Node to Dims
        Where the dims of every member's *points* lie: for a reduction those of its input, else
        those of its result.
    reduced : frozenset of int
        The axes that all reductions of the group run over.
    """

    nodes: tuple[Node, ...]
    sizes: Mapping[int, int]
    dims: Mapping[Node, Dims]
    reduced: frozenset[int]

    @staticmethod
    def of(node: Node) -> Group:
        """A node by itself."""
        if not is_native(node):
            return Group((node,), {}, {}, frozenset())
        sizes: dict[int, int] = {}
        dims: list[Axes] = []
        for size in sizes_of(node.inputs[0] if node.op.name in REDUCTION_OPS else node):
            if size == 1:
                dims.append(())
            else:
                axis = next(axis_numbers)
                sizes[axis] = size
                dims.append((axis,))
        reduced = [axis for each in _reduced_dims(node) for axis in dims[each]]
        return Group((node,), sizes, {node: tuple(dims)}, frozenset(reduced))

    @property
    def is_native(self) -> bool:
        """Whether it becomes a kernel or a contraction."""
        return bool(self.dims)


def sizes_of(node: Node) -> tuple[int, ...]:
    """The shape of a node, whose sizes are known."""
    shape: Any = node.shape
    known: tuple[int, ...] = shape
    return known


def _reduced_dims(node: Node) -> tuple[int, ...]:
    """The dims that a reduction makes disappear."""
    return node.attrs["axes"] if node.op.name in REDUCTION_OPS else ()


def reduces(node: Node) -> bool:
    """Whether a node is a reduction of more than one element at a time."""
    if node.op.name not in REDUCTION_OPS:
        return False
    shape = node.inputs[0].shape
    return any(shape[axis] != 1 for axis in node.attrs["axes"])


def is_native(node: Node) -> bool:
    """Whether a node can be a member of a group: there is something to generate code for."""
    op, dtypes = node.op, []
    for each in (node, *node.inputs):
        spec = each.spec
        if not isinstance(spec, TensorSpec) or is_complex(spec.dtype) or 0 in spec.shape:
            return False
        dtypes.append(spec.dtype)
    if op.is_elementwise:
        return _has_code(op.name, tuple(dtypes[1:]))
    if op.name == "conv" and not is_floating(node.dtype):
        return False
    return op.name in NATIVE_OPS


@cache
def _has_code(op: str, dtypes: tuple[DType, ...]) -> bool:
    """Whether code is generated for a primitive; asked for every node, and slow to find out."""
    return scalars.is_native(op, [each.name for each in dtypes])


def is_computed(node: Node) -> bool:
    """Whether a node needs an instruction: it is no leaf, no view and no tuple."""
    op = node.op
    return not (op.is_source or op.is_view or op is TUPLE or op is PROJECT or op.name == "constant")


def roots_of(order: Iterable[Node]) -> dict[Node, Node]:
    """For every node the one whose memory it looks at, through views and tuples; itself if none.

    ``order`` has inputs before users.
    """
    roots: dict[Node, Node] = {}
    for node in order:
        seen = node
        if node.op is PROJECT:
            seen = node.inputs[0]
            if seen.op is TUPLE:
                seen = seen.inputs[node.attrs["index"]]
        elif node.op.is_view:
            seen = node.inputs[0]
        roots[node] = node if seen is node else roots[seen]
    return roots


def result_dims(node: Node, points: Dims) -> Dims:
    """The dims of a member's result."""
    gone = _reduced_dims(node)
    return tuple(axes for dim, axes in enumerate(points) if dim not in gone) if gone else points


def input_dims(node: Node, position: int, points: Dims) -> Dims:
    """The dims of what a member that is no anchor reads, along which it is broadcast."""
    shape = sizes_of(node.inputs[position])
    if len(shape) == len(points) and 1 not in shape:
        return points
    behind = points[len(points) - len(shape) :]
    return tuple(() if size == 1 else axes for size, axes in zip(shape, behind, strict=True))


def extent(sizes: Mapping[int, int], axes: Sequence[int]) -> int:
    """The number of points along axes."""
    return math.prod(sizes[axis] for axis in axes)
