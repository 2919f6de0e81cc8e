"""join_pads: a sum of parts, each padded with zeros to the whole, is their concatenation.

Before: ``pad(a, high=6) + pad(b, low=2, high=4) + pad(c, low=4)`` for parts of sizes 2, 2 and 4.
After: ``concatenate(a, b, c)``.

The derivative of what was cut into slices is such a sum: the gates of a recurrent net, or the
steps of a sequence, whose terms are as many as they are large.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.driver import Driver
from graphnn.compiler.unit import Unit
from graphnn.core.graph import with_inputs
from graphnn.core.node import Node
from graphnn.core.provenance import made_by
from graphnn.ops.constants import CONSTANT
from graphnn.ops.creation import zeros
from graphnn.ops.joining import PAD, concatenate

__all__ = ["join_pads"]


def join_pads(unit: Unit, driver: Driver) -> Unit:
    """See the module. What was added to zeros is itself now, also where it is -0.0."""
    graph = unit.graph
    outputs = set(graph.outputs)
    sums: dict[Node, list[Node]] = {}  # of several terms each, and read by one sum alone

    def is_inner(node: Node) -> bool:
        users = graph.users[node]
        return len(users) == 1 and users[0].op.name == "add" and node not in outputs

    def terms_of(node: Node) -> list[Node]:
        return sums.get(node) or ([node] if _is_padded_with_zeros(node) else [])

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        made = with_inputs(node, inputs)
        if node.op.name != "add":
            return made
        longer, shorter = sorted(map(terms_of, inputs), key=len, reverse=True)
        if not shorter:
            return made
        if is_inner(node):
            longer += shorter
            sums[made] = longer
            return made
        with made_by("join_pads", node):
            joined = _joined([*longer, *shorter])
        if joined is None or not driver.spend("join_pads", made, joined):
            return made
        return joined

    return driver.with_graph(unit, graph.map(replace))


def _is_padded_with_zeros(node: Node) -> bool:
    if node.op is not PAD or any(node.attrs["interior"]):
        return False
    value = node.inputs[1]
    return value.op is CONSTANT and not value.attrs["value"].array.any()


def _joined(pads: Sequence[Node]) -> Node | None:
    """The sum of padded parts that lie side by side along one axis; None if they do not."""
    whole = pads[0]
    axes = {
        axis
        for pad in pads
        for axis, size in enumerate(pad.inputs[0].shape)
        if size != whole.shape[axis]
    }
    if len(axes) != 1:
        return None
    (axis,) = axes
    parts: list[Node] = []
    end = 0
    for pad in sorted(pads, key=lambda pad: int(pad.attrs["low"][axis])):
        part, low = pad.inputs[0], int(pad.attrs["low"][axis])
        if low < end:
            return None
        parts += [*_gap(whole, axis, low - end), part]
        end = low + int(part.shape[axis])
    parts += _gap(whole, axis, int(whole.shape[axis]) - end)
    joined: Node = concatenate(parts, axis)
    return joined


def _gap(whole: Node, axis: int, size: int) -> list[Node]:
    if not size:
        return []
    return [zeros((*whole.shape[:axis], size, *whole.shape[axis + 1 :]), whole.dtype)]
