"""Recurrent cells: one step of a recurrent net. Here are the bases of all.

A cell is called with a carry and one element of a sequence and gives the next carry and an output,
so that it fits :func:`graphnn.scan`; :class:`graphnn.nn.Recurrent` goes over sequences with it.
Cells are in :mod:`graphnn.nn.simple_cells`, :mod:`graphnn.nn.gated_cells` and
:mod:`graphnn.nn.conv_lstm`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import graphnn.init as initializers
from graphnn.core.arguments import (
    options_of,
    require_known,
    require_number,
    require_positive,
)
from graphnn.core.dims import Shape, Size, as_size
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.spec import shape_text
from graphnn.core.state import Parameter, parameter
from graphnn.core.structure import flatten, form_text
from graphnn.nn.module import Module
from graphnn.nn.step_norm import StepNorm
from graphnn.ops.arithmetic import multiply
from graphnn.ops.creation import zeros
from graphnn.ops.normalization import layer_norm as normalized
from graphnn.ops.operands import as_node
from graphnn.ops.products import matmul
from graphnn.ops.random import dropout_mask

__all__ = ["Cell", "WeightedCell"]

Activation = Callable[[Node], Node]
"""What cells take as an activation: a function from node to node, or a layer."""


class Cell(Module):
    """One step of a recurrent net: the base of all cells, and of a user's own.

    A subclass gives ``zero_state(batch)`` and ``forward(carry, x)``.

    Attributes
    ----------
    in_features, hidden_features, out_features : int
        Sizes of the input of a step, of its state and of its output.
    state_names : tuple of str
        What the parts of the carry are called in unrolled graphs.

    Examples
    --------
    A leaky sum of the inputs, with a learned leak for every feature:

    >>> import graphnn as gn
    >>> class LeakyCell(gn.nn.Cell):
    ...     def __init__(self, features):
    ...         self.in_features = self.hidden_features = self.out_features = features
    ...         self.leak = gn.parameter([0.0] * features)
    ...     def zero_state(self, batch):
    ...         return gn.zeros((batch, self.hidden_features))
    ...     def forward(self, h, x):
    ...         h = gn.sigmoid(self.leak) * h + x
    ...         return h, h
    >>> x = gn.input("x", shape=("time", "batch", 3))
    >>> gn.nn.Recurrent(LeakyCell(3))(x).shape
    (Dim(batch), 3)
    """

    in_features: int
    hidden_features: int
    out_features: int
    state_names: tuple[str, ...] = ("h",)

    def zero_state(self, batch: Size | str) -> Any:
        """The carry before the first step: zeros for every row of a batch."""
        raise NotImplementedError(f"{type(self).__name__} has no zero_state")

    def forward(self, carry: Any, x: Any) -> tuple[Any, Any]:
        """The carry after a step, and the output of the step."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def for_sequence(self, batch: Size | str) -> Callable[[Any, Any], tuple[Any, Any]]:
        """The step to take over one batch of sequences: what all its steps share is drawn here."""
        return self


