"""Numbers about the values inside of a graph and of its loops, as further nodes.

A value of a step of a scan is reduced within that step, and the scan gives the numbers of all
steps: nothing is unrolled, and no value is kept for it. Gradients are tapped on their way: what
reads a value reads it through an identity whose derivative hands on the gradient as it is, and
beside it the gradient's norm.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from graphnn.compiler.autodiff.reverse import pull_back
from graphnn.compiler.scans.rewriting import is_scan
from graphnn.core.dims import Size
from graphnn.core.dtypes import COMPLEX128, FLOAT64, is_complex, is_inexact
from graphnn.core.graph import rebuild, substitute, topological_order, with_inputs
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.spec import TensorSpec
from graphnn.core.state import Parameter
from graphnn.ops.arithmetic import abs as absolute
from graphnn.ops.arithmetic import square
from graphnn.ops.broadcasting import sum as sum_of
from graphnn.ops.constants import constant
from graphnn.ops.control import PROJECT, custom_vjp
from graphnn.ops.creation import zeros
from graphnn.ops.exponential import sqrt
from graphnn.ops.leaves import input_like
from graphnn.ops.operands import cast_to
from graphnn.ops.scan_primitive import Step

__all__ = [
    "Gradients",
    "Path",
    "Reduce",
    "is_measurable",
    "laid_open",
    "lengths_of",
    "norm_of",
    "observed",
    "tap_gradients",
    "weights_of",
]

Path: TypeAlias = tuple[Node, ...]
"""A value: the scans around it, the outermost first, then the node.

Of what is there for all steps at once, such as the inputs of a scan, the node stands for the loop
as well: there is a number for each of its rows.
"""

Reduce: TypeAlias = Callable[[Path, Node, int], Node | None]

Sizes: TypeAlias = tuple[Size, ...]


def norm_of(x: Node, keep: int = 0) -> Node:
    """The square root of the sum of squares along all axes but the first few.

    In double precision: in single precision, squares of numbers below 1e-19 would be 0.
    """
    wide = absolute(cast_to(x, COMPLEX128)) if is_complex(x.dtype) else cast_to(x, FLOAT64)
    return sqrt(sum_of(square(wide), tuple(range(keep, x.ndim))))


def is_measurable(node: Node) -> bool:
    """Whether a node's value is one array of real or complex numbers, and no constant."""
    is_array = isinstance(node.spec, TensorSpec) and is_inexact(node.spec.dtype)
    return is_array and node.op.name != "constant"


def laid_open(scan: Node) -> tuple[Step, dict[Node, Node]]:
    """The step of a scan, and which of its nodes stands for which of the scan's body."""
    step, body = Step.of(scan), scan.attrs["body"]
    given = (*scan.inputs[: len(scan.inputs) - len(step.symbols)], *step.symbols)
    known = dict(zip(body.inputs, given, strict=True))
    inner = [node for node in body.nodes if node not in known]
    return step, rebuild(inner, with_inputs, known)


def observed(
    nodes: Mapping[Node, Node], reduce: Reduce, lengths: Container[Size], around: Path = ()
) -> dict[Path, Node]:
    """A number for every value that it is asked for, one for every step where there are loops.

    Parameters
    ----------
    nodes : mapping of Node to Node
        From nodes to those that stand for them here: themselves, in a graph.
    reduce : callable
        From a value, the node that stands for it, and a number of axes, to a node with these
        leading axes alone; None for nothing. It is asked for arrays of real and complex numbers.
    lengths : container of int or Dim
        Numbers of steps: of what has as many rows, there are numbers by row too.
    around : tuple of Node
        The scans around the nodes.

    Returns
    -------
    mapping of Path to Node
        Of the shape of the numbers of steps.
    """
    found: dict[Path, Node] = {}
    for original, here in nodes.items():
        path = (*around, original)
        if is_scan(original):
            step, inside = laid_open(here)
            within = observed(inside, reduce, (), path)
            _, stacked = replace(step, ys=tuple(within.values())).build()
            found |= zip(within, stacked, strict=True)
        elif is_measurable(original):
            rows = original.shape[:1] and original.shape[0] in lengths
            for keep, key in ((0, path), (1, (*path, original)))[: 2 if rows else 1]:
                number = reduce(path, here, keep)
                if number is not None:
                    found[key] = number
    return found


