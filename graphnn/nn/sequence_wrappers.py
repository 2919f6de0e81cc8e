"""Layers over sequences that are made of such layers: stacked, bidirectional, residual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.nn.cells import Cell
from graphnn.nn.dropout import Dropout
from graphnn.nn.module import shortened
from graphnn.nn.padding import last_step
from graphnn.nn.sequence_layer import Direction, Outcome, SequenceLayer
from graphnn.ops.arithmetic import add, multiply
from graphnn.ops.joining import concatenate

__all__ = ["Bidirectional", "Residual", "Stacked"]

MERGES: dict[str, Callable[[Node, Node, int], Node]] = {
    "concat": lambda a, b, axis: concatenate([a, b], axis),
    "sum": lambda a, b, axis: add(a, b),
    "mul": lambda a, b, axis: multiply(a, b),
    "average": lambda a, b, axis: multiply(add(a, b), 0.5),
}
"""Ways to make one output of those of both directions."""


class Stacked(SequenceLayer):
    """Layers over sequences, each applied to all outputs of the one before.

    The state is a tuple with that of each layer; that of one layer alone is not in a tuple.

    Parameters
    ----------
    *layers : SequenceLayer
    dropout : float, default 0
        In training mode, outputs between layers are zeroed at this rate; see `Dropout`.
    variational : bool, default False
        Zero the same features at all steps of a sequence.
    **options
        Those of `SequenceLayer`, which stay at their defaults in the layers within.

    Attributes
    ----------
    layers : list

    Examples
    --------
    >>> import graphnn as gn
    >>> cells = gn.nn.GRUCell(3, 8), gn.nn.LSTMCell(8, 4)
    >>> net = gn.nn.Stacked(*map(gn.nn.Recurrent, cells), dropout=0.2, return_state=True)
    >>> y, (h, (h_above, c_above)) = net(gn.input("x", shape=("time", "batch", 3)))
    >>> y.shape, h.shape, c_above.shape
    ((Dim(batch), 4), (Dim(batch), 8), (Dim(batch), 4))
    """

    def __init__(
        self,
        *layers: SequenceLayer,
        dropout: float = 0.0,
        variational: bool = False,
        **options: bool,
    ) -> None:
        super().__init__(**options)
        if not layers:
            raise ArgumentError(f"{type(self).__name__}: there are no layers")
        self.layers = [_checked(type(self).__name__, each) for each in layers]
        self.dropout = Dropout(dropout, shared_axes=(0,) if variational else ())

    @property
    def direction(self) -> Direction:
        """That of its last layer, which gives the output."""
        return self.layers[-1].direction

    def run(self, xs: Any, initial_state: Any, real: Node | None) -> Outcome:
        """Go through the layers in order; see :meth:`SequenceLayer.run`."""
        states: list[Any] = []
        for layer, given in zip(self.layers, self._shares(initial_state), strict=True):
            inputs = self.dropout(xs) if states else xs
            outcome = layer.run_inside(inputs, given, real)
            states.append(outcome.state)
            xs = outcome.sequence
        return outcome._replace(state=tuple(states) if len(states) > 1 else states[0])

    def _shares(self, initial_state: Any) -> Any:
        """The initial state of every layer."""
        count = len(self.layers)
        if initial_state is None or count == 1:
            return [initial_state] * count
        if not isinstance(initial_state, tuple | list) or len(initial_state) != count:
            raise ArgumentError(
                f"{self!r}: the initial state must be {count} states, one for each layer, "
                f"not {initial_state!r}",
                hint="None stands for the initial state that a layer has without it",
            )
        return initial_state

    def _inside(self) -> list[str]:
        rate = [f"dropout={self.dropout.rate}"] if self.dropout.rate else []
        return [shortened([repr(each) for each in self.layers]), *rate]


class Bidirectional(SequenceLayer):
    """Two layers over the same sequences, one from the first step on, one from the last step on.

    Source: M. Schuster and K. Paliwal, Bidirectional recurrent neural networks (1997). The state
    is the pair of their states. The last output is made of the last one of each layer, which for
    the second one is at the first step.

    Parameters
    ----------
    forward_layer, backward_layer : SequenceLayer
        The second one with ``reverse=True``.
    merge : {"concat", "sum", "mul", "average"}
        How the outputs of both are made one.
    **options
        Those of `SequenceLayer`, which stay at their defaults in the layers within.

    Examples
    --------
    >>> import graphnn as gn
    >>> both = gn.nn.Bidirectional(
    ...     gn.nn.Recurrent(gn.nn.GRUCell(3, 8)),
    ...     gn.nn.Recurrent(gn.nn.GRUCell(3, 8), reverse=True),
    ...     return_sequences=True,
    ... )
    >>> both(gn.input("x", shape=("time", "batch", 3))).shape
    (Dim(time), Dim(batch), 16)
    """

    def __init__(
        self,
        forward_layer: SequenceLayer,
        backward_layer: SequenceLayer,
        *,
        merge: str = "concat",
        **options: bool,
    ) -> None:
        super().__init__(**options)
        if merge not in MERGES:
            raise ArgumentError(
                f"Bidirectional: no merge {merge!r}",
                hint=f"there are {', '.join(map(repr, MERGES))}",
            )
        self.forward_layer = _checked("Bidirectional", forward_layer)
        self.backward_layer = _checked("Bidirectional", backward_layer)
        found = forward_layer.direction, backward_layer.direction
        if found != ("forward", "backward"):
            raise ArgumentError(
                "Bidirectional: the first layer goes forward, the second one backward; these go "
                f"{found[0]} and {found[1]}",
                hint="reverse=True for the second one alone: gn.nn.GRU(3, 8, reverse=True)",
            )
        self.merge = merge

    @property
    def direction(self) -> Direction:
        """Both."""
        return "both"

    def run(self, xs: Any, initial_state: Any, real: Node | None) -> Outcome:
        """Go both ways; see :meth:`SequenceLayer.run`."""
        given = (None, None) if initial_state is None else initial_state
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise ArgumentError(
                f"{self!r}: the initial state must be a pair, one for each direction, not {given!r}"
            )
        one = self.forward_layer.run_inside(xs, given[0], real)
        other = self.backward_layer.run_inside(xs, given[1], real)
        shapes = one.sequence.shape, other.sequence.shape
        if self.merge != "concat" and shapes[0] != shapes[1]:
            raise ShapeError(
                f"{self!r}: the outputs of the directions differ: {shape_text(shapes[0])} "
                f"and {shape_text(shapes[1])}",
                hint='merge="concat" takes any number of features',
            )
        merge = MERGES[self.merge]
        # Features stand behind the rows.
        sequence = merge(one.sequence, other.sequence, 2)
        return Outcome(sequence, merge(one.last, other.last, 1), (one.state, other.state))

    def _inside(self) -> list[str]:
        merge = [] if self.merge == "concat" else [f"merge={self.merge!r}"]
        return [repr(self.forward_layer), repr(self.backward_layer), *merge]


class Residual(SequenceLayer):
    """A layer over sequences whose outputs are added to its inputs.

    Source: K. He et al., arXiv:1512.03385; between recurrent layers: Y. Wu et al.,
    arXiv:1609.08144. The last output has the input of the last step that the layer takes added:
    at the first step if it goes backward, at the last one if it goes forward or both ways.

    Parameters
    ----------
    layer : SequenceLayer
        With as many features in its outputs as in its inputs.
    **options
        Those of `SequenceLayer`, which stay at their defaults in the layer within.

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.Residual(gn.nn.Recurrent(gn.nn.GRUCell(8, 8)))
    >>> layer(gn.input("x", shape=("time", "batch", 8))).shape
    (Dim(batch), 8)
    """

    def __init__(self, layer: SequenceLayer, **options: bool) -> None:
        super().__init__(**options)
        self.layer = _checked("Residual", layer)

    @property
    def direction(self) -> Direction:
        """That of its part."""
        return self.layer.direction

    def run(self, xs: Any, initial_state: Any, real: Node | None) -> Outcome:
        """Go over sequences; see :meth:`SequenceLayer.run`."""
        outcome = self.layer.run_inside(xs, initial_state, real)
        if outcome.sequence.shape != xs.shape:
            raise ShapeError(
                f"{self!r}: outputs {shape_text(outcome.sequence.shape)} are not added to inputs "
                f"{shape_text(xs.shape)}",
                hint="the layer must give as many features as it gets",
            )
        last = last_step(xs, real, self.direction == "backward")
        return Outcome(xs + outcome.sequence, last + outcome.last, outcome.state)

    def _inside(self) -> list[str]:
        return [repr(self.layer)]


def _checked(what: str, layer: Any) -> SequenceLayer:
    """A layer that leaves the options of the outermost one alone."""
    if isinstance(layer, Cell):
        raise ArgumentError(
            f"{what}: {layer!r} is a cell, not a layer over sequences", hint="gn.nn.Recurrent(cell)"
        )
    if not isinstance(layer, SequenceLayer):
        raise ArgumentError(
            f"{what}: {layer!r} is no layer over sequences", hint="such as gn.nn.Recurrent(cell)"
        )
    for option in ("return_sequences", "return_state", "batch_first"):
        if getattr(layer, option):
            raise ArgumentError(
                f"{what}: {option} is said by the outermost layer, not by {layer!r}",
                hint=f"{what}(..., {option}=True)",
            )
    return layer
