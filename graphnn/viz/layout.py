"""Where everything goes: the result of every layout, and the grid of time and operations.

The grid: columns are time steps, rows the operations of one step in order of dependence. The
forward lane is on top, the backward lane mirrored below it, and what belongs to no step stands at
the left (weights and their gradients) or at the right (what comes after the last step). One cell
is laid out once and stamped for every step, so the work is linear in the number of steps.

A graph without time steps is a grid too: one column, folded into several when it is long.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, sqrt

from graphnn.viz.scene import Scene, SceneNode
from graphnn.viz.style import DETAIL_SIZE, LABEL_SIZE, text_width

__all__ = ["Band", "Box", "Grid", "Layout", "Route", "Slot", "box_size", "place"]

HEIGHT = 34.0
"""Points, of every box."""
GAP = 16.0
"""Points between neighbours in a row."""
DRIFT = 600.0
"""Points that a long chain may wander off the middle of its column while siblings push it."""
LANES = ("forward", "tangent", "backward", "update")
WIDEST_ROW = 40
"""Boxes side by side in a graph without time steps; more go to the next row."""
LONGEST_COLUMN = 48
"""Rows of a column before a graph without time steps is folded."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; ``y`` grows downwards, all lengths are points."""

    x: float
    y: float
    width: float
    height: float

    @property
    def center(self) -> tuple[float, float]:
        """The middle."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True, slots=True)
class Route:
    """The way of an edge.

    Attributes
    ----------
    points : tuple of (float, float)
        Corners of a line, or 3n + 1 points of cubic Bézier curves.
    is_curve : bool
    label_at : (float, float) or None
        Where its label is centred.
    """

    points: tuple[tuple[float, float], ...]
    is_curve: bool = False
    label_at: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """An area behind nodes: a lane, a time step or a name scope.

    Attributes
    ----------
    box : Box
    tone : str
        Key in :data:`graphnn.viz.style.BANDS`.
    label : str
        Written inside, at the top left.
    """

    box: Box
    tone: str
    label: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions for a scene: one box a node, one route an edge, in the scene's order."""

    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]
    bands: tuple[Band, ...]
    width: float
    height: float


def box_size(node: SceneNode) -> tuple[float, float]:
    """Width and height of a box that holds the texts of a node in any usual font."""
    width = max(text_width(node.label, LABEL_SIZE), text_width(node.detail, DETAIL_SIZE))
    return max(width + 14, 44.0), HEIGHT


@dataclass(eq=False)
class Slot:
    """A place in a column that the same operation of every time step takes.

    Attributes
    ----------
    column : str
        ``"left"``, ``"step"``, ``"right"``, or a number where a graph is folded.
    lane : int
        Number in `LANES`.
    level : int
        Longest way to it inside its column and lane.
    row : int
        Row of the whole picture.
    x : float
        Centre, from the column's left edge.
    width : float
    above : set of Slot
        Slots of the same column and lane that it reads, for alignment.
    """

    column: str
    lane: int
    level: int = 0
    row: int = 0
    x: float = 0.0
    width: float = 0.0
    above: dict[Slot, None] = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """Which place every node takes.

    Attributes
    ----------
    slots : list of Slot
        By node.
    columns : list of int
        By node, from the left.
    kinds : list of str
        By column: the slots' ``column``.
    widths : dict of str to float
        By kind of column.
    lanes : list of (int, int, int)
        Lane, its first row, and its number of rows.
    occupied : dict
        Slots by kind of column and row.
    """

    slots: list[Slot]
    columns: list[int]
    kinds: list[str]
    widths: dict[str, float]
    lanes: list[tuple[int, int, int]]
    occupied: dict[tuple[str, int], list[Slot]]

    @property
    def n_rows(self) -> int:
        """Rows of all lanes."""
        return sum(count for _, _, count in self.lanes)


def place(scene: Scene) -> Grid:
    """Give every node of a scene its place."""
    before: list[list[int]] = [[] for _ in scene.nodes]
    after: list[list[int]] = [[] for _ in scene.nodes]
    for edge in scene.edges:
        before[edge.target].append(edge.source)
        after[edge.source].append(edge.target)
    if scene.steps:
        slots, columns, kinds = _over_time(scene, before, after)
    else:
        slots, columns, kinds = _folded(scene, before)
    for slot, node in zip(slots, scene.nodes, strict=True):
        slot.width = max(slot.width, box_size(node)[0])
    for index, sources in enumerate(before):
        for source in sources:
            if columns[source] == columns[index] and slots[source].lane == slots[index].lane:
                slots[index].above[slots[source]] = None
    unique = list(dict.fromkeys(slots))
    lanes = _rows_of_lanes(unique)
    widths = {kind: _align(members) for kind, members in _by(unique, "column").items()}
    occupied: dict[tuple[str, int], list[Slot]] = {}
    for slot in unique:
        occupied.setdefault((slot.column, slot.row), []).append(slot)
    return Grid(slots, columns, kinds, widths, lanes, occupied)


