"""The recurrent layer: a cell taken over whole sequences, and the states that it begins with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphnn.core.dims import Size
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.state import Parameter, parameter
from graphnn.core.structure import flatten, map_leaves, outline, unflatten
from graphnn.nn.cells import Cell
from graphnn.nn.padding import beside, last_step
from graphnn.nn.sequence_layer import Direction, Outcome, SequenceLayer
from graphnn.ops.arithmetic import where
from graphnn.ops.broadcasting import broadcast_to
from graphnn.ops.operands import as_node
from graphnn.ops.reduction import any as some
from graphnn.ops.scans import scan, unroll

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

    @property
    def direction(self) -> Direction:
        """The way it goes."""
        return "backward" if self.reverse else "forward"

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
            _of_real_rows(states[is_state[number]], real)
            if number in is_state
            else last_step(y, real, self.reverse)
            for number, y in enumerate(flatten(sequence))
        )
        return Outcome(sequence, unflatten(sequence, lasts), state)

    def _step(
        self, batch: Size, is_state: dict[int, int], masked: bool
    ) -> Callable[[Any, Any], tuple[Any, Any]]:
        """The step to scan; it notes which of its outputs are which part of the carry."""
        cell = self.cell.for_sequence(batch) if isinstance(self.cell, Cell) else self.cell
        names = self.cell.state_names if isinstance(self.cell, Cell) else ()
        names = tuple(map(self._label, names)) if self.unroll else ()

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
                where(beside(real, new), new, old)
                for new, old in zip(leaves, flatten(carry), strict=True)
            )
            return unflatten(after, kept), map_leaves(
                lambda leaf: where(beside(real, leaf), leaf, 0), y
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


def _of_real_rows(state: Node, real: Node | None) -> Node:
    """A last state as the last output: 0 for a row of padding alone, which has no output."""
    return state if real is None else where(beside(some(real, 0), state), state, 0)


def _name(leaves: list[Node], names: tuple[str, ...]) -> None:
    """Call the parts of an unrolled carry h[0], c[0], h[1] ..., or layers.0.h[0] ..."""
    for leaf, name in zip(leaves, names, strict=False):
        step = provenance(leaf).step
        if step is not None and leaf.name is None:
            leaf.named(f"{name}[{step}]")


def _learned(zero: Node) -> Parameter:
    return parameter(np.zeros([int(size) for size in zero.shape[1:]]), dtype=zero.dtype)


def _remembered(zero: Node) -> Parameter:
    sizes = [int(size) for size in zero.shape]
    return parameter(np.zeros(sizes), dtype=zero.dtype, trainable=False)


def _specs(tree: Any) -> str:
    """Shapes and dtypes of a state in words."""
    return ", ".join(str(leaf.spec) for leaf in flatten(tree)) or "nothing"
