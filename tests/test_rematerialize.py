"""Memory budgets: what is computed again, what it costs, and that results stay the same."""

import tracemalloc

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.backends import emit
from graphnn.compiler.eviction import simulate
from graphnn.compiler.frugal_order import frugal_order
from graphnn.compiler.memory_model import Model
from graphnn.compiler.unit import Unit
from graphnn.ops.recomputation import again

RNG = np.random.default_rng(7)


def chain(steps, size=16):
    """A chain of products and the derivative by its weight: the plainest recurrence."""
    x = gn.input("x", shape=(size, size))
    w = gn.parameter(RNG.normal(size=(size, size)) / size**0.5, dtype="float32")
    state = x
    for _ in range(steps):
        state = gn.tanh(state @ w)
    loss = gn.sum(state)
    return x, loss, gn.grad(loss, [w])[0]


def recurrent_net(steps, batch=8, features=4):
    x = gn.input("x", shape=(steps, batch, features))
    model = gn.nn.SimpleRNN(features, features, unroll=True, rng=np.random.default_rng(0))
    return x, gn.mean(gn.square(model(x))), model.parameters()


def lstm(steps=6, batch=16, size=8):
    """A long short-term memory net, written out."""
    x = gn.input("x", shape=(steps, batch, size))
    rng = np.random.default_rng(0)
    weights = [
        gn.parameter(rng.normal(size=(size, 4 * size)) / 4, dtype="float32") for _ in range(2)
    ]
    h = c = gn.zeros((batch, size))
    for step in range(steps):
        gates = x[step] @ weights[0] + h @ weights[1]
        i, f, o, g = (gates[:, k * size : (k + 1) * size] for k in range(4))
        c = gn.sigmoid(f) * c + gn.sigmoid(i) * gn.tanh(g)
        h = gn.sigmoid(o) * gn.tanh(c)
    return x, gn.mean(gn.square(h)), weights


def mlp(depth=8, batch=64, size=16):
    x = gn.input("x", shape=(batch, size))
    rng = np.random.default_rng(0)
    layers = [gn.nn.Dense(size, size, rng=rng) for _ in range(depth)]
    model = gn.nn.Sequential(*(part for layer in layers for part in (layer, gn.nn.GELU())))
    return x, gn.mean(gn.square(model(x))), model.parameters()


def conv_net(batch=4):
    x = gn.input("x", shape=(batch, 1, 16, 16))
    rng = np.random.default_rng(0)
    kernels = [
        gn.parameter(rng.normal(size=shape) / 5, dtype="float32")
        for shape in ((4, 1, 3, 3), (4, 4, 3, 3), (4, 4, 3, 3))
    ]
    y = x
    for kernel in kernels:
        y = gn.relu(gn.conv(y, kernel, padding="same"))
    return x, gn.mean(gn.square(gn.max_pool(y, 2))), kernels


WRITTEN_OUT = {"skip": "reroll"}
"""Under a budget loops stay as they were written, and so they must without, to compare."""

NETS = {"mlp": mlp, "rnn": lambda: recurrent_net(20), "lstm": lstm, "conv": conv_net}


def feed(node):
    return np.random.default_rng(1).normal(size=node.shape).astype(np.float32)


def smallest(x, outputs, **options):
    """The smallest arena that a program can have."""
    with pytest.raises(gn.ArgumentError) as caught:
        gn.compile(x, outputs, memory_budget=1, **options)
    return int(str(caught.value).rpartition("memory_budget=")[2].split()[0])


def unit_of(x, *outputs):
    return Unit(gn.Graph((x,), outputs))


# ------------------------------------------------------------------------------ whole programs


@pytest.mark.parametrize("name", NETS)
def test_gradients_under_a_budget_are_the_same_to_the_last_bit(name):
    x, loss, parameters = NETS[name]()
    outputs = [loss, *gn.grad(loss, parameters)]
    plain = gn.compile(x, outputs, **WRITTEN_OUT)
    fed = feed(x)
    expected = plain(fed)
    free = gn.compile(x, outputs, memory_budget=plain.arena_nbytes - 1).arena_nbytes
    least = smallest(x, outputs)
    budget = least + (free - least) // 5
    program = gn.compile(x, outputs, memory_budget=budget)
    assert program.arena_nbytes <= budget
    assert program.memory.recomputed
    for value, other in zip(program(fed), expected, strict=True):
        assert value.tobytes() == other.tobytes()
    slow = {"backend": "reference", "optimize": "O0"}
    oracle = gn.compile(x, outputs, memory_budget=smallest(x, outputs, **slow), **slow)
    for value, other in zip(oracle(fed), expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "rnn"])
