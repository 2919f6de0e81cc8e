"""The operator of loops of a known number of steps, and its steps laid open.

The graph of one step, the *body*, is an attribute of one node, whatever the number of steps. The
body's inputs are numbered arguments, so equal steps have equal bodies, and scans are interned like
all nodes. What depends on no step stays outside and is computed once.

A pass that changes a scan opens it with :meth:`Step.of`, builds nodes within a step, and shuts it
with :meth:`Step.build`; users call :func:`graphnn.scan`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from graphnn.core.dims import Size
from graphnn.core.errors import ShapeError
from graphnn.core.graph import Graph, depending_on, substitute
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec, TupleSpec
from graphnn.ops.bodies import (
    arguments_for,
    body_of,
    evaluate_body,
    flops_of,
    read_from_outside,
)
from graphnn.ops.broadcasting import broadcast_to
from graphnn.ops.control import project
from graphnn.ops.leaves import input_like

__all__ = ["SCAN", "Carry", "Step", "apply_steps", "places_in_body"]


class ScanOp(Op):
    """A body applied ``length`` times.

    Its inputs are constants, the same for every step; the carry before the first step; and
    sequences, whose elements along the leading axis belong to one step each. The body takes
    ``(constants, carry, elements)`` and gives ``(carry, ys)``. The results are the last carry, and
    the ``ys`` of all steps along a new leading axis.
    """

    name = "scan"
    body_attrs = ("body",)

    def infer(
        self, *inputs: TensorSpec, body: Graph, n_carry: int, n_xs: int, length: Size, reverse: bool
    ) -> TupleSpec:
        n_whole = len(inputs) - n_xs
        expected = [
            *inputs[:n_whole],
            *(TensorSpec(each.shape[1:], each.dtype) for each in inputs[n_whole:]),
        ]
        for argument, spec in zip(body.inputs, expected, strict=True):
            if argument.spec != spec:
                raise ShapeError(f"scan: {spec} is given for {argument.spec} of its body")
        for sequence in inputs[n_whole:]:
            if sequence.shape[0] != length:
                raise ShapeError(f"scan: {sequence} is given for {length} steps")
        specs = [each.tensor for each in body.outputs]
        for before, after in zip(inputs[n_whole - n_carry : n_whole], specs, strict=False):
            if before != after:
                raise ShapeError(f"scan: a step makes {after} of the carry {before}")
        ys = (TensorSpec((length, *each.shape), each.dtype) for each in specs[n_carry:])
        return TupleSpec((*specs[:n_carry], *ys))

    def evaluate(
        self, *arrays: Array, body: Graph, n_carry: int, n_xs: int, length: int, reverse: bool
    ) -> tuple[Array, ...]:
        specs = [each.tensor for each in body.outputs[n_carry:]]
        ys = [np.empty((length, *each.shape), each.dtype) for each in specs]
        step = partial(evaluate_body, body)
        return apply_steps(
            step, arrays, ys, n_carry=n_carry, n_xs=n_xs, length=length, reverse=reverse
        )

    def evaluate_into(self, out: Array, *arrays: Array, **attrs: Any) -> None:
        (out[...],) = self.evaluate(*arrays, **attrs)

    def flops(self, node: Node) -> int:
        body: Graph = node.attrs["body"]
        return int(node.attrs["length"]) * flops_of(body)

    def label(self, node: Node) -> str:
        way = " reversed" if node.attrs["reverse"] else ""
        return f"scan × {node.attrs['length']}{way}"

    def shown_attrs(self, node: Node) -> dict[str, Any]:
        return {"body": node.attrs["body"]}


SCAN = ScanOp()
register(SCAN)


def apply_steps(
    step: Callable[..., Sequence[Array]],
    arrays: Sequence[Array],
    ys: Sequence[Array],
    *,
    n_carry: int,
    n_xs: int,
    length: int,
    reverse: bool,
) -> tuple[Array, ...]:
    """The results of a scan, by calling a function of arrays again and again.

    Parameters
    ----------
    step : callable
        From constants, carry and elements, one after the other, to the carry and the ys.
    arrays : sequence of numpy.ndarray
        Constants, the first carry, sequences.
    ys : sequence of numpy.ndarray
        Written: for every y an array of all steps.
    n_carry, n_xs, length, reverse
        See :class:`ScanOp`.
    """
    n_whole = len(arrays) - n_xs
    constants, carry = arrays[: n_whole - n_carry], arrays[n_whole - n_carry : n_whole]
    for number in reversed(range(length)) if reverse else range(length):
        results = step(*constants, *carry, *(each[number] for each in arrays[n_whole:]))
        carry = results[:n_carry]
        for y, made in zip(ys, results[n_carry:], strict=True):
            y[number] = made
    return (*carry, *ys)


# ---------------------------------------------------------------------------------- open and shut


@dataclass(frozen=True, slots=True)
class Carry:
    """What goes from step to step.

    Attributes
    ----------
    symbol : Node
        An input that stands for it within a step.
    first : Node
        Its value before the first step.
    next : Node
        Its value after a step.
    """

    symbol: Node
    first: Node
    next: Node


@dataclass(frozen=True)
class Step:
    """A scan laid open: nodes of one step, which may read any nodes outside.

    Attributes
    ----------
    carries : tuple of Carry
    elements : mapping of Node to Node
        From inputs that stand for an element within a step to the sequences.
    ys : tuple of Node
        What every step gives.
    length : int or Dim
    reverse : bool
        Whether the last element comes first.
    """

    carries: tuple[Carry, ...]
    elements: Mapping[Node, Node]
    ys: tuple[Node, ...]
    length: Size
    reverse: bool = False

    @staticmethod
    def of(node: Node) -> Step:
        """The step of a scan, with symbols of its own."""
        body, n_carry, n_xs = (node.attrs[name] for name in ("body", "n_carry", "n_xs"))
        n_constants = len(node.inputs) - n_carry - n_xs
        names = [*(f"carry {n}" for n in range(n_carry)), *(f"element {n}" for n in range(n_xs))]
        arguments = zip(names, body.inputs[n_constants:], strict=True)
        symbols = [input_like(name, each.tensor) for name, each in arguments]
        given = (*node.inputs[:n_constants], *symbols)
        outputs = substitute(body.outputs, dict(zip(body.inputs, given, strict=True)))
        firsts = node.inputs[n_constants : n_constants + n_carry]
        wholes = node.inputs[n_constants + n_carry :]
        return Step(
            tuple(map(Carry, symbols[:n_carry], firsts, outputs[:n_carry])),
            dict(zip(symbols[n_carry:], wholes, strict=True)),
            outputs[n_carry:],
            node.attrs["length"],
            node.attrs["reverse"],
        )

    @property
    def symbols(self) -> tuple[Node, ...]:
        """Inputs that stand for something within a step."""
        return (*(each.symbol for each in self.carries), *self.elements)

    @property
    def outputs(self) -> tuple[Node, ...]:
        """What a step computes: the next carries, then the ys."""
        return (*(each.next for each in self.carries), *self.ys)

    @property
    def constants(self) -> tuple[Node, ...]:
        """What a step reads from outside."""
        return read_from_outside(self.outputs, self.symbols)

    def with_outputs(self, outputs: Sequence[Node]) -> Step:
        """The step with other nodes for what it computes."""
        pairs = zip(self.carries, outputs, strict=False)
        carries = tuple(Carry(each.symbol, each.first, after) for each, after in pairs)
        ys = tuple(outputs[len(carries) :])
        return Step(carries, self.elements, ys, self.length, self.reverse)

    def build(self) -> tuple[list[Node], list[Node]]:
        """The carries after the last step, and the ys of all steps.

        What no step changes needs no scan: a carry that stays as it is, a y that is the same for
        all.
        """
        still = {each.symbol: each.first for each in self.carries if each.next is each.symbol}
        if still:
            return self._without(still)
        inside = depending_on(self.outputs, self.symbols)
        moving = [number for number, y in enumerate(self.ys) if y in inside]
        finals, stacked = self._node([self.ys[number] for number in moving])
        ys = [
            each if each in inside else broadcast_to(each, (self.length, *each.shape))
            for each in self.ys
        ]
        for number, each in zip(moving, stacked, strict=True):
            ys[number] = each
        return finals, ys

    def _node(self, ys: Sequence[Node]) -> tuple[list[Node], list[Node]]:
        """The results of the node that computes all carries, and some ys."""
        outputs = (*(each.next for each in self.carries), *ys)
        carried = [each.symbol for each in self.carries]
        constants = read_from_outside(outputs, self.symbols)
        inside = depending_on(outputs, self.symbols)
        read = {*outputs, *(each for node in inside for each in node.inputs)}
        elements = {symbol: whole for symbol, whole in self.elements.items() if symbol in read}
        body = body_of(outputs, arguments_for((*constants, *carried, *elements)))
        node = make_node(
            SCAN,
            (*constants, *(each.first for each in self.carries), *elements.values()),
            {
                "body": body,
                "n_carry": len(carried),
                "n_xs": len(elements),
                "length": self.length,
                "reverse": self.reverse,
            },
        )
        results = [project(node, number) for number in range(len(outputs))]
        return results[: len(carried)], results[len(carried) :]

    def _without(self, still: Mapping[Node, Node]) -> tuple[list[Node], list[Node]]:
        """Carries that stay as they are, taken as constants."""
        outputs = substitute(self.outputs, still)
        moving = [each for each in self.carries if each.symbol not in still]
        nexts = dict(zip((each.symbol for each in self.carries), outputs, strict=False))
        carries = (Carry(each.symbol, each.first, nexts[each.symbol]) for each in moving)
        ys = outputs[len(self.carries) :]
        found, stacked = Step(tuple(carries), self.elements, ys, self.length, self.reverse).build()
        finals = {**still, **dict(zip((each.symbol for each in moving), found, strict=True))}
        return [finals[each.symbol] for each in self.carries], stacked


def places_in_body(step: Step, node: Node) -> dict[Node, Node]:
    """From the nodes of an opened scan, and the constants it reads, to those of its body.

    The body lives as long as the scan: what is to be known of a step after it is shut, such as
    which derivative belongs to which node, is told by these.
    """
    body: Graph = node.attrs["body"]
    n_constants = len(body.inputs) - len(step.symbols)
    given = (*node.inputs[:n_constants], *step.symbols)
    places = dict(zip(given, body.inputs, strict=True))
    waiting = [*zip(step.outputs, body.outputs, strict=True)]
    while waiting:
        opened, inside = waiting.pop()
        if opened not in places:
            places[opened] = inside
            waiting += zip(opened.inputs, inside.inputs, strict=True)
    return places
