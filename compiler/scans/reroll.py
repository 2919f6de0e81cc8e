"""reroll: loops that were written out in Python become scans.

Before, for ``for t in range(100): h = tanh(x[t] @ w + h @ u)``::

    h0 -> step -> step -> ... -> step        100 times the same nodes
           x[0]    x[1]           x[99]

After::

    scan x100(h0, x)                         the nodes of one step

Whatever comes later costs as much as there are nodes, so this comes early; and what is known of
scans serves these loops too: products over all steps at once, weights packed once.

1. Rows are found: nodes that do the same at every step (:mod:`.rows`).
2. Rows that depend on themselves are loops (:mod:`.written_loops`), each apart: two layers, or the
   way there and the way back, are two loops, however they were written.
3. Loops take along rows that read them and nothing that comes later: gradients of weights, and
   their sums.
4. A loop must get what it reads as constants, carries and sequences, and sequences without much
   copying; and it must be worth it. Then it is built, and who read one of its steps reads an
   element of what it gives.

Steps that differ, at the ends or in the middle, stay as they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from graphnn.compiler.driver import Driver
from graphnn.compiler.scans.components import strong_components
from graphnn.compiler.scans.rows import Row, find_rows, is_heavy
from graphnn.compiler.scans.sequences import (
    Origin,
    Piece,
    is_cheap,
    joined,
    parts_of,
    pieces_of,
    sequence_of,
)
from graphnn.compiler.scans.written_loops import Loop, begin_sums, find_loops, in_order, with_row
from graphnn.compiler.unit import Unit
from graphnn.core.graph import Graph, with_inputs
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import carry, made_by
from graphnn.core.spec import TensorSpec
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.constants import zeros_like
from graphnn.ops.joining import CONCATENATE
from graphnn.ops.leaves import input_like
from graphnn.ops.movement import moveaxis
from graphnn.ops.scans import Carry, Step

__all__ = ["reroll"]

LARGE = 4000
"""Nodes from which on a loop of elementwise operators alone is made a scan.

A short one is faster as one fused kernel, which goes over memory once.
"""


def reroll(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    options = unit.options
    if options.debug == "nan" or options.memory_budget is not None:
        return unit  # which step it was is asked for; what is kept is decided node by node
    rows = find_rows(unit.graph)
    if not rows:
        return unit
    begin_sums(rows)
    plan = _Plan(unit.graph, [each for each in find_loops(rows) if _is_worth_it(each)])
    plan.settle(rows)
    if not plan.loops:
        return unit
    return driver.with_graph(unit, _Rebuilding(unit.graph, plan, driver).graph())


def _is_worth_it(loop: Loop) -> bool:
    """Whether steps hold more than what would be fused, or are many."""
    if len(loop.rounds) * len(loop.shifts) >= LARGE:
        return True
    return any(is_heavy(row.one) for row in loop.shifts)


Vertex = Node | Loop
Key = TypeVar("Key", bound=Hashable)


class _Plan:
    """Which nodes become which loops.

    Attributes
    ----------
    loops : list of Loop
        Those that are read before those that read them.
    order : list of Node or Loop
        Of computation: all nodes of the graph, those of loops together.
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
            fit = [core for core, loop in zip(cores, grown, strict=True) if self._is_sound(loop)]
            if len(fit) == len(cores):
                return
            self.loops = fit

    def _is_sound(self, loop: Loop) -> bool:
        """Whether a loop can be had: it is given what it reads, and gives arrays."""
        gives_arrays = all(isinstance(row.one.spec, TensorSpec) for row in self.read[loop])
        return gives_arrays and all(self._is_given(loop, row) for row in loop.shifts)

    def row_of(self, node: Node) -> Origin | None:
        """The row and round of a node, if it is of a loop."""
        if node not in self.home:
            return None
        loop, row, number = self.home[node]
        return Origin((loop, row), 0, 0, number - loop.rounds[0])

    def given(self, loop: Loop, row: Row, place: int) -> list[Node]:
        """What a row reads at a place, round by round, and zeros left out."""
        read = (loop.reads(row, place, number) for number in loop.rounds)
        return [node for node in read if node is not None]

    def _put_in_order(self) -> bool:
        """Find the order of computation; False if a loop had to be dropped."""
        self.home = {node: (loop, row, at) for loop in self.loops for node, row, at in loop.members()}
        outside = {loop: self._outside(loop) for loop in self.loops}

        def vertex(node: Node) -> Vertex:
            return self.home[node][0] if node in self.home else node

        def reads(each: Vertex) -> Iterator[Vertex]:
            return map(vertex, outside[each] if isinstance(each, Loop) else each.inputs)

        self.order = []
        for component in strong_components(map(vertex, self.graph.outputs), reads):
            if len(component) > 1:
                self.loops = [each for each in self.loops if each not in component]
                return False
            self.order += component
        self.loops = [each for each in self.order if isinstance(each, Loop)]
        self.read = {loop: set() for loop in self.loops}
        for nodes in (self.graph.outputs, *(outside.get(each) or each.inputs for each in self.order)):
            for loop, row, _ in map(self.home.get, self.home.keys() & set(nodes)):
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

    def _is_known_before(
        self, number: int, loop: Loop, row: Row, rank: Mapping[Node, int]
    ) -> bool:
        """Whether a row reads nothing from outside of a loop that is made after it."""
        return self._is_given(loop, row) and all(
            rank[node] < number
            for place in range(len(row.operands))
            if loop.ahead(row, place) is None
            for node in self.given(loop, row, place)
        )


