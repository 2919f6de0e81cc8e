"""Loops to write out: scans, and what treats every step of a row alone, or adds all of them up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from graphnn.compiler.scans.per_step import addend_of_step, has_steps, value_of_step
from graphnn.compiler.scans.rewriting import is_scan
from graphnn.core.graph import Graph, depending_on
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import Provenance, Role, provenance, recorded
from graphnn.core.spec import TensorSpec, TupleSpec
from graphnn.ops.arithmetic import add
from graphnn.ops.constants import zeros_like
from graphnn.ops.control import project
from graphnn.ops.leaves import input_like
from graphnn.ops.scan_primitive import SCAN, Carry, Step
from graphnn.viz.rows import Axis

__all__ = ["Loop", "loop_of_node", "loop_of_scan", "loop_of_sum"]

Whole = Callable[[Node], Node]
"""From a node of the graph to what it became, for all steps."""


@dataclass(frozen=True, eq=False)
class Loop:
    """Nodes to copy for every step.

    Attributes
    ----------
    node : Node
        Of the graph: a scan, or what is there for all steps.
    axis : Axis
    reverse : bool
        Whether carries come from the step after.
    known : mapping of Node to Node
        What is the same for all steps: from nodes of a step to what they are.
    symbols : tuple of Node
        What stands in a step for carries, then for elements.
    firsts : tuple of Node
        The carries before the first step.
    wholes : tuple of Node
        Sequences, by their names in the graph.
    inside : tuple of Node
        The nodes of a step, in order.
    outputs : tuple of Node
        The next carries, then what every step gives.
    totals : mapping of int to Node
        The carries that steps add something to and do not look at otherwise, and what they add.
    between : callable
        From carries, sequences and a number of steps to the carries after them and what they give.
    told : dict of (Node, Role) to Provenance
        What :meth:`about` has said: it is asked once for every step.
    """

    node: Node
    axis: Axis
    reverse: bool
    known: Mapping[Node, Node]
    symbols: tuple[Node, ...]
    firsts: tuple[Node, ...]
    wholes: tuple[Node, ...]
    inside: tuple[Node, ...]
    outputs: tuple[Node, ...]
    totals: Mapping[int, Node]
    between: Callable[[Sequence[Node], Sequence[Node]], tuple[list[Node], list[Node]]]
    told: dict[tuple[Node, Role], Provenance] = field(default_factory=dict, repr=False)

    def about(self, node: Node, inputs: Sequence[Node]) -> Provenance:
        """What is known of the copy of a node, beside its step."""
        whose, known = provenance(self.node), provenance(node)
        role = _role(known.role, whose.role, inputs)
        if (node, role) not in self.told:
            if is_scan(self.node):
                about = known._replace(scope=_scope(whose.scope, known.scope), role=role)
            else:
                about = whose if node in self.outputs else whose._replace(names=())
            self.told[node, role] = about
        return self.told[node, role]


def loop_of_scan(node: Node, axis: Axis, whole: Whole) -> Loop:
    """The loop of a scan."""
    body: Graph = node.attrs["body"]
    n_carry, n_xs = node.attrs["n_carry"], node.attrs["n_xs"]
    n_constants = len(node.inputs) - n_carry - n_xs
    given = tuple(map(whole, node.inputs[: n_constants + n_carry]))
    constants, firsts = given[:n_constants], given[n_constants:]
    totals = _totals(body, n_carry, n_constants)
    sums = {body.outputs[number] for number in totals}

    def between(carry: Sequence[Node], elements: Sequence[Node]) -> tuple[list[Node], list[Node]]:
        before = (zeros_like(each) if n in totals else each for n, each in enumerate(carry))
        attrs = {**node.attrs, "length": axis.between}
        made = make_node(SCAN, (*constants, *before, *elements), attrs)
        results = [project(made, number) for number in range(len(body.outputs))]
        return results[:n_carry], results[n_carry:]

    return Loop(
        node,
        axis,
        node.attrs["reverse"],
        dict(zip(body.inputs, constants, strict=False)),
        body.inputs[n_constants:],
        firsts,
        node.inputs[n_constants + n_carry :],
        tuple(each for each in body.nodes if each.inputs and each not in sums),
        body.outputs,
        totals,
        between,
    )


def loop_of_node(node: Node, axis: Axis, whole: Whole) -> Loop | None:
    """The loop of a node that treats every step alone; None of another one."""
    if isinstance(node.spec, TensorSpec) and not has_steps(node, axis.length):
        return None
    found = _Elements()
    with recorded(provenance(node)._replace(step=None), None):
        value = value_of_step(node, axis.length, found, whole)
        if value is None:
            return None
        outputs: tuple[Node, ...] = (value,)
        if isinstance(value.spec, TupleSpec):
            outputs = tuple(project(value, number) for number in range(len(value.spec.elements)))
    return _loop_over(found, node, axis, outputs, ())


def loop_of_sum(node: Node, axis: Axis, whole: Whole) -> Loop | None:
    """The loop of a node that adds up something of every step; None of another one."""
    found = _Elements()
    with recorded(provenance(node)._replace(step=None), None):
        addend = addend_of_step(node, axis.length, found)
        if addend is None or addend.spec != node.spec:
            return None
        total = input_like("total", node.tensor)
        carry = Carry(total, zeros_like(node), add(total, addend))
    return _loop_over(found, node, axis, (addend,), (carry,))


class _Elements:
    """Symbols for the elements of the sequences that are asked for."""

    def __init__(self) -> None:
        self.symbols: dict[Node, Node] = {}

    def __call__(self, whole: Node) -> Node:
        if whole not in self.symbols:
            self.symbols[whole] = input_like("element", TensorSpec(whole.shape[1:], whole.dtype))
        return self.symbols[whole]


def _loop_over(
    found: _Elements,
    node: Node,
    axis: Axis,
    outputs: tuple[Node, ...],
    carries: tuple[Carry, ...],
) -> Loop | None:
    symbols = tuple(found.symbols.values())
    inside = depending_on(outputs, symbols)
    if not inside.issuperset(outputs):
        return None

    def between(carry: Sequence[Node], elements: Sequence[Node]) -> tuple[list[Node], list[Node]]:
        ys = () if carries else outputs
        given = dict(zip(symbols, elements, strict=True))
        return Step(carries, given, ys, axis.between).build()

    copied = sorted(inside.difference(symbols), key=lambda each: each.serial)
    return Loop(
        node,
        axis,
        False,
        {},
        (*(each.symbol for each in carries), *symbols),
        tuple(each.first for each in carries),
        tuple(found.symbols),
        tuple(copied),
        (*(each.next for each in carries), *(() if carries else outputs)),
        {0: outputs[0]} if carries else {},
        between,
    )


def _scope(outer: str, inner: str) -> str:
    """The scope of a copy. Equal bodies of two scans are one, in the scope of the first."""
    depth = outer.count("/") + 1 if outer else 0
    below = inner.split("/")[depth:]
    return "/".join([outer, *below] if outer else below)


def _role(of_node: Role, of_scan: Role, inputs: Sequence[Node]) -> Role:
    """The role of a copy: what reads a derivative is none of the way there."""
    if of_scan == "forward":
        return "forward"
    if of_node == "forward" and any(provenance(each).role == of_scan for each in inputs):
        return of_scan
    return of_node


def _totals(body: Graph, n_carry: int, n_constants: int) -> dict[int, Node]:
    """The carries that steps add something to, and do not look at otherwise; what they add."""
    found: dict[int, Node] = {}
    for number, made in enumerate(body.outputs[:n_carry]):
        before = body.inputs[n_constants + number]
        if made.op.name != "add" or made.inputs.count(before) != 1 or body.users[made]:
            continue
        if len(body.users[before]) == 1 and body.outputs.count(made) == 1:
            left, right = made.inputs
            found[number] = right if left is before else left
    return found
