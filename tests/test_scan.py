"""Scans beside the same steps written out, for values and derivatives of every kind."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from drawing import Array

import graphnn as gn
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node

STEPS, SIZE = 5, 3
Loop = Callable[..., Any]
LOOPS = [gn.scan, gn.unroll]


def rnn(w: Node) -> Callable[[Node, Node], tuple[Node, Node]]:
    """A step of the simple recurrent net."""

    def step(h: Node, x: Node) -> tuple[Node, Node]:
        h = gn.tanh(x + h @ w)
        return h, h * h

    return step


def counting(w: Node) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Several carries, one of them an integer, and a y that is the same for all steps."""

    def step(carry: Any, x: Node) -> tuple[Any, Any]:
        h, count = carry["h"], carry["count"]
        h = gn.sin(h * x) + w[0] * count.astype("float64")
        return {"h": h, "count": count + 1}, (h, w[1], count)

    return step


def crossing(w: Node) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Carries that a derivative reaches only after several steps."""

    def step(carry: Any, x: Node) -> tuple[Any, Any]:
        a, b, c = carry
        return (b * 1.5, c + gn.tanh(w @ x), a * x), None

    return step


def nested(w: Node) -> Callable[[Any, Any], tuple[Any, Any]]:
    """A scan within a scan."""

    def step(h: Node, x: Node) -> tuple[Node, Node]:
        inner, ys = gn.scan(lambda g, row: (gn.tanh(g + row * x), g * row), h, w)
        return inner, gn.sum(ys, 0)

    return step


def zeros() -> Node:
    return gn.zeros(SIZE, "float64")


CELLS: dict[str, tuple[Callable[..., Any], Callable[[], Any]]] = {
    "rnn": (rnn, zeros),
    "counting": (counting, lambda: {"h": gn.ones(SIZE, "float64"), "count": gn.constant(0)}),
    "crossing": (crossing, lambda: (zeros(), zeros(), gn.ones(SIZE, "float64"))),
    "nested": (nested, zeros),
}


def given() -> tuple[tuple[Node, Node], list[Array]]:
    """A sequence and a weight, as inputs and as arrays."""
    rng = np.random.default_rng(0)
    inputs = (
        gn.input("x", (STEPS, SIZE), "float64"),
        gn.input("w", (SIZE, SIZE), "float64"),
    )
    return inputs, [rng.normal(size=(STEPS, SIZE)), rng.normal(size=(SIZE, SIZE))]


def floats(tree: Any) -> list[Node]:
    return [each for each in gn.core.structure.flatten(tree) if each.dtype == np.float64]


def run(inputs: Any, outputs: Any, arrays: list[Array], **options: Any) -> list[Array]:
    made: list[Array] = gn.compile(inputs, outputs, verify=True, **options)(*arrays)
    return made


def assert_same(one: Any, other: Any, tolerance: float = 1e-12) -> None:
    leaves = zip(*map(gn.core.structure.flatten, (one, other)), strict=True)
    for left, right in leaves:
        assert left.shape == right.shape
        assert left.dtype == right.dtype
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", ["reference", "numpy"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_values(cell: str, reverse: bool, backend: str) -> None:
    """A scan gives what the steps written out give."""
    (x, w), arrays = given()
    make, carry = CELLS[cell]
    made = [loop(make(w), carry(), x, reverse=reverse) for loop in LOOPS]
    assert_same(*run((x, w), made, arrays, backend=backend))


def test_values_by_a_python_loop() -> None:
    """The simple recurrent net beside its formula."""
    (x, w), (fed, weight) = given()
    last, ys = run((x, w), gn.scan(rnn(w), zeros(), x), [fed, weight])
    h, squares = np.zeros(SIZE), []
    for row in fed:
        h = np.tanh(row + h @ weight)
        squares.append(h * h)
    np.testing.assert_allclose(last, h, rtol=1e-12)
    np.testing.assert_allclose(ys, squares, rtol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients(cell: str, reverse: bool) -> None:
    """Gradients, and derivatives of gradients in both modes."""
    (x, w), arrays = given()
    make, carry = CELLS[cell]
    first = gn.input("first", (SIZE,), "float64")
    rng = np.random.default_rng(1)
    arrays = [*arrays, rng.normal(size=SIZE)]
    directions = [gn.constant(rng.normal(size=each.shape)) for each in (x, w, first)]
    found = []
    for loop in LOOPS:
        start = gn.core.structure.map_leaves(
            lambda each: each * first if each.dtype == np.float64 else each, carry()
        )
        results = floats(loop(make(w), start, x, reverse=reverse))
        loss = sum(gn.sum(gn.sin(each)) for each in results)
        grads = gn.grad(loss, [x, w, first], allow_unused=True)
        forward = gn.jvp(loss, [x, w, first], directions)
        along = sum(gn.sum(g * d) for g, d in zip(grads, directions, strict=True))
        second = gn.grad(along, [x, w, first], allow_unused=True)
        mixed = gn.jvp(grads, [x, w, first], directions)
        found.append([loss, grads, forward, second, mixed])
    assert_same(*run((x, w, first), found, arrays), tolerance=1e-10)


@pytest.mark.parametrize("cell", CELLS)
def test_check_grads(cell: str) -> None:
    """Derivatives beside central differences, to second order."""
    (x, w), arrays = given()
    make, carry = CELLS[cell]
    loss = sum(gn.sum(each) for each in floats(gn.scan(make(w), carry(), x)))
    gn.check_grads(loss, dict(zip((x, w), arrays, strict=True)))


@pytest.mark.parametrize("cell", CELLS)
def test_vmap(cell: str) -> None:
    """Many sequences, many weights, or both."""
    make, carry = CELLS[cell]
    rng = np.random.default_rng(0)
    xs = gn.input("xs", (4, STEPS, SIZE), "float64")
    ws = gn.input("ws", (4, SIZE, SIZE), "float64")
    arrays = [rng.normal(size=each.shape) for each in (xs, ws)]
    for axes, chosen in (((0, 0), (xs, ws)), ((0, None), (xs, ws[0])), ((None, 0), (xs[0], ws))):
        found = []
        for loop in LOOPS:

            def results(x: Node, w: Node, loop: Loop = loop) -> Any:
                return floats(loop(make(w), carry(), x))

            found.append(gn.vmap(results, in_axes=axes)(*chosen))
        assert_same(*run((xs, ws), found, arrays))


def test_named_length() -> None:
    """One graph for all numbers of steps, none among them."""
    x, w = gn.input("x", ("time", SIZE), "float64"), gn.input("w", (SIZE, SIZE), "float64")
    last, ys = gn.scan(rnn(w), zeros(), x)
    assert str(ys.shape[0]) == "time"
    program = gn.compile([x, w], [last, ys, gn.grad(gn.sum(last), w)], verify=True)
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(SIZE, SIZE))
    for steps in (1, 7, 0):
        fed = rng.normal(size=(steps, SIZE))
        known = gn.input("x", (steps, SIZE), "float64")
        if steps:
            expected = gn.unroll(rnn(w), zeros(), known)
            wanted = run([known, w], [*expected, gn.grad(gn.sum(expected[0]), w)], [fed, weight])
        else:
            wanted = [np.zeros(SIZE), np.zeros((0, SIZE)), np.zeros((SIZE, SIZE))]
        assert_same(program(fed, weight), wanted)


def test_other_axis() -> None:
    """Steps along any axis of the sequences."""
    x = gn.input("x", (2, STEPS, SIZE), "float64")
    w = gn.input("w", (SIZE, SIZE), "float64")
    start = gn.zeros((2, SIZE), "float64")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=each.shape) for each in (x, w)]
    made = [loop(rnn(w), start, x, axis=1) for loop in LOOPS]
    assert made[0][1].shape == (2, STEPS, SIZE)
    turned = gn.scan(rnn(w), start, gn.swapaxes(x, 0, 1))
    one, other, third = run([x, w], [*made, turned], arrays)
    assert_same(one, other)
    assert_same(one[1], np.swapaxes(third[1], 0, 1))


def test_length_without_xs() -> None:
    """Powers of a number."""
    last, powers = gn.scan(lambda a, _: (a * 2.0, a), 1.0, length=4)
    assert gn.evaluate(last) == 16
    np.testing.assert_array_equal(gn.evaluate(powers), [1, 2, 4, 8])


def test_number_as_carry_takes_the_dtype_of_the_step() -> None:
    """A Python number gives way, as everywhere."""
    x = gn.input("x", (3,), "float64")
    last, _ = gn.scan(lambda total, each: (total + each, None), 0, x)
    assert last.dtype == np.float64
    assert gn.evaluate(last, {x: [1.0, 2.0, 3.5]}) == 6.5


def test_equal_scans_are_one_node() -> None:
    """Bodies are compared by what they compute."""
    (x, w), _ = given()
    one, _ = gn.scan(rnn(w), zeros(), x)
    other, _ = gn.scan(rnn(w), zeros(), x)
    assert one is other


def test_what_no_step_changes_stays_outside() -> None:
    """The body holds what depends on a step alone."""
    (x, w), _ = given()
    last, _ = gn.scan(lambda h, x: (gn.tanh(h + x @ gn.exp(w)), None), zeros(), x)
    body = last.inputs[0].attrs["body"]
    assert "exp" not in {node.op.name for node in body.nodes}


def test_a_parameter_is_trained_through_a_scan() -> None:
    """Steps of gradient descent are those of the steps written out."""
    rng = np.random.default_rng(0)
    start, fed = rng.normal(size=(SIZE, SIZE)), rng.normal(size=(STEPS, SIZE))
    ends = []
    for loop in LOOPS:
        w = gn.parameter(start, dtype="float64")
        x = gn.input("x", (STEPS, SIZE), "float64")
        last, _ = loop(rnn(w), zeros(), x)
        loss = gn.sum(last**2)
        step = gn.compile([x], loss, updates={w: w - 0.1 * gn.grad(loss, w)})
        losses = [step(fed) for _ in range(5)]
        assert losses[-1] < losses[0]
        ends.append(w.value)
    np.testing.assert_allclose(*ends, rtol=1e-12)


def test_unrolled_nodes_know_their_step() -> None:
    """For pictures."""
    (x, w), _ = given()
    last, _ = gn.unroll(rnn(w), zeros(), x)
    assert gn.provenance(last).step == STEPS - 1


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (
            ShapeError,
            "is f64[3] before a step and f64[2, 3] after it",
            (lambda h, x: (gn.stack([h, h]), None),),
        ),
        (ArgumentError, "must give a pair", (lambda h, x: h,)),
        (ArgumentError, "carry of another structure", (lambda h, x: ((h, h), None),)),
    ],
)
def test_refused_steps(error: type[Exception], words: str, arguments: Any) -> None:
    """The error says what does not fit."""
    (x, _), _ = given()
    with pytest.raises(error, match=words.replace("[", r"\[").replace("]", r"\]")):
        gn.scan(*arguments, zeros(), x)


def test_refused_sequences() -> None:
    """Sequences have one length, and it is known somehow."""
    a, b = gn.input("a", (3,)), gn.input("b", (4,))

    def step(carry: Node, x: Any) -> tuple[Node, None]:
        return carry, None

    with pytest.raises(ShapeError, match="differ in length: 3, 4"):
        gn.scan(step, 0.0, (a, b))
    with pytest.raises(ShapeError, match="length=7, but xs has 3 elements along axis 0"):
        gn.scan(step, 0.0, a, length=7)
    with pytest.raises(ArgumentError, match="number of steps is not known"):
        gn.scan(step, 0.0)
    with pytest.raises(ShapeError, match="is no sequence"):
        gn.scan(step, 0.0, gn.constant(1.0))
    with pytest.raises(ShapeError, match="must be known"):
        gn.unroll(step, 0.0, gn.input("c", ("time",)))
