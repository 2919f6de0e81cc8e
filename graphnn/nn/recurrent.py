"""Recurrent layers: a cell taken over whole sequences.

What goes over sequences is a :class:`SequenceLayer`: it knows where the time axis lies, which
steps are real and which are padding, and what the user wants to have of the result.
:class:`Recurrent` does it with a cell; :mod:`graphnn.nn.sequence_wrappers` holds layers made of
such layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphnn.core.dims import Size
from graphnn.core.dtypes import INT64, is_bool, is_integer
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.spec import shape_text
from graphnn.core.state import Parameter, parameter
from graphnn.core.structure import flatten, map_leaves, outline, unflatten
from graphnn.nn.cells import Cell
from graphnn.nn.module import Module
from graphnn.ops.arithmetic import cast, where
from graphnn.ops.broadcasting import broadcast_to, to_shape
from graphnn.ops.creation import iota
from graphnn.ops.gathering import take_along_axis
from graphnn.ops.movement import moveaxis
from graphnn.ops.operands import as_node
from graphnn.ops.reduction import argmax
from graphnn.ops.reduction import max as greatest
from graphnn.ops.scans import scan, unroll

__all__ = ["Recurrent", "SequenceLayer"]


class Outcome(NamedTuple):
    """What a layer makes of sequences, with the time axis in front."""

    sequence: Any
    last: Any
    state: Any


class SequenceLayer(Module):
    """The base of layers over sequences; a subclass gives ``run``.

    Layers may be made of layers, and these options are those of the outermost one.

    Parameters
    ----------
    return_sequences : bool, default False
        Give the outputs of all steps instead of the last one.
    return_state : bool, default False
        Give the state after the last step as well.
    batch_first : bool, default False
        Sequences are ``(batch, time, ...)`` instead of ``(time, batch, ...)``.
    """

    def __init__(
        self,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        batch_first: bool = False,
    ) -> None:
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.batch_first = batch_first

    def forward(
        self, x: Any, initial_state: Any = None, *, lengths: Any = None, mask: Any = None
    ) -> Any:
        """Go over sequences.

        Parameters
        ----------
        x : Node or nested structure of Node
            Of shape (time, batch, ...), or with ``batch_first`` (batch, time, ...).
        initial_state : Node or nested structure of Node, optional
            In the form that ``return_state`` gives; default: see the layer.
        lengths : Node or array_like of int, optional
            Of shape (batch,): how many steps of every row are real; the others are padding.
        mask : Node or array_like of bool, optional
            Of shape (time, batch), or with ``batch_first`` (batch, time): which steps are real.

        Returns
        -------
        y : Node
            The last output, (batch, ...), or all of them with the time axis where ``x`` has it.
            Outputs of padding are 0. The last output of a row is that of its last real step.
        state : Node or nested structure of Node
            With ``return_state``, the state after the last real step.

        Raises
        ------
        ShapeError, DTypeError, ArgumentError
            If the input, the initial state, lengths or mask do not fit.
        """
        xs = map_leaves(self._time_first, x)
        steps, batch = self._sizes(xs)
        real = real_steps(repr(self), (steps, batch), lengths, mask, batch_first=self.batch_first)
        if real is not None:
            # Padding may be anything, NaN as well, and must not even reach a product with 0.
            xs = map_leaves(lambda leaf: where(_beside(real, leaf), leaf, 0), xs)
        outcome = self.run(xs, initial_state, real)
        time_axis = 1 if self.batch_first else 0
        y = outcome.last
        if self.return_sequences:
            y = map_leaves(lambda leaf: moveaxis(leaf, 0, time_axis), outcome.sequence)
        return (y, outcome.state) if self.return_state else y

    def run(self, xs: Any, initial_state: Any, real: Node | None) -> Outcome:
        """Go over sequences with the time axis in front.

        Parameters
        ----------
        xs : Node or nested structure of Node
            Of shape (time, batch, ...), with zeros for padding.
        initial_state : Node or nested structure of Node, or None
        real : Node, or None
            bool of shape (time, batch): which steps are no padding.
        """
        raise NotImplementedError(f"{type(self).__name__} has no run")

    def run_inside(self, xs: Any, initial_state: Any, real: Node | None) -> Outcome:
        """``run`` for a layer around this one."""
        with self._at_work():
            return self.run(xs, initial_state, real)

    def reset_state(self) -> None:
        """Let all stateful layers within begin anew, with zeros."""
        for _, module in self.named_modules():
            if isinstance(module, Recurrent):
                for each in flatten(module.state):
                    each.value = np.zeros(each.shape)

    # ------------------------------------------------------------------------- what is given

    def _time_first(self, x: Any) -> Node:
        x = as_node(x)
        if x.ndim < 2:
            layout = "(batch, time, ...)" if self.batch_first else "(time, batch, ...)"
            raise ShapeError(f"{self!r}: the input must be {layout}, not {shape_text(x.shape)}")
        return moveaxis(x, 1, 0) if self.batch_first else x

    def _sizes(self, xs: Any) -> tuple[Size, Size]:
        """Steps and rows of sequences."""
        leaves = flatten(xs)
        if not leaves:
            raise ArgumentError(f"{self!r}: there is no input")
        steps, batch = leaves[0].shape[:2]
        for leaf in leaves:
            if leaf.shape[:2] != (steps, batch):
                raise ShapeError(
                    f"{self!r}: the inputs differ in steps or rows: "
                    f"{shape_text(leaves[0].shape[:2])} and {shape_text(leaf.shape[:2])}"
                )
        if isinstance(steps, int) and steps < 1:
            raise ShapeError(f"{self!r}: the input has {steps} time steps")
        return steps, batch

    def extra_repr(self) -> str:
        """What is inside, and what differs from the default."""
        return ", ".join([*self._inside(), *self._flags()])

    def _inside(self) -> list[str]:
        return []

    def _flags(self) -> list[str]:
        names = ("return_sequences", "return_state", "batch_first")
        return [f"{name}=True" for name in names if getattr(self, name)]


class Recurrent(SequenceLayer):
    """A cell, applied step by step to sequences with the same weights.

    Parameters
    ----------
    cell : Cell or callable
        Called with a carry and one element of the sequence, it gives the next carry and an output.
        Its ``zero_state(batch)`` gives the first carry; a plain function has none and needs the
        initial state with every call.
    return_sequences, return_state, batch_first : bool, default False
        See :class:`SequenceLayer`.
    reverse : bool, default False
        Go from the last step to the first; outputs stay in the order of the input. A padded row
        begins at its own end.
    learned_state : bool, default False
        The initial state is a parameter, the same for all rows, zeros at first.
    stateful : bool, default False
        The initial state of a call is the last one of the call before it, with the same rows.
        Programs write it if ``module.state_updates()`` is among their updates; see
        :meth:`reset_state`. The number of rows must be known.
    unroll : bool, default False
        Write every step into the graph, for pictures; see :func:`graphnn.unroll`.
    truncate : int or tuple of two int, optional
        How far gradients go back; see :func:`graphnn.scan`.

    Attributes
    ----------
    cell : Cell or callable
    initial_state : Parameter or nested structure of Parameter, or None
        That is learned.
    state : Parameter or nested structure of Parameter, or None
        That is kept from call to call; None before the layer is first applied.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("time", "batch", 3))
    >>> gn.nn.Recurrent(gn.nn.LSTMCell(3, 8))(x).shape
    (Dim(batch), 8)
    >>> lengths = gn.input("lengths", shape=("batch",), dtype="int64")
    >>> layer = gn.nn.Recurrent(gn.nn.GRUCell(3, 8), return_sequences=True, return_state=True)
    >>> y, h = layer(x, lengths=lengths)
    >>> y.shape, h.shape
    ((Dim(time), Dim(batch), 8), (Dim(batch), 8))
    """

    def __init__(
        self,
        cell: Any,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        batch_first: bool = False,
        reverse: bool = False,
        learned_state: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        truncate: int | tuple[int, int] | None = None,
    ) -> None:
        super().__init__(
            return_sequences=return_sequences, return_state=return_state, batch_first=batch_first
        )
        if not callable(cell) or isinstance(cell, type):
            raise ArgumentError(
                f"Recurrent: {cell!r} is not a cell", hint="for example gn.nn.LSTMCell(3, 8)"
            )
        if learned_state and stateful:
            raise ArgumentError(
                "Recurrent: an initial state that is learned is not that of the call before",
                hint="learned_state=True or stateful=True",
            )
        self.cell = cell
        self.reverse = reverse
        self.stateful = stateful
        self.unroll = unroll
        self.truncate = truncate
        self.initial_state: Any = None
        self.state: Any = None
        if learned_state:
            self.initial_state = map_leaves(_learned, self._zeros(1))

    def run(self, xs: Any, initial_state: Any, real: Node | None) -> Outcome:
        """Go over sequences with the time axis in front; see :meth:`SequenceLayer.run`."""
        batch = flatten(xs)[0].shape[1]
        carry = self._first(initial_state, batch)
        is_state: dict[int, int] = {}
        step = self._step(batch, is_state, real is not None)
        elements = xs if real is None else (xs, real)
        loop: Callable[..., Any] = unroll if self.unroll else scan
        state, sequence = loop(step, carry, elements, reverse=self.reverse, truncate=self.truncate)
        if self.stateful:
            self.remember(dict(zip(flatten(self.state), flatten(state), strict=True)))
        # An output that is a part of the state need not be looked for in the sequence.
        states = flatten(state)
        lasts = (
            states[is_state[number]] if number in is_state else last_step(y, real, self.reverse)
            for number, y in enumerate(flatten(sequence))
        )
        return Outcome(sequence, unflatten(sequence, lasts), state)

    def _step(
        self, batch: Size, is_state: dict[int, int], masked: bool
    ) -> Callable[[Any, Any], tuple[Any, Any]]:
        """The step to scan; it notes which of its outputs are which part of the carry."""
        cell = self.cell.for_sequence(batch) if isinstance(self.cell, Cell) else self.cell
        names = self.cell.state_names if isinstance(self.cell, Cell) else ()

        def step(carry: Any, element: Any) -> tuple[Any, Any]:
            x, real = element if masked else (element, None)
            after, y = cell(carry, x)
            leaves = flatten(after)
            _name(leaves, names)
            for number, leaf in enumerate(flatten(y)):
                if any(leaf is each for each in leaves):
                    is_state[number] = next(n for n, each in enumerate(leaves) if each is leaf)
            if real is None:
                return after, y
            kept = (
                where(_beside(real, new), new, old)
                for new, old in zip(leaves, flatten(carry), strict=True)
            )
            return unflatten(after, kept), map_leaves(
                lambda leaf: where(_beside(real, leaf), leaf, 0), y
            )

        return step

    # ---------------------------------------------------------------------------- its state

    def _zeros(self, batch: Size) -> Any:
        if not hasattr(self.cell, "zero_state"):
            raise ArgumentError(
                f"{self!r}: the cell has no zero_state(batch)",
                hint="give the initial state, or make the cell a gn.nn.Cell",
            )
        return self.cell.zero_state(batch)

    def _first(self, given: Any, batch: Size) -> Any:
        """The carry before the first step."""
        kept = self._kept(batch) if self.stateful else None
        if given is not None:
            return self._checked(given, batch)
        if self.initial_state is not None:
            return map_leaves(
                lambda each: broadcast_to(each, (batch, *each.shape)), self.initial_state
            )
        return self._zeros(batch) if kept is None else kept

    def _checked(self, given: Any, batch: Size) -> Any:
        """An initial state that fits the cell."""
        made = map_leaves(as_node, given)
        if not hasattr(self.cell, "zero_state"):
            return made
        expected = self.cell.zero_state(batch)
        fits = outline(made) == outline(expected)
        leaves = zip(flatten(made), flatten(expected), strict=False)
        if not fits or any(one.spec != other.spec for one, other in leaves):
            raise ShapeError(
                f"{self!r}: the initial state must be {_specs(expected)}, not {_specs(made)}"
            )
        return made

    def _kept(self, batch: Size) -> Any:
        """The state of the call before; the first call makes the parameters that hold it."""
        if not isinstance(batch, int):
            raise ShapeError(
                f"{self!r}: a state that is kept has a known number of rows, not {batch}",
                hint="give the batch axis of the input a fixed size",
            )
        if self.state is None:
            self.state = map_leaves(_remembered, self._zeros(batch))
        rows = flatten(self.state)[0].shape[0]
        if rows != batch:
            raise ShapeError(
                f"{self!r}: the state is kept for {rows} rows, the input has {batch}",
                hint="a copy (copy.deepcopy) keeps a state of its own",
            )
        return self.state

    def _inside(self) -> list[str]:
        return [repr(self.cell), *self.own_flags()]

    def own_flags(self) -> list[str]:
        """What differs from the default, of the options that not all layers have."""
        shown = [
            f"{name}=True" for name in ("reverse", "stateful", "unroll") if getattr(self, name)
        ]
        learned = self.initial_state is not None
        return [*shown, "learned_state=True"] if learned else shown


def real_steps(
    what: str,
    shape: tuple[Size, Size],
    lengths: Any = None,
    mask: Any = None,
    *,
    batch_first: bool = False,
) -> Node | None:
    """Which steps of which rows are real, (time, batch); None if all are.

    Parameters
    ----------
    what : str
        Whom messages name.
    shape : tuple of sizes
        (time, batch).
    lengths, mask, batch_first
        See :meth:`SequenceLayer.forward`.
    """
    if lengths is not None and mask is not None:
        raise ArgumentError(f"{what}: lengths and mask say the same", hint="give one of them")
    steps, batch = shape
    if lengths is not None:
        given = as_node(lengths)
        if not is_integer(given.dtype):
            raise DTypeError(f"{what}: lengths are integers, not {given.dtype.name}")
        if given.shape != (batch,):
            raise ShapeError(
                f"{what}: lengths must be {shape_text((batch,))}, one for each row, "
                f"not {shape_text(given.shape)}"
            )
        return iota((steps, batch), 0, given.dtype) < given
    if mask is None:
        return None
    given = as_node(mask)
    expected = (batch, steps) if batch_first else (steps, batch)
    if given.shape != expected:
        raise ShapeError(
            f"{what}: the mask must be {shape_text(expected)}, not {shape_text(given.shape)}"
        )
    if not is_bool(given.dtype):
        raise DTypeError(
            f"{what}: the mask is bool, not {given.dtype.name}", hint="mask=weights > 0"
        )
    return moveaxis(given, 1, 0) if batch_first else given


def last_step(y: Node, real: Node | None, reverse: bool) -> Node:
    """The element of a sequence that belongs to the last real step; 0 for a row of padding."""
    if real is None:
        return y[0 if reverse else -1]
    if reverse:
        numbers = argmax(cast(real, INT64), 0)  # the first one
    else:
        numbers = greatest(where(real, iota(real.shape), 0), 0)
    return take_along_axis(y, to_shape(numbers, (1, *numbers.shape, *[1] * (y.ndim - 2))), 0)[0]


def _name(leaves: list[Node], names: tuple[str, ...]) -> None:
    """Call the parts of an unrolled carry h[0], c[0], h[1] ..."""
    for leaf, name in zip(leaves, names, strict=False):
        step = provenance(leaf).step
        if step is not None and leaf.name is None:
            leaf.named(f"{name}[{step}]")


def _beside(real: Node, leaf: Node) -> Node:
    """Which rows are real, with axes of size 1 for all other axes."""
    return to_shape(real, (*real.shape, *[1] * (leaf.ndim - real.ndim)))


def _learned(zero: Node) -> Parameter:
    return parameter(np.zeros([int(size) for size in zero.shape[1:]]), dtype=zero.dtype)


def _remembered(zero: Node) -> Parameter:
    sizes = [int(size) for size in zero.shape]
    return parameter(np.zeros(sizes), dtype=zero.dtype, trainable=False)


def _specs(tree: Any) -> str:
    """Shapes and dtypes of a state in words."""
    return ", ".join(str(leaf.spec) for leaf in flatten(tree)) or "nothing"
