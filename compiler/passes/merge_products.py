"""merge_products: products that share an operand, or are added to each other, become one.

Before: ``x @ w1, x @ w2, x @ w3``; ``a1 @ w, a2 @ w``; ``a1 @ b1 + a2 @ b2``.
After: the parts of ``x @ [w1 w2 w3]``; those of ``[a1; a2] @ w``; ``[a1 a2] @ [b1; b2]``.

A cell that has a weight for each gate is then as quick as one whose gates lie side by side in one
weight. Within a step, weights are joined before the loop, for they depend on no step. On the way
back ``dh``, to which every gate adds a product, becomes one product, whose operand the gates'
gradients are written into; the gradients of the weights are parts of one product with the same
operand. This comes before ``hoist``, which then moves one product instead of several, and so
products that will leave the loop are kept apart from those that stay.

Sums of products are made in another order, and a wider product may sum in another order than a
narrow one. Where it does not pay, products stay; see :mod:`graphnn.compiler.merging_cost`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from graphnn.compiler.driver import Driver, expression
from graphnn.compiler.joint_products import Products, SharedOperand, adding, sharing
from graphnn.compiler.levels import Level
from graphnn.compiler.merging_cost import reason_against
from graphnn.compiler.order import Order
from graphnn.compiler.scans.rewriting import has_bodies, is_scan
from graphnn.compiler.unit import Unit
from graphnn.core.graph import Graph, topological_order, with_inputs
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import carry, made_by
from graphnn.ops.control import PROJECT
from graphnn.ops.scan_primitive import Step

__all__ = ["merge_products"]


def merge_products(unit: Unit, driver: Driver) -> Unit:
    """See the module. Goes into bodies by itself, for it needs to see what steps read outside."""
    graph = unit.graph
    outputs = _Merging(driver).merged(Level(graph.outputs))
    if outputs == graph.outputs:
        return unit
    return driver.with_graph(unit, Graph(graph.inputs, outputs))


class _Merging:
    """The pass at work."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def merged(self, level: Level) -> tuple[Node, ...]:
        """The outputs of a level, with products merged in it and in the bodies inside."""
        level = self._with_bodies(level)
        if len(level.products) > 1:
            level = self._with_sums(level)
            level = self._with_shared_operands(level)
        return level.outputs

    # ----------------------------------------------------------------------------- bodies inside

    def _with_bodies(self, level: Level) -> Level:
        holders = {node for node in level.nodes if has_bodies(node)}
        if not holders:
            return level
        results: dict[Node, list[Node]] = {}

        def replaced(node: Node, inputs: tuple[Node, ...]) -> Node:
            if node.op is PROJECT and inputs[0] in results:
                number: int = node.attrs["index"]
                return results[inputs[0]][number]
            made = with_inputs(node, inputs)
            if node in holders and not is_scan(node):
                return self._in_branches(made)
            if node in holders:
                step = Step.of(made)
                outputs = self.merged(Level.of(step))
                if outputs != step.outputs:
                    with made_by("merge_products", node):
                        finals, ys = step.with_outputs(outputs).build()
                    results[made] = [*finals, *ys]
            return made

        return level.map(replaced)

    def _in_branches(self, node: Node) -> Node:
        """A cond or while loop with products merged in its bodies, each on its own."""
        bodies: dict[str, Graph] = {}
        for name in node.op.body_attrs:
            body: Graph = node.attrs[name]
            outputs = self.merged(Level(body.outputs))
            if outputs != body.outputs:
                bodies[name] = Graph(body.inputs, outputs)
        if not bodies:
            return node
        with made_by("merge_products", node):
            return make_node(node.op, node.inputs, {**node.attrs, **bodies})

    # --------------------------------------------------------------------------- sums of products

    def _with_sums(self, level: Level) -> Level:
        """With one product for several that are added to each other."""
        found = adding(level.nodes, level.users, level.outputs, level.place)
        chosen = {each.total: level.arranged(each) for each in found if self._pays(level, each)}
        if not chosen:
            return level
        made: dict[Node, Node] = {}

        def operand(node: Node) -> Node:
            return made.get(node, node)

        def replaced(node: Node, inputs: tuple[Node, ...]) -> Node:
            made[node] = with_inputs(node, inputs)
            if node in chosen:
                with made_by("merge_products", node):
                    total = chosen[node].replaced(operand)
                if self._spend(chosen[node], total):
                    made[node] = total
            return made[node]

        return level.map(replaced)

    # ---------------------------------------------------------------------------- shared operands

    def _with_shared_operands(self, level: Level) -> Level:
        """With one product for several that share an operand."""
        chosen = self._sharing(level)
        if not chosen:
            return level
        whole_of = {product: each for each in chosen for product in each.products}
        parts: dict[SharedOperand, dict[Node, Node]] = {}
        made: dict[Node, Node] = {}

        def operand(node: Node) -> Node:
            return made.get(node, node)

        def built(products: SharedOperand) -> dict[Node, Node]:
            with made_by("merge_products", products.products[0]):
                whole = products.built(operand)
                for each in products.products:
                    carry(each, whole)
                return products.slices(whole) if self._spend(products, whole) else {}

        def replaced(node: Node, inputs: tuple[Node, ...]) -> Node:
            made[node] = with_inputs(node, inputs)
            if node in whole_of:
                products = whole_of[node]
                if products not in parts:
                    parts[products] = built(products)
                made[node] = parts[products].get(node, made[node])
            return made[node]

        def read(node: Node) -> Sequence[Node]:
            products = whole_of[node].products if node in whole_of else (node,)
            return [each for one in products for each in level.inputs_of(one)]

        order = topological_order(level.outputs, follow=read)
        return level.map(replaced, [each for each in order if each in level.inside])

    def _sharing(self, level: Level) -> list[SharedOperand]:
        """Products that share an operand, where it pays, each in one place."""

        def kind(product: Node, side: int) -> tuple[str, bool]:
            return level.place(product), product.inputs[side] in level.inside

        found = sharing(level.products, kind)
        if not found:
            return []
        uses = Counter(frozenset(_joined_parts(each)) for each in found)
        together = _Together(level)
        chosen: list[SharedOperand] = []
        taken: set[Node] = set()
        for each in sorted(found, key=lambda each: -len(each.products)):
            left = tuple(product for product in each.products if product not in taken)
            n_uses = uses[frozenset(_joined_parts(each))]
            products = level.arranged(replace(each, products=left))
            if len(left) < 2 or not self._pays(level, products, n_uses):
                continue
            kept = together.independent(left, self.driver)
            fewer = replace(products, products=tuple(p for p in products.products if p in kept))
            if len(kept) == len(left) or (len(kept) > 1 and self._pays(level, fewer, n_uses)):
                chosen.append(fewer)
                taken |= kept
        return chosen

    # ---------------------------------------------------------------------------------- decisions

    def _pays(self, level: Level, products: Products, n_uses: int = 1) -> bool:
        """Whether it does; if not, the reason is kept."""
        shared = products.shared if isinstance(products, SharedOperand) else None
        reason = reason_against(
            products.products,
            shared,
            shared in level.inside,
            level.copies(products),
            level.times(products.products[0]),
            n_uses,
        )
        if reason:
            listed = products.products
            self.driver.decide(_listed(listed), "stay apart", reason, listed[0])
        return not reason

    def _spend(self, products: Products, made: Node) -> bool:
        first = products.products[0]
        if not self.driver.spend("merge_products", first, made):
            return False
        word = "one product" if isinstance(products, SharedOperand) else "one product, not a sum"
        self.driver.decide(_listed(products.products), f"become {word}", "", first)
        return True


