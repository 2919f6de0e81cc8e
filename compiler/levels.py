"""The nodes of a program, or of one step inside: what products can be merged of, and how often.

For the pass :mod:`graphnn.compiler.passes.merge_products`. In a step nodes read others outside of
it directly, so that what is made of these alone is outside too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

from graphnn.compiler.domain import is_computed
from graphnn.compiler.joint_products import Products
from graphnn.compiler.merging_cost import IN_CACHE, Times
from graphnn.compiler.scans.hoist import leaving_products
from graphnn.core.graph import depending_on, rebuild, topological_order
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec
from graphnn.ops.contraction import DOT_GENERAL
from graphnn.ops.joining import CONCATENATE
from graphnn.ops.scan_primitive import Step

__all__ = ["Level"]

AnyProducts = TypeVar("AnyProducts", bound=Products)


class Level:
    """The nodes of a program, or of a step, without those of the scans inside.

    Attributes
    ----------
    outputs : tuple of Node
    step : Step or None
    inside : set of Node
        All that is computed here: in a step, what depends on it.
    nodes : list of Node
        The same, inputs before users.
    """

    def __init__(self, outputs: tuple[Node, ...], step: Step | None = None) -> None:
        self.outputs = outputs
        self.step = step
        if step is None:
            self.nodes = topological_order(outputs)
            self.inside = set(self.nodes)
        else:
            self.inside = depending_on(outputs, step.symbols)
            order = topological_order(outputs, follow=self.inputs_of)
            self.nodes = [each for each in order if each in self.inside]

    @staticmethod
    def of(step: Step) -> Level:
        """What a step computes."""
        return Level(step.outputs, step)

    def with_outputs(self, outputs: tuple[Node, ...]) -> Level:
        """The level when nodes have been replaced."""
        if outputs == self.outputs:
            return self
        return Level(outputs) if self.step is None else Level.of(self.step.with_outputs(outputs))

    def inputs_of(self, node: Node) -> Sequence[Node]:
        """What a node reads here."""
        return [each for each in node.inputs if each in self.inside]

    def map(
        self,
        replaced: Callable[[Node, tuple[Node, ...]], Node],
        order: Iterable[Node] | None = None,
    ) -> Level:
        """The level with every node replaced."""
        outside = {
            each: each for node in self.nodes for each in node.inputs if each not in self.inside
        }
        new = rebuild(self.nodes if order is None else order, replaced, outside)
        return self.with_outputs(tuple(new.get(each, each) for each in self.outputs))

    @property
    def products(self) -> list[Node]:
        """Products of this level."""
        return [node for node in self.nodes if node.op is DOT_GENERAL]

    @cached_property
    def users(self) -> Mapping[Node, Sequence[Node]]:
        """Who reads each node, once."""
        found: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for each in dict.fromkeys(node.inputs):
                if each in found:
                    found[each].append(node)
        return found

    @cached_property
    def _leaving(self) -> Mapping[Node, str]:
        return {} if self.step is None else leaving_products(self.step)

    def place(self, product: Node) -> str:
        """Where a product will be computed, see `leaving_products`; empty if it stays here."""
        return self._leaving.get(product, "")

    def times(self, product: Node) -> Times:
        """How often a product, and what it reads, is computed."""
        if self.step is None:
            return Times()
        steps = int(self.step.length)
        place = self.place(product)
        results = {"": IN_CACHE * steps, "before": 0.0, "total": 1.0, "after": float(steps)}[place]
        return Times(1 if place else steps, steps, results)

    @cached_property
    def joins(self) -> Mapping[tuple[frozenset[Node], int], Sequence[Node]]:
        """What is joined here along which axis, and in which order."""
        return {
            (frozenset(node.inputs), node.attrs["axis"]): node.inputs
            for node in reversed(self.nodes)
            if node.op is CONCATENATE
        }

    def arranged(self, products: AnyProducts) -> AnyProducts:
        """The same in the order in which their operands are joined already."""
        for side, axis in products.joined.items():
            parts = products.parts(side)
            known = self.joins.get((frozenset(parts), axis))
            if known is not None and len(known) == len(parts):
                order = sorted(products.products, key=lambda each: known.index(each.inputs[side]))
                return replace(products, products=tuple(order))
        return products

    def copies(self, products: Products) -> list[tuple[Node, int]]:
        """The operands that are copied to be joined, and how often."""
        steps = self.times(products.products[0]).steps
        parts = [(side, each) for side in products.joined for each in products.parts(side)]
        return [
            (each, steps if each in self.inside else 1)
            for side, each in parts
            if not self._is_written_there(each, products.parts(side))
        ]

    def _is_written_there(self, part: Node, parts: Sequence[Node]) -> bool:
        """Whether an operand is computed where it is wanted; see :mod:`graphnn.compiler.joined`."""
        if part not in self.inside or part in self.outputs or not is_computed(part):
            return False
        if part.op is CONCATENATE or not isinstance(part.spec, TensorSpec) or parts.count(part) > 1:
            return False
        others = [each.inputs for each in self.users[part] if each.op is CONCATENATE]
        return not others or any(set(each) == set(parts) for each in others)
