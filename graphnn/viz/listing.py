"""The layout of what is computed in a known order: line by line, as a program is read.

Every line is an instruction: one box, or a frame around its members. To the left are the values
that it reads from outside: a value is a vertical line from where it is written down to its last
reader, in a track of its own; the number of tracks is how many are needed at a time. To the right,
on the same axis, are the bytes that are live, and the buffers that they are in.

Linear in the number of boxes, but for sorting; frames are bounded.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from graphnn.viz.layers import layered
from graphnn.viz.layout import Band, Box, Layout, Route, box_size
from graphnn.viz.memory_strip import strip_bands
from graphnn.viz.scene import Scene, SceneNode
from graphnn.viz.style import DETAIL_SIZE, LABEL_SIZE, text_width

__all__ = ["listing_layout"]

MARGIN = 12.0
LOW = 20.0
"""Height of a box with one line of text."""
TRACK = 7.0
"""Points between tracks."""
PAD = 8.0
"""Points between a frame and what is inside."""
HEAD = 20.0
"""Points for a frame's label."""
BADGES = 5.0
"""Points between a frame's label and badges on the boxes inside."""
INSET = 14.0
"""Points between a frame's sides and the boxes inside: lines go up and down there."""
LINE = 4.0
"""Points between lines that enter a frame."""
LINE_GAP = 14.0
"""Points between instructions."""
STUB = 10.0
"""Points between a box and the last corner before it."""

Point = tuple[float, float]


@dataclass(eq=False)
class _Line:
    """An instruction: a box alone, or the members of a frame.

    Attributes
    ----------
    members : list of int
        Numbers of nodes.
    frame : int or None
        The frame that they fill.
    around : tuple of int
        The frames around, outermost first.
    given : list of int
        What is not computed and is read here first.
    """

    members: list[int]
    frame: int | None
    around: tuple[int, ...]
    given: list[int] = field(default_factory=list)
    top: float = 0.0
    bottom: float = 0.0
    entries: dict[int, int] = field(default_factory=dict)
    exits: dict[int, int] = field(default_factory=dict)
    width: float = 0.0


def listing_layout(scene: Scene) -> Layout:
    """Positions for a scene with a strip: what has a value there is a line."""
    return _Listing(scene).layout()


