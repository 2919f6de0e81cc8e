"""sink: what is computed for all steps at once is computed within the loop, step by step.

Before: a scan gives the states of all steps; a product makes logits of all of them, their losses
are summed, and the scan back reads the gradients of all logits.
After: the scan back makes the logits of a step, adds its loss to a total, and goes on.

That is the other way round than `hoist`. It keeps no value of all steps, so that under a memory
budget recurrences can be cut into segments; within these, `hoist` takes products out again.
A scan over what another one gives is made one with it: the layers of a net.
"""

from __future__ import annotations

from dataclasses import replace

from graphnn.compiler.scans.per_step import addend_of_step, has_steps, value_of_step
from graphnn.compiler.scans.rewriting import is_scan
from graphnn.core.graph import Graph, substitute, topological_order
from graphnn.core.node import Node
from graphnn.core.provenance import made_by
from graphnn.core.spec import TensorSpec
from graphnn.ops.arithmetic import add
from graphnn.ops.constants import zeros_like
from graphnn.ops.control import PROJECT
from graphnn.ops.leaves import input_like
from graphnn.ops.scan_primitive import Carry, Step

__all__ = ["sink"]


def sink(graph: Graph) -> Graph:
    """The graph with as much as possible computed within its scans, the last ones first."""
    number = sum(map(is_scan, graph.nodes))
    while number > 0:
        number -= 1
        scans = list(filter(is_scan, graph.nodes))
        if number < len(scans) and scans[number].attrs["length"] > 1:
            with made_by("rematerialize", scans[number]):
                graph = _Sinking(graph, scans[number]).result()
    return graph


class _Sinking:
    """One scan, while it takes up what is computed from its results, or for it."""

    def __init__(self, graph: Graph, scan: Node) -> None:
        self._graph = graph
        self._scan = scan
        self._step = Step.of(scan)
        self._steps: int = scan.attrs["length"]
        self._before = set(topological_order([scan]))
        self._values: dict[Node, Node] = {}  # of a step, for nodes of all steps
        self._leaves: dict[Node, Node] = {}  # symbols for an element of what stays outside
        self._moving: set[Node] = set()  # what is computed from results of scans, step by step
        self._late: set[Node] = set()  # what is not there before the scan
        self._carries = list(self._step.carries)
        self._ys = list(self._step.ys)
        self._finals: dict[Node, Carry] = {}  # by the nodes that are equal to them
        self._stacked: dict[Node, Node] = {}  # the same for ys
        for node in graph.nodes:
            self._look(node)

    def result(self) -> Graph:
        """The graph with what the scan took up; the same if there is nothing."""
        step = self._step
        inlined = {
            symbol: value
            for symbol, whole in step.elements.items()
            if (value := self._values.get(whole)) is not None
        }
        if not inlined and len(self._carries) == len(step.carries) and self._ys == [*step.ys]:
            return self._graph
        carries = self._carries
        outputs = substitute((*(each.next for each in carries), *self._ys), inlined)
        made = Step(
            tuple(replace(each, next=after) for each, after in zip(carries, outputs, strict=False)),
            {**step.elements, **{symbol: whole for whole, symbol in self._leaves.items()}},
            outputs[len(carries) :],
            step.length,
            step.reverse,
        )
        finals, stacked = made.build()
        by_carry = dict(zip((each.symbol for each in carries), finals, strict=True))
        by_y = dict(zip(self._ys, stacked, strict=True))
        replacements = {node: by_carry[each.symbol] for node, each in self._finals.items()}
        replacements |= {node: by_y[y] for node, y in self._stacked.items()}
        return self._graph.substitute(replacements)

    def _look(self, node: Node) -> None:
        """Find out what a node is within a step."""
        if node is self._scan:
            self._late.add(node)
        elif node.op is PROJECT and node.inputs[0] is self._scan:
            self._note_result(node, self._step)
        elif is_scan(node):
            self._look_at_scan(node)
        elif isinstance(node.spec, TensorSpec) and node not in self._finals:
            self._look_at_value(node)

    def _note_result(self, node: Node, step: Step) -> None:
        """A result of a scan that is, or becomes, this one."""
        number: int = node.attrs["index"]
        self._late.add(node)
        if number < len(step.carries):
            self._finals[node] = step.carries[number]
        else:
            y = step.ys[number - len(step.carries)]
            self._values[node] = self._stacked[node] = y
            self._moving.add(node)

    def _look_at_value(self, node: Node) -> None:
        if any(each in self._late for each in node.inputs):
            self._late.add(node)
        if node.op is PROJECT and is_scan(node.inputs[0]) and has_steps(node, self._steps):
            self._moving.add(node)
        if has_steps(node, self._steps) and node.inputs:
            value = value_of_step(node, self._steps, self._element, self._constant)
            if value is not None:
                self._values[node] = value
                if not self._moving.isdisjoint(node.inputs):
                    self._moving.add(node)
                return
        if node not in self._before and not self._moving.isdisjoint(node.inputs):
            addend = addend_of_step(node, self._steps, self._element)
            if addend is not None and addend.spec == node.spec:
                total = input_like("total", node.tensor)
                self._finals[node] = Carry(total, zeros_like(node), add(total, addend))
                self._carries.append(self._finals[node])
                self._late.add(node)

    def _look_at_scan(self, node: Node) -> None:
        """Take up a scan that goes over what this one gives, in the same order."""
        n_whole = len(node.inputs) - node.attrs["n_xs"]
        same = all(node.attrs[name] == self._scan.attrs[name] for name in ("length", "reverse"))
        if self._late.isdisjoint(node.inputs):
            return
        self._late.add(node)
        wholes = node.inputs[n_whole:]
        elements = [made for each in wholes if (made := self._element(each)) is not None]
        is_known = len(elements) == len(wholes) and self._late.isdisjoint(node.inputs[:n_whole])
        if not (same and is_known):
            return
        step = Step.of(node)
        values = dict(zip(step.elements, elements, strict=True))
        outputs = substitute(step.outputs, values)
        pairs = zip(step.carries, outputs, strict=False)
        carries = tuple(replace(each, next=after) for each, after in pairs)
        taken = replace(step, carries=carries, ys=outputs[len(carries) :])
        self._carries += carries
        self._ys += taken.ys
        for user in self._graph.users[node]:
            self._note_result(user, taken)

    def _element(self, node: Node) -> Node | None:
        """What a node of all steps is at one step; None if it is not there yet."""
        if node in self._values:
            return self._values[node]
        if node in self._late or not has_steps(node, self._steps):
            return None
        if node not in self._leaves:
            spec = TensorSpec(node.shape[1:], node.dtype)
            self._leaves[node] = input_like("element", spec)
        return self._leaves[node]

    def _constant(self, node: Node) -> Node | None:
        return None if node in self._late else node