def test_training_under_a_budget_reaches_the_same_weights(name):
    def trained(fraction):
        x, loss, parameters = NETS[name]()
        updates = gn.optim.Adam(1e-2).minimize(loss, parameters)
        nbytes = gn.compile(x, loss, updates, **WRITTEN_OUT).arena_nbytes
        budget = None if fraction is None else int(nbytes * fraction)
        step = gn.compile(x, loss, updates, memory_budget=budget, **WRITTEN_OUT)
        for _ in range(3):
            step(feed(x))
        return step, [parameter.value for parameter in parameters]

    _, expected = trained(None)
    step, weights = trained(0.45 if name == "mlp" else 0.35)
    assert step.memory.recomputed
    for value, other in zip(weights, expected, strict=True):
        assert value.tobytes() == other.tobytes()


def test_random_numbers_drawn_again_are_the_same():
    x = gn.input("x", shape=(64, 64))
    w = gn.parameter(RNG.normal(size=(64, 64)) / 8, dtype="float32")
    y, key = x, gn.random.key(3)
    for layer in range(6):
        noise = gn.random.normal(gn.random.fold_in(key, layer), (64, 64))
        y = gn.tanh((y * noise) @ w)
    loss = gn.sum(y)
    outputs = [loss, *gn.grad(loss, [w])]
    plain = gn.compile(x, outputs)
    program = gn.compile(x, outputs, memory_budget=int(plain.arena_nbytes * 0.65))
    assert program.memory.recomputed
    for value, other in zip(program(feed(x)), plain(feed(x)), strict=True):
        assert value.tobytes() == other.tobytes()


def test_a_budget_that_is_large_enough_changes_nothing():
    x, loss, gradient = chain(10)
    plain = gn.compile(x, [loss, gradient], **WRITTEN_OUT)
    same = gn.compile(x, [loss, gradient], memory_budget=plain.arena_nbytes)
    assert same.unit.schedule == plain.unit.schedule
    assert same.memory.recomputed == ()
    assert same.memory.extra_flops == 0


def test_another_order_is_tried_before_anything_is_computed_again():
    """Depth first, the outer products of a gradient come last, and all states wait for them."""
    x, loss, parameters = recurrent_net(40)
    outputs = [loss, *gn.grad(loss, parameters)]
    plain = gn.compile(x, outputs, **WRITTEN_OUT)
    program = gn.compile(x, outputs, memory_budget=int(plain.arena_nbytes * 0.8))
    assert program.arena_nbytes <= 0.8 * plain.arena_nbytes
    assert program.flops == plain.flops


def test_every_level_and_named_dimensions_keep_the_budget():
    x = gn.input("x", shape=("batch", 32))
    y, w = x, gn.constant(RNG.normal(size=(32, 32)).astype("float32") / 8)
    for _ in range(6):
        y = gn.exp(-gn.square(y @ w))
    outputs = gn.grad(gn.sum(y), [x])
    for level in ("O0", "O1", "O2"):
        plain = gn.compile(x, outputs, optimize=level)
        fed = np.ones((64, 32), np.float32)
        expected = plain(fed)
        budget = int(plain.arena_nbytes * 0.75)
        program = gn.compile(x, outputs, optimize=level, memory_budget=budget)
        assert program(fed)[0].tobytes() == expected[0].tobytes()
        assert program.arena_nbytes <= budget


def test_a_run_takes_no_memory_beside_the_arena():
    """What NumPy's own kernels take for themselves is a few states at most."""
    x, loss, parameters = recurrent_net(40, 256, 16)
    state = 256 * 16 * 4
    outputs = [loss, *gn.grad(loss, parameters)]
    budget = x.tensor.nbytes + 24 * state
    program = gn.compile(x, outputs, memory_budget=budget)
    fed = feed(x)
    tracemalloc.start()
    try:
        executable = emit(program.unit)
        bound = tracemalloc.get_traced_memory()[0]
        assert program.arena_nbytes <= bound
        tracemalloc.reset_peak()
        executable.run([fed])
        assert tracemalloc.get_traced_memory()[1] - bound < 4 * state
    finally:
        tracemalloc.stop()
    assert program.arena_nbytes <= budget


# -------------------------------------------------------------------------------- what it costs


