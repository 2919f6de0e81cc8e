"""Bodies: graphs that are attributes of a node, which applies them to what it is given.

The inputs of a body are numbered arguments, so equal bodies are equal graphs and the nodes that
hold them are interned like all others. An operator with bodies names them in `Op.body_attrs`; who
walks through graphs asks that, and knows no particular one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphnn.core.errors import ArgumentError
from graphnn.core.graph import Graph, depending_on, remade, topological_order
from graphnn.core.node import Node, in_common, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.spec import TensorSpec
from graphnn.core.structure import form_text
from graphnn.ops.constants import CONSTANT
from graphnn.ops.control import PROJECT, TUPLE

__all__: list[str] = []


class ArgumentOp(Op):
    """What stands in a body for what it is applied to: the same for all bodies, by number."""

    name = "argument"
    is_source = True

    def infer(self, *, number: int, spec: TensorSpec) -> TensorSpec:
        return spec

    def label(self, node: Node) -> str:
        return f"argument {node.attrs['number']}"


ARGUMENT = ArgumentOp()
register(ARGUMENT)


def arguments_for(nodes: Iterable[Node]) -> dict[Node, Node]:
    """An argument for each of some nodes, numbered in their order."""
    return {
        each: make_node(ARGUMENT, (), {"number": number, "spec": each.tensor})
        for number, each in enumerate(nodes)
    }


def body_of(outputs: Iterable[Node], arguments: Mapping[Node, Node]) -> Graph:
    """The body that gives ``outputs``, in which arguments stand for nodes."""
    with in_common():
        return Graph(tuple(arguments.values()), remade(outputs, arguments))


def check_function(what: str, function: Any, given: Sequence[Any], hint: str) -> None:
    """It can be called with so many arguments, as far as Python knows.

    Raises
    ------
    ArgumentError
    """
    if not callable(function):
        raise ArgumentError(f"{what} is {form_text(function)}, not a function", hint=hint)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of a builtin
        return
    try:
        signature.bind(*given)
    except TypeError as error:
        number = "1 argument" if len(given) == 1 else f"{len(given)} arguments"
        raise ArgumentError(f"{what} is called with {number}: {error}", hint=hint) from None


def evaluate_body(body: Graph, *arrays: Array) -> list[Array]:
    """The outputs of a body whose nodes all have kernels."""
    values: dict[Node, Any] = dict(zip(body.inputs, arrays, strict=True))
    for node in body.nodes:
        if node in values:
            continue
        given = [values[each] for each in node.inputs]
        if node.op is TUPLE:
            values[node] = tuple(given)
        elif node.op is PROJECT:
            values[node] = given[0][node.attrs["index"]]
        else:
            values[node] = node.op.evaluate(*given, **node.attrs)
    return [values[each] for each in body.outputs]


def flops_of(body: Graph) -> int:
    """Floating-point operations of a body, applied once."""
    return sum(each.op.flops(each) for each in body.nodes)


def read_from_outside(outputs: Sequence[Node], symbols: Sequence[Node]) -> tuple[Node, ...]:
    """What nodes within a step read and no step changes; numbers alone are written into them."""
    inside = depending_on(outputs, symbols)
    order = topological_order(outputs, follow=lambda node: node.inputs if node in inside else ())
    outside = (each for node in order if node in inside for each in node.inputs)
    read = dict.fromkeys((*outside, *outputs))
    return tuple(each for each in read if each not in inside and not is_number(each))


def is_number(node: Node) -> bool:
    """Whether a node is one number, or views of it: ``broadcast_to(0.0, (3, 4))``."""
    while node.op.is_view:
        node = node.inputs[0]
    return node.op is CONSTANT and node.size == 1
