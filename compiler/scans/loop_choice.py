"""Which of the loops that were found are made scans, and what goes along with them.

A loop must get what it reads from outside as constants, and as sequences that cost little; nothing
that it reads may need what it makes; and what others read of it must be arrays. Else it stays as
it was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from graphnn.compiler.scans.components import strong_components
from graphnn.compiler.scans.rows import Row
from graphnn.compiler.scans.sequences import Origin, Stack, is_cheap, pieces_of
from graphnn.compiler.scans.written_loops import Loop, in_order, with_row
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec

__all__ = ["Plan"]

Vertex: TypeAlias = "Node | Loop"


class Plan:
    """Which nodes become which loops.

    Attributes
    ----------
    loops : list of Loop
        Those that are read before those that read them.
    order : list of Node or Loop
        Of computation: all nodes of the graph, those of loops together.
    home : dict of Node to (Loop, Row, int)
        For nodes of loops: the loop, the row, and the round.
    read : dict of Loop to set of Row
        Rows that something outside of the loop reads.
    """

    def __init__(self, graph: Graph, loops: Sequence[Loop]) -> None:
        self.graph = graph
        self.loops = list(loops)
        self.order: list[Vertex] = []
        self.home: dict[Node, tuple[Loop, Row, int]] = {}
        self.read: dict[Loop, set[Row]] = {}

    def settle(self, rows: Sequence[Row]) -> None:
        """Drop loops that cannot be, and give rows to those that stay."""
        while self.loops:
            if not self._put_in_order():
                continue
            cores = self.loops
            self.loops = grown = self._with_readers(rows)
            self._put_in_order()
            fit = [
                core
                for core, loop in zip(cores, grown, strict=True)
                if loop in self.loops and self._is_sound(core, loop)
            ]
            if len(fit) == len(cores):
                return
            self.loops = fit

    def _is_sound(self, core: Loop, loop: Loop) -> bool:
        """Whether a loop can be had: its core is given what it reads, and it gives arrays."""
        gives_arrays = all(isinstance(row.one.spec, TensorSpec) for row in self.read[loop])
        return gives_arrays and all(self._is_given(loop, row) for row in core.shifts)

    def row_of(self, node: Node) -> Origin | None:
        """The row and round of a node, if it is of a loop."""
        if node not in self.home:
            return None
        loop, row, number = self.home[node]
        return Origin(Stack(loop, row), 0, 0, number - loop.rounds[0])

    def given(self, loop: Loop, row: Row, place: int) -> list[Node]:
        """What a row reads at a place, round by round, and zeros left out."""
        read = (loop.reads(row, place, number) for number in loop.rounds)
        return [node for node in read if node is not None]

    def _put_in_order(self) -> bool:
        """Find the order of computation; False if a loop had to be dropped."""
        self.home = {
            node: (loop, row, at) for loop in self.loops for node, row, at in loop.members()
        }
        outside = {loop: self._outside(loop) for loop in self.loops}

        def vertex(node: Node) -> Vertex:
            return self.home[node][0] if node in self.home else node

        def reads(each: Vertex) -> Iterator[Vertex]:
            return map(vertex, outside[each] if isinstance(each, Loop) else each.inputs)

        self.order = []
        for component in strong_components(map(vertex, self.graph.outputs), reads):
            (first, *others) = component
            if others or (isinstance(first, Loop) and first in reads(first)):
                self.loops = [each for each in self.loops if each not in component]
                return False
            self.order += component
        self.loops = [each for each in self.order if isinstance(each, Loop)]
        self.read = {loop: set() for loop in self.loops}
        read = (outside[each] if isinstance(each, Loop) else each.inputs for each in self.order)
        for nodes in (self.graph.outputs, *read):
            for node in nodes:
                if node in self.home:
                    loop, row, _ = self.home[node]
                    self.read[loop].add(row)
        return True

    def _outside(self, loop: Loop) -> dict[Node, None]:
        """What a loop reads and does not make."""
        found: dict[Node, None] = {}
        for row in loop.shifts:
            for place in range(len(row.operands)):
                ahead = loop.ahead(row, place)
                if ahead is None:
                    found.update(dict.fromkeys(self.given(loop, row, place)))
                elif ahead and (first := loop.reads(row, place, loop.begin)) is not None:
                    found[first] = None
        return found

    def _is_given(self, loop: Loop, row: Row) -> bool:
        """Whether what a row reads from outside are constants and sequences that cost little."""
        for place in range(len(row.operands)):
            if loop.ahead(row, place) is None:
                nodes = self.given(loop, row, place)
                if len(set(nodes)) > 1 and not (
                    all(isinstance(node.spec, TensorSpec) for node in nodes)
                    and is_cheap(pieces_of(nodes, self.row_of))
                ):
                    return False
        return True

    def _with_readers(self, rows: Sequence[Row]) -> list[Loop]:
        """The loops with rows that read them, and nothing that needs all of them."""
        loops = list(self.loops)
        rank: dict[Node, int] = {}
        number_of = {loop: number for number, loop in enumerate(loops)}
        for each in self.order:
            if isinstance(each, Loop):
                rank.update((node, number_of[each]) for node, _, _ in each.members())
            else:
                rank[each] = max((rank[node] for node in each.inputs), default=-1)
        of_row = {row: number for loop, number in number_of.items() for row in loop.shifts}
        for row in in_order(rows):
            found = [of_row[link.row] for link in row.operands if link and link.row in of_row]
            if row in of_row or not found:
                continue
            number = max(found)
            more = with_row(loops[number], row)
            if more is not None and self._is_known_before(number, more, row, rank):
                loops[number] = more
                of_row[row] = number
                self.home.update((node, (more, row, at)) for node, at in more.members_of(row))
        return loops

    def _is_known_before(self, number: int, loop: Loop, row: Row, rank: Mapping[Node, int]) -> bool:
        """Whether a row reads nothing from outside of a loop that is made after it."""
        firsts = (
            loop.reads(row, place, loop.begin)
            for place in range(len(row.operands))
            if loop.ahead(row, place)
        )
        elements = (
            node
            for place in range(len(row.operands))
            if loop.ahead(row, place) is None
            for node in self.given(loop, row, place)
        )
        return self._is_given(loop, row) and all(
            node is None or rank[node] < number for node in (*firsts, *elements)
        )
