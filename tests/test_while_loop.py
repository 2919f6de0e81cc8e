"""while_loop beside Python's while: values, derivatives, batches, and what a bound skips."""

from math import gcd
from typing import Any

import numpy as np
import pytest
from counting import COUNTING, counted
from looping import EXECUTORS, assert_executors_agree, ops_of, rules

import graphnn as gn
from graphnn.core.errors import ArgumentError, DTypeError, ShapeError, UnsupportedOpError
from graphnn.core.node import Node
from graphnn.core.structure import flatten

BOUNDS = pytest.mark.parametrize("bound", [None, 20])
OPTIONS = pytest.mark.parametrize(
    "options", [*EXECUTORS.values(), {"debug": "nan"}, {"debug": "verify"}], ids=str
)


def newton(a: Node, bound: int | None = None) -> Node:
    """The square root."""
    root: Node = gn.while_loop(
        lambda s: gn.abs(s * s - a) > 1e-14 * a,
        lambda s: 0.5 * (s + a / s),
        gn.maximum(a, 1.0),
        bound=bound,
    )
    return root


def greatest_divisor(a: Node, b: Node, bound: int | None = None) -> Node:
    divisor, _ = gn.while_loop(
        lambda c: c[1] > 0, lambda c: (c[1], c[0] % c[1]), (a, b), bound=bound
    )
    return divisor


