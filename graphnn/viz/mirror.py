"""Forward and backward pass side by side: which row every box of a graph with gradient takes.

The forward pass goes down, one operation a row, and its derivative stands in the same row, where
the backward pass goes up. What an operation reads beside its main input (weights, labels) stands at
its left; the backward pass has what it computes from saved values alone at its left, and what leads
to gradients that are results at its right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from graphnn.viz.scene import Scene

__all__ = ["Row", "has_mirror", "rows_of"]

LONGEST_SIDE = 3
"""Boxes that stand at the left of the operation that reads them."""
LONGEST_LOCAL = 2
"""The same, in the backward pass."""
LONGEST_BRANCH = 5
"""Boxes in a row at the right of the backward pass."""


@dataclass(eq=False, slots=True)
class Row:
    """What stands beside each other.

    Attributes
    ----------
    host : int
        The operation of the forward pass whose row it is.
    side : list of int
        At the left of the forward pass; each is read by the next, the last one by `forward`, or by
        the operation of the next row that has one.
    forward : int or None
    local : list of int
        At the left of the backward pass, in the same way; without `backward` they are read by the
        row above.
    backward : int or None
    branch : list of int
        At the right of the backward pass, each read by the next.
    """

    host: int
    side: list[int] = field(default_factory=list)
    forward: int | None = None
    local: list[int] = field(default_factory=list)
    backward: int | None = None
    branch: list[int] = field(default_factory=list)


def has_mirror(scene: Scene) -> bool:
    """Whether a scene is a forward pass with the backward pass that belongs to it."""
    is_in_order = all(edge.source < edge.target for edge in scene.edges)
    if scene.steps or scene.strip is not None or not is_in_order:
        return False
    roles = {node.role for node in scene.nodes}
    origins = {node.origin for node in scene.nodes if node.role == "backward"}
    return roles == {"forward", "backward"} and all(
        scene.nodes[origin].role == "forward" for origin in origins if origin is not None
    )


def rows_of(scene: Scene) -> list[Row]:
    """The rows from the top, with every box of the scene in one of them."""
    graph = _Graph(scene)
    sides = _sides(graph)
    aside = {each: reader for reader, chains in sides.items() for way in chains for each in way}
    hosts = [each for each in graph.forward if each not in aside]
    place = {host: number for number, host in enumerate(hosts)}
    at = {each: place[aside.get(each, each)] for each in graph.forward}
    for each in reversed(graph.backward):
        origin = scene.nodes[each].origin
        at[each] = at[origin] if origin is not None else _of_reader(graph, at, each, len(hosts))
    locals_of = _locals(graph, at)
    attached = {each for chains in locals_of.values() for way in chains for each in way}
    _spread_starts(graph, at, attached, len(hosts) - 1)
    blocks: list[list[int]] = [[] for _ in hosts]
    for each in graph.backward:
        if each not in attached:
            blocks[at[each]].append(each)
    leaving = _leaving(graph, at)
    rows: list[Row] = []
    for host, block in zip(hosts, blocks, strict=True):
        ahead = [Row(host, side=way) for way in sides.get(host, ())[1:]]
        first = sides.get(host, ())[:1]
        ahead.append(Row(host, side=first[0] if first else [], forward=host))
        rows += _beside(ahead, _block_rows(graph, host, block, locals_of, leaving))
    return rows


def _of_reader(graph: _Graph, at: dict[int, int], each: int, count: int) -> int:
    """Where what belongs to no operation is read, or else the last of so many operations."""
    return min((at[reader] for reader in graph.readers[each]), default=count - 1)


class _Graph:
    """Who reads whom, within each pass.

    Attributes
    ----------
    forward, backward : list of int
        In an order in which sources come first.
    reads, readers : list of list of int
        By box, of the same pass.
    saved : set of int
        Boxes of the backward pass that read values of the forward pass, but for weights.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        roles = [node.role for node in scene.nodes]
        self.forward = [each for each, role in enumerate(roles) if role == "forward"]
        self.backward = [each for each, role in enumerate(roles) if role == "backward"]
        self.reads: list[list[int]] = [[] for _ in roles]
        self.readers: list[list[int]] = [[] for _ in roles]
        self.saved: set[int] = set()
        for edge in scene.edges:
            if roles[edge.source] == roles[edge.target]:
                self.reads[edge.target].append(edge.source)
                self.readers[edge.source].append(edge.target)
            elif edge.kind != "weight":
                self.saved.add(edge.target)


def _sides(graph: _Graph) -> dict[int, list[list[int]]]:
    """By operation: the chains of boxes that stand at its left."""
    nodes = graph.scene.nodes
    depth: dict[int, int] = {}
    for each in graph.forward:
        depth[each] = max((depth[before] + 1 for before in graph.reads[each]), default=0)

    def weight(each: int) -> tuple[int, bool, bool]:
        kind = nodes[each].kind
        return depth[each], kind == "input", kind == "operation"

    found: dict[int, list[list[int]]] = {}
    taken: set[int] = set()
    for reader in graph.forward:
        main = max(graph.reads[reader], key=weight, default=None)
        for each in graph.reads[reader]:
            way = _chain_to(graph, each, reader, LONGEST_SIDE) if each != main else []
            if way and not taken.intersection(way):
                found.setdefault(reader, []).append(way)
                taken.update(way)
    return {reader: chains for reader, chains in found.items() if reader not in taken}