# ------------------------------------------------------------------------------------ gradients


@custom_vjp
def _tapped(x: Node, slot: Node) -> Node:
    """``x``; the gradient by the slot is, by definition, the norm of the gradient by ``x``.

    A slot with axes gets norms along the other axes.
    """
    return x


@_tapped.defvjp
def _(arguments: Sequence[Node], result: Node, cotangent: Node) -> Sequence[Node]:
    return cotangent, norm_of(cotangent, arguments[1].ndim)


@dataclass(frozen=True)
class Gradients:
    """Norms of gradients of one loss.

    Attributes
    ----------
    by : mapping of Path to Node
        Of the gradient with respect to a value: one number, or one for every step.
    parts : mapping of (Path, Node) to Node
        By a node and a weight that it reads: what of the weight's gradient comes from there.
        Weights are those of the graph, also for nodes in loops.
    """

    by: Mapping[Path, Node]
    parts: Mapping[tuple[Path, Node], Node]


def tap_gradients(loss: Node) -> Gradients:
    """The norm of the gradient with respect to everything that a loss is computed from.

    What the loss does not depend on in a differentiable way is left out.
    """
    taps = _Taps()
    order = topological_order([loss])
    taps.lengths = lengths_of(order)
    new = _tap_all(order, {}, (), {node: node for node in weights_of(order)}, taps)
    slots = [*taps.by.values(), *taps.parts.values()]
    pulled = pull_back([new[loss]], [constant(1.0, loss.dtype)], slots)
    norms = {slot: norm for slot, norm in zip(slots, pulled, strict=True) if norm is not None}
    zero: dict[Node, Node] = {slot: zeros(slot.shape, FLOAT64) for slot in slots}
    norms = dict(zip(norms, substitute(norms.values(), zero), strict=True))
    return Gradients(
        {path: norms[slot] for path, slot in taps.by.items() if slot in norms},
        {key: norms[slot] for key, slot in taps.parts.items() if slot in norms},
    )


def lengths_of(order: Iterable[Node]) -> frozenset[Size]:
    """How many steps the scans among some nodes have."""
    return frozenset(node.attrs["length"] for node in order if is_scan(node))


def weights_of(order: Iterable[Node]) -> dict[Node, None]:
    """Parameters among them, and what is made of parameters alone, outside of time steps."""
    fixed: set[Node] = set()
    weights: dict[Node, None] = {}
    for node in order:
        is_weight = isinstance(node, Parameter) or any(each in weights for each in node.inputs)
        is_leaf = isinstance(node, Parameter) or node.op.name == "constant"
        if not (is_leaf or (node.inputs and fixed.issuperset(node.inputs))):
            continue
        if provenance(node).step is None:  # zeros @ W in the first step are no weight
            fixed.add(node)
            if is_weight:
                weights[node] = None
    return weights


@dataclass
class _Taps:
    """Slots made so far: inputs of the graph, with an axis for every loop around the value."""

    by: dict[Path, Node] = field(default_factory=dict)
    parts: dict[tuple[Path, Node], Node] = field(default_factory=dict)
    lengths: frozenset[Size] = frozenset()

    def new_slot(self, place: dict[Any, Node], key: Any, sizes: Sizes) -> Node:
        """A slot for the whole graph."""
        place[key] = input_like("slot", TensorSpec(sizes, FLOAT64))
        return place[key]


