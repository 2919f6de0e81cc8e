"""Recurrent batch normalisation beside its formula in NumPy, values and gradients."""

from typing import Any

import numpy as np
import pytest
from drawing import Array

import graphnn as gn
from graphnn.core.errors import ArgumentError

STEPS, ROWS, FEATURES, HIDDEN, BOUND, EPS = 5, 6, 3, 4, 3, 1e-5


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


class Formula:
    """The recurrence in NumPy, for complex numbers too; statistics are noted, or given."""

    def __init__(self, kind: str, given: dict[str, list[Array]] | None = None) -> None:
        self.kind, self.given = kind, given
        self.found: dict[tuple[str, int], tuple[Array, Array]] = {}

    def norm(self, name: str, t: int, z: Array, p: dict[str, Array]) -> Array:
        if self.given is None:
            mean = z.sum(0) / len(z)
            spread = ((z - mean) ** 2).sum(0)
            self.found[name, t] = mean, spread / (len(z) - 1)
            variance = spread / len(z)
        else:
            mean, variance = (each[min(t, BOUND - 1)] for each in self.given[name])
        y = (z - mean) / np.sqrt(variance + EPS) * p[f"{name}.weight"]
        return y + p.get(f"{name}.bias", 0)

    def __call__(self, x: Array, p: dict[str, Array]) -> Array:
        h = c = np.zeros((x.shape[1], HIDDEN))
        hs = []
        for t, each in enumerate(x):
            z = self.norm("input_norm", t, each @ p["input_weight"], p) + p["bias"]
            u = self.norm("recurrent_norm", t, h @ p["recurrent_weight"], p)
            if self.kind == "rnn":
                h = np.tanh(z + u)
            elif self.kind == "gru":
                u = u + p["recurrent_bias"]
                zs, us = np.split(z, 3, 1), np.split(u, 3, 1)
                r, keep = sigmoid(zs[0] + us[0]), sigmoid(zs[1] + us[1])
                h = (1 - keep) * np.tanh(zs[2] + r * us[2]) + keep * h
            else:
                i, f, g, o = np.split(z + u, 4, 1)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(self.norm("cell_norm", t, c, p))
            hs.append(h)
        return np.stack(hs)


NETS: dict[str, Any] = {"lstm": gn.nn.LSTM, "rnn": gn.nn.SimpleRNN, "gru": gn.nn.GRU}


def net_of(kind: str, **options: Any) -> Any:
    gn.seed(0)
    sizes = {"return_sequences": True, "dtype": "float64"} | options
    net = NETS[kind](FEATURES, HIDDEN, batch_norm=BOUND, **sizes)
    for n, each in enumerate(net.parameters()):
        each.value = random(*each.shape, seed=n + 1) * 0.7
    return net


def parameters_of(net: Any) -> dict[str, Array]:
    found = net.named_parameters()
    return {name.removeprefix("layers.0.cell."): each.value for name, each in found}


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"unroll": True}], ids=str)
@pytest.mark.parametrize("kind", NETS)
def test_training(kind: str, options: dict[str, Any]) -> None:
    """Outputs, gradients by complex steps, and running statistics of the first steps."""
    net = net_of(kind, **options)
    x = gn.input("x", (STEPS, ROWS, FEATURES), "float64")
    y = net(x)
    weights = random(STEPS, ROWS, HIDDEN, seed=9)
    grads = gn.grad(gn.sum(y * weights), [x, *net.parameters()])
    program = gn.compile(x, [y, *grads], updates=net.state_updates())
    fed, p = random(STEPS, ROWS, FEATURES), parameters_of(net)
    order = slice(None, None, -1 if net.layers[0].reverse else 1)
    formula = Formula(kind)
    wanted = formula(fed[order], p)[order]
    found = program(fed)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-10, atol=1e-12)

    def loss(x: Array, p: dict[str, Array]) -> Any:
        return (Formula(kind)(x[order], p)[order] * weights).sum()

    for name, got in zip(["x", *p], found[1:], strict=True):
        at = fed if name == "x" else p[name]
        slopes = np.empty(at.size)
        for n in range(at.size):
            moved = at.astype(complex)
            moved.flat[n] += 1e-30j
            slopes[n] = (loss(moved, p) if name == "x" else loss(fed, {**p, name: moved})).imag
        np.testing.assert_allclose(got.ravel(), slopes / 1e-30, rtol=1e-8, atol=1e-9)
    buffers = {
        name.removeprefix("layers.0.cell."): each.value for name, each in net.named_buffers()
    }
    assert len(buffers) == (6 if kind == "lstm" else 4)
    for (name, t), (mean, variance) in formula.found.items():
        if t < BOUND:
            np.testing.assert_allclose(buffers[f"{name}.running_mean"][t], 0.1 * mean, atol=1e-12)
            moved = 0.9 + 0.1 * variance
            np.testing.assert_allclose(buffers[f"{name}.running_variance"][t], moved, rtol=1e-10)


