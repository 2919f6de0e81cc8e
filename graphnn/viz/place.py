"""Every node of a scene gets its place on the grid, and every place its size."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Sequence
from math import ceil, sqrt
from operator import attrgetter

from graphnn.viz.cell import Links, order_rows, spread_along
from graphnn.viz.frames import nesting
from graphnn.viz.grid import Grid, Lane, Slot, gathers, lanes_of, read_by
from graphnn.viz.scene import Scene, SceneEdge
from graphnn.viz.sheet import Sheet
from graphnn.viz.slots import shared_slots
from graphnn.viz.style import SMALL_SIZE, shorten, text_width
from graphnn.viz.texts import box_texts, size_of

__all__ = ["GHOST_GAP", "place"]

GHOST_CHARACTERS = 16
GHOST_GAP = 2.0
"""Points between two badges at one box."""
LONGEST_END = 6
"""Places of what comes after the last step before it goes on below."""
LONGEST_LINE = 24
"""Columns of boxes before a graph without time steps goes on below."""
MOST_ROWS = 30
"""Boxes above each other in a graph without time steps; more go to the next column."""


def place(sheet: Sheet) -> Grid:
    """Give every node of all zooms its place."""
    scene = sheet.scene
    texts = box_texts(scene)
    if scene.steps:
        grid = _over_time(sheet, texts)
    else:
        grid = _flat(scene, texts)
    sizes: dict[tuple[str, str], tuple[float, float]] = {}
    for slot, text in zip(grid.slots, texts, strict=True):
        size = sizes.get(text)
        if size is None:
            size = sizes[text] = size_of(*text)
        if size[0] > slot.width:
            slot.width = size[0]
        if size[1] > slot.height:
            slot.height = size[1]
    for slot in grid.unique:
        slot.room = slot.width
    for edge in scene.edges:
        if edge.label:
            source = grid.slots[edge.source]
            source.has_label = True
            source.room = max(source.room, text_width(edge.told, SMALL_SIZE))
    around = nesting(scene.groups)
    for slot, node in zip(grid.slots, scene.nodes, strict=True):
        if node.group is not None:
            slot.frames = max(slot.frames, around[node.group])
        if node.badges:
            slot.has_ghost = True
    for reader, names in _ghosts(scene, grid).items():
        slot = grid.slots[reader]
        slot.has_ghost = True
        slot.room = max(slot.room, sum(width + GHOST_GAP for _, _, width in names))
    return grid


def _ghosts(scene: Scene, grid: Grid) -> dict[int, list[tuple[int, str, float]]]:
    """Badges where a weight is read, and where a part of its gradient is computed."""
    ghosts = grid.ghosts
    made: dict[int, tuple[int, str, float]] = {}
    for edge, is_ghost in zip(scene.edges, grid.is_ghost, strict=True):
        if is_ghost:
            reader, named = edge.target, edge.source
        elif gathers(grid.slots[edge.source], grid.slots[edge.target]):
            reader, named = edge.source, edge.target
        else:
            continue
        if named not in made:
            text = shorten(grid.texts[named][0], GHOST_CHARACTERS)
            made[named] = (named, text, text_width(text, SMALL_SIZE) + 8)
        ghosts.setdefault(reader, []).append(made[named])
    return ghosts


# ------------------------------------------------------------------------------------- with time


def _over_time(sheet: Sheet, texts: list[tuple[str, str]]) -> Grid:
    """Columns are time steps; a slot is shared by the same operation of all steps."""
    scene, columns, kinds = sheet.scene, sheet.columns, sheet.kinds
    number, lanes = lanes_of(scene, columns, sheet.typical)
    slots = shared_slots(scene, columns, kinds, number)
    unique = sorted(dict.fromkeys(slots), key=lambda slot: (slot.lane, slot.order))
    links = _links(scene, slots, columns, unique)
    is_ghost = _from_far(scene.edges, sheet.near, number)
    steps = [slot for slot in unique if slot.kind == "step"]
    places = {"left": 0, "step": spread_along(steps, lanes, links), "elision": 1, "right": 0, "": 0}
    count = [
        order_rows([slot for slot in steps if slot.lane == index], lane, links)
        for index, lane in enumerate(lanes)
    ]
    outside = _Outside(scene, slots, unique, links, lanes, count)
    outside.elisions()
    places["left"] = outside.left(is_ghost)
    places["right"] = outside.right()
    first = [0]
    for index in range(len(lanes)):
        first.append(first[-1] + outside.count[index])
    for slot in unique:
        slot.row += first[slot.lane]
    return Grid(slots, unique, columns, kinds, places, lanes, first, is_ghost, texts, {})


def _links(
    scene: Scene, slots: Sequence[Slot], columns: Sequence[int], unique: Sequence[Slot]
) -> Links:
    links = Links()
    rank = {slot: index for index, slot in enumerate(unique)}
    known = set()
    is_main = [False] * len(slots)
    is_read = [False] * len(slots)
    for edge in scene.edges:
        source, target = slots[edge.source], slots[edge.target]
        is_read[edge.target] = True
        pair = (source, target, columns[edge.source] == columns[edge.target] and not edge.lag)
        if pair in known or source.lane != target.lane or (source is target and pair[2]):
            continue
        known.add(pair)
        if pair[2]:
            if rank[source] < rank[target]:
                links.before.setdefault(target, []).append(source)
                links.after.setdefault(source, []).append(target)
        elif source.kind == target.kind == "step" or edge.lag:
            links.carries.setdefault(source, []).append(target)
    gradients = [edge for edge in scene.edges if scene.nodes[edge.source].role == "backward"]
    for edge in gradients:  # what reads nothing starts a gradient, and so does another step
        if not is_read[edge.source]:
            is_main[edge.source] = True
        if edge.lag:
            is_main[edge.target] = True
    for edge in sorted(gradients, key=attrgetter("target")):
        if is_main[edge.source]:
            is_main[edge.target] = True
    links.is_main.update(slot for slot, main in zip(slots, is_main, strict=True) if main)
    for slot, node in zip(slots, scene.nodes, strict=True):
        if node.origin is not None and slots[node.origin].kind == slot.kind:
            links.origin.setdefault(slot, slots[node.origin])
    return links


def _from_far(
    edges: Sequence[SceneEdge],
    columns: Sequence[int],
    lanes: Sequence[int],
) -> list[bool]:
    """Which edges lead from the left over steps: a badge where they end tells their source.

    What only the first step reads, as an initial state, has a line.
    """
    readers: dict[tuple[int, int], set[int]] = {}
    for edge in edges:
        if columns[edge.source] == 0 < columns[edge.target]:
            key = (edge.source, lanes[edge.target])
            readers.setdefault(key, set()).add(columns[edge.target])
    return [
        columns[edge.source] == 0 < columns[edge.target]
        and (edge.kind == "weight" or readers[edge.source, lanes[edge.target]] != {1})
        for edge in edges
    ]


class _Outside:
    """Rows and places of what belongs to no step, beside what it belongs to."""

    def __init__(
        self,
        scene: Scene,
        slots: Sequence[Slot],
        unique: Sequence[Slot],
        links: Links,
        lanes: Sequence[Lane],
        count: Sequence[int],
    ) -> None:
        self.count = list(count)
        self._scene = scene
        self._slots = slots
        self._unique = unique
        self._links = links
        self._lanes = lanes
        self._taken: set[tuple[str, int, int, int]] = set()
        self._readers: dict[Slot, list[Slot]] = {}
        self._read: dict[Slot, list[Slot]] = {}
        for source, target in dict.fromkeys(
            (slots[edge.source], slots[edge.target]) for edge in scene.edges
        ):
            self._readers.setdefault(source, []).append(target)
            self._read.setdefault(target, []).append(source)

    def _put(self, slot: Slot, wish: int, top: int = 0) -> None:
        """The free row nearest to a wish, not above another one."""
        for distance in range(len(self._taken) + 1):
            for row in (wish + distance, wish - distance):
                key = (slot.kind, slot.lane, slot.place, row)
                if row >= top and key not in self._taken:
                    self._taken.add(key)
                    slot.row = row
                    self.count[slot.lane] = max(self.count[slot.lane], row + 1)
                    return

    def _wish(self, slot: Slot, others: Iterable[Slot], kinds: Sequence[str]) -> int:
        rows = [each.row for each in others if each.lane == slot.lane and each.kind in kinds]
        return rows[0] if rows else 0

    def elisions(self) -> None:
        """In the row of what they are read by."""
        for slot in self._unique:
            if slot.kind == "elision":
                near = [*self._readers.get(slot, ()), *self._read.get(slot, ())]
                self._put(slot, self._wish(slot, near, ("step",)))

    def right(self) -> int:
        """What comes after the last step. Returns how many places there are."""
        members = [slot for slot in self._unique if slot.kind == "right"]
        level = {slot: slot.order for slot in members}
        for slot in reversed(members):
            after = self._links.after.get(slot)
            if after and slot not in self._links.before:
                level[slot] = min(level[each] for each in after) - 1
        length = max(level.values(), default=-1) + 1
        across = ceil(length / max(1, ceil(length / LONGEST_END)))
        below: dict[tuple[int, int], int] = {}  # by lane and line: where the next line begins
        for slot in sorted(members, key=lambda slot: level[slot] // across):
            slot.line, ahead = divmod(level[slot], across)
            is_backward = self._lanes[slot.lane].role == "backward"
            slot.place = across - 1 - ahead if is_backward else ahead
            top = below.get((slot.lane, slot.line - 1), 0)
            near = [each for each in self._read.get(slot, ()) if each.line == slot.line]
            self._put(slot, max(top, self._wish(slot, near, ("step", "right"))), top)
            key = (slot.lane, slot.line)
            below[key] = max(below.get(key, top), slot.row + 1)
        return across

    def left(self, is_ghost: Sequence[bool]) -> int:
        """Weights and what is computed before the first step; gradients of both."""
        drawn: set[Slot] = set()  # those that a line leaves to the right, or arrives at from there
        for edge, ghost in zip(self._scene.edges, is_ghost, strict=True):
            source, target = self._slots[edge.source], self._slots[edge.target]
            if not ghost and source.kind == "left" and source.lane == target.lane:
                drawn.add(source)
        members = [slot for slot in self._unique if slot.kind == "left"]
        level: dict[Slot, int] = {}
        for slot in reversed(members):
            after = [level[each] + 1 for each in self._links.after.get(slot, ()) if each in level]
            if self._lanes[slot.lane].role != "backward":
                level[slot] = max(after, default=0)
        for slot in members:
            if slot not in level:
                level[slot] = slot.order
        bodies = [slot for slot in members if slot in drawn or slot in self._links.before]
        stacked: dict[int, list[Slot]] = {}
        for slot in members:
            if slot not in drawn and slot not in self._links.before:
                stacked.setdefault(slot.lane, []).append(slot)
        deep = max((level[slot] + 1 for slot in bodies), default=0)
        wide = deep or max(
            (ceil(len(group) / self._height(lane, group)) for lane, group in stacked.items()),
            default=0,
        )
        for slot in sorted(bodies, key=lambda slot: level[slot]):
            slot.place = wide - 1 - level[slot]
            near = [*self._readers.get(slot, ()), *self._read.get(slot, ())]
            self._put(slot, self._wish(slot, near, ("step", "left")))
        for lane, group in stacked.items():
            self._stack(lane, group, wide, {slot.row for slot in bodies if slot.lane == lane})
        return wide

    def _height(self, lane: int, group: Sequence[Slot]) -> int:
        return max(self.count[lane], ceil(sqrt(len(group))))

    def _stack(self, lane: int, group: Sequence[Slot], wide: int, taken: Container[int]) -> None:
        """Weights or their gradients beside the rows that they belong to, in order.

        They stand in rows in which no line goes from the left to the steps.
        """
        wishes = {
            slot: self._wish(slot, self._readers.get(slot) or self._read.get(slot) or (), ("step",))
            for slot in group
        }
        ordered = sorted(group, key=lambda slot: wishes[slot])
        free = [row for row in range(self.count[lane] + len(group)) if row not in taken]
        rows = max(bisect_left(free, self.count[lane]), ceil(len(group) / wide))
        columns = ceil(len(group) / rows)
        at = -1
        for index, slot in enumerate(ordered):
            if columns > 1:
                at, slot.place = divmod(index, columns)
                slot.place += wide - columns
            else:
                near = bisect_left(free, wishes[slot])
                at = min(max(near, at + 1), rows - len(group) + index)
                slot.place = wide - 1
            slot.row = free[at]
            self.count[lane] = max(self.count[lane], slot.row + 1)


# ---------------------------------------------------------------------------------- without time


def _flat(scene: Scene, texts: list[tuple[str, str]]) -> Grid:
    """Lines that are read like text: values flow to the right, then on in the next line."""
    before = read_by(scene)
    levels = [0] * len(scene.nodes)
    nearest: dict[int, int] = {}
    for index, sources in enumerate(before):
        levels[index] = max((levels[each] + 1 for each in sources), default=0)
        for each in sources:
            nearest[each] = min(nearest.get(each, levels[index]), levels[index])
    for index, sources in enumerate(before):  # leaves stand by their readers
        if not sources and index in nearest:
            levels[index] = nearest[index] - 1
    members: dict[int, list[int]] = {}
    for index, level in enumerate(levels):
        members.setdefault(level, []).append(index)
    slots = [Slot("flat", 0) for _ in scene.nodes]
    total = sum(ceil(len(group) / MOST_ROWS) for group in members.values())
    height = max(map(len, members.values()), default=1)
    length = max(LONGEST_LINE, ceil(sqrt(0.6 * total * min(height, MOST_ROWS))))
    column, top, deepest = 0, 0, 0
    for level in sorted(members):
        group = members[level]
        parts = [group[i : i + MOST_ROWS] for i in range(0, len(group), MOST_ROWS)]
        for part in parts:
            if column == length:
                column, top, deepest = 0, top + deepest, 0
            deepest = max(deepest, _fill(part, before, slots, column, top))
            column += 1
    used = max((slot.place for slot in slots), default=0) + 1
    return Grid(
        slots,
        slots,
        [0] * len(slots),
        ["flat"],
        {"flat": used},
        [Lane("forward", "", 1)],
        [0, top + deepest],
        [False] * len(scene.edges),
        texts,
        {},
    )


def _fill(
    part: Sequence[int],
    before: Sequence[Sequence[int]],
    slots: Sequence[Slot],
    column: int,
    top: int,
) -> int:
    """One column of boxes, each beside what it reads where that is free. Returns its height."""
    wished: list[tuple[float, int]] = []
    for index in part:
        rows = [slots[each].row - top for each in before[index]]
        rows = [row for row in rows if row >= 0]
        wished.append((min(sum(rows) / len(rows) if rows else 0.0, MOST_ROWS), index))
    row = -1
    for count, (wish, index) in enumerate(sorted(wished)):
        room = max(MOST_ROWS - len(part) + count, row + 1)
        row = min(max(round(wish), row + 1), room)
        slots[index].place, slots[index].row = column, top + row
    return row + 1
