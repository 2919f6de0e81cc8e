"""Groups while they grow: what ``fuse`` merges, and what must hold of a merge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from graphnn.compiler.domain import (
    ANCHOR_OPS,
    Axes,
    Dims,
    Group,
    extent,
    input_dims,
    reduces,
    result_dims,
)
from graphnn.compiler.fusion_cost import (
    FEW_ROWS,
    LONG_ROW,
    MOST_AGAIN,
    MOST_NODES,
    MOST_OPERANDS,
    again,
    is_expensive,
    most_sweeps,
    sweeps,
)
from graphnn.compiler.matching import Matching, MismatchError, through_views
from graphnn.core.node import Node
from graphnn.ops.constants import CONSTANT

__all__ = ["NO_LOOP", "Cluster", "Merge"]

NO_LOOP = "one of them is no loop over elements: it has code of its own, or runs on the host"


@dataclass(slots=True, eq=False)
class Cluster:
    """A group that may still grow.

    Attributes
    ----------
    number : int
        Its number in the order of groups.
    nodes : list of Node
    sizes, dims, reduced
        As in `Group`.
    loads : dict of Node to (Node, int)
        What is read from memory: who reads it, and as which input.
    fixed : set of int
        Axes that cannot be split.
    anchor : Node or None
    """

    number: int
    nodes: list[Node]
    sizes: dict[int, int]
    dims: dict[Node, Dims]
    reduced: frozenset[int]
    loads: dict[Node, tuple[Node, int]]
    fixed: set[int]
    anchor: Node | None

    @staticmethod
    def of(number: int, node: Node) -> Cluster:
        """A node by itself."""
        group = Group.of(node)
        is_anchor = node.op.name in ANCHOR_OPS
        loads = {}
        if group.is_native and not is_anchor:
            bases = map(through_views, node.inputs)
            loads = {
                base: (node, position)
                for position, base in enumerate(bases)
                if not (base.op is CONSTANT and base.size == 1)
            }
        return Cluster(
            number,
            [node],
            dict(group.sizes),
            dict(group.dims),
            group.reduced,
            loads,
            set(group.sizes) if node.op.name == "conv" else set(),
            node if is_anchor else None,
        )

    def freeze(self, position: Mapping[Node, int]) -> Group:
        """The group that it became."""
        nodes = tuple(sorted(self.nodes, key=position.__getitem__))
        # Equal groups must give equal kernels: axes in the order in which members show them.
        order = dict.fromkeys(
            axis for node in nodes for axes in self.dims.get(node, ()) for axis in axes
        )
        return Group(nodes, {axis: self.sizes[axis] for axis in order}, self.dims, self.reduced)


class Merge:
    """A trial to merge two clusters; raises `MismatchError` where they do not fit.

    Parameters
    ----------
    first, second : Cluster
        The first comes before the second, and is read by it.
    root_of : mapping of Node to Node
        Through all views.
    users : callable
        From a member to all nodes that read it; None among them stands for the results.
    position : mapping of Node to int
        The order of nodes.
    consumer : Node
        The member of the second whose read is to become free.
    """

    def __init__(
        self,
        first: Cluster,
        second: Cluster,
        root_of: Mapping[Node, Node],
        users: Callable[[Node], Iterable[Node | None]],
        position: Mapping[Node, int],
        consumer: Node,
    ) -> None:
        self.first, self.second, self.consumer = first, second, consumer
        self.root_of, self.users, self.position = root_of, users, position
        self._check_sizes()
        self.matching = Matching({**first.sizes, **second.sizes}, first.fixed | second.fixed)

    def check(self) -> None:
        """All that can be said without the order of groups."""
        self._check_anchors()
        self._match_edges()
        self._match_domains()
        self._check_reduced()

    def _check_sizes(self) -> None:
        """What is quickly told, and ends most trials in large graphs."""
        first, second = self.first, self.second
        if not (first.dims and second.dims):
            raise MismatchError(NO_LOOP)
        if len(first.nodes) + len(second.nodes) > MOST_NODES:
            raise MismatchError(f"the group would have more than {MOST_NODES} members")
        if len(first.loads) + len(second.loads) > MOST_OPERANDS:
            outside = first.loads.keys() | second.loads.keys()
            if sum(each not in first.dims for each in outside) > MOST_OPERANDS:
                raise MismatchError(f"the group would read more than {MOST_OPERANDS} arrays")

    def _check_anchors(self) -> None:
        first, second = self.first, self.second
        if first.anchor is None and second.anchor is None:
            return
        if second.anchor is not None and self.consumer is second.anchor:
            raise MismatchError("a contraction reads its factors from memory")
        if first.anchor is not None and second.anchor is not None:
            raise MismatchError("there is a contraction in both")
        if first.reduced or second.reduced:
            raise MismatchError("a reduction is no epilogue of a contraction")

    def _match_edges(self) -> None:
        """The axes of everything that the second reads of the first."""
        first, second = self.first, self.second
        for node in second.nodes:
            for position, each in enumerate(node.inputs):
                if self.root_of[each] not in first.dims:
                    continue
                base = through_views(each)
                if base not in first.dims:
                    raise MismatchError(f"it is read through {self._other_view(each)}, from memory")
                if node is second.anchor:
                    raise MismatchError("a contraction reads its factors from memory")
                made = result_dims(base, first.dims[base])
                self.matching.match(made, self._read_dims(second, node, position, base))

    @staticmethod
    def _other_view(node: Node) -> str:
        """The first view on the way that a group cannot see through."""
        return through_views(node).op.name

    def _read_dims(self, cluster: Cluster, node: Node, position: int, base: Node) -> Dims:
        """The dims along which a member reads ``base``."""
        dims = input_dims(node, position, cluster.dims[node])
        return self.matching.pull_back(node.inputs[position], base, dims)

    def _unmatched(self, cluster: Cluster) -> list[int]:
        axes = self.matching.resolve(tuple(cluster.sizes))
        return [axis for axis in axes if axis not in self.matching.partner]

    def _match_domains(self) -> None:
        """One domain holds the other: else values would be computed for pairs of points."""
        in_first, in_second = self._unmatched(self.first), self._unmatched(self.second)
        if in_first and in_second:
            self._match_loads()
            in_first, in_second = self._unmatched(self.first), self._unmatched(self.second)
        if in_first and in_second:
            raise MismatchError("they run along different axes")
        beyond = in_second if self.first.anchor is not None else in_first
        if beyond and (self.first.anchor is not None or self.second.anchor is not None):
            raise MismatchError("it has axes that the contraction has not")
        self._check_stores(self.second if in_first else self.first, in_first or in_second)

    def _match_loads(self) -> None:
        """What both read from memory shows which axes are the same."""
        first, second = self.first, self.second
        matching = self.matching
        few, many = sorted((first.loads, second.loads), key=len)
        for base in [each for each in few if each in many and each not in first.dims]:
            saved = dict(matching.partner), dict(matching.splits), dict(matching.sizes)
            try:
                matching.match(
                    self._read_dims(first, *first.loads[base], base),
                    self._read_dims(second, *second.loads[base], base),
                )
            except MismatchError:
                matching.partner, matching.splits, matching.sizes = saved

    def _check_stores(self, smaller: Cluster, missing: list[int]) -> None:
        """What lacks an axis is computed for every point along it: so it must be cheap, and alone.

        A value that lacks the axes that are reduced is written once for each row.
        """
        larger = self.second if smaller is self.first else self.first
        reduced = set(self.matching.resolve(tuple(larger.reduced)))
        if reduced.issuperset(missing):
            return
        inside = self.first.dims.keys() | self.second.dims.keys()
        for node in smaller.nodes:
            if any(each not in inside for each in self.users(node)):
                raise MismatchError("it is needed in memory, but the same along an axis")
            if is_expensive(node) or reduces(node):
                raise MismatchError("it would be computed again along an axis")

    def _check_reduced(self) -> None:
        first, second = self.first, self.second
        if not (first.reduced or second.reduced):
            return
        reduced = set(self.matching.resolve(tuple(first.reduced)))
        others = set(self.matching.resolve(tuple(second.reduced)))
        same = {self.matching.partner.get(axis) for axis in reduced}
        if reduced and others and same != others:
            raise MismatchError("they reduce other axes")
        along = reduced | others | same
        sizes = self.matching.sizes
        row = extent(sizes, list(reduced or others))
        axes = set(self.matching.resolve((*first.sizes, *second.sizes))) - along
        rows = extent(sizes, [a for a in axes if a < self.matching.partner.get(a, a + 1)])
        self._check_sweeps(row, rows, along)

    def _check_sweeps(self, row: int, rows: int, along: set[int | None]) -> None:
        """Sweeps over a row are few and cheap, and there are rows for all threads."""
        both = {**self.first.dims, **self.second.dims}
        nodes = sorted(both, key=self.position.__getitem__)
        inside = {
            node: tuple(base for each in node.inputs if (base := through_views(each)) in both)
            for node in nodes
        }
        sweep = sweeps(nodes, inside)
        resolve = self.matching.resolve
        moving = {
            node
            for node in nodes
            if any(axis in along for axes in both[node] for axis in resolve(axes))
        }
        count = 1 + max(sweep[node] for node in moving)
        if count > most_sweeps(row):
            raise MismatchError(f"a row would be swept {count} times")
        if again(nodes, inside, sweep, moving) > MOST_AGAIN:
            raise MismatchError("later sweeps would compute expensive values again")
        if count > 1 and rows < FEW_ROWS and row > LONG_ROW:
            raise MismatchError("a reduction to so few values is better done by all threads")

    def commit(self) -> Cluster:
        """Merge the cluster with fewer members into the other one; it takes the first's number."""
        first, second, matching = self.first, self.second, self.matching
        keep, gone = (first, second) if len(first.nodes) >= len(second.nodes) else (second, first)
        names: dict[int, int] = {}
        if matching.splits:
            self._split(keep)
        for axis in matching.resolve(tuple(gone.sizes)):
            names[axis] = matching.partner.get(axis, axis)
            keep.sizes.setdefault(names[axis], matching.sizes[axis])

        def rename(axes: Iterable[int]) -> Axes:
            return tuple([names[axis] for axis in matching.resolve(tuple(axes))])

        for node, dims in gone.dims.items():
            keep.dims[node] = tuple([rename(axes) for axes in dims])
        keep.nodes += gone.nodes
        if gone.reduced:
            keep.reduced = keep.reduced | frozenset(rename(gone.reduced))
        for base, reader in gone.loads.items():
            keep.loads.setdefault(base, reader)
        for base in [each for each in keep.loads if each in keep.dims]:
            del keep.loads[base]
        if gone.fixed:
            keep.fixed.update(rename(gone.fixed))
        keep.anchor = gone.anchor if keep.anchor is None else keep.anchor
        keep.number = first.number
        return keep

    def _split(self, cluster: Cluster) -> None:
        """Axes of a cluster after all splits."""
        resolve = self.matching.resolve
        axes = resolve(tuple(cluster.sizes))
        cluster.sizes = {axis: self.matching.sizes[axis] for axis in axes}
        for node, dims in cluster.dims.items():
            cluster.dims[node] = tuple(map(resolve, dims))
        cluster.reduced = frozenset(resolve(tuple(cluster.reduced)))