@dataclass
class _Results:
    """What a loop gives: by row, all steps, the last one, and for what is carried those before."""

    steps: dict[Row, Node]
    last: dict[Row, Node]
    before: dict[tuple[Row, Node | None], Node]


class _Rebuilding:
    """The new graph, made in the order of computation."""

    def __init__(self, graph: Graph, plan: _Plan, driver: Driver) -> None:
        self.old = graph
        self.plan = plan
        self.driver = driver
        self.position = {node: number for number, node in enumerate(graph.nodes)}
        self.new: dict[Node, Node] = {}
        self.results: dict[Loop, _Results] = {}

    def graph(self) -> Graph:
        """Everything made anew."""
        for each in self.plan.order:
            if isinstance(each, Loop):
                self._make_loop(each)
            else:
                self._make(each)
        return Graph(self.old.inputs, tuple(map(self.made, self.old.outputs)))

    # ----------------------------------------------------------------------------- single nodes

    def _make(self, node: Node) -> None:
        made = None
        if node.op is CONCATENATE:
            pieces = pieces_of(node.inputs, self._row_of)
            if len(pieces) < len(node.inputs):
                with made_by("reroll", node):
                    made = joined(node, pieces, self._array_of, self.made)
        if made is None:
            made = with_inputs(node, tuple(map(self.made, node.inputs)))
        carry(node, made)
        self.new[node] = made

    def made(self, node: Node) -> Node:
        """What stands for a node."""
        if node in self.new:
            return self.new[node]
        loop, row, number = self.plan.home[node]
        results = self.results[loop]
        with made_by("reroll", node):
            if number == loop.end and row in results.last:
                made = results.last[row]
            else:
                made = results.steps[row][number - loop.rounds[0]]
        self.new[node] = made
        return made

    def _row_of(self, node: Node) -> Origin | None:
        """The row and round of a node that is not there by itself."""
        origin = self.plan.row_of(node)
        return origin if origin is not None and origin.whole[0] in self.results else None

    def _array_of(self, origin: Origin) -> Node:
        if origin.size:
            return parts_of(self.made(origin.whole), origin.axis, origin.size)
        loop, row = origin.whole
        return self.results[loop].steps[row]

    # ------------------------------------------------------------------------------------ loops

    def _make_loop(self, loop: Loop) -> None:
        one = next(row for row in loop.shifts).one
        with made_by("reroll", one):
            body = _Body(self, loop)
            results = body.build()
        made = next(iter((*results.last.values(), *results.steps.values()))).inputs[0]
        if self.driver.spend("reroll", one, made):
            self.results[loop] = results
            return
        for node in sorted((node for node, _, _ in loop.members()), key=self.position.__getitem__):
            self._make(node)

    def sequence(self, nodes: Sequence[Node]) -> Node:
        """An array of what nodes give, one for each round."""
        pieces = pieces_of(nodes, self._row_of)
        before = self._before(pieces)
        return before if before is not None else sequence_of(pieces, self._array_of, self.made)

    def _before(self, pieces: Sequence[Piece]) -> Node | None:
        """What was carried into every round of a loop, if that is the sequence."""
        if len(pieces) != 2:
            return None
        for rounds, first in (pieces, reversed(pieces)):
            if rounds.origin is None or rounds.origin.size or len(first.nodes) != 1:
                continue
            loop, row = rounds.origin.whole
            begin = 1 if loop.is_reverse else 0
            fits = rounds.origin.number == begin and (rounds is pieces[0]) == loop.is_reverse
            if fits and rounds.step == 1 and len(rounds.nodes) == len(loop.rounds) - 1:
                return self.results[loop].before.get((row, first.nodes[0]))
        return None


