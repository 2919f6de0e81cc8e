"""The Hopfield network beside the formulas in NumPy, in the same order of updates."""

import numpy as np
import pytest
from drawing import Array

import graphnn as gn
from graphnn.core.errors import ArgumentError, ShapeError

UNITS = 24


def signs(rng: np.random.Generator, *shape: int) -> Array:
    return rng.choice([-1.0, 1.0], shape)


def reference_energy(weight: Array, theta: Array, state: Array) -> float:
    units = range(len(theta))
    pairs = sum(weight[i, j] * state[i] * state[j] for i in units for j in units)
    return float(-pairs / 2 + sum(theta[i] * state[i] for i in units))


def reference_states(weight: Array, theta: Array, state: Array, order: Array) -> list[Array]:
    """The state before the first update, and after each."""
    states = [state.copy()]
    for unit in order:
        pull = weight[unit] @ states[-1] - theta[unit]
        following = states[-1].copy()
        if pull != 0:
            following[unit] = np.sign(pull)
        states.append(following)
    return states


def random_net(seed: int, *, whole: bool) -> gn.nn.Hopfield:
    """Symmetric weights in float64 that no patterns gave; of whole numbers, many sums are 0."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(UNITS, UNITS))
    theta = rng.normal(size=UNITS)
    if whole:
        weight, theta = np.round(weight), np.round(theta)
    weight = np.triu(weight, 1)
    net = gn.nn.Hopfield(UNITS, thresholds=theta, dtype="float64")
    net.weight.value = weight + weight.T
    return net


@pytest.mark.parametrize("whole", [False, True], ids=["reals", "ties"])
@pytest.mark.parametrize("seed", range(3))
def test_recall_takes_the_steps_of_the_formula_and_never_climbs(seed: int, whole: bool) -> None:
    net, rng, key = random_net(seed, whole=whole), np.random.default_rng(seed), gn.random.key(seed)
    batch = signs(rng, 5, UNITS)
    order = gn.evaluate(gn.nn.update_order(UNITS, 3, key))
    state = gn.input("state", shape=("batch", UNITS), dtype="float64")
    program = gn.compile(state, [net.recall(state, 3, key=key), net.energy(state)])
    last, energy = program(batch)
    weight, theta = net.weight.value, net.threshold.value
    ties = 0
    for row, start in enumerate(batch):
        states = reference_states(weight, theta, start, order)
        np.testing.assert_array_equal(last[row], states[-1])
        energies = [reference_energy(weight, theta, each) for each in states]
        assert energy[row] == pytest.approx(energies[0], rel=1e-12, abs=1e-12)
        assert np.diff(energies).max() <= 1e-12
        assert energies[-1] < energies[0]
        pulls = (weight[unit] @ each for unit, each in zip(order, states[:-1], strict=True))
        ties += sum(pull == theta[unit] for unit, pull in zip(order, pulls, strict=True))
    assert (ties > 0) == whole


def test_states_come_to_rest_where_every_unit_agrees() -> None:
    net = random_net(7, whole=False)
    state = gn.input("state", shape=(UNITS,), dtype="float64")
    recall = gn.compile(state, net.recall(state, 20))  # in another order at every call
    rest = recall(signs(np.random.default_rng(7), UNITS))
    np.testing.assert_array_equal(np.sign(net.weight.value @ rest - net.threshold.value), rest)
    np.testing.assert_array_equal(recall(rest), rest)


def test_every_sweep_updates_every_unit_once_in_an_order_of_its_own() -> None:
    order = gn.evaluate(gn.nn.update_order(9, 6, gn.random.key(1))).reshape(6, 9)
    np.testing.assert_array_equal(np.sort(order), np.tile(np.arange(9), (6, 1)))
    assert len({tuple(each) for each in order}) == 6


def test_hebbian_weights_are_the_mean_of_outer_products() -> None:
    patterns = signs(np.random.default_rng(0), 8, UNITS)
    net = gn.nn.Hopfield(UNITS)
    net.learn(patterns)
    expected = sum(np.outer(each, each) for each in patterns) / 8
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_array_equal(net.weight.value, expected.astype("float32"))
    net.learn(patterns[:1])  # forgets what it knew
    np.testing.assert_array_equal(np.abs(net.weight.value), 1.0 - np.eye(UNITS))


def test_corrupted_patterns_are_recalled_and_so_are_their_opposites() -> None:
    rng = np.random.default_rng(2)
    patterns = signs(rng, 8, 200)  # 0.04 of the units, well below the capacity of 0.14
    net = gn.nn.Hopfield(200)
    net.learn(patterns)
    corrupted = np.repeat(patterns, 3, axis=0)
    for each in corrupted:
        each[rng.choice(200, 40, replace=False)] *= -1
    state = gn.input("state", shape=("kind", "batch", 200))
    recall = gn.compile(state, net.recall(state, key=gn.random.key(0)))
    found, opposite = recall(np.stack([corrupted, -corrupted]).astype("float32"))
    np.testing.assert_array_equal(found, np.repeat(patterns, 3, axis=0))
    np.testing.assert_array_equal(opposite, -found)


def test_weights_are_saved_but_not_trained() -> None:
    net = gn.nn.Hopfield(3)
    assert [name for name, _ in net.named_buffers()] == ["weight", "threshold"]
    assert net.parameters() == []
    assert repr(net) == "Hopfield(3)"


def test_a_recall_is_one_loop_of_native_code() -> None:
    net = gn.nn.Hopfield(8)
    state = gn.input("state", shape=(8,))
    program = gn.compile(state, net.recall(state, 4))
    assert [loop.count for loop in program.loops] == [32]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gn.nn.Hopfield(0), ArgumentError, "units must be a positive integer"),
        (
            lambda: gn.nn.Hopfield(3, thresholds=[1.0]),
            ShapeError,
            r"thresholds of shape \(1,\) for 3",
        ),
        (
            lambda: gn.nn.Hopfield(3).learn([[1, -1]]),
            ShapeError,
            r"must be \(n, 3\), not \(1, 2\)",
        ),
        (lambda: gn.nn.Hopfield(2).learn([[0, 1]]), ArgumentError, "0 is neither.*\n.*\n.*2 \\* b"),
        (lambda: gn.nn.hebbian([1.0, -1.0]), ShapeError, r"(?s)not \(2,\).*as \[pattern\]"),
        (lambda: gn.nn.hebbian(np.zeros((0, 2))), ShapeError, "n of at least 1"),
        (lambda: gn.nn.Hopfield(3).recall([1.0, 1.0]), ShapeError, r"\(\.\.\., 3\), not \(2,\)"),
        (lambda: gn.nn.Hopfield(3).energy(1.0), ShapeError, r"\(\.\.\., 3\), not \(\)"),
        (
            lambda: gn.nn.Hopfield(2).recall([0, 1]),
            ArgumentError,
            "states consist of -1 and 1, and 0",
        ),
        (lambda: gn.nn.Hopfield(1).recall([1.0], 0), ArgumentError, "sweeps must be a positive"),
    ],
)
def test_hopfield_refuses(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()
