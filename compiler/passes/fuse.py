"""fuse: which nodes are computed together, by one instruction.

Before: ``softmax(x @ w + b)`` is ten nodes.
After: a matrix product with ``+ b`` as its epilogue, and one kernel that sweeps each row three
times: for the maximum, for the sum of exponentials, and to divide by it.

Values inside of a group live in registers. Groups are merged along edges, those that save most
bytes first, wherever the axes of both are the same (`Matching`), one set of axes is reduced, no
cycle arises (`Order`) and the result is not too large (`fusion_cost`). Why two nodes were not
fused is kept for `Program.explain`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from graphnn.compiler.clusters import NO_LOOP, Cluster, Merge
from graphnn.compiler.domain import is_computed, roots_of, sizes_of
from graphnn.compiler.driver import Driver
from graphnn.compiler.matching import MismatchError, through_views
from graphnn.compiler.memory_model import nbytes_of
from graphnn.compiler.order import Order
from graphnn.compiler.scans.rewriting import may_raise
from graphnn.compiler.unit import Note, Unit
from graphnn.core.node import Node
from graphnn.ops.contraction import DOT_GENERAL

__all__ = ["fuse"]

MOST_ROUNDS = 3
"""A merge may become possible by others: those that failed are tried again."""


def fuse(unit: Unit, driver: Driver) -> Unit:
    """See the module. A program that stops at the first NaN must see every node's value."""
    if unit.options.debug == "nan":
        return unit
    return _Fusion(unit).run()


class _Edge(NamedTuple):
    """A member that reads another one."""

    saved: int
    producer: Node
    consumer: Node


