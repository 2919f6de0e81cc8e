"""The graph with scans in place of loops that were written out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from graphnn.compiler.driver import Driver
from graphnn.compiler.scans.loop_choice import Plan
from graphnn.compiler.scans.rows import Row
from graphnn.compiler.scans.sequences import (
    Origin,
    Piece,
    Stack,
    joined,
    parts_of,
    pieces_of,
    sequence_of,
)
from graphnn.compiler.scans.written_loops import Loop
from graphnn.core.graph import Graph, with_inputs
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import carry, made_by, stand_for_all_steps
from graphnn.ops.constants import zeros_like
from graphnn.ops.joining import CONCATENATE
from graphnn.ops.leaves import input_like
from graphnn.ops.scan_primitive import Carry, Step

__all__ = ["Rebuilding"]

Key = TypeVar("Key", bound=Hashable)


@dataclass
class _Results:
    """What a loop gives: by row, all steps, the last one, and for what is carried those before."""

    steps: dict[Row, Node]
    last: dict[Row, Node]
    before: dict[tuple[Row, Node | None], Node]


class Rebuilding:
    """The new graph, made in the order of computation."""

    def __init__(self, graph: Graph, plan: Plan, driver: Driver) -> None:
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
        if node in self.plan.home and self.plan.home[node][0] in self.results:
            return self.plan.row_of(node)
        return None

    def _array_of(self, origin: Origin) -> Node:
        if isinstance(origin.whole, Stack):
            loop, row = origin.whole
            return self.results[loop].steps[row]
        return parts_of(self.made(origin.whole), origin.axis, origin.size)

    # ------------------------------------------------------------------------------------ loops

    def _make_loop(self, loop: Loop) -> None:
        first = loop.heaviest
        with made_by("reroll", first):
            results = _Body(self, loop).build()
        (made, *_) = (*results.last.values(), *results.steps.values())
        if self.driver.spend("reroll", first, made.inputs[0]):
            self.results[loop] = results
            self.driver.decide(loop.text, "became a scan", "", first)
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
            nodes, origin, step = rounds
            if origin is None or not isinstance(origin.whole, Stack) or len(first.nodes) != 1:
                continue
            loop, row = origin.whole
            begin = 1 if loop.is_reverse else 0
            fits = origin.number == begin and (rounds is pieces[0]) == loop.is_reverse
            if fits and step == 1 and len(nodes) == len(loop.rounds) - 1:
                return self.results[loop].before.get((row, first.nodes[0]))
        return None


class _Body:
    """The scan that does what a loop did."""

    def __init__(self, around: Rebuilding, loop: Loop) -> None:
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
            with made_by("reroll", node):
                self.made[row] = make_node(node.op, inputs, node.attrs)
            carry(node, self.made[row])
            stand_for_all_steps(self.made[row])
        carries = [
            Carry(symbol, self._first(row, first), self.made[row])
            for (row, first), symbol in self.carried.items()
        ]
        kept = list(self.around.plan.read[loop])
        wholes = {symbol: self.around.sequence(nodes) for nodes, symbol in self.elements.items()}
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