class _Listing:
    """A layout in the making."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.lines = _lines(scene)
        self.line_of = {
            index: number
            for number, line in enumerate(self.lines)
            for index in (*line.given, *line.members)
        }
        self.boxes: list[Box] = [Box(0, 0, 0, 0)] * len(scene.nodes)
        self.routes: list[Route | None] = [None] * len(scene.edges)
        self.sides: dict[int, Point] = {}  # the ends of the columns of boxes in frames
        self.bands: list[Band] = []
        given = [box_size(scene.nodes[index])[0] for line in self.lines for index in line.given]
        self.given_right = MARGIN + max(given, default=0.0)
        self.tracks, n_tracks = self._tracks()
        depth = max((len(line.around) for line in self.lines), default=0)
        self.left = self.given_right + STUB + (n_tracks + 1) * TRACK + STUB + depth * PAD
        self.right = self.left

    # ------------------------------------------------------------------------------------- tracks

    def _tracks(self) -> tuple[dict[int, int], int]:
        """The track of every value that is read in another line, and how many there are."""
        spans: dict[int, tuple[int, int]] = {}
        for edge in self.scene.edges:
            first, last = sorted((self.line_of[edge.source], self.line_of[edge.target]))
            is_inside = first == last and not edge.lag and self._is_computed(edge.source)
            if is_inside:
                continue
            known = spans.get(edge.source, (first, last))
            spans[edge.source] = min(first, known[0]), max(last, known[1])
        free: list[int] = []
        busy: list[tuple[int, int]] = []
        tracks: dict[int, int] = {}
        count = 0
        for index, (first, last) in sorted(spans.items(), key=lambda item: (item[1], item[0])):
            while busy and busy[0][0] < first:
                heapq.heappush(free, heapq.heappop(busy)[1])
            if free:
                track = heapq.heappop(free)
            else:
                track, count = count, count + 1
            tracks[index] = track
            heapq.heappush(busy, (last, track))
        return tracks, count

    def _is_computed(self, index: int) -> bool:
        return index in self.lines[self.line_of[index]].members

    def _track_x(self, index: int) -> float:
        """Tracks are numbered from the right: short ones are near to the boxes."""
        depth = max((len(line.around) for line in self.lines), default=0)
        return self.left - depth * PAD - STUB - (self.tracks[index] + 1) * TRACK

    # -------------------------------------------------------------------------------------- lines

    def layout(self) -> Layout:
        """Everything, from top to bottom."""
        entering: list[dict[int, None]] = [{} for _ in self.lines]
        leaving: list[dict[int, None]] = [{} for _ in self.lines]
        inner: list[list[int]] = [[] for _ in self.lines]
        for number, edge in enumerate(self.scene.edges):
            source, target = self.line_of[edge.source], self.line_of[edge.target]
            if source == target and not edge.lag and self._is_computed(edge.source):
                inner[target].append(number)
                continue
            entering[target][edge.source] = None
            if self._is_computed(edge.source):
                leaving[source][edge.source] = None
        y = MARGIN
        tops: dict[int, float] = {}
        for number, line in enumerate(self.lines):
            before = self.lines[number - 1].around if number else ()
            y += self._close(before, line.around, y)
            for frame in line.around:
                if frame not in tops:
                    tops[frame] = y
                    y += HEAD + PAD
            line.entries = {index: place for place, index in enumerate(entering[number])}
            line.exits = {index: place for place, index in enumerate(leaving[number])}
            y = self._put(line, inner[number], y) + LINE_GAP
        last = self.lines[-1].around if self.lines else ()
        y += self._close(last, (), y)
        self._frames(tops)
        for number, edge in enumerate(self.scene.edges):
            if self.routes[number] is None:
                self.routes[number] = self._outside(edge.source, edge.target)
        rows = [(line.members, line.top, line.bottom) for line in self.lines if line.members]
        width = self.right
        if self.scene.strip is not None and self.scene.strip.title and rows:
            bands, width = strip_bands(self.scene.strip, rows, self.right + 3 * PAD)
            self.bands += bands
        routes = tuple(route for route in self.routes if route is not None)
        return Layout(tuple(self.boxes), routes, tuple(self.bands), width + MARGIN, y)

    @staticmethod
    def _close(before: Sequence[int], after: Sequence[int], y: float) -> float:
        """Room for the lower ends of the frames that are left between two lines."""
        return PAD * sum(frame not in after for frame in before)

    def _put(self, line: _Line, inner: Sequence[int], top: float) -> float:
        """Place a line's boxes; its bottom."""
        nodes = self.scene.nodes
        y = top
        x = self.left
        if line.frame is not None:
            x += INSET
            has_badges = any(nodes[index].badges for index in line.members)
            y += HEAD + BADGES * has_badges + LINE * len(line.entries)
        sizes = [_size(nodes[index]) for index in line.members]
        position = {index: place for place, index in enumerate(line.members)}
        edges = [self.scene.edges[number] for number in inner]
        made = layered(sizes, [(position[e.source], position[e.target]) for e in edges])
        for index, (width, height), (dx, dy), (begin, end) in zip(
            line.members, sizes, made.corners, made.sides, strict=True
        ):
            self.boxes[index] = Box(x + dx, y + dy, width, height)
            self.sides[index] = (x + begin, x + end)
        for number, edge, way in zip(inner, edges, made.ways, strict=True):
            between = [(x + dx, y + dy) for dx, dy in way]
            self.routes[number] = self._inside(edge.source, edge.target, between)
        bottom = y + made.height
        right = x + made.width
        if line.frame is not None:
            bottom += PAD + LINE * len(line.exits)
            label = self._label(line.frame)
            right = max(right + INSET, self.left + 2 * PAD + text_width(label, DETAIL_SIZE))
            box = Box(self.left, top, right - self.left, bottom - top)
            self.bands.append(Band(box, "fusion", label))
        at = top
        for index in line.given:
            width, height = box_size(nodes[index])
            self.boxes[index] = Box(self.given_right - width, at, width, height)
            at += height + 6
        bottom = max(bottom, at - 6)
        line.top, line.bottom = top, bottom
        line.width = right - self.left
        self.right = max(self.right, right + PAD * len(line.around))
        return bottom

    def _label(self, frame: int) -> str:
        group = self.scene.groups[frame]
        return f"{group.label} · {group.reason}" if group.reason else group.label

    def _frames(self, tops: dict[int, float]) -> None:
        """Frames of loops and branches, the outer ones behind."""
        bottoms: dict[int, float] = {}
        rights: dict[int, float] = {}
        for line in self.lines:
            for level, frame in enumerate(line.around):
                inside = len(line.around) - level
                bottoms[frame] = max(bottoms.get(frame, 0.0), line.bottom + PAD * inside)
                right = self.left + line.width + PAD * inside
                label = self.left + 2 * PAD + text_width(self._label(frame), DETAIL_SIZE)
                rights[frame] = max(rights.get(frame, 0.0), right, label)
        found = []
        depths = {frame: level for line in self.lines for level, frame in enumerate(line.around)}
        deepest = max(depths.values(), default=-1) + 1
        for frame, top in tops.items():
            left = self.left - PAD * (deepest - depths[frame])
            self.right = max(self.right, rights[frame])
            box = Box(left, top, rights[frame] - left, bottoms[frame] - top)
            found.append(Band(box, self.scene.groups[frame].kind, self._label(frame)))
        self.bands[:0] = found

    # -------------------------------------------------------------------------------------- edges

    def _inside(self, source: int, target: int, between: Sequence[Point]) -> Route:
        """From box to box of one frame: a curve through its places."""
        a, b = self.boxes[source], self.boxes[target]
        stops = [(a.x + a.width, a.center[1]), *between, (b.x, b.center[1])]
        points = [stops[0]]
        for (x, y), (x_end, y_end) in pairwise(stops):
            middle = (x + x_end) / 2
            points += [(middle, y), (middle, y_end), (x_end, y_end)]
        return Route(tuple(points), True)

    def _outside(self, source: int, target: int) -> Route:
        """By the value's track: out of its line, up or down, and into the reader's line."""
        x = self._track_x(source)
        return Route((*self._exit(source, x), *self._entry(source, target, x)))

    def _exit(self, source: int, x: float) -> Iterable[Point]:
        box = self.boxes[source]
        line = self.lines[self.line_of[source]]
        if not self._is_computed(source):
            return (box.x + box.width, box.center[1]), (x, box.center[1])
        if line.frame is None:
            y = box.y + box.height - 8
            return (box.x, y), (x, y)
        y = line.bottom - PAD / 2 - LINE * line.exits[source]
        right, out = box.x + box.width, box.center[1] + 5
        beside = self.sides[source][1] + 4 + 1.5 * (line.exits[source] % 6)
        return (right, out), (beside, out), (beside, y), (x, y)

    def _entry(self, source: int, target: int, x: float) -> Iterable[Point]:
        box = self.boxes[target]
        line = self.lines[self.line_of[target]]
        if line.frame is None:
            place = (line.entries[source] + 1) / (len(line.entries) + 1)
            y = box.y + place * (box.height - 10)
            return (x, y), (box.x, y)
        y = line.top + HEAD + LINE * line.entries[source]
        near = self.sides[target][0] - STUB + 1.5 * (line.entries[source] % 5)
        return (x, y), (near, y), (near, box.center[1] - 3), (box.x, box.center[1] - 3)


