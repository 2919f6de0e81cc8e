"""Truncated backpropagation through time, beside PyTorch with explicit `detach`."""

from typing import Any

import numpy as np
import pytest
import torch
from drawing import Array
from looping import assert_executors_agree, drawn, scans_of

import graphnn as gn
from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node

STEPS, SIZE = 7, 3

RUNS: dict[tuple[int, int], list[tuple[int, int, int]]] = {
    (3, 3): [(0, 3, 0), (3, 6, 3), (6, 7, 6)],
    (1, 1): [(each, each + 1, each) for each in range(STEPS)],
    (2, 5): [(0, 2, 0), (2, 4, 0), (4, 6, 1), (6, 7, 3)],
    (3, 4): [(0, 3, 0), (3, 6, 2), (6, 7, 5)],
    (1, 3): [(0, 1, 0), (1, 2, 0), (2, 3, 0), (3, 4, 1), (4, 5, 2), (5, 6, 3), (6, 7, 4)],
    (3, 2): [(0, 3, 1), (3, 6, 4), (6, 7, 6)],
    (4, 1): [(0, 4, 3), (4, 7, 6)],
    (7, 7): [(0, 7, 0)],
    (20, 30): [(0, 7, 0)],
}
"""For every (k1, k2) the windows, written out: first step, end, and where the run begins."""

LOOPS = [gn.scan, gn.unroll]
GIVEN = ((STEPS, SIZE), (SIZE, SIZE), (SIZE,), (SIZE, SIZE))


def inputs() -> list[Node]:
    return [gn.input(name, shape, "float64") for name, shape in zip("xwhv", GIVEN, strict=True)]


def objective(loop: Any, x: Node, w: Node, h: Node, v: Node, **options: Any) -> Node:
    """A loss of all ys and of the last carry; the carry has two parts."""

    def step(carry: Any, x: Node) -> Any:
        h, c = carry["h"], carry["c"]
        c = gn.sin(c * 0.9 + x @ v)
        h = gn.tanh(x + h @ w) * c
        return {"h": h, "c": c}, (h * h, gn.cos(c))

    last, (squares, cosines) = loop(step, {"h": h, "c": h * 0.5}, x, **options)
    return gn.sum(squares * gn.exp(x)) + gn.sum(cosines) + gn.sum(last["h"] ** 3) + last["c"][0]


def torch_gradients(
    arrays: list[Array], runs: list[tuple[int, int, int]], reverse: bool
) -> list[Array]:
    """Every window run from a detached state, and the gradients of all windows summed."""
    x, w, first, v = (torch.tensor(each, requires_grad=True) for each in arrays)
    order = list(range(STEPS))[:: -1 if reverse else 1]

    def step(h: Any, c: Any, t: int) -> Any:
        c = torch.sin(c * 0.9 + x[t] @ v)
        return torch.tanh(x[t] + h @ w) * c, c

    with torch.no_grad():
        states = [(first, first * 0.5)]
        for t in order:
            states.append(step(*states[-1], t))
    loss = torch.zeros((), dtype=torch.float64)
    for begin, end, run in runs:
        h, c = states[run] if run else (first, first * 0.5)
        if run:
            h, c = h.detach(), c.detach()
        for number in range(run, end):
            t = order[number]
            h, c = step(h, c, t)
            if number >= begin:
                loss = loss + (h * h * torch.exp(x[t])).sum() + torch.cos(c).sum()
        for number in range(begin, run):  # before the run: a constant, but for what reads it
            h_then, _ = states[number + 1]
            loss = loss + (h_then**2 * torch.exp(x[order[number]])).sum()
        if end == STEPS:
            loss = loss + (h**3).sum() + c[0]
    return [
        np.zeros(each.shape) if grad is None else grad.numpy()
        for each, grad in zip(
            (x, w, first, v),
            torch.autograd.grad(loss, (x, w, first, v), allow_unused=True),
            strict=True,
        )
    ]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("truncate", RUNS, ids=str)
def test_gradients_are_those_with_detached_states(truncate: tuple[int, int], reverse: bool) -> None:
    """Of sequences, weights and the first carry; values are those of the whole sequence."""
    nodes = inputs()
    arrays = drawn(nodes)
    expected = torch_gradients(arrays, RUNS[truncate], reverse)
    whole = gn.evaluate(
        objective(gn.scan, *nodes, reverse=reverse), dict(zip(nodes, arrays, strict=True))
    )
    given = truncate[0] if truncate == (3, 3) else truncate
    for loop in LOOPS:
        loss = objective(loop, *nodes, reverse=reverse, truncate=given)
        outputs = [loss, *gn.grad(loss, nodes, allow_unused=True)]
        native = "now" if loop is gn.scan and truncate in ((3, 3), (2, 5), (3, 2)) else "never"
        program = gn.compile(nodes, outputs, native=native)
        value, *found = program(*arrays)
        np.testing.assert_allclose(value, whole, rtol=1e-13)
        for got, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-13)


