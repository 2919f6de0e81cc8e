"""Recurrent layers over sequences: beside PyTorch, unrolled graphs, and each sequence alone."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from drawing import Array

import graphnn as gn
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError
from graphnn.core.node import Node
from graphnn.core.structure import flatten, unflatten

STEPS, BATCH, FEATURES, HIDDEN = 5, 3, 4, 3
LENGTHS = np.array([5, 2, 3])
WIDE = {"dtype": "float64"}


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def randomized(net: gn.nn.Module, seed: int = 1) -> Any:
    """The same net with weights of which none is zero."""
    rng = np.random.default_rng(seed)
    for each in net.parameters():
        each.value = rng.normal(size=each.shape) * 0.5
    return net


def sequences(*shape: Any, name: str = "x") -> Node:
    return gn.input(name, shape or (STEPS, BATCH, FEATURES), "float64")


def weighted(results: list[Node], seed: int = 7) -> Node:
    """A number that every element of the results counts in."""
    return sum(gn.sum(each * random(*each.shape, seed=seed + n)) for n, each in enumerate(results))


# -------------------------------------------------------------------------------- beside PyTorch


NETS: dict[str, tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = {
    "tanh": (gn.nn.SimpleRNN, {}, {}),
    "relu": (gn.nn.SimpleRNN, {"activation": gn.relu}, {"nonlinearity": "relu"}),
    "lstm": (gn.nn.LSTM, {}, {}),
    "projected": (gn.nn.LSTM, {"projection": 2}, {"proj_size": 2}),
    "gru": (gn.nn.GRU, {}, {}),
}
DEEP = {"num_layers": 2, "bidirectional": True}


def put_into(peer: Any, net: Any) -> None:
    """Give PyTorch's net the weights of ours."""
    import torch

    directions = [
        ("", "forward_layer.") if hasattr(net.layers[0], "forward_layer") else ("", ""),
        ("_reverse", "backward_layer."),
    ]
    values = net.state_dict()
    given = {}
    for number in range(len(net.layers)):
        for suffix, path in directions[: 1 + peer.bidirectional]:
            cell = f"layers.{number}.{path}cell."
            tail = f"l{number}{suffix}"
            bias = values[f"{cell}bias"]
            given |= {
                f"weight_ih_{tail}": values[f"{cell}input_weight"].T,
                f"weight_hh_{tail}": values[f"{cell}recurrent_weight"].T,
                f"bias_ih_{tail}": bias,
                f"bias_hh_{tail}": values.get(f"{cell}recurrent_bias", np.zeros_like(bias)),
            }
            if f"{cell}projection_weight" in values:
                given[f"weight_hr_{tail}"] = values[f"{cell}projection_weight"].T
    peer.load_state_dict({name: torch.tensor(each) for name, each in given.items()})


def their_states(net: Any, states: list[Array]) -> Any:
    """Ours, in order of layers and directions, as PyTorch stacks them."""
    import torch

    tensors = [torch.tensor(each, requires_grad=True) for each in states]
    if isinstance(net, gn.nn.LSTM):
        return tensors, (torch.stack(tensors[::2]), torch.stack(tensors[1::2]))
    return tensors, torch.stack(tensors)