class _Fusion:
    """The clusters, and the order that they are in."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.is_for_device = unit.options.backend == "cupy"
        self.roots = roots_of(unit.schedule)
        self.computed = [node for node in unit.schedule if is_computed(node)]
        self.position = {node: index for index, node in enumerate(self.computed)}
        self.readers = self._find_readers()
        fence = 1 + max(
            (index for index, node in enumerate(self.computed) if may_raise(node)), default=-1
        )
        self.cluster_of = {
            node: Cluster.of(self._number(index, fence), node)
            for index, node in enumerate(self.computed)
        }
        edges = {*self._data_edges(), *self._update_edges(fence)}
        self.order = Order(len(self.computed) + 1, edges)
        self.notes: dict[tuple[Node, Node], str] = {}
        self.mismatched: dict[tuple[Node, Node], tuple[int, int]] = {}

    @staticmethod
    def _number(index: int, fence: int) -> int:
        """Groups are numbered in the order of the schedule, with a fence behind what may fail."""
        return index + (index >= fence)

    def run(self) -> Unit:
        """Merge what can be merged."""
        edges = sorted(self._edges(), key=lambda edge: -edge.saved)
        for _ in range(MOST_ROUNDS):
            left = [edge for edge in edges if not self._merge(edge)]
            if len(left) == len(edges):
                break
            edges = left
        clusters = {cluster.number: cluster for cluster in self.cluster_of.values()}
        groups = tuple(
            clusters[number].freeze(self.position) for number in self.order.sorted(clusters)
        )
        self._note_what_was_no_edge()
        notes = tuple(
            Note(producer, consumer, reason)
            for (producer, consumer), reason in self.notes.items()
            if self.cluster_of[producer] is not self.cluster_of[consumer]
        )
        return replace(self.unit, groups=groups, notes=notes)

    def _find_readers(self) -> dict[Node, list[Node | None]]:
        """Who reads each computed node; None for the results."""
        readers: dict[Node, list[Node | None]] = {node: [] for node in self.computed}
        for node in self.computed:
            for root in {self.roots[each] for each in node.inputs}:
                if root in readers:
                    readers[root].append(node)
        for node in self.unit.graph.outputs:
            if self.roots[node] in readers:
                readers[self.roots[node]].append(None)
        return readers

    def _edges(self) -> Iterable[_Edge]:
        """Reads that a merge would make free."""
        nbytes = {
            node: math.prod(sizes_of(node)) * node.dtype.itemsize
            for node, cluster in self.cluster_of.items()
            if cluster.dims and all(0 not in sizes_of(each) for each in node.inputs)
        }
        for node in self.computed:
            if nbytes.get(node):
                for base in dict.fromkeys(map(through_views, node.inputs)):
                    if nbytes.get(base):
                        is_alone = len(self.readers[base]) == 1
                        yield _Edge(nbytes[base] * (1 + is_alone), base, node)

    def _data_edges(self) -> Iterable[tuple[int, int]]:
        for node in self.computed:
            for each in node.inputs:
                root = self.roots[each]
                if root in self.cluster_of:
                    yield self.cluster_of[root].number, self.cluster_of[node].number

    def _update_edges(self, fence: int) -> Iterable[tuple[int, int]]:
        """A new value that may be written in place waits for all readers of the old one.

        And for all that may raise, which the fence stands for.
        """
        unit = self.unit
        for node in self.computed:
            if may_raise(node):
                yield self.cluster_of[node].number, fence
        readers: dict[Node, list[Node]] = {parameter: [] for parameter in unit.updated}
        for node in self.computed:
            for root in {self.roots[each] for each in node.inputs}:
                if root in readers:
                    readers[root].append(node)
        for parameter, value in zip(
            unit.updated, unit.graph.outputs[unit.n_results :], strict=True
        ):
            if value not in self.cluster_of:
                continue
            number = self.cluster_of[value].number
            before = [self.cluster_of[each].number for each in readers[parameter]]
            if fence < number and all(each <= number for each in before):
                yield fence, number
                yield from ((each, number) for each in before if each != number)

    def _note_what_was_no_edge(self) -> None:
        """Why the other reads of computed nodes were not tried."""
        for node in self.computed:
            for each in node.inputs:
                root = self.roots[each]
                if root not in self.cluster_of or (root, node) in self.notes:
                    continue
                if not (self.cluster_of[root].dims and self.cluster_of[node].dims):
                    self.notes[root, node] = NO_LOOP
                elif through_views(each) is not root:
                    view = through_views(each).op.name
                    self.notes[root, node] = f"it is read through {view}, from memory"

    def _merge(self, edge: _Edge) -> bool:
        """Merge the groups of an edge; False, and a note, if that cannot be, or not yet."""
        first, second = self.cluster_of[edge.producer], self.cluster_of[edge.consumer]
        if first is second:
            return True
        pair = edge.producer, edge.consumer
        if self.is_for_device and first.anchor is not None and first.anchor.op is DOT_GENERAL:
            self.notes[pair] = "on a GPU a library multiplies, and what follows is another kernel"
            return False
        members = len(first.nodes), len(second.nodes)
        if self.mismatched.get(pair) == members:
            return False  # groups only grow: these are the ones that did not fit before
        users = self.readers.__getitem__
        try:
            merge = Merge(first, second, self.roots, users, self.position, edge.consumer)
            merge.check()
        except MismatchError as mismatch:
            self.notes[pair] = str(mismatch)
            self.mismatched[pair] = members
            return False
        if self.unit.options.memory_budget is not None and self._holds_more(first, second):
            self.notes[pair] = "under a memory budget, what it reads would be kept for longer"
            return False
        reason = self.order.merge(first.number, second.number)
        if reason:
            self.notes[pair] = reason
            return False
        self.notes.pop(pair, None)
        merged = merge.commit()
        for node in (second if merged is first else first).nodes:
            self.cluster_of[node] = merged
        return True

    def _holds_more(self, first: Cluster, second: Cluster) -> bool:
        """Whether more bytes wait for the second group if it does the work of the first.

        What only the first reads is let go of when it is done; merged, it is kept until the
        second runs, instead of what the first makes. Groups that sum are merged all the same:
        the order of a sum, and so its last bits, may depend on what is around it.
        """
        if first.reduced or second.reduced:
            return False
        inside = {*first.nodes, *second.nodes}
        made = [node for node in first.nodes if self._is_read_outside(node, first)]
        read = {
            self.roots[each]
            for node in first.nodes
            for each in node.inputs
            if self.roots[each] in self.cluster_of and self.roots[each] not in inside
        }
        kept = [each for each in read if all(user in first.dims for user in self.readers[each])]
        return sum(map(nbytes_of, kept)) > sum(map(nbytes_of, made))

    def _is_read_outside(self, node: Node, cluster: Cluster) -> bool:
        return any(user not in cluster.dims for user in self.readers[node])
