"""Write down a run in numbers as a graph again: nodes, some of them twice, and their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from graphnn.compiler.memory_model import Model
from graphnn.compiler.unit import Unit
from graphnn.core.graph import Graph
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import carry, made_by
from graphnn.ops.constants import CONSTANT
from graphnn.ops.recomputation import again

__all__ = ["replay"]


def replay(unit: Unit, model: Model, steps: Iterable[tuple[int, int]]) -> Unit:
    """The unit with values computed as the steps say: its graph, schedule, what is done again."""
    writing = _Replay(model)
    for value, occasion in steps:
        writing.compute(value, occasion)
    outputs = tuple(writing.now(node) for node in unit.graph.outputs)
    graph = unit.graph
    if outputs != graph.outputs:
        graph = Graph(graph.inputs, outputs)
    needed = set(graph.nodes)
    return replace(
        unit,
        graph=graph,
        schedule=tuple(node for node in writing.order if node in needed),
        recomputed=(
            *unit.recomputed,
            *(node for node in writing.recomputed if node in needed),
        ),
    )


class _Replay:
    """The nodes made so far."""

    def __init__(self, model: Model) -> None:
        self.order: list[Node] = []
        self.recomputed: list[Node] = []
        self._model = model
        self._written: set[Node] = set()
        self._latest: dict[int, Node] = {}
        self._number = {node: number for number, node in enumerate(model.nodes)}
        self._views: dict[Node, tuple[tuple[Node, ...], Node]] = {}

    def compute(self, value: int, occasion: int) -> None:
        """Write the node that computes a value; another one if it is computed again."""
        node = self._model.nodes[value]
        inputs = tuple(self.now(each) for each in node.inputs)
        made = self._made(node, inputs)
        if occasion and made in self._written:
            inputs = _told_apart(inputs, occasion)
            for each in inputs:
                self._write(each)
            made = self._made(node, inputs)
        if occasion:
            self.recomputed.append(made)
        self._write(made)
        self._latest[value] = made

    def now(self, node: Node) -> Node:
        """What stands for a node at present: the latest copy, or a view of the latest copy."""
        stack = [node]
        while stack:
            each = stack[-1]
            if self._known(each) is None:
                missing = [one for one in each.inputs if self._known(one) is None]
                if missing:
                    stack += missing
                    continue
                self._look(each)
            stack.pop()
        found = self._known(node)
        assert found is not None
        return found

    def _known(self, node: Node) -> Node | None:
        if node in self._number:
            return self._latest[self._number[node]]
        stamp, view = self._views.get(node, ((), None))
        return view if view is not None and stamp == self._stamp(node) else None

    def _stamp(self, node: Node) -> tuple[Node, ...]:
        """The copies that a view looks at."""
        return tuple(self._latest[root] for root in self._model.roots[node])

    def _look(self, node: Node) -> None:
        """Write a source, or a view of what is there at present."""
        inputs = tuple(found for each in node.inputs if (found := self._known(each)) is not None)
        view = self._made(node, inputs)
        self._write(view)
        self._views[node] = (self._stamp(node), view)

    def _write(self, node: Node) -> None:
        if node not in self._written:
            self._written.add(node)
            self.order.append(node)

    @staticmethod
    def _made(node: Node, inputs: tuple[Node, ...]) -> Node:
        if inputs == node.inputs:
            return node
        with made_by("rematerialize", node):
            made = make_node(node.op, inputs, node.attrs)
        carry(node, made)
        return made


def _told_apart(inputs: tuple[Node, ...], occasion: int) -> tuple[Node, ...]:
    """The inputs, one of them seen through `again`; no constant if it can be helped.

    What a constant is, code generation wants to see.
    """
    chosen = next((i for i, each in enumerate(inputs) if each.op is not CONSTANT), 0)
    with made_by("rematerialize", inputs[chosen]):
        seen = again(inputs[chosen], occasion)
    return (*inputs[:chosen], seen, *inputs[chosen + 1 :])
