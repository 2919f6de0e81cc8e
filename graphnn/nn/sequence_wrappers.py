"""Layers over sequences that are made of such layers: stacked, bidirectional, residual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphnn.core.arguments import require_known
from graphnn.core.dims import Shape, Size
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.core.structure import form_text
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
        what = type(self).__name__
        if not layers:
            raise ArgumentError(f"{what}: there are no layers")
        if variational and not dropout:
            raise ArgumentError(
                f"{what}: variational=True is a kind of dropout, and there is none",
                hint="dropout=0.2 between layers",
            )
        self.layers = [_checked(what, each) for each in layers]
        self.dropout = Dropout(dropout, shared_axes=(0,) if variational else ())

    @property
    def element_shape(self) -> Shape | None:
        """That of the first layer."""
        return self.layers[0].element_shape

    @property
    def direction(self) -> Direction:
        """That of its last layer, which gives the output."""
        return self.layers[-1].direction

    def run(self, xs: Any, initial_state: Any, real: Node | None) -> Outcome:
        """Go through the layers in order; see :meth:`SequenceLayer.run`."""
        states: list[Any] = []
        count = len(self.layers)
        shares = [initial_state] * count if count == 1 or initial_state is None else initial_state
        for layer, given in zip(self.layers, shares, strict=True):
            inputs = self.dropout(xs) if states else xs
            outcome = layer.run_inside(inputs, given, real)
            states.append(outcome.state)
            xs = outcome.sequence
        return outcome._replace(state=tuple(states) if count > 1 else states[0])

    def fitted(self, initial_state: Any, batch: Size, what: str) -> Any:
        """A state for every layer; see `SequenceLayer.fitted`."""
        count = len(self.layers)
        if count == 1 or initial_state is None:
            return self.layers[0].fitted(initial_state, batch, what)
        if not isinstance(initial_state, tuple | list) or len(initial_state) != count:
            raise ArgumentError(
                f"{what} must be {count} states, one for each layer, "
                f"not {form_text(initial_state)}",
                hint="None stands for the initial state that a layer has without it",
            )
        return tuple(
            layer.fitted(given, batch, f"{what} for layer {number}")
            for number, (layer, given) in enumerate(zip(self.layers, initial_state, strict=True))
        )

    def _inside(self) -> list[str]:
        return [shortened([repr(each) for each in self.layers]), *self._dropping()]

    def _dropping(self) -> list[str]:
        if not self.dropout.rate:
            return []
        rate = f"dropout={self.dropout.rate}"
        return [rate, "variational=True"] if self.dropout.shared_axes else [rate]


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
        require_known("Bidirectional", "merge", merge, MERGES)
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

    def fitted(self, initial_state: Any, batch: Size, what: str) -> Any:
        """A state for each direction; see `SequenceLayer.fitted`."""
        if initial_state is None:
            return None
        if not isinstance(initial_state, tuple | list) or len(initial_state) != 2:
            raise ArgumentError(
                f"{what} must be a pair, one for each direction, not {form_text(initial_state)}"
            )
        layers = {"forward": self.forward_layer, "backward": self.backward_layer}
        return tuple(
            layer.fitted(given, batch, f"{what} for the {way} layer")
            for (way, layer), given in zip(layers.items(), initial_state, strict=True)
        )

    @property
    def element_shape(self) -> Shape | None:
        """That of both layers."""
        return self.forward_layer.element_shape

    @property
    def direction(self) -> Direction:
        """Both."""
        return "both"

    def run(self, xs: Any, initial_state: Any, real: Node | None) -> Outcome:
        """Go both ways; see :meth:`SequenceLayer.run`."""
        given = (None, None) if initial_state is None else initial_state
        one = self.forward_layer.run_inside(xs, given[0], real)
        other = self.backward_layer.run_inside(xs, given[1], real)
        for outcome in (one, other):
            _require_one_array(self, outcome.sequence)
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

    def fitted(self, initial_state: Any, batch: Size, what: str) -> Any:
        """A state for the part; see `SequenceLayer.fitted`."""
        return self.layer.fitted(initial_state, batch, what)

    @property
    def element_shape(self) -> Shape | None:
        """That of its part."""
        return self.layer.element_shape

    @property
    def direction(self) -> Direction:
        """That of its part."""
        return self.layer.direction

    def run(self, xs: Any, initial_state: Any, real: Node | None) -> Outcome:
        """Go over sequences; see :meth:`SequenceLayer.run`."""
        outcome = self.layer.run_inside(xs, initial_state, real)
        _require_one_array(self, outcome.sequence)
        _require_one_array(self, xs)
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


def _require_one_array(layer: SequenceLayer, sequence: Any) -> None:
    """Only arrays are merged or added, no structures of them."""
    if not isinstance(sequence, Node):
        raise ArgumentError(
            f"{layer!r}: inputs and outputs of the layers within must be one array, not "
            f"{form_text(sequence)}"
        )
