"""The base of layers over sequences: where the time lies, what is padding, what is given back.

:mod:`graphnn.nn.recurrent` goes over sequences with a cell, :mod:`graphnn.nn.sequence_wrappers`
holds layers made of such layers.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from graphnn.core.dims import Shape, Size
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.core.structure import flatten, map_leaves
from graphnn.nn.module import Module, note_call
from graphnn.nn.padding import beside, real_steps
from graphnn.ops.arithmetic import where
from graphnn.ops.movement import moveaxis
from graphnn.ops.operands import as_node

__all__ = ["SequenceLayer"]

Direction = Literal["forward", "backward", "both"]
"""The way that a layer goes over sequences, at the end of which its last output lies."""


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
            Outputs of padding are 0. The last output of a row is that of its last real step, 0 if
            it has none.
        state : Node or nested structure of Node
            With ``return_state``, the state after the last real step, the initial one if there
            is none.

        Raises
        ------
        ShapeError, DTypeError, ArgumentError
            If the input, the initial state, lengths or mask do not fit.
        """
        xs = map_leaves(self._time_first, x)
        steps, batch = self._sizes(xs)
        state = self.fitted(initial_state, batch, f"{self!r}: the initial state")
        real = real_steps(repr(self), (steps, batch), lengths, mask, batch_first=self.batch_first)
        if real is not None:
            # Padding may be anything, NaN as well, and must not even reach a product with 0.
            xs = map_leaves(lambda leaf: where(beside(real, leaf), leaf, 0), xs)
        outcome = self.run(xs, state, real)
        time_axis = 1 if self.batch_first else 0
        y = outcome.last
        if self.return_sequences:
            y = map_leaves(lambda leaf: moveaxis(leaf, 0, time_axis), outcome.sequence)
        return (y, outcome.state) if self.return_state else y

    def fitted(self, initial_state: Any, batch: Size, what: str) -> Any:
        """An initial state that is given, checked; ``None`` stands for that which the layer has.

        Parameters
        ----------
        initial_state : Node or nested structure of Node, or None
        batch : int or Dim
            Number of rows.
        what : str
            How messages begin.
        """
        return initial_state

    @property
    def element_shape(self) -> Shape | None:
        """Shape of one step of one row, of a layer that knows it."""
        return None

    def run(self, xs: Any, initial_state: Any, real: Node | None) -> Outcome:
        """Go over sequences with the time axis in front.

        Parameters
        ----------
        xs : Node or nested structure of Node
            Of shape (time, batch, ...), with zeros for padding.
        initial_state : Node or nested structure of Node, or None
            As `fitted` gives it.
        real : Node, or None
            bool of shape (time, batch): which steps are no padding.
        """
        raise NotImplementedError(f"{type(self).__name__} has no run")

    def run_inside(self, xs: Any, initial_state: Any, real: Node | None) -> Outcome:
        """``run`` for a layer around this one."""
        with self._at_work():
            outcome = self.run(xs, initial_state, real)
        note_call(self, outcome.sequence)
        return outcome

    @property
    def direction(self) -> Direction:
        """The way it goes; a layer that does not go forward says so."""
        return "forward"

    # ------------------------------------------------------------------------- what is given

    def _time_first(self, x: Any) -> Node:
        x = as_node(x)
        if x.ndim < 2:
            raise ShapeError(
                f"{self!r}: the input must be {self._layout('...')}, not {shape_text(x.shape)}",
                hint="nested lists are structures of inputs; make one array of them: np.array(...)"
                if x.ndim == 0
                else None,
            )
        return moveaxis(x, 1, 0) if self.batch_first else x

    def _layout(self, *element: Any) -> str:
        """The axes of the input in words."""
        axes = ("batch", "time") if self.batch_first else ("time", "batch")
        return f"({', '.join(map(str, (*axes, *element)))})"

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
        element = self.element_shape
        if isinstance(xs, Node) and element is not None and xs.shape[2:] != element:
            shape = moveaxis(xs, 0, 1).shape if self.batch_first else xs.shape
            raise ShapeError(
                f"{self!r}: the input must be {self._layout(*element)}, it is {shape_text(shape)}"
            )
        return steps, batch

    def extra_repr(self) -> str:
        """What is inside, and what differs from the default."""
        return ", ".join([*self._inside(), *self._flags()])

    def _inside(self) -> list[str]:
        return []

    def _flags(self) -> list[str]:
        names = ("return_sequences", "return_state", "batch_first")
        return [f"{name}=True" for name in names if getattr(self, name)]
