"""Training that is stopped, saved and resumed ends bit for bit where undisturbed training ends."""

import kill_checkpoints
import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import CheckpointError

STEPS = 23


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return kill_checkpoints.train(tmp_path_factory.mktemp("undisturbed"), STEPS, save=False)


@pytest.mark.parametrize("stop", [1, 5, 7, 22])
def test_training_goes_on_bit_for_bit(tmp_path, undisturbed, stop):
    """With dropout, batch statistics, Adam, a schedule, averages and shuffled batches.

    Epochs have five steps: stops are within one, at its end, and near the end of all.
    """
    first = kill_checkpoints.Run(STEPS)
    path = tmp_path / "run.ckpt"
    for made in first.train():
        if made == stop:
            gn.io.save(path, **first.parts())
            break
    gn.seed(99)  # what the process did besides is of no consequence
    gn.evaluate(gn.random.uniform(shape=(3,)))
    second = kill_checkpoints.Run(STEPS)
    gn.io.load(path, **second.parts())
    list(second.train())
    assert second.digest() == undisturbed
    assert second.step is not first.step


@pytest.mark.parametrize("part", ["model", "optimizer", "average", "batches", "history", "random"])
def test_no_part_can_be_left_out(tmp_path, undisturbed, part):
    """So the test above sees what each of them holds."""
    run = kill_checkpoints.Run(STEPS)
    path = tmp_path / "run.ckpt"
    for made in run.train():
        if made == 7:
            gn.io.save(path, **run.parts())
            break
    other = kill_checkpoints.Run(STEPS)
    parts = other.parts()
    del parts[part]
    gn.io.load(path, **parts)
    list(other.train())
    assert other.digest() != undisturbed


def test_killed_processes_lose_nothing(tmp_path):
    """A few rounds of what the command does two hundred times."""
    counted = kill_checkpoints.torture(
        tmp_path, kills=2, steps=20, seed=0, most_seconds=0.2, ways=["trainer"]
    )
    assert counted["kills of trainers"] == counted["kills"] >= 2
    assert counted["runs"] >= 1


# ------------------------------------------------------------------------------- optimizers


def plateau_rate(parameters):
    plateau = gn.optim.ReduceOnPlateau(0.1, factor=0.5, patience=0)
    plateau.observe(1.0)
    plateau.observe(2.0)
    return gn.optim.SGD(plateau.rate)


