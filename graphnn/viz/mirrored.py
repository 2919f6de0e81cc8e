"""The layout of a forward pass beside its backward pass: rows become points, edges get their ways.

From left to right: what operations read beside their main input, the operations, a channel for
values that are saved or skip operations, what the backward pass computes from saved values alone,
the backward pass, a channel for gradients that skip something, gradients that are results.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from graphnn.viz.clusters import Cluster, cluster_tree
from graphnn.viz.layout import Band, Box, Ghost, Layout, Route
from graphnn.viz.mirror import Row, rows_of
from graphnn.viz.mirror_ways import Way, Ways
from graphnn.viz.scene import Scene
from graphnn.viz.style import DETAIL_SIZE, SMALL_SIZE, shorten, text_width
from graphnn.viz.texts import box_texts, size_of
from graphnn.viz.tracks import TRACK, Spans, assign_tracks

__all__ = ["mirrored_layout"]

MARGIN = 12.0
LANE_NAME = 20.0
FRAME_NAME = 18.0
FRAME_PAD = 7.0
"""Points between a frame and what is in it, and between frames."""
ROW_GAP = 14.0
COLUMN_GAP = 18.0
GHOST = 12.0
"""Height of a badge that names a weight."""
BADGE_GAP, BESIDE_LINE = 2.0, 6.0
"""Points between badges, and between them and the line that leaves their box."""
PORT = 8.0
"""Points between lines that arrive at one side of a box, where there is room."""
ARROW = 12.0
MOST_TITLE = 240.0
"""Points of a frame's title beside which nothing stands."""

COLUMNS = ("side", "forward", "local", "backward", "branch")
ENDS = {"side": "forward", "local": "backward"}
"""What the chains of a column lead to."""

Point = tuple[float, float]


def mirrored_layout(scene: Scene) -> Layout:
    """Positions for a scene of which :func:`graphnn.viz.mirror.has_mirror` holds."""
    return _Mirrored(scene).layout()


