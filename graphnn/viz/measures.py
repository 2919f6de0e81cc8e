"""What can be measured inside of a graph: each measure makes nodes whose values are the numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from graphnn.compiler.scans.rewriting import is_scan
from graphnn.core.dtypes import FLOAT64
from graphnn.core.errors import RenderError
from graphnn.core.graph import Graph, topological_order
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.spec import TensorSpec
from graphnn.ops.arithmetic import abs as absolute
from graphnn.ops.arithmetic import divide, maximum, multiply
from graphnn.ops.logic import greater, isfinite, logical_not
from graphnn.ops.operands import cast_to
from graphnn.ops.statistics import mean
from graphnn.viz.carried import carrying, parts_of_gradients
from graphnn.viz.observe import (
    Gradients,
    Path,
    Reduce,
    lengths_of,
    norm_of,
    observed,
    tap_gradients,
)

__all__ = ["MEASURES", "Measure", "Subjects"]

NEAR = 0.05
"""Nearer to an end than this part of its range, an activation counts as saturated."""

RANGES = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu6": (0.0, 6.0),
    "relu": (0.0, float("inf")),
}
"""Activations that are flat at their ends, and where these are."""


@dataclass(frozen=True)
class Subjects:
    """What is measured.

    Attributes
    ----------
    graph : Graph
    loss : Node or None
        What gradients are those of; by default the first output that is one real number.
    """

    graph: Graph
    given_loss: Node | None = None

    @cached_property
    def nodes(self) -> dict[Node, Node]:
        """The nodes of the graph, with forward scans of which only the derivative is in it."""
        known = set(self.graph.nodes)
        origins = (provenance(node).origin for node in self.graph.nodes)
        # A node that several graphs have in common may be a derivative of another graph's scan.
        scans = [
            node
            for node in origins
            if node is not None and is_scan(node) and known.issuperset(node.inputs)
        ]
        order = topological_order([*dict.fromkeys(scans), *self.graph.outputs])
        return {node: node for node in order}

    def observed(self, reduce: Reduce) -> dict[Path, Node]:
        """A number for every value; see :func:`graphnn.viz.observe.observed`."""
        return observed(self.nodes, reduce, lengths_of(self.nodes))

    @cached_property
    def loss(self) -> Node:
        """What gradients are those of."""
        found = [self.given_loss] if self.given_loss is not None else self.graph.outputs
        for node in found:
            spec = node.spec
            is_number = isinstance(spec, TensorSpec) and spec.shape == () and spec.dtype.kind == "f"
            if is_number and provenance(node).role == "forward":
                return node
        raise RenderError(
            "gradients cannot be measured: no output is one real number",
            hint="say which node is the loss: measure(..., loss=loss)",
            where="",
        )

    @cached_property
    def gradients(self) -> Gradients:
        """Norms of the gradients of the loss."""
        return tap_gradients(self.loss)


@dataclass(frozen=True, slots=True)
class Measure:
    """One kind of number.

    Attributes
    ----------
    title, unit : str
    build : callable
        From what is measured to a node for every value: 0-d, or with an axis for every loop.
    is_log : bool
    low, high : float or None
        The ends of its scale; None for the least and the largest number that is shown.
    tells_first : bool
        Whether 0 is nothing to tell, and the first box that has another number is named.
    """

    title: str
    unit: str
    build: Callable[[Subjects], Mapping[Path, Node]]
    is_log: bool = False
    low: float | None = None
    high: float | None = None
    tells_first: bool = False


def _gradient_norms(subjects: Subjects) -> dict[Path, Node]:
    """Of the gradient with respect to a forward value; of a backward value that carries one."""
    found = dict(subjects.gradients.by)
    if any(provenance(node).role == "backward" for node in subjects.nodes):
        carried = carrying(subjects.graph, subjects.loss)
        found |= subjects.observed(
            lambda path, node, keep: norm_of(node, keep) if path in carried else None
        )
    return found


def _shares_of_weights(subjects: Subjects) -> dict[Path, Node]:
    """The norm of what comes from one place, relative to the norm of a weight's gradient."""
    gradients = subjects.gradients
    found: dict[Path, Node] = {}
    for (path, weight), part in gradients.parts.items():
        share = _percent(part, gradients.by[(weight,)])
        found[path] = maximum(found[path], share) if path in found else share
    whole = parts_of_gradients(subjects.graph, subjects.loss)
    wanted = {*whole, *whole.values()}
    norms = subjects.observed(
        lambda path, node, keep: norm_of(node, keep) if path in wanted else None
    )
    for path, total in whole.items():
        found[path] = _percent(norms[path], norms[total])
    return found


def _percent(part: Node, whole: Node) -> Node:
    # The whole may be 0: then so are the parts, or they cancel out.
    return multiply(100.0, divide(part, maximum(whole, 1e-300)))


def _saturation(subjects: Subjects) -> dict[Path, Node]:
    """How many elements of an activation are where it is flat."""

    def share(path: Path, node: Node, keep: int) -> Node | None:
        if path[-1].op.name not in RANGES or provenance(path[-1]).role != "forward":
            return None
        low, high = RANGES[path[-1].op.name]
        if high == float("inf"):
            return _share_of(logical_not(greater(node, low)), keep)
        middle, reach = (low + high) / 2, (high - low) * (0.5 - NEAR)
        return _share_of(greater(absolute(node - middle), reach), keep)

    return subjects.observed(share)


def _not_finite(subjects: Subjects) -> dict[Path, Node]:
    return subjects.observed(lambda path, node, keep: _share_of(logical_not(isfinite(node)), keep))


def _share_of(flags: Node, keep: int) -> Node:
    """In percent, along all axes but the first few."""
    return multiply(100.0, mean(cast_to(flags, FLOAT64), tuple(range(keep, flags.ndim))))


def _norms(subjects: Subjects) -> dict[Path, Node]:
    return subjects.observed(lambda path, node, keep: norm_of(node, keep))


MEASURES = {
    "gradient norm": Measure("norm of the gradient of the loss", "", _gradient_norms, is_log=True),
    "share of dW": Measure(
        "part in a weight's gradient: its norm, relative to the whole",
        "%",
        _shares_of_weights,
        low=0.0,
    ),
    "saturation": Measure("saturated elements", "%", _saturation, low=0.0, high=100.0),
    "non-finite": Measure(
        "elements that are NaN or infinite", "%", _not_finite, low=0.0, high=100.0, tells_first=True
    ),
    "value norm": Measure("norm of the value", "", _norms, is_log=True),
}
"""By the word that users give."""
