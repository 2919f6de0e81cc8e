"""The grid of time and operations: which place every node of a scene takes.

Columns are time steps. Inside a column the values flow the way that time does: to the right in
the forward pass, to the left in the backward pass. Rows are the chains of one step: each gate has
its own, and what a step hands to the next stands in one row with what reads it there, so that it
runs straight through all steps. Lanes are layers and directions; the backward lanes are mirrored
below the forward lanes. What belongs to no step stands at the left (weights and their gradients)
or at the right (what comes after the last step).

The same operation of every time step shares one slot: one cell is laid out once and stamped for
every step, so the work is linear in the number of steps.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from graphnn.viz.readouts import with_readouts
from graphnn.viz.scene import Scene, SceneEdge

__all__ = [
    "Grid",
    "Lane",
    "Slot",
    "columns_of",
    "gathers",
    "lane_names",
    "lanes_of",
    "read_by",
]

ROLES = ("forward", "tangent", "backward", "update")
"""From the top; the lanes of the backward role are in reverse order."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One of the rows of cells.

    Attributes
    ----------
    role : str
    name : str
        The layer, or the direction; may be empty.
    flow : int
        1 where values flow to the right, -1 where to the left.
    is_readout : bool
        Whether it begins where another lane ends: see :mod:`graphnn.viz.readouts`.
    """

    role: str
    name: str
    flow: int
    is_readout: bool = False


@dataclass(eq=False, slots=True)
class Slot:
    """A place in a column that the same operation of every time step takes.

    Attributes
    ----------
    kind : str
        Of its column: ``"left"``, ``"step"``, ``"elision"``, ``"right"`` or ``"flat"``.
    lane : int
    order : int
        Longest way to it inside its column and lane, for any node that takes it.
    place : int
        Column of boxes inside its column, from the left.
    line : int
        Which line of its lane, where a long way goes on below like text.
    row : int
        In its lane, then in the whole picture.
    width, height : float
        Of its box.
    room : float
        Points of width that it needs, which is more than its box where a label stands below.
    has_ghost, has_label : bool
        Whether a badge stands above the box, and a label below.
    frames : int
        How many groups are around it, one in another.
    """

    kind: str
    lane: int
    order: int = 0
    place: int = 0
    line: int = 0
    row: int = 0
    width: float = 0.0
    height: float = 0.0
    room: float = 0.0
    has_ghost: bool = False
    has_label: bool = False
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Grid:
    """Which place every node takes.

    Attributes
    ----------
    slots : list of Slot
        By node.
    unique : list of Slot
        All of them once, also those of zooms that are not drawn.
    columns : list of int
        By node, from the left.
    kinds : list of str
        By column: the slots' ``kind``.
    places : dict of str to int
        By kind of column: how many columns of boxes it has.
    lanes : list of Lane
        From the top.
    first : list of int
        By lane its first row, then the number of all rows.
    is_ghost : list of bool
        By edge: whether a ghost stands for it.
    texts : list of (str, str)
        By node.
    ghosts : dict of int to list of (int, str, float)
        By the node at whose box they stand: whom each badge names, the name, and its width.
    """

    slots: list[Slot]
    unique: list[Slot]
    columns: list[int]
    kinds: list[str]
    places: dict[str, int]
    lanes: list[Lane]
    first: list[int]
    is_ghost: list[bool]
    texts: list[tuple[str, str]]
    ghosts: dict[int, list[tuple[int, str, float]]]


def gathers(source: Slot, target: Slot) -> bool:
    """Whether a value of every step goes to the left: into a sum over the time steps."""
    return source.kind == "step" and target.kind == "left"


def columns_of(zooms: Sequence[Scene]) -> list[tuple[list[int], list[str]]]:
    """By zoom the column of every node, and the kind of every column."""
    found = [_columns(zoom) for zoom in zooms]
    _move_starts(zooms, found)
    return [(columns, _kinds(zoom, columns)) for zoom, columns in zip(zooms, found, strict=True)]


def _columns(scene: Scene) -> list[int]:
    rank = {step: index for index, step in enumerate(scene.steps, start=1)}
    last = len(rank) + 1
    before = read_by(scene)
    columns = [0] * len(scene.nodes)
    is_leaf = [not sources for sources in before]
    for index, node in enumerate(scene.nodes):
        if node.step is not None:
            columns[index] = rank[node.step]
        elif node.role == "forward":
            columns[index] = last if any(columns[each] > 0 for each in before[index]) else 0
        elif node.origin is not None and node.origin < index:
            columns[index] = columns[node.origin]
        else:
            computed = [columns[each] for each in before[index] if not is_leaf[each]]
            columns[index] = min(computed, default=0)
    first_reader = [last + 1] * len(columns)
    for edge in scene.edges:
        first_reader[edge.source] = min(first_reader[edge.source], columns[edge.target])
    for index, node in enumerate(scene.nodes):
        if node.step is None and not before[index] and first_reader[index] == last:
            columns[index] = last
    for index, node in enumerate(scene.nodes):  # gradients of what has moved
        if node.step is None and node.role != "forward" and node.origin is not None:
            columns[index] = columns[node.origin]
    _move_sums(scene, columns)
    return columns


def _move_sums(scene: Scene, columns: list[int]) -> None:
    """Put gradients that add up something of every step to the left, beside what is given.

    In the step of one addend they would take room in all of them. What the forward pass shares
    with its gradient, such as a sum of squares, stands beside its loss.
    """
    last = len(scene.steps) + 1
    is_read = [False] * len(columns)
    is_shared = [False] * len(columns)
    for edge in scene.edges:
        is_read[edge.source] |= scene.nodes[edge.target].step is not None
        is_shared[edge.source] |= scene.nodes[edge.target].role == "forward"
    for index, node in enumerate(scene.nodes):
        is_sum = node.step is None and node.role == "backward" and not is_read[index]
        if is_sum and columns[index] < last:
            columns[index] = last if is_shared[index] else 0


def _kinds(scene: Scene, columns: Sequence[int]) -> list[str]:
    last = len(scene.steps) + 1
    skipped = [True] * (last + 1)
    for index, node in enumerate(scene.nodes):
        skipped[columns[index]] &= node.kind == "elision"
    steps = ["elision" if skipped[column] else "step" for column in range(1, last)]
    return ["left", *steps, "right"]


def _move_starts(zooms: Sequence[Scene], found: Sequence[list[int]]) -> None:
    """Put what starts the gradient of a loss beside the loss, not into the last time step.

    There it would take room in every step, since all of them are the same cell. What is there in
    several steps of a zoom stays in all zooms.
    """
    starts: list[list[int]] = []  # what depends on nothing of any step
    most: dict[Hashable, int] = {}
    for scene, columns in zip(zooms, found, strict=True):
        starts.append(_starts(scene, columns))
        steps: dict[Hashable, set[int | None]] = {}
        for index in starts[-1]:
            node = scene.nodes[index]
            steps.setdefault(node.signature, set()).add(node.step)
        for signature, of_signature in steps.items():
            count = len(of_signature - {None})
            most[signature] = max(most.get(signature, 0), count)
    for scene, columns, of_scene in zip(zooms, found, starts, strict=True):
        last, before = len(scene.steps) + 1, read_by(scene)
        for index in of_scene:
            is_single = most[scene.nodes[index].signature] == 1
            if is_single and all(columns[each] == last for each in before[index]):
                columns[index] = last


def _starts(scene: Scene, columns: Sequence[int]) -> list[int]:
    """Backward nodes that depend on nothing of any step."""
    last, before = len(scene.steps) + 1, read_by(scene)
    is_start = [False] * len(columns)
    lagged = {edge.target for edge in scene.edges if edge.lag}
    for index, node in enumerate(scene.nodes):
        if node.role == "backward" and index not in lagged:
            is_start[index] = all(is_start[each] or columns[each] == last for each in before[index])
    return [index for index, start in enumerate(is_start) if start]


def read_by(scene: Scene) -> list[list[int]]:
    """What every node reads in its own time step or from an earlier one."""
    before: list[list[int]] = [[] for _ in scene.nodes]
    for edge in scene.edges:
        if not edge.lag:
            before[edge.target].append(edge.source)
    return before


def lanes_of(
    scene: Scene, columns: Sequence[int], typical: Sequence[SceneEdge]
) -> tuple[list[int], list[Lane]]:
    """The lane of every node, and all lanes from the top; see :func:`with_readouts`."""
    apart, read = with_readouts(scene, [node.lane for node in scene.nodes], typical)
    names = _named(scene, apart)
    number = _from_the_top(scene, names, read)
    found = sorted(
        {(node.role, name) for node, name in zip(scene.nodes, names, strict=True)},
        key=lambda lane: (
            ROLES.index(lane[0]),
            -number[lane[1]] if lane[0] == "backward" else number[lane[1]],
        ),
    )
    index_of = {lane: index for index, lane in enumerate(found)}
    lanes = [index_of[node.role, name] for node, name in zip(scene.nodes, names, strict=True)]
    flows = _flows(scene.edges, [read.get(name, name) for name in names], columns)
    made = []
    for role, name in found:
        flow = flows.get(read.get(name, name), 1)
        made.append(Lane(role, name, -flow if role == "backward" else flow, name in read))
    return lanes, made


def _from_the_top(scene: Scene, names: Sequence[str], read: Mapping[str, str]) -> dict[str, int]:
    """Numbers of lanes: in the order in which they have something to hand on, read-outs below.

    An encoder is above its decoder, although the decoder's tokens are there from the beginning.
    """
    made: dict[str, int] = {}
    for edge in scene.edges:
        before, after = scene.nodes[edge.source], scene.nodes[edge.target]
        if before.role != "forward" or after.role != "forward":
            continue
        source, target = names[edge.source], names[edge.target]
        if source == target and edge.kind == "recurrent":
            made[source] = min(made.get(source, edge.source), edge.source)
        elif source != target and before.step is not None and after.step is not None:
            made[target] = min(made.get(target, edge.target), edge.target)
    for index, name in enumerate(names):
        made.setdefault(name, index)
    order = sorted(made, key=lambda name: (made[read.get(name, name)], name in read))
    return {name: number for number, name in enumerate(order)}


def lane_names(scene: Scene) -> list[str]:
    """The name of every node's lane, without read-outs."""
    return _named(scene, [node.lane for node in scene.nodes])