def test_where_the_tests_can_tell_truncations_apart() -> None:
    """All of the definitions above have gradients of their own."""
    arrays = drawn(inputs())
    found = [torch_gradients(arrays, runs, False) for runs in list(RUNS.values())[:-1]]
    for number, one in enumerate(found):
        for other in found[:number]:
            assert not np.allclose(one[1], other[1], rtol=1e-3)


@pytest.mark.parametrize("truncate", [(3, 3), (2, 5), (3, 2)], ids=str)
def test_forward_mode_and_second_order(truncate: tuple[int, int]) -> None:
    """Tangents follow the same definition, and so do derivatives of derivatives."""
    nodes = inputs()
    arrays = drawn(nodes)
    tangents = drawn(nodes, seed=1)
    feeds = dict(zip(nodes, arrays, strict=True))
    second = []
    for loop in LOOPS:
        loss = objective(loop, *nodes, truncate=truncate)
        pushed = gn.evaluate(gn.jvp(loss, nodes, tangents), feeds)
        pulled = gn.evaluate(gn.grad(loss, nodes, allow_unused=True), feeds)
        pairs = zip(pulled, tangents, strict=True)
        np.testing.assert_allclose(pushed, sum(np.sum(g * t) for g, t in pairs), rtol=1e-11)
        second.append(gn.evaluate(gn.hvp(loss, nodes, tangents), feeds))
    for one, other in zip(*second, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("truncate", [(3, 3), (2, 5)], ids=str)
def test_many_examples_and_named_steps(truncate: tuple[int, int]) -> None:
    """`vmap` of the gradient, and a number of steps that is known when the program is called."""
    _, w, h, v = inputs()
    x, xs = gn.input("x", ("time", SIZE), "float64"), gn.input("xs", (2, STEPS, SIZE), "float64")

    def gradient(x: Node) -> Node:
        made: Node = gn.grad(objective(gn.scan, x, w, h, v, truncate=truncate), w)
        return made

    one = gn.compile([x, w, h, v], gradient(x), native="never")
    many = gn.compile([xs, w, h, v], gn.vmap(gradient)(xs), native="never")
    arrays = drawn([xs, w, h, v])
    for number, got in enumerate(many(*arrays)):
        wanted = one(arrays[0][number], *arrays[1:])
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-13)


def test_lanes_are_one_on_the_way_there() -> None:
    """Three runs are under way at a time, but values are computed once."""
    x, w, h, _ = inputs()
    last, ys = gn.scan(lambda h, x: (gn.tanh(x + h @ w),) * 2, h, x, truncate=(2, 5))
    loss = gn.sum(ys**2) + gn.sum(last)
    program = assert_executors_agree([x, w, h], [loss, gn.grad(loss, w)], drawn([x, w, h]))
    there, back = scans_of(program)
    assert (there.attrs["n_carry"], back.attrs["n_carry"]) == (1, 3)
    assert not there.attrs["reverse"]


def test_other_axes_and_integer_carries() -> None:
    """Steps along another axis, and a carry that has no derivative."""
    x = gn.input("x", (SIZE, STEPS), "float64")

    def step(carry: Any, x: Node) -> Any:
        h, count = carry
        h = gn.tanh(h * 0.7 + x * gn.cast(count, "float64"))
        return (h, count + 1), h

    found = []
    for loop in LOOPS:
        _, ys = loop(step, (gn.zeros(SIZE, "float64"), 1), x, axis=1, truncate=(2, 3))
        assert ys.shape == (SIZE, STEPS)
        found.append(gn.evaluate(gn.grad(gn.sum(ys**2), x), {x: drawn([x])[0]}))
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_no_step() -> None:
    """The first carry comes back, with its derivative."""
    h = gn.input("h", (SIZE,), "float64")
    last, _ = gn.scan(lambda h, _: (h * 2.0, None), h, length=0, truncate=3)
    np.testing.assert_array_equal(gn.evaluate(gn.grad(gn.sum(last), h), {h: np.ones(SIZE)}), 1.0)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("truncate", [0, -1, 1.5, True, (2,), (3, 0), (1, 2, 3), "all"])
def test_refused_truncations(loop: Any, truncate: Any) -> None:
    """The error says what is wanted."""
    with pytest.raises(ArgumentError, match="truncate must be a number of steps, or two"):
        loop(lambda h, _: (h, h), gn.zeros(2), length=3, truncate=truncate)