def _size(node: SceneNode) -> Point:
    """Width and height of a box; one with a single line of text is lower."""
    if not node.detail:
        return max(text_width(node.label, LABEL_SIZE) + 12, 34.0), LOW
    return box_size(node)


def _lines(scene: Scene) -> list[_Line]:
    """The instructions in order, each with what is given and first read there."""
    assert scene.strip is not None
    lines: list[_Line] = []
    by_frame: dict[int, _Line] = {}
    waiting: list[int] = []
    for index, node in enumerate(scene.nodes):
        if scene.strip.values[index] is None:
            waiting.append(index)
            continue
        is_fused = node.group is not None and scene.groups[node.group].kind == "fusion"
        frame = node.group if is_fused else None
        if frame is not None and frame in by_frame:
            by_frame[frame].members.append(index)
        else:
            parent = scene.groups[frame].parent if frame is not None else node.group
            line = _Line([index], frame, _around(scene, parent))
            lines.append(line)
            if frame is not None:
                by_frame[frame] = line
    line_of = {index: number for number, line in enumerate(lines) for index in line.members}
    first = dict.fromkeys(waiting, len(lines) - 1)
    for edge in scene.edges:
        if edge.source in first and edge.target in line_of:
            first[edge.source] = min(first[edge.source], line_of[edge.target])
    if waiting and not lines:
        lines.append(_Line([], None, ()))
        first = dict.fromkeys(waiting, 0)
    for index in waiting:
        lines[first[index]].given.append(index)
    return lines


def _around(scene: Scene, group: int | None) -> tuple[int, ...]:
    """A frame and those around it, outermost first."""
    found: list[int] = []
    while group is not None:
        found.append(group)
        group = scene.groups[group].parent
    return tuple(reversed(found))
