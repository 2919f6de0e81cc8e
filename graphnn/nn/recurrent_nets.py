"""Recurrent nets by name: cells of one kind, stacked, in one direction or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from graphnn.core.arguments import options_of, require_known, require_positive
from graphnn.core.errors import ArgumentError
from graphnn.nn.cells import Cell, WeightedCell
from graphnn.nn.conv_lstm import ConvLSTMCell
from graphnn.nn.gated_cells import GRUCell, LSTMCell, MinimalGatedCell
from graphnn.nn.recurrent import Recurrent
from graphnn.nn.sequence_layer import SequenceLayer
from graphnn.nn.sequence_wrappers import Bidirectional, Residual, Stacked
from graphnn.nn.simple_cells import JordanCell, SimpleRNNCell

__all__ = [
    "GRU",
    "LSTM",
    "ConvLSTM",
    "Elman",
    "Jordan",
    "MinimalGatedUnit",
    "RecurrentNet",
    "SimpleRNN",
]


class RecurrentNet(Stacked):
    """Cells of one kind over sequences; the subclasses differ in ``cell_type`` alone.

    Parameters
    ----------
    in_features : int
    hidden_features : int
    *sizes
        What else the cell takes by position.
    num_layers : int, default 1
    dropout, variational
        Between layers; see `Stacked`.
    bidirectional : bool, default False
        Every layer goes both ways; see `Bidirectional`.
    merge : {"concat", "sum", "mul", "average"}
    residual : bool, default False
        Layers that give as many features as they get add what they get; see `Residual`.
    return_sequences, return_state, batch_first : bool, default False
        See `SequenceLayer`.
    reverse, learned_state, stateful, unroll, truncate
        Of every layer; see `Recurrent`.
    **options
        Those of the cell.

    Attributes
    ----------
    layers : list
        Parameters are called ``layers.0.cell.input_weight``; with both directions,
        ``layers.0.forward_layer.cell.input_weight`` and ``layers.0.backward_layer...``; of
        residual layers, ``layers.0.layer.cell.input_weight``.
    """

    cell_type: ClassVar[Callable[..., Cell]]

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *sizes: Any,
        num_layers: int = 1,
        dropout: float = 0.0,
        variational: bool = False,
        bidirectional: bool = False,
        merge: str = "concat",
        residual: bool = False,
        return_sequences: bool = False,
        return_state: bool = False,
        batch_first: bool = False,
        reverse: bool = False,
        learned_state: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        truncate: int | tuple[int, int] | None = None,
        **options: Any,
    ) -> None:
        what = type(self).__name__
        if isinstance(self.cell_type, type) and issubclass(self.cell_type, WeightedCell):
            known = options_of(type(self)) | options_of(self.cell_type)
            for option in options:
                require_known(what, "option", option, known)
        require_positive(what, num_layers=num_layers)
        if merge != "concat" and not bidirectional:
            raise ArgumentError(
                f"{what}: merge={merge!r} is for both directions, and there is one",
                hint="bidirectional=True",
            )
        if bidirectional and reverse:
            raise ArgumentError(f"{what}: one of both directions is reversed already")
        if num_layers == 1 and dropout:
            raise ArgumentError(
                f"{what}: dropout is between layers, and there is one layer",
                hint="recurrent_dropout= is within a layer, gn.nn.Dropout(...) behind it",
            )

        def recurrent(features: int, *, reverse: bool) -> Recurrent:
            return Recurrent(
                self.cell_type(features, hidden_features, *sizes, **options),
                reverse=reverse,
                learned_state=learned_state,
                stateful=stateful,
                unroll=unroll,
                truncate=truncate,
            )

        layers: list[SequenceLayer] = []
        features = in_features
        for _ in range(num_layers):
            one = recurrent(features, reverse=reverse)
            layer: SequenceLayer = one
            if not hasattr(one.cell, "out_features"):
                raise ArgumentError(
                    f"{what}: {one.cell!r} does not say how many features it gives",
                    hint="set out_features in its constructor",
                )
            made: int = one.cell.out_features
            if bidirectional:
                layer = Bidirectional(one, recurrent(features, reverse=True), merge=merge)
                made = 2 * made if merge == "concat" else made
            layers.append(Residual(layer) if residual and made == features else layer)
            features = made
        if residual and not any(isinstance(each, Residual) for each in layers):
            raise ArgumentError(
                f"{what}: no layer gives as many features as it gets, so nothing can be added",
                hint=f"layers give {features}",
            )
        super().__init__(
            *layers,
            dropout=dropout,
            variational=variational,
            return_sequences=return_sequences,
            return_state=return_state,
            batch_first=batch_first,
        )
        self.out_features = features
        self._described = self._description(bidirectional, merge, residual)

    def _description(self, bidirectional: bool, merge: str, residual: bool) -> list[str]:
        """What the repr says: sizes, and what differs from the default."""
        first = next(module for _, module in self.named_modules() if isinstance(module, Recurrent))
        count = len(self.layers)
        return [
            first.cell.extra_repr(),
            *([f"num_layers={count}"] if count > 1 else []),
            *self._dropping(),
            *(["bidirectional=True"] if bidirectional else []),
            *([f"merge={merge!r}"] if bidirectional and merge != "concat" else []),
            *(["residual=True"] if residual else []),
            *first._own_flags(),
        ]

    def _inside(self) -> list[str]:
        return self._described


class SimpleRNN(RecurrentNet):
    """The simple recurrent net: `SimpleRNNCell` over sequences.

    ``SimpleRNN(in_features, hidden_features, ...)``; options are those of `RecurrentNet` and of
    the cell. With ``out_features`` it is `Elman`.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(20, "batch", 3))
    >>> gn.nn.SimpleRNN(3, 8)(x).shape
    (Dim(batch), 8)
    >>> gn.nn.SimpleRNN(3, 8, return_sequences=True, activation=gn.relu)(x).shape
    (20, Dim(batch), 8)
    """

    cell_type = SimpleRNNCell


class Elman(RecurrentNet):
    """The simple recurrent net with a layer of outputs above: `SimpleRNNCell` over sequences.

    ``Elman(in_features, hidden_features, out_features, ...)``; options are those of
    `RecurrentNet` and of the cell.

    Examples
    --------
    >>> import graphnn as gn
    >>> net = gn.nn.Elman(3, 8, 2, output_activation=gn.sigmoid, return_sequences=True)
    >>> net(gn.input("x", shape=("time", "batch", 3))).shape
    (Dim(time), Dim(batch), 2)
    """

    cell_type = SimpleRNNCell

    def __init__(
        self, in_features: int, hidden_features: int, out_features: int, **options: Any
    ) -> None:
        super().__init__(in_features, hidden_features, out_features, **options)


class Jordan(RecurrentNet):
    """The recurrent net whose outputs come back: `JordanCell` over sequences.

    ``Jordan(in_features, hidden_features, out_features, ...)``; options are those of
    `RecurrentNet` and of the cell.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.Jordan(3, 8, 2, alpha=0.5)(gn.input("x", shape=("time", "batch", 3))).shape
    (Dim(batch), 2)
    """

    cell_type = JordanCell


class LSTM(RecurrentNet):
    """The long short-term memory: `LSTMCell` over sequences.

    ``LSTM(in_features, hidden_features, ...)``; options are those of `RecurrentNet` and of the
    cell.

    Examples
    --------
    >>> import graphnn as gn
    >>> net = gn.nn.LSTM(3, 8, num_layers=2, bidirectional=True, return_state=True)
    >>> net
    LSTM(3, 8, num_layers=2, bidirectional=True, return_state=True)
    >>> y, states = net(gn.input("x", shape=("time", "batch", 3)))
    >>> (h, c), (h_back, c_back) = states[1]  # of the upper layer
    >>> y.shape, c_back.shape
    ((Dim(batch), 16), (Dim(batch), 8))
    """

    cell_type = LSTMCell


class GRU(RecurrentNet):
    """The gated recurrent unit: `GRUCell` over sequences.

    ``GRU(in_features, hidden_features, ...)``; options are those of `RecurrentNet` and of the
    cell.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.GRU(3, 8, num_layers=2, dropout=0.1, form="concatenated")
    GRU(3, 8, form='concatenated', update='replace', num_layers=2, dropout=0.1)
    """

    cell_type = GRUCell


class MinimalGatedUnit(RecurrentNet):
    """The minimal gated unit: `MinimalGatedCell` over sequences.

    ``MinimalGatedUnit(in_features, hidden_features, ...)``; options are those of `RecurrentNet`
    and of the cell.

    Examples
    --------
    >>> import graphnn as gn
    >>> net = gn.nn.MinimalGatedUnit(3, 8, num_layers=2, return_sequences=True)
    >>> net(gn.input("x", shape=("time", "batch", 3))).shape
    (Dim(time), Dim(batch), 8)
    """

    cell_type = MinimalGatedCell


class ConvLSTM(RecurrentNet):
    """The convolutional LSTM: `ConvLSTMCell` over sequences of pictures.

    ``ConvLSTM(in_features, hidden_features, spatial_shape, kernel_size, ...)``; options are those
    of `RecurrentNet` and of the cell.

    Examples
    --------
    >>> import graphnn as gn
    >>> net = gn.nn.ConvLSTM(1, 8, (16, 16), 3, num_layers=2)
    >>> net(gn.input("x", shape=("time", "batch", 1, 16, 16))).shape
    (Dim(batch), 8, 16, 16)
    """

    cell_type = ConvLSTMCell

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        spatial_shape: Sequence[Any],
        kernel_size: int | Sequence[int],
        **options: Any,
    ) -> None:
        super().__init__(in_features, hidden_features, spatial_shape, kernel_size, **options)
