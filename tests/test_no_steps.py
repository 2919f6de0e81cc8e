"""Loops and recurrent layers over no step: the first carry, empty outputs, derivatives."""

from typing import Any

import numpy as np
import pytest
from drawing import Array

import graphnn as gn
from graphnn.core.node import Node
from graphnn.core.structure import flatten, unflatten

WAYS = pytest.mark.parametrize(
    ("steps", "backend"), [(0, "reference"), (0, "numpy"), ("time", "numpy")]
)
ROWS, SIZE = 2, 3
EMPTY = np.zeros((0, ROWS, SIZE))


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def run(inputs: list[Node], outputs: Any, fed: list[Array], backend: str) -> list[Array]:
    return [np.asarray(each) for each in gn.compile(inputs, outputs, backend=backend)(*fed)]


# ----------------------------------------------------------------------------------------- loops


@WAYS
@pytest.mark.parametrize(
    "options",
    [{}, {"reverse": True}, {"truncate": 2}, {"truncate": (1, 3)}, {"truncate": (3, 1)}],
    ids=str,
)
@pytest.mark.parametrize("loop", [gn.scan, gn.unroll])
def test_loop(loop: Any, options: dict[str, Any], steps: Any, backend: str) -> None:
    """Of the first carry in both modes the derivative is the identity, of all else zeros."""
    if loop is gn.unroll and steps == "time":
        steps = 0
    x, w, h = (
        gn.input(name, shape, "float64")
        for name, shape in zip(
            "xwh", ((steps, ROWS, SIZE), (SIZE, SIZE), (ROWS, SIZE)), strict=True
        )
    )

    def step(carry: Any, x: Node) -> Any:
        h = gn.tanh(x + carry["h"] @ w)
        return {"h": h, "count": carry["count"] + 1}, (h * h, carry["count"])

    last, (squares, counts) = loop(step, {"h": h, "count": 5}, x, **options)
    assert counts.dtype.name == "int64"
    loss = gn.sum(gn.sin(last["h"])) + gn.sum(squares)
    tangents = [gn.ones_like(w), 2.0 * gn.ones_like(h)]
    moved = gn.jvp([last["h"], squares], [w, h], tangents)
    outputs = [last["h"], last["count"], squares, counts, *moved, *gn.grad(loss, [x, w, h])]
    curved = gn.grad(gn.sum(gn.grad(loss, h) ** 2), h)
    first = random(ROWS, SIZE)
    found = run([x, w, h], [*outputs, curved], [EMPTY, random(SIZE, SIZE), first], backend)
    wanted = [
        first,
        np.array(5),
        EMPTY,
        np.zeros(0, "int64"),
        np.full((ROWS, SIZE), 2.0),
        EMPTY,
        EMPTY,
        np.zeros((SIZE, SIZE)),
        np.cos(first),
        -2 * np.cos(first) * np.sin(first),
    ]
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-14)


@pytest.mark.parametrize("loop", [gn.scan, gn.unroll])
def test_number_in_the_first_carry_takes_the_dtype_of_a_step(loop: Any) -> None:
    """As it does where there are steps."""
    x = gn.input("x", (0, 4), "float64")
    last, sums = loop(lambda total, x: (total + gn.sum(x), total * x), 1, x, axis=0)
    assert (last.dtype.name, sums.shape, sums.dtype.name) == ("float64", (0, 4), "float64")
    assert gn.evaluate(last, {x: np.zeros((0, 4))}) == 1.0


@pytest.mark.parametrize("loop", [gn.scan, gn.unroll])
def test_other_axis_and_batches(loop: Any) -> None:
    """Empty outputs lie along the axis of the steps, behind that of examples."""
    x, h = gn.input("x", (ROWS, 0, SIZE), "float64"), gn.input("h", (ROWS, SIZE), "float64")
    _, ys = loop(lambda h, x: (h * x, h + x), h, x, axis=1)
    assert ys.shape == (ROWS, 0, SIZE)
    many = gn.input("many", (7, ROWS, SIZE), "float64")
    lasts, all_ys = gn.vmap(lambda h: loop(lambda h, x: (h * x, h + x), h, x, axis=1))(many)
    assert all_ys.shape == (7, ROWS, 0, SIZE)
    fed = random(7, ROWS, SIZE)
    (found,) = run([x, many], [lasts], [np.zeros((ROWS, 0, SIZE)), fed], "numpy")
    np.testing.assert_array_equal(found, fed)


# ---------------------------------------------------------------------------------------- layers


