"""cond beside its branches written out: values, derivatives, batches, and that one is computed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from counting import COUNTING, counted
from drawing import Array
from looping import EXECUTORS, assert_executors_agree, ops_of, rules

import graphnn as gn
from graphnn.compiler.program import Program
from graphnn.core.errors import ArgumentError, DTypeError, FeedError, ShapeError
from graphnn.core.node import Node
from graphnn.core.structure import flatten

SIZE = 3
BOTH = pytest.mark.parametrize("flag", [True, False])
DEBUGGING = [{"debug": "nan"}, {"debug": "verify"}]


def given() -> tuple[tuple[Node, Node, Node], list[Array]]:
    """A predicate, a vector and a matrix, and numbers for the last two."""
    rng = np.random.default_rng(0)
    inputs = (
        gn.input("p", (), "bool"),
        gn.input("x", (SIZE,), "float64"),
        gn.input("w", (SIZE, SIZE), "float64"),
    )
    return inputs, [np.abs(rng.normal(size=SIZE)), rng.normal(size=(SIZE, SIZE))]


def branches(w: Node, scale: Node) -> tuple[Callable[[Node], Any], Callable[[Node], Any]]:
    """Two functions that read nodes from outside; a number gives way in the second."""

    def if_true(x: Node) -> Any:
        return {"y": gn.tanh(x @ w) * scale, "total": gn.sum(gn.log(x))}

    def if_false(x: Node) -> Any:
        return {"y": gn.exp(x), "total": 1.0}

    return if_true, if_false


def cond_of(p: Node, x: Node, w: Node) -> Any:
    return gn.cond(p, *branches(w, x * 2.0), x)


def branch_of(flag: bool, x: Node, w: Node) -> Any:
    """What one branch gives, without a cond."""
    made = branches(w, x * 2.0)[0 if flag else 1](x)
    return {name: gn.ops.operands.as_node(each, "float64") for name, each in made.items()}


def everything(results: Any, x: Node, w: Node) -> list[Node]:
    """Values, and derivatives of first and second order in all modes."""
    directions = [
        gn.constant(np.linspace(-1, 1, int(each.size)).reshape(each.shape)) for each in (x, w)
    ]
    loss = sum(gn.sum(gn.sin(each)) for each in flatten(results))
    grads = gn.grad(loss, [x, w], allow_unused=True)
    along = sum(gn.sum(g * d) for g, d in zip(grads, directions, strict=True))
    return [
        *flatten(results),
        gn.jvp(loss, [x, w], directions),
        *grads,
        *gn.grad(along, [x, w], allow_unused=True),
        *gn.jvp(grads, [x, w], directions),
    ]


@pytest.mark.parametrize("options", [*EXECUTORS.values(), *DEBUGGING], ids=str)
def test_values_and_derivatives(options: dict[str, Any]) -> None:
    """Both branches give what they give alone, up to second derivatives in both modes."""
    (p, x, w), arrays = given()
    program = gn.compile([p, x, w], everything(cond_of(p, x, w), x, w), verify=True, **options)
    for flag in (True, False):
        expected = gn.compile([x, w], everything(branch_of(flag, x, w), x, w), backend="reference")
        for got, wanted in zip(program(flag, *arrays), expected(*arrays), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


@BOTH
def test_values_by_numpy(flag: bool) -> None:
    (p, x, w), (fed, weight) = given()
    found = gn.evaluate(cond_of(p, x, w), {p: flag, x: fed, w: weight})
    y = np.tanh(fed @ weight) * fed * 2 if flag else np.exp(fed)
    np.testing.assert_allclose(found["y"], y, rtol=1e-12)
    np.testing.assert_allclose(found["total"], np.log(fed).sum() if flag else 1.0, rtol=1e-12)


@BOTH
def test_derivatives_by_central_differences(flag: bool) -> None:
    (p, x, w), (fed, weight) = given()
    loss = sum(gn.sum(each) for each in flatten(cond_of(p, x, w)))
    gn.check_grads(gn.where(p, loss, loss) * 1.0, {p: np.array(flag), x: fed, w: weight})


@pytest.mark.parametrize("optimize", ["O0", "O2"])
def test_nothing_of_the_other_branch_reaches_gradients(optimize: str) -> None:
    """Where gn.where gives NaN: the logarithm of a negative number, and its derivative."""
    x = gn.input("x", (), "float64")
    y = gn.cond(x > 0, gn.sqrt, lambda x: x * 2.0, x)
    grad = gn.grad(y, x)
    second = gn.grad(grad, x, allow_unused=True)
    program = gn.compile(
        x, [y, grad, second, gn.jvp(y, [x], [gn.constant(1.0, "float64")])], optimize=optimize
    )
    np.testing.assert_array_equal(program(-4.0), [-8.0, 2.0, 0.0, 2.0])
    np.testing.assert_array_equal(program(0.0), [0.0, 2.0, 0.0, 2.0])
    np.testing.assert_allclose(program(4.0), [2.0, 0.25, -1 / 32, 0.25])
    both = gn.where(x > 0, gn.sqrt(x), x * 2.0)
    assert np.isnan(gn.evaluate(gn.grad(both, x), {x: -4.0}))


# -------------------------------------------------------------------------- one branch is computed


@pytest.mark.parametrize("options", [*EXECUTORS.values(), *DEBUGGING], ids=str)
def test_one_branch_is_computed_on_the_host(options: dict[str, Any]) -> None:
    p, x = gn.input("p", (), "bool"), gn.input("x", (4,))
    y = gn.cond(p, lambda x: counted(gn.sin(x)) * 2.0, gn.cos, x)
    program = gn.compile([p, x], [y, gn.grad(gn.sum(y * y), x)], **options)
    COUNTING.n_calls = 0
    program(False, np.ones(4, "float32"))
    assert COUNTING.n_calls == 0
    program(True, np.ones(4, "float32"))
    assert COUNTING.n_calls > 0


def taken(program: Program, *arrays: Any) -> list[bool]:
    """Which instructions in branches took any time."""
    times = [each.ns for each in program.profile(*arrays, repeat=3).instructions]
    inside = {n for each in program.branches for n in range(each.begin, each.end)}
    return [times[n] > 0 for n in sorted(inside)]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_one_branch_is_computed_natively(n_threads: int) -> None:
    before = gn.get_num_threads()
    gn.set_num_threads(n_threads)
    try:
        p, x = gn.input("p", (), "bool"), gn.input("x", (300, 300))
        y = gn.cond(p, lambda x: gn.tanh(x @ x), lambda x: gn.exp(x) @ x, x)
        program = gn.compile([p, x], y)
        fed = np.full((300, 300), 0.01, "float32")
        for flag in (True, False, True):
            wanted = np.tanh(fed @ fed) if flag else np.exp(fed) @ fed
            np.testing.assert_allclose(program(flag, fed), wanted, rtol=1e-5)
        kinds = [each.when for each in program.branches for _ in range(each.begin, each.end)]
        assert taken(program, True, fed) == kinds
        assert taken(program, False, fed) == [not each for each in kinds]
    finally:
        gn.set_num_threads(before)


def test_what_a_branch_computes_is_within_it() -> None:
    """What was computed before comes from outside, and leaves do."""
    (p, x, w), _ = given()
    before = gn.sin(x)
    y = gn.cond(p, lambda: gn.exp(w) @ before, lambda: before)
    node = y.inputs[0]
    assert set(node.inputs) == {p, w, before}
    inside = ops_of(node.attrs["if_true"])
    assert "exp" in inside
    assert "sin" not in inside


# ------------------------------------------------------------------- equal nodes that are elsewhere


@pytest.mark.parametrize("options", [*EXECUTORS.values(), {"debug": "nan"}], ids=str)
def test_equal_nodes_elsewhere_make_no_difference(options: dict[str, Any]) -> None:
    """A node of a branch is not lifted out of it because an equal one is alive."""
    x = gn.input("x", (), "float64")
    alive = [gn.sqrt(x), gn.log(x) * gn.sqrt(x)]
    y = gn.cond(x > 0, lambda: gn.log(x) * gn.sqrt(x), lambda: x * 0.5)
    dx = gn.grad(y, x)
    program = gn.compile(x, [y, dx, gn.jvp(y, [x], [gn.constant(1.0, "float64")])], **options)
    for fed in (0.0, -4.0):
        np.testing.assert_array_equal(program(fed), [fed / 2, 0.5, 0.5])
    slope = (np.log(4.0) / 2 + 1) / 2
    np.testing.assert_allclose(program(4.0), [np.log(4.0) * 2, slope, slope], rtol=1e-14)
    assert set(y.inputs[0].inputs) == {alive[0].inputs[0], y.inputs[0].inputs[0]}


@pytest.mark.parametrize("options", [*EXECUTORS.values(), {"debug": "nan"}], ids=str)
def test_equal_nodes_in_nested_branches(options: dict[str, Any]) -> None:
    """Nor because the other branch of the cond around it computes an equal one."""
    x = gn.input("x", (), "float64")
    y = gn.cond(
        x > 0,
        lambda: gn.sqrt(x),
        lambda: gn.cond(x > -1, lambda: 0.0 * x, lambda: gn.sqrt(x) * 0.0),
    )
    program = gn.compile(x, [y, gn.grad(y, x)], **options)
    np.testing.assert_array_equal(program(0.0), [0.0, 0.0])
    np.testing.assert_array_equal(program(-0.25), [0.0, 0.0])
    np.testing.assert_allclose(program(4.0), [2.0, 0.25])


def test_derivatives_within_a_branch_belong_to_it() -> None:
    x = gn.input("x", (), "float64")
    outside = gn.sqrt(x)
    slope = gn.grad(outside, x)
    y = gn.cond(x > 0, lambda: gn.grad(gn.sqrt(x), x), lambda: x)
    results = [y, gn.grad(y, x)]
    np.testing.assert_array_equal(gn.evaluate(results, {x: 0.0}), [0.0, 1.0])
    np.testing.assert_allclose(gn.evaluate([*results, slope], {x: 4.0}), [0.25, -1 / 32, 0.25])


def test_what_needs_nothing_from_outside_stays_in_its_branch() -> None:
    """Also when a derivative lays the cond open, and an equal node is alive."""
    p, x = gn.input("p", (), "bool"), gn.input("x", (), "float64")
    outside = gn.log(gn.constant(-1.0, "float64"))
    y = gn.cond(p, lambda: x * gn.log(gn.constant(-1.0, "float64")), lambda: x * 2.0)
    program = gn.compile(
        [p, x], [y, gn.grad(y, x), gn.jvp(y, [x], [x])], optimize="O0", debug="nan"
    )
    np.testing.assert_array_equal(program(False, 3.0), [6.0, 2.0, 6.0])
    assert outside.op.name == "log"


def test_conds_are_one_node_wherever_they_are_made() -> None:
    """Bodies do not tell where they were built, and what leaves a branch is interned outside."""
    (p, x, w), _ = given()
    q = gn.input("q", (), "bool")
    _, rows = gn.scan(lambda c, e: (c + e, c * e), x, w)

    def inner() -> Any:
        zeros = gn.broadcast_to(gn.constant(0.0, "float64"), (SIZE,))
        total, _ = gn.scan(lambda c, e: (gn.sin(c) + e, None), zeros, w)
        return gn.cond(q, lambda: (gn.sin(total), zeros), lambda: (rows[0], x))

    first, second = inner(), gn.cond(True, inner, inner)
    assert first == second
    outer = [gn.cond(p, lambda: inner()[0], lambda: x).inputs[0] for _ in range(2)]
    assert outer[0] is outer[1]
    (nested,) = (each for each in outer[0].attrs["if_true"].nodes if each.op.name == "cond")
    for name in ("if_true", "if_false"):
        assert nested.attrs[name] == first[0].inputs[0].attrs[name]


# ------------------------------------------------------------------------------------ what is known


def test_a_known_predicate_needs_no_cond() -> None:
    (_, x, _), _ = given()
    for flag in (True, np.bool_(True), gn.constant(True)):
        assert gn.cond(flag, gn.sin, gn.cos, x) is gn.sin(x)
    y = gn.cond(gn.all(gn.constant([True, False])), gn.sin, gn.cos, x)
    program = gn.compile(x, y, verify=True)
    assert not program.branches
    assert "cond" not in ops_of(program.unit.graph)


def test_what_both_branches_give_needs_no_cond() -> None:
    (p, x, _), _ = given()
    z = gn.sin(x)
    made = gn.cond(p, lambda x: (z, x, gn.exp(x), 1.0), lambda x: (z, x, gn.exp(x), 2.0), x)
    assert made[:3] == (z, x, gn.exp(x))
    assert made[3].inputs[0].op.name == "cond"


def test_equal_conds_are_one_node() -> None:
    (p, x, w), _ = given()
    assert flatten(cond_of(p, x, w)) == flatten(cond_of(p, x, w))


def test_results_that_nobody_reads_are_not_computed() -> None:
    (p, x, _), _ = given()
    y, _ = gn.cond(p, lambda x: (gn.sin(x), gn.exp(x)), lambda x: (x, gn.log(x)), x)
    program = gn.compile([p, x], y, verify=True)
    assert rules(program)["trim_conditional"]
    (cond,) = (each for each in program.unit.graph.nodes if each.op.name == "cond")
    assert "exp" not in ops_of(cond.attrs["if_true"])
    assert "log" not in ops_of(cond.attrs["if_false"])


def test_a_cond_and_its_tangent_are_one() -> None:
    (p, x, w), _ = given()
    y = cond_of(p, x, w)["y"]
    program = gn.compile([p, x, w], [y, gn.jvp(y, [x], [gn.ones(SIZE, "float64")])], verify=True)
    assert rules(program)["merge_conditionals"] == 1
    assert ops_of(program.unit.graph)["cond"] == 1


# ----------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_vmap(axes: tuple[int | None, int | None]) -> None:
    """Of predicates and operands, with gradients for every example."""
    (p, x, w), (_, weight) = given()
    rng = np.random.default_rng(1)
    fed, flags = np.abs(rng.normal(size=(5, SIZE))), rng.random(5) > 0.5
    ps, xs = gn.input("ps", (5,), "bool"), gn.input("xs", (5, SIZE), "float64")

    def results(p: Node, x: Node) -> Any:
        y = cond_of(p, x, w)
        return y, gn.grad(sum(gn.sum(each) for each in flatten(y)), x)

    chosen = [whole if axis == 0 else whole[0] for whole, axis in zip((ps, xs), axes, strict=True)]
    many = gn.compile([ps, xs, w], gn.vmap(results, in_axes=axes)(*chosen), verify=True)
    found = flatten(many(flags, fed, weight))
    one = gn.compile([p, x, w], results(p, x))
    for number in range(5):
        arrays = [
            whole[number if axis == 0 else 0]
            for whole, axis in zip((flags, fed), axes, strict=True)
        ]
        for got, wanted in zip(found, flatten(one(*arrays, weight)), strict=True):
            np.testing.assert_allclose(got[number], wanted, rtol=1e-12)


def test_gradients_of_examples_are_not_spoilt_by_each_other() -> None:
    """Both branches are computed for all examples, but their derivatives are chosen as well."""
    xs = gn.input("xs", (3,), "float64")

    def root(x: Node) -> Node:
        y: Node = gn.cond(x > 0, gn.sqrt, lambda x: x * 2.0, x)
        return y

    one = gn.constant(1.0, "float64")
    slopes = [
        gn.vmap(lambda x: gn.grad(root(x), x))(xs),
        gn.vmap(lambda x: gn.jvp(root(x), [x], [one]))(xs),
    ]
    for found in gn.compile(xs, slopes, verify=True)(np.array([4.0, -1.0, 0.25])):
        np.testing.assert_array_equal(found, [0.25, 2.0, 1.0])


def test_a_branch_that_no_example_takes_is_skipped() -> None:
    """Where the other one computes nothing."""
    xs, ps = gn.input("xs", (4, 3)), gn.input("ps", (4,), "bool")

    def one(p: Node, x: Node) -> Any:
        return gn.cond(p, lambda x: counted(gn.sin(x)), lambda x: x, x)

    program = gn.compile([ps, xs], gn.vmap(one)(ps, xs))
    fed = np.arange(12, dtype="float32").reshape(4, 3)
    COUNTING.n_calls = 0
    np.testing.assert_array_equal(program(np.zeros(4, bool), fed), fed)
    assert COUNTING.n_calls == 0
    flags = np.array([True, False, True, False])
    expected = np.where(flags[:, None], np.sin(fed), fed)
    np.testing.assert_allclose(program(flags, fed), expected, rtol=1e-6)
    assert COUNTING.n_calls == 1


# ----------------------------------------------------------------------------------------- nesting


def test_cond_in_scan() -> None:
    """The predicate is an element, a carry, or computed in the step."""
    flags, xs = gn.input("flags", (6,), "bool"), gn.input("xs", (6, 4))

    def step(carry: Any, element: Any) -> Any:
        (h, was), (flag, x) = carry, element
        h = gn.cond(flag, lambda h: gn.tanh(h + x), lambda h: h, h)
        y = gn.cond(was, lambda: x * 2.0, lambda: h)
        z = gn.cond(gn.sum(h) > 0.0, gn.sin, lambda h: h[::-1], h)
        return (h, gn.logical_not(was)), (y, z)

    (last, _), ys = gn.scan(step, (gn.ones(4), gn.constant(True)), (flags, xs))
    rng = np.random.default_rng(0)
    arrays = [rng.random(6) > 0.5, rng.normal(size=(6, 4)).astype("float32")]
    outputs = [last, *ys, gn.grad(gn.sum(ys[0]) + gn.sum(last * ys[1]), xs)]
    assert_executors_agree([flags, xs], outputs, arrays)


@pytest.mark.parametrize("options", EXECUTORS.values(), ids=str)
def test_both_branches_overwrite_the_flag(options: dict[str, Any]) -> None:
    """The flag is a carry of a scan, or a parameter, and either branch writes the next one."""
    x = gn.input("x", (8,))

    def step(flag: Node, e: Node) -> Any:
        return gn.cond(flag, lambda: (e > 0.3, e * 2.0), lambda: (e < -0.1, e * 3.0))

    last, ys = gn.scan(step, gn.constant(True), x)
    q = gn.parameter(np.array(True), "q", trainable=False)
    first = x[0]
    program = gn.compile(
        x,
        [last, ys],
        updates={q: gn.cond(q, lambda: first > 0.0, lambda: first < 0.0)},
        **options,
    )
    rng = np.random.default_rng(3)
    flag = True
    for _ in range(8):
        fed = rng.uniform(-1, 1, size=8).astype("float32")
        flags, expected = [True], []
        for e in fed:
            expected.append(e * (2 if flags[-1] else 3))
            flags.append(e > 0.3 if flags[-1] else e < -0.1)
        found, rows = program(fed)
        assert bool(found) == flags[-1]
        np.testing.assert_allclose(rows, np.array(expected, "float32"), rtol=1e-6)
        flag = bool(fed[0] > 0 if flag else fed[0] < 0)
        assert bool(q.value) == flag


def test_scan_in_cond() -> None:
    p, xs = gn.input("p", (), "bool"), gn.input("xs", (5, 4))

    def sums(xs: Node) -> Any:
        return gn.scan(lambda h, x: (gn.tanh(h + x), h * x), gn.zeros(4), xs)

    last, ys = gn.cond(p, sums, lambda xs: (xs[0], xs), xs)
    grad = gn.grad(gn.sum(last) + gn.sum(ys * ys), xs)
    fed = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    for flag in (True, False):
        program = assert_executors_agree([p, xs], [last, ys, grad], [np.array(flag), fed])
    assert program.loops


def test_cond_in_cond() -> None:
    x = gn.input("x", (), "float64")

    def piecewise(x: Node) -> Node:
        return gn.cond(
            x < 0.0,
            lambda x: -x,
            lambda x: gn.cond(x < 1.0, lambda x: x * x, lambda x: 2.0 * x - 1.0, x),
            x,
        )

    y = piecewise(x)
    program = gn.compile(x, [y, gn.grad(y, x)], verify=True)
    for fed, value, slope in ((-3.0, 3.0, -1.0), (0.5, 0.25, 1.0), (4.0, 7.0, 2.0)):
        np.testing.assert_array_equal(program(fed), [value, slope])


def test_named_dimensions() -> None:
    p, x = gn.input("p", (), "bool"), gn.input("x", ("n", 3))
    y = gn.cond(p, lambda x: gn.sum(x, 0), lambda x: gn.max(x, 0), x)
    program = gn.compile([p, x], y, verify=True)
    for n in (2, 5):
        fed = np.random.default_rng(n).normal(size=(n, 3)).astype("float32")
        np.testing.assert_allclose(program(True, fed), fed.sum(0), rtol=1e-6)
        np.testing.assert_array_equal(program(False, fed), fed.max(0))


# ------------------------------------------------------------------------------------------- state


def test_parameters_that_a_branch_leaves_alone_are_not_touched() -> None:
    """An update that is skipped has no instructions at all."""
    w = gn.parameter(np.ones(4), dtype="float64")
    x = gn.input("x", (4,), "float64")
    loss = gn.sum(w * x)
    good = gn.isfinite(loss)
    new = gn.cond(good, lambda: w - 0.5 * gn.grad(loss, w), lambda: w)
    program = gn.compile([x], loss, updates={w: new}, verify=True)
    assert [each.when for each in program.branches] == [True]
    program(np.arange(4.0))
    np.testing.assert_array_equal(w.value, 1.0 - 0.5 * np.arange(4.0))
    program(np.full(4, np.inf))
    np.testing.assert_array_equal(w.value, 1.0 - 0.5 * np.arange(4.0))


@BOTH
def test_random_numbers_in_a_branch(flag: bool) -> None:
    """Those of its key, whatever the other branch draws."""
    p = gn.input("p", (), "bool")
    key = gn.random.key(3)
    y = gn.cond(p, lambda: gn.random.normal(key, (4,)), lambda: gn.random.uniform(key, (4,)))
    wanted = gn.random.normal(key, (4,)) if flag else gn.random.uniform(key, (4,))
    np.testing.assert_array_equal(gn.evaluate(y, {p: flag}), gn.evaluate(wanted))


def test_an_error_in_the_branch_that_is_taken() -> None:
    """And none if it is not."""
    p, x, i = gn.input("p", (), "bool"), gn.input("x", (4,)), gn.input("i", (), "int64")
    y = gn.cond(p, lambda x: x[i] * 2.0, lambda x: x[0], x)
    program = gn.compile([p, x, i], y)
    fed = np.ones(4, "float32")
    assert program(False, fed, 9) == 1.0
    with pytest.raises(FeedError, match="index 9 is out of range"):
        program(True, fed, 9)
    assert program(True, fed, 3) == 2.0


# -------------------------------------------------------------------------------------------- texts


def test_texts_and_pictures() -> None:
    (p, x, w), arrays = given()
    program = gn.compile([p, x, w], cond_of(p, x, w))
    assert "if feed0: " in str(program)
    assert "unless feed0: " in program.explain()
    assert "if p else" in program.source()
    names: dict[str, Any] = {}
    exec(program.source(), names)
    for flag in (True, False):
        results, _ = names["program"](np.array(flag), *arrays)
        for got, wanted in zip(results, flatten(program(flag, *arrays)), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-12)
    assert str(gn.render(program))
    graph = gn.Graph((p, x, w), tuple(flatten(cond_of(p, x, w))))
    assert str(gn.render(graph))
    assert "cond" in str(graph)
    assert graph.to_networkx().number_of_nodes() == len(graph.nodes)


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("error", "words", "predicate", "if_true", "if_false"),
    [
        (ShapeError, "predicate is bool[3], not one bool", "mask", gn.sin, gn.cos),
        (DTypeError, "predicate is f64[], not bool", "number", gn.sin, gn.cos),
        (
            ArgumentError,
            "branches give other structures",
            "flag",
            lambda x: (x, x),
            lambda x: {"a": x},
        ),
        (ShapeError, "the result is f64[3] if true and f64[] if false", "flag", gn.sin, gn.sum),
        (
            DTypeError,
            "result 1 is f64[3] if true and f32[3] if false",
            "flag",
            lambda x: (x, x),
            lambda x: (x, x.astype("float32")),
        ),
    ],
)
def test_refused(
    error: type[Exception], words: str, predicate: str, if_true: Any, if_false: Any
) -> None:
    """The error says what differs."""
    (p, x, _), _ = given()
    flags = {"mask": x > 0, "number": gn.sum(x), "flag": p}
    with pytest.raises(error) as caught:
        gn.cond(flags[predicate], if_true, if_false, x)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("words", "if_true", "if_false"),
    [
        ("if_true is f64[3], not a function", "x", gn.sin),
        ("if_false is 1.0, not a function", gn.sin, 1.0),
        ("if_true is called with 1 argument: too many positional", lambda: 1.0, gn.sin),
        ("if_false is called with 1 argument: missing a required", gn.sin, lambda x, y: x),
        ("(f64[3],) if true, None if false", lambda x: (x,), lambda x: None),
    ],
)
def test_what_is_no_branch(words: str, if_true: Any, if_false: Any) -> None:
    (p, x, _), _ = given()
    with pytest.raises(ArgumentError) as caught:
        gn.cond(p, x if isinstance(if_true, str) else if_true, if_false, x)
    assert words in str(caught.value)


def test_a_number_is_promoted_as_in_arithmetic() -> None:
    (p, _, _), _ = given()
    n = gn.input("n", (), "int64")
    for number in (2, 1.5, True):
        assert gn.cond(p, lambda number=number: number, lambda: n).dtype == (number + n).dtype
