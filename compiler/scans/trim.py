"""trim_scans: drop from every scan what nobody reads, and what it computes twice.

Before: a scan over ``(h, g)`` of which the last ``h`` is read, with a y that is not.
After: a scan over ``h``.

Two carries are one if they begin as the same node and every step makes the same of them, given
that they are one. Derivative rules leave such copies: they compute the primal once more. What is
the same is not always one node: a step may read a carry of a scan within, or a result of a cond,
and its copy that of another one, which gives what the way back needs too. So results are compared
as those of nodes that give nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from graphnn.compiler.driver import Driver, expression
from graphnn.compiler.scans.rewriting import is_scan, replace_scans
from graphnn.compiler.unit import Unit
from graphnn.core.graph import Graph, depending_on, substitute, topological_order, with_inputs
from graphnn.core.node import Node
from graphnn.ops.conditionals import COND, Choice
from graphnn.ops.control import PROJECT
from graphnn.ops.scan_primitive import Carry, Step

__all__ = ["build_trimmed", "same_carries", "trim_scans"]


def trim_scans(unit: Unit, driver: Driver) -> Unit:
    """See the module."""

    def trimmed(node: Node, used: Set[int]) -> Sequence[Node | None] | None:
        results = build_trimmed(Step.of(node), used)
        made = next(each for each in results if each is not None)
        if node in made.inputs or not driver.spend("trim_scan", node, made):
            return None
        (scan,) = made.inputs or (made,)
        driver.decide(expression(node), "is trimmed", _difference(node, scan), node)
        return results

    return driver.with_graph(unit, replace_scans(unit.graph, "trim_scans", trimmed))


def _difference(before: Node, after: Node) -> str:
    """In words, what a scan has no more."""
    if not is_scan(after):
        return "nothing of it changes from step to step"
    n_before, n_after = before.attrs["n_carry"], after.attrs["n_carry"]
    ys = [len(each.attrs["body"].outputs) - each.attrs["n_carry"] for each in (before, after)]
    return f"{n_after} of {n_before} carries and {ys[1]} of {ys[0]} results are needed"


def build_trimmed(step: Step, used: Set[int]) -> list[Node | None]:
    """The results that are used, by number, of the least scan that computes them."""
    n_carry = len(step.carries)
    twins = same_carries(step)
    symbols = {carry.symbol: twin.symbol for carry, twin in twins.items()}
    symbols |= _same_elements(step)
    outputs = substitute(step.outputs, symbols)
    first_of = {carry: twins.get(carry, carry) for carry in step.carries}
    after = dict(zip(step.carries, outputs, strict=False))
    wanted = {first_of[step.carries[number]] for number in used if number < n_carry}
    ys = {number: outputs[number] for number in sorted(used) if number >= n_carry}
    live = _live(step, wanted, list(ys.values()), after)
    carries = [replace(each, next=after[each]) for each in step.carries if each in live]
    distinct = list(dict.fromkeys(ys.values()))
    finals, stacked = replace(step, carries=tuple(carries), ys=tuple(distinct)).build()
    by_carry = dict(zip((each.symbol for each in carries), finals, strict=True))
    by_y = dict(zip(distinct, stacked, strict=True))
    of_carries = [by_carry.get(first_of[each].symbol) for each in step.carries]
    return [
        *(each if number in used else None for number, each in enumerate(of_carries)),
        *(
            by_y[ys[number]] if number in ys else None
            for number in range(n_carry, len(step.outputs))
        ),
    ]


def same_carries(step: Step) -> dict[Carry, Carry]:
    """For carries that are always equal to an earlier one, that one.

    All that begin alike are taken to be equal; those that a step then tells apart are parted,
    until no step does any more.
    """
    elements = _same_elements(step)
    classes: dict[Carry, object] = {each: each.first for each in step.carries}
    while True:
        first_of: dict[object, Carry] = {}
        twins = {each: first_of.setdefault(kind, each) for each, kind in classes.items()}
        if len(first_of) == len(classes):
            return {}
        symbols = {each.symbol: twin.symbol for each, twin in twins.items() if each is not twin}
        sizes = Counter(classes.values())
        unsure = [each for each in step.carries if sizes[classes[each]] > 1]
        nexts = _alone(substitute((each.next for each in unsure), {**symbols, **elements}))
        pairs = zip(unsure, nexts, strict=True)
        finer = {**classes, **{each: (classes[each], after) for each, after in pairs}}
        if len(set(finer.values())) == len(first_of):
            return {each: twin for each, twin in twins.items() if each is not twin}
        classes = finer


def _alone(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Equal nodes that read results of scans and conds which give nothing else, all the way in."""

    def alone(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is not PROJECT:
            return with_inputs(node, inputs)
        (whole,) = inputs
        number: int = node.attrs["index"]
        if is_scan(whole):
            step = Step.of(whole)
            result = build_trimmed(step.with_outputs(_alone(step.outputs)), {number})[number]
            assert result is not None
            return result
        if whole.op is COND:
            choice = Choice.of(whole)
            one, other = _alone((choice.if_true[number], choice.if_false[number]))
            return replace(choice, if_true=(one,), if_false=(other,)).build()[0]
        return with_inputs(node, inputs)

    return Graph((), tuple(nodes)).map(alone).outputs


def _same_elements(step: Step) -> dict[Node, Node]:
    """For elements of one sequence, the first symbol of it."""
    first: dict[Node, Node] = {}
    found = {symbol: first.setdefault(whole, symbol) for symbol, whole in step.elements.items()}
    return {symbol: one for symbol, one in found.items() if symbol is not one}


def _live(
    step: Step, wanted: Set[Carry], ys: Sequence[Node], after: Mapping[Carry, Node]
) -> set[Carry]:
    """The carries that something read depends on."""
    inside = depending_on((*after.values(), *ys), step.symbols)

    def inputs_inside(node: Node) -> Sequence[Node]:
        return [each for each in node.inputs if each in inside]

    live = set(wanted)
    while True:
        read = set(topological_order((*ys, *(after[each] for each in live)), (), inputs_inside))
        more = {each for each in step.carries if each.symbol in read} - live
        if not more:
            return live
        live |= more
