"""What recurrent layers and cells say of mistakes, and how they show themselves."""

import re
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, ShapeError

X = np.zeros((5, 2, 3), "float32")
H = np.zeros((2, 4), "float32")
WIDE = np.zeros((2, 8), "float32")


class Scale(gn.nn.Cell):
    """Multiplies by a number; it does not say how many features it gives."""

    def __init__(self, in_features: int, hidden_features: int) -> None:
        self.factor = gn.parameter(1.0)

    def zero_state(self, batch: Any) -> gn.Node:
        return gn.zeros((batch, 3))

    def forward(self, carry: Any, x: Any) -> Any:
        return carry, {"scaled": self.factor * x}


class ScaleNet(gn.nn.RecurrentNet):
    cell_type = Scale


def test_a_state_may_be_given_in_lists() -> None:
    h, c = np.random.default_rng(0).normal(size=(2, 2, 4)).astype("float32")
    net, deep = gn.nn.LSTM(3, 4), gn.nn.LSTM(3, 4, num_layers=2)
    found = gn.evaluate(
        [net(X, [h, c]), net(X, (h, c)), deep(X, [[h, c], None]), deep(X, ((h, c), None))]
    )
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[2], found[3])


@pytest.mark.parametrize(
    ("net", "state", "words"),
    [
        (
            gn.nn.LSTM(3, 4),
            H,
            "LSTM(3, 4): the initial state must be (f32[2, 4], f32[2, 4]), not f32[2, 4]",
        ),
        (gn.nn.LSTM(3, 4), {"h": H}, "must be (f32[2, 4], f32[2, 4]), not {h: f32[2, 4]}"),
        (
            gn.nn.GRU(3, 4),
            (H, H),
            "GRU(3, 4): the initial state must be f32[2, 4], not (f32",
        ),
        (
            gn.nn.LSTM(3, 4, num_layers=2),
            (H, H),
            "LSTM(3, 4, num_layers=2): the initial state for layer 0 must be (f32[2, 4], f",
        ),
        (
            gn.nn.LSTM(3, 4, bidirectional=True),
            (H, H),
            "LSTM(3, 4, bidirectional=True): the initial state for the forward layer must be",
        ),
        (gn.nn.GRU(3, 4, num_layers=2), H, "must be 2 states, one for each layer, not f32[2, 4]"),
        (
            gn.nn.GRU(3, 4, bidirectional=True),
            H,
            "must be a pair, one for each direction, not f32[2, 4]",
        ),
    ],
)
def test_states_that_do_not_fit(net: Any, state: Any, words: str) -> None:
    with pytest.raises((ArgumentError, ShapeError), match=re.escape(words)):
        net(X, state)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gn.nn.LSTM(3, 8, num_layer=2), r"LSTM: no option 'num_layer'[\s\S]*'num_layers'"),
        (lambda: gn.nn.LSTM(3, 8, gates=2), "LSTM: no option 'gates'"),
        (lambda: gn.nn.GRUCell(3, 8, layernorm=True), r"GRUCell: no option [\s\S]*'layer_norm'"),
        (lambda: gn.nn.SimpleRNN(3, 8, activation="tanh"), "SimpleRNNCell: activation must be a f"),
        (lambda: gn.nn.LSTM(3, 8, activation=None), "LSTMCell: activation must be a function"),
        (lambda: gn.nn.GRU(3, 8, activation=gn.nn.Tanh), "GRUCell: activation must be a function"),
        (
            lambda: gn.nn.MinimalGatedCell(3, 8, recurrent_activation="x"),
            "MinimalGatedCell: recurrent_activation must be a function",
        ),
        (lambda: gn.nn.GRU(3, 8, truncate="a"), "Recurrent: truncate must be a number of steps"),
        (lambda: gn.nn.GRU(3, 8, truncate=(1, 2, 3)), "Recurrent: truncate must be"),
        (lambda: gn.nn.GRU(3, 8, truncate=0), "Recurrent: truncate must be"),
        (lambda: gn.nn.GRU(3, 8, merge="sum"), "GRU: merge='sum' is for both directions"),
        (lambda: gn.nn.GRU(3, 8, num_layers=2, variational=True), "variational=True is a kind of"),
        (lambda: gn.nn.Recurrent(gn.nn.LSTM(3, 8)), "is a layer over sequences, not a cell"),
        (lambda: ScaleNet(3, 3), r"ScaleNet: Scale\(\) does not say how many features"),
    ],
)
def test_layers_that_cannot_be_made(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gn.nn.Recurrent(lambda c, x: c)(X, H), ArgumentError, "a step gives the next"),
        (lambda: gn.nn.LSTM(3, 4)(X[0]), ShapeError, r"batch, 3\), it is \(2, 3\)"),
        (
            lambda: gn.nn.LSTM(3, 4, batch_first=True)(X[..., :2]),
            ShapeError,
            r"must be \(batch, time, 3\), it is \(5, 2, 2\)",
        ),
        (lambda: gn.nn.LSTM(3, 4)(X.tolist()), ShapeError, r"np.array\(...\)"),
        (
            lambda: gn.nn.Residual(gn.nn.Recurrent(Scale(3, 3)))(X),
            ArgumentError,
            r"must be one array, not \{scaled: f32\[5, 2, 3\]\}",
        ),
        (
            lambda: gn.nn.Bidirectional(
                gn.nn.Recurrent(Scale(3, 3)), gn.nn.Recurrent(Scale(3, 3), reverse=True)
            )(X),
            ArgumentError,
            "must be one array",
        ),
        (
            lambda: gn.nn.Sequential(gn.nn.LSTM(3, 4, return_state=True), gn.nn.Dense(4, 1))(X),
            ArgumentError,
            "one array is needed, not a tuple of 2",
        ),
        (
            lambda: gn.nn.Sequential(gn.nn.LSTM(3, 4), gn.nn.Dense(4, 1))(X, lengths=[5, 2]),
            ArgumentError,
            "given one input, no lengths",
        ),
        (
            lambda: gn.nn.LSTMCell(3, 4)(X[0], (H, H)),
            ShapeError,
            r"must be \(f32\[batch, 4\], f32\[batch, 4\]\), not f32\[2, 3\][\s\S]*carry first",
        ),
        (lambda: gn.nn.GRUCell(3, 4)(X[0], H), ShapeError, "carry of a step must be f32.batch, 4."),
    ],
)
def test_calls_that_do_not_fit(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_convolutional_nets_say_what_is_missing() -> None:
    misplaced: list[Any] = [3, (8, 9)]
    with pytest.raises(ShapeError, match=r"sequence of sizes, not 3[\s\S]*height, width"):
        gn.nn.ConvLSTM(1, 2, *misplaced)
    shape = ("height", 8)
    with pytest.raises(ShapeError, match=r"learned_state=True needs known sizes, and a state is"):
        gn.nn.ConvLSTM(1, 2, shape, 3, learned_state=True)
    kept = gn.nn.ConvLSTM(1, 2, shape, 3, stateful=True)
    with pytest.raises(ShapeError, match=r"ConvLSTMCell\(1, 2, .*stateful=True needs known sizes"):
        kept(gn.input("x", ("time", 4, 1, "height", 8)))


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (gn.nn.LSTMCell(3, 4, bias=False), "LSTMCell(3, 4, bias=False)"),
        (gn.nn.LSTMCell(3, 4, forget_bias=0), "LSTMCell(3, 4, forget_bias=0)"),
        (gn.nn.GRUCell(3, 4, recurrent_dropout=0.25), "GRUCell(3, 4, recurrent_dropout=0.25)"),
        (gn.nn.SimpleRNN(3, 4, activation=gn.relu), "SimpleRNN(3, 4, activation=relu)"),
        (gn.nn.GRU(3, 4, activation=gn.nn.ReLU()), "GRU(3, 4, activation=ReLU())"),
        (gn.nn.GRU(3, 4, truncate=(2, 3)), "GRU(3, 4, truncate=(2, 3))"),
        (
            gn.nn.GRU(3, 4, num_layers=2, dropout=0.5, variational=True),
            "GRU(3, 4, num_layers=2, dropout=0.5, variational=True)",
        ),
    ],
)
def test_reprs_show_what_differs_from_the_default(made: Any, shown: str) -> None:
    assert repr(made) == shown
