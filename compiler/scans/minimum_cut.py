"""The minimum cut of a small network: by augmenting paths, shortest first (Edmonds and Karp, 1972).

Here because networkx, which has it too, takes longer to import than most programs to compile.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeAlias

__all__ = ["minimum_cut"]

Residual: TypeAlias = Mapping[Hashable, dict[Hashable, float]]


def minimum_cut(
    edges: Iterable[tuple[Hashable, Hashable, float]], source: Hashable, sink: Hashable
) -> set[Hashable]:
    """The side of ``source`` of a cut of least capacity: of several, the one next to ``sink``.

    Parameters
    ----------
    edges : iterable of (node, node, float)
        With their capacities; ``math.inf`` for what must not be cut.
    source, sink : hashable

    Raises
    ------
    ValueError
        If every cut is infinite.

    Examples
    --------
    >>> sorted(minimum_cut([("s", "a", 3), ("a", "b", 1), ("b", "t", 2)], "s", "t"))
    ['a', 's']
    """
    residual: dict[Hashable, dict[Hashable, float]] = {source: {}, sink: {}}
    for tail, head, capacity in edges:
        residual.setdefault(tail, {}).setdefault(head, 0.0)
        residual.setdefault(head, {}).setdefault(tail, 0.0)
        residual[tail][head] += capacity
    while path := _shortest_path(residual, source, sink):
        room = min(residual[tail][head] for tail, head in path)
        if room == math.inf:
            raise ValueError("there is a path that cannot be cut")
        for tail, head in path:
            residual[tail][head] -= room
            residual[head][tail] += room
    return set(residual) - _reaching(residual, sink)


def _shortest_path(
    residual: Residual, source: Hashable, sink: Hashable
) -> list[tuple[Hashable, Hashable]]:
    """The edges of a path on which more can flow; none if there is no such path."""
    came_from: dict[Hashable, Hashable] = {source: source}
    waiting = deque([source])
    while waiting and sink not in came_from:
        node = waiting.popleft()
        for head, room in residual[node].items():
            if room > 0 and head not in came_from:
                came_from[head] = node
                waiting.append(head)
    path = []
    node = sink
    while node in came_from and node != source:
        path.append((came_from[node], node))
        node = came_from[node]
    return path


def _reaching(residual: Residual, sink: Hashable) -> set[Hashable]:
    """The nodes from which more can flow to the sink."""
    found = {sink}
    waiting = [sink]
    while waiting:
        node = waiting.pop()
        for tail in residual[node]:
            if tail not in found and residual[tail][node] > 0:
                found.add(tail)
                waiting.append(tail)
    return found
