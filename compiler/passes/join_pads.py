"""join_pads: a sum of parts, each padded with zeros to the whole, is their concatenation.

Before: ``pad(a, high=6) + pad(b, low=2, high=4) + pad(c, low=4)`` for parts of sizes 2, 2 and 4.
After: ``concatenate(a, b, c)``.

The derivative of what was cut into slices is such a sum: the gates of a recurrent net, or the
steps of a sequence, whose terms are as many as they are large.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from graphnn.compiler.driver import Driver
from graphnn.compiler.unit import Unit
from graphnn.core.graph import with_inputs
from graphnn.core.node import Node
from graphnn.core.provenance import made_by
from graphnn.ops.constants import is_zero
from graphnn.ops.creation import zeros
from graphnn.ops.joining import PAD, concatenate

__all__ = ["join_pads"]


class _Part(NamedTuple):
    """Something that stands among zeros, and where along each axis it begins."""

    node: Node
    low: tuple[int, ...]


_Parts: TypeAlias = "_Part | tuple[_Parts, ...]"


def join_pads(unit: Unit, driver: Driver) -> Unit:
    """See the module. What was added to zeros is itself now, also where it is -0.0."""
    graph = unit.graph
    if not any(node.op is PAD for node in graph.nodes):
        return unit
    outputs = set(graph.outputs)
    parts: dict[Node, _Parts] = {}

    def is_inner(node: Node) -> bool:
        users = graph.users[node]
        return len(users) == 1 and users[0].op.name == "add" and node not in outputs

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        made = with_inputs(node, inputs)
        if _is_among_zeros(made):
            parts[made] = _Part(made.inputs[0], tuple(map(int, made.attrs["low"])))
        if node.op.name != "add" or not all(each in parts for each in inputs):
            return made
        parts[made] = tuple(parts[each] for each in inputs)
        if is_inner(node):
            return made
        with made_by("join_pads", node):
            joined = _joined(made, _flat(parts[made]))
        if joined is None or not driver.spend("join_pads", made, joined):
            return made
        parts[joined] = parts[made]
        return joined

    return driver.with_graph(unit, graph.map(replace))


def _is_among_zeros(node: Node) -> bool:
    return node.op is PAD and not any(node.attrs["interior"]) and is_zero(node.inputs[1])


def _flat(parts: _Parts) -> list[_Part]:
    found, waiting = [], [parts]
    while waiting:
        each = waiting.pop()
        if isinstance(each, _Part):
            found.append(each)
        else:
            waiting += each
    return found


def _joined(whole: Node, parts: Sequence[_Part]) -> Node | None:
    """The sum of parts that lie side by side along one axis; None if they do not."""
    axes = {
        axis
        for part in parts
        for axis, size in enumerate(part.node.shape)
        if size != whole.shape[axis]
    }
    if len(axes) != 1:
        return None
    (axis,) = axes
    joined: list[Node] = []
    end = 0
    for node, low in sorted(parts, key=lambda part: part.low[axis]):
        if low[axis] < end:
            return None
        joined += [*_gap(whole, axis, low[axis] - end), node]
        end = low[axis] + int(node.shape[axis])
    joined += _gap(whole, axis, int(whole.shape[axis]) - end)
    result: Node = concatenate(joined, axis)
    return result


def _gap(whole: Node, axis: int, size: int) -> list[Node]:
    if not size:
        return []
    return [zeros((*whole.shape[:axis], size, *whole.shape[axis + 1 :]), whole.dtype)]
