"""split_products: products of what is side by side become products of the parts that leave a loop.

Before: ``concatenate([h, x]) @ w`` in every step; back, ``dz @ w.T`` is cut into ``dh`` and ``dx``,
and ``concatenate([h, x]).T @ dz`` is added to a total.
After: ``x @ w[n:] + h @ w[:n]``; ``dh = dz @ w[:n].T``, and ``dx`` by itself if it is asked for;
the parts ``h.T @ dz`` and ``x.T @ dz`` of the total.

A cell written with one weight for the state and the input side by side is then as quick as one
that has two. Parts are told apart by what they need: a carry, an element, or nothing of the step;
those that need the same stay together. This comes before ``merge_products``, which keeps products
apart that leave a loop from those that stay, and before ``hoist``, which takes them out. Weights
are cut outside of the loop, once.

The sum is made in another order; half floats, of which every product is rounded, keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from graphnn.compiler.driver import Driver, expression
from graphnn.compiler.levels import Level
from graphnn.compiler.scans.hoist import needed_in_loop
from graphnn.compiler.scans.rewriting import replace_scans
from graphnn.compiler.unit import Unit
from graphnn.core.dtypes import is_half
from graphnn.core.graph import depending_on, with_inputs
from graphnn.core.node import Node
from graphnn.ops.arithmetic import add
from graphnn.ops.contraction import DOT_GENERAL, dot_of, free_axes
from graphnn.ops.joining import CONCATENATE, SLICE, concatenate, slice_axis
from graphnn.ops.recomputation import AGAIN
from graphnn.ops.scans import Step

__all__ = ["split_products"]

Range = tuple[int, int]
"""Where a part begins along an axis, and its size."""


def split_products(unit: Unit, driver: Driver) -> Unit:
    """See the module. Nothing leaves a step that computes again, and so nothing is split in it."""

    def split(node: Node, used: Set[int]) -> Sequence[Node] | None:
        if any(each.op is AGAIN for each in node.attrs["body"].nodes):
            return None
        step = Step.of(node)
        outputs = _Splitting(step, driver).outputs()
        if outputs == step.outputs:
            return None
        finals, ys = step.with_outputs(outputs).build()
        return [*finals, *ys]

    return driver.with_graph(unit, replace_scans(unit.graph, "split_products", split))


class _Splitting:
    """A step, while its products are taken apart."""

    def __init__(self, step: Step, driver: Driver) -> None:
        self.step = step
        self.driver = driver
        self.level = Level.of(step)
        self.carried = depending_on(step.outputs, [each.symbol for each in step.carries])
        self.needed = needed_in_loop(step)
        self.made: dict[Node, Node] = {}

    def outputs(self) -> tuple[Node, ...]:
        """What the step computes, from products of parts."""
        if not any(node.op in (CONCATENATE, SLICE) for node in self.level.nodes):
            return self.step.outputs
        return self.level.map(self._replaced).outputs

    def _replaced(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        made = with_inputs(node, inputs)
        split = None
        if node.op is DOT_GENERAL:
            split = self._sum(node, made)
            if split is None:
                split = self._side_by_side(node, made)
        elif node.op is SLICE and node.inputs[0].op is inputs[0].op is DOT_GENERAL:
            split = self._cut(node, inputs[0])
        if split is not None and self.driver.spend("split_products", node, split):
            made = split
        self.made[node] = made
        return made

    def _decide(self, product: Node, verdict: str, reason: str) -> None:
        self.driver.decide(expression(product), verdict, reason, product)

    # --------------------------------------------------------------- ``[h x] @ w``, a sum of parts

    def _sum(self, product: Node, made: Node) -> Node | None:
        """The sum of products of parts that need different things, those with the carry last."""
        found = self._summed_axis(product)
        if found is None:
            return None
        side, axis, other_axis = found
        parts = _parts(product.inputs[side], axis)
        by_need: dict[int, list[tuple[Node, Range]]] = {}
        for part, where in zip(parts, _ranges(parts, axis), strict=True):
            by_need.setdefault(self._need(part), []).append((part, where))
        total = None
        for _, group in sorted(by_need.items(), key=lambda each: each[0]):
            operand = concatenate([self.made.get(part, part) for part, _ in group], axis)
            other = _picked(product.inputs[1 - side], other_axis, [where for _, where in group])
            term = _with_operands(made, {side: operand, 1 - side: other})
            total = term if total is None else add(total, term)
        reason = "what is side by side does not all need a carry"
        self._decide(product, "becomes a sum of products of the parts", reason)
        return total

    def _summed_axis(self, product: Node) -> tuple[int, int, int] | None:
        """The operand that is to be split, its axis, and that of the weight which belongs to it."""
        if is_half(product.dtype):
            return None
        contract = product.attrs["contract"]
        for side in (0, 1):
            if product.inputs[1 - side] in self.level.inside:
                continue
            for axis, other_axis in zip(contract[side], contract[1 - side], strict=True):
                needs = set(map(self._need, _parts(product.inputs[side], axis)))
                if len(needs) > 1 and _CARRY in needs:
                    return side, axis, other_axis
        return None

    def _need(self, node: Node) -> int:
        if node in self.carried:
            return _CARRY
        return _ELEMENT if node in self.level.inside else _NOTHING

    # ----------------------------------------------------------- ``[h x].T @ dz``, parts of a total

    def _side_by_side(self, product: Node, made: Node) -> Node | None:
        """The products of parts side by side, where the parts are there for all steps.

        After the loop, nothing needs to lie side by side then.
        """
        for result_axis, (side, axis) in enumerate(_result_axes(product)):
            whole = product.inputs[side]
            if not self._is_for_totals(whole):
                continue
            parts = _parts(whole, axis)
            if len(parts) > 1 and any(part in self.step.elements for part in parts):
                self._decide(product, "becomes products of the parts", "a total alone needs it")
                operands = [self.made.get(part, part) for part in parts]
                products = [_with_operands(made, {side: each}) for each in operands]
                joined: Node = concatenate(products, result_axis)
                return joined
        return None

    def _is_for_totals(self, node: Node) -> bool:
        """Whether products alone read a node that become one over all steps."""
        if node.op is not CONCATENATE or node not in self.level.inside:
            return False
        users = self.level.users[node]
        return node not in self.step.outputs and all(
            self.level.place(user) == "total" for user in users
        )

    # ---------------------------------------------------------------- ``dz @ w.T``, cut into parts

    def _cut(self, node: Node, made: Node) -> Node | None:
        """A part of a product, of those columns of the weight that are read for the same."""
        (product,) = node.inputs
        users = self.level.users.get(product, ())
        axis = _cut_axis(users)
        if axis is None or product in self.step.outputs:
            return None
        side, weight_axis = _result_axes(product)[axis]
        if side < 0 or product.inputs[side] in self.level.inside:
            return None
        ranges = sorted(_range(each, axis) for each in users)
        if any(start + size > after for (start, size), (after, _) in zip(ranges, ranges[1:])):
            return None
        alike = [each for each in users if (each in self.needed) == (node in self.needed)]
        together = sorted(_range(each, axis) for each in alike)
        if sum(size for _, size in together) == product.shape[axis]:
            return None
        narrow = _with_operands(made, {side: _picked(made.inputs[side], weight_axis, together)})
        reason = "the loop needs part of it" if node in self.needed else "the loop needs none of it"
        self._decide(product, "is computed by parts", reason)
        where = _range(node, axis)
        start = sum(size for first, size in together if first < where[0])
        return slice_axis(narrow, axis, start, where[1])


_NOTHING, _ELEMENT, _CARRY = range(3)
"""What a part may need of a step, in the order in which products are added."""


def _parts(node: Node, axis: int) -> list[Node]:
    """What lies side by side along an axis, concatenations of concatenations too."""
    found, waiting = [], [node]
    while waiting:
        each = waiting.pop()
        if each.op is CONCATENATE and each.attrs["axis"] == axis:
            waiting += reversed(each.inputs)
        else:
            found.append(each)
    return found


def _ranges(parts: Iterable[Node], axis: int) -> list[Range]:
    found, start = [], 0
    for each in parts:
        size = int(each.shape[axis])
        found.append((start, size))
        start += size
    return found


def _picked(node: Node, axis: int, ranges: Iterable[Range]) -> Node:
    """Some ranges of an axis alone, one after the other; neighbours are one slice."""
    joined: list[Range] = []
    for start, size in ranges:
        if joined and sum(joined[-1]) == start:
            start, size = joined[-1][0], joined.pop()[1] + size
        joined.append((start, size))
    picked: Node = concatenate([slice_axis(node, axis, *each) for each in joined], axis)
    return picked


def _with_operands(product: Node, operands: dict[int, Node]) -> Node:
    left, right = (operands.get(side, each) for side, each in enumerate(product.inputs))
    return dot_of(left, right, product.attrs["contract"], product.attrs["batch"])


def _result_axes(product: Node) -> list[tuple[int, int]]:
    """For each axis of a product the operand that it is of, and which axis; -1 if of both."""
    contract, batch = product.attrs["contract"], product.attrs["batch"]
    free = [
        (side, axis)
        for side, each in enumerate(product.inputs)
        for axis in free_axes(each.ndim, contract[side], batch[side])
    ]
    return [*((-1, axis) for axis in batch[0]), *free]


def _cut_axis(users: Sequence[Node]) -> int | None:
    """The one axis along which all that read a product cut it; None if they do not."""
    found: set[int] = set()
    for each in users:
        if each.op is not SLICE or any(step != 1 for step in each.attrs["step"]):
            return None
        pairs = enumerate(zip(each.shape, each.inputs[0].shape, strict=True))
        found.update(axis for axis, (size, whole) in pairs if size != whole)
    return found.pop() if len(found) == 1 else None


def _range(cut: Node, axis: int) -> Range:
    return int(cut.attrs["start"][axis]), int(cut.attrs["size"][axis])
