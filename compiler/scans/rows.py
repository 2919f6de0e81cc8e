"""Rows: nodes that do the same at every repetition of something written out again and again.

Before, a graph::

    x0 @ w    x1 @ w    x2 @ w    x3 @ w
       |         |         |         |
    h -+- tanh --+- tanh --+- tanh --+- tanh

After, four rows, and how they read each other::

    [product]   [add]   [tanh]        add reads product at the same time, and tanh one time earlier

A row begins as a *seed*: nodes that look alike and lie equally deep behind each other. It makes
its neighbours rows: what all its nodes read at one place, and what reads all its nodes. What is
read need not be a row: it may be one node for all times, or something else at each.

Times are numbers of repetitions; where a row begins to count does not matter, and a way back that
is joined to a way there counts from its end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from graphnn.core.graph import Graph
from graphnn.core.node import Node, freeze
from graphnn.ops.broadcasting import RESHAPE
from graphnn.ops.control import PROJECT, TUPLE
from graphnn.ops.joining import SLICE

__all__ = ["FEWEST", "Link", "Row", "find_rows", "is_heavy"]

FEWEST = 8
"""Repetitions that are worth a loop."""

ENOUGH = 4
"""Nodes that are a row; ends of a loop may differ, and be found later."""

MOST_IN_TURN = 4
"""Uses of one weight within a repetition that seeds can be told apart for."""


class Link(NamedTuple):
    """What the nodes of a row read at one place: at time t, that of ``row`` at t + ``ahead``."""

    row: Row
    ahead: int


class Row:
    """Nodes that do the same at different times.

    Attributes
    ----------
    one : Node
        One of them, which stands for all.
    nodes : dict of int to Node
        By time.
    operands : list of Link or None
        What they read at each place, as far as it is a row.
    readers : list of (Row, int, int)
        Rows that read this one, at which place, and how far ahead.
    begins : dict of int to int
        Times at which a sum has one term yet, and is that term: the place it is read at.
    """

    def __init__(self, one: Node) -> None:
        self.one = one
        self.nodes: dict[int, Node] = {}
        self.operands: list[Link | None] = [None] * len(one.inputs)
        self.readers: list[tuple[Row, int, int]] = []
        self.begins: dict[int, int] = {}

    @property
    def first(self) -> int:
        """The least time."""
        return min(self.nodes)

    @property
    def last(self) -> int:
        """The greatest time."""
        return max(self.nodes)


def find_rows(graph: Graph) -> list[Row]:
    """All rows of a graph that belong to something repeated."""
    return _Finder(graph).find()


class _Finder:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.rows: list[Row] = []
        self.place: dict[Node, tuple[Row, int]] = {}
        self._looks: dict[Node, int] = {}
        self._users: dict[Node, list[tuple[Node, int]]] = {}
        self._to_inputs: list[tuple[Row, list[int]]] = []
        self._to_users: list[tuple[Row, list[int]]] = []
        self._doubtful: list[tuple[Node, Row, int, int]] = []

    def find(self) -> list[Row]:
        """The rows grown from every seed that no earlier one has reached."""
        numbers: dict[Hashable, int] = {}
        self._looks = {
            node: numbers.setdefault(_look(node), len(numbers)) for node in self.graph.nodes
        }
        for seed in self._seeds():
            if self.place.keys().isdisjoint(seed):
                if not self._users:
                    self._users = _uses(self.graph)
                self._grow(seed)
        return self.rows

    # ------------------------------------------------------------------------------------ seeds

    def _seeds(self) -> Iterator[Sequence[Node]]:
        """Nodes that look alike, and so do what they read, each equally far behind another."""
        numbers: dict[Hashable, int] = {}
        looks = {
            node: -1 if node.op is SLICE else look for node, look in self._looks.items()
        }  # slices of a sequence differ in where they are
        deep = {
            node: numbers.setdefault(
                (looks[node], *(looks[each] for each in node.inputs)), len(numbers)
            )
            for node in self.graph.nodes
        }
        depth: dict[Node, int] = {}
        alike: dict[Hashable, list[Node]] = defaultdict(list)
        for node in self.graph.nodes:
            if not node.inputs:
                depth[node] = 0
                continue
            depth[node] = 1 + max([depth[each] for each in node.inputs])
            key = (deep[node], *(deep[each] if each.inputs else id(each) for each in node.inputs))
            alike[key].append(node)
        groups = [group for group in alike.values() if len(group) >= FEWEST]
        groups.sort(key=lambda group: not is_heavy(group[0]))
        for group in groups:
            group.sort(key=depth.__getitem__)
            for turns in range(1, MOST_IN_TURN + 1):
                seed = _evenly_spaced(group[::turns], depth)
                if len(seed) >= FEWEST - 1:
                    yield seed[1:-1]  # what looks alike by chance does so at the ends
                    break

    # ----------------------------------------------------------------------------------- growth

    def _grow(self, seed: Sequence[Node]) -> None:
        """Rows of a seed, what it reads, and what reads it; inputs tell more, so they go first."""
        self._new_row(dict(enumerate(seed)))
        while self._to_inputs or self._to_users or self._doubtful:
            if self._to_inputs:
                self._follow_inputs(*self._to_inputs.pop())
            elif self._to_users:
                self._follow_users(*self._to_users.pop())
            else:
                self._join(*self._doubtful.pop(), surely=False)

    def _new_row(self, nodes: Mapping[int, Node]) -> Row:
        row = Row(list(nodes.values())[len(nodes) // 2])
        self.rows.append(row)
        self._add(row, nodes)
        return row

    def _add(self, row: Row, nodes: Mapping[int, Node]) -> None:
        """Let nodes belong to a row, and look at their neighbours later."""
        for time, node in nodes.items():
            row.nodes[time] = node
            self.place[node] = (row, time)
        times = list(nodes)
        self._to_inputs.append((row, times))
        self._to_users.append((row, times))

    def _follow_inputs(self, row: Row, times: Sequence[int]) -> None:
        for place in range(len(row.operands)):
            link = row.operands[place]
            if link is None:
                times = list(row.nodes)
                link = self._link({time: row.nodes[time].inputs[place] for time in times})
                if link is None:
                    continue
                row.operands[place] = link
                link.row.readers.append((row, place, link.ahead))
                unread = [t for t in link.row.nodes if t - link.ahead not in row.nodes]
                if unread:
                    self._to_users.append((link.row, unread))
            read = {time + link.ahead: row.nodes[time].inputs[place] for time in times}
            self._extend(link.row, read)

    def _link(self, read: Mapping[int, Node]) -> Link | None:
        """The row that nodes belong to, all as far ahead; a new one if none belongs to any."""
        if len(read) < ENOUGH:
            return None
        places = [(self.place.get(node), time) for time, node in read.items()]
        known = Counter(
            Link(place[0], place[1] - time) for place, time in places if place is not None
        )
        if known:
            (link, count), *_ = known.most_common(1)
            if 2 * count > len(read):
                return link
        free = {time: node for time, node in read.items() if node not in self.place}
        looks = Counter(map(self._looks.__getitem__, free.values())).most_common(1)
        alike = {time: node for time, node in free.items() if self._looks[node] == looks[0][0]}
        nodes = list(alike.values())
        distinct = len(set(nodes)) == len(nodes) >= ENOUGH and nodes[0].inputs
        if not distinct or 2 * len(nodes) <= len(read) or _are_parts(nodes):
            return None
        return Link(self._new_row(alike), 0)

    def _extend(self, row: Row, nodes: Mapping[int, Node]) -> None:
        """Add those that look as the row does and belong to none, where it has no node yet."""
        look = self._looks[row.one]
        more = {
            time: node
            for time, node in nodes.items()
            if time not in row.nodes and node not in self.place and self._looks[node] == look
        }
        if more:
            self._add(row, more)

    def _follow_users(self, row: Row, times: Sequence[int]) -> None:
        groups: dict[tuple[int, int], dict[int, list[Node]]]
        groups = defaultdict(lambda: defaultdict(list))
        for time in times:
            for user, place in self._users[row.nodes[time]]:
                if user not in self.place and not self._join(user, row, place, time, surely=True):
                    groups[self._looks[user], place][time].append(user)
        for (_, place), group in groups.items():
            if len(group) >= ENOUGH:
                for nodes in self._told_apart(group, place):
                    if len(set(nodes.values())) == len(nodes) >= ENOUGH:
                        self._new_row(nodes)

    def _told_apart(
        self, group: Mapping[int, Sequence[Node]], place: int
    ) -> Iterable[Mapping[int, Node]]:
        """Users that look alike by time, one of each, told apart by what else they read."""
        if all(len(users) == 1 for users in group.values()):
            return [{time: user for time, (user,) in group.items() if user not in self.place}]
        apart: dict[Hashable, dict[int, list[Node]]] = defaultdict(lambda: defaultdict(list))
        for time, users in group.items():
            for user in users:
                apart[tuple(self._read_beside(user, place, time))][time].append(user)
        return [
            {
                time: users[0]
                for time, users in alike.items()
                if len(users) == 1 and users[0] not in self.place
            }
            for alike in apart.values()
        ]

    def _join(self, user: Node, row: Row, place: int, time: int, *, surely: bool) -> bool:
        """Whether a user belongs to a row, or comes to belong to one that reads this one.

        At the ends of a row what is read may differ; that is looked at later, when all else is
        known.
        """
        if user in self.place:
            return True
        found: dict[Row, tuple[int, int]] = {}
        for reader, at, ahead in row.readers:
            if at == place and time - ahead not in reader.nodes:
                agrees = self._agreement(user, reader, time - ahead)
                if agrees is not None:
                    found[reader] = (agrees, time - ahead)
        most = max((agrees for agrees, _ in found.values()), default=0)
        if surely and found and most < 2 * len(user.inputs):
            self._doubtful.append((user, row, place, time))
            return False
        best = [(reader, at) for reader, (agrees, at) in found.items() if agrees == most]
        if len(best) == 1:
            (reader, at), *_ = best
            self._extend(reader, {at: user})
        return user in self.place

    def _agreement(self, node: Node, row: Row, time: int) -> int | None:
        """How far a node reads what a row reads: 2 for every place; None if it cannot be of it."""
        if self._looks[node] != self._looks[row.one]:
            return None
        count = 0
        for link, each, usual in zip(row.operands, node.inputs, row.one.inputs, strict=True):
            known = self.place.get(each)
            if link is None:
                is_alike = each is usual or self._looks[each] == self._looks[usual]
                count += 2 if is_alike else 0
            elif known is not None:
                if known != (link.row, time + link.ahead):
                    return None
                count += 2
            elif self._looks[each] == self._looks[usual]:
                count += 1
        return count

    def _read_beside(self, user: Node, place: int, time: int) -> Iterator[Hashable]:
        """What a user reads at other places, said in a way that is the same at all times."""
        for number, each in enumerate(user.inputs):
            if number != place:
                known = self.place.get(each)
                yield (known[0], known[1] - time) if known else None if each.inputs else each


def is_heavy(node: Node) -> bool:
    """Whether a node is more than what is fused anyway."""
    return not (node.op.is_elementwise or node.op.is_view or node.op in (TUPLE, PROJECT))


def _look(node: Node) -> Hashable:
    """What nodes that do the same have in common."""
    attrs = tuple([freeze(node.attrs[name]) for name in sorted(node.attrs)]) if node.attrs else ()
    return (node.op, node.spec, len(node.inputs), attrs)


def _uses(graph: Graph) -> dict[Node, list[tuple[Node, int]]]:
    """For every node, those that read it, and at which place."""
    uses: dict[Node, list[tuple[Node, int]]] = {node: [] for node in graph.nodes}
    for node in graph.nodes:
        for place, each in enumerate(node.inputs):
            uses[each].append((node, place))
    return uses


def _evenly_spaced(nodes: Sequence[Node], depth: Mapping[Node, int]) -> Sequence[Node]:
    """The longest stretch of nodes of which each is as much deeper than the one before it."""
    best, begin = (0, 0), 0
    for end in range(2, len(nodes) + 1):
        step = depth[nodes[end - 1]] - depth[nodes[end - 2]]
        if end - begin > 2 and step != depth[nodes[end - 2]] - depth[nodes[end - 3]]:
            begin = end - 2
        if step == 0:
            begin = end - 1
        if end - begin > best[1] - best[0]:
            best = (begin, end)
    return nodes[best[0] : best[1]]


def _are_parts(nodes: Iterable[Node]) -> bool:
    """Whether nodes are parts of one array, which is the sequence they are elements of."""
    bases = [each.inputs[0] if each.op is RESHAPE else each for each in nodes]
    if bases[0].op not in (SLICE, PROJECT):
        return False
    return len({each.inputs[0] for each in bases}) == 1
