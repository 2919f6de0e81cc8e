"""Recurrent cells with gates: LSTM and its variants, GRU in both forms, minimal gated unit."""

from __future__ import annotations

from functools import partial
from typing import Any

import graphnn.init as initializers
from graphnn.core.arguments import require_function, require_known, require_positive
from graphnn.core.dims import Size
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.state import Parameter
from graphnn.nn.cells import Activation, WeightedCell
from graphnn.ops.activation import sigmoid
from graphnn.ops.products import matmul
from graphnn.ops.trigonometric import tanh

__all__ = ["GRUCell", "LSTMCell", "MinimalGatedCell"]


class LSTMCell(WeightedCell):
    """One step of the long short-term memory of S. Hochreiter and J. Schmidhuber (1997).

    With gates from ``x @ input_weight + h_before @ recurrent_weight + bias``::

        i, f, o = sigmoid(.), sigmoid(.), sigmoid(.);  g = tanh(.)
        c = f * c_before + i * g
        h = o * tanh(c)

    The carry is ``(h, c)``, the output ``h``. Columns are those of i, f, g, o in this order, as in
    PyTorch.

    Parameters
    ----------
    in_features, hidden_features : int
    activation : callable, default ``gn.tanh``
        Of g.
    recurrent_activation : callable, default ``gn.sigmoid``
        Of the gates i, f and o.
    output_activation : callable, default ``gn.tanh``
        Of c in the output.
    forget_bias : float, default 1
        Added to the first bias of f, so that a new net remembers (F. Gers et al., Learning to
        forget, 2000; R. Jozefowicz et al., 2015). PyTorch's is 0.
    peephole : bool, default False
        i and f see ``c_before``, o sees c, each through a weight for every feature (F. Gers and
        J. Schmidhuber, Recurrent nets that time and count, 2000).
    coupled : bool, default False
        ``i = 1 - f`` (K. Greff et al., LSTM: a search space odyssey, 2015): columns are f, g, o.
    projection : int, optional
        ``h = (o * tanh(c)) @ projection_weight`` of that size (H. Sak et al., 2014): PyTorch's
        ``proj_size``.
    **options
        Those of :class:`WeightedCell`. With ``layer_norm`` or ``batch_norm``, c is normalised too
        where it goes to the output.

    Attributes
    ----------
    peephole_weight : Parameter of shape (3, hidden_features), or None
        Rows are those of i, f, o; of f, o if coupled. Zeros at first.
    projection_weight : Parameter of shape (hidden_features, projection), or None
    cell_gain, cell_shift : Parameter of shape (hidden_features,), or None
        Of the normalised c.
    cell_norm : StepNorm, or None

    Examples
    --------
    >>> import graphnn as gn
    >>> net = gn.nn.Recurrent(gn.nn.LSTMCell(3, 8, peephole=True), return_sequences=True)
    >>> net(gn.input("x", shape=("time", "batch", 3))).shape
    (Dim(time), Dim(batch), 8)
    """

    state_names = ("h", "c")

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        activation: Activation = tanh,
        recurrent_activation: Activation = sigmoid,
        output_activation: Activation = tanh,
        forget_bias: float = 1.0,
        peephole: bool = False,
        coupled: bool = False,
        projection: int | None = None,
        **options: Any,
    ) -> None:
        if projection is not None:
            require_positive(type(self).__name__, projection=projection)
        self.coupled = coupled
        self.gates = 3 if coupled else 4
        self.recurrent_features = hidden_features if projection is None else projection
        super().__init__(in_features, hidden_features, **options)
        require_function(
            type(self).__name__,
            activation=activation,
            recurrent_activation=recurrent_activation,
            output_activation=output_activation,
        )
        self.activation = activation
        self.recurrent_activation = recurrent_activation
        self.output_activation = output_activation
        self.out_features = self.recurrent_features
        self.forget_bias = forget_bias
        if self.bias is not None:
            first = 0 if coupled else hidden_features
            self._add_to_bias(slice(first, first + hidden_features), forget_bias)
        zero, one = initializers.zeros, partial(initializers.constant, value=1.0)
        self.peephole_weight = self._peepholes() if peephole else None
        self.projection_weight = self.cell_gain = self.cell_shift = None
        if projection is not None:
            self.projection_weight = self._parameter(self._init, (hidden_features, projection))
        steps = None if self.input_norm is None else self.input_norm.steps
        self.cell_norm = self._step_norm(steps, hidden_features, shift=True)
        if self.layer_norm:
            self.cell_gain = self._parameter(one, (hidden_features,))
            self.cell_shift = self._parameter(zero, (hidden_features,))

    def _add_to_bias(self, part: slice, number: float) -> None:
        assert self.bias is not None
        value: Array = self.bias.value
        value[part] += number
        self.bias.value = value

    def _peepholes(self) -> Parameter:
        rows = 2 if self.coupled else 3
        return self._parameter(initializers.zeros, (rows, self.hidden_features))

    def zero_state(self, batch: Size | str) -> tuple[Node, Node]:
        """The state and the cell before the first step: zeros."""
        return (
            self._zeros(batch, self.recurrent_features),
            self._zeros(batch, self.hidden_features),
        )

    def forward(
        self, carry: tuple[Node, Node], x: Any, recurrent_mask: Node | None = None
    ) -> tuple[tuple[Node, Node], Node]:
        """One step: from (h, c) to (h, c), and h."""
        h, before = self._checked(carry, x)
        sums = self._from_input(x) + self._from_state(h, recurrent_mask)
        parts = self._split(sums)
        names = "fgo" if self.coupled else "ifgo"
        gates = dict(zip(names, parts, strict=True))
        f = self._gate(gates, "f", before)
        i = (1.0 - f).named("i") if self.coupled else self._gate(gates, "i", before)
        c = f * before + i * self.activation(gates["g"]).named("g")
        o = self._gate(gates, "o", c)
        seen = self._normalized(c, self.cell_gain, self.cell_shift)
        seen = seen if self.cell_norm is None else self.cell_norm(seen)
        h = o * self.output_activation(seen)
        if self.projection_weight is not None:
            h = matmul(h, self.projection_weight)
        return (h, c), h

    def _gate(self, gates: dict[str, Node], name: str, seen: Node) -> Node:
        """A gate, which may see c through its peephole."""
        gate = gates[name]
        if self.peephole_weight is not None:
            row = ("fo" if self.coupled else "ifo").index(name)
            gate = gate + self.peephole_weight[row] * seen
        return self.recurrent_activation(gate).named(name)

    def extra_repr(self) -> str:
        """The sizes, and which variant it is."""
        chosen = {
            f"forget_bias={self.forget_bias:g}": self.forget_bias != 1,
            "peephole=True": self.peephole_weight is not None,
            "coupled=True": self.coupled,
            f"projection={self.out_features}": self.projection_weight is not None,
        }
        return ", ".join([super().extra_repr(), *(text for text, has in chosen.items() if has)])


