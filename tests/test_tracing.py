"""What traced functions compute, and what they cannot: graphs, numbers, state, mistakes.

A function of operators alone also runs on NumPy arrays: that is the oracle.
"""

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from traced import Counted, array, expect, on_each_backend

import graphnn as gn
from graphnn.ops.contract import OPERATIONS
from graphnn.ops.elementwise import ElementwiseOp

# -------------------------------------------------------------------------------------- graphs


def test_graph_of_a_function():
    def affine(x, params, *, scale, kind="plain"):
        y = (x @ params[0] + params[1]) * scale
        return (y, {"mean": gn.mean(y)}) if kind == "plain" else y

    x = gn.input("anything", shape=("batch", 3))
    params = [gn.TensorSpec((3, 2)), array(2)]
    graph = gn.trace(affine, x, params, scale=2.0)
    assert isinstance(graph, gn.Graph)
    assert [f"{node.name}: {node.spec}" for node in graph.inputs] == [
        "x: f32[batch, 3]",
        "params.0: f32[3, 2]",
        "params.1: f32[2]",
        "scale: f64[]",
    ]
    assert graph.results[1]["mean"] is graph.outputs[1]
    assert graph.arguments["params"] == list(graph.inputs[1:3])
    assert repr(graph) == f"<Graph 4 inputs, {len(graph.nodes)} nodes, 2 outputs>"
    program = gn.compile(graph.inputs, graph.results)
    given = array(5, 3), array(3, 2), array(2)
    y, measures = program(*given, 2.0)
    wanted = (given[0] @ given[1] + given[2]) * np.float32(2.0)
    np.testing.assert_allclose(y, wanted, rtol=1e-5)
    np.testing.assert_allclose(measures["mean"], wanted.mean(), rtol=1e-5)
    assert len(gn.trace(affine, x, params, scale=1.0, kind="short").outputs) == 1
    assert len(gn.trace(gn.exp, gn.TensorSpec((2,), "float64")).nodes) == 2


def test_pictures_and_dumps_of_traced_graphs():
    f = gn.function(lambda x, rate: gn.sum(x) * rate)
    spec = gn.TensorSpec((3,))
    assert str(f.trace(spec, 0.1)).startswith("graph(x: f32[3], rate: f64[]) {\n")
    assert "rate" in gn.render(f.trace(spec, 0.1)).svg
    assert "rate" in str(f.program(spec, 0.1))


def test_a_graph_knows_the_static_arguments_of_a_function():
    f = gn.function(gn.sum, static_argnames="axis")
    graph = gn.trace(f, gn.TensorSpec((2, 3)), axis=0)
    assert str(graph) == str(f.trace(gn.TensorSpec((2, 3)), axis=0))
    assert graph.outputs[0].shape == (3,)


def test_names_of_inputs_are_unique():
    graph = gn.trace(lambda p: p["a.b"] + p["a"]["b"], {"a.b": 1.0, "a": {"b": 2.0}})
    assert [node.name for node in graph.inputs] == ["p.a.b", "p.a.b#2"]
    assert gn.function(lambda p: p["a.b"] - p["a"]["b"])({"a.b": 1.0, "a": {"b": 3.0}}) == -2.0


# ------------------------------------------------------------------------- numbers of Python's


def decay(x: Any, rate: Any) -> Any:
    return (1 - rate**2) * x + rate / 2 + 1


@on_each_backend
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "int64"])
@pytest.mark.parametrize("rate", [0.1, 3])
def test_numbers_take_the_dtype_of_what_they_meet(backend, dtype, rate):
    x = np.arange(1, 4).astype(dtype)
    f = gn.function(decay, backend=backend)
    got = f(x, rate)
    wanted = decay(x.astype("float64"), rate)
    # Integers meet a fraction: float32 by our rule (rate / 2 is one), whatever NumPy says.
    expected = x.dtype if x.dtype.kind == "f" else np.dtype("float32")
    assert got.dtype == expected
    np.testing.assert_allclose(
        got, wanted, rtol={"float16": 4e-3, "float64": 1e-15}.get(dtype, 1e-6)
    )
    f(x, rate + 1)
    assert f.cache_size == 1