class _Body:
    """The scan that does what a loop did."""

    def __init__(self, around: _Rebuilding, loop: Loop) -> None:
        self.around = around
        self.loop = loop
        self.made: dict[Row, Node] = {}
        self.carried: dict[tuple[Row, Node | None], Node] = {}
        self.elements: dict[tuple[Node, ...], Node] = {}

    def build(self) -> _Results:
        """Make the scan."""
        loop = self.loop
        middle = loop.rounds[len(loop.rounds) // 2]
        position = self.around.position
        for row in sorted(loop.shifts, key=lambda row: position[self._node(row, middle)]):
            node = self._node(row, middle)
            inputs = [self._operand(row, place) for place in range(len(row.operands))]
            self.made[row] = make_node(node.op, inputs, node.attrs)
            carry(node, self.made[row])
        carries = [
            Carry(symbol, self._first(row, first), self.made[row])
            for (row, first), symbol in self.carried.items()
        ]
        kept = list(self.around.plan.read[loop])
        wholes = {
            symbol: self.around.sequence(nodes) for nodes, symbol in self.elements.items()
        }
        ys = [*(self.made[row] for row in kept), *(each.symbol for each in carries)]
        finals, stacked = Step(
            tuple(carries), wholes, tuple(ys), len(loop.rounds), loop.is_reverse
        ).build()
        return _Results(
            dict(zip(kept, stacked, strict=False)),
            {row: final for (row, _), final in zip(self.carried, finals, strict=True)},
            dict(zip(self.carried, stacked[len(kept) :], strict=True)),
        )

    def _node(self, row: Row, number: int) -> Node:
        return row.nodes[number + self.loop.shifts[row]]

    def _operand(self, row: Row, place: int) -> Node:
        link = row.operands[place]
        ahead = self.loop.ahead(row, place)
        if link is not None and ahead == 0:
            return self.made[link.row]
        if link is not None and ahead is not None:
            first = self.loop.reads(row, place, self.loop.begin)
            return self._symbol(self.carried, (link.row, first), link.row.one)
        nodes = self.around.plan.given(self.loop, row, place)
        if len(set(nodes)) == 1:
            return self.around.made(nodes[0])
        return self._symbol(self.elements, tuple(nodes), nodes[0])

    def _symbol(self, known: dict[Key, Node], key: Key, like: Node) -> Node:
        if key not in known:
            known[key] = input_like("step", like.tensor)
        return known[key]

    def _first(self, row: Row, first: Node | None) -> Node:
        if first is None:
            zeros: Node = zeros_like(row.one)
            return zeros
        return self.around.made(first)
