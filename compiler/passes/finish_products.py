"""finish_products: on a GPU, what a library can do at the end of a product is its epilogue.

Before: ``relu(x @ w + b)`` is a product, which a library makes, and a kernel that reads it.
After: it is one group, so that the library may do all of it in one call.

``fuse`` leaves products alone: a kernel behind one takes up as much as it can, and where more than
an epilogue is left of it nothing would be gained by parting it. This pass comes when all else is
merged, and takes kernels that are epilogues and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphnn.compiler.clusters import Cluster, Merge
from graphnn.compiler.domain import Group, roots_of
from graphnn.compiler.driver import Driver
from graphnn.compiler.matching import MismatchError
from graphnn.compiler.product_epilogues import product_before
from graphnn.compiler.unit import Unit
from graphnn.core.node import Node

__all__ = ["finish_products"]


def finish_products(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    is_for_gpu = unit.options.backend == "cupy"
    return _Finishing(unit).run() if is_for_gpu and unit.groups else unit


class _Finishing:
    """The groups, while products join what is behind them."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.roots = roots_of(unit.schedule)
        self.position = {node: index for index, node in enumerate(unit.schedule)}
        self.groups: list[Group | None] = list(unit.groups)
        self.home = {node: n for n, group in enumerate(unit.groups) for node in group.nodes}
        self.results = {self.roots[node] for node in unit.graph.outputs}
        new = zip(unit.updated, unit.graph.outputs[unit.n_results :], strict=True)
        self.overwritten: dict[Node, int | None] = {
            old: self.home.get(self.roots[value]) for old, value in new
        }
        self.users: dict[Node, list[Node | None]] = {node: [] for node in self.home}
        self.readers: dict[Node, set[int]] = {}
        for number, group in enumerate(unit.groups):
            inside = set(group.nodes)
            for node in group.nodes:
                for root in {self.roots[each] for each in node.inputs} & self.home.keys():
                    self.users[root].append(node)
                    if root not in inside:
                        self.readers.setdefault(root, set()).add(number)
        for node in self.results & self.home.keys():
            self.users[node].append(None)

    def run(self) -> Unit:
        """Join what can be joined."""
        joined: set[Node] = set()
        for number, group in enumerate(self.unit.groups):
            if not group.is_native:
                continue
            product = product_before(group.nodes, self.roots, self.readers, self.results)
            if product is None or self._is_overtaken(product, number):
                continue
            cast = self._cast_bias(product, group)
            merged = self._merged(product, _without(group, cast))
            if merged is not None:
                self.groups[self.home[product]] = None if cast is None else Group.of(cast)
                self.groups[number] = merged
                joined.add(product)
        if not joined:
            return self.unit
        groups = tuple(each for each in self.groups if each is not None)
        notes = tuple(each for each in self.unit.notes if each.producer not in joined)
        return replace(self.unit, groups=groups, notes=notes)

    def _is_overtaken(self, product: Node, number: int) -> bool:
        """Whether state that a product reads gets its new value before a later group."""
        between = range(self.home[product], number)
        return any(self.overwritten.get(self.roots[each]) in between for each in product.inputs)

    def _cast_bias(self, product: Node, behind: Group) -> Node | None:
        """The member that rounds a bias to the product's dtype, which no library does.

        It is computed apart: there is little of it.
        """
        for node in behind.nodes:
            is_small = node.size < product.size and self.roots[node.inputs[0]] not in self.home
            if node.op.name == "cast" and node.dtype == product.dtype and is_small:
                return node
        return None

    def _merged(self, product: Node, behind: Group) -> Group | None:
        """One group of both; None if they run along different axes."""
        alone = self.unit.groups[self.home[product]]
        first, second = (_cluster(n, each) for n, each in enumerate((alone, behind)))
        reader = self._reader(product, behind.nodes)
        try:
            merge = Merge(first, second, self.roots, self.users.__getitem__, self.position, reader)
            merge.check()
        except MismatchError:
            return None
        return merge.commit().freeze(self.position)

    def _reader(self, product: Node, nodes: Sequence[Node]) -> Node:
        return next(
            node for node in nodes if any(self.roots[each] is product for each in node.inputs)
        )


def _without(group: Group, node: Node | None) -> Group:
    """A group that reads a value instead of computing it."""
    nodes = tuple(each for each in group.nodes if each is not node)
    return replace(group, nodes=nodes, dims={each: group.dims[each] for each in nodes})


def _cluster(number: int, group: Group) -> Cluster:
    """A group that may grow, a copy of it."""
    made = Cluster.of(number, group.nodes[0])
    made.nodes, made.sizes, made.dims = list(group.nodes), dict(group.sizes), dict(group.dims)
    return made
