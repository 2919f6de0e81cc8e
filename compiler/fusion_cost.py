"""What fusing is worth, and what is too much: the numbers behind ``fuse``.

A value that stays in registers need not be written and read again; that is what fusing saves,
about a nanosecond for every 10 bytes once caches are left. It costs registers, and where a
reduction is followed by what uses it along the same axes, another sweep that computes values
again. Merges are made in the order of the bytes that they save.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from graphnn.compiler.domain import reduces
from graphnn.compiler.kernel import EXPENSIVE
from graphnn.compiler.memory_model import nbytes_of
from graphnn.core.node import Node

__all__ = [
    "FEW_ROWS",
    "LONG_ROW",
    "MOST_AGAIN",
    "MOST_NODES",
    "MOST_OPERANDS",
    "again",
    "is_cheaper_again",
    "is_expensive",
    "most_sweeps",
    "sweeps",
]

MOST_NODES = 64
"""Members of a group: beyond that compilation takes longer than memory does."""

MOST_OPERANDS = 20
"""Arrays that a group reads: more streams than a processor follows well."""

MOST_SWEEPS = 4
"""Sweeps over a row: each reduction that depends on another one needs one more."""

SHORT_ROW = 1 << 12
MOST_SHORT_SWEEPS = 6
"""Sweeps over a row of so few elements, which stays in the nearest caches. A value that another
group reads is written, fetched to be written, and read again: 12 bytes, or 0.6 ns at 20 GB/s from
the cache that cores share. A sweep computes it and some ten others again, 0.4 ns in vectors of 8.
The forward and backward pass of a norm are then one group."""

MOST_AGAIN = 3
"""Expensive values that a later sweep computes once more."""

FEW_ROWS = 8
LONG_ROW = 1 << 14
"""So few rows, so long: sweeps over them are better done by kernels that split them."""


LEAST_AGAIN = 1 << 18
"""Bytes of a value that is computed again elsewhere: a smaller one stays in a core's caches."""

NEAR_BYTES_PER_NS = 30
NEAR_FLOPS_PER_NS = 8
"""What one core moves through the cache that cores share, and computes of such values in vectors,
with the loads that their operands need."""


def is_cheaper_again(node: Node, n_copied: int, n_readers: int, extra: int) -> bool:
    """Whether to compute a value again where it is read, instead of writing and reading it.

    A value that is written is fetched before, then written back, then read by each reader.

    Parameters
    ----------
    node : Node
        The value.
    n_copied : int
        Operations on each element that every reader does.
    n_readers : int
        Groups that read it.
    extra : int
        Bytes that they read, and that are written, in its place.
    """
    saved = (2 + n_readers) * nbytes_of(node) - extra
    flops = n_copied * n_readers * nbytes_of(node) // node.dtype.itemsize
    return nbytes_of(node) >= LEAST_AGAIN and saved / NEAR_BYTES_PER_NS > flops / NEAR_FLOPS_PER_NS


def most_sweeps(row: int) -> int:
    """Sweeps over a row of so many elements."""
    return MOST_SHORT_SWEEPS if row <= SHORT_ROW else MOST_SWEEPS


def is_expensive(node: Node) -> bool:
    """Whether a value is better read than computed again."""
    return node.op.name in EXPENSIVE


def sweeps(nodes: Iterable[Node], inside: Mapping[Node, tuple[Node, ...]]) -> dict[Node, int]:
    """In which sweep over the reduced axes each member is computed, counted from 0.

    Parameters
    ----------
    nodes : iterable of Node
        Members, inputs before users.
    inside : mapping of Node to tuple of Node
        The members that each member reads.
    """
    sweep: dict[Node, int] = {}
    for node in nodes:
        sweep[node] = max((sweep[each] + (reduces(each)) for each in inside[node]), default=0)
    return sweep


def again(
    nodes: list[Node],
    inside: Mapping[Node, tuple[Node, ...]],
    sweep: Mapping[Node, int],
    moving: Container[Node],
) -> int:
    """How many expensive values later sweeps compute again.

    ``moving`` are the members that run along the reduced axes; the others are computed once.
    """
    last = {node: sweep[node] for node in nodes}
    for node in reversed(nodes):
        for each in inside[node]:
            if node in moving and each in moving and not reduces(each):
                last[each] = max(last[each], last[node])
    return sum(last[node] - sweep[node] for node in nodes if node in moving and is_expensive(node))
