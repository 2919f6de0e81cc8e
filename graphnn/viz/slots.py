"""Which nodes share a place: those that do the same in every time step, and in every zoom."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
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
        hidden: dict[int, None] = {}  # whose origin is not drawn in their zoom
        for index in sorted(range(len(places)), key=lambda i: (lanes[i], self._levels[i], i)):
            origin = self._nodes[index].origin
            is_step = kinds[columns[index]] == "step" and origin is not None
            if is_step and (origin in hidden or self.slots[origin].kind == "elision"):
                hidden[index] = None
            else:
                self._take(index, self._of(index))
        if hidden:
            self._add(hidden)

    def _take(self, index: int, slot: Slot) -> None:
        slot.order = max(slot.order, self._levels[index])
        self.slots[index] = slot

    def _of(self, index: int) -> Slot:
        """The slot of what does the same, or a new one."""
        node, column, lane = self._nodes[index], self._columns[index], self._lanes[index]
        kind = self._kinds[column]
        origin = self.slots[node.origin] if node.origin is not None else None
        what = node.signature if kind in ("step", "elision") else (node.kind, node.label)
        key: Hashable = (kind, lane, what, origin)
        occurrence = self._taken.get((column, key), 0)
        self._taken[column, key] = occurrence + 1
        return self._shared.setdefault((key, occurrence), Slot(kind, lane))

    def _add(self, hidden: Sequence[int]) -> None:
        """Nodes whose origin is not drawn: each takes what is free of those that are like it."""
        alike: dict[Hashable, list[Slot]] = {}
        for (kind, lane, what, _), slot in ((key, slot) for (key, _), slot in self._shared.items()):
            alike.setdefault((kind, lane, what), []).append(slot)
        used = set(zip(self._columns, self.slots, strict=True))
        for index in hidden:
            column = self._columns[index]
            like = ("step", self._lanes[index], self._nodes[index].signature)
            free = (each for each in alike.get(like, ()) if (column, each) not in used)
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