class _Together:
    """Which products can be one: none may need the result of another, by whatever way."""

    def __init__(self, level: Level) -> None:
        self._number = {node: count for count, node in enumerate(level.nodes)}
        number = self._number
        edges = ((number[e], number[node]) for node in level.nodes for e in level.inputs_of(node))
        self._order = Order(len(number), edges)

    def independent(self, products: Sequence[Node], driver: Driver) -> set[Node]:
        """Those that are one from now on: the first, and all that may join it."""
        first, *others = sorted(products, key=self._number.__getitem__)
        merged, group = {first}, self._number[first]
        for each in others:
            pair = (group, self._number[each])
            low, high = sorted(pair, key=self._order.position.__getitem__)
            if not merged.isdisjoint(each.inputs):
                reason = "one of them reads the other"
            else:
                reason = self._order.merge(low, high)
            if reason:
                driver.decide(_listed([first, each]), "stay apart", reason, each)
            else:
                merged.add(each)
                group = low
        return merged


def _joined_parts(products: SharedOperand) -> Sequence[Node]:
    (side,) = products.joined
    return products.parts(side)


def _listed(products: Sequence[Node]) -> str:
    most = 8
    more = f" and {len(products) - most} more" if len(products) > most else ""
    return ", ".join(map(expression, products[:most])) + more
