"""Strongly connected components: which things depend on each other in a circle."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

__all__ = ["strong_components"]

V = TypeVar("V", bound=Hashable)


def strong_components(
    vertices: Iterable[V], reads: Callable[[V], Iterable[V]]
) -> Iterator[list[V]]:
    """Sets of vertices that reach each other, those that are read before those that read them.

    Tarjan's algorithm, without recursion; linear in vertices and edges.

    Parameters
    ----------
    vertices : iterable
        Where to begin; what they read is found.
    reads : callable
        From a vertex to those that it reads.
    """
    number: dict[V, int] = {}
    lowest: dict[V, int] = {}
    open_: list[V] = []
    is_open: set[V] = set()
    for root in vertices:
        if root in number:
            continue
        path: list[tuple[V, Iterator[V]]] = [(root, iter(reads(root)))]
        number[root] = lowest[root] = len(number)
        open_.append(root)
        is_open.add(root)
        while path:
            vertex, remaining = path[-1]
            for each in remaining:
                if each not in number:
                    number[each] = lowest[each] = len(number)
                    open_.append(each)
                    is_open.add(each)
                    path.append((each, iter(reads(each))))
                    break
                if each in is_open:
                    lowest[vertex] = min(lowest[vertex], number[each])
            else:
                path.pop()
                if path:
                    before = path[-1][0]
                    lowest[before] = min(lowest[before], lowest[vertex])
                if lowest[vertex] == number[vertex]:
                    component = [open_.pop()]
                    while component[-1] != vertex:
                        component.append(open_.pop())
                    is_open.difference_update(component)
                    yield component
