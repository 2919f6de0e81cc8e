"""skip_padding: rounds of a scan in which every row is padding are not computed.

Before: each step computes ``where(real, new, h)``, where ``real`` is an element of a mask.
After: each step computes ``cond(any(real), where(real, new, h), h)``.

Recurrent layers write such steps for lengths and masks, and so do the derivatives of their scans. A
scan qualifies if with nothing real its carries stay as they are, which is found out by following
zeros through the step; zero times anything is taken to be zero, as it is for finite numbers. What
it gives is then zero or a carry. Anything else, such as a value that is kept for the way back, is
zero where a round is skipped, and so must make no difference there: to scans that skip the same
rounds, and in products with what is zero in them.

It comes when products have left their steps, for nothing leaves a branch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from graphnn.compiler.driver import Driver
from graphnn.compiler.scans.rewriting import is_scan
from graphnn.compiler.unit import Unit
from graphnn.core.dtypes import BOOL
from graphnn.core.graph import Graph, remade, topological_order, with_inputs
from graphnn.core.node import Node, apart
from graphnn.core.provenance import made_by
from graphnn.core.spec import TensorSpec
from graphnn.ops.bodies import flops_of, read_from_outside
from graphnn.ops.conditionals import FLAG, Choice
from graphnn.ops.constants import is_zero, zeros_like
from graphnn.ops.contraction import DOT_GENERAL
from graphnn.ops.control import PROJECT
from graphnn.ops.leaves import input_like
from graphnn.ops.reduction import any as some
from graphnn.ops.scan_primitive import Step

__all__ = ["skip_padding"]

LEAST_FLOPS = 100_000
"""Of a step with less work, a look at a flag and what has to be moved on beside it are no longer
next to nothing: a few dozen nanoseconds."""


def skip_padding(unit: Unit, driver: Driver) -> Unit:
    """See the module."""
    plans = _plans(unit.graph)
    if not plans:
        return unit
    made: dict[Node, list[Node]] = {}

    def each(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is PROJECT and inputs[0] in made:
            number: int = node.attrs["index"]
            return made[inputs[0]][number]
        new = with_inputs(node, inputs)
        if node in plans:
            with made_by("skip_padding", node):
                results = _skipping(Step.of(new), plans[node].number)
            if driver.spend("skip_padding", node, results[0]):
                reason = "with nothing real no carry changes"
                driver.decide(new.op.label(new), "skips rounds of padding alone", reason, node)
                made[new] = results
        return new

    return driver.with_graph(unit, unit.graph.map(each))


# ------------------------------------------------------------------------------- which scans do


@dataclass(frozen=True)
class _Plan:
    """What says which rounds of a scan can be skipped.

    Attributes
    ----------
    number : int
        Of a sequence of the scan.
    mask : Node
        That sequence.
    zeros : frozenset of int
        Numbers of results that are zero in these rounds, skipped or not.
    """

    number: int
    mask: Node
    zeros: frozenset[int]


def _plans(graph: Graph) -> dict[Node, _Plan]:
    """For the scans that qualify, how."""
    plans: dict[Node, _Plan] = {}
    for node in reversed(graph.nodes):  # those that read come before what they read
        if not is_scan(node) or flops_of(node.attrs["body"]) < LEAST_FLOPS:
            continue
        if not any(each.dtype == BOOL for each in _sequences(node)):
            continue
        step = Step.of(node)
        for number, symbol in enumerate(step.elements):
            plan = _plan(graph, node, step, number, plans) if symbol.dtype == BOOL else None
            if plan is not None:
                plans[node] = plan
                break
    return plans


def _sequences(scan: Node) -> tuple[Node, ...]:
    return scan.inputs[len(scan.inputs) - scan.attrs["n_xs"] :]


def _plan(
    graph: Graph, node: Node, step: Step, number: int, plans: Mapping[Node, _Plan]
) -> _Plan | None:
    """How rounds can be skipped where an element is false; None if they cannot."""
    symbol, mask = list(step.elements.items())[number]
    values = _where_false(step, symbol)
    carried = [each.symbol for each in step.carries]
    if any(values[each.next] is not each.symbol for each in step.carries):
        return None
    ys = {count: values[y] for count, y in enumerate(step.ys, len(carried))}
    plan = _Plan(number, mask, frozenset(each for each, value in ys.items() if value == "zero"))
    others = {each for each, value in ys.items() if each not in plan.zeros and value not in carried}
    known = {**plans, node: plan}
    is_free = (
        _is_free(graph, result, known, mask)
        for result in graph.users.get(node, ())
        if result.attrs["index"] in others
    )
    return plan if all(is_free) else None


def _is_free(graph: Graph, result: Node, plans: Mapping[Node, _Plan], mask: Node) -> bool:
    """Whether it makes no difference what a result of a scan is in rounds that are skipped.

    It is read only by steps of scans that skip the same rounds, or multiplied with what is zero
    in these rounds and summed over all rounds.
    """

    def is_zero_there(node: Node) -> bool:
        plan = plans.get(node.inputs[0]) if node.op is PROJECT else None
        return plan is not None and plan.mask is mask and node.attrs["index"] in plan.zeros

    def is_free_in(user: Node) -> bool:
        if user.op is DOT_GENERAL:
            over_rounds = (0, 0) in zip(*user.attrs["contract"], strict=True)
            return over_rounds and any(map(is_zero_there, user.inputs))
        if user not in plans or plans[user].mask is not mask:
            return False
        return result not in user.inputs[: len(user.inputs) - len(_sequences(user))]

    return result not in graph.outputs and all(map(is_free_in, graph.users.get(result, ())))


# ------------------------------------------------------------------------------- zeros in a step


Value: TypeAlias = Node | Literal["zero", "true"]
"""What a node is: a node of the same shape, maybe itself; zero, or true, in every element."""

VANISHING = frozenset({"multiply", "dot_general", "conv", "logical_and"})
"""Operators that give zero where one operand is zero."""

PRESERVING = frozenset(
    {"pad", "concatenate", "sum", "negative", "subtract", "square", "logical_or"}
)
"""Operators that give zero where all operands are zero."""


def _where_false(step: Step, symbol: Node) -> dict[Node, Value]:
    """What the nodes of a step are where an element of it is false."""
    values: dict[Node, Value] = {symbol: "zero"}
    for node in topological_order((*step.symbols, *step.outputs)):
        if node not in values:
            value = _value(node, [values[each] for each in node.inputs])
            is_other = isinstance(value, Node) and value.spec != node.spec
            values[node] = node if is_other else value
    return values


def _value(node: Node, inputs: list[Value]) -> Value:
    """What a node is, from what its inputs are."""
    name = node.op.name
    if name == "where":
        condition, if_true, if_false = inputs
        if condition in ("true", "zero"):
            return if_true if condition == "true" else if_false
        return if_true if if_true == if_false else node
    if name == "logical_not" and inputs[0] in ("true", "zero"):
        return "zero" if inputs[0] == "true" else "true"
    if node.op.is_view and len(inputs) == 1 and inputs[0] in ("true", "zero"):
        return inputs[0]
    if name == "add":
        others = [each for each in inputs if each != "zero"]
        return "zero" if not others else others[0] if len(others) == 1 else node
    is_zeros = (
        ("zero" in inputs and name in VANISHING)
        or (name in PRESERVING and all(each == "zero" for each in inputs))
        or (isinstance(node.spec, TensorSpec) and is_zero(node))
    )
    return "zero" if is_zeros else node


# ---------------------------------------------------------------------------------- what they do


def _skipping(step: Step, number: int) -> list[Node]:
    """The results of a step that is skipped where nothing of one of its elements is true."""
    symbol, mask = list(step.elements.items())[number]
    values = _where_false(step, symbol)
    inner = {
        each: input_like("operand", each.tensor)
        for each in (*read_from_outside(step.outputs, step.symbols), *step.symbols)
    }
    computed = [each for each in dict.fromkeys(step.outputs) if each not in inner]
    with apart() as since:
        if_true = remade(computed, inner)
    if_false = (
        inner[value]
        if isinstance(value := values[each], Node) and value in step.symbols
        else zeros_like(each)
        for each in computed
    )
    going = input_like("going", FLAG)
    operands = {symbol: each for each, symbol in inner.items()}
    choice = Choice(going, operands, if_true, tuple(if_false), since)
    made = dict(zip(computed, choice.build(), strict=True))
    flags = some(mask, tuple(range(1, mask.ndim)))
    skipping = step.with_outputs([made.get(each, each) for each in step.outputs])
    finals, ys = replace(skipping, elements={**step.elements, going: flags}).build()
    return [*finals, *ys]