class GRUCell(WeightedCell):
    """One step of a gated recurrent unit (K. Cho et al., arXiv:1406.1078), in two forms.

    ``form="separate"``, that of PyTorch and cuDNN: the reset gate acts on what the state adds::

        r, z = sigmoid(x @ W + b + h_before @ U + b')
        n = tanh(x @ W + b + r * (h_before @ U + b'))

    ``form="concatenated"``, that of the first paper: the reset gate acts on the state::

        r, z = sigmoid([h_before; x] @ W + b)
        n = tanh([r * h_before; x] @ W + b)

    Sources differ in what z does, too: with ``update="keep"``, ``h = (1 - z) * n + z * h_before``,
    with ``"replace"``, ``h = (1 - z) * h_before + z * n``. Columns are those of r, z, n in this
    order, as in PyTorch. Carry and output are ``h``.

    Parameters
    ----------
    in_features, hidden_features : int
    form : {"separate", "concatenated"}
    update : {"keep", "replace"}, optional
        Default: "keep" for the separate form, as in PyTorch, "replace" for the concatenated one.
    activation : callable, default ``gn.tanh``
        Of n.
    recurrent_activation : callable, default ``gn.sigmoid``
        Of r and z.
    **options
        Those of :class:`WeightedCell`.

    Attributes
    ----------
    recurrent_bias : Parameter of shape (3 * hidden_features,), or None
        b' of the separate form.

    Examples
    --------
    >>> import graphnn as gn
    >>> net = gn.nn.Recurrent(gn.nn.GRUCell(3, 8, form="concatenated"))
    >>> net(gn.input("x", shape=("time", "batch", 3))).shape
    (Dim(batch), 8)
    """

    gates = 3

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        form: str = "separate",
        update: str | None = None,
        activation: Activation = tanh,
        recurrent_activation: Activation = sigmoid,
        **options: Any,
    ) -> None:
        require_known("GRUCell", "form", form, ("separate", "concatenated"))
        if update is None:
            update = "keep" if form == "separate" else "replace"
        require_known("GRUCell", "update", update, ("keep", "replace"))
        super().__init__(in_features, hidden_features, **options)
        self.form, self.update = form, update
        require_function(
            type(self).__name__, activation=activation, recurrent_activation=recurrent_activation
        )
        self.activation = activation
        self.recurrent_activation = recurrent_activation
        self.recurrent_bias = None
        if self.bias is not None and form == "separate":
            self.recurrent_bias = self._parameter(self._bias_init, (3 * hidden_features,))

    def forward(self, carry: Node, x: Any, recurrent_mask: Node | None = None) -> tuple[Node, Node]:
        """One step: from h to h, and h."""
        carry = self._checked(carry, x)
        gates = self._separate if self.form == "separate" else self._concatenated
        z, n = gates(carry, self._split(self._from_input(x)), recurrent_mask)
        old, new = (carry, n) if self.update == "keep" else (n, carry)
        h = (1.0 - z) * new + z * old
        return h, h

    def _separate(self, h: Node, inputs: list[Node], mask: Node | None) -> tuple[Node, Node]:
        """The gate z and the candidate n of the separate form."""
        from_state = self._from_state(h, mask)
        if self.recurrent_bias is not None:
            from_state = from_state + self.recurrent_bias
        states = self._split(from_state)
        r, z = self._gates(inputs, states)
        return z, self.activation(inputs[2] + r * states[2]).named("n")

    def _concatenated(self, h: Node, inputs: list[Node], mask: Node | None) -> tuple[Node, Node]:
        """The gate z and the candidate n of the concatenated form."""
        states = self._split(self._from_state(h, mask, 0, 2), 2)
        r, z = self._gates(inputs, states)
        return z, self.activation(inputs[2] + self._from_state(r * h, mask, 2)).named("n")

    def _gates(self, inputs: list[Node], states: list[Node]) -> list[Node]:
        """The gates r and z."""
        sums = (inputs[k] + states[k] for k in range(2))
        return [
            self.recurrent_activation(x).named(name) for name, x in zip("rz", sums, strict=True)
        ]

    def extra_repr(self) -> str:
        """The sizes, and what is not as in PyTorch."""
        usual = {"form": "separate", "update": "keep"}
        chosen = (f"{word}={getattr(self, word)!r}" for word in usual)
        shown = self.form != "separate" or self.update != "keep"
        return ", ".join([super().extra_repr(), *(chosen if shown else ())])