@pytest.mark.parametrize("kind", NETS)
def test_evaluation(kind: str) -> None:
    """By the running statistics, the last of which stand for all later steps; by row alone."""
    net = net_of(kind).eval()
    for n, (_, each) in enumerate(net.named_buffers()):
        each.value = np.abs(random(*each.shape, seed=n + 20)) + 0.5
    cell = net.layers[0].cell
    names = ["input_norm", "recurrent_norm", *(["cell_norm"] if kind == "lstm" else [])]
    norms = {name: getattr(cell, name) for name in names}
    given = {n: [each.running_mean.value, each.running_variance.value] for n, each in norms.items()}
    x = gn.input("x", ("time", "batch", FEATURES), "float64")
    program = gn.compile(x, net(x), updates=net.state_updates())
    for steps, rows in ((STEPS, ROWS), (2, 1), (0, 2)):
        fed = random(steps, rows, FEATURES)
        if steps:
            wanted = Formula(kind, given)(fed, parameters_of(net))
            np.testing.assert_allclose(program(fed), wanted, rtol=1e-10, atol=1e-12)
        else:
            assert program(fed).shape == (0, rows, HIDDEN)
    assert net.state_updates() == {}


def test_fewer_steps_than_statistics() -> None:
    """Rows of steps that were not made stay; one program for all lengths."""
    net = net_of("lstm")
    x = gn.input("x", ("time", ROWS, FEATURES), "float64")
    program = gn.compile(x, net(x), updates=net.state_updates())
    program(random(2, ROWS, FEATURES))
    mean = net.layers[0].cell.input_norm.running_mean
    assert np.all(mean.value[:2] != 0)
    np.testing.assert_array_equal(mean.value[2], 0.0)
    program(random(BOUND + 4, ROWS, FEATURES))
    assert np.all(mean.value != 0)


def test_new_net() -> None:
    """Gains of 0.1, and layers of both directions have statistics of their own."""
    net = gn.nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_norm=7)
    norms = [each for _, each in net.named_modules() if isinstance(each, gn.nn.StepNorm)]
    assert len(norms) == 12
    assert all(np.all(each.weight.value == np.float32(0.1)) for each in norms)
    assert {each.running_mean.shape for each in norms} == {(7, 16), (7, 4)}
    other = gn.nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_norm=7)
    other.load_state_dict(net.state_dict())
    assert "batch_norm=7" in repr(net)


def test_messages() -> None:
    """What cannot be is said."""
    net = net_of("lstm")
    x = gn.zeros((STEPS, ROWS, FEATURES), "float64")
    with pytest.raises(ArgumentError, match="would count its padding"):
        net(x, lengths=[1, 2, 3, 4, 5, 5])
    assert net.eval()(x, lengths=[1, 2, 3, 4, 5, 5]).shape == (STEPS, ROWS, HIDDEN)
    cell = net.layers[0].cell
    with pytest.raises(ArgumentError, match="must know which step"):
        cell(cell.zero_state(ROWS), x[0])
    with pytest.raises(ArgumentError, match="layer_norm=True or batch_norm=steps"):
        gn.nn.LSTM(3, 4, layer_norm=True, batch_norm=3)
    with pytest.raises(ArgumentError, match="batch_norm"):
        gn.nn.LSTM(3, 4, batch_norm=0)