@pytest.mark.parametrize("padded", [False, True], ids=["full", "deep, both ways, padded"])
@pytest.mark.parametrize("kind", NETS)
def test_nets_agree_with_pytorch(kind: str, padded: bool) -> None:
    """Outputs, last states, and gradients by inputs, initial states and all weights."""
    torch = pytest.importorskip("torch")
    make, ours, theirs = NETS[kind]
    shape = DEEP if padded else {}
    options = {"return_sequences": True, "return_state": True, "batch_first": padded}
    net = randomized(make(FEATURES, HIDDEN, **shape, **ours, **options, **WIDE))
    pattern = gn.nn.Stacked(*net.layers, return_state=True)(sequences())[1]
    fed = random(STEPS, BATCH, FEATURES)
    states = [random(*each.shape, seed=n) for n, each in enumerate(flatten(pattern))]

    axes = (1, 0, 2) if padded else (0, 1, 2)
    x = sequences(*fed.transpose(axes).shape)
    inputs = [gn.input(f"s{n}", each.shape, "float64") for n, each in enumerate(states)]
    lengths = {"lengths": LENGTHS} if padded else {}
    y, state = net(x, unflatten(pattern, inputs), **lengths)
    results = [y, *flatten(state)]
    slopes = gn.grad(weighted(results), [x, *inputs, *net.parameters()])
    found, slopes_found = gn.compile([x, *inputs], [results, slopes])(fed.transpose(axes), *states)

    peer_class = {"tanh": torch.nn.RNN, "relu": torch.nn.RNN, "gru": torch.nn.GRU}
    peer = peer_class.get(kind, torch.nn.LSTM)(
        FEATURES, HIDDEN, dtype=torch.float64, batch_first=padded, **shape, **theirs
    )
    put_into(peer, net)
    given = torch.tensor(fed.transpose(axes), requires_grad=True)
    tensors, stacked = their_states(net, states)
    if padded:
        packing = {"batch_first": True, "enforce_sorted": False}
        packed = torch.nn.utils.rnn.pack_padded_sequence(given, torch.tensor(LENGTHS), **packing)
        peer_y, peer_state = peer(packed, stacked)
        peer_y, _ = torch.nn.utils.rnn.pad_packed_sequence(peer_y, batch_first=True)
    else:
        peer_y, peer_state = peer(given, stacked)
    peer_states = peer_state if isinstance(peer_state, tuple) else (peer_state,)
    in_our_order = [part[n] for n in range(len(peer_states[0])) for part in peer_states]
    peer_results = [peer_y, *in_our_order]
    for one, other in zip(found, peer_results, strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-11, atol=1e-13)

    loss = sum(
        (each * torch.tensor(random(*each.shape, seed=7 + n))).sum()
        for n, each in enumerate(peer_results)
    )
    loss.backward()
    for one, other in zip(slopes_found, [given, *tensors], strict=False):
        np.testing.assert_allclose(one, other.grad.numpy(), rtol=1e-9, atol=1e-12)
    peer_slopes = {name: each.grad.numpy() for name, each in peer.named_parameters()}
    names = {
        "input_weight": "weight_ih",
        "recurrent_weight": "weight_hh",
        "bias": "bias_ih",
        "recurrent_bias": "bias_hh",
        "projection_weight": "weight_hr",
    }
    for (path, _), slope in zip(
        net.named_parameters(), slopes_found[1 + len(states) :], strict=True
    ):
        number, name = path.split(".")[1], path.rpartition(".")[2]
        tail = "_reverse" if "backward_layer" in path else ""
        wanted = peer_slopes[f"{names[name]}_l{number}{tail}"].T
        np.testing.assert_allclose(slope, wanted, rtol=1e-9, atol=1e-12)


# --------------------------------------------------------------------------------- scan, unrolled


