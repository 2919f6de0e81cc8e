"""Recurrent cells beside their equations in NumPy, written independently, in float64."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.signal
from drawing import Array

import graphnn as gn
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.structure import flatten, unflatten

STEPS, BATCH, FEATURES, HIDDEN, OUT = 4, 2, 3, 4, 2
Weights = dict[str, Array]
Formula = Callable[[Weights, Any, Array], tuple[Any, Array]]

# --------------------------------------------------------------------------------- the equations


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def relu(x: Array) -> Array:
    return np.where(x > 0, x, 0)


def norm(x: Array) -> Array:
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)


def cut(x: Array, parts: int) -> list[Array]:
    return np.split(x, parts, axis=1)


def simple(w: Weights, h: Array, x: Array, f: Callable[[Array], Array] = np.tanh) -> Any:
    h = f(x @ w["input_weight"] + h @ w["recurrent_weight"] + w["bias"])
    return h, h


def elman(w: Weights, h: Array, x: Array) -> Any:
    h, _ = simple(w, h, x, sigmoid)
    return h, sigmoid(h @ w["output_weight"] + w["output_bias"])


def jordan(w: Weights, context: Array, x: Array) -> Any:
    h = np.tanh(x @ w["input_weight"] + context @ w["recurrent_weight"] + w["bias"])
    y = np.tanh(h @ w["output_weight"] + w["output_bias"])
    return 0.5 * context + y, y


def lstm_sums(w: Weights, h: Array, x: Array) -> Array:
    return x @ w["input_weight"] + h @ w["recurrent_weight"] + w["bias"]


def lstm(w: Weights, carry: Any, x: Array, out: Callable[[Array], Array] = np.tanh) -> Any:
    h, c = carry
    i, f, g, o = cut(lstm_sums(w, h, x), 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * out(c)
    return (h, c), h


def projected(w: Weights, carry: Any, x: Array) -> Any:
    (h, c), _ = lstm(w, carry, x)
    h = h @ w["projection_weight"]
    return (h, c), h


def peephole(w: Weights, carry: Any, x: Array) -> Any:
    h, c = carry
    i, f, g, o = cut(lstm_sums(w, h, x), 4)
    for_i, for_f, for_o = w["peephole_weight"]
    c, before = None, c
    c = sigmoid(f + for_f * before) * before + sigmoid(i + for_i * before) * np.tanh(g)
    h = sigmoid(o + for_o * c) * np.tanh(c)
    return (h, c), h


def coupled(w: Weights, carry: Any, x: Array) -> Any:
    h, c = carry
    f, g, o = cut(lstm_sums(w, h, x), 3)
    for_f, for_o = w["peephole_weight"]
    f = sigmoid(f + for_f * c)
    c = f * c + (1 - f) * np.tanh(g)
    h = sigmoid(o + for_o * c) * np.tanh(c)
    return (h, c), h


def normalized_lstm(w: Weights, carry: Any, x: Array) -> Any:
    h, c = carry
    from_x = norm(x @ w["input_weight"]) * w["input_gain"]
    from_h = norm(h @ w["recurrent_weight"]) * w["recurrent_gain"]
    i, f, g, o = cut(from_x + from_h + w["bias"], 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(norm(c) * w["cell_gain"] + w["cell_shift"])
    return (h, c), h


def separate(w: Weights, h: Array, x: Array) -> Any:
    rx, zx, nx = cut(x @ w["input_weight"] + w["bias"], 3)
    rh, zh, nh = cut(h @ w["recurrent_weight"] + w["recurrent_bias"], 3)
    z = sigmoid(zx + zh)
    n = np.tanh(nx + sigmoid(rx + rh) * nh)
    h = (1 - z) * n + z * h
    return h, h


def concatenated(w: Weights, h: Array, x: Array) -> Any:
    weight = np.concatenate([w["recurrent_weight"], w["input_weight"]])
    r, z, _ = cut(sigmoid(np.concatenate([h, x], 1) @ weight), 3)
    n = np.tanh(cut(np.concatenate([r * h, x], 1) @ weight, 3)[2])
    h = (1 - z) * h + z * n
    return h, h


def normalized_gru(w: Weights, h: Array, x: Array) -> Any:
    size = 2 * HIDDEN
    recurrent, gain = w["recurrent_weight"], w["recurrent_gain"]
    from_x = norm(x @ w["input_weight"]) * w["input_gain"] + w["bias"]
    r, z = cut(sigmoid(from_x[:, :size] + norm(h @ recurrent[:, :size]) * gain[:size]), 2)
    n = np.tanh(from_x[:, size:] + norm((r * h) @ recurrent[:, size:]) * gain[size:])
    h = (1 - z) * n + z * h
    return h, h


def minimal(w: Weights, h: Array, x: Array) -> Any:
    weight = np.concatenate([w["recurrent_weight"], w["input_weight"]])
    f = cut(sigmoid(np.concatenate([h, x], 1) @ weight + w["bias"]), 2)[0]
    n = np.tanh(cut(np.concatenate([f * h, x], 1) @ weight + w["bias"], 2)[1])
    h = (1 - f) * h + f * n
    return h, h


def same(x: Array, kernel: Array) -> Array:
    """Cross-correlation of (batch, channels, *spatial) that keeps the size; odd windows."""
    filters = [
        [sum(scipy.signal.correlate(c, k, "same") for c, k in zip(row, f, strict=True))]
        for row in x
        for f in kernel
    ]
    return np.array(filters).reshape(len(x), len(kernel), *x.shape[2:])


def conv_lstm(w: Weights, carry: Any, x: Array) -> Any:
    h, c = carry
    bias = w["bias"].reshape(-1, *[1] * (x.ndim - 2))
    sums = same(x, w["input_weight"]) + same(h, w["recurrent_weight"]) + bias
    for_i, for_f, for_o = w.get("peephole_weight", np.zeros(3))
    i, f, g, o = cut(sums, 4)
    before = c
    c = sigmoid(f + for_f * before) * before + sigmoid(i + for_i * before) * np.tanh(g)
    h = sigmoid(o + for_o * c) * np.tanh(c)
    return (h, c), h


nn = gn.nn
SIZES = (FEATURES, HIDDEN)
CELLS: dict[str, tuple[Callable[..., gn.nn.Cell], Formula]] = {
    "simple": (partial(nn.SimpleRNNCell, *SIZES), simple),
    "simple relu": (
        partial(nn.SimpleRNNCell, *SIZES, activation=gn.relu),
        partial(simple, f=relu),
    ),
    "elman": (
        partial(nn.SimpleRNNCell, *SIZES, OUT, activation=gn.sigmoid, output_activation=gn.sigmoid),
        elman,
    ),
    "jordan": (partial(nn.JordanCell, *SIZES, OUT, alpha=0.5, output_activation=gn.tanh), jordan),
    "lstm": (partial(nn.LSTMCell, *SIZES), lstm),
    "lstm output": (
        partial(nn.LSTMCell, *SIZES, output_activation=gn.linear),
        partial(lstm, out=lambda c: c),
    ),
    "projected": (partial(nn.LSTMCell, *SIZES, projection=OUT), projected),
    "peephole": (partial(nn.LSTMCell, *SIZES, peephole=True), peephole),
    "coupled": (partial(nn.LSTMCell, *SIZES, peephole=True, coupled=True), coupled),
    "normalized lstm": (partial(nn.LSTMCell, *SIZES, layer_norm=True), normalized_lstm),
    "separate": (partial(nn.GRUCell, *SIZES), separate),
    "concatenated": (
        partial(nn.GRUCell, *SIZES, form="concatenated", bias=False),
        concatenated,
    ),
    "normalized gru": (
        partial(nn.GRUCell, *SIZES, form="concatenated", update="keep", layer_norm=True),
        normalized_gru,
    ),
    "minimal": (partial(nn.MinimalGatedCell, *SIZES), minimal),
    "conv 1d": (partial(nn.ConvLSTMCell, 2, 3, (5,), 3), conv_lstm),
    "conv 2d": (partial(nn.ConvLSTMCell, 1, 2, (4, 3), (3, 1), peephole=True), conv_lstm),
    "conv 3d": (partial(nn.ConvLSTMCell, 1, 1, (2, 3, 2), 1), conv_lstm),
}


def given(name: str) -> tuple[gn.nn.Cell, Formula, Any, list[Array]]:
    """A cell with random weights, its formula, its state, and arrays: x, state, weights."""
    make, formula = CELLS[name]
    rng = np.random.default_rng(0)
    cell = make(dtype="float64")
    zero = cell.zero_state(BATCH)
    for each in cell.parameters():
        each.value = rng.normal(size=each.shape) * 0.7
    x = rng.normal(size=(STEPS, BATCH, *cell.element_shape))
    states = [rng.normal(size=leaf.shape) for leaf in flatten(zero)]
    return cell, formula, zero, [x, *states, *(each.value for each in cell.parameters())]


def by_formula(formula: Formula, names: list[str], zero: Any, arrays: list[Array]) -> list[Array]:
    """All outputs and the last state, step by step."""
    count = len(flatten(zero))
    carry = unflatten(zero, arrays[1 : 1 + count])
    weights = dict(zip(names, arrays[1 + count :], strict=True))
    ys = []
    for x in arrays[0]:
        carry, y = formula(weights, carry, x)
        ys.append(y)
    return [np.stack(ys), *flatten(carry)]


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_its_formula_with_its_gradients(name: str) -> None:
    """Values, and derivatives by everything there is, by central differences of the formula."""
    cell, formula, zero, arrays = given(name)
    x = gn.input("x", arrays[0].shape, "float64")
    states = [gn.input(f"s{n}", leaf.shape, "float64") for n, leaf in enumerate(flatten(zero))]
    layer = gn.nn.Recurrent(cell, return_sequences=True, return_state=True)
    y, state = layer(x, unflatten(zero, states))
    results = [y, *flatten(state)]
    rng = np.random.default_rng(1)
    factors = [rng.normal(size=each.shape) for each in results]
    loss = sum(gn.sum(each * factor) for each, factor in zip(results, factors, strict=True))
    slopes = gn.grad(loss, [x, *states, *cell.parameters()])
    program = gn.compile([x, *states], [results, slopes])
    found, slopes_found = program(*arrays[: 1 + len(states)])

    compute = partial(by_formula, formula, [name for name, _ in cell.named_parameters()], zero)
    for one, other in zip(found, compute(arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)
    for number, slope in enumerate(slopes_found):
        direction = rng.normal(size=arrays[number].shape)
        ends = []
        for step in (1e-5, -1e-5):
            moved = [*arrays[:number], arrays[number] + step * direction, *arrays[number + 1 :]]
            pairs = zip(compute(moved), factors, strict=True)
            ends.append(sum(np.sum(each * factor) for each, factor in pairs))
        wanted = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(np.sum(slope * direction), wanted, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("form", ["separate", "concatenated"])
def test_the_update_gate_keeps_or_replaces(form: str) -> None:
    """With z = 1 nothing is new, or everything is."""
    for update in ("keep", "replace"):
        cell = gn.nn.GRUCell(*SIZES, form=form, update=update)
        cell.bias.value = np.repeat([0.0, 100.0, 0.5], HIDDEN)
        h, _ = cell(gn.ones((BATCH, HIDDEN)), gn.zeros((BATCH, FEATURES)))
        kept = np.allclose(gn.evaluate(h), 1.0)
        assert kept == (update == "keep")


def test_the_forget_bias_is_that_of_f_alone() -> None:
    bias = gn.nn.LSTMCell(*SIZES, forget_bias=2.0).bias.value
    np.testing.assert_array_equal(bias, np.repeat([0.0, 2.0, 0.0, 0.0], HIDDEN))
    bias = gn.nn.LSTMCell(*SIZES, coupled=True).bias.value
    np.testing.assert_array_equal(bias, np.repeat([1.0, 0.0, 0.0], HIDDEN))


def test_every_gate_has_an_orthogonal_recurrent_weight() -> None:
    for weight in np.split(gn.nn.LSTMCell(5, 5).recurrent_weight.value, 4, axis=1):
        np.testing.assert_allclose(weight @ weight.T, np.eye(5), atol=1e-5)


@pytest.mark.parametrize("loop", [False, True])
def test_recurrent_dropout_drops_the_same_at_every_step(loop: bool) -> None:
    """The state comes in through the identity and grows by the masked state before it."""
    cell = gn.nn.SimpleRNNCell(
        8, 8, activation=gn.linear, bias=False, recurrent_dropout=0.5, rng=np.random.default_rng(0)
    )
    cell.recurrent_weight.value = cell.input_weight.value = np.eye(8)
    layer = gn.nn.Recurrent(cell, return_sequences=True, unroll=not loop)
    x = gn.ones((4, 5, 8))
    gn.seed(0)
    program = gn.compile([], layer(x))
    first, again = program(), program()
    factors = (first[1:] - 1) / first[:-1]
    assert set(np.unique(factors[0])) == {0.0, 2.0}
    np.testing.assert_array_equal(factors, np.broadcast_to(factors[0], factors.shape))
    assert not np.array_equal(first, again)  # another mask at the next call
    layer.eval()
    np.testing.assert_array_equal(gn.evaluate(layer(x))[:, 0, 0], [1, 2, 3, 4])


# ----------------------------------------------------------------------------- names and errors


def test_parameters_have_the_names_of_the_documentation() -> None:
    def names(cell: gn.nn.Cell) -> dict[str, tuple[int, ...]]:
        return {name: each.shape for name, each in cell.named_parameters()}

    plain = {"input_weight": (3, 16), "recurrent_weight": (4, 16), "bias": (16,)}
    assert names(gn.nn.LSTMCell(3, 4)) == plain
    gru = {"input_weight": (3, 12), "recurrent_weight": (4, 12), "bias": (12,)}
    assert names(gn.nn.GRUCell(3, 4)) == {**gru, "recurrent_bias": (12,)}
    assert names(gn.nn.GRUCell(3, 4, form="concatenated")) == gru
    conv = gn.nn.ConvLSTMCell(3, 4, (8, 8), (3, 5))
    assert names(conv)["recurrent_weight"] == (16, 4, 3, 5)


def test_reprs_are_short() -> None:
    assert repr(gn.nn.SimpleRNNCell(3, 4)) == "SimpleRNNCell(3, 4)"
    assert repr(gn.nn.JordanCell(3, 4, 2)) == "JordanCell(3, 4, 2)"
    coupled = gn.nn.LSTMCell(3, 4, coupled=True, projection=2)
    assert repr(coupled) == "LSTMCell(3, 4, coupled=True, projection=2)"
    assert repr(gn.nn.GRUCell(3, 4, layer_norm=True)) == "GRUCell(3, 4, layer_norm=True)"
    picture = gn.nn.ConvLSTMCell(1, 4, ("height", 8), 3, coupled=True)
    assert repr(picture) == "ConvLSTMCell(1, 4, (height, 8), (3, 3), coupled=True)"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gn.nn.LSTMCell(0, 3), "LSTMCell: in_features must be a positive integer"),
        (lambda: gn.nn.LSTMCell(2, 3, projection=0), "projection must be a positive integer"),
        (lambda: gn.nn.GRUCell(2, 3, form="fused"), "no form 'fused'"),
        (lambda: gn.nn.GRUCell(2, 3, update="drop"), "no update 'drop'"),
        (lambda: gn.nn.GRUCell(2, 3, recurrent_dropout=1.0), "recurrent_dropout is 1.0"),
        (lambda: gn.nn.JordanCell(2, 3, 2, alpha=-1), "alpha is -1"),
        (lambda: gn.nn.SimpleRNNCell(2, 3, 0), "out_features must be a positive integer"),
        (lambda: gn.nn.ConvLSTMCell(1, 2, (4,), 3, projection=2), "it has no projection"),
    ],
)
def test_wrong_numbers(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gn.nn.ConvLSTMCell(1, 2, (), 3), "one to three sizes"),
        (lambda: gn.nn.ConvLSTMCell(1, 2, (4, 4), (3,)), "1 sizes of the kernel for 2"),
        (lambda: gn.nn.ConvLSTMCell(1, 2, ("n",), 3, peephole=True), "a weight for every place"),
    ],
)
def test_wrong_shapes(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        make()


def test_a_wrong_input_is_named() -> None:
    cell = gn.nn.LSTMCell(3, 4)
    words = r"LSTMCell\(3, 4\): the input of a step must be \(batch, 3\), it is \(2, 5\)"
    with pytest.raises(ShapeError, match=words):
        cell(cell.zero_state(2), gn.zeros((2, 5)))