class _Mirrored:
    """The layout while it is made.

    Attributes
    ----------
    rows : list of Row
    row : list of int
        By box.
    column : list of str
        By box: the attribute of its row that holds it.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.texts = box_texts(scene)
        self.sizes = [size_of(*text) for text in self.texts]
        self.rows = rows_of(scene)
        found = Ways(scene, self.rows)
        self.ways, self.row, self.column = found.of_edge, found.row, found.column
        self.badges: dict[int, list[tuple[int, str, float]]] = {}
        for edge, way in zip(scene.edges, self.ways, strict=True):
            if way is None:
                text = shorten(self.texts[edge.source][0], 16)
                badge = (edge.source, text, text_width(text, SMALL_SIZE) + 8)
                self.badges.setdefault(edge.target, []).append(badge)
        self.frames = list(self._frames(cluster_tree(scene), 0))
        self.deepest = max((depth + 1 for *_, depth in self.frames), default=0)
        self._find_heights()
        self._find_columns()
        self._find_ports()

    # ----------------------------------------------------------------------------- frames

    def _frames(self, cluster: Cluster, depth: int) -> Iterator[tuple[Cluster, int, int, int]]:
        """Frames over rows in a row: the cluster, first and last row, and how deep it is."""
        for inside in cluster.inside:
            members = list(_members(inside))
            if self.scene.nodes[members[0]].role != "forward":
                continue
            hosts = {self.rows[self.row[each]].host for each in members}
            rows = [number for number, row in enumerate(self.rows) if row.host in hosts]
            for first, last in _runs(rows):
                yield inside, first, last, depth
            yield from self._frames(inside, depth + 1)

    # ---------------------------------------------------------------------------- heights

    def _find_heights(self) -> None:
        """Where every row is, and the line of every net that goes through the gap below it."""
        below: dict[int, dict[Hashable, int]] = {}
        for way in self.ways:
            if way is not None and way.leaves_below:
                lines = below.setdefault(self.row[way.edge.source], {})
                lines.setdefault(way.net, len(lines))
            if way is not None and way.enters_below:
                lines = below.setdefault(self.row[way.edge.target], {})
                lines.setdefault(way.net, len(lines))
        opened, closed = [0] * len(self.rows), [0] * len(self.rows)
        for _, first, last, _ in self.frames:
            opened[first] += 1
            closed[last] += 1
        heads = [0.0] * len(self.rows)
        for each in self.badges:
            heads[self.row[each]] = GHOST / 2
        for each, node in enumerate(self.scene.nodes):
            if node.badges:
                heads[self.row[each]] = GHOST
        tallest = [0.0] * len(self.rows)
        for each, (_, height) in enumerate(self.sizes):
            tallest[self.row[each]] = max(tallest[self.row[each]], height)
        self.middle: list[float] = []
        self.bottom: list[float] = []
        self.opens: list[float] = []
        y = MARGIN + LANE_NAME
        for number in range(len(self.rows)):
            self.opens.append(y)
            y += opened[number] * FRAME_NAME + heads[number]
            y += tallest[number] / 2
            self.middle.append(y)
            y += tallest[number] / 2
            self.bottom.append(y)
            y += (len(below.get(number, ())) * TRACK) + closed[number] * FRAME_PAD + ROW_GAP
        self.end = y
        self.below = {
            (number, net): self.bottom[number] + TRACK * (place + 1)
            for number, lines in below.items()
            for net, place in lines.items()
        }
        self.lines_below = [len(below.get(number, ())) for number in range(len(self.rows))]

    # ---------------------------------------------------------------------------- columns

    def _find_columns(self) -> None:
        """Where the columns, the channels between them and the boxes are."""
        spans: dict[tuple[Hashable, Hashable], Spans] = {}
        for way in self.ways:
            if way is not None and way.form == "channel":
                ends = sorted((self._level(way, True), self._level(way, False)))
                spans.setdefault((way.channel, way.net), []).append((ends[0], ends[1]))
        self.track, tracks = assign_tracks(spans)
        pad = MARGIN + FRAME_PAD * (self.deepest + 1)
        self.widths = {name: self._width(name) for name in COLUMNS}
        titles = [text_width(each.title, DETAIL_SIZE) for each, *_ in self.frames]
        side, forward, local, backward, branch = (self.widths[name] for name in COLUMNS)
        title = min(max(titles, default=0.0), MOST_TITLE)  # left of the line that goes down
        self.forward_x = pad + max(side + (COLUMN_GAP if side else 0) + forward / 2, title)
        labels = [text_width(edge.label, SMALL_SIZE) for edge in self.scene.edges]
        self.label_x = self.forward_x + forward / 2 + 6 + max(labels, default=0.0) / 2
        self.saved_x = self.label_x + max(labels, default=0.0) / 2
        x = self.saved_x + TRACK * (tracks.get("saved", 0) + 1) + ARROW
        self.lanes_part = x - ARROW
        self.backward_x = x + local + (COLUMN_GAP if local else 0) + backward / 2
        self.gradient_x = self.backward_x + backward / 2
        self.branch_x = self.gradient_x + TRACK * (tracks.get("gradient", 0) + 1) + ARROW
        self.width = max(self.branch_x + branch, 2 * MARGIN + max(titles, default=0.0)) + pad
        self.boxes = [Box(0.0, 0.0, 0.0, 0.0)] * len(self.scene.nodes)
        for number, row in enumerate(self.rows):
            self._put(number, row)

    def _width(self, column: str) -> float:
        """Of the widest chain of a column, with the badges of what it leads to."""
        widest = 0.0
        for row in self.rows:
            found = getattr(row, column)
            members = found if isinstance(found, list) else [] if found is None else [found]
            rooms = [self._room(each) for each in members if column not in ENDS.values()]
            if column in ENDS and (main := getattr(row, ENDS[column])) is not None:
                rooms.append(self._room(main))
            widths = [self.sizes[each][0] + COLUMN_GAP for each in members]
            widest = max(widest, sum(widths) + sum(rooms) - (COLUMN_GAP if members else 0.0))
        return widest

    def _room(self, each: int) -> float:
        """Points at the left of a box for badges that are wider than half of it."""
        widths = sum(width + BADGE_GAP for _, _, width in self.badges.get(each, ()))
        return max(widths + BESIDE_LINE - self.sizes[each][0] / 2, 0.0) if widths else 0.0

    def _put(self, number: int, row: Row) -> None:
        for main, chain, middle, column in (
            (row.forward, row.side, self.forward_x, "forward"),
            (row.backward, row.local, self.backward_x, "backward"),
        ):
            x = middle - self.widths[column] / 2 - COLUMN_GAP
            x -= self._room(main) if main is not None else 0.0
            for each in reversed(chain):
                x -= self.sizes[each][0]
                self._stand(each, x, number)
                x -= self._room(each) + COLUMN_GAP
            if main is not None:
                self._stand(main, middle - self.sizes[main][0] / 2, number)
        x = self.branch_x
        for each in row.branch:
            x += self._room(each)
            self._stand(each, x, number)
            x += self.sizes[each][0] + COLUMN_GAP

    def _stand(self, each: int, x: float, number: int) -> None:
        width, height = self.sizes[each]
        self.boxes[each] = Box(x, self.middle[number] - height / 2, width, height)

    # ------------------------------------------------------------------------------ ports

    def _level(self, way: Way, leaves: bool) -> float:
        """At which height a line goes between an end of its edge and its channel."""
        each = way.edge.source if leaves else way.edge.target
        number = self.row[each]
        if way.leaves_below if leaves else way.enters_below:
            return self.below[number, way.net]
        return self.middle[number]

    def _side(self, way: Way, leaves: bool) -> str:
        """At which side of its box an end of a line through a channel is."""
        each = way.edge.source if leaves else way.edge.target
        if way.leaves_below if leaves else way.enters_below:
            return "bottom"
        if way.channel == "gradient":
            return "right" if self.column[each] == "backward" else "left"
        return "right" if self.column[each] == "forward" else "left"

    def _find_ports(self) -> None:
        """Where lines touch their boxes, beside the middle of a side."""
        wanted: dict[tuple[int, str], dict[Hashable, float]] = {}
        level: set[tuple[int, str]] = set()
        for way in self.ways:
            if way is None:
                continue
            source, target = way.edge.source, way.edge.target
            if way.form == "straight" and self.row[source] == self.row[target]:
                level |= {(source, "right"), (target, "left")}
            elif way.form == "elbow":
                is_down = self.row[target] > self.row[source]
                key = (target, "top" if is_down else "bottom")
                wanted.setdefault(key, {})[source, "elbow"] = self.middle[self.row[source]]
            elif way.form == "channel":
                for each, leaves in ((source, True), (target, False)):
                    other = self._level(way, not leaves)
                    key = (each, self._side(way, leaves))
                    wanted.setdefault(key, {}).setdefault((way.net, leaves), other)
        self.port: dict[tuple[int, str, Hashable], float] = {}
        for (each, side), nets in wanted.items():
            width, height = self.sizes[each]
            order = sorted(nets, key=lambda net: nets[net])
            if side in ("top", "bottom"):
                for place, net in enumerate(order):
                    self.port[each, side, net] = -width / 2 * (place + 1) / (len(order) + 1)
                continue
            above = sum(nets[net] < self.middle[self.row[each]] for net in order)
            offsets = [place - (len(order) - 1) / 2 for place in range(len(order))]
            if (each, side) in level:
                offsets = [place - above + (place >= above) for place in range(len(order))]
            farthest = max((abs(offset) for offset in offsets), default=0)
            step = min(PORT, (height / 2 - 1) / (farthest + 1))
            for offset, net in zip(offsets, order, strict=True):
                self.port[each, side, net] = offset * step

    def _at(self, each: int, side: str, net: Hashable) -> Point:
        """Where a line touches a box."""
        box, offset = self.boxes[each], self.port.get((each, side, net), 0.0)
        x, y = box.center
        half = (box.width / 2, box.height / 2)
        if box.width == box.height:
            half = ((half[0] ** 2 - offset**2) ** 0.5,) * 2
        if side in ("top", "bottom"):
            return x + offset, y + (half[1] if side == "bottom" else -half[1])
        return x + (half[0] if side == "right" else -half[0]), y + offset

    # ----------------------------------------------------------------------------- routes

    def _route(self, way: Way) -> Route:
        source, target = way.edge.source, way.edge.target
        here, there = self.row[source], self.row[target]
        if way.form == "straight":
            if here == there:
                start, (x, _) = self._at(source, "right", None), self._at(target, "left", None)
                return Route((start, (x, start[1])))
            sides = ("bottom", "top") if here < there else ("top", "bottom")
            start, (_, y) = self._at(source, sides[0], None), self._at(target, sides[1], None)
            return Route((start, (start[0], y)))
        if way.form == "elbow":
            start = self._at(source, "right", None)
            end = self._at(target, "top" if here < there else "bottom", (source, "elbow"))
            if end[0] < start[0] + ARROW:  # right above it
                return Route(((end[0], self.boxes[source].y), end))
            return Route((start, (end[0], start[1]), end))
        start = self._at(source, self._side(way, True), (way.net, True))
        end = self._at(target, self._side(way, False), (way.net, False))
        left = self.saved_x if way.channel == "saved" else self.gradient_x
        x = left + TRACK * (self.track[way.channel, way.net] + 1)
        out = self.below[here, way.net] if way.leaves_below else start[1]
        into = self.below[there, way.net] if way.enters_below else end[1]
        points = [start, (start[0], out), (x, out), (x, into), (end[0], into), end]
        beside = self.port.get((source, "right", (way.net, True)), 0.0)  # of other lines there
        label_at = (self.label_x, out + beside / 2) if way.edge.label else None
        return Route(tuple(_corners(points)), label_at=label_at)

    def _ghosts(self) -> list[Ghost]:
        """Badges at the upper left of the boxes that read a weight that stands elsewhere."""
        ghosts = []
        for reader, badges in self.badges.items():
            box = self.boxes[reader]
            right = box.center[0] - BESIDE_LINE
            for named, text, width in badges:
                place = Box(right - width, box.y - GHOST / 2 - 2, width, GHOST)
                ghosts.append(Ghost(place, named, reader, text))
                right -= width + BADGE_GAP
        return ghosts

    def _bands(self) -> Iterator[Band]:
        height = self.end - MARGIN
        split = self.lanes_part
        right = self.width - MARGIN / 2
        yield Band(Box(MARGIN / 2, MARGIN, split - MARGIN / 2, height), "forward", "forward ↓")
        yield Band(Box(split, MARGIN, right - split, height), "backward", "backward ↑")
        for cluster, first, last, depth in self.frames:
            inset = MARGIN + FRAME_PAD * depth
            above = sum(1 for _, start, _, level in self.frames if start == first and level < depth)
            below = sum(1 for _, _, end, level in self.frames if end == last and level > depth)
            top = self.opens[first] + above * FRAME_NAME
            bottom = self.bottom[last] + TRACK * self.lines_below[last] + FRAME_PAD * (below + 1)
            tone = "layer" if cluster.tone == "scope" else cluster.tone
            box = Box(inset, top, self.width - 2 * inset, bottom - top)
            yield Band(box, tone, cluster.title)

    def layout(self) -> Layout:
        """All of it."""
        ghosts = self._ghosts()
        standing = {(ghost.node, ghost.reader): ghost.box for ghost in ghosts}
        routes = []
        for edge, way in zip(self.scene.edges, self.ways, strict=True):
            if way is not None:
                routes.append(self._route(way))
                continue
            ghost, box = standing[edge.source, edge.target], self.boxes[edge.target]
            x = min(max(ghost.center[0], box.x + 1), box.x + box.width - 1)
            routes.append(Route(((x, ghost.y), (x, box.y))))
        return Layout(
            tuple(self.boxes),
            tuple(routes),
            tuple(self._bands()),
            self.width,
            self.end + MARGIN,
            tuple(self.texts),
            tuple(ghosts),
        )


def _members(cluster: Cluster) -> Iterator[int]:
    # As deep as the user's scopes are nested, not as the graph is.
    yield from cluster.members
    for inside in cluster.inside:
        yield from _members(inside)


def _runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of every stretch of numbers that follow each other."""
    first = before = rows[0]
    for each in rows[1:]:
        if each != before + 1:
            yield first, before
            first = each
        before = each
    yield first, before


def _corners(points: Sequence[Point]) -> list[Point]:
    """The points of a line at which it turns, and its ends."""
    kept: list[Point] = []
    for x, y in points:
        while len(kept) > 1 and (
            kept[-2][0] == kept[-1][0] == x or kept[-2][1] == kept[-1][1] == y
        ):
            kept.pop()
        if not kept or kept[-1] != (x, y):
            kept.append((x, y))
    return kept