class WeightedCell(Cell):
    """A cell with weights for its input and its state, those of all gates side by side.

    Parameters
    ----------
    in_features, hidden_features : int
    bias : bool, default True
    layer_norm : bool, default False
        Normalise ``x @ input_weight`` and ``h @ recurrent_weight`` over the columns of all gates,
        each with a gain of its own (J. L. Ba et al., Layer normalization, 2016).
    batch_norm : int, optional
        Normalise both over the batch, with running statistics for so many time steps; see
        :class:`graphnn.nn.StepNorm`.
    recurrent_dropout : float, default 0
        In training mode, the state that ``recurrent_weight`` is multiplied with loses elements at
        this rate, the same ones at all steps of a sequence (Y. Gal and Z. Ghahramani, A
        theoretically grounded application of dropout in recurrent neural networks, 2016).
    init, recurrent_init : initialiser
        Of the weights of each gate; default: :func:`graphnn.init.glorot_uniform` and
        :func:`graphnn.init.orthogonal`.
    bias_init : initialiser, default :func:`graphnn.init.zeros`
    rng : numpy.random.Generator, optional
    dtype : optional
        Default float32.

    Attributes
    ----------
    gates : int
        How many of ``hidden_features`` columns the weights have: 1, or what a subclass sets before
        it calls this constructor.
    recurrent_features : int
        Size of what ``recurrent_weight`` is multiplied with: ``hidden_features``, or what a
        subclass sets.
    input_weight : Parameter of shape (in_features, gates * hidden_features)
    recurrent_weight : Parameter of shape (recurrent_features, gates * hidden_features)
    bias : Parameter of shape (gates * hidden_features,), or None
    input_gain, recurrent_gain : Parameter of the shape of the bias, or None
    input_norm, recurrent_norm : StepNorm, or None
    """

    gates: int = 1
    recurrent_features: int

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        bias: bool = True,
        layer_norm: bool = False,
        batch_norm: int | None = None,
        recurrent_dropout: float = 0.0,
        init: initializers.Initializer = initializers.glorot_uniform,
        recurrent_init: initializers.Initializer = initializers.orthogonal,
        bias_init: initializers.Initializer = initializers.zeros,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
        **unknown: Any,
    ) -> None:
        what = type(self).__name__
        for option in unknown:
            require_known(what, "option", option, options_of(type(self)))
        require_positive(what, in_features=in_features, hidden_features=hidden_features)
        self.in_features = in_features
        self.hidden_features = self.out_features = hidden_features
        if not hasattr(self, "recurrent_features"):
            self.recurrent_features = hidden_features
        self.layer_norm = layer_norm
        self.recurrent_dropout = require_number(
            what, "recurrent_dropout", recurrent_dropout, below=1.0
        )
        self._init, self._bias_init, self._rng, self._dtype = init, bias_init, rng, dtype
        columns = (self.gates * hidden_features,)
        self.input_weight = self._weight(init, in_features)
        self.recurrent_weight = self._weight(recurrent_init, self.recurrent_features)
        self.bias = self._parameter(bias_init, columns) if bias else None
        self.input_gain = self._parameter(initializers.ones, columns) if layer_norm else None
        self.recurrent_gain = self._parameter(initializers.ones, columns) if layer_norm else None
        if layer_norm and batch_norm is not None:
            raise ArgumentError(
                f"{what}: what a layer normalises need not be normalised over the batch",
                hint="layer_norm=True or batch_norm=steps",
            )
        self.input_norm = self._step_norm(batch_norm, columns[0])
        self.recurrent_norm = self._step_norm(batch_norm, columns[0])

    # ------------------------------------------------------------------------- its parameters

    def _parameter(self, init: initializers.Initializer, shape: tuple[int, ...]) -> Parameter:
        """A parameter of this cell's dtype."""
        return parameter(init(shape, self._rng), dtype=self._dtype)

    def _step_norm(self, steps: int | None, features: int, shift: bool = False) -> StepNorm | None:
        return None if steps is None else StepNorm(features, steps, shift=shift, dtype=self._dtype)

    def _weight(self, init: initializers.Initializer, rows: int) -> Parameter:
        """A weight of all gates side by side; each is initialised as a matrix of its own."""
        blocks = [init((rows, self.hidden_features), self._rng) for _ in range(self.gates)]
        return parameter(np.concatenate(blocks, axis=1), dtype=self._dtype)

    # -------------------------------------------------------------------------- within a step

    @property
    def element_shape(self) -> Shape:
        """Shape of the input of a step without the batch."""
        return (self.in_features,)

    def _zeros(self, batch: Size | str, features: int) -> Node:
        return zeros((batch, features), self.input_weight.dtype)

    def zero_state(self, batch: Size | str) -> Any:
        """The carry before the first step: zeros for every row of a batch."""
        return self._zeros(batch, self.hidden_features)

    def for_sequence(self, batch: Size | str) -> Callable[[Any, Any], tuple[Any, Any]]:
        """The step to take over one batch of sequences: its mask of dropout is drawn here."""
        if not self.training or self.recurrent_dropout == 0:
            return self
        h = flatten(self.zero_state(batch))[0]
        mask = dropout_mask(None, self.recurrent_dropout, h.shape, h.dtype)
        return partial(self, recurrent_mask=mask)

    def _checked(self, carry: Any, x: Any) -> Any:
        """The carry, if it has the form of this cell's."""
        expected = self.zero_state("batch")
        given = [getattr(leaf, "shape", None) for leaf in flatten(carry)]
        fits = len(given) == len(flatten(expected)) and all(
            shape is not None and shape[1:] == leaf.shape[1:]
            for shape, leaf in zip(given, flatten(expected), strict=True)
        )
        if fits and (isinstance(carry, tuple | list) == isinstance(expected, tuple)):
            return carry
        raise ShapeError(
            f"{self!r}: the carry of a step must be {form_text(expected)}, not {form_text(carry)}",
            hint="carry first: carry, y = cell(carry, x)",
        )

    def _from_input(self, x: Any) -> Node:
        """What the input of a step adds to all gates, bias and all."""
        x = as_node(x)
        if x.ndim == 0 or x.shape[1:] != self.element_shape:
            expected = shape_text((as_size("batch"), *self.element_shape))
            raise ShapeError(
                f"{self!r}: the input of a step must be {expected}, it is {shape_text(x.shape)}",
                hint="a sequence has one more axis: (time, batch, ...), or with batch_first=True "
                "(batch, time, ...)",
            )
        y = self._normalized(self._product(x, self.input_weight), self.input_gain)
        y = y if self.input_norm is None else self.input_norm(y)
        return y if self.bias is None else self._shifted(y, self.bias)

    def _from_state(
        self, h: Node, mask: Node | None, first: int = 0, last: int | None = None
    ) -> Node:
        """What the state adds to some gates, all by default."""
        part = slice(first * self.hidden_features, last and last * self.hidden_features)
        kept = h if mask is None else multiply(h, mask)
        product = self._product(kept, self._gates_of(self.recurrent_weight, part))
        if self.recurrent_norm is not None:
            normed: Node = self.recurrent_norm(product, part)
            return normed
        gain = self.recurrent_gain
        return self._normalized(product, gain if gain is None else gain[part])

    def _normalized(self, y: Node, gain: Node | None, shift: Node | None = None) -> Node:
        return y if gain is None else normalized(y, gain, shift, axis=1)

    def _split(self, sums: Node, gates: int | None = None) -> list[Node]:
        """Gates that lie side by side, one by one; all by default."""
        size = self.hidden_features
        return [sums[:, n * size : (n + 1) * size] for n in range(gates or self.gates)]

    # What a convolutional cell does in another way.

    def _product(self, x: Node, weight: Node) -> Node:
        return matmul(x, weight)

    def _gates_of(self, weight: Node, part: slice) -> Node:
        return weight if part == slice(0, None) else weight[:, part]

    def _shifted(self, y: Node, bias: Node) -> Node:
        return y + bias

    def _sizes(self) -> list[Any]:
        """What is given by position."""
        return [self.in_features, self.hidden_features]

    def extra_repr(self) -> str:
        """The sizes, and what differs from the default."""
        sizes = ", ".join(map(str, self._sizes()))
        chosen = {
            "layer_norm=True": self.layer_norm,
            f"batch_norm={self.input_norm and self.input_norm.steps}": self.input_norm is not None,
            "bias=False": self.bias is None,
            f"recurrent_dropout={self.recurrent_dropout:g}": self.recurrent_dropout != 0,
        }
        shown = [sizes, *(text for text, differs in chosen.items() if differs)]
        for name, usual in options_of(type(self)).items():
            if name.endswith("activation"):
                given = getattr(self, name, usual)
                shown += [] if given is usual else [f"{name}={getattr(given, '__name__', given)}"]
        return ", ".join(shown)


def name_state(leaves: Sequence[Node], names: tuple[str, ...]) -> None:
    """Call the parts of a carry h and c; unrolled ones h[0], h[1] ..., or layers.0.h[0] ..."""
    for leaf, name in zip(leaves, names, strict=False):
        step = provenance(leaf).step
        if leaf.name is None:
            leaf.named(name if step is None else f"{name}[{step}]")
