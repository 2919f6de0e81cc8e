"""Which nodes share a place: those that do the same in every time step, and in every zoom."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Sequence
from operator import attrgetter

from graphnn.viz.grid import Slot
from graphnn.viz.scene import Scene

__all__ = ["shared_slots"]


def shared_slots(
    scene: Scene, columns: Sequence[int], kinds: Sequence[str], lanes: Sequence[int]
) -> list[Slot]:
    """One slot for the same operation of all steps and zooms, by node."""
    made = _Slots(scene, columns, kinds, lanes)
    return made.slots


class _Slots:
    """Slots by what nodes do: their signature, and of what they are a derivative."""

    def __init__(
        self, scene: Scene, columns: Sequence[int], kinds: Sequence[str], lanes: Sequence[int]
    ) -> None:
        most = max(lanes, default=0) + 1
        places = [column * most + lane for column, lane in zip(columns, lanes, strict=True)]
        self._nodes = scene.nodes
        self._columns, self._kinds, self._lanes = columns, kinds, lanes
        self._levels = _levels(scene, places)
        self._shared: dict[Hashable, Slot] = {}
        self._taken: dict[Hashable, int] = {}
        self.slots = [Slot("", 0)] * len(places)
        self._alike: dict[Hashable, list[Slot]] = {}
        hidden: dict[int, None] = {}  # whose origin is not drawn in their zoom
        for index in sorted(range(len(places)), key=lambda i: (lanes[i], self._levels[i], i)):
            if kinds[columns[index]] == "step" and self._has_hidden_origin(index, hidden):
                hidden[index] = None
            else:
                self._take(index, self._of(index))
        if hidden:
            self._add(hidden)

    def _has_hidden_origin(self, index: int, hidden: Container[int]) -> bool:
        origin = self._nodes[index].origin
        return origin is not None and (origin in hidden or self.slots[origin].kind == "elision")

    def _take(self, index: int, slot: Slot) -> None:
        slot.order = max(slot.order, self._levels[index])
        self.slots[index] = slot

    def _of(self, index: int) -> Slot:
        """The slot of what does the same, or a new one."""
        node, column, lane = self._nodes[index], self._columns[index], self._lanes[index]
        kind = self._kinds[column]
        origin = self.slots[node.origin] if node.origin is not None else None
        what = node.signature if kind in ("step", "elision") else (node.kind, node.label)
        like = (kind, lane, what)
        occurrence = self._taken.get((column, like, origin), 0)
        self._taken[column, like, origin] = occurrence + 1
        key = (like, origin, occurrence)
        if key not in self._shared:
            self._shared[key] = Slot(kind, lane)
            self._alike.setdefault(like, []).append(self._shared[key])
        return self._shared[key]

    def _add(self, hidden: Iterable[int]) -> None:
        """Nodes whose origin is not drawn: each takes what is free of those that are like it."""
        used = set(zip(self._columns, self.slots, strict=True))
        for index in hidden:
            column = self._columns[index]
            like = ("step", self._lanes[index], self._nodes[index].signature)
            free = (each for each in self._alike.get(like, ()) if (column, each) not in used)
            slot = next(free, None) or self._of(index)
            used.add((column, slot))
            self._take(index, slot)


def _levels(scene: Scene, places: Sequence[int]) -> list[int]:
    """Longest way to every node over nodes of its own place."""
    levels = [0] * len(places)
    for edge in sorted(scene.edges, key=attrgetter("target")):
        source, target = edge.source, edge.target
        if places[source] == places[target] and levels[target] <= levels[source] and not edge.lag:
            levels[target] = levels[source] + 1
    return levels
