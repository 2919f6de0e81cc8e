"""The recurrent layer: a cell taken over whole sequences, and the states that it begins with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from graphnn.core.dims import Shape, Size, is_known
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.state import parameter
from graphnn.core.structure import flatten, flatten_like, form_text, map_leaves, unflatten
from graphnn.nn.cells import Cell, name_state
from graphnn.nn.padding import beside, last_step, or_all_real
from graphnn.nn.sequence_layer import Direction, Outcome, SequenceLayer
from graphnn.nn.step_norm import StepNorm, joined
from graphnn.ops.arithmetic import where
from graphnn.ops.broadcasting import broadcast_to
from graphnn.ops.operands import as_node
from graphnn.ops.reduction import any as some
from graphnn.ops.scans import scan, unroll
from graphnn.ops.truncation import Truncation

__all__ = ["Recurrent"]


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
        :meth:`Module.reset_state`. The number of rows must be known.
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
        That is kept from call to call; None before the layer is first applied. It is not saved.

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

    passing = ("state",)

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
        if isinstance(cell, SequenceLayer):
            raise ArgumentError(
                f"Recurrent: {cell!r} is a layer over sequences, not a cell",
                hint="apply it as it is; its cell is a class of its own, such as gn.nn.LSTMCell",
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
        if truncate is not None:
            Truncation.of("Recurrent", truncate)
        if learned_state:
            self.initial_state = self._parameters("learned_state", self._zeros(1), slice(1, None))

    @property
    def direction(self) -> Direction:
        """The way it goes."""
        return "backward" if self.reverse else "forward"

    @property
    def element_shape(self) -> Shape | None:
        """That of the cell, if it knows it."""
        known: Shape | None = getattr(self.cell, "element_shape", None)
        return known

    def run(self, xs: Any, initial_state: Any, real: Node | None) -> Outcome:
        """Go over sequences with the time axis in front; see :meth:`SequenceLayer.run`."""
        batch = flatten(xs)[0].shape[1]
        carry = self._first(initial_state, batch)
        is_state: dict[int, int] = {}
        steps = flatten(xs)[0].shape[0]
        norms = self._norms(real)
        step = self._step(batch, is_state, real is not None, norms)
        known = [None if each.training else each.of_steps(steps, self.reverse) for each in norms]
        elements = (xs, () if real is None else real, known)
        loop: Callable[..., Any] = unroll if self.unroll else scan
        state, (sequence, found) = loop(
            step, carry, elements, reverse=self.reverse, truncate=self.truncate
        )
        for norm, statistics in zip(norms, found, strict=True):
            if norm.training:
                norm.remember_steps(statistics, self.reverse)
            else:
                norm.remember({})
        if self.stateful:
            self.remember(dict(zip(flatten(self.state), flatten(state), strict=True)))
        # An output that is a part of the state need not be looked for in the sequence.
        states = flatten(state)
        counted = or_all_real(real, steps)
        lasts = (
            _of_real_rows(states[is_state[number]], counted)
            if number in is_state
            else last_step(y, real, self.reverse)
            for number, y in enumerate(flatten(sequence))
        )
        return Outcome(sequence, unflatten(sequence, lasts), state)

    def _step(
        self, batch: Size, is_state: dict[int, int], masked: bool, norms: Sequence[StepNorm]
    ) -> Callable[[Any, Any], tuple[Any, Any]]:
        """The step to scan; it notes which of its outputs are which part of the carry."""
        cell = self.cell.for_sequence(batch) if isinstance(self.cell, Cell) else self.cell
        names = self.cell.state_names if isinstance(self.cell, Cell) else ()
        names = tuple(map(self._label, names)) if self.unroll else names
        what = repr(self)

        def step(carry: Any, element: Any) -> tuple[Any, Any]:
            x, real, known = element
            with ExitStack() as stack:
                pairs = zip(norms, known, strict=True)
                noted = [stack.enter_context(norm.at_step(given)) for norm, given in pairs]
                made = cell(carry, x)
            found = [joined(each) if each else None for each in noted]
            if not isinstance(made, tuple | list) or len(made) != 2:
                raise ArgumentError(
                    f"{what}: a step gives the next carry and an output, not {form_text(made)}",
                    hint="return h, h",
                )
            after, y = made
            leaves = flatten(after)
            name_state(leaves, names)
            for number, leaf in enumerate(flatten(y)):
                if any(leaf is each for each in leaves):
                    is_state[number] = next(n for n, each in enumerate(leaves) if each is leaf)
            if not masked:
                return after, (y, found)
            kept = (
                where(beside(real, new), new, old)
                for new, old in zip(leaves, flatten(carry), strict=True)
            )
            outputs = map_leaves(lambda leaf: where(beside(real, leaf), leaf, 0), y)
            return unflatten(after, kept), (outputs, found)

        return step

    def _norms(self, real: Node | None) -> list[StepNorm]:
        """The layers within the cell that normalise over the batch."""
        if not isinstance(self.cell, Cell):
            return []
        modules = (module for _, module in self.cell.named_modules())
        norms = [each for each in modules if isinstance(each, StepNorm)]
        if real is not None and any(each.training for each in norms):
            raise ArgumentError(
                f"{self!r}: statistics of a batch would count its padding",
                hint="train batch_norm on rows of one length, without lengths or mask",
            )
        return norms

    # ---------------------------------------------------------------------------- its state

    def _parameters(
        self, option: str, zeros: Any, axes: slice = slice(None), *, trainable: bool = True
    ) -> Any:
        """Parameters of the form of a state, zeros at first."""
        for zero in flatten(zeros):
            if not is_known(zero.shape[axes]):
                raise ShapeError(
                    f"{self!r}: {option}=True needs known sizes, and a state is {zero.spec}",
                    hint="give numbers for sizes that have names",
                )
        return map_leaves(
            lambda zero: parameter(
                np.zeros(zero.shape[axes]), dtype=zero.dtype, trainable=trainable
            ),
            zeros,
        )

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
            return given
        if self.initial_state is not None:
            return map_leaves(
                lambda each: broadcast_to(each, (batch, *each.shape)), self.initial_state
            )
        return self._zeros(batch) if kept is None else kept

    def fitted(self, initial_state: Any, batch: Size, what: str) -> Any:
        """An initial state that fits the cell; see :meth:`SequenceLayer.fitted`."""
        if initial_state is None:
            return None
        if not hasattr(self.cell, "zero_state"):
            return map_leaves(as_node, initial_state)
        expected = self.cell.zero_state(batch)
        given = _in_place_of(expected, initial_state)
        leaves = flatten(expected)
        if given is None or any(
            one.spec != two.spec for one, two in zip(given, leaves, strict=True)
        ):
            raise ShapeError(
                f"{what} must be {form_text(expected)}, not {form_text(initial_state)}"
            )
        return unflatten(expected, given)

    def _kept(self, batch: Size) -> Any:
        """The state of the call before; the first call makes the parameters that hold it."""
        if not isinstance(batch, int):
            raise ShapeError(
                f"{self!r}: a state that is kept has a known number of rows, not {batch}",
                hint="give the batch axis of the input a fixed size",
            )
        if self.state is None:
            self.state = self._parameters("stateful", self._zeros(batch), trainable=False)
        rows = flatten(self.state)[0].shape[0]
        if rows != batch:
            raise ShapeError(
                f"{self!r}: the state is kept for {rows} rows, the input has {batch}",
                hint="a copy (copy.deepcopy) keeps a state of its own",
            )
        return self.state

    def _inside(self) -> list[str]:
        return [repr(self.cell), *self._own_flags()]

    def _own_flags(self) -> list[str]:
        """What differs from the default, of the options that not all layers have."""
        names = ("reverse", "stateful", "unroll")
        shown = [f"{name}=True" for name in names if getattr(self, name)]
        shown += [] if self.initial_state is None else ["learned_state=True"]
        return shown if self.truncate is None else [*shown, f"truncate={self.truncate}"]


def _of_real_rows(state: Node, real: Node | None) -> Node:
    """A last state as the last output: 0 for a row of no real step, which has no output."""
    return state if real is None else where(beside(some(real, 0), state), state, 0)


def _in_place_of(expected: Any, given: Any) -> list[Node] | None:
    """The leaves of a state where they are expected, lists in place of tuples too; else None."""
    try:
        found = flatten_like(expected, given)
    except ValueError:
        return None
    for each in found:
        # An array may be given as nested lists; nodes in a container are more than one array.
        if not isinstance(each, Node) and any(isinstance(leaf, Node) for leaf in flatten(each)):
            return None
    return [as_node(each) for each in found]
