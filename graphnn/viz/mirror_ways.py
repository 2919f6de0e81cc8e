"""How lines go between a forward pass and the backward pass beside it: straight, or by channels."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from graphnn.viz.mirror import Row
from graphnn.viz.scene import Scene, SceneEdge

__all__ = ["Way", "Ways"]


@dataclass(eq=False, slots=True)
class Way:
    """How an edge goes.

    Attributes
    ----------
    edge : SceneEdge
    form : {"straight", "elbow", "channel"}
        From side to side; along a row and then up or down; through one of the channels.
    channel : {"saved", "gradient"}
    leaves_below, enters_below : bool
        Whether boxes stand between its end and the channel, so that it goes through the gap below
        the row.
    """

    edge: SceneEdge
    form: str
    channel: str = ""
    leaves_below: bool = False
    enters_below: bool = False

    @property
    def net(self) -> Hashable:
        """Equal where lines share a track."""
        return (self.edge.source, self.edge.kind)


class Ways:
    """The ways of all edges of a scene whose boxes stand in rows.

    Attributes
    ----------
    of_edge : list of Way or None
        By edge; None where a badge stands for it.
    row : list of int
        By box.
    column : list of str
        By box: the attribute of its row that holds it.
    """

    def __init__(self, scene: Scene, rows: Sequence[Row]) -> None:
        self._scene, self._rows = scene, rows
        count = len(scene.nodes)
        self.row, self.column = [0] * count, [""] * count
        self._next: list[int | None] = [None] * count
        self._first = [False] * count
        for number, row in enumerate(rows):
            self._note(number, row)
        mains = [[row.forward for row in rows], [row.backward for row in rows]]
        self._filled = [_counts(column) for column in mains]
        self.of_edge = [None if self._has_badge(edge) else self._way(edge) for edge in scene.edges]

    def _note(self, number: int, row: Row) -> None:
        for column in ("side", "local", "branch"):
            members = getattr(row, column)
            for place, each in enumerate(members):
                self.row[each], self.column[each] = number, column
                self._first[each] = place == 0
                if place + 1 < len(members):
                    self._next[each] = members[place + 1]
        for column, chain in (("forward", row.side), ("backward", row.local)):
            main = getattr(row, column)
            if main is not None:
                self.row[main], self.column[main] = number, column
                self._first[main] = not chain
                if chain:
                    self._next[chain[-1]] = main

    def _has_badge(self, edge: SceneEdge) -> bool:
        """Whether a weight is read elsewhere than where it stands."""
        is_beside = self._next[edge.source] == edge.target or self._is_elbow(edge)
        return self._scene.nodes[edge.source].kind == "parameter" and not is_beside

    def _is_elbow(self, edge: SceneEdge) -> bool:
        """Whether a chain without a box at its end is read in the next row of its pass."""
        source, target = edge.source, edge.target
        here, there = self.row[source], self.row[target]
        chain = (self.column[source], self.column[target])
        if self._next[source] is not None:
            return False
        if chain == ("side", "forward"):
            return here < there and self._is_clear(0, here - 1, there)
        if chain == ("local", "backward"):
            return here > there and self._is_clear(1, there, here + 1)
        return chain == ("branch", "branch") and here == there + 1 and not self._first[target]

    def _is_clear(self, side: int, above: int, below: int) -> bool:
        """Whether no operation stands between two rows."""
        filled = self._filled[side]
        return filled[below] == filled[above + 1]

    def _way(self, edge: SceneEdge) -> Way:
        source, target = edge.source, edge.target
        here, there = self.row[source], self.row[target]
        ends = (self.column[source], self.column[target])
        if self._next[source] == target:
            return Way(edge, "straight")
        if ends == ("forward", "forward") and here < there and self._is_clear(0, here, there):
            return Way(edge, "straight")
        if ends == ("backward", "backward") and there < here and self._is_clear(1, there, here):
            return Way(edge, "straight")
        if ends == ("backward", "branch") and here == there and self._first[target]:
            return Way(edge, "straight")
        if self._is_elbow(edge):
            return Way(edge, "elbow")
        is_gradient = self._scene.nodes[source].role == self._scene.nodes[target].role == "backward"
        channel = "gradient" if is_gradient else "saved"
        return Way(
            edge,
            "channel",
            channel,
            not self._is_next_to(channel, source),
            not self._is_next_to(channel, target),
        )

    def _is_next_to(self, channel: str, each: int) -> bool:
        """Whether a level line leads from a box to a channel."""
        column, row = self.column[each], self._rows[self.row[each]]
        if channel == "gradient":
            return column == "backward" or (column == "branch" and self._first[each])
        if column == "forward":
            return True
        is_leftmost = self._first[each] and column in ("local", "backward", "branch")
        return is_leftmost and (column != "branch" or not (row.local or row.backward is not None))


def _counts(column: Sequence[int | None]) -> list[int]:
    """How many operations stand in a column before each row."""
    counts = [0]
    for each in column:
        counts.append(counts[-1] + (each is not None))
    return counts
