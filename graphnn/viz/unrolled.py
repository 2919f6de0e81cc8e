"""A graph in which scans are written out: every step is there, and knows its time.

Before: ``scan × 1000(w, h0, x)``.
After: a copy of the body for each of the first and the last steps, and between them a scan over
those in the middle. The values are the same.

A net that goes over sequences with :func:`graphnn.scan`, and its gradient, then look like those
written as loops in Python. What was there for all steps at once, a *row*, is there step by step:
steps of another scan read its elements, and so do operators that treat every step alone, such as
an output layer, the loss of each step, and their gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from graphnn.compiler.scans.rewriting import is_scan
from graphnn.core.graph import Graph, topological_order
from graphnn.core.node import Node, apart, make_node
from graphnn.core.provenance import Provenance, Role, provenance, recorded
from graphnn.ops.arithmetic import add
from graphnn.ops.constants import is_zero
from graphnn.ops.control import PROJECT
from graphnn.ops.joining import stack
from graphnn.viz.scene import Subject

__all__ = ["Unrolled", "unrolled"]


@dataclass(frozen=True)
class Unrolled:
    """A graph whose scans are written out.

    Attributes
    ----------
    graph : Graph
    subjects : mapping of Node to Subject
        Which node of which body, at which step, a copy stands for.
    """

    graph: Graph
    subjects: Mapping[Node, Subject]


def unrolled(graph: Graph) -> Unrolled:
    """The graph with every scan of a known number of steps written out."""
    with apart():
        return _Unrolling(graph).result()


@dataclass(frozen=True, slots=True)
class _Row:
    """Something that is there for all steps, one by one, in the order of time."""

    elements: Sequence[Node]


class _Unrolling:
    """Images of the nodes of a graph: a node, a row, or both of them for what has been asked so."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._images: dict[Node, Node] = {}
        self._rows: dict[Node, _Row] = {}
        self._results: dict[Node, list[Node | _Row]] = {}
        self._copies: dict[Node, list[dict[Node, Node]]] = {}
        self._subjects: dict[Node, Subject] = {}

    def result(self) -> Unrolled:
        """The graph of the images."""
        origins = (provenance(each).origin for each in self._graph.nodes)
        known = set(self._graph.nodes)
        first = [each for each in origins if each is not None and (each in known or is_scan(each))]
        for node in topological_order([*first, *self._graph.outputs]):
            self._add(node)
        inputs = tuple(self._images.get(each, each) for each in self._graph.inputs)
        graph = Graph(inputs, tuple(map(self._whole, self._graph.outputs)))
        return Unrolled(graph, self._subjects)

    def _add(self, node: Node) -> None:
        if not node.inputs:
            self._images[node] = node
        elif is_scan(node) and isinstance(node.attrs["length"], int):
            self._write_out(node)
        elif node.op is PROJECT and node.inputs[0] in self._results:
            found = self._results[node.inputs[0]][node.attrs["index"]]
            if isinstance(found, _Row):
                self._rows[node] = found
            else:
                self._images[node] = found
        else:
            origin = provenance(node).origin
            image = self._images.get(origin) if origin is not None else None
            inputs = tuple(map(self._whole, node.inputs))
            self._images[node] = _copy(node, inputs, provenance(node), image)

    def _whole(self, node: Node) -> Node:
        """A node for all steps."""
        made = self._images.get(node)
        if made is None:
            with recorded(provenance(node), None):
                made = self._images[node] = stack(self._rows[node].elements)
        return made

    def _element(self, node: Node, step: int) -> Node:
        """What a node is at one step."""
        row = self._rows.get(node)
        if row is not None:
            return row.elements[step]
        whole = self._whole(node)
        with recorded(provenance(node)._replace(step=step), None):
            made: Node = whole[step]
        if made.name is None and whole.name is not None:
            made.named(f"{whole.name}[{step}]")
        return made

    def _write_out(self, node: Node) -> None:
        """The steps of a scan, each a copy of its body."""
        body, n_carry, n_xs = (node.attrs[name] for name in ("body", "n_carry", "n_xs"))
        length: int = node.attrs["length"]
        n_whole = len(node.inputs) - n_xs
        given = [self._whole(each) for each in node.inputs[:n_whole]]
        constants, carry = given[: n_whole - n_carry], given[n_whole - n_carry :]
        totals = _totals(body, n_carry, len(constants))
        added: dict[int, list[Node]] = {number: [] for number in totals}
        copies: list[dict[Node, Node]] = [{} for _ in range(length)]
        ys: list[list[Node]] = [[] for _ in body.outputs[n_carry:]]
        for step in reversed(range(length)) if node.attrs["reverse"] else range(length):
            elements = (self._element(each, step) for each in node.inputs[n_whole:])
            known = dict(zip(body.inputs, (*constants, *carry, *elements), strict=True))
            copies[step] = self._copied(node, step, known, totals)
            carry = [
                before if number in totals else known[after]
                for number, (before, after) in enumerate(zip(carry, body.outputs, strict=False))
            ]
            for number, addend in totals.items():
                added[number].append(known[addend])
            for row, y in zip(ys, body.outputs[n_carry:], strict=True):
                row.append(known[y])
        for number, addends in added.items():
            carry[number] = self._sum(node, number, [given[len(constants) + number], *addends])
        if node.attrs["reverse"]:
            for row in ys:
                row.reverse()
        self._copies[node] = copies
        self._results[node] = [*carry, *map(_Row, ys)]

    def _copied(
        self, scan: Node, step: int, known: dict[Node, Node], totals: Mapping[int, Node]
    ) -> dict[Node, Node]:
        """Copies of the nodes of a body for one step; ``known`` gets them as well."""
        body: Graph = scan.attrs["body"]
        whose = provenance(scan)
        sums = {body.outputs[number] for number in totals}
        for node in body.nodes:
            if node in known or node in sums:
                continue
            if not node.inputs:
                known[node] = node
                continue
            inputs = tuple(known[each] for each in node.inputs)
            about = provenance(node)
            about = about._replace(
                step=step,
                scope=_scope(whose.scope, about.scope),
                role=_role(about.role, whose.role, inputs),
            )
            origin = self._origin(scan, node, step)
            known[node] = _copy(node, inputs, about, origin)
            self._subjects.setdefault(known[node], Subject(node, ((scan, step),)))
        return known

    def _origin(self, scan: Node, node: Node, step: int) -> Node | None:
        """The copy, at the same step, of what a node of a body is a derivative of."""
        other, origin = provenance(scan).origin, provenance(node).origin
        if other not in self._copies or origin is None:
            return None
        return self._copies[other][step].get(origin)

    def _sum(self, scan: Node, number: int, addends: Sequence[Node]) -> Node:
        """What the steps add up, with nothing between them."""
        origin = self._origin(scan, scan.attrs["body"].outputs[number], 0)
        with recorded(provenance(scan), origin):
            return reduce(add, addends[1:] if is_zero(addends[0]) else addends)


