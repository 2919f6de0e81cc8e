"""Layers over sequences: lengths at their limits, directions, states that pass, labels."""

from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError

X = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("float32")


# --------------------------------------------------------------------------------------- lengths


def test_lengths_may_be_of_a_dtype_that_does_not_hold_the_number_of_steps() -> None:
    """In the layer, in attention and in the loss: 294 real steps were read into uint8 once."""
    wide, narrow = (np.array([250, 5], dtype) for dtype in ("int64", "uint8"))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2, 3)).astype("float32")
    labels = rng.integers(0, 3, (2, 300))
    layer, attend = gn.nn.SimpleRNN(3, 4, return_sequences=True), gn.nn.DotAttention(3)

    def everything(lengths: Any) -> list[gn.Node]:
        loss = gn.losses.sequence_cross_entropy(x.swapaxes(0, 1), labels, lengths)
        return [layer(x, lengths=lengths), attend(x[0], x, lengths=lengths)[1], loss]

    for one, other in zip(*gn.evaluate([everything(wide), everything(narrow)]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert gn.evaluate(layer(x, lengths=narrow)).any(axis=2).sum(axis=0).tolist() == [250, 5]


def test_a_loss_of_nothing_is_zero_and_so_is_its_gradient() -> None:
    logits = gn.input("logits", (2, 3, 4))
    loss = gn.losses.sequence_cross_entropy(logits, np.zeros((2, 3), int), [0, 0])
    value, slope = gn.evaluate(gn.value_and_grad(loss, logits), {logits: np.ones((2, 3, 4), "f4")})
    assert value == 0
    assert not slope.any()


@pytest.mark.parametrize("length", [6, -1])
def test_known_lengths_that_no_row_has_are_refused(length: int) -> None:
    words = f"a length is {length}, it must be from 0 to 5, the number of steps"
    with pytest.raises(ArgumentError, match=words):
        gn.nn.GRU(3, 4)(X, lengths=[length, 5])
    with pytest.raises(ArgumentError, match=words):
        gn.losses.sequence_cross_entropy(X.swapaxes(0, 1), np.zeros((2, 5), int), [length, 5])


def test_a_negative_length_is_refused_where_the_number_of_steps_is_not_known() -> None:
    x = gn.input("x", ("time", 2, 3))
    with pytest.raises(ArgumentError, match="a length is -1, it must be 0 or more"):
        gn.nn.GRU(3, 4)(x, lengths=[7, -1])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "cell", [gn.nn.GRUCell(3, 3), gn.nn.SimpleRNNCell(3, 3, 3), gn.nn.JordanCell(3, 3, 3)], ids=repr
)
def test_the_last_output_of_a_row_of_padding_is_zero(cell: gn.nn.Cell, reverse: bool) -> None:
    """Whether the output is the state or not; the state stays as it was given."""
    layer = gn.nn.Recurrent(cell, return_state=True, reverse=reverse)
    last, state = gn.evaluate(layer(X, np.ones((2, 3), "float32"), lengths=[0, 3]))
    assert not last[0].any()
    assert last[1].any()
    np.testing.assert_array_equal(state[0], 1.0)


# ------------------------------------------------------------------------------------ directions


def last_layers() -> dict[str, gn.nn.SequenceLayer]:
    back = gn.nn.Recurrent(gn.nn.GRUCell(3, 3), reverse=True)
    return {
        "cell": back,
        "net": gn.nn.GRU(3, 3, reverse=True),
        "stack": gn.nn.Stacked(gn.nn.GRU(3, 3), back),
        "residual": gn.nn.Residual(gn.nn.GRU(3, 3, reverse=True)),
        "forward again": gn.nn.Stacked(back, gn.nn.GRU(3, 3)),
    }


@pytest.mark.parametrize("lengths", [None, [2, 5]], ids=["full", "padded"])
@pytest.mark.parametrize("name", last_layers())
def test_the_last_output_of_a_residual_layer_is_one_of_its_outputs(name: str, lengths: Any) -> None:
    """That of the first step if the part goes backward, however it says so."""
    residual = gn.nn.Residual(last_layers()[name])
    last = residual(X, lengths=lengths)
    residual.return_sequences = True
    last, every = gn.evaluate([last, residual(X, lengths=lengths)])
    ends = np.full(2, 5) if lengths is None else np.array(lengths)
    steps = ends - 1 if name == "forward again" else np.zeros(2, int)
    np.testing.assert_array_equal(last, every[steps, [0, 1]])


@pytest.mark.parametrize(
    ("reversals", "words"),
    [
        ((False, False), "these go forward and forward"),
        ((True, False), "these go backward and forward"),
        ((True, True), "these go backward and backward"),
    ],
)
def test_both_directions_are_checked_in_nets_by_name(reversals: Any, words: str) -> None:
    layers = [gn.nn.GRU(3, 4, reverse=each) for each in reversals]
    with pytest.raises(ArgumentError, match=words):
        gn.nn.Bidirectional(*layers)


def test_nets_by_name_may_go_both_ways() -> None:
    ahead, back = gn.nn.GRU(3, 4), gn.nn.GRU(3, 4, num_layers=2, reverse=True)
    both = gn.nn.Bidirectional(ahead, back)
    assert both.direction == "both"
    found, *parts = gn.evaluate([both(X), ahead(X), back(X)])
    np.testing.assert_allclose(found, np.concatenate(parts, 1), rtol=1e-6)


# ----------------------------------------------------------------------------- states that pass


def test_a_kept_state_is_not_saved() -> None:
    """What was trained with two rows is used with one, and by a net that keeps nothing."""
    net = gn.nn.GRU(3, 4, stateful=True)
    before = set(net.state_dict())
    gn.compile([], net(X), updates=net.state_updates())()
    assert set(net.state_dict()) == before
    for twin in (gn.nn.GRU(3, 4, stateful=True), gn.nn.GRU(3, 4)):
        twin.load_state_dict(net.state_dict())
        found, wanted = gn.evaluate([twin(X[:, :1]), gn.nn.Stacked(*twin.layers)(X[:, :1])])
        np.testing.assert_array_equal(found, wanted)
    kept = net.layers[0].state.value
    assert kept.any()
    net.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(net.layers[0].state.value, kept)


def test_any_module_begins_anew() -> None:
    """A net with stateful layers within, and a module of one's own that counts its calls."""

    class Counted(gn.nn.Module):
        passing = ("calls",)

        def __init__(self) -> None:
            self.calls = gn.parameter(0.0, trainable=False)
            self.scale = gn.parameter(2.0)

        def forward(self, x: gn.Node) -> gn.Node:
            self.remember({self.calls: self.calls + 1.0})
            return x * self.scale

    net = gn.nn.Sequential(gn.nn.GRU(3, 4, stateful=True), gn.nn.Dense(4, 2), Counted())
    gn.compile([], net(X), updates=net.state_updates())()
    assert net[0].layers[0].state.value.any()
    assert net[2].calls.value == 1
    net.reset_state()
    assert not net[0].layers[0].state.value.any()
    assert net[2].calls.value == 0
    assert net[2].scale.value == 2
    assert "layers.2.calls" not in net.state_dict()


# ---------------------------------------------------------------------------------------- labels


def names_of(result: gn.Node) -> set[str]:
    return {node.name for node in gn.Graph([], [result]).nodes if node.name}


def test_states_of_deep_unrolled_nets_are_told_apart() -> None:
    net = gn.nn.GRU(3, 3, num_layers=2, bidirectional=True, unroll=True)
    names = {name for name in names_of(net(X[:2])) if name.endswith("h[0]")}
    assert names == {
        f"layers.{n}.{way}_layer.h[0]" for n in range(2) for way in ("forward", "backward")
    }


def test_the_states_of_one_layer_have_short_names() -> None:
    model = gn.nn.Sequential(gn.nn.LSTM(3, 3, unroll=True), gn.nn.Dense(3, 1))
    assert {"h[0]", "c[0]", "h[1]"} <= names_of(model(X[:2]))


def test_a_scan_is_labelled_with_its_number_of_steps() -> None:
    x = gn.input("x", ("time", 2, 3))
    _, h = gn.nn.GRU(3, 4, return_state=True)(x)
    graph = gn.Graph([x], [h])
    labels = [node.op.label(node) for node in graph.nodes if node.op.name == "scan"]
    assert labels == ["scan × time"]
