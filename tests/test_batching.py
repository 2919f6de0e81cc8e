"""vmap: every operation and random graphs against a stacked loop; nesting, rules, errors."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from batching import check_batching
from checks import assert_close, main_dtypes, tolerance
from drawing import Case, drawable
from hypothesis import HealthCheck, given, settings
from random_graphs import Recipe, build, recipes

import graphnn as gn
from graphnn.compiler.batching import batch_nodes
from graphnn.core.graph import topological_order
from graphnn.core.op import REGISTRY
from graphnn.ops.contract import OPERATIONS
from graphnn.ops.control import CUSTOM_DERIVATIVE, PROJECT, TUPLE

RNG = np.random.default_rng(0)


def run(node, feeds, backend="numpy"):
    return gn.compile(list(feeds), node, backend=backend)(*feeds.values())


def ops_of(node):
    return [each.op.name for each in gn.Graph((), (node,)).nodes]


@pytest.mark.parametrize(
    ("cases", "dtype"),
    [
        pytest.param(found, dtype, id=f"{operation.name}-{dtype}")
        for operation in OPERATIONS.values()
        for dtype in main_dtypes(operation)
        if (found := drawable(operation, dtype))
    ],
)
def test_vmap_is_a_stacked_loop(cases: list[Case], dtype: str) -> None:
    check_batching(cases, dtype)


def test_every_operator_says_how_it_batches():
    by_the_pass = {TUPLE, PROJECT, CUSTOM_DERIVATIVE}
    silent = [
        op.name
        for op in REGISTRY.values()
        if op not in by_the_pass
        and not op.body_attrs  # tests of their own batch these
        and op.axis_attrs is None
        and type(op).batch is gn.core.op.Op.batch
        and type(op).expand is gn.core.op.Op.expand
        and not op.is_source
        and op.name not in ("constant", "iota", "size_of")
    ]
    assert silent == []


# -------------------------------------------------------------------------------- random graphs


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(recipes)
def test_vmap_of_random_graphs_with_grad_and_jvp(recipe: Recipe) -> None:
    leaves = [
        leaf._replace(special=(), is_state=number > 1) for number, leaf in enumerate(recipe.leaves)
    ]
    recipe = replace(recipe, leaves=tuple(leaves), with_gradient=True)
    one = build(recipe, "float64", "float64")
    tangents = [gn.constant(RNG.normal(size=each.shape), "float64") for each in one.inputs]
    outputs = [*one.outputs, *gn.jvp(one.outputs[:2], one.inputs, tangents)]
    feeds = [np.stack([feed, 0.5 * feed, -feed]) for feed in one.feeds]
    many = [gn.input(f"many{i}", feed.shape, "float64") for i, feed in enumerate(feeds)]
    batched = batch_nodes(outputs, dict(zip(one.inputs, many, strict=True)))
    # Gradients of what is batched, too: the two transforms change places.
    loss = gn.sum(gn.stack([gn.sum(gn.tanh(each)) for each in outputs[:2]]))
    slopes = gn.grad(loss, one.inputs, allow_unused=True)
    total = gn.sum(gn.stack([gn.sum(gn.tanh(each)) for each in batched[:2]]))
    batched_slopes = gn.grad(total, many, allow_unused=True)
    # Native code of random graphs is what tests/test_random_graphs.py looks at.
    program = gn.compile(one.inputs, [*outputs, *slopes], native="never")
    loop = [program(*(feed[i] for feed in feeds)) for i in range(3)]
    found = gn.compile(many, [*batched, *batched_slopes], native="never")(*feeds)
    for place, result in enumerate(found):
        expected = np.stack([each[place] for each in loop])
        # Sums in another order, a few rounded steps deep.
        assert_close(result, expected, 8 * tolerance("float64"), f"result {place}")


# -------------------------------------------------------------------------------- what it builds


def test_graph_has_no_loop_and_does_not_grow_with_the_examples():
    def f(x):
        return gn.sum(gn.softmax(x @ gn.constant(RNG.normal(size=(4, 4)).astype("float32"))), -1)

    def nodes(count):
        return ops_of(gn.vmap(f)(gn.input("x", shape=(count, 3, 4))))

    assert nodes(2) == nodes(1000)
    assert nodes(2) == ops_of(f(gn.input("x", shape=(3, 4))))


def test_one_product_where_one_operand_is_the_same_for_all_examples():
    w = gn.parameter(np.ones((4, 5), "float32"))
    for f, shape in ((lambda x: x @ w, (7, 3, 4)), (lambda x: w @ x, (7, 5, 2))):
        ops = ops_of(gn.vmap(f)(gn.input("x", shape=shape)))
        assert ops.count("dot_general") == 1
        assert "broadcast_to" not in ops


def test_what_does_not_depend_on_examples_is_shared():
    w = gn.parameter(np.ones(3, "float32"))
    shared = gn.exp(w)
    x = gn.input("x", shape=(5, 3))
    y = gn.vmap(lambda each: each * shared)(x)
    assert shared in gn.Graph((x,), (y,)).nodes


def test_named_dimensions():
    x = gn.input("x", shape=("batch", "n"))
    y = gn.vmap(lambda row: row / gn.sum(row))(x)
    assert str(y.shape) == "(Dim(batch), Dim(n))"
    data = RNG.uniform(1.0, 2.0, (4, 3)).astype("float32")
    np.testing.assert_allclose(
        gn.evaluate(y, {x: data}), data / data.sum(1, keepdims=True), rtol=1e-6
    )


def test_names_steps_and_lines_survive():
    x = gn.input("x", shape=(5, 3))

    def f(row):
        with gn.name_scope("layer"), gn.time_step(3):
            return gn.tanh(row)

    known = gn.provenance(gn.vmap(f)(x))
    assert (known.scope, known.step, known.made_by) == ("layer", 3, "vmap")
    assert "test_batching.py" in known.where


# ------------------------------------------------------------------------------------ composition


def test_nesting():
    a, b = RNG.normal(size=(4, 2)), RNG.normal(size=(5, 2))
    outer = gn.vmap(gn.vmap(lambda x, y: gn.sum((x - y) ** 2), (None, 0)), (0, None))
    x, y = gn.input("a", (4, 2), "float64"), gn.input("b", (5, 2), "float64")
    expected = ((a[:, None] - b[None]) ** 2).sum(-1)
    np.testing.assert_allclose(run(outer(x, y), {x: a, y: b}), expected)


def test_per_example_gradients():
    w = gn.parameter(RNG.normal(size=(3, 2)))
    x, t = gn.input("x", (6, 3), "float64"), gn.input("t", (6, 2), "float64")

    def loss(row, target):
        return gn.sum((gn.tanh(row @ w) - target) ** 2)

    found = gn.vmap(lambda row, target: gn.grad(loss(row, target), w))(x, t)
    rows, targets = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))
    out = np.tanh(rows @ w.value)
    slope = 2 * (out - targets) * (1 - out**2)
    expected = rows[:, :, None] * slope[:, None, :]
    np.testing.assert_allclose(run(found, {x: rows, t: targets}), expected)
    total = gn.grad(gn.sum(gn.vmap(loss)(x, t)), w)
    np.testing.assert_allclose(run(total, {x: rows, t: targets}), expected.sum(0))


def test_hessian_of_a_batch_and_of_a_function():
    x = gn.input("x", (4, 3), "float64")
    data = RNG.normal(size=(4, 3))
    found = gn.vmap(gn.hessian(lambda row: gn.sum(row**3)))(x)
    np.testing.assert_allclose(
        run(found, {x: data}), np.stack([np.diag(6 * row) for row in data]), atol=1e-12
    )


@pytest.mark.parametrize("mode", ["jvp", "vjp"])
def test_custom_rules_are_written_for_one_example(mode):
    seen = []
    wrap = gn.custom_jvp if mode == "jvp" else gn.custom_vjp

    @wrap
    def f(x, w):
        return gn.sum(x * w), x + w

    if mode == "jvp":

        @f.defjvp
        def _(arguments, result, tangents):
            seen.append(arguments[0].shape)
            (x, w), (dx, dw) = arguments, tangents
            dx = gn.zeros(x.shape, x.dtype) if dx is None else dx
            dw = gn.zeros(w.shape, w.dtype) if dw is None else dw
            return 2.0 * (gn.sum(dx * w) + gn.sum(x * dw)), dx + dw

    else:

        @f.defvjp
        def _(arguments, result, cotangents):
            seen.append(arguments[0].shape)
            (x, w), (u, v) = arguments, cotangents
            u = gn.zeros((), x.dtype) if u is None else u
            v = gn.zeros(x.shape, x.dtype) if v is None else v
            return 2.0 * u * w + v, 2.0 * u * x + v

    x, w = gn.input("x", (4, 3), "float64"), gn.input("w", (3,), "float64")
    first, second = gn.vmap(f, (0, None))(x, w)
    feeds = {x: RNG.normal(size=(4, 3)), w: RNG.normal(size=3)}
    np.testing.assert_allclose(run(first, feeds), feeds[x] @ feeds[w])
    np.testing.assert_allclose(run(second, feeds), feeds[x] + feeds[w])
    by_x, by_w = gn.grad(gn.sum(first), [x, w])
    np.testing.assert_allclose(run(by_x, feeds), np.broadcast_to(2 * feeds[w], (4, 3)))
    np.testing.assert_allclose(run(by_w, feeds), 2 * feeds[x].sum(0))
    tangent = gn.jvp(first, w, np.ones(3))
    np.testing.assert_allclose(run(tangent, feeds), 2 * feeds[x].sum(1))
    assert set(seen) == {(3,)}


def test_random_numbers_are_shared_unless_their_key_is_mapped():
    x, keys = gn.constant(np.zeros((4, 2), "float32")), gn.random.split(gn.random.key(0), 4)
    shared = gn.vmap(lambda row: row + gn.random.normal(gn.random.key(1), (2,)))(x)
    own = gn.vmap(lambda row, key: row + gn.random.normal(key, (2,)))(x, keys)
    assert len(np.unique(gn.evaluate(shared), axis=0)) == 1
    found = gn.evaluate(own)
    assert len(np.unique(found, axis=0)) == 4
    np.testing.assert_array_equal(found[2], gn.evaluate(gn.random.normal(keys[2], (2,))))


# ------------------------------------------------------------------------ structures and axes


def test_structures_axes_and_keywords():
    x = gn.input("x", (3, 5), "float64")
    b = gn.input("b", (5,), "float64")

    def f(params, factor, *, offset):
        return {"y": params["w"] * factor + params["b"] + offset, "none": None, "c": 1.0}

    axes = ({"w": 1, "b": 0}, None)
    found = gn.vmap(f, axes, {"y": -1, "none": 0, "c": 0})({"w": x, "b": b}, 2.0, offset=b)
    assert found["none"] is None
    assert found["c"].shape == (5,)
    feeds = {x: RNG.normal(size=(3, 5)), b: RNG.normal(size=5)}
    np.testing.assert_allclose(run(found["y"], feeds), feeds[x] * 2 + 2 * feeds[b])


class Pair(NamedTuple):
    left: Any
    right: Any


def test_axes_follow_tuples_with_names_and_dataclasses():
    @dataclass
    class Line:
        slope: Any
        offset: Any

    x, b = gn.input("x", (3, 5), "float64"), gn.input("b", (), "float64")
    data = RNG.normal(size=(3, 5))

    def scaled(pair, x):
        slope, offset = vars_of(pair)
        return type(pair)(slope, offset * x)

    for kind in (Pair, Line):
        found = gn.vmap(scaled, (kind(1, None), 1), kind(0, 1))(kind(x, b), x)
        assert isinstance(found, kind)
        first, second = vars_of(found)
        np.testing.assert_array_equal(run(first, {x: data}), data.T)
        np.testing.assert_array_equal(run(second, {x: data, b: np.array(2.0)}), 2 * data)


def vars_of(pair):
    return list(pair) if isinstance(pair, tuple) else list(vars(pair).values())


def test_results_that_are_the_same_for_all_examples():
    x, w = gn.input("x", (4, 3), "float64"), gn.input("w", (3,), "float64")
    y, norm = gn.vmap(lambda row: (row * w, gn.sum(w**2)), out_axes=(0, None))(x)
    assert (y.shape, norm.shape) == ((4, 3), ())
    assert run(norm, {w: np.ones(3)}) == 3.0
    with pytest.raises(gn.ArgumentError, match=r"out_axes is None for a result that depends on"):
        gn.vmap(lambda row: (row * w, gn.sum(row)), out_axes=(0, None))(x)


def test_expansions_do_not_look_behind_what_is_shared(monkeypatch):
    # A chain of composites beside a chain that is the same for all examples: linear, not squared.
    visited = []

    def counted(*args, **kwargs):
        order = topological_order(*args, **kwargs)
        visited.append(len(order))
        return order

    monkeypatch.setattr("graphnn.compiler.batching.topological_order", counted)
    x, shared = gn.input("x", (4, 3)), gn.input("shared", (3,))

    def f(row):
        scale = shared
        for _ in range(60):
            scale = gn.tanh(scale)
            row = gn.layer_norm(row, scale)
        return row

    assert gn.vmap(f)(x).shape == (4, 3)
    assert len(visited) > 60  # layer_norm is batched as its expansion
    assert sum(visited) < 60 * 20


def test_mistakes_are_explained():
    x, y = gn.input("x", shape=(3, 2)), gn.input("y", shape=(4, 2))
    with pytest.raises(gn.ShapeError, match=r"3 examples of <Node x .* and 4 of <Node y"):
        gn.vmap(gn.add)(x, y)
    with pytest.raises(gn.ArgumentError, match="no argument is mapped"):
        gn.vmap(gn.add, None)(x, x)
    with pytest.raises(gn.ShapeError, match=r"0-d and has no axis.*\n.*\n.*in_axes=None"):
        gn.vmap(gn.add)(x, 1.0)
    with pytest.raises(gn.ShapeError, match=r"argument 1\.mode is 'sum', which has no axis"):
        gn.vmap(lambda x, how: x)(x, {"mode": "sum"})
    with pytest.raises(gn.ShapeError, match=r"keyword argument n is 3.*\n.*\n.*partial"):
        gn.vmap(lambda x, n: x)(x, n=3)
    with pytest.raises(gn.ArgumentError, match="<lambda> returns 'y', which is no array"):
        gn.vmap(lambda x: "y")(x)
    with pytest.raises(gn.ShapeError, match="in_axes: axis 2 is out of range for 2 axes"):
        gn.vmap(gn.tanh, 2)(x)
    with pytest.raises(gn.ArgumentError, match="does not have the structure"):
        gn.vmap(gn.add, (0,))(x, x)
    with pytest.raises(gn.ArgumentError, match="a function is mapped, not Node"):
        gn.vmap(x)
    with pytest.raises(gn.ShapeError, match="out_axes: axis 3 is out of range"):
        gn.vmap(gn.tanh, 0, 3)(x)


# ------------------------------------------------------------------- derivatives of functions


def test_derivatives_take_functions():
    def f(x, params):
        return gn.sum(gn.tanh(x * params["w"])) * params["b"]

    x = gn.input("x", (3,), "float64")
    params = {"w": gn.input("w", (3,), "float64"), "b": gn.input("b", (), "float64")}
    by_node = gn.grad(f(x, params), [x, params])
    by_function = gn.grad(f, (0, 1))(x, params)
    feeds = {x: RNG.normal(size=3), params["w"]: RNG.normal(size=3), params["b"]: np.array(2.0)}
    for one, other in zip(by_node[1].values(), by_function[1].values(), strict=True):
        np.testing.assert_array_equal(run(one, feeds), run(other, feeds))
    value, gradient = gn.value_and_grad(f)(x, params)
    np.testing.assert_array_equal(run(gradient, feeds), run(by_node[0], feeds))
    assert value.shape == ()
    # An argument given twice is differentiated where it was asked for.
    twice = gn.grad(lambda a, b: gn.sum(a * b * b))(x, x)
    np.testing.assert_allclose(run(twice, {x: feeds[x]}), feeds[x] ** 2)
    a = gn.input("a", (), "float64")
    third = gn.grad(gn.grad(gn.grad(lambda a: a**4)))(a)
    assert gn.evaluate(third, {a: 2.0}) == 48.0


def test_positions_of_arguments_are_checked():
    x = gn.input("x", shape=())
    with pytest.raises(gn.ArgumentError, match="grad: 1 is not the position of one of 1"):
        gn.grad(lambda a: a, 1)(x)