OPTIMIZERS = {
    "SGD": lambda p: gn.optim.SGD(0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: gn.optim.Adam(gn.optim.Cosine(0.1, 6), amsgrad=True),
    "AdamW": lambda p: gn.optim.AdamW(gn.optim.OneCycle(0.1, 6)),
    "Adamax": lambda p: gn.optim.Adamax(0.1),
    "NAdam": lambda p: gn.optim.NAdam(0.1),
    "Adagrad": lambda p: gn.optim.Adagrad(0.1, initial=0.1),
    "Adadelta": lambda p: gn.optim.Adadelta(1.0),
    "RMSprop": lambda p: gn.optim.RMSprop(0.1, momentum=0.5, centered=True),
    "Lion": lambda p: gn.optim.Lion(0.01),
    "Rprop": lambda p: gn.optim.Rprop(0.1),
    "LBFGS": lambda p: gn.optim.LBFGS(history=2),
    "LossScale": lambda p: gn.optim.LossScale(gn.optim.Adam(0.1), 2.0**126, every=2),
    "Grouped": lambda p: gn.optim.Grouped(
        (gn.optim.Adam(0.1), p[:1]), (gn.optim.SGD(0.1, momentum=0.5), p[1:])
    ),
    "Accumulated": lambda p: gn.optim.Accumulated(gn.optim.Adam(0.1), 2),
    "rate that is a parameter": plateau_rate,
}


def regression(make):
    """A model, its optimizer, and a step that takes nothing."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)).astype("f"), rng.normal(size=(8, 2)).astype("f")
    gn.seed(0)
    model = gn.nn.Dense(3, 2)
    loss = gn.losses.mse(gn.tanh(model(gn.constant(x))), gn.constant(y))
    optimizer = make(model.parameters())
    step = gn.compile(
        [], loss, updates=optimizer.minimize(loss, model.parameters()), backend="reference"
    )
    return model, optimizer, step


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_go_on(tmp_path, name):
    def ends(parts):
        return {
            f"{number}.{key}": value.tobytes()
            for number, part in enumerate(parts)
            for key, value in part.state_dict().items()
        }

    model, optimizer, step = regression(OPTIMIZERS[name])
    for _ in range(3):
        step()
    gn.io.save(tmp_path / "run.ckpt", model=model, optimizer=optimizer)
    saved = optimizer.state_dict()
    losses = [float(step()) for _ in range(3)]

    fresh, other, resumed = regression(
        OPTIMIZERS[name] if name != "rate that is a parameter" else self_rated
    )
    assert ends([other]) != {f"0.{key}": value.tobytes() for key, value in saved.items()}
    gn.io.load(tmp_path / "run.ckpt", model=fresh, optimizer=other)
    assert [float(resumed()) for _ in range(3)] == losses
    assert ends([fresh, other]) == ends([model, optimizer])


def self_rated(parameters):
    return gn.optim.SGD(gn.parameter(7.0, trainable=False))


def test_every_optimizer_is_tested():
    optimizers = {
        name
        for name, value in vars(gn.optim).items()
        if isinstance(value, type) and issubclass(value, gn.optim.Optimizer)
    }
    assert optimizers - {"Optimizer"} <= OPTIMIZERS.keys()


def test_slots_are_named_by_their_parameters_also_where_names_are_equal():
    weights = [gn.parameter(1.0), gn.parameter(2.0), gn.parameter(3.0, name="w")]
    optimizer = gn.optim.SGD(0.1, momentum=0.9)
    loss = weights[0] * weights[1] * weights[2]
    step = gn.compile([], loss, updates=optimizer.minimize(loss, weights), backend="reference")
    step()
    state = optimizer.state_dict()
    assert {name: float(value) for name, value in state.items()} == {
        "step": 1,
        "parameter[0].momentum": 6.0,
        "parameter[1].momentum": 3.0,
        "w.momentum": 2.0,
    }
    state["w.momentum"] += 1  # a copy
    assert float(optimizer.state_dict()["w.momentum"]) == 2.0


def test_an_optimizer_before_minimize_or_of_another_kind():
    _, optimizer, _ = regression(OPTIMIZERS["SGD"])
    state = optimizer.state_dict()
    with pytest.raises(CheckpointError, match=r"unexpected: weight\.momentum"):
        gn.optim.SGD(0.1, momentum=0.9).load_state_dict(state)
    _, other, _ = regression(OPTIMIZERS["Adagrad"])
    before = other.state_dict()
    with pytest.raises(CheckpointError) as caught:
        other.load_state_dict({**state, "step": np.ones(2), "bias.sum_of_squares": np.ones(3)})
    for words in (
        "does not fit this Adagrad",
        "missing: weight.sum_of_squares",
        "unexpected: bias.momentum",
        "step: (2,) float64 does not fit () int64",
        "bias.sum_of_squares: (3,)",
    ):
        assert words in str(caught.value)
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_plateau_goes_on(tmp_path):
    def made():
        return gn.optim.ReduceOnPlateau(1.0, factor=0.5, patience=1, cooldown=2)

    measures = [1.0, 2.0, 2.0, 2.0, 0.5, 2.0, 2.0, 2.0, 2.0]
    undisturbed = made()
    rates = [(undisturbed.observe(each), float(undisturbed.rate.value)) for each in measures]
    for stop in range(len(measures)):
        first, second = made(), made()
        for each in measures[:stop]:
            first.observe(each)
        gn.io.save(tmp_path / "plateau.ckpt", plateau=first)
        gn.io.load(tmp_path / "plateau.ckpt", plateau=second)
        found = [(second.observe(each), float(second.rate.value)) for each in measures[stop:]]
        assert found == rates[stop:]
    with pytest.raises(CheckpointError, match=r"missing: best\n  .*rate: array \(2,\), not array"):
        made().load_state_dict({"rate": np.ones(2), "waited": 0, "cooling": 0})


# -------------------------------------------------------------- random numbers, histories


def test_the_default_stream_goes_on():
    gn.seed(5)
    draw = gn.compile([], gn.random.uniform(shape=(4,)), backend="reference")
    draw()
    state = gn.random.state_dict()
    assert state == gn.random.state_dict()  # asking changes nothing

    def following():
        later = gn.evaluate(gn.random.uniform(shape=(4,)))  # a graph that is built later
        return [draw(), later, gn.init.normal((2, 2))]

    first = following()
    gn.seed(6)
    gn.random.load_state_dict(state)
    for one, other in zip(first, following(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(CheckpointError, match=r"missing: places\n.*seed: str, not number"):
        gn.random.load_state_dict({"seed": "x", "calls": 0})
    assert gn.random.state_dict()["seed"] == 5


def test_a_history_goes_on():
    history = gn.train.History({"loss": [0.5], "accuracy": [0.1]}, interrupted=True)
    state = history.state_dict()
    history.record({"loss": 0.25})
    other = gn.train.History({"else": [1.0]})
    other.load_state_dict(state)
    assert other == gn.train.History({"loss": [0.5], "accuracy": [0.1]}, interrupted=True)
    other.record({"loss": 1.0})
    assert state["metrics"]["loss"] == [0.5]
    with pytest.raises(CheckpointError, match=r"missing: metrics"):
        other.load_state_dict({"interrupted": True})


def test_states_that_are_kept_from_call_to_call_are_a_part_of_their_own(tmp_path):
    def made():
        gn.seed(0)
        net = gn.nn.Sequential(gn.nn.LSTM(2, 3, stateful=True))
        x = gn.input("x", shape=(4, 1, 2))
        y = net(x)
        return net, gn.compile(x, y, updates=net.state_updates(), backend="reference")

    x = np.ones((4, 1, 2), np.float32)
    net, step = made()
    step(x)
    gn.io.save(tmp_path / "run.ckpt", net=net, passing=net.passing_state())
    wanted = step(x)
    other, resumed = made()
    gn.io.load(tmp_path / "run.ckpt", net=other)
    assert not np.array_equal(resumed(x), wanted)
    gn.io.load(tmp_path / "run.ckpt", net=other, passing=other.passing_state())
    np.testing.assert_array_equal(resumed(x), wanted)
    with pytest.raises(CheckpointError, match=r"missing: layers\.0\.layers\.0\.state\.0"):
        other.passing_state().load_state_dict({})
