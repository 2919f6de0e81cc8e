"""scan: one step applied again and again, each time to what the one before it gave.

A step is a function ``(carry, x) -> (carry, y)``, traced once; see
:mod:`graphnn.ops.scan_primitive` for the node that it becomes. What a step reads from outside is
found while it is traced.

Derivatives and batches of scans are scans again: see :mod:`graphnn.compiler.scans`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphnn.core.dims import Size, as_size
from graphnn.core.dtypes import INT64
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.provenance import time_step
from graphnn.core.spec import TensorSpec
from graphnn.core.structure import flatten, leaf_paths, outline, unflatten
from graphnn.ops.axes import normalize_axis
from graphnn.ops.creation import iota
from graphnn.ops.joining import stack
from graphnn.ops.leaves import input_like
from graphnn.ops.movement import moveaxis
from graphnn.ops.operands import as_node, cast_to, gives_way
from graphnn.ops.scan_primitive import Carry, Step
from graphnn.ops.streams import LoopPlaces
from graphnn.ops.truncation import Truncation, scan_in_windows, unroll_in_windows

__all__ = ["scan", "unroll"]


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
