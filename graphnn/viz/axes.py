"""The time axes of a graph: which scans go along each other, and where each of the axes begins."""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.core.dims import Size
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.viz.rows import Axis, Window, axis_from
from graphnn.viz.segments import piece_of

__all__ = ["Axes"]


class Axes:
    """Axes one after the other, such as those of an encoder and a decoder.

    Attributes
    ----------
    all : list of Axis
        Those there are so far.
    """

    def __init__(self, window: Window | None, *, in_segments: bool) -> None:
        self.all: list[Axis] = []
        self._window = window
        self._in_segments = in_segments
        self._axis_of: dict[tuple[Node, int], Axis] = {}
        self._column_of: dict[Node, int] = {}
        self._end = 0

    def of(self, scan: Node, wholes: Sequence[Node], beside: Sequence[Axis]) -> Axis | None:
        """The axis of a scan: that of what it goes along with, or a new one after all others.

        Parameters
        ----------
        scan : Node
        wholes : sequence of Node
            The sequences that it goes over.
        beside : sequence of Axis
            Those of the sequences that are there step by step.
        """
        length: Size = scan.attrs["length"]
        origin = provenance(scan).origin
        pieces = [self.piece(each)[:2] for each in wholes]
        found = [*beside]
        found += [
            self._axis_of[each]
            for each in ((origin, 0), *pieces)
            if each[0] is not None and each in self._axis_of
        ]
        same = [axis for axis in found if axis.length == length]
        made = same[0] if same else self._new(length, pieces)
        if made is not None:
            self._axis_of.update(dict.fromkeys(((scan, 0), *pieces), made))
        return made

    def _new(self, length: Size, pieces: Sequence[tuple[Node, int]]) -> Axis | None:
        """An axis after all others, or where its part of a sequence belongs."""
        parts = [piece for piece in pieces if piece[0].shape[0] != length]
        known = [piece for piece in (*parts, *pieces) if piece[0] in self._column_of]
        root, start = next(iter((*known, *parts)), (None, 0))
        begin = self._end if root is None else self._column_of.get(root, self._end)
        made = axis_from(length, begin + start, self._window, start)
        if made is not None:
            self.all.append(made)
            for each, first in pieces:
                self._column_of.setdefault(each, begin + start - first)
            self._end = max(self._end, made.end)
        return made

    def piece(self, node: Node) -> tuple[Node, int, int | None]:
        """Of which sequence a node is a part; see :func:`graphnn.viz.segments.piece_of`."""
        return piece_of(node) if self._in_segments else (node, 0, None)