# ------------------------------------------------------------------------- graphs without steps


def _folded(
    scene: Scene, before: Sequence[Sequence[int]]
) -> tuple[list[Slot], list[int], list[str]]:
    """Rows by longest way from the leaves; wide rows are split, long columns folded."""
    levels = _levels(range(len(scene.nodes)), before, [0] * len(scene.nodes))
    filled: dict[int, int] = {}
    extra = [0] * (max(levels, default=0) + 2)
    part = []
    for level in levels:
        part.append(filled.get(level, 0) // WIDEST_ROW)
        filled[level] = filled.get(level, 0) + 1
    for level, count in filled.items():
        extra[level + 1] = ceil(count / WIDEST_ROW)
    for level in range(1, len(extra)):
        extra[level] += extra[level - 1]
    rows = [extra[level] + piece for level, piece in zip(levels, part, strict=True)]
    total = max(rows, default=0) + 1
    height = total if total <= LONGEST_COLUMN else max(LONGEST_COLUMN, round(sqrt(3 * total)))
    slots = [Slot(str(row // height), 0, row % height) for row in rows]
    columns = [row // height for row in rows]
    return slots, columns, [str(column) for column in range(max(columns, default=0) + 1)]


# -------------------------------------------------------------------------- unrolled recurrences


def _over_time(
    scene: Scene, before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]
) -> tuple[list[Slot], list[int], list[str]]:
    """Columns are time steps; a slot is shared by the same operation of all steps."""
    columns = _time_columns(scene, before, after)
    last = len(scene.steps) + 1
    kinds = ["left", *["step"] * (last - 1), "right"]
    lanes = [LANES.index(node.role) for node in scene.nodes]
    places = [column * len(LANES) + lane for column, lane in zip(columns, lanes, strict=True)]
    levels = _levels(range(len(scene.nodes)), before, places)
    shared: dict[Hashable, Slot] = {}
    slots: list[Slot] = [Slot("", 0)] * len(scene.nodes)
    taken: dict[Hashable, int] = {}
    order = sorted(range(len(scene.nodes)), key=lambda i: (lanes[i], levels[i], i))
    for index in order:
        node, column = scene.nodes[index], columns[index]
        key: Hashable
        if kinds[column] == "step":
            origin = slots[node.origin] if node.origin is not None else None
            key = (lanes[index], node.signature, origin)
            occurrence = taken.get((column, key), 0)
            taken[column, key] = occurrence + 1
            key = (key, occurrence)
        else:
            key = index
        slot = shared.setdefault(key, Slot(kinds[column], lanes[index]))
        slot.level = max(slot.level, levels[index])
        slots[index] = slot
    _level_at_left(scene, slots, after)
    return slots, columns, kinds


def _time_columns(
    scene: Scene, before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]
) -> list[int]:
    """The column of every node: 0 for the left, then the steps, then the right."""
    rank = {step: index for index, step in enumerate(scene.steps, start=1)}
    last = len(rank) + 1
    columns = [0] * len(scene.nodes)
    for index, node in enumerate(scene.nodes):
        if node.step is not None:
            columns[index] = rank[node.step]
        elif node.role == "forward":
            columns[index] = last if any(columns[each] > 0 for each in before[index]) else 0
        elif node.origin is not None and node.origin < index:
            columns[index] = columns[node.origin]
        else:
            columns[index] = min((columns[each] for each in before[index]), default=0)
    for index in reversed(range(len(scene.nodes))):
        node = scene.nodes[index]
        is_leaf = node.step is None and not before[index]
        if is_leaf and {columns[each] for each in after[index]} == {last}:
            columns[index] = last
    for index, node in enumerate(scene.nodes):  # gradients of what has moved
        if node.step is None and node.role != "forward" and node.origin is not None:
            columns[index] = columns[node.origin]
    return columns


def _levels(
    order: Iterable[int], before: Sequence[Sequence[int]], places: Sequence[int]
) -> list[int]:
    """Longest way to every node over nodes of its own place.

    What reads nothing in its place stands right above its first reader there.
    """
    levels = [0] * len(before)
    for index in order:
        for each in before[index]:
            if places[each] == places[index]:
                levels[index] = max(levels[index], levels[each] + 1)
    nearest: dict[int, int] = {}
    for index in range(len(before)):
        for each in before[index]:
            if places[each] == places[index] and levels[each] == 0:
                nearest[each] = min(nearest.get(each, levels[index]), levels[index])
    for first, level in nearest.items():
        levels[first] = level - 1
    return levels


def _level_at_left(scene: Scene, slots: Sequence[Slot], after: Sequence[Sequence[int]]) -> None:
    """Stand weights beside what reads them, and their gradients mirrored below."""
    depth = {
        lane: max(
            (slot.level for slot in slots if slot.lane == lane and slot.column == "step"), default=0
        )
        for lane in range(len(LANES))
    }
    leaves = [index for index, slot in enumerate(slots) if slot.column == "left" and slot.lane == 0]
    wanted = {}
    for index in leaves:
        readers = [slots[each].level for each in after[index] if slots[each].lane == 0]
        wanted[index] = min(readers, default=0)
    room = max(1, ceil(len(leaves) / (depth[0] + 1)))
    count: dict[int, int] = {}
    for index in sorted(leaves, key=lambda i: (wanted[i], i)):
        level = wanted[index]
        while count.get(level, 0) >= room:
            level += 1
        count[level] = count.get(level, 0) + 1
        slots[index].level = level
    _stack_sums(scene, slots, depth)


def _stack_sums(scene: Scene, slots: Sequence[Slot], depth: Mapping[int, int]) -> None:
    """Gradients of what stands at the left, in reverse order, beside the end of their lane."""
    sums: dict[int, list[tuple[int, int]]] = {}
    for index, node in enumerate(scene.nodes):
        slot = slots[index]
        if slot.column == "left" and slot.lane > 0 and node.origin is not None:
            sums.setdefault(slot.lane, []).append((-slots[node.origin].level, index))
    for lane, found in sums.items():
        room = ceil(len(found) / (depth[lane] + 2))
        first = depth[lane] + 2 - ceil(len(found) / room)
        for place, (_, index) in enumerate(sorted(found)):
            slots[index].level = max(first + place // room, slots[index].level)


# ------------------------------------------------------------------------------ rows and widths


def _by(slots: Iterable[Slot], name: str) -> dict[str, list[Slot]]:
    groups: dict[str, list[Slot]] = {}
    for slot in slots:
        groups.setdefault(getattr(slot, name), []).append(slot)
    return groups


def _rows_of_lanes(slots: Sequence[Slot]) -> list[tuple[int, int, int]]:
    """Number the rows of all lanes.

    The forward lane ends in its last row, the others start in their first: both directions of
    time meet in the middle.
    """
    lanes, first = [], 0
    for lane in range(len(LANES)):
        members = [slot for slot in slots if slot.lane == lane]
        if not members:
            continue
        deepest = {
            column: max(slot.level for slot in group)
            for column, group in _by(members, "column").items()
        }
        depth = max(deepest.values()) + 1
        for slot in members:
            shift = (
                depth - 1 - deepest[slot.column]
                if lane == 0 and slot.column in ("step", "right")
                else 0
            )
            slot.row = first + slot.level + shift
        lanes.append((lane, first, depth))
        first += depth
    return lanes


def _align(slots: Sequence[Slot]) -> float:
    """Set ``x`` in one column: below what is read, without overlaps. Returns the width."""
    rows: dict[int, list[Slot]] = {}
    for slot in slots:
        rows.setdefault(slot.row, []).append(slot)
    for row in sorted(rows):
        members = rows[row]
        wanted = {
            slot: max(-DRIFT, min(sum(each.x for each in slot.above) / len(slot.above), DRIFT))
            if slot.above
            else slot.x
            for slot in members
        }
        members.sort(key=lambda slot: wanted[slot])
        _spread(members, [wanted[slot] for slot in members])
    below: dict[Slot, list[Slot]] = {}
    for slot in slots:
        for each in slot.above:
            below.setdefault(each, []).append(slot)
    for row in sorted(rows, reverse=True):
        members = rows[row]
        wanted = {
            slot: sum(each.x for each in below[slot]) / len(below[slot])
            if slot in below and len(slot.above) != 1
            else slot.x
            for slot in members
        }
        _spread(members, [wanted[slot] for slot in members])
    left = min(slot.x - slot.width / 2 for slot in slots)
    right = max(slot.x + slot.width / 2 for slot in slots)
    for slot in slots:
        slot.x -= left
    return right - left


def _spread(members: Sequence[Slot], wanted: Sequence[float]) -> None:
    """Place a row's boxes in order, each as near to where it wants to be as the others allow.

    Boxes that collide form a block, which stands where its members want to be on average.
    """
    blocks: list[tuple[float, float, int]] = []  # sum of wishes for its left end, width, count
    offsets: list[float] = []
    starts: list[int] = []
    for index, (slot, wish) in enumerate(zip(members, wanted, strict=True)):
        total, width, count = wish - slot.width / 2, slot.width, 1
        start, offset = index, 0.0
        offsets.append(offset)
        while blocks and blocks[-1][0] / blocks[-1][2] + blocks[-1][1] + GAP > total / count:
            left_total, left_width, left_count = blocks.pop()
            shift = left_width + GAP
            total = left_total + total - count * shift
            width += shift
            count += left_count
            start = starts.pop()
        blocks.append((total, width, count))
        starts.append(start)
    for block, (total, _, count) in enumerate(blocks):
        x = total / count
        for slot in members[starts[block] : starts[block] + count]:
            slot.x = x + slot.width / 2
            x += slot.width + GAP
