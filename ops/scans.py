"""scan: one step applied again and again, each time to what the one before it gave.

A step is a function ``(carry, x) -> (carry, y)``, traced once: its graph, the *body*, is an
attribute of one node, whatever the number of steps. The body's inputs are numbered arguments, so
equal steps have equal bodies, and scans are interned like all nodes. What a step reads from
outside is found while it is traced and handed in as a constant; what depends on no step stays
outside and is computed once.

Derivatives and batches of scans are scans again: see :mod:`graphnn.compiler.scans`, which builds
them with :func:`build_scan`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from graphnn.core.dims import Size, as_size
from graphnn.core.dtypes import INT64
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.graph import Graph, depending_on, substitute
from graphnn.core.node import Node, make_node
from graphnn.core.op import Array, Op, register
from graphnn.core.provenance import time_step
from graphnn.core.spec import TensorSpec, TupleSpec
from graphnn.core.structure import flatten, leaf_paths, outline, unflatten
from graphnn.ops.axes import normalize_axis
from graphnn.ops.bodies import (
    arguments_for,
    body_of,
    evaluate_body,
    flops_of,
    read_from_outside,
)
from graphnn.ops.broadcasting import broadcast_to
from graphnn.ops.control import project
from graphnn.ops.creation import iota
from graphnn.ops.joining import stack
from graphnn.ops.leaves import input_like
from graphnn.ops.movement import moveaxis
from graphnn.ops.operands import as_node, cast_to, gives_way
from graphnn.ops.streams import LoopPlaces

__all__ = ["scan", "unroll"]


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


# ------------------------------------------------------------------------------------ for users


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    xs: Any = None,
    *,
    length: int | str | None = None,
    reverse: bool = False,
    axis: int = 0,
    truncate: int | tuple[int, int] | None = None,
) -> tuple[Any, Any]:
    """Apply one step again and again, each time to the carry that the one before it gave.

    The graph holds the step once, whatever the number of steps. Derivatives of any order, and
    batches, are scans again.

    Parameters
    ----------
    step : callable
        ``step(carry, x) -> (carry, y)``: a pure function of nodes, called once or twice to build
        the graph. It may read nodes and parameters from outside. The carry that it gives has the
        structure, shapes and dtypes of the one that it gets; ``y`` may be None.
    carry : Node, array, number or nested structure of them
        Before the first step. Python numbers take the dtype that the step gives.
    xs : Node, array or nested structure of them, optional
        Every step gets one element along ``axis``; None if there is nothing to get.
    length : int or str, optional
        Number of steps, or the name of a dimension; needed where ``xs`` is None.
    reverse : bool, default False
        Go from the last element to the first; ``ys`` stay in the order of ``xs``.
    axis : int, default 0
        Of the steps, in ``xs`` and ``ys``.
    truncate : int or tuple of two int, optional
        Truncated backpropagation through time: ``(k1, k2)`` lets derivatives, after every ``k1``
        steps, reach back through the latest ``k2`` steps alone; ``k`` stands for ``(k, k)``.
        Values stay those of the whole sequence. See the page on backpropagation through time.

    Returns
    -------
    carry
        After the last step; for no step ``carry`` itself, whose derivatives are its own.
    ys
        What the steps gave, along a new ``axis``; for no step empty.

    Raises
    ------
    ShapeError
        If the sequences differ in length, or a step changes the shape or dtype of the carry.
    ArgumentError
        If a step does not give a pair, or changes the structure of the carry; if ``truncate``
        is no number of steps, or two.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("time", 3))
    >>> last, sums = gn.scan(lambda total, x: (total + x, total + x), gn.zeros(3), x)
    >>> gn.evaluate(sums, {x: [[1.0, 1.0, 1.0], [2.0, 3.0, 4.0]]})
    array([[1., 1., 1.],
           [3., 4., 5.]], dtype=float32)
    """
    firsts, wholes, steps = _prepared("scan", carry, xs, length, axis)
    elements = {
        input_like(f"x.{path}" if path else "x", TensorSpec(each.shape[1:], each.dtype)): each
        for path, each in zip(leaf_paths(xs), wholes, strict=True)
    }
    given = unflatten(xs, elements)
    number_of_step = input_like("step", TensorSpec((), INT64))
    elements[number_of_step] = iota((steps,))  # for random numbers; left out where not read
    places = LoopPlaces()
    weak = [number for number, each in enumerate(flatten(carry)) if gives_way(each)]
    with places.step(number_of_step):
        symbols, (carried, y) = _traced(step, carry, firsts, given)
    nexts = flatten(carried)
    for number in weak:
        firsts[number] = cast_to(firsts[number], nexts[number].dtype)
    if any(symbols[number].dtype != nexts[number].dtype for number in weak):
        with places.step(number_of_step):
            symbols, (carried, y) = _traced(step, carry, firsts, given)
        nexts = flatten(carried)
    _check_carry(carry, symbols, nexts)
    carries = tuple(map(Carry, symbols, firsts, nexts))
    ys = tuple(map(as_node, flatten(y)))
    opened = Step(carries, elements, ys, steps, reverse)
    if truncate is None:
        finals, stacked = opened.build()
    else:
        from graphnn.ops.truncation import Truncation, scan_in_windows

        finals, stacked = scan_in_windows(opened, Truncation.of("scan", truncate))
    moved = [moveaxis(each, 0, axis) for each in stacked]
    return unflatten(carry, finals), unflatten(y, moved)


def unroll(
    step: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    xs: Any = None,
    *,
    length: int | None = None,
    reverse: bool = False,
    axis: int = 0,
    truncate: int | tuple[int, int] | None = None,
) -> tuple[Any, Any]:
    """The same as :func:`scan` with a copy of the step for every element.

    The number of steps must be known, and the graph grows with it; every node knows its time
    step, which pictures need.

    Parameters
    ----------
    step, carry, xs, length, reverse, axis, truncate
        See :func:`scan`; ``step`` is called once for every step, and for no step as there.

    Returns
    -------
    carry, ys
        See :func:`scan`.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(4, 3))
    >>> last, sums = gn.unroll(lambda total, x: (total + x, total + x), gn.zeros(3), x)
    >>> sums.shape
    (4, 3)
    """
    firsts, wholes, steps = _prepared("unroll", carry, xs, length, axis)
    if not isinstance(steps, int):
        raise ShapeError(
            f"unroll: the number of steps must be known, not {steps}",
            hint="gn.scan takes any number of steps",
        )
    if steps == 0:  # nothing to write: but what a step would give is known from one that is traced
        return scan(step, carry, xs, length=0, reverse=reverse, axis=axis, truncate=truncate)
    order = [*reversed(range(steps))] if reverse else [*range(steps)]
    if truncate is not None:
        return _unrolled_in_windows(step, carry, xs, (firsts, wholes), order, axis, truncate)
    state = unflatten(carry, firsts)
    ys: dict[int, Any] = {}
    places = LoopPlaces()
    for number in order:
        with time_step(number), places.step(number):
            result = step(state, unflatten(xs, [each[number] for each in wholes]))
            state, ys[number] = _pair(step, carry, result)
    leaves = zip(*(flatten(ys[number]) for number in range(steps)), strict=True)
    return state, unflatten(ys[0], [stack(each, axis) for each in leaves])


def _unrolled_in_windows(
    step: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    xs: Any,
    given: tuple[list[Node], list[Node]],
    order: Sequence[int],
    axis: int,
    truncate: int | tuple[int, int],
) -> tuple[Any, Any]:
    """The results of :func:`unroll` with derivatives that stop."""
    from graphnn.ops.truncation import Truncation, unroll_in_windows

    firsts, wholes = given
    structure: Any = None
    places = LoopPlaces()

    def apply(number: int) -> tuple[list[Node], list[Node], list[Node]]:
        nonlocal structure
        with time_step(number), places.step(number):
            elements = unflatten(xs, [each[number] for each in wholes])
            symbols, (after, structure) = _traced(step, carry, firsts, elements)
            return symbols, flatten(after), [as_node(each) for each in flatten(structure)]

    truncation = Truncation.of("unroll", truncate)
    finals, ys = unroll_in_windows(apply, firsts, order, truncation)
    leaves = zip(*(ys[number] for number in sorted(ys)), strict=True)
    return unflatten(carry, finals), unflatten(structure, [stack(each, axis) for each in leaves])


def _prepared(
    what: str, carry: Any, xs: Any, length: int | str | None, axis: int
) -> tuple[list[Node], list[Node], Size]:
    """The carry and the sequences as nodes, with the steps along the leading axis; their number."""
    firsts = [as_node(each) for each in flatten(carry)]
    wholes = [as_node(each) for each in flatten(xs)]
    for each in wholes:
        if each.ndim == 0:
            raise ShapeError(f"{what}: {each!r} is no sequence: it has no axes")
    wholes = [moveaxis(each, normalize_axis(what, axis, each.ndim), 0) for each in wholes]
    lengths = list(dict.fromkeys(each.shape[0] for each in wholes))
    if len(lengths) == 1 and length is not None and as_size(length) != lengths[0]:
        raise ShapeError(
            f"{what}: length={length}, but xs has {lengths[0]} elements along axis {axis}",
            hint="leave length= out where there are xs",
        )
    if length is not None and not lengths:
        lengths = [as_size(length)]
    if not lengths:
        raise ArgumentError(f"{what}: without xs, the number of steps is not known", hint="length=")
    if len(lengths) > 1:
        raise ShapeError(f"{what}: the sequences differ in length: {', '.join(map(str, lengths))}")
    return firsts, wholes, lengths[0]


def _traced(
    step: Callable[[Any, Any], Any], carry: Any, firsts: Sequence[Node], given: Any
) -> tuple[list[Node], tuple[Any, Any]]:
    """Symbols for the carry, and what a step gives for them."""
    symbols = [
        input_like(path or "carry", TensorSpec(each.shape, each.dtype))
        for path, each in zip(leaf_paths(carry), firsts, strict=True)
    ]
    return symbols, _pair(step, carry, step(unflatten(carry, symbols), given))


def _pair(step: Callable[..., Any], carry: Any, result: Any) -> tuple[Any, Any]:
    """What a step gave, with nodes for numbers and arrays in the carry."""
    name = getattr(step, "__name__", step)
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentError(
            f"scan: {name} must give a pair, not {result!r}", hint="return carry, y (or None)"
        )
    made, y = result
    if outline(made) != outline(carry):
        raise ArgumentError(
            f"scan: {name} gives a carry of another structure: {made!r}, not {carry!r}"
        )
    return unflatten(made, map(as_node, flatten(made))), y


def _check_carry(carry: Any, symbols: Sequence[Node], nexts: Sequence[Node]) -> None:
    """Steps fit together."""
    for path, before, after in zip(leaf_paths(carry), symbols, nexts, strict=True):
        if before.spec != after.spec:
            name = f"carry.{path}" if path else "the carry"
            raise ShapeError(
                f"scan: {name} is {before.spec} before a step and {after.spec} after it",
                hint="give the first carry the shape and dtype that a step gives",
            )
