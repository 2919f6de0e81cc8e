"""A graph in which scans are written out: every step is there, and knows its time.

Before: ``scan × 1000(w, h0, x)``.
After: a copy of the body for each of the first and the last steps, and between them a scan over
the others. The values are the same.

A net that goes over sequences with :func:`graphnn.scan`, and its gradient, then look like those
written as loops in Python. What was there for all steps at once, a *row*, is there step by step:
steps of another scan read its elements, and so do operators that treat every step alone, such as
an output layer, the loss of each step, and their gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import reduce

from graphnn.compiler.compilation import evaluate
from graphnn.compiler.scans.per_step import has_steps, value_of_step
from graphnn.compiler.scans.rewriting import is_scan
from graphnn.core.dims import Size
from graphnn.core.dtypes import is_bool
from graphnn.core.graph import Graph, topological_order
from graphnn.core.node import Node, apart
from graphnn.core.provenance import Provenance, provenance, recorded
from graphnn.core.spec import TupleSpec
from graphnn.ops.arithmetic import add
from graphnn.ops.broadcasting import RESHAPE, broadcast_to
from graphnn.ops.constants import CONSTANT, constant, is_zero, zeros_like
from graphnn.ops.control import PROJECT, STOP_GRADIENT
from graphnn.ops.creation import IOTA
from graphnn.ops.recomputation import AGAIN, again
from graphnn.viz.axes import Axes
from graphnn.viz.copies import Cuts, chosen_input, copy_of, name_like
from graphnn.viz.rows import Axis, Row, Window
from graphnn.viz.scene import Subject
from graphnn.viz.segments import BACK, FIRST
from graphnn.viz.written_loops import Loop, loop_of_node, loop_of_scan, loop_of_sum

__all__ = ["Unrolled", "unrolled"]


@dataclass(frozen=True)
class Unrolled:
    """A graph whose scans are written out.

    Attributes
    ----------
    graph : Graph
    axes : tuple of Axis
        One after the other, such as those of an encoder and a decoder.
    subjects : mapping of Node to Subject
        Which node of which body, at which step, a copy stands for. Of a node that is there for all
        steps at once, the loop is that node.
    totals : mapping of Node to int or Dim
        Sums over time, and how many steps they add up.
    cuts : set of (Node, Node)
        Who reads what as a constant: derivatives, which the graph has already, ended there.
    """

    graph: Graph
    axes: tuple[Axis, ...]
    subjects: Mapping[Node, Subject]
    totals: Mapping[Node, Size]
    cuts: Set[tuple[Node, Node]]


def unrolled(graph: Graph, window: Window | None = None, *, in_segments: bool = False) -> Unrolled:
    """The graph with every scan written out.

    Parameters
    ----------
    graph : Graph
    window : Window, optional
        Which steps are; without it all, and scans whose number of steps is not known stay.
    in_segments : bool
        Whether scans go over parts of one sequence: see :mod:`graphnn.viz.segments`.
    """
    with apart():
        return _Unrolling(graph, window, in_segments=in_segments).result()


@dataclass(frozen=True, slots=True)
class _Between:
    """The carries of a scan before and after the steps that are not written out."""

    before: list[Node]
    after: list[Node]


class _Unrolling:
    """What the nodes of a graph become: nodes, rows, or both where both are asked for."""

    def __init__(self, graph: Graph, window: Window | None, *, in_segments: bool) -> None:
        self._graph = graph
        self._axes = Axes(window, in_segments=in_segments)
        self._images: dict[Node, Node] = {}
        self._rows: dict[Node, Row] = {}
        self._results: dict[Node, list[Node | Row]] = {}
        self._copies: dict[Node, list[dict[Node, Node]]] = {}
        self._between_of: dict[Node | None, _Between] = {}
        self._same: dict[Node, Node] = {}
        self._maybe: set[Node] = set()
        self._single: dict[Node, Node] = {}
        self._subjects: dict[Node, Subject] = {}
        self._totals: dict[Node, Size] = {}
        self._cuts = Cuts()
        self._flags: dict[Node, list[Node] | None] = {}

    def result(self) -> Unrolled:
        """The graph of what they become."""
        known = set(self._graph.nodes)
        pairs = ((each, provenance(each).origin) for each in self._graph.nodes)
        # The way there comes first: copies of the way back belong to copies of it.
        first = [
            origin
            for node, origin in pairs
            if origin is not None and (origin in known or (is_scan(node) and is_scan(origin)))
        ]
        for node in topological_order([*first, *self._graph.outputs]):
            self._add(node)
        inputs = tuple(self._images.get(each, each) for each in self._graph.inputs)
        graph = Graph(inputs, tuple(map(self._whole, self._graph.outputs)))
        axes = tuple(self._axes.all)
        return Unrolled(graph, axes, self._subjects, self._totals, self._cuts.all)

    # ---------------------------------------------------------------------- what a node becomes

    def _add(self, node: Node) -> None:
        if not node.inputs:
            self._images[node] = node
        elif node.op is PROJECT and node.inputs[0] in self._results:
            self._become(node, self._results[node.inputs[0]][node.attrs["index"]])
        elif node.op is STOP_GRADIENT or _is_seen_through(node):
            self._become(node, self._rows.get(node.inputs[0]) or self._whole(node.inputs[0]))
        elif not self._is_element(node) and not self._is_loop(node):
            inputs = tuple(map(self._whole, node.inputs))
            about = provenance(node)
            made = copy_of(node, inputs, about, self._outer_origin(about))
            self._cuts.note(made, inputs, (each.op is STOP_GRADIENT for each in node.inputs))
            self._images[node] = made
            self._subjects[made] = Subject(node)

    def _become(self, node: Node, made: Node | Row) -> None:
        if isinstance(made, Row):
            self._rows[node] = made
        else:
            self._images[node] = made
            self._subjects.setdefault(made, Subject(node))
            if made in self._totals:  # equal bodies of two scans are one: only this tells them
                name_like(made, provenance(node))

    def _is_element(self, node: Node) -> bool:
        """Whether a node takes one step out of a row, as ``ys[-1]`` does."""
        source = node.inputs[0]
        if node.op is RESHAPE and source in self._single:
            element = self._single[source]
            if node.shape == element.shape:
                self._images[node] = element
                return True
        row = self._rows.get(source)
        if row is None or node.op.name != "slice" or node.shape != (1, *source.shape[1:]):
            return False
        (start, *_), (stride, *_) = node.attrs["start"], node.attrs["step"]
        found = [n for n, place in enumerate(row.axis.places) if place.index == start]
        if found and stride == 1:
            self._single[node] = row.elements[found[0]]
        return False

    def _is_loop(self, node: Node) -> bool:
        """Whether a node is written out step by step, which is done."""
        loop = self._loop(node)
        if loop is None:
            return False
        made = self._written(loop)
        if isinstance(node.spec, TupleSpec):
            self._results[node] = made
        else:
            self._become(node, made[0])
        return True

    def _loop(self, node: Node) -> Loop | None:
        if is_scan(node):
            wholes = node.inputs[len(node.inputs) - node.attrs["n_xs"] :]
            beside = [self._rows[each].axis for each in wholes if each in self._rows]
            axis = self._axes.of(node, wholes, beside)
            return loop_of_scan(node, axis, self._whole) if axis is not None else None
        self._note_if_same(node)
        if node in self._same:
            return None
        for axis in self._axes_read(node):
            loop = loop_of_node(node, axis, self._whole) or loop_of_sum(node, axis, self._whole)
            if loop is not None:
                return loop
        return None

    def _axes_read(self, node: Node) -> list[Axis]:
        """The axes of rows that a node reads."""
        found = [self._rows[each].axis for each in node.inputs if each in self._rows]
        if not found and any(each in self._same or each in self._maybe for each in node.inputs):
            # Its first axis may be time, or as long by chance: what reads it tells.
            self._maybe.add(node)
        return list(dict.fromkeys(found))

    def _note_if_same(self, node: Node) -> None:
        """Remember what a node is at every step, where that is the same."""
        for length in dict.fromkeys(axis.length for axis in self._axes.all):
            if has_steps(node, length):
                with recorded(provenance(node), self._outer_origin(provenance(node))):
                    made = value_of_step(node, length, self._same.get, self._whole)
                if made is not None:
                    self._same[node] = made

    # ------------------------------------------------------------------------- rows and elements

    def _whole(self, node: Node) -> Node:
        """A node for all steps."""
        made = self._images.get(node)
        if made is None:
            with recorded(provenance(node), None):
                made = self._images[node] = self._rows[node].whole()
            name_like(made, provenance(node))
            self._subjects[made] = Subject(node)
        return made

    def _element(self, node: Node, axis: Axis, position: int) -> Node:
        """What a sequence is at one step."""
        self._write_if_asked(node, axis)
        row = self._rows.get(node)
        if row is not None and row.axis is axis:
            return row.elements[position]
        if node not in self._same:
            self._note_if_same(node)
        if node in self._same:
            return self._same[node]
        flags = self._flags_of(node, axis)
        if flags is not None:
            return flags[axis.places[position].number]
        root, start, copy = self._axes.piece(node)
        whole, place = self._whole(root), axis.places[position]
        with recorded(provenance(root)._replace(step=place.column), None):
            made: Node = whole[start + place.index]
        if whole.name is not None:
            made.named(f"{whole.name}[{place.label}]")
        for each in (made, *made.inputs):  # a slice, in the shape of a step
            if each is not whole:
                self._subjects.setdefault(each, Subject(node, ((node, place.number),)))
        return again(made, BACK) if copy == BACK else made

    def _write_if_asked(self, node: Node, axis: Axis) -> None:
        """Write out what may have steps now that something asks for them."""
        if node in self._maybe:
            self._maybe.remove(node)
            loop = loop_of_node(node, axis, self._whole)
            if loop is not None:
                self._become(node, self._written(loop)[0])

    def _flags_of(self, node: Node, axis: Axis) -> list[Node] | None:
        """What is known of every step before anything is computed, such as where windows end."""
        if node not in self._flags:
            is_known = is_bool(node.dtype) and node.shape == (axis.length,)
            leaves = (each for each in topological_order((node,)) if not each.inputs)
            if is_known and isinstance(axis.length, int) and all(map(_is_number, leaves)):
                self._flags[node] = [constant(each) for each in evaluate(node)]
            else:
                self._flags[node] = None
        return self._flags[node]

    def _between(self, node: Node, axis: Axis) -> Node:
        """What a sequence is at the steps that are not written out."""
        row = self._rows.get(node)
        if row is not None and row.axis is axis:
            assert row.between is not None, "an axis with steps between"
            return row.between
        made: Node = self._whole(node)[axis.split : axis.split + axis.between]
        return made

    # ------------------------------------------------------------------------------ written out

    def _written(self, loop: Loop) -> list[Node | Row]:
        """The results of a loop: last carries, then rows."""
        axis, n_carry = loop.axis, len(loop.firsts)
        starts = zip(loop.firsts, loop.outputs, strict=False)
        carry = [self._first(loop, each, following) for each, following in starts]
        added: dict[int, list[Node]] = {number: [] for number in loop.totals}
        copies: list[dict[Node, Node]] = [{} for _ in axis.places]
        between: Sequence[Node] = ()
        self._copies[loop.node] = copies
        for position in axis.order(reverse=loop.reverse):
            if position is None:
                carry, between = self._written_between(loop, carry, added)
                continue
            elements = (self._element(each, axis, position) for each in loop.wholes)
            known = dict(zip(loop.symbols, (*carry, *elements), strict=True))
            copies[position] = self._copied(loop, position, {**loop.known, **known})
            made = [copies[position].get(each) for each in loop.outputs[:n_carry]]
            carry = [old if new is None else new for old, new in zip(carry, made, strict=True)]
            for number, addends in added.items():
                addends.append(copies[position][loop.totals[number]])
        for number, addends in added.items():
            carry[number] = self._sum(loop, number, [carry[number], *addends])
        ys = [
            Row(axis, [known[y] for known in copies], between[number] if between else None)
            for number, y in enumerate(loop.outputs[n_carry:])
        ]
        return [*carry, *ys]

    def _first(self, loop: Loop, first: Node, following: Node) -> Node:
        """A carry before the first step: zeros with which derivatives begin are their own."""
        if provenance(following).role == "forward" or not is_zero(first):
            return first
        with apart(), recorded(provenance(loop.node)._replace(step=None), None):
            return zeros_like(first)

    def _written_between(
        self, loop: Loop, before: list[Node], added: Mapping[int, list[Node]]
    ) -> tuple[list[Node], Sequence[Node]]:
        """Carries after the steps that are not written out, and sequences of what these give."""
        about = provenance(loop.node)
        there = self._between_of.get(about.origin) if is_scan(loop.node) else None
        same = there.after if there and before[: len(there.before)] == there.before else []
        role = about.role
        if about.origin is not None and same and len(same) == len(before):
            role = provenance(about.origin).role
        known = about._replace(step=loop.axis.column_between, role=role)
        with recorded(known, self._outer_origin(about)):
            elements = [self._between(each, loop.axis) for each in loop.wholes]
            after, ys = loop.between(before, elements)
        for number, addends in added.items():
            addends.append(after[number])
        # Derivatives go through the steps once more, to the same carries.
        after = [*same, *after[len(same) :]]
        after = [before[number] if number in added else each for number, each in enumerate(after)]
        self._between_of[loop.node] = _Between(before, after)
        return after, ys

    def _copied(self, loop: Loop, position: int, known: dict[Node, Node]) -> dict[Node, Node]:
        """The nodes of a loop at one step, each with its copy."""
        place, origin_of = loop.axis.places[position], self._origins(loop, position)
        whose, is_backward = loop.node, provenance(loop.node).role == "backward"
        of_scan = is_scan(whose)
        steps = ((whose, place.number),)
        stopped: set[Node] = set()
        for node in loop.inside:
            inputs = tuple(known.get(each, each) for each in node.inputs)
            chosen = chosen_input(node, inputs)
            if chosen is not None:
                known[node] = broadcast_to(inputs[chosen], node.shape)
                if node.op is STOP_GRADIENT or node.inputs[chosen] in stopped:
                    stopped.add(node)
                continue
            about = loop.about(node, inputs)._replace(step=place.column)
            made = copy_of(node, inputs, about, origin_of(node), place)
            if not is_backward:  # which computes values once more
                self._cuts.note(made, inputs, (each in stopped for each in node.inputs))
            known[node] = made
            if made not in self._subjects:
                self._subjects[made] = Subject(node if of_scan else whose, steps)
        return known

    def _sum(self, loop: Loop, number: int, addends: Sequence[Node]) -> Node:
        """What the steps add up, with nothing between them."""
        about = provenance(loop.node)
        origin = self._origins(loop, 0)(loop.outputs[number])
        with recorded(about._replace(made_by="unrolled"), origin):
            made = reduce(add, addends[1:] if is_zero(addends[0]) else addends)
        self._totals[made] = loop.axis.length
        return made

    # ------------------------------------------------------------------------------- provenance

    def _origins(self, loop: Loop, position: int) -> Callable[[Node], Node | None]:
        """From a node of a loop to the copy, at the same step, of what it is a derivative of."""
        if not is_scan(loop.node):
            about = provenance(loop.node)
            row = self._rows.get(about.origin) if about.origin is not None else None
            is_along = row is not None and row.axis is loop.axis
            origin = row.elements[position] if row and is_along else self._outer_origin(about)
            return lambda node: origin
        there = self._there(loop.node, position)

        def origin_of(node: Node) -> Node | None:
            origin = provenance(node).origin
            if origin is None:
                return None
            return next((copies[origin] for copies in there if origin in copies), None)

        return origin_of

    def _there(self, scan: Node, position: int) -> list[dict[Node, Node]]:
        """The copies, at one step, of the scans that one goes back over.

        Those are the scans that it reads, and the one it is a derivative of. The first counts where
        several have a node: a segment is gone back over after its own steps.
        """
        scans = [each.inputs[0] for each in scan.inputs if each.op is PROJECT]
        origin = provenance(scan).origin
        if origin is not None:
            scans.append(origin)
        steps = (self._copies[each] for each in dict.fromkeys(scans) if each in self._copies)
        # One that is only read, such as an encoder's, may have fewer steps.
        return [copies[position] for copies in steps if position < len(copies)]

    def _outer_origin(self, about: Provenance) -> Node | None:
        """What became of the node that one outside of loops is a derivative of."""
        return self._images.get(about.origin) if about.origin is not None else None


def _is_seen_through(node: Node) -> bool:
    """Whether a node is an `again` that tells nothing apart that is drawn."""
    return node.op is AGAIN and (node.attrs["copy"] == FIRST or provenance(node).role == "backward")


def _is_number(leaf: Node) -> bool:
    """Whether a node that reads nothing is the same whenever it is computed."""
    return leaf.op in (CONSTANT, IOTA)