def collatz(n: Node, bound: int | None = None) -> Node:
    """How many steps lead to 1: a cond in a while loop."""

    def step(state: Any) -> Any:
        n = gn.cond(gn.equal(state["n"] % 2, 0), lambda n: n // 2, lambda n: 3 * n + 1, state["n"])
        return {"n": n, "steps": state["steps"] + 1}

    last = gn.while_loop(lambda s: s["n"] > 1, step, {"n": n, "steps": 0}, bound=bound)
    return last["steps"]


def collatz_in_python(n: int) -> int:
    steps = 0
    while n > 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


# ------------------------------------------------------------------------------------------- values


@OPTIONS
@BOUNDS
def test_greatest_common_divisor(bound: int | None, options: dict[str, Any]) -> None:
    a, b = (gn.input(name, (), "int64") for name in "ab")
    program = gn.compile([a, b], greatest_divisor(a, b, bound), verify=True, **options)
    for one, other in ((12, 18), (17, 5), (1071, 462), (5, 0), (0, 5)):
        assert program(one, other) == gcd(one, other)


@OPTIONS
def test_collatz_under_vmap(options: dict[str, Any]) -> None:
    """Until all examples are done; those that are done stay."""
    n = gn.input("n", (6,), "int64")
    fed = [1, 2, 7, 27, 97, 6]
    program = gn.compile(n, gn.vmap(collatz)(n), verify=True, **options)
    np.testing.assert_array_equal(program(fed), [collatz_in_python(each) for each in fed])


def test_collatz_with_a_bound() -> None:
    """At most that many rounds."""
    n = gn.input("n", (), "int64")
    program = gn.compile(n, [collatz(n, bound) for bound in (0, 5, 200)], verify=True)
    for fed in (1, 3, 27):
        steps = collatz_in_python(fed)
        assert program(fed) == [0, min(steps, 5), steps]
    ns = gn.input("ns", (3,), "int64")
    many = gn.vmap(lambda n: collatz(n, 20))(ns)
    np.testing.assert_array_equal(gn.evaluate(many, {ns: [1, 3, 27]}), [0, 7, 20])


def test_structures_and_what_is_read_from_outside() -> None:
    """Powers of a matrix until they are small; what no round changes is computed once."""
    w = gn.parameter(np.array([[0.5, 0.2], [0.1, 0.4]]), dtype="float64")
    x = gn.input("x", (2,), "float64")

    def body(state: Any) -> Any:
        return {"x": state["x"] @ gn.exp(w) * 0.3, "rounds": state["rounds"] + 1}

    last = gn.while_loop(lambda s: gn.sum(gn.abs(s["x"])) > 1e-3, body, {"x": x, "rounds": 0})
    (loop,) = (each for each in gn.Graph((x,), (last["x"],)).nodes if each.op.name == "while_loop")
    assert "exp" not in ops_of(loop.attrs["body"])
    found = gn.evaluate(last, {x: [1.0, 2.0]})
    wanted, rounds = np.array([1.0, 2.0]), 0
    while np.abs(wanted).sum() > 1e-3:
        wanted, rounds = wanted @ np.exp(w.value) * 0.3, rounds + 1
    np.testing.assert_allclose(found["x"], wanted, rtol=1e-12)
    assert found["rounds"] == rounds > 5


def test_no_round() -> None:
    """A carry comes out as it went in."""
    x = gn.input("x", (3,))
    last = gn.while_loop(lambda s: gn.sum(s) > 0.0, lambda s: s * 0.5 - 1.0, x)
    fed = np.array([-1.0, 0.0, 0.5], "float32")
    np.testing.assert_array_equal(gn.evaluate(last, {x: fed}), fed)


def test_carries_that_swap() -> None:
    """All are written as if at once."""
    i = gn.input("i", (), "int64")
    last = gn.while_loop(
        lambda c: c[0] > 0, lambda c: (c[0] - 1, c[2], c[1] + c[2]), (i, gn.zeros(3), gn.ones(3))
    )
    program = assert_executors_agree([i], last[1:], [np.array(9)])
    for got, wanted in zip(program(9), (34.0, 55.0), strict=True):
        np.testing.assert_array_equal(got, np.full(3, wanted, "float32"))


def test_a_carry_is_the_condition() -> None:
    """A flag that the body writes and that is looked at before the next round."""
    x = gn.input("x", (), "int64")
    going, last = gn.while_loop(
        lambda c: c[0], lambda c: (c[1] < 5, c[1] + 1), (gn.constant(True), x)
    )
    program = assert_executors_agree([x], [going, last], [np.array(2)])
    assert program(2) == [False, 6]


def test_number_as_carry_takes_the_dtype_of_the_body() -> None:
    x = gn.input("x", (), "float64")
    for bound in (None, 10):
        last = gn.while_loop(lambda s: s < 3, lambda s: s + x, 0, bound=bound)
        assert last.dtype == np.float64
        assert gn.evaluate(last, {x: 0.75}) == 3.0


# -------------------------------------------------------------------------------------- derivatives


@BOUNDS
def test_tangents(bound: int | None) -> None:
    """Of first and second order, forwards."""
    a = gn.input("a", (), "float64")
    one = gn.constant(1.0, "float64")
    root = newton(a, bound)
    first = gn.jvp(root, [a], [one])
    found = gn.evaluate([root, first, gn.jvp(first, [a], [one])], {a: 9.0})
    np.testing.assert_allclose(found, [3.0, 1 / 6, -1 / 108], rtol=1e-9)


@pytest.mark.parametrize("optimize", ["O0", "O2"])
def test_gradients_with_a_bound(optimize: str) -> None:
    """In both modes and mixed, beside the formula."""
    a = gn.input("a", (), "float64")
    one = gn.constant(1.0, "float64")
    grad = gn.grad(newton(a, 20), a)
    outputs = [grad, gn.grad(grad, a), gn.jvp(grad, [a], [one]), gn.grad(gn.grad(grad, a), a)]
    program = gn.compile(a, outputs, optimize=optimize, verify=True)
    for fed in (9.0, 0.25):
        wanted = [0.5 * fed**-0.5, -0.25 * fed**-1.5, -0.25 * fed**-1.5, 0.375 * fed**-2.5]
        np.testing.assert_allclose(program(fed), wanted, rtol=1e-6)


def test_gradients_by_central_differences() -> None:
    """Of a loop whose number of rounds depends on values, by carries and what it reads."""
    x, w = gn.input("x", (3,), "float64"), gn.input("w", (3, 3), "float64")
    last, _ = gn.while_loop(
        lambda c: gn.sum(c[0] ** 2) > 0.05,
        lambda c: (gn.tanh(c[0] @ w) * 0.8, c[1] + 1),
        (x, 0),
        bound=12,
    )
    rng = np.random.default_rng(0)
    gn.check_grads(gn.sum(gn.sin(last)), {x: rng.normal(size=3), w: rng.normal(size=(3, 3)) * 0.5})


def test_rounds_that_are_skipped_reach_no_gradient() -> None:
    """There the body would divide by zero."""
    x = gn.input("x", (), "float64")
    last = gn.while_loop(lambda s: s > 0.5, lambda s: gn.sqrt(s - 0.5) * 0.9, x, bound=10)
    expected, slope, value = [], 1.0, 2.0
    while value > 0.5:
        slope *= 0.9 * 0.5 / np.sqrt(value - 0.5)
        value = np.sqrt(value - 0.5) * 0.9
    expected = [value, slope]
    np.testing.assert_allclose(
        gn.evaluate([last, gn.grad(last, x)], {x: 2.0}), expected, rtol=1e-12
    )


def test_vmap_of_gradients() -> None:
    """Examples that need different numbers of rounds."""
    a = gn.input("a", (4,), "float64")
    fed = np.array([1.0, 4.0, 2.0, 100.0])
    one = gn.constant(1.0, "float64")
    slopes = [
        gn.vmap(lambda a: gn.grad(newton(a, 20), a))(a),
        gn.vmap(lambda a: gn.jvp(newton(a), [a], [one]))(a),
    ]
    for found in gn.compile(a, slopes, verify=True)(fed):
        np.testing.assert_allclose(found, 0.5 / np.sqrt(fed), rtol=1e-9)


def test_a_loop_and_its_tangent_are_one() -> None:
    a = gn.input("a", (), "float64")
    root = newton(a)
    outputs = [root, gn.jvp(root, [a], [gn.constant(1.0, "float64")])]
    program = gn.compile(a, outputs, verify=True)
    assert rules(program)["merge_conditionals"] == 1
    assert len(program.loops) == 1
    np.testing.assert_allclose(program(16.0), [4.0, 0.125], rtol=1e-12)


def test_carries_that_nobody_needs_are_not_computed() -> None:
    x = gn.input("x", (), "float64")
    last, _, _ = gn.while_loop(
        lambda c: c[0] < 10.0, lambda c: (c[0] * 2.0 + 1.0, gn.exp(c[1]), c[1] + c[2]), (x, x, x)
    )
    program = gn.compile(x, last, verify=True)
    assert rules(program)["trim_conditional"]
    assert "exp" not in {word for each in program.instructions for word in each.label.split("+")}
    assert program(1.0) == 15.0


# ------------------------------------------------------------------------------------------ a bound


def test_rounds_behind_the_last_one_compute_nothing() -> None:
    """All that a round computes is in a branch, and the other branch has no instructions."""
    x = gn.input("x", (64,))
    last, _ = gn.while_loop(
        lambda c: c[1] < 3, lambda c: (gn.tanh(c[0] * 2.0), c[1] + 1), (x, 0), bound=1000
    )
    program = gn.compile(x, last, verify=True)
    (loop,) = program.loops
    (branch,) = program.branches
    assert (loop.count, loop.begin, loop.end) == (1000, branch.begin, branch.end)
    fed = np.linspace(-1, 1, 64).astype("float32")
    wanted = fed
    for _ in range(3):
        wanted = np.tanh(wanted * 2)
    np.testing.assert_allclose(program(fed), wanted, rtol=1e-5)


def test_rounds_behind_the_last_one_add_nothing_to_gradients() -> None:
    """There, only what a derivative would need of a round is copied."""
    x, w = gn.input("x", (8,), "float64"), gn.input("w", (8, 8), "float64")
    last, _ = gn.while_loop(
        lambda c: c[1] < 3, lambda c: (gn.tanh(c[0] @ w), c[1] + 1), (x, 0), bound=100
    )
    program = gn.compile([x, w], gn.grad(gn.sum(last), [x, w]), verify=True)
    assert rules(program)["sum_inside"] == 1
    taken = {n for each in program.branches if each.when for n in range(each.begin, each.end)}
    for loop in program.loops:
        for number in set(range(loop.begin, loop.end)) - taken:
            assert program.instructions[number].kind == "copy"
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=8), rng.normal(size=(8, 8)) * 0.3]
    plain = x
    for _ in range(3):
        plain = gn.tanh(plain @ w)
    wanted = gn.compile([x, w], gn.grad(gn.sum(plain), [x, w]))(*arrays)
    for got, expected in zip(program(*arrays), wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_how_often_a_body_is_computed() -> None:
    """A host operator in it is called once for each round."""
    x = gn.input("x", (3,))
    for bound in (None, 10):
        last, _ = gn.while_loop(
            lambda c: c[1] < 4, lambda c: (counted(c[0] + 1.0), c[1] + 1), (x, 0), bound=bound
        )
        program = gn.compile(x, last)
        COUNTING.n_calls = 0
        np.testing.assert_array_equal(program(np.zeros(3, "float32")), np.full(3, 4, "float32"))
        assert COUNTING.n_calls == 4


def test_bound_by_a_named_dimension() -> None:
    xs = gn.input("xs", ("n", 3))
    last, _ = gn.while_loop(
        lambda c: gn.sum(c[0]) < 100.0,
        lambda c: (c[0] + gn.sum(xs, 0), c[1] + 1),
        (xs[0], 0),
        bound="n",
    )
    program = gn.compile(xs, last, verify=True)
    for n in (2, 4):
        np.testing.assert_array_equal(program(np.ones((n, 3), "float32")), np.full(3, 1.0 + n * n))


# ----------------------------------------------------------------------------------------- nesting


def test_while_in_while() -> None:
    """Sums of sums, with a scan inside."""
    n = gn.input("n", (), "int64")

    def row(state: Any) -> Any:
        i, total = state
        _, part = gn.while_loop(lambda c: c[0] < i, lambda c: (c[0] + 1, c[1] + c[0]), (0, 0))
        powers, _ = gn.scan(lambda p, _: (p * 2, None), 1, length=3)
        return i + 1, total + part * powers

    _, total = gn.while_loop(lambda s: s[0] < n, row, (0, 0))
    program = assert_executors_agree([n], total, [np.array(6)])
    assert program(6) == 8 * sum(j for i in range(6) for j in range(i))


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_go_the_same_way(n_threads: int) -> None:
    """Rounds that are large enough to be divided, with branches that are."""
    before = gn.get_num_threads()
    gn.set_num_threads(n_threads)
    try:
        x = gn.input("x", (256, 256))

        def body(state: Any) -> Any:
            i, h = state
            h = gn.cond(
                gn.equal(i % 3, 1), lambda h: gn.tanh(h @ h + 0.1), lambda h: gn.sin(h + 0.5), h
            )
            return i + 1, h

        _, last = gn.while_loop(lambda s: s[0] < 50, body, (0, x))
        program = gn.compile(x, last)
        fed = np.random.default_rng(0).normal(size=(256, 256)).astype("float32") * 0.01
        wanted = fed.astype("float64")
        for i in range(50):
            wanted = np.tanh(wanted @ wanted + 0.1) if i % 3 == 1 else np.sin(wanted + 0.5)
        np.testing.assert_allclose(program(fed), wanted, rtol=2e-3, atol=1e-4)
        first = program(fed)
        np.testing.assert_array_equal(program(fed), first)
    finally:
        gn.set_num_threads(before)


@pytest.mark.parametrize("size", [4, 40_000])
def test_an_error_ends_the_loop(size: int) -> None:
    """An index out of range, in a loop that would never end on what is computed after it."""
    x, i = gn.input("x", (size,)), gn.input("i", (), "int64")
    last, _ = gn.while_loop(
        lambda c: gn.sum(c[0]) < 1e30, lambda c: (c[0] * x[c[1]], c[1] + 1), (x, i)
    )
    program = gn.compile([x, i], last)
    with pytest.raises(Exception, match="out of range"):
        program(np.zeros(size, "float32"), size - 3)


# -------------------------------------------------------------------------------------------- texts


def test_texts_and_pictures() -> None:
    a, b = (gn.input(name, (), "int64") for name in "ab")
    program = gn.compile([a, b], greatest_divisor(a, b))
    assert "while " in str(program)
    assert "while " in program.explain()
    names: dict[str, Any] = {}
    exec(program.source(), names)
    (found,), _ = names["program"](np.array(12), np.array(18))
    assert found == 6
    assert str(gn.render(program))
    assert program.profile(12, 18, repeat=2).instructions
    assert "while_loop" in str(gn.Graph((a, b), (greatest_divisor(a, b),)))


# ----------------------------------------------------------------------------------------- refusals


def test_no_reverse_mode_without_a_bound() -> None:
    a = gn.input("a", (), "float64")
    with pytest.raises(UnsupportedOpError, match="bound=") as caught:
        gn.grad(newton(a), a)
    assert "test_while_loop.py" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words", "condition", "body"),
    [
        (ShapeError, "condition is bool[3], not one bool", lambda x: x > 0, lambda x: x),
        (DTypeError, "condition is f64[], not bool", gn.sum, lambda x: x),
        (ArgumentError, "another structure", lambda x: x[0] > 0, lambda x: (x, x)),
        (
            ShapeError,
            "the carry is f64[3] before a round and f64[] after it",
            lambda x: x[0] > 0,
            gn.sum,
        ),
        (
            DTypeError,
            "the carry is f64[3] before a round and f32[3] after it",
            lambda x: x[0] > 0,
            lambda x: x.astype("float32"),
        ),
    ],
)
def test_refused(error: type[Exception], words: str, condition: Any, body: Any) -> None:
    """The error says what differs."""
    x = gn.input("x", (3,), "float64")
    with pytest.raises(error) as caught:
        gn.while_loop(condition, body, x)
    assert words in str(caught.value)