def _copy(node: Node, inputs: tuple[Node, ...], about: Provenance, origin: Node | None) -> Node:
    """The same operator on other inputs."""
    with recorded(about, origin):
        made = make_node(node.op, inputs, node.attrs)
    for name in about.names:
        made.named(name if about.step is None else f"{name}[{about.step}]")
    return made


def _scope(outer: str, inner: str) -> str:
    """The scope of a copy. Equal bodies of two scans are one, in the scope of the first."""
    depth = outer.count("/") + 1 if outer else 0
    below = inner.split("/")[depth:]
    return "/".join([outer, *below] if outer else below)


def _role(of_node: Role, of_scan: Role, inputs: Sequence[Node]) -> Role:
    """The role of a copy: what is read of a derivative is none of the way there."""
    if of_scan == "forward":
        return "forward"
    if of_node == "forward" and any(provenance(each).role == of_scan for each in inputs):
        return of_scan
    return of_node


def _totals(body: Graph, n_carry: int, n_constants: int) -> dict[int, Node]:
    """The carries that steps add something to, and do not look at otherwise; what they add."""
    found: dict[int, Node] = {}
    for number, made in enumerate(body.outputs[:n_carry]):
        before = body.inputs[n_constants + number]
        if made.op.name == "add" and made.inputs.count(before) == 1 and len(body.users[before]) == 1:
            if body.outputs.count(made) == 1 and not body.users[made]:
                left, right = made.inputs
                found[number] = right if left is before else left
    return found
