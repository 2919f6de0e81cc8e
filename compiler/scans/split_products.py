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
from functools import reduce
from itertools import pairwise

from graphnn.compiler.driver import Driver, expression
from graphnn.compiler.joint_products import is_sum, terms_of
from graphnn.compiler.levels import Level
from graphnn.compiler.rules.movement import slice_of_slice
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
from graphnn.ops.scan_primitive import Step

__all__ = ["split_products"]

Range = tuple[int, int]
"""Where a part begins along an axis, and its size."""


def split_products(unit: Unit, driver: Driver) -> Unit:
    """See the module. Nothing leaves a step that computes again, and so nothing is split in it."""

    def split(node: Node, used: Set[int]) -> Sequence[Node] | None:
        if any(each.op is AGAIN for each in node.attrs["body"].nodes):
            return None
        step = _with_slices_of_wholes(Step.of(node))
        outputs = _Splitting(step, driver).outputs()
        if outputs == step.outputs:
            return None
        finals, ys = step.with_outputs(outputs).build()
        return [*finals, *ys]

    return driver.with_graph(unit, replace_scans(unit.graph, "split_products", split))


def _with_slices_of_wholes(step: Step) -> Step:
    """The step with no slice of a slice: those are what parts of parts were cut into."""

    def replaced(node: Node, inputs: tuple[Node, ...]) -> Node:
        made = with_inputs(node, inputs)
        if made.op is not SLICE or inputs[0].op is not SLICE:
            return made
        (whole,) = inputs[0].inputs
        shorter = slice_of_slice.build(whole, made)
        return made if shorter is None else shorter

    return step.with_outputs(Level.of(step).map(replaced).outputs)


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
        elif node.op is SLICE:
            split = self._cut(node)
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
        reason = "not all of them need a carry"
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

    def _cut(self, node: Node) -> Node | None:
        """A part of a product, or of a sum of them, of those columns that are read for the same."""
        (whole,) = node.inputs
        users = self.level.users.get(whole, ())
        axis = _cut_axis(users)
        if axis is None or whole in self.step.outputs:
            return None
        terms = self._terms(whole)
        ranges = self._read_with(node, users, axis)
        if ranges is None or (len(terms) > 1 and is_half(node.dtype)):
            return None
        products = [each for each in terms if self._is_cut(each, whole, axis)]
        if not products:
            return None
        reason = "the loop needs part of it" if node in self.needed else "the loop needs none of it"
        for each in products:
            self._decide(each, "is computed by parts", reason)
        narrow = [_narrow(self.made[each], axis, ranges) for each in products]
        others = [self.made.get(each, each) for each in terms if each not in products]
        start, size = _range(node, axis)
        before = sum(each for first, each in ranges if first < start)
        part: Node = slice_axis(reduce(add, narrow), axis, before, size)
        return reduce(add, (slice_axis(each, axis, start, size) for each in others), part)

    def _terms(self, whole: Node) -> list[Node]:
        """The node, or what is added to make it."""

        def is_inside(node: Node) -> bool:
            return is_sum(node) and self._is_read_once(node)

        return terms_of(whole, is_inside) if is_sum(whole) else [whole]

    def _is_read_once(self, node: Node) -> bool:
        return len(self.level.users.get(node, ())) == 1 and node not in self.step.outputs

    def _is_cut(self, product: Node, whole: Node, axis: int) -> bool:
        """Whether a node is a product of a weight that is cut, and nobody reads all of it."""
        if product.op is not DOT_GENERAL or self.made[product].op is not DOT_GENERAL:
            return False
        side, _ = _result_axes(product)[axis]
        is_read_here = product is whole or self._is_read_once(product)
        return is_read_here and side >= 0 and product.inputs[side] not in self.level.inside

    def _read_with(self, node: Node, users: Sequence[Node], axis: int) -> list[Range] | None:
        """The parts that are read where a part is read, in order; None if these are all there is.

        None as well where parts overlap.
        """
        ranges = sorted(_range(each, axis) for each in users)
        if any(sum(one) > after for one, (after, _) in pairwise(ranges)):
            return None
        is_needed = node in self.needed
        alike = [each for each in users if (each in self.needed) == is_needed]
        together = sorted(_range(each, axis) for each in alike)
        covered = sum(size for _, size in together)
        return None if covered == node.inputs[0].shape[axis] else together


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


def _narrow(product: Node, axis: int, ranges: Iterable[Range]) -> Node:
    """A product, of some ranges of an axis of it alone."""
    side, operand_axis = _result_axes(product)[axis]
    picked = _picked(product.inputs[side], operand_axis, ranges)
    return _with_operands(product, {side: picked})


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