def test_a_negative_bound() -> None:
    with pytest.raises(ArgumentError, match="no -1 rounds"):
        gn.while_loop(lambda s: s < 3, lambda s: s + 1, 0, bound=-1)


@pytest.mark.parametrize("bound", [2.5, True, "3 rounds", (1,)])
def test_what_is_no_bound(bound: Any) -> None:
    with pytest.raises(ArgumentError, match="is not a number of rounds"):
        gn.while_loop(lambda s: s < 3, lambda s: s + 1, 0, bound=bound)


@pytest.mark.parametrize(
    ("error", "words", "given"),
    [
        (ArgumentError, "the condition gives None", (lambda s: None, lambda s: s, 0)),
        (DTypeError, "the condition is i64[]", (lambda s: s + 1, lambda s: s < 3, 0)),
        (ArgumentError, "condition gives (i64[],)", (lambda s: s, lambda s: s[0] < 3, (0,))),
        (ArgumentError, "condition is 0, not a function", (0, lambda s: s < 3, lambda s: s)),
        (ArgumentError, "body is called with 1 argument", (lambda s: s < 3, lambda: 1, 0)),
    ],
)
def test_arguments_that_change_places(error: type[Exception], words: str, given: Any) -> None:
    """The hint says which comes first."""
    with pytest.raises(error) as caught:
        gn.while_loop(*given)
    assert words in str(caught.value)
    assert "gn.while_loop(condition, body, carry)" in str(caught.value)


def test_a_condition_that_is_always_true() -> None:
    """It needs a bound; one that is always false is a loop of no rounds."""
    with pytest.raises(ArgumentError, match="never end"):
        gn.while_loop(lambda s: True, lambda s: s + 1, 0)
    assert gn.evaluate(gn.while_loop(lambda s: True, lambda s: s + 1, 0, bound=4)) == 4
    assert gn.evaluate(gn.while_loop(lambda s: False, lambda s: s + 1, 0)) == 0


def test_equal_loops_are_one_node() -> None:
    a = gn.input("a", (), "float64")
    assert newton(a) is newton(a)
    assert newton(a, 5) is newton(a, 5)
    assert flatten(newton(a, 5)) != flatten(newton(a, 6))


def test_feeds_are_kept() -> None:
    """Feeds are never written to, though a loop overwrites its carry."""
    x = gn.input("x", (4,))
    last = gn.while_loop(lambda s: gn.sum(s) < 10.0, lambda s: s * 2.0, x)
    fed = np.ones(4, "float32")
    gn.compile(x, last)(fed)
    np.testing.assert_array_equal(fed, np.ones(4, "float32"))