def forwards(steps, buffers):
    """How often a chain is run forward in all to be run backward with so many buffers."""
    x, loss, gradient = chain(steps)
    model = Model.of(unit_of(x, loss, gradient))
    nbytes = max(model.nbytes)
    trial = simulate(model, buffers * nbytes, 10**6)
    assert trial is not None
    assert trial.peak <= buffers * nbytes
    products = [value for value, node in enumerate(model.nodes) if node.op.name == "tanh"]
    return sum(value in set(products) for value, _ in trial.steps) / steps


def test_a_chain_needs_one_more_run_at_the_square_root_of_its_length():
    for steps in (64, 256):
        assert forwards(steps, steps + 8) == 1.0
        assert forwards(steps, round(2 * steps**0.5) + 6) <= 2.0


def test_fewer_buffers_take_more_runs_but_not_many():
    """With ten buffers the binomial optimum for 256 steps is under four runs."""
    assert 2.0 < forwards(256, 14) <= 4.5


def test_cheap_values_are_computed_again_rather_than_products():
    x = gn.input("x", shape=(64, 64))
    w = gn.parameter(RNG.normal(size=(6, 64, 64)), dtype="float32")
    products = [x @ w[index] for index in range(6)]
    cheap = [gn.sin(each) for each in products]
    middle = sum(gn.sum(each * each) for each in cheap)
    late = middle * x
    for product, value in zip(products, cheap, strict=True):
        late = gn.cos(late) * value + product
    plain = gn.compile(x, late)
    program = gn.compile(x, late, memory_budget=11 * 64 * 64 * 4)
    words = {node.op.name for node in program.memory.recomputed}
    assert words == {"sin"}
    assert program(feed(x)).tobytes() == plain(feed(x)).tobytes()


def test_the_search_is_linear_enough_for_long_recurrences():
    """The number of steps of the search is counted, not its time."""
    x, loss, gradient = chain(1000, size=4)
    model = Model.of(unit_of(x, loss, gradient))
    order = frugal_order(model)
    assert sorted(order) == list(range(len(model.nodes)))
    trial = simulate(model, 80 * 64, 4 * len(order))
    assert trial is not None
    assert len(trial.steps) < 1.6 * len(order)


def test_a_frugal_order_computes_inputs_first():
    x, loss, parameters = lstm()
    model = Model.of(unit_of(x, loss, *gn.grad(loss, parameters)))
    place = {value: index for index, value in enumerate(frugal_order(model))}
    assert len(place) == len(model.nodes)
    for value, reads in enumerate(model.reads):
        assert all(place[each] < place[value] for each in reads)


# ------------------------------------------------------------------------- what cannot be done


def test_an_impossible_budget_names_the_smallest_arena_and_what_it_holds():
    x, loss, gradient = chain(12)
    with pytest.raises(gn.ArgumentError) as caught:
        gn.compile(x, [loss, gradient], memory_budget="1 KiB")
    message = str(caught.value)
    assert "1.00 KiB is too little" in message
    assert "1.00 KiB matmul" in message
    assert "test_rematerialize.py:" in message
    least = int(message.rpartition("memory_budget=")[2].split()[0])
    program = gn.compile(x, [loss, gradient], memory_budget=least)
    assert program.arena_nbytes == least


@pytest.mark.parametrize("budget", [0, -5, "12 parsecs", "MiB", 1.5, True])
def test_a_budget_that_is_none_is_refused(budget):
    x = gn.input("x", shape=(3,))
    with pytest.raises(gn.ArgumentError, match="positive number of bytes"):
        gn.compile(x, gn.exp(x), memory_budget=budget)


# ------------------------------------------------------------------------------------- `again`


def test_again_is_another_node_of_the_same_value_and_derivative():
    x = gn.input("x", shape=(3,))
    first, second = again(x, 1), again(x, 2)
    assert first is not second
    assert first is again(x, 1)
    fed = np.array([1.0, 2.0, 3.0], np.float32)
    tangent = gn.jvp(gn.exp(first), [x], [gn.ones((3,))])
    for node in (gn.exp(second), gn.grad(gn.sum(gn.exp(first)), [x])[0], tangent):
        for backend in ("numpy", "reference"):
            program = gn.compile(x, node, backend=backend)
            np.testing.assert_allclose(program(fed), np.exp(fed), rtol=1e-6)


def test_again_costs_no_instruction():
    x = gn.input("x", shape=(3,))
    program = gn.compile(x, gn.exp(again(x, 1)))
    assert [each.op.name for each in program.instructions] == ["exp"]
