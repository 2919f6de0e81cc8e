"""hoist: products that need no carry leave the scan, and become one product over all steps.

Before: every step computes ``x @ w``, ``h @ u`` and adds ``x.T @ dz`` to a total.
After: one product ``xs @ w`` before the scan; within it ``h @ u`` alone; and after it one product
of ``xs`` and all ``dz``, summed over batch and time at once.

Three things leave: what depends on elements alone goes before the scan; what no carry depends on
goes after it; and a carry to which something is only added is summed after it. Elementwise nodes
go along where that makes nothing larger; without a product nothing leaves, for a step's loop is
as good a place as any. Nor does anything leave a step that computes values again to save memory:
what it gave for all steps would have to be kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace

from graphnn.compiler.batching import batch_nodes
from graphnn.compiler.domain import ANCHOR_OPS
from graphnn.compiler.driver import Driver, expression
from graphnn.compiler.joined import parts_along
from graphnn.compiler.scans.rewriting import replace_scans
from graphnn.compiler.unit import Unit
from graphnn.core.dtypes import is_floating, is_half
from graphnn.core.graph import depending_on, substitute, topological_order, with_inputs
from graphnn.core.node import Node, make_node
from graphnn.ops.arithmetic import add
from graphnn.ops.broadcasting import SUM, broadcast_to
from graphnn.ops.constants import is_zero
from graphnn.ops.contraction import DOT_GENERAL, dot_of
from graphnn.ops.control import PROJECT
from graphnn.ops.joining import CONCATENATE, slice_axis
from graphnn.ops.leaves import input_like
from graphnn.ops.recomputation import AGAIN
from graphnn.ops.scan_primitive import Carry, Step

__all__ = ["hoist", "leaving_products", "needed_in_loop"]


def hoist(unit: Unit, driver: Driver) -> Unit:
    """See the module."""

    def hoisted(node: Node, used: Set[int]) -> Sequence[Node | None] | None:
        if any(each.op is AGAIN for each in node.attrs["body"].nodes):
            return None
        step = Step.of(node)
        later = _Later(step)
        rest = _with_products_before(later.rest)
        if rest is later.rest and not later.leaves:
            _explain(step, later, driver)
            return None
        results = later.results(rest)
        if not driver.spend("hoist", node, results[0]):
            return None
        _explain(step, later, driver)
        return results

    return driver.with_graph(unit, replace_scans(unit.graph, "hoist", hoisted))


def leaving_products(step: Step) -> dict[Node, str]:
    """The products of a step that leave it.

    Returns
    -------
    dict of Node to str
        ``"before"`` or ``"after"`` the scan, or ``"total"`` for what is summed over all steps.
    """
    later = _Later(step)
    carried = depending_on(step.outputs, [each.symbol for each in step.carries])
    places: dict[Node, str] = {}
    for node in later.inside:
        if node.op.name in ANCHOR_OPS and not (node in carried and node not in later.leaving):
            is_later = node in later.leaving
            places[node] = "total" if node in later.addends else "after" if is_later else "before"
    return places


def needed_in_loop(step: Step) -> set[Node]:
    """What of a step carries that are more than totals depend on."""
    return _Later(step).needed


WORDS = {
    "before": ("is computed before the loop, for all steps at once", "it reads no carry"),
    "after": ("is computed after the loop, for all steps at once", "no carry needs it"),
    "total": ("becomes one product over all steps", "its sum alone is asked for"),
}


def _explain(step: Step, later: _Later, driver: Driver) -> None:
    """Say of every product where it is computed, and why."""
    places = leaving_products(step)
    reading = [depending_on(step.outputs, [each.symbol]) for each in step.carries]
    for node in _in_order(each for each in later.inside if each.op.name in ANCHOR_OPS):
        if node in places:
            verdict, reason = WORDS[places[node]]
        else:
            carries = " and ".join(f"carry {n}" for n, each in enumerate(reading) if node in each)
            verdict, reason = "stays in the loop", f"it reads {carries}, and a carry needs it"
        driver.decide(expression(node), f"{verdict} (of {step.length})", reason, node)


# ---------------------------------------------------------------------------------- before a scan


def _with_products_before(step: Step) -> Step:
    """The step with what products of elements gave for elements, computed for all at once."""
    carried = depending_on(step.outputs, [each.symbol for each in step.carries])
    among = depending_on(step.outputs, step.elements) - carried
    leaving = _before(step, among)
    if not leaving:
        return step
    stays = (among | carried) - leaving
    read = {each for node in stays for each in node.inputs} | set(step.outputs)
    crossing = _in_order(leaving & read)
    wholes = batch_nodes(crossing, step.elements, boundary=step.constants)
    symbols = {each: input_like("before", each.tensor) for each in crossing}
    outputs = substitute(step.outputs, symbols)
    elements = {**step.elements, **dict(zip(symbols.values(), wholes, strict=True))}
    return replace(step.with_outputs(outputs), elements=elements)


def _before(step: Step, among: Set[Node]) -> set[Node]:
    """Products, with what they read, and what reads them and is no larger."""

    def inputs_among(node: Node) -> Sequence[Node]:
        return [each for each in node.inputs if each in among and each not in step.elements]

    products = [node for node in among if node.op.name in ANCHOR_OPS]
    leaving = set(topological_order(products, follow=inputs_among))
    for node in topological_order(step.outputs, step.constants):
        if node.op is PROJECT and node.inputs[0] in leaving:
            leaving.add(node)
        elif node in among and (node.op.is_elementwise or node.op.is_view):
            inputs = inputs_among(node)
            sizes = [each.tensor.size for each in inputs]
            if inputs and leaving.issuperset(inputs) and node.tensor.size in sizes:
                leaving.add(node)
    return leaving


# ----------------------------------------------------------------------------------- after a scan


class _Later:
    """What of a step is computed after the scan.

    Attributes
    ----------
    leaves : bool
        Whether anything is.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.inside = depending_on(step.outputs, step.symbols)
        addends = {each: _addend(each, step, self.inside) for each in step.carries}
        self.totals = {
            each: addend
            for each, addend in addends.items()
            if addend is not None and self._is_summable(addend)
        }
        self.needed = self._needed(each.next for each in step.carries if each not in self.totals)
        self.leaving = self._leaving(self.needed)
        self.leaves = bool(self.totals) or not self.leaving.isdisjoint(step.ys)
        self._stays = [each for each in step.carries if each not in self.totals]
        self._ys = [each for each in step.ys if each not in self.leaving]
        read = [each for each in self._read_later() if each not in step.elements]
        wholes = _joins_of(_in_order(self.needed), read)
        self._parts = {each: part for whole in wholes for part, each in parts_along(whole)}
        self._crossing = [*(each for each in read if each not in self._parts), *wholes]
        self.rest = replace(step, carries=tuple(self._stays), ys=(*self._ys, *self._crossing))

    def _needed(self, outputs: Iterable[Node]) -> set[Node]:
        """What carries that are more than totals depend on."""
        return set(topological_order(outputs, follow=self._inputs_inside))

    def _inputs_inside(self, node: Node) -> Sequence[Node]:
        return [each for each in node.inputs if each in self.inside]

    def _leaving(self, needed: Set[Node]) -> set[Node]:
        """Products that no carry needs, and what reads them."""
        leaving: set[Node] = set()
        late = self.inside - needed
        wanted = (*self.step.ys, *self.totals.values())
        for node in topological_order(wanted, follow=self._inputs_inside):
            is_product = node.op.name in ANCHOR_OPS
            if node in late and (is_product or not leaving.isdisjoint(node.inputs)):
                leaving.add(node)
        return leaving

    def _is_summable(self, node: Node) -> bool:
        """Whether the sum of a node over all steps is a product or a sum over one more axis."""
        if node.op in (DOT_GENERAL, SUM):
            return True
        parts = self._inputs_inside(node)
        is_linear = node.op.is_view or node.op is CONCATENATE or node.op.name == "add"
        is_linear |= _widens(node)
        return is_linear and len(parts) == len(node.inputs) and all(map(self._is_summable, parts))

    def results(self, rest: Step) -> list[Node]:
        """The results of the step, by number, from what is left of it."""
        finals, stacked = rest.build()
        ys, crossing = stacked[: len(self._ys)], stacked[len(self._ys) :]
        by_carry = dict(zip(self._stays, finals, strict=True))
        by_node = dict(zip(self._ys, ys, strict=True))
        wholes = {**self.step.elements, **dict(zip(self._crossing, crossing, strict=True))}
        for each, part in self._parts.items():
            wholes[each] = slice_axis(wholes[part.whole], part.axis + 1, part.start, part.size)
        constants = self.step.constants
        late = [each for each in dict.fromkeys(self.step.ys) if each in self.leaving]
        if late:
            by_node.update(zip(late, batch_nodes(late, wholes, constants), strict=True))
        for carry, addend in self.totals.items():
            total = _total(addend, wholes, constants)
            first = carry.first
            by_carry[carry] = (
                broadcast_to(total, first.shape) if is_zero(first) else add(first, total)
            )
        of_ys = (by_node[each] for each in self.step.ys)
        return [*(by_carry[each] for each in self.step.carries), *of_ys]

    @property
    def addends(self) -> set[Node]:
        """The products and sums that totals are made of."""
        order = topological_order(
            self.totals.values(),
            follow=lambda node: () if node.op in (DOT_GENERAL, SUM) else node.inputs,
        )
        return {each for each in order if each.op in (DOT_GENERAL, SUM)}

    def _read_later(self) -> list[Node]:
        """What nodes after the scan read of a step; views are made after it too."""
        readers = {*self.leaving, *self.addends}
        read = {self._base(each) for node in readers for each in self._inputs_inside(node)}
        return _in_order(read - self.leaving)

    def _base(self, node: Node) -> Node:
        while node.op.is_view and node not in self.leaving:
            node = node.inputs[0]
        return node


