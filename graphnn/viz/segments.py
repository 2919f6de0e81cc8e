"""What a program keeps of its time steps, and what it computes again: the graph of its segments.

Within a memory budget the compiler makes scans over segments, each a scan over some steps, and the
way back computes a segment again (:mod:`graphnn.compiler.scans.segments`). Here the outer scans are
written out: every segment is a scan of its own, over its part of the sequences.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from graphnn.compiler.driver import Driver
from graphnn.compiler.pipeline import LEVELS
from graphnn.compiler.program import Program
from graphnn.compiler.scans.rewriting import is_scan
from graphnn.compiler.unit import Unit
from graphnn.core.graph import Graph, with_inputs
from graphnn.core.node import Node, apart, make_node
from graphnn.core.provenance import provenance, recorded, set_gradient_of, without_lines
from graphnn.ops.broadcasting import RESHAPE
from graphnn.ops.control import PROJECT
from graphnn.ops.joining import SLICE, stack
from graphnn.ops.recomputation import AGAIN, SEGMENT, again

__all__ = ["BACK", "Kept", "kept_by", "piece_of"]

FIRST, BACK = SEGMENT - 1, SEGMENT - 2
"""Copies in segments that are written out: on the way there, and what is computed again."""


@dataclass(frozen=True)
class Kept:
    """What a program computes in its time steps.

    Attributes
    ----------
    graph : Graph
    recomputed : set of Node
        Of the graph. What is computed again for a segment reads its inputs through `again`, and
        does not have to be listed.
    """

    graph: Graph
    recomputed: Set[Node]


_KEPT: WeakKeyDictionary[Program, tuple[Unit, Kept]] = WeakKeyDictionary()


def kept_by(program: Program) -> Kept:
    """What a program makes of its graph to stay within its memory budget, and nothing else.

    It is compiled once more for this, if it has a budget, and not again for another picture.
    """
    if program.options.memory_budget is None:
        return Kept(program.graph, frozenset())
    known = _KEPT.get(program)
    if known is None or known[0] is not program.unit:  # it may have other sizes by now
        known = _KEPT[program] = (program.unit, _compiled_again(program))
    return known[1]


def _compiled_again(program: Program) -> Kept:
    unit = Unit(program.graph, tuple(program.updates), program.options, program.unit.sizes)
    driver = Driver(program.options.fuel, snapshots=[])
    with without_lines():
        driver.run(unit, LEVELS[program.options.optimize])
    made = {each.record.name: each.unit for each in driver.snapshots or ()}
    in_segments = made["segment_scans"].graph
    if any(map(_is_over_segments, in_segments.nodes)):
        return _opened(in_segments)
    again_computed = made["rematerialize"].recomputed
    if again_computed:
        return Kept(made["rematerialize"].graph, frozenset(again_computed))
    return Kept(program.graph, frozenset())


def piece_of(node: Node) -> tuple[Node, int, int | None]:
    """Of which sequence a node is a part, where that begins, and for which copy; itself of another.

    Before: ``again(slice(x))``, after: ``x``, 7, and the number of `again`.
    """
    copy = None
    if node.op is AGAIN:
        copy, node = node.attrs["copy"], node.inputs[0]
    if node.op is not SLICE or node.attrs["step"][0] != 1:
        return node, 0, copy
    (source,), (start, *others) = node.inputs, node.attrs["start"]
    if any(others) or node.shape[1:] != source.shape[1:] or not isinstance(start, int):
        return node, 0, copy
    root, before, _ = piece_of(source)
    return root, before + start, copy


def _is_over_segments(node: Node) -> bool:
    """Whether a node is a scan each of whose steps is a segment."""
    if not is_scan(node) or not isinstance(node.attrs["length"], int):
        return False
    body: Graph = node.attrs["body"]
    return any(each.op is AGAIN and each.attrs["copy"] == SEGMENT for each in body.nodes)


def _opened(graph: Graph) -> Kept:
    """The graph with scans over segments written out, until there are none."""
    with apart():
        while any(map(_is_over_segments, graph.nodes)):
            graph = graph.map(_Opening().made)
    return Kept(graph, frozenset())


class _Opening:
    """What the nodes of a graph with segments become."""

    def __init__(self) -> None:
        self._results: dict[Node, Sequence[Node]] = {}
        self._parts: dict[Node, Sequence[Node]] = {}

    def made(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is PROJECT and inputs[0] in self._results:
            index: int = node.attrs["index"]
            return self._results[inputs[0]][index]
        new = node if inputs == node.inputs else self._copy(node, inputs)
        if _is_over_segments(new):
            self._results[new] = self._segments(new)
        return new

    def _copy(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        known = provenance(node)
        with recorded(known, known.origin):
            made = with_inputs(node, inputs)
        for name in known.names:
            made.named(name)
        for name in known.gradient_of:
            set_gradient_of(made, name)
        return made

    def _segments(self, scan: Node) -> list[Node]:
        """The results of a scan over segments: its last carries, then stacks."""
        body: Graph = scan.attrs["body"]
        n_carry, n_xs, length = (scan.attrs[name] for name in ("n_carry", "n_xs", "length"))
        n_constants = len(scan.inputs) - n_carry - n_xs
        constants, wholes = scan.inputs[:n_constants], scan.inputs[n_constants + n_carry :]
        carry: Sequence[Node] = scan.inputs[n_constants : n_constants + n_carry]
        ys: list[list[Node]] = []
        is_back = provenance(scan).role == "backward"
        order = reversed(range(length)) if scan.attrs["reverse"] else range(length)
        for number in order:
            pieces = [self._piece(whole, number) for whole in wholes]
            known = dict(zip(body.inputs, (*constants, *carry, *pieces), strict=True))
            for node in body.nodes:
                known.setdefault(node, node)
                if node.inputs:
                    known[node] = self._inside(node, [known[each] for each in node.inputs], is_back)
            made = [known[each] for each in body.outputs]
            carry = made[:n_carry]
            ys.append(made[n_carry:])
        if scan.attrs["reverse"]:
            ys.reverse()
        return [*carry, *map(self._stack, zip(*ys, strict=True))]

    def _inside(self, node: Node, inputs: list[Node], is_back: bool) -> Node:
        """The copy of a node in a segment."""
        if node.op is AGAIN:
            with recorded(provenance(inputs[0]), provenance(inputs[0]).origin):
                return again(inputs[0], BACK if is_back else FIRST)
        about = provenance(node)
        if is_back and _goes_there(node):
            about = about._replace(role="forward")
        with recorded(about, about.origin):
            made = make_node(node.op, inputs, node.attrs)
        for name in about.names:
            made.named(name)
        return made

    def _piece(self, whole: Node, number: int) -> Node:
        """What a segment reads of a sequence of segments."""
        if whole in self._parts:
            return self._parts[whole][number]
        if whole.op is RESHAPE and whole.ndim > 1:
            (source,) = whole.inputs
            count, length = whole.shape[:2]
            if source.shape == (count * length, *whole.shape[2:]):
                root, start, _ = piece_of(source)
                begin = start + number * length
                with recorded(provenance(source), None):
                    part: Node = root[begin : begin + length]
                    return part
        with recorded(provenance(whole), None):
            element: Node = whole[number]
            return element

    def _stack(self, parts: Sequence[Node]) -> Node:
        with recorded(provenance(parts[0]), None):
            made = stack(parts)
        self._parts[made] = parts
        return made


def _goes_there(node: Node) -> bool:
    """Whether a node on the way back does what was done on the way there."""
    if is_scan(node):
        return all(provenance(each).role == "forward" for each in node.attrs["body"].nodes)
    return provenance(node).role == "forward"