@dataclass
class _TapsInStep:
    """Slots of a step: elements of those outside."""

    outside: _Taps | _TapsInStep
    length: Size
    elements: dict[Node, Node] = field(default_factory=dict)
    lengths: frozenset[Size] = frozenset()

    @property
    def by(self) -> dict[Path, Node]:
        return self.outside.by

    @property
    def parts(self) -> dict[tuple[Path, Node], Node]:
        return self.outside.parts

    def new_slot(self, place: dict[Any, Node], key: Any, sizes: Sizes) -> Node:
        """A slot for one step."""
        symbol = input_like("slot", TensorSpec(sizes, FLOAT64))
        self.elements[symbol] = self.outside.new_slot(place, key, (self.length, *sizes))
        return symbol


def _tap_all(
    order: Iterable[Node],
    known: Mapping[Node, Node],
    around: Path,
    weights: Mapping[Node, Node],
    taps: _Taps | _TapsInStep,
) -> dict[Node, Node]:
    """What stands for some nodes when all of them are tapped.

    Parameters
    ----------
    order : iterable of Node
        Inputs before users.
    known : mapping of Node to Node
        What stands for others that they read.
    around : tuple of Node
        The scans around them.
    weights : mapping of Node to Node
        Which of them is which weight of the graph.
    taps : _Taps or _TapsInStep
    """
    new = dict(known)
    results: dict[Node, Sequence[Node]] = {}
    for node in order:
        path = (*around, node)
        if node.op is PROJECT and node.inputs[0] in results:
            made = results[node.inputs[0]][node.attrs["index"]]
        elif is_scan(node):
            made = with_inputs(node, tuple(new[each] for each in node.inputs))
            given = [weights.get(each) for each in node.inputs]
            results[node] = _tap_scan(node, made, path, given, taps)
        else:
            made = with_inputs(node, _read(path, new, weights, taps))
        if is_measurable(node):
            made = _tapped(made, taps.new_slot(taps.by, path, ()))
            if node.shape[:1] and node.shape[0] in taps.lengths:
                made = _tapped(made, taps.new_slot(taps.by, (*path, node), node.shape[:1]))
        new[node] = made
    return new


def _read(
    path: Path,
    new: Mapping[Node, Node],
    weights: Mapping[Node, Node],
    taps: _Taps | _TapsInStep,
) -> tuple[Node, ...]:
    """What a node reads; its weights through taps of its own."""
    node = path[-1]
    given = {each: new[each] for each in node.inputs}
    if node not in weights:
        for each in given:
            if each in weights and is_measurable(each):
                slot = taps.new_slot(taps.parts, (path, weights[each]), ())
                given[each] = _tapped(given[each], slot)
    return tuple(given[each] for each in node.inputs)


def _tap_scan(
    original: Node,
    here: Node,
    path: Path,
    given: Sequence[Node | None],
    taps: _Taps | _TapsInStep,
) -> list[Node]:
    """The results of a scan within which everything is tapped.

    Parameters
    ----------
    original, here : Node
        The scan, and what stands for it: the same on other inputs.
    path : tuple of Node
        That of the scan.
    given : sequence of Node or None
        Which of its inputs are which weights.
    taps : _Taps or _TapsInStep
    """
    step, body = Step.of(here), original.attrs["body"]
    inner = _TapsInStep(taps, step.length)
    n_constants = len(here.inputs) - len(step.symbols)
    stands = (*here.inputs[:n_constants], *step.symbols)
    known = {
        argument: _tapped(each, inner.new_slot(taps.by, (*path, argument), ()))
        if is_measurable(argument)
        else each
        for argument, each in zip(body.inputs, stands, strict=True)
    }
    named = zip(body.inputs[:n_constants], given, strict=False)
    weights = {argument: weight for argument, weight in named if weight is not None}
    order = [node for node in body.nodes if node not in known]
    new = _tap_all(order, known, path, weights, inner)
    tapped = step.with_outputs([new[each] for each in body.outputs])
    finals, ys = replace(tapped, elements={**step.elements, **inner.elements}).build()
    return [*finals, *ys]
