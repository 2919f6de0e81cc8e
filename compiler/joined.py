"""Where the parts of a concatenation lie: what is computed for it can be written there at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from graphnn.compiler.domain import is_computed
from graphnn.compiler.unit import Unit, View
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec
from graphnn.ops.joining import CONCATENATE

__all__ = ["Part", "parts_along", "parts_of_joins"]


@dataclass(frozen=True, slots=True)
class Part:
    """A place in a concatenation.

    Attributes
    ----------
    whole : Node
    axis : int
    start, size : int
        Along the axis.
    """

    whole: Node
    axis: int
    start: int
    size: int

    def of(self, whole: View) -> View:
        """The view of this part, from that of the whole."""
        shape = (*whole.shape[: self.axis], self.size, *whole.shape[self.axis + 1 :])
        offset = whole.offset + self.start * whole.strides[self.axis]
        return replace(whole, offset=offset, shape=shape)


def parts_along(node: Node) -> Iterator[tuple[Part, Node]]:
    """The parts of a concatenation, and what belongs there."""
    axis, start = node.attrs["axis"], 0
    for each in node.inputs:
        size = int(each.shape[axis])
        yield Part(node, axis, start, size), each
        start += size


def parts_of_joins(unit: Unit) -> dict[Node, Part]:
    """For nodes that are computed to be joined, the place where they are wanted.

    Each has one, though it may be read elsewhere too. What is a result has memory of its own.
    """
    found: dict[Node, Part] = {}
    results = set(unit.graph.outputs)
    for node in unit.schedule:
        if node.op is not CONCATENATE or node.tensor.nbytes == 0:
            continue
        for part, each in parts_along(node):
            is_one = isinstance(each.spec, TensorSpec) and is_computed(each)
            if is_one and each not in results and each.op is not CONCATENATE:
                found.setdefault(each, part)
    return found