LAYERS: dict[str, Any] = {
    "lstm": lambda: gn.nn.LSTM(SIZE, 4, dtype="float64"),
    "backwards": lambda: gn.nn.GRU(SIZE, 4, reverse=True, dtype="float64"),
    "with outputs": lambda: gn.nn.SimpleRNN(SIZE, 4, 5, dtype="float64"),
    "jordan": lambda: gn.nn.Jordan(SIZE, 4, 5, reverse=True, dtype="float64"),
    "deep": lambda: gn.nn.LSTM(SIZE, 4, num_layers=2, bidirectional=True, dtype="float64"),
    "residual": lambda: gn.nn.GRU(SIZE, SIZE, residual=True, dtype="float64"),
    "in windows": lambda: gn.nn.GRU(SIZE, 4, truncate=(1, 2), dtype="float64"),
    "written out": lambda: gn.nn.LSTM(SIZE, 4, unroll=True, dtype="float64"),
}


@WAYS
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str, padded: bool, steps: Any, backend: str) -> None:
    """No output, so that the last one is 0; the state is the first one; of weights, zeros."""
    if name == "written out":
        steps = 0
    net = LAYERS[name]()
    net.return_state = True
    x = gn.input("x", (steps, ROWS, SIZE), "float64")
    given = {"lengths": gn.input("lengths", (ROWS,), "int64")} if padded else {}
    _, zeros = net(x, **given)
    firsts = {
        each: random(*each.shape, seed=n)
        for n, each in enumerate(
            gn.input(f"first{n}", zero.shape, "float64") for n, zero in enumerate(flatten(zeros))
        )
    }
    state = unflatten(zeros, list(firsts))
    last, after = net(x, state, **given)
    net.return_sequences = True
    every, _ = net(x, state, **given)
    loss = gn.sum(last) + gn.sum(every) + sum(gn.sum(gn.exp(each)) for each in flatten(after))
    grads = gn.grad(loss, [*net.parameters(), *firsts], allow_unused=True)
    fed = [EMPTY, *firsts.values(), *(np.zeros(ROWS, "int64") for _ in given)]
    inputs = [x, *firsts, *given.values()]
    found = run(inputs, [last, every, *flatten(after), *grads], fed, backend)
    assert found[0].ndim == 2
    np.testing.assert_array_equal(found[0], 0.0)
    assert found[1].shape == (0, *found[0].shape)
    for one, first in zip(found[2:], firsts.values(), strict=False):
        np.testing.assert_array_equal(one, first)
    of_weights = found[2 + len(firsts) : -len(firsts)]
    assert len(of_weights) == len(net.parameters())
    for one in of_weights:
        np.testing.assert_array_equal(one, 0.0)
    for one, first in zip(found[-len(firsts) :], firsts.values(), strict=True):
        np.testing.assert_allclose(one, np.exp(first), rtol=1e-14)


@pytest.mark.parametrize("backend", ["reference", "numpy"])
def test_states_of_its_own(backend: str) -> None:
    """A learned state has the gradient of what is made of it; one that is kept stays."""
    x = gn.input("x", (0, ROWS, SIZE), "float64")
    learned = gn.nn.GRU(SIZE, 4, learned_state=True, return_state=True, dtype="float64")
    _, h = learned(x)
    (found,) = run([x], [gn.grad(gn.sum(h), learned.layers[0].initial_state)], [EMPTY], backend)
    np.testing.assert_array_equal(found, np.full(4, float(ROWS)))
    kept = gn.nn.GRU(SIZE, 4, stateful=True, dtype="float64")
    y = kept(x)
    state = kept.layers[0].state
    state.value = random(ROWS, 4)
    gn.compile(x, y, updates=kept.state_updates(), backend=backend)(EMPTY)
    np.testing.assert_array_equal(state.value, random(ROWS, 4))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_one_program_for_no_step_and_some(padded: bool, reverse: bool) -> None:
    """Of a layer whose last output is no state: that of the last real step, or 0."""
    net = gn.nn.SimpleRNN(SIZE, 4, 5, reverse=reverse, dtype="float64")
    x = gn.input("x", ("time", ROWS, SIZE), "float64")
    mask = gn.input("mask", ("time", ROWS), "bool")
    last = net(x, mask=mask) if padded else net(x)
    net.return_sequences = True
    every = net(x, mask=mask) if padded else net(x)
    weights = gn.grad(gn.sum(last**2), net.parameters())
    program = gn.compile([x, mask] if padded else [x], [last, every, *weights])
    for steps in (4, 0, 1):
        fed = random(steps, ROWS, SIZE)
        real = random(steps, ROWS, seed=3) > -0.5 if padded else np.ones((steps, ROWS), bool)
        found, rows, *_ = program(*((fed, real) if padded else (fed,)))
        for row in range(ROWS):
            numbers = np.flatnonzero(real[:, row])
            wanted = np.zeros(5)
            if numbers.size:
                wanted = rows[numbers[0 if reverse else -1], row]
            np.testing.assert_array_equal(found[row], wanted)