def _chain_to(graph: _Graph, last: int, reader: int, most: int) -> list[int]:
    """The boxes that lead to a reader and to nothing else, each read by the next; or nothing."""
    way: list[int] = []
    each = last
    while True:
        # A weight has badges where it is read again.
        is_free = graph.readers[each] == [reader] or graph.scene.nodes[each].kind == "parameter"
        if not is_free or graph.readers[each][0] != reader or len(way) == most:
            return []
        way.insert(0, each)
        if not graph.reads[each]:
            return way
        if len(graph.reads[each]) > 1:
            return []
        each, reader = graph.reads[each][0], each


def _locals(graph: _Graph, at: dict[int, int]) -> dict[int, list[list[int]]]:
    """By box of the backward pass: chains that depend on no gradient, to stand at its left."""
    found: dict[int, list[list[int]]] = {}
    taken: set[int] = set()
    for reader in reversed(graph.backward):
        if reader in taken or (len(graph.reads[reader]) < 2 and reader not in graph.saved):
            continue
        for each in graph.reads[reader]:
            way = _chain_to(graph, each, reader, LONGEST_LOCAL)
            if way and all(at[member] == at[reader] for member in way):
                found.setdefault(reader, []).append(way)
                taken.update(way)
    return found


def _spread_starts(graph: _Graph, at: dict[int, int], attached: set[int], last: int) -> None:
    """What starts the gradient of a loss goes up beside the operations that end in the loss."""
    is_start: set[int] = set()
    for each in graph.backward:
        is_single = each not in graph.saved and len(graph.readers[each]) == 1
        if is_single and each not in attached and is_start.issuperset(graph.reads[each]):
            is_start.add(each)
    for each in reversed(graph.backward):
        if each in is_start:
            at[each] = min(max(at[each], at[graph.readers[each][0]] + 1), last)


def _leaving(graph: _Graph, at: dict[int, int]) -> set[int]:
    """Boxes of the backward pass from which the gradient goes on to other operations."""
    leaving: set[int] = set()
    for each in reversed(graph.backward):
        if any(at[reader] != at[each] or reader in leaving for reader in graph.readers[each]):
            leaving.add(each)
    return leaving


def _block_rows(
    graph: _Graph,
    host: int,
    block: Sequence[int],
    locals_of: dict[int, list[list[int]]],
    leaving: set[int],
) -> list[Row]:
    """The rows of one operation's derivative, from the top."""
    rows: list[Row] = []  # from the bottom, as the gradient goes
    for each in block:
        chains = locals_of.get(each, [])
        if each in leaving:
            rows += [Row(host, local=way) for way in chains[1:]]
            rows.append(Row(host, local=chains[0] if chains else [], backward=each))
            continue
        row = _row_to_extend(graph, rows, each)
        if row is not None:
            row.branch.append(each)
        else:
            row = Row(host, branch=[*(chains[0] if chains else []), each])
            chains = chains[1:]
            rows.insert(_after_source(graph, rows, each), row)
        for way in chains:
            rows.insert(rows.index(row), Row(host, branch=way))
    return _merged(graph, rows)[::-1]


def _row_to_extend(graph: _Graph, rows: Sequence[Row], each: int) -> Row | None:
    """The row whose last box at the right leads to a box and nowhere else."""
    if each in graph.saved:
        return None
    for row in rows:
        is_open = 0 < len(row.branch) < LONGEST_BRANCH
        if is_open and graph.readers[row.branch[-1]] == [each]:
            return row
    return None


def _after_source(graph: _Graph, rows: Sequence[Row], each: int) -> int:
    """Above the row of what a box reads, or else above all of them."""
    for number, row in enumerate(rows):
        if row.backward in graph.reads[each]:
            return number + 1
    return len(rows)


def _merged(graph: _Graph, rows: list[Row]) -> list[Row]:
    """Rows at the right that read no saved value stand beside the boxes of the next row."""
    merged: list[Row] = []
    for row in rows:
        before = merged[-1] if merged else None
        if before is not None and not (before.branch and row.branch):
            low, high = (before, row) if before.branch else (row, before)
            is_alone = low.backward is None and not low.local and high.backward is not None
            if low.branch and is_alone and not graph.saved.intersection(low.branch):
                high.branch = low.branch
                merged[-1] = high
                continue
        merged.append(row)
    return merged


def _beside(ahead: list[Row], back: list[Row]) -> Iterator[Row]:
    """The rows of an operation and those of its derivative as one."""
    count = max(len(ahead), len(back))
    start = (count - len(ahead)) // 2
    for number in range(count):
        row = back[number - count + len(back)] if number >= count - len(back) else None
        if 0 <= number - start < len(ahead):
            own = ahead[number - start]
            if row is not None:
                own.local, own.backward, own.branch = row.local, row.backward, row.branch
            yield own
        else:
            assert row is not None
            yield row
