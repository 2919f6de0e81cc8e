"""recompute: cheap values are computed where they are read, if that moves fewer bytes.

Before: a kernel writes ``s = (x - m) * r`` beside what it is for, and another one, which sums over
the other axis, reads it.
After: that one reads ``x``, ``m`` and ``r``, and computes ``s`` again.

``fuse`` keeps every value in one group. Here a group gets copies of members of others: elementwise,
cheap, few, and made of what lies in memory anyway or is small. All groups that read the value must
take it, for otherwise it is written nevertheless. The bits are the same. Under a memory budget
nothing is done: what a value is made of would have to be kept for longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from graphnn.compiler.domain import ANCHOR_OPS, Dims, Group, input_dims, is_native, roots_of
from graphnn.compiler.driver import Driver
from graphnn.compiler.fusion_cost import (
    MOST_NODES,
    MOST_OPERANDS,
    is_cheaper_again,
    is_expensive,
)
from graphnn.compiler.matching import Matching, MismatchError, through_views
from graphnn.compiler.memory_model import nbytes_of
from graphnn.compiler.product_epilogues import product_before
from graphnn.compiler.unit import Note, Unit
from graphnn.core.node import Node
from graphnn.ops.constants import CONSTANT

__all__ = ["recompute"]

MOST_COPIED = 4
"""Members that are copied for one value."""

SMALL = 16
"""A value that has so many times fewer bytes may be written for this."""

REASON = "it is computed again there, which moves fewer bytes"


def recompute(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    if not unit.groups or unit.options.memory_budget is not None:
        return unit
    return _Recomputing(unit).run()


class _Recomputing:
    """The groups, while members are copied."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.roots = roots_of(unit.schedule)
        self.position = {node: index for index, node in enumerate(unit.schedule)}
        self.groups = list(unit.groups)
        self.home = {node: n for n, group in enumerate(unit.groups) for node in group.nodes}
        self.results = {self.roots[node] for node in unit.graph.outputs}
        self.readers: dict[Node, dict[int, list[tuple[Node, int]]]] = {}
        for number, group in enumerate(unit.groups):
            for node in group.nodes:
                self._note_reads(number, node)
        self.notes: list[Note] = []

    def _note_reads(self, number: int, node: Node) -> None:
        """What a member of a group reads of others."""
        inside = self.groups[number].dims
        for position, each in enumerate(node.inputs):
            root = self.roots[each]
            if root in self.home and root not in inside:
                by_group = self.readers.setdefault(root, {})
                by_group.setdefault(number, []).append((node, position))

    def run(self) -> Unit:
        """Copy what is better computed again."""
        for node in [each for each in self.unit.schedule if each in self.readers]:
            if node not in self.results and self._is_cheap(node):
                self._try(node)
        if not self.notes:
            return self.unit
        told = {(each.producer, each.consumer) for each in self.notes}
        kept = [each for each in self.unit.notes if (each.producer, each.consumer) not in told]
        groups = tuple(each for each in self.groups if each.nodes)
        return replace(self.unit, groups=groups, notes=(*kept, *self.notes))

    def _is_cheap(self, node: Node) -> bool:
        return node.op.is_elementwise and is_native(node) and not is_expensive(node)

    def _try(self, node: Node) -> None:
        """Copy a value and what it is made of to all groups that read it, or to none."""
        copied = self._copied(node)
        if not copied:
            return
        made: dict[int, Group] = {}
        extra = 0
        leaves = self._leaves(copied)
        for number, reads in self.readers[node].items():
            group = self._with(number, node, copied, reads)
            if group is None:
                return
            made[number] = group
            read = {
                self.roots[each] for one in self.unit.groups[number].nodes for each in one.inputs
            }
            extra += sum(nbytes_of(each) for each in leaves if each not in read)
        extra += 2 * sum(nbytes_of(each) for each in leaves if not self._is_in_memory(each))
        if not (is_cheaper_again(node, len(copied), len(made), extra) or self._frees_product(node)):
            return
        for number, group in made.items():
            self.groups[number] = group
            self.notes += [
                Note(node, consumer, REASON) for consumer, _ in self.readers[node][number]
            ]
            for each in copied:
                self._note_reads(number, each)
        del self.readers[node]
        self._trim(self.home[node])

    def _frees_product(self, node: Node) -> bool:
        """Whether, on a GPU, nothing but the epilogue of a product is left in its group."""
        if self.unit.options.backend != "cupy":
            return False
        left = [each for each in self.groups[self.home[node]].nodes if each is not node]
        return product_before(left, self.roots, self.readers, self.results) is not None

    def _copied(self, node: Node) -> list[Node]:
        """The value and the members that it is made of, up to what can be read; [] if too many."""
        copied: dict[Node, None] = {node: None}
        waiting = [node]
        while waiting:
            for each in waiting.pop().inputs:
                base = through_views(each)
                if base in copied or self._is_readable(self.roots[base], node):
                    continue
                if base is not self.roots[base] or not self._is_cheap(base):
                    return []
                copied[base] = None
                waiting.append(base)
        if len(copied) > MOST_COPIED:
            return []
        return sorted(copied, key=self.position.__getitem__)

    def _leaves(self, copied: Sequence[Node]) -> set[Node]:
        """What the copies read, apart from each other and from numbers."""
        roots = {self.roots[each] for node in copied for each in node.inputs}
        return {each for each in roots if each not in copied and each.op is not CONSTANT}

    def _is_in_memory(self, node: Node) -> bool:
        return node not in self.home or node in self.readers or node in self.results

    def _is_readable(self, root: Node, node: Node) -> bool:
        """Whether a copy may read this: state must be what it was when the value was made."""
        if root in self.unit.updated:
            return False
        return self._is_in_memory(root) or nbytes_of(root) * SMALL <= nbytes_of(node)

    def _with(
        self, number: int, node: Node, copied: Sequence[Node], reads: Iterable[tuple[Node, int]]
    ) -> Group | None:
        """A group with the copies as members; None if they do not fit."""
        group = self.groups[number]
        if not group.is_native or len(group.nodes) + len(copied) > MOST_NODES:
            return None
        if any(each.op.name in ANCHOR_OPS for each in group.nodes):
            return None
        outside = {through_views(each) for one in (*group.nodes, *copied) for each in one.inputs}
        if len(outside) > MOST_OPERANDS:
            return None
        try:
            dims = self._dims(group, node, copied, reads)
        except MismatchError:
            return None
        if any(group.dims.get(each, dims[each]) != dims[each] for each in copied):
            return None  # it has such a copy already, which lies along other axes
        nodes = sorted({*group.nodes, *copied}, key=self.position.__getitem__)
        return replace(group, nodes=tuple(nodes), dims={**group.dims, **dims})

    def _dims(
        self,
        group: Group,
        node: Node,
        copied: Sequence[Node],
        reads: Iterable[tuple[Node, int]],
    ) -> dict[Node, Dims]:
        """Where the copies lie in the domain of a group: everywhere, and only in one way."""
        matching = Matching(group.sizes, group.sizes)
        found: dict[Node, Dims] = {}

        def see(base: Node, reader: Node, position: int, points: Dims) -> None:
            each = reader.inputs[position]
            if through_views(each) is not base:
                raise MismatchError("it is read from memory")
            dims = matching.pull_back(each, base, input_dims(reader, position, points))
            if found.setdefault(base, dims) != dims:
                raise MismatchError("it is read in two ways")

        for reader, position in reads:
            see(node, reader, position, group.dims[reader])
        if {axis for axes in found[node] for axis in axes} != group.sizes.keys():
            raise MismatchError("it would be computed again along an axis")
        for each in reversed(copied):
            for position, read in enumerate(each.inputs):
                if through_views(read) in copied:
                    see(through_views(read), each, position, found[each])
        return found

    def _trim(self, number: int) -> None:
        """Take out members that nobody reads any more: their copies read the same instead."""
        group = self.groups[number]
        kept: set[Node] = set()
        read: set[Node] = set()
        for node in reversed(group.nodes):
            if node in read or node in self.readers or node in self.results:
                kept.add(node)
                read.update(self.roots[each] for each in node.inputs)
        for root in {self.roots[each] for node in group.nodes for each in node.inputs}:
            by_group = self.readers.get(root, {})
            left = [each for each in by_group.pop(number, []) if each[0] in kept]
            if left:
                by_group[number] = left
        nodes = tuple(each for each in group.nodes if each in kept)
        dims = {node: group.dims[node] for node in nodes}
        self.groups[number] = replace(group, nodes=nodes, dims=dims)