CELLS: dict[str, Callable[..., gn.nn.Cell]] = {
    "elman": partial(gn.nn.SimpleRNNCell, FEATURES, HIDDEN, 2),
    "jordan": partial(gn.nn.JordanCell, FEATURES, HIDDEN, 2, alpha=0.3),
    "lstm": partial(gn.nn.LSTMCell, FEATURES, HIDDEN, peephole=True),
    "gru": partial(gn.nn.GRUCell, FEATURES, HIDDEN, form="concatenated"),
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_scan_and_unroll_are_the_same(name: str, reverse: bool) -> None:
    """Values, gradients, forward mode and a product with the Hessian, with padding."""
    cell = randomized(CELLS[name](**WIDE))
    x, v = sequences(), sequences(name="v")
    made = []
    for unroll in (False, True):
        layer = gn.nn.Recurrent(cell, reverse=reverse, unroll=unroll, return_state=True)
        y, state = layer(x, lengths=LENGTHS)
        loss = weighted([y, *flatten(state)])
        slope = gn.grad(loss, [x, *cell.parameters()])
        made.append([y, state, slope, gn.jvp(y, [x], [v]), gn.hvp(loss, [x], [v])])
    found = gn.compile([x, v], made, native="never")(random(*x.shape), random(*x.shape, seed=1))
    for one, other in zip(*map(flatten, found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("unroll", [False, True])
def test_gradients_go_back_as_far_as_they_should(unroll: bool) -> None:
    """Pieces of two steps, beside a chain of nets whose states are taken as given."""
    cell = randomized(gn.nn.GRUCell(FEATURES, HIDDEN, **WIDE))
    x = sequences(4, BATCH, FEATURES)
    truncated = gn.nn.Recurrent(cell, truncate=2, unroll=unroll, return_sequences=True)
    piece = gn.nn.Recurrent(cell, return_sequences=True, return_state=True)
    first, state = piece(x[:2])
    second, _ = piece(x[2:], gn.stop_gradient(state))
    losses = [gn.sum(y**2) for y in (truncated(x), gn.concatenate([first, second]))]
    pairs = [gn.value_and_grad(loss, [x, *cell.parameters()]) for loss in losses]
    found = gn.evaluate(pairs, {x: random(*x.shape)})
    for one, other in zip(*map(flatten, found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


def test_unrolled_states_have_names_and_time_steps() -> None:
    x = gn.input("x", shape=(4, "batch", 3))
    last = gn.nn.Recurrent(gn.nn.LSTMCell(3, 2), unroll=True)(x)
    named = {node.name: node for node in gn.Graph([x], [last]).nodes if node.name}
    for step in range(4):
        assert gn.provenance(named[f"h[{step}]"]).step == step
        assert gn.provenance(named[f"c[{step}]"]).step == step
    assert gn.provenance(last).scope == "cell"


# --------------------------------------------------------------------------------------- padding


def sequence_nets() -> dict[str, Any]:
    options = {"return_state": True, **WIDE}
    sizes = (FEATURES, HIDDEN)
    return {
        "elman": gn.nn.Elman(*sizes, 2, **options),
        "jordan back": gn.nn.Jordan(*sizes, 2, alpha=0.5, reverse=True, **options),
        "lstm": gn.nn.LSTM(*sizes, bidirectional=True, merge="average", **options),
        "gru": gn.nn.GRU(FEATURES, FEATURES, num_layers=2, residual=True, **options),
        "minimal": gn.nn.MinimalGatedUnit(
            *sizes, num_layers=2, bidirectional=True, residual=True, **options
        ),
        "conv": gn.nn.ConvLSTM(1, 2, (FEATURES,), 3, **options),
    }


@pytest.mark.parametrize(
    ("name", "by"), [*((name, "lengths") for name in sequence_nets()), ("lstm", "mask")]
)
def test_padding_changes_nothing(name: str, by: str) -> None:
    """NaN in padding reaches neither values nor gradients: every row is as if it were alone."""
    net = randomized(sequence_nets()[name])
    element = (1, FEATURES) if name == "conv" else (FEATURES,)
    x = gn.input("x", ("time", "batch", *element), "float64")
    fed = random(STEPS, BATCH, *element)
    for row, length in enumerate(LENGTHS):
        fed[length:, row] = np.nan
    if by == "lengths":
        how = gn.input("how", ("batch",), "int64")
        real = LENGTHS
    else:
        how = gn.input("how", ("time", "batch"), "bool")
        real = np.arange(STEPS)[:, None] < LENGTHS

    def everything(options: dict[str, Any]) -> list[Any]:
        net.return_sequences = True
        y, state = net(x, **options)
        net.return_sequences = False
        last, _ = net(x, **options)
        loss = sum(gn.sum(each**2) for each in (y, last, *flatten(state)))
        return [y, last, state, gn.grad(loss, [x, *net.parameters()])]

    y, last, state, slopes = gn.compile([x, how], everything({by: how}))(fed, real)
    alone = gn.compile([x], everything({}), native="never")
    sums = [np.zeros_like(each) for each in slopes[1:]]
    for row, length in enumerate(LENGTHS):
        y_alone, last_alone, state_alone, slopes_alone = alone(fed[:length, row : row + 1])
        close = partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-13)
        close(y[:length, row], y_alone[:, 0])
        close(last[row], last_alone[0])
        for one, other in zip(flatten(state), flatten(state_alone), strict=True):
            close(one[row], other[0])
        close(slopes[0][:length, row], slopes_alone[0][:, 0])
        for total, slope in zip(sums, slopes_alone[1:], strict=True):
            total += slope
        assert not y[length:, row].any()
        assert not slopes[0][length:, row].any()
    for one, other in zip(slopes[1:], sums, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_a_mask_may_have_holes() -> None:
    """Steps that are not real are as if they were not there."""
    layer = gn.nn.Recurrent(randomized(gn.nn.SimpleRNNCell(FEATURES, HIDDEN, 2, **WIDE)))
    x = gn.input("x", ("time", 1, FEATURES), "float64")
    fed, real = random(4, 1, FEATURES), np.array([[True], [False], [True], [False]])
    for layer.reverse in (False, True):
        whole = sequences(4, 1, FEATURES)
        found = gn.evaluate(layer(whole, mask=real), {whole: fed})
        np.testing.assert_allclose(found, gn.evaluate(layer(x), {x: fed[[0, 2]]}), rtol=1e-12)


def test_a_row_of_padding_alone_keeps_its_state() -> None:
    layer = gn.nn.Recurrent(gn.nn.SimpleRNNCell(FEATURES, HIDDEN, 2, **WIDE), return_state=True)
    x, h = sequences(3, 2, FEATURES), sequences(2, HIDDEN, name="h")
    state = random(2, HIDDEN)
    y, after = gn.evaluate(layer(x, h, lengths=[0, 3]), {x: random(*x.shape), h: state})
    np.testing.assert_array_equal(after[0], state[0])
    np.testing.assert_array_equal(y[0], 0.0)
    assert y[1].any()


def test_one_program_serves_all_lengths_up_to_a_bound() -> None:
    """Nothing is compiled again, and the gradients are those of what is not padded."""
    net = randomized(gn.nn.LSTM(FEATURES, HIDDEN, bidirectional=True, **WIDE))
    bounded = gn.input("x", (8, BATCH, FEATURES), "float64")
    lengths = gn.input("lengths", (BATCH,), "int64")
    free = gn.input("x", ("time", BATCH, FEATURES), "float64")

    def loss_and_slopes(y: Node) -> Any:
        return gn.value_and_grad(gn.sum(y**2), net.parameters())

    padded = gn.compile([bounded, lengths], loss_and_slopes(net(bounded, lengths=lengths)))
    exact = gn.compile(free, loss_and_slopes(net(free)))
    for steps in (1, 3, 8):
        rows = list(random(BATCH, steps, FEATURES, seed=steps))
        filled, counts = gn.data.pad_sequences(rows, 8)
        one, other = flatten(padded(filled, counts)), flatten(exact(np.stack(rows, 1)))
        for found, wanted in zip(one, other, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)
    assert len(padded._specialized) == 1
    assert len(exact._specialized) == 3


# ----------------------------------------------------------------------------------- its state


def test_a_stateful_layer_goes_on_where_it_was() -> None:
    """Piece by piece is the whole; a reset begins anew; without updates nothing moves."""
    net = randomized(gn.nn.LSTM(FEATURES, HIDDEN, num_layers=2, stateful=True, **WIDE))
    whole = gn.nn.Stacked(*(gn.nn.Recurrent(each.cell) for each in net.layers))
    x, y = sequences(2, BATCH, FEATURES), sequences(6, BATCH, FEATURES)
    fed = random(6, BATCH, FEATURES)
    step = gn.compile(x, out := net(x), updates=net.state_updates())
    look = gn.compile(x, out)
    wanted = gn.evaluate(whole(y), {y: fed})

    for _ in range(2):
        step(fed[:2])
        before = look(fed[2:4])
        np.testing.assert_array_equal(look(fed[2:4]), before)
        np.testing.assert_allclose(step(fed[2:4]), before, rtol=1e-12)
        np.testing.assert_allclose(step(fed[4:]), wanted, rtol=1e-12)
        net.reset_state()
    assert [name for name, _ in net.named_buffers()] == [
        f"layers.{n}.state.{k}" for n in range(2) for k in range(2)
    ]
    assert not any(each.trainable for _, each in net.named_buffers())


def test_a_state_that_is_given_comes_before_the_one_that_is_kept() -> None:
    layer = gn.nn.Recurrent(gn.nn.GRUCell(FEATURES, HIDDEN, **WIDE), stateful=True)
    x, h = sequences(2, BATCH, FEATURES), sequences(BATCH, HIDDEN, name="h")
    step = gn.compile([x, h], layer(x, h), updates=layer.state_updates())
    after = step(random(*x.shape), random(*h.shape, seed=1))
    np.testing.assert_array_equal(layer.state.value, after)


def test_updates_of_state_go_beside_those_of_an_optimizer() -> None:
    net = gn.nn.SimpleRNN(FEATURES, HIDDEN, stateful=True, **WIDE)
    x = sequences(2, BATCH, FEATURES)
    loss = gn.sum(net(x) ** 2)
    updates = gn.optim.SGD(0.1).minimize(loss, net.parameters())
    step = gn.compile(x, loss, updates={**updates, **net.state_updates()})
    weight = net.layers[0].cell.input_weight.value
    step(random(2, BATCH, FEATURES))
    assert net.layers[0].state.value.any()
    assert (net.layers[0].cell.input_weight.value != weight).any()


def test_a_copy_of_a_stateful_layer_has_a_state_of_its_own() -> None:
    layer = gn.nn.Recurrent(gn.nn.GRUCell(FEATURES, HIDDEN), stateful=True)
    layer(gn.input("x", (2, BATCH, FEATURES)))
    twin = copy.deepcopy(layer)
    assert twin.state is not layer.state
    assert layer.state_updates()
    assert not twin.state_updates()


def test_an_initial_state_is_learned() -> None:
    """It is the same for every row, so its gradient is the sum over rows."""
    cell = randomized(gn.nn.LSTMCell(FEATURES, HIDDEN, **WIDE))
    learning = gn.nn.Recurrent(cell, learned_state=True)
    assert [name for name, _ in learning.named_parameters()][-2:] == [
        "initial_state.0",
        "initial_state.1",
    ]
    for n, each in enumerate(learning.initial_state):
        each.value = random(HIDDEN, seed=n)
    x = gn.input("x", ("time", "batch", FEATURES), "float64")
    states = [gn.input(name, ("batch", HIDDEN), "float64") for name in "hc"]
    fed = random(STEPS, BATCH, FEATURES)
    first = [np.tile(random(HIDDEN, seed=n), (BATCH, 1)) for n in range(2)]
    one = gn.evaluate(
        gn.value_and_grad(gn.sum(learning(x) ** 2), list(learning.initial_state)), {x: fed}
    )
    given = gn.nn.Recurrent(cell)(x, tuple(states))
    feeds = {x: fed, **dict(zip(states, first, strict=True))}
    other = gn.evaluate(gn.value_and_grad(gn.sum(given**2), states), feeds)
    np.testing.assert_allclose(one[0], other[0], rtol=1e-12)
    for learned, by_row in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(learned, by_row.sum(0), rtol=1e-11)


# ------------------------------------------------------------------------------------- wrappers


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "average"])
def test_merges(merge: str) -> None:
    net = randomized(gn.nn.GRU(FEATURES, HIDDEN, bidirectional=True, merge=merge, **WIDE))
    both = net.layers[0]
    x = sequences()
    outs = []
    for wanted in (True, False):
        for layer in (net, both.forward_layer, both.backward_layer):
            layer.return_sequences = wanted
            outs.append(layer(x))
    every, ahead, back, last, last_ahead, last_back = gn.evaluate(outs, {x: random(*x.shape)})
    rule = {
        "concat": lambda a, b: np.concatenate([a, b], -1),
        "sum": np.add,
        "mul": np.multiply,
        "average": lambda a, b: (a + b) / 2,
    }[merge]
    np.testing.assert_allclose(every, rule(ahead, back), rtol=1e-12)
    np.testing.assert_allclose(last, rule(last_ahead, last_back), rtol=1e-12)
    np.testing.assert_array_equal(last_back, back[0])


def test_residual_layers_add_what_they_get() -> None:
    layer = gn.nn.Recurrent(randomized(gn.nn.GRUCell(FEATURES, FEATURES, **WIDE)), reverse=True)
    x, fed = sequences(), random(STEPS, BATCH, FEATURES)
    residual = gn.nn.Residual(layer, return_sequences=True)
    every = residual(x)
    residual.return_sequences = False
    found, last, plain = gn.evaluate([every, residual(x), layer(x)], {x: fed})
    np.testing.assert_allclose(last, fed[0] + plain, rtol=1e-12)
    np.testing.assert_allclose(found[0], last, rtol=1e-12)


def test_dropout_is_between_layers_and_only_in_training() -> None:
    """The upper layer sums what comes in; the lower one passes on ones."""
    net = gn.nn.SimpleRNN(
        6, 6, num_layers=2, dropout=0.5, variational=True, activation=gn.linear, bias=False
    )
    lower, upper = (each.cell for each in net.layers)
    for weight in (lower.input_weight, upper.input_weight):
        weight.value = np.eye(6)
    for weight in (lower.recurrent_weight, upper.recurrent_weight):
        weight.value = np.zeros((6, 6))
    net.return_sequences = True
    x = gn.ones((4, 3, 6))
    found = gn.evaluate(net(x))
    assert set(np.unique(found)) == {0.0, 2.0}
    np.testing.assert_array_equal(found, np.broadcast_to(found[0], found.shape))
    np.testing.assert_array_equal(gn.evaluate(net.eval()(x)), 1.0)


def test_any_function_of_carry_and_element_is_a_cell() -> None:
    """Structures for inputs and outputs, and an initial state with every call."""

    def step(total: Node, both: Any) -> Any:
        value, factor = both
        total = total + value * factor
        return total, {"total": total, "value": -value}

    layer = gn.nn.Recurrent(step, return_sequences=True)
    x, f = sequences(), sequences(name="f")
    y = layer((x, f), gn.zeros((BATCH, FEATURES), "float64"), lengths=LENGTHS)
    fed, factors = random(*x.shape), random(*x.shape, seed=1)
    found = gn.evaluate(y, {x: fed, f: factors})
    real = (np.arange(STEPS)[:, None] < LENGTHS)[..., None]
    wanted = np.cumsum(fed * factors, 0) * real
    np.testing.assert_allclose(found["total"], wanted, rtol=1e-12)
    np.testing.assert_allclose(found["value"], -fed * real, rtol=1e-12)
    with pytest.raises(ArgumentError, match=r"no zero_state\(batch\)"):
        layer((x, f))


# --------------------------------------------------------------------------------------- errors


LSTM = gn.nn.LSTMCell(FEATURES, HIDDEN)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda r: r(gn.zeros(4)), ShapeError, r"must be \(time, batch, \.\.\.\), not \(4,\)"),
        (
            lambda r: r(gn.zeros((5, 2, 3))),
            ShapeError,
            r"must be \(time, batch, 4\), it is \(5, 2, 3",
        ),
        (lambda r: r(gn.zeros((5, 2))), ShapeError, r"must be \(time, batch, 4\), it is \(5, 2\)"),
        (lambda r: r(gn.zeros((5, 2, 4)), gn.zeros((2, 3))), ShapeError, "initial state must be"),
        (
            lambda r: r(gn.zeros((5, 2, 4)), (gn.zeros((2, 3)), gn.zeros((1, 3)))),
            ShapeError,
            "initial state must be",
        ),
        (lambda r: r(gn.zeros((5, 2, 4)), lengths=[1]), ShapeError, r"lengths must be \(2,\)"),
        (lambda r: r(gn.zeros((5, 2, 4)), lengths=[1.0, 2.0]), DTypeError, "are integers"),
        (lambda r: r(gn.zeros((5, 2, 4)), mask=gn.zeros((2, 5))), ShapeError, r"must be \(5, 2\)"),
        (lambda r: r(gn.zeros((5, 2, 4)), mask=gn.zeros((5, 2))), DTypeError, "the mask is bool"),
        (
            lambda r: r(gn.zeros((5, 2, 4)), mask=gn.zeros((5, 2)), lengths=[1, 2]),
            ArgumentError,
            "say the same",
        ),
        (lambda r: r((gn.zeros((5, 2, 4)), gn.zeros((4, 2, 4)))), ShapeError, "inputs differ"),
    ],
)
def test_what_is_given_must_fit(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(gn.nn.Recurrent(LSTM))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gn.nn.Recurrent(gn.nn.LSTMCell), "is not a cell"),
        (lambda: gn.nn.Recurrent(LSTM, learned_state=True, stateful=True), "learned is not that"),
        (lambda: gn.nn.Stacked(), "there are no layers"),
        (lambda: gn.nn.Stacked(LSTM), "is a cell, not a layer"),
        (lambda: gn.nn.Stacked(gn.nn.Tanh()), "no layer over sequences"),
        (
            lambda: gn.nn.Residual(gn.nn.Recurrent(LSTM, return_sequences=True)),
            "return_sequences is said by the outermost layer",
        ),
        (
            lambda: gn.nn.Bidirectional(gn.nn.Recurrent(LSTM), gn.nn.Recurrent(LSTM)),
            "the second one backward",
        ),
        (lambda: gn.nn.LSTM(3, 4, bidirectional=True, merge="max"), "no merge 'max'"),
        (lambda: gn.nn.LSTM(3, 4, bidirectional=True, reverse=True), "reversed already"),
        (lambda: gn.nn.LSTM(3, 4, dropout=0.5), "dropout is between layers"),
        (lambda: gn.nn.LSTM(3, 4, num_layers=0), "num_layers must be a positive integer"),
        (lambda: gn.nn.LSTM(3, 4, residual=True), "no layer gives as many features"),
    ],
)
def test_what_does_not_go_together(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


def test_layers_of_layers_say_what_does_not_fit() -> None:
    x = gn.zeros((5, 2, 4))
    with pytest.raises(ShapeError, match="are not added to inputs"):
        gn.nn.Residual(gn.nn.Recurrent(LSTM))(x)
    other = gn.nn.Recurrent(gn.nn.LSTMCell(FEATURES, 2), reverse=True)
    with pytest.raises(ShapeError, match="outputs of the directions differ"):
        gn.nn.Bidirectional(gn.nn.Recurrent(LSTM), other, merge="sum")(x)
    with pytest.raises(ArgumentError, match="must be 2 states, one for each layer"):
        gn.nn.LSTM(4, 3, num_layers=2)(x, gn.zeros((2, 3)))
    with pytest.raises(ArgumentError, match="must be a pair"):
        gn.nn.LSTM(4, 3, bidirectional=True)(x, gn.zeros((2, 3)))


def test_a_state_is_kept_for_a_known_number_of_rows() -> None:
    layer = gn.nn.Recurrent(LSTM, stateful=True)
    with pytest.raises(ShapeError, match="has a known number of rows, not batch"):
        layer(gn.input("x", ("time", "batch", FEATURES)))
    layer(gn.zeros((5, 2, FEATURES)))
    with pytest.raises(ShapeError, match="kept for 2 rows, the input has 3"):
        layer(gn.zeros((5, 3, FEATURES)))


def test_reprs_are_short() -> None:
    assert repr(gn.nn.Recurrent(LSTM, reverse=True)) == "Recurrent(LSTMCell(4, 3), reverse=True)"
    net = gn.nn.Jordan(4, 3, 2, num_layers=3, dropout=0.1, learned_state=True, batch_first=True)
    words = "Jordan(4, 3, 2, num_layers=3, dropout=0.1, learned_state=True, batch_first=True)"
    assert repr(net) == words
    both = gn.nn.Bidirectional(gn.nn.Recurrent(LSTM), gn.nn.Recurrent(LSTM, reverse=True))
    assert repr(gn.nn.Stacked(both, dropout=0.5)) == f"Stacked({both!r}, dropout=0.5)"