BINARY = [
    each
    for each in (operation.function for operation in OPERATIONS.values())
    if isinstance(each, ElementwiseOp) and each.arity == 2 and not each.masks
]


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.name)
def test_a_number_that_is_fed_acts_like_one_that_is_written(op):
    for dtype in ("bool", "int8", "int64", "float16", "bfloat16", "float32", "float64"):
        for number in (2, 0.5):
            x = gn.evaluate(gn.cast(np.array([1, 2, 3]), dtype))
            for written, fed in (
                (lambda x, n=number: op(x, n), lambda x, n: op(x, n)),
                (lambda x, n=number: op(n, x), lambda x, n: op(n, x)),
            ):
                try:
                    wanted = gn.function(written)(x)
                except gn.DTypeError:
                    with pytest.raises(gn.DTypeError):
                        gn.function(fed)(x, number)
                    continue
                got = gn.function(fed)(x, number)
                assert got.dtype == wanted.dtype, (dtype, number)
                np.testing.assert_array_equal(got, wanted)


def test_binary_operations_are_found():
    assert {"add", "power", "maximum", "less", "bitwise_and"} <= {op.name for op in BINARY}


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_integers_do_not_widen_integer_arrays(dtype):
    f = gn.function(lambda x, n: x * n - (n + 1) // 2)
    x = np.array([5, 6, 7], dtype)
    expect(f(x, 3), x * 3 - (3 + 1) // 2)


@on_each_backend
def test_numbers_alone(backend):
    """They compute and come back in Python's precision; arrays of them become float32."""
    f = gn.function(
        lambda a, n: (a, n, a * n, n / 2, gn.sin(n), a > n, n // 2, gn.stack([a, a + 1])),
        backend=backend,
    )
    a, n = 0.1, 3
    wanted = (a, n, a * n, n / 2, math.sin(n), a > n, n // 2, [a, a + 1])
    for ours, theirs in zip(f(a, n), wanted, strict=True):
        real = "float32" if isinstance(theirs, list) else "float64"
        kind = {"f": real, "i": "int64", "b": "bool"}[np.asarray(theirs).dtype.kind]
        assert ours.dtype == kind
        assert isinstance(ours, float) == isinstance(theirs, float)
        np.testing.assert_array_equal(ours, np.asarray(theirs, kind))
    exact = gn.function(lambda x, a: x * (1 - a) ** 10, backend=backend)
    np.testing.assert_array_equal(exact(np.ones(1), 0.1), [(1 - 0.1) ** 10])


def test_a_number_spread_over_an_array_stays_weak():
    f = gn.function(lambda x, a: x + gn.broadcast_to(a, x.shape) + gn.stack([a, a]))
    for dtype in ("float16", "float32", "float64"):
        assert f(np.ones(2, dtype), 0.5).dtype == dtype
    mixed = gn.function(lambda x, a: x * gn.cast(a, "float32"))
    with pytest.raises(gn.DTypeError, match="float64 and float32 do not mix"):
        mixed(np.ones(2), 0.5)
    with pytest.raises(gn.DTypeError, match="float32 and float64 do not mix"):
        gn.function(lambda x, a: x * (a * np.ones(2)))(np.ones(2, "float32"), 0.5)


def test_a_derivative_that_is_zero_is_as_weak_as_the_number():
    half = array(3, dtype="float16")
    unused = gn.function(lambda a, x: x * gn.vjp(gn.sum(x), a, 1.0, allow_unused=True))
    expect(unused(0.5, half), half * 0)
    flat = gn.function(lambda a, x: x * gn.jvp(gn.stop_gradient(a), a, 1.0))
    expect(flat(0.5, half), half * 0)


@on_each_backend
def test_derivatives_by_a_number(backend):
    def f(x, a):
        loss = gn.sum(gn.sin(a * x))
        return (
            gn.grad(loss, a),
            gn.jvp(loss, a, 1.0),
            gn.grad(gn.grad(loss, a), a),
            gn.hessian(loss, a),
            gn.grad(a**3, a) * x,
            gn.grad(gn.grad(a**3, a), a),
            gn.hessian(a**3, a),
        )

    x, a = array(4), 0.3
    with_a = np.float32(a) * x
    # Derivatives by a number are numbers: float64 that is weak, also where the loss is float32.
    wanted = (
        np.sum(np.cos(with_a) * x),
        np.sum(np.cos(with_a) * x),
        -np.sum(np.sin(with_a) * x * x),
        -np.sum(np.sin(with_a) * x * x),
        np.float32(3 * a**2) * x,
        6 * a,
        6 * a,
    )
    found = gn.function(f, backend=backend)(x, a)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert [type(each) is np.float64 for each in found] == [
        True,
        False,
        True,
        True,
        False,
        True,
        True,
    ]


@on_each_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_learned_in_the_precision_of_the_arrays(dtype, backend):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(9, 3)).astype(dtype)

    def loss(p, x):
        return gn.mean((x * p["w"] + p["b"] - 1) ** 2)

    slope = gn.function(gn.value_and_grad(loss), backend=backend)
    params = {"w": np.zeros(3, dtype), "b": 0.0}
    for _ in range(3):
        value, gradients = slope(params, data)
        error = data * params["w"] + params["b"] - 1
        np.testing.assert_allclose(
            gradients["b"], 2 * error.mean(), rtol=1e-14 if dtype == "float64" else 1e-5
        )
        assert value.dtype == gradients["w"].dtype == dtype
        params = {name: each - 0.1 * gradients[name] for name, each in params.items()}
    assert slope.cache_size == 1


def test_numbers_meet_a_derivative_rule_of_the_users():
    @gn.custom_vjp
    def times(x, a):
        return x * a

    @times.defvjp
    def _(arguments, result, cotangent):
        _, a = arguments
        return 2.0 * a * cotangent, None

    f = gn.function(lambda x, a: gn.grad(gn.sum(times(x, a)), x))
    expect(f(array(3), 0.5), np.ones(3, "float32"))


def test_a_large_integer_does_not_fit():
    with pytest.raises(gn.FeedError, match="'n'"):
        gn.function(lambda n: n + 1)(2**70)


# --------------------------------------------------------------------------------- composition


def test_called_with_nodes_it_builds_nodes():
    body = Counted(lambda x, y: x * y)
    f = gn.function(body)
    x = gn.input("x", shape=(3,))
    y = f(x, np.full(3, 2.0, "float32"))
    assert y.op.name == "multiply"
    assert y.inputs[1].op.name == "constant"
    assert f(x, 2.0) is x * 2.0
    assert f.cache_size == 0
    assert gn.evaluate(gn.grad(gn.sum(y), x), {x: array(3)}).tolist() == [2.0] * 3


@on_each_backend
def test_functions_call_functions(backend):
    w = gn.parameter(array(3), name="w")
    counted = Counted(lambda x: x * w)
    inner = gn.function(counted, backend=backend)
    table = np.arange(3, dtype="float32")
    outer = gn.function(lambda x: inner(x) + inner(table), backend=backend)
    x = array(3)
    np.testing.assert_allclose(outer(x), x * w.value + table * w.value, rtol=1e-6)
    w.value = array(3)  # inner(table) was not run while outer was traced
    np.testing.assert_allclose(outer(x), x * w.value + table * w.value, rtol=1e-6)
    assert (counted.runs, inner.cache_size, outer.cache_size) == (2, 0, 1)


@on_each_backend
def test_operators_between_arrays_and_arguments(backend):
    def f(x, n, a, k):
        s = np.float32(2.0)
        floats = (a + x, a - x, a * x, a / x, a // x, a % x, a**x, a @ x, s * x, x / s, s - x)
        return floats, (a < x, a <= x, a > x, a >= x), (k & n, k | n, k ^ n, k << n, k >> n, k % n)

    x, n = array(3), np.array([1, 2, 3])
    a, k = array(3), np.array([9, 8, 7])
    given = gn.function(lambda x, n: f(x, n, a, k), backend=backend)(x, n)
    expect(given, f(x, n, a, k))


@gn.function(static_argnames="n")
def power(x: Any, n: int) -> Any:
    return x if n == 1 else x * power(x, n - 1)


def test_recursion():
    x = array(3)
    np.testing.assert_allclose(power(x, 5), x**5, rtol=1e-5)
    assert power.cache_size == 1


@on_each_backend
def test_derivatives_inside_and_outside(backend):
    def cube(x):
        return gn.sum(x**3)

    x, v = array(3), array(3)
    inside = gn.function(
        lambda x, v: (gn.grad(cube(x), x), gn.jvp(cube(x), x, v), gn.hessian(cube(x), x)),
        backend=backend,
    )
    wanted = (3 * x**2, np.sum(3 * x**2 * v), np.diag(6 * x))
    expect(inside(x, v), wanted)
    compiled = gn.function(cube, backend=backend)
    node, direction = gn.input("x", shape=(3,)), gn.input("v", shape=(3,))
    y = compiled(node)
    outside = (gn.grad(y, node), gn.jvp(y, node, direction), gn.hessian(y, node))
    expect(gn.evaluate(outside, {node: x, direction: v}, backend=backend), wanted)
    gradient = gn.function(lambda x: gn.grad(compiled(x), x), backend=backend)
    second = gn.function(lambda x: gn.grad(gn.sum(gradient(x)), x), backend=backend)
    expect(second(x), 6 * x)


@on_each_backend
def test_gradients_in_the_structure_of_the_parameters(backend):
    def loss(params, x, t):
        return gn.mean((x @ params["w"] + params["b"] - t) ** 2)

    @gn.function(backend=backend)
    def step(params, x, t, rate):
        gradients = gn.grad(loss(params, x, t), params)
        return {name: value - rate * gradients[name] for name, value in params.items()}

    x, t = array(64, 3), array(64)
    params = {"w": array(3), "b": array()}
    w, b = params["w"].astype("float64"), params["b"].astype("float64")
    for count in range(5):
        rate = 0.1 / (1 + count)
        params = step(params, x, t, rate)
        error = 2 * (x @ w + b - t) / 64
        w, b = w - rate * (error @ x), b - rate * error.sum()
        np.testing.assert_allclose(params["w"], w, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(params["b"], b, rtol=1e-5, atol=1e-6)
    assert step.cache_size == 1


# ------------------------------------------------------------------------------- state, streams


@on_each_backend
def test_parameters_are_shared_and_read_at_every_call(backend):
    w = gn.parameter(2.0, name="w")
    f = gn.function(lambda x: x * w, backend=backend)
    x = gn.input("x")
    train = gn.compile(x, (), updates={w: w + x}, backend=backend)
    assert f(3.0) == 6.0
    train(1.0)
    assert f(3.0) == 9.0
    w.value = 5.0
    assert f(3.0) == 15.0
    assert f.cache_size == 1


def test_parameters_are_not_updated_by_a_traced_function():
    w = gn.parameter(2.0, name="w")

    @gn.function
    def f(x):
        w.value = w + x
        return w

    with pytest.raises(gn.SymbolicError, match="no value to convert to an array"):
        f(1.0)
    assert w.value == 2.0


@on_each_backend
def test_random_numbers_move_on_at_every_call(backend):
    f = gn.function(lambda x: x + gn.random.normal(shape=(4,)), backend=backend)
    gn.seed(3)
    x = array(4)
    first, second = f(x), f(x)
    assert not np.array_equal(first, second)
    gn.seed(3)
    np.testing.assert_array_equal(f(x), first)
    np.testing.assert_array_equal(f(x), second)
    assert f.cache_size == 1
    twice = gn.function(lambda x: f(x) - f(x), backend=backend)
    assert np.all(twice(x) != 0.0)


def test_modules_are_traced():
    model = gn.nn.Sequential(gn.nn.Dense(3, 4), gn.nn.Tanh(), gn.nn.Dense(4, 2))
    f = gn.function(lambda x: model(x))
    x = array(5, 3)
    node = gn.input("x", shape=(5, 3))
    np.testing.assert_array_equal(f(x), gn.evaluate(model(node), {node: x}, native="now"))
    np.testing.assert_array_equal(gn.function(model)(x), f(x))


# ------------------------------------------------------------------------------------ mistakes


def here() -> int:
    """The caller's line."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_errors_point_at_the_line_and_name_the_function():
    def wrong(x, y):
        z = x + 1.0
        wrong.line = here() + 1
        return z @ y

    with pytest.raises(gn.ShapeError) as caught:
        gn.function(wrong)(array(4, 5), array(6, 7))
    assert f"built at test_tracing.py:{wrong.line}" in str(caught.value)
    assert caught.value.__notes__ == ["  while wrong(x: f32[4, 5], y: f32[6, 7]) was traced"]


ASKING: list[tuple[str, Callable[[Any], Any], str]] = [
    (
        "if",
        lambda x: 1 if x[0] > 0 else 2,
        r"truth value of <Node greater \(\) bool>[\s\S]*gn\.where",
    ),
    ("and", lambda x: x[0] > 0 and x, r"truth value[\s\S]*gn\.logical_and"),
    ("not", lambda x: not x, "truth value of <Node x = input"),
    ("chain", lambda x: 0 < x < 1, "truth value of <Node"),
    ("bool", lambda x: bool(x), "truth value"),
    ("max", lambda x: max(x[0], x[1]), "truth value"),
    ("sorted", lambda x: sorted([x[0], x[1]]), "truth value"),
    ("float", lambda x: float(x[0]), r"<Node .*> is symbolic[\s\S]*gn\.compile"),
    ("complex", lambda x: complex(x[0]), "is symbolic"),
    ("math", lambda x: math.sqrt(x[0]), r"gn\.sqrt, not math\.sqrt"),
    ("int", lambda x: int(x[0]), r"number is needed[\s\S]*static_argnames"),
    ("range", lambda x: range(x[0]), "number is needed"),
    ("shape", lambda x: gn.zeros((x[0],)), "number is needed"),
    ("axis", lambda x: gn.sum(x, axis=x[0]), "number is needed"),
    ("list index", lambda x: [1, 2][x[0]], "number is needed"),
    ("asarray", lambda x: np.asarray(x), r"gn\.exp, not np\.exp"),
    ("array of", lambda x: np.array([x[0], x[1]]), "no value to convert"),
    ("ufunc", lambda x: np.exp(x), r"np\.exp does not build[\s\S]*gn\.exp does"),
    ("ufunc method", lambda x: np.add.reduce(x), r"np\.add does not build"),
    ("in place", lambda x: np.add(x, x, out=np.ones(3)), r"np\.add does not build"),
    ("numpy function", lambda x: np.concatenate([x, x]), r"gn\.concatenate does"),
    ("equal", lambda x: x[0] == 3, r"compare identities[\s\S]*gn\.equal"),
    ("in list", lambda x: x[0] in [1.0, 2.0], r"compare identities[\s\S]*gn\.equal"),
    ("in node", lambda x: 1.0 in x, r"gn\.any\(gn\.equal"),
    ("assign", lambda x: x.__setitem__(0, 1.0), r"cannot be written to[\s\S]*gn\.where"),
]


@pytest.mark.parametrize(
    ("ask", "words"), [each[1:] for each in ASKING], ids=[each[0] for each in ASKING]
)
def test_python_cannot_ask_for_values(ask, words):
    with pytest.raises(gn.SymbolicError, match=words) as caught:
        gn.function(ask)(array(3))
    assert isinstance(caught.value, TypeError)
    line = inspect.getsourcelines(ask)[1]
    assert f"built at test_tracing.py:{line}\n" in str(caught.value)


def test_statements_cannot_ask_for_values():
    def loop(x):
        while gn.sum(x) > 1.0:
            x = x / 2.0
        return x

    def check(x):
        assert gn.all(x > 0.0)
        return x

    def walk(x):
        return [x * i for i in range(x.shape[0])]

    def write(x):
        x[0] = 1.0
        return x

    for f, offset in ((loop, 1), (check, 1), (write, 1)):
        line = inspect.getsourcelines(f)[1] + offset
        with pytest.raises(gn.SymbolicError, match=rf"built at test_tracing\.py:{line}\n  hint"):
            gn.function(f)(array(3))
    assert len(gn.function(walk)(array(3))) == 3
    with pytest.raises(gn.ShapeError, match=r"size n is not known[\s\S]*fixed size"):
        gn.trace(walk, gn.TensorSpec(("n",)))
    with pytest.raises(gn.ShapeError, match=r"size n is not known"):
        gn.trace(lambda x: list(x), gn.TensorSpec(("n",)))


def test_hints_name_what_exists():
    for _, ask, _ in ASKING:
        with pytest.raises(gn.SymbolicError) as caught:
            gn.function(ask)(array(3))
        for name in re.findall(r"\bgn\.(\w+)", caught.value.hint):
            assert hasattr(gn, name), name


def test_wrong_arguments_are_named():
    f = gn.function(lambda x, tree: x)
    with pytest.raises(
        gn.ArgumentError, match=r"argument tree\.a\.1: a object is neither[\s\S]*static_argnames"
    ):
        f(1.0, {"a": [1.0, object()]})
    with pytest.raises(gn.DTypeError, match=r"argument x: dtype"):
        f(np.array(["a"]), {})
    with pytest.raises(gn.ShapeError, match=r"argument x: dimension name 'a b'"):
        gn.trace(lambda x: x, gn.TensorSpec(("a b",)))


def test_trace_of_a_matrix_is_another_function():
    with pytest.raises(gn.ArgumentError, match=r"not Node\n[\s\S]*gn\.matrix_trace"):
        gn.trace(gn.input("x", shape=(2, 2)))


def test_leaked_nodes_are_only_nodes():
    kept = []

    @gn.function
    def leaky(x):
        kept.append(x * 2.0)
        return x

    leaky(3.0)
    with pytest.raises(gn.FeedError, match="depend on inputs that are not listed"):
        gn.evaluate(kept[0])


def test_no_public_name_hides_an_operation():
    for name in {*gn.ops.__all__, *(name for names in gn.ops.LAZY.values() for name in names)}:
        assert getattr(gn, name) is getattr(gn.ops, name), name