class MinimalGatedCell(WeightedCell):
    """One step of the minimal gated unit (G.-B. Zhou et al., arXiv:1603.09420): one gate.

    ``f = sigmoid([h_before; x] @ W + b)``, ``n = tanh([f * h_before; x] @ W + b)``,
    ``h = (1 - f) * h_before + f * n``. Columns are those of f, n. Carry and output are ``h``.

    Parameters
    ----------
    in_features, hidden_features : int
    activation : callable, default ``gn.tanh``
        Of n.
    recurrent_activation : callable, default ``gn.sigmoid``
        Of f.
    **options
        Those of :class:`WeightedCell`.

    Examples
    --------
    >>> import graphnn as gn
    >>> net = gn.nn.Recurrent(gn.nn.MinimalGatedCell(3, 8))
    >>> net(gn.input("x", shape=("time", "batch", 3))).shape
    (Dim(batch), 8)
    """

    gates = 2

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        activation: Activation = tanh,
        recurrent_activation: Activation = sigmoid,
        **options: Any,
    ) -> None:
        super().__init__(in_features, hidden_features, **options)
        require_function(
            type(self).__name__, activation=activation, recurrent_activation=recurrent_activation
        )
        self.activation = activation
        self.recurrent_activation = recurrent_activation

    def forward(self, carry: Node, x: Any, recurrent_mask: Node | None = None) -> tuple[Node, Node]:
        """One step: from h to h, and h."""
        carry = self._checked(carry, x)
        for_f, for_n = self._split(self._from_input(x))
        f = self.recurrent_activation(for_f + self._from_state(carry, recurrent_mask, 0, 1))
        n = self.activation(for_n + self._from_state(f.named("f") * carry, recurrent_mask, 1))
        h = (1.0 - f) * carry + f * n.named("n")
        return h, h