def _joins_of(computed: Iterable[Node], read: Collection[Node]) -> list[Node]:
    """Of what a step computes anyway, what gives nodes that are read, and no others, together.

    The parts of a concatenation are written into it, so that it is enough to keep that.
    """
    left = set(read)
    found = []
    for node in computed:
        if node.op is CONCATENATE and left.issuperset(node.inputs):
            found.append(node)
            left.difference_update(node.inputs)
    return found


def _addend(carry: Carry, step: Step, inside: Set[Node]) -> Node | None:
    """What every step adds to a carry that is only added to."""
    total = carry.next
    if total.op.name != "add" or sum(each is carry.symbol for each in total.inputs) != 1:
        return None
    if any(carry.symbol in node.inputs for node in inside if node is not total):
        return None
    if any(total in node.inputs for node in inside):
        return None
    if carry.symbol in step.outputs or step.outputs.count(total) > 1:
        return None
    left, right = total.inputs
    addend = right if left is carry.symbol else left
    return addend if addend in inside and addend.dtype == total.dtype else None


def _widens(node: Node) -> bool:
    """Whether a node makes half floats wider: of a sum over all steps it does so once."""
    is_cast = node.op.name == "cast" and is_floating(node.dtype)
    return is_cast and is_half(node.inputs[0].dtype) and not is_half(node.dtype)


def _total(node: Node, wholes: Mapping[Node, Node], boundary: Sequence[Node]) -> Node:
    """The sum of a node over all steps."""
    if node.op in (DOT_GENERAL, SUM):
        operands = batch_nodes(node.inputs, wholes, boundary=boundary)
        if node.op is SUM:
            return make_node(SUM, operands, {"axes": (0, *_behind_time(node.attrs["axes"]))})
        left, right = operands
        sum_left, sum_right = map(_behind_time, node.attrs["contract"])
        beside_left, beside_right = map(_behind_time, node.attrs["batch"])
        return dot_of(left, right, ((0, *sum_left), (0, *sum_right)), (beside_left, beside_right))
    parts = [_total(each, wholes, boundary) for each in node.inputs]
    return with_inputs(node, tuple(parts))


def _behind_time(axes: Iterable[int]) -> tuple[int, ...]:
    return tuple(axis + 1 for axis in axes)


def _in_order(nodes: Iterable[Node]) -> list[Node]:
    return sorted(nodes, key=lambda node: node.serial)
