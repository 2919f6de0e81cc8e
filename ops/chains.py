"""Recurrences along chains: the elements that an index brings to one place, in their order.

Derivatives of :func:`graphnn.ops.scattering.scatter_multiply` are built from these two operators,
which are closed under differentiation: so they are right with zeros, to any order. Elements of
one chain need not be neighbours; both kernels sort by place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphnn.core.dims import Shape
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec
from graphnn.ops.arithmetic import multiply
from graphnn.ops.broadcasting import broadcast_to
from graphnn.ops.constants import zeros_like
from graphnn.ops.indices import behind_axes, flattened, mapped_indices, wrapped
from graphnn.ops.linear_tier import sum_tangents
from graphnn.ops.movement import moved_to_front

__all__ = ["products_of_others"]


class ChainOp(Op):
    """Works along chains, each by itself.

    Inputs are ``n_values`` arrays of one shape, in a wide float, then indices of the shape that
    theirs starts with. These point into axes of ``sizes`` elements; what they bring to one place
    is a chain. ``reverse`` runs from its last element to its first.
    """

    n_values: int
    may_raise = True

    def infer(self, *inputs: TensorSpec, **attrs: Any) -> TensorSpec:
        return inputs[0]

    def batch(self, node: Node, inputs: Sequence[Node], mapped: Sequence[bool]) -> Node:
        """Other examples are other columns, or other chains if the indices differ."""
        n = self.n_values
        size = inputs[mapped.index(True)].shape[0]
        values = [
            each if is_mapped else broadcast_to(each, (size, *each.shape))
            for each, is_mapped in zip(inputs[:n], mapped[:n], strict=True)
        ]
        indices = inputs[n:]
        if any(mapped[n:]):
            indices = mapped_indices(indices, mapped[n:], with_number=True)
            attrs = {**node.attrs, "sizes": (size, *node.attrs["sizes"])}
            return make_node(self, (*values, *indices), attrs)
        moved = [behind_axes(each, indices[0].ndim) for each in values]
        return moved_to_front(make_node(self, (*moved, *indices), node.attrs), indices[0].ndim)


class ChainShiftOp(ChainOp):
    """For every element the one before it in its chain, or ``fill`` for the first."""

    name = "chain_shift"
    n_values = 1

    def evaluate(self, x: Array, *indices: Array, sizes: Any, reverse: bool, fill: float) -> Array:
        order, place = _chains(self.name, sizes, indices, reverse)
        rows = _rows(x, order)
        result = np.full_like(rows, fill)
        later = np.flatnonzero(place)
        result[order[later]] = rows[order[later - 1]]
        return result.reshape(x.shape)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        _, *indices = node.inputs
        tangent = tangents[0]
        return None if tangent is None else _shifted(tangent, indices, node)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        _, *indices = node.inputs
        back = _shifted(cotangent, indices, node, reverse=not node.attrs["reverse"])
        return [back, *(None for _ in indices)]


class ChainRecurrenceOp(ChainOp):
    """``s[t] = a[t] * s[t-1] + b[t]`` along every chain; the first element is its ``b``."""

    name = "chain_recurrence"
    n_values = 2

    def evaluate(self, a: Array, b: Array, *indices: Array, sizes: Any, reverse: bool) -> Array:
        order, place = _chains(self.name, sizes, indices, reverse)
        factor, state = (_rows(each, order)[order] for each in (a, b))
        # Hillis and Steele's scan: factor and state of an element speak for the ``reach``
        # elements up to it, and then for twice as many, until every chain has been walked.
        reach = 1
        while (later := np.flatnonzero(place >= reach)).size:
            state[later] += factor[later] * state[later - reach]
            factor[later] *= factor[later - reach]
            reach *= 2
        result = np.empty_like(state)
        result[order] = state
        return result.reshape(b.shape)

    def jvp(self, node: Node, tangents: Sequence[Node | None]) -> Node | None:
        (a, _, *indices), (of_a, of_b) = node.inputs, tangents[:2]
        by_a = None if of_a is None else multiply(of_a, _shifted(node, indices, node))
        arriving = sum_tangents([by_a, of_b])
        return None if arriving is None else make_node(self, (a, arriving, *indices), node.attrs)

    def vjp(self, node: Node, cotangent: Node) -> Sequence[Node | None]:
        a, _, *indices = node.inputs
        back = {**node.attrs, "reverse": not node.attrs["reverse"]}
        following = _shifted(a, indices, node, reverse=back["reverse"])
        adjoint = make_node(self, (following, cotangent, *indices), back)
        by_a = multiply(adjoint, _shifted(node, indices, node))
        return [by_a, adjoint, *(None for _ in indices)]


CHAIN_SHIFT, CHAIN_RECURRENCE = ChainShiftOp(), ChainRecurrenceOp()
register(CHAIN_SHIFT)
register(CHAIN_RECURRENCE)


def products_of_others(x: Node, indices: Sequence[Node], sizes: Shape) -> Node:
    """For every element the product of all others in its chain, without a division."""
    both_sides = []
    for reverse in (False, True):
        attrs = {"sizes": sizes, "reverse": reverse}
        shift = {**attrs, "fill": 1.0}
        before = make_node(CHAIN_SHIFT, (x, *indices), shift)
        # The product of none, 1, stands at the start of a chain; what follows is multiplied up.
        start = make_node(CHAIN_SHIFT, (zeros_like(x), *indices), shift)
        both_sides.append(make_node(CHAIN_RECURRENCE, (before, start, *indices), attrs))
    return multiply(*both_sides)


def _shifted(x: Node, indices: Sequence[Node], like: Node, reverse: bool | None = None) -> Node:
    """``x`` shifted by one along the chains of another node, in its direction or as told."""
    attrs = {
        "sizes": like.attrs["sizes"],
        "reverse": like.attrs["reverse"] if reverse is None else reverse,
        "fill": 0.0,
    }
    return make_node(CHAIN_SHIFT, (x, *indices), attrs)


def _chains(
    name: str, sizes: tuple[int, ...], indices: Sequence[Array], reverse: bool
) -> tuple[Array, Array]:
    """The elements chain by chain, and for each of them how many stand before it in its chain."""
    chain = flattened(sizes, wrapped(name, sizes, indices))
    order = np.argsort(chain, kind="stable")
    if reverse:
        order = order[::-1]
    chain, number = chain[order], np.arange(order.size)
    first = np.where(np.diff(chain, prepend=-1) != 0, number, 0)
    return order, number - np.maximum.accumulate(first)


def _rows(x: Array, order: Array) -> Array:
    """``x`` with its indexed axes made one."""
    return x.reshape(order.size, -1) if x.size else x.reshape(order.size, 0)