def _named(scene: Scene, names: list[str]) -> list[str]:
    """The name of every node's lane; what belongs to no step goes where its neighbours are."""
    if not any(names):
        return names
    is_leaf = [True] * len(names)
    for edge in scene.edges:
        is_leaf[edge.target] = False
        if scene.nodes[edge.target].step is None and not names[edge.target]:
            names[edge.target] = names[edge.source]
    for edge in reversed(scene.edges):  # weights and inputs stand with their readers
        node = scene.nodes[edge.source]
        has_choice = node.step is None or is_leaf[edge.source]
        is_again = scene.nodes[edge.target].is_recomputed
        if node.role == "forward" and not names[edge.source] and has_choice and not is_again:
            names[edge.source] = names[edge.target]
    for index, node in enumerate(scene.nodes):
        if node.step is None and node.role != "forward" and node.origin is not None:
            names[index] = names[node.origin]
    return names


def _flows(
    edges: Sequence[SceneEdge], names: Sequence[str], columns: Sequence[int]
) -> dict[str, int]:
    """By lane: -1 where what steps hand on goes back in time, as in half of a two-way net."""
    balance: dict[str, int] = {}
    for edge in edges:
        if edge.kind == "recurrent" and names[edge.source] == names[edge.target]:
            ahead = edge.lag or columns[edge.target] - columns[edge.source]
            way = 1 if ahead > 0 else -1
            balance[names[edge.source]] = balance.get(names[edge.source], 0) + way
    return {name: -1 if total < 0 else 1 for name, total in balance.items()}
