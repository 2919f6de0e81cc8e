"""Products that can be one: those that share an operand, and those that are added.

For the pass :mod:`graphnn.compiler.passes.merge_products`, which looks for them and builds them;
whether it pays is said by :mod:`graphnn.compiler.merging_cost`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from graphnn.core.dims import Size
from graphnn.core.dtypes import is_half
from graphnn.core.node import Node
from graphnn.ops.arithmetic import add
from graphnn.ops.contraction import DOT_GENERAL, dot_of, free_axes
from graphnn.ops.joining import concatenate, slice_axis

__all__ = ["Products", "SharedOperand", "Summed", "adding", "is_sum", "sharing", "terms_of"]


@dataclass(frozen=True, eq=False)
class Products:
    """Products with the same axes that become one.

    Attributes
    ----------
    products : tuple of Node
        In the order in which their operands are joined.
    joined : mapping of int to int
        For the operands that are joined, left (0) or right (1), the axis along which.
    """

    products: tuple[Node, ...]
    joined: Mapping[int, int]

    def parts(self, side: int) -> tuple[Node, ...]:
        """The operands of one side."""
        return tuple(each.inputs[side] for each in self.products)

    def built(self, operand: Callable[[Node], Node]) -> Node:
        """The product of all, of what has taken the place of the operands."""
        left, right = (
            concatenate([operand(each) for each in self.parts(side)], self.joined[side])
            if side in self.joined
            else operand(self.parts(side)[0])
            for side in (0, 1)
        )
        attrs = self.products[0].attrs
        return dot_of(left, right, attrs["contract"], attrs["batch"])


@dataclass(frozen=True, eq=False)
class SharedOperand(Products):
    """``x @ w1, x @ w2``: the parts of ``x @ [w1 w2]``."""

    @property
    def shared(self) -> Node:
        """The operand that all read."""
        (side,) = {0, 1} - self.joined.keys()
        return self.products[0].inputs[side]

    def slices(self, whole: Node) -> dict[Node, Node]:
        """The parts of the whole product, by the products that they replace."""
        ((side, joined_axis),) = self.joined.items()
        first = self.products[0]
        n_batch = len(first.attrs["batch"][0])
        n_left = len(_free(first, 0)) if side else 0
        axis = n_batch + n_left + _free(first, side).index(joined_axis)
        found: dict[Node, Node] = {}
        start: Size = 0
        for each in self.products:
            found[each] = slice_axis(whole, axis, start, each.shape[axis])
            start = start + each.shape[axis]
        return found


@dataclass(frozen=True, eq=False)
class Summed(Products):
    """``a1 @ b1 + a2 @ b2 + rest``: ``[a1 a2] @ [b1; b2] + rest``.

    Attributes
    ----------
    total : Node
        The sum.
    rest : tuple of Node
        What is added to the products.
    """

    total: Node
    rest: tuple[Node, ...]

    def replaced(self, operand: Callable[[Node], Node]) -> Node:
        """The sum with one product in it."""
        total = self.built(operand)
        for each in self.rest:
            total = add(total, operand(each))
        return total


def _free(product: Node, side: int) -> tuple[int, ...]:
    contract, batch = product.attrs["contract"], product.attrs["batch"]
    return free_axes(product.inputs[side].ndim, contract[side], batch[side])


def sharing(products: Iterable[Node], kind: Callable[[Node, int], Hashable]) -> list[SharedOperand]:
    """Products that share an operand and sum over the same axes of it.

    Parameters
    ----------
    products : iterable of Node
    kind : callable
        From a product and the side on which it would be joined; those of one kind may be.
    """
    found: dict[Hashable, list[Node]] = {}
    places: dict[Hashable, tuple[int, int]] = {}
    for product in products:
        for side in (0, 1):
            free = _free(product, side)
            if free:
                shape = _without(product.inputs[side], free[0])
                axes = (product.attrs["contract"], product.attrs["batch"])
                key = (product.inputs[1 - side], side, shape, axes, kind(product, side))
                found.setdefault(key, []).append(product)
                places[key] = side, free[0]
    return [
        SharedOperand(_in_order(each, places[key][0]), dict([places[key]]))
        for key, each in found.items()
        if len(each) > 1
    ]


def adding(
    nodes: Sequence[Node],
    users: Mapping[Node, Sequence[Node]],
    outputs: Collection[Node],
    kind: Callable[[Node], Hashable],
) -> list[Summed]:
    """Sums of products that sum over the same axes.

    What is read by anything else stays by itself, and so does what is computed elsewhere, which has
    no users here, and half floats: products round their sums to them, each by itself.
    """

    def is_inner(node: Node) -> bool:
        return len(users.get(node, ())) == 1 and node not in outputs

    found: list[Summed] = []
    for total in nodes:
        if not is_sum(total) or is_half(total.dtype):
            continue
        if is_inner(total) and is_sum(users[total][0]):
            continue
        terms = terms_of(total, lambda node: is_sum(node) and is_inner(node))
        count = Counter(terms)
        alike: dict[Hashable, list[Node]] = {}
        for term in terms:
            if term.op is DOT_GENERAL and is_inner(term) and count[term] == 1:
                axes = [each[0] for each in term.attrs["contract"] if each]
                if axes:
                    shapes = tuple(map(_without, term.inputs, axes))
                    key = (shapes, term.attrs["contract"], term.attrs["batch"], kind(term))
                    alike.setdefault(key, []).append(term)
        most = max(alike.values(), key=len, default=[])
        if len(most) > 1:
            left, right = (axes[0] for axes in most[0].attrs["contract"])
            rest = tuple(each for each in terms if each not in most)
            found.append(Summed(_in_order(most), {0: left, 1: right}, total, rest))
    return found


def is_sum(node: Node) -> bool:
    """Whether a node adds up others of its shape."""
    return node.op.name == "add" and all(each.shape == node.shape for each in node.inputs)


def terms_of(total: Node, is_inside: Callable[[Node], bool]) -> list[Node]:
    """What is added, from left to right."""
    found: list[Node] = []
    waiting = [*reversed(total.inputs)]
    while waiting:
        each = waiting.pop()
        if is_inside(each):
            waiting += reversed(each.inputs)
        else:
            found.append(each)
    return found


def _without(node: Node, axis: int) -> tuple[Size, ...]:
    """The shape but for an axis."""
    return (*node.shape[:axis], *node.shape[axis + 1 :])


def _in_order(products: Iterable[Node], side: int | None = None) -> tuple[Node, ...]:
    """By the age of one operand, or of the older one: weights come in one order everywhere."""

    def age(product: Node) -> int:
        ages = [each.serial for each in product.inputs]
        return min(ages) if side is None else ages[side]

    return tuple(sorted(products, key=age))
