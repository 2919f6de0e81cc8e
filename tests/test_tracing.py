"""Traced functions: arguments, the cache, weak numbers, methods, state, and words for mistakes.

A function of operators alone also runs on NumPy arrays: that is the oracle.
"""

import copy
import gc
import inspect
import math
import re
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.structure import flatten, flatten_like, leaf_paths, outline, unflatten

BACKENDS = ("reference", "numpy")
on_each_backend = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(autouse=True)
def _draw_anew() -> None:
    """Every test gets the same numbers, whichever run before it."""
    global rng
    rng = np.random.default_rng(0)


def array(*shape: int, dtype: str = "float32") -> np.ndarray:
    return rng.uniform(0.5, 2.0, shape).astype(dtype)


def expect(given: Any, wanted: Any) -> None:
    """The same structure, dtypes and values as what NumPy computes."""
    assert outline(given) == outline(wanted)
    for ours, theirs in zip(flatten(given), flatten(wanted), strict=True):
        assert isinstance(ours, np.ndarray)
        assert ours.dtype == np.asarray(theirs).dtype
        np.testing.assert_allclose(ours, theirs, rtol=2e-6)


class Counted:
    """A function that counts how often Python runs it, which is how often it is traced."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f
        self.runs = 0
        self.__signature__ = inspect.signature(f)
        self.__name__ = f.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.runs += 1
        return self.f(*args, **kwargs)


class Line(NamedTuple):
    slope: Any
    offset: Any


@dataclass
class Layer:
    w: Any
    b: Any
    name: str = "layer"

    def __post_init__(self) -> None:
        self.w = np.asarray(self.w)  # never sees a node: structures are not made by calling

    @gn.function
    def apply(self, x: Any) -> Any:
        return x @ self.w + self.b


# ---------------------------------------------------------------------------------- structures


def nested(x: Any, params: Any, *more: Any, line: Line, **named: Any) -> Any:
    first = x @ params["w"] + params["layers"][0] * line.slope
    total = first * more[0] - more[1] / named["scale"]
    return {"y": (total, [first]), "line": Line(line.offset - total, None), "same": x}


@on_each_backend
def test_structures_of_arguments_and_results(backend):
    args = (array(4, 3), {"w": array(3, 2), "layers": [array(2), None]}, array(2), array(4, 1))
    named = {"line": Line(array(), array(2)), "scale": array(2)}
    f = gn.function(nested, backend=backend)
    expect(f(*args, **named), nested(*args, **named))
    assert f.cache_size == 1
    assert [node.name for node in f.trace(*args, **named).inputs] == [
        "x",
        "params.w",
        "params.layers.0",
        "more.0",
        "more.1",
        "line.slope",
        "line.offset",
        "named.scale",
    ]


@on_each_backend
def test_dataclasses_are_structures(backend):
    def grow(layer: Layer, rate: Any) -> Layer:
        assert layer.name == "layer"
        grown = copy.copy(layer)
        grown.w = layer.w * rate
        return grown

    layer = Layer(array(3, 2), array(2))
    f = gn.function(lambda layer, rate: (lambda g: (g.w, g.b))(grow(layer, rate)), backend=backend)
    expect(f(layer, 2.0), (layer.w * np.float32(2.0), layer.b))
    pair = gn.function(lambda layer: Line(layer.w, layer), backend=backend)
    with pytest.raises(gn.ArgumentError, match=r"returns 'layer' as result offset\.name"):
        pair(layer)


def test_a_dataclass_comes_back():
    @dataclass(frozen=True)
    class State:
        position: Any
        speed: Any = field(default=None)

    f = gn.function(lambda state, dt: State(state.position + dt * state.speed, state.speed))
    given = State(array(3), array(3))
    got = f(given, 0.5)
    assert isinstance(got, State)
    np.testing.assert_allclose(got.position, given.position + 0.5 * given.speed, rtol=1e-6)
    assert f(State(array(3), array(3)), 0.25).speed.shape == (3,)
    assert f.cache_size == 1


def test_structure_functions():
    tree = {"a": [1, None, (2,)], "b": Line(3, {}), "c": Layer(4, 5)}
    assert flatten(tree) == [1, 2, 3, 4, 5, "layer"]
    paths = ["a.0", "a.2.0", "b.slope", "c.w", "c.b", "c.name"]
    assert list(leaf_paths(tree)) == paths
    again = unflatten(tree, range(6))
    assert again["a"] == [0, None, (1,)]
    assert again["b"] == Line(2, {})
    assert (again["c"].w, again["c"].b, again["c"].name) == (3, 4, 5)
    assert outline(tree) == outline(again)
    ordered = unflatten(OrderedDict(b=1, a=2), [3, 4])
    assert isinstance(ordered, OrderedDict)
    assert list(ordered.items()) == [("b", 3), ("a", 4)]
    assert outline([1, 2]) != outline((1, 2)) != outline([1, [2]])
    assert outline({"a": 1}) != outline({"b": 1}) != outline({"b": None})
    assert flatten_like({"a": 0, "b": (0, 0)}, {"b": ([1, 2], 3), "a": 4}) == [4, [1, 2], 3]
    for other in ({"a": 4}, {"a": 4, "b": 1}, {"a": 4, "b": (1,)}, 3):
        with pytest.raises(ValueError, match="in place of a"):
            flatten_like({"a": 0, "b": (0, 0)}, other)


def test_what_is_an_array():
    f = gn.function(lambda x: x + x)
    torch = pytest.importorskip("torch")
    expect(f(torch.ones(3)), np.full(3, 2.0, "float32"))
    expect(f(np.float32(2.0)), np.float32(4.0))
    expect(f(np.arange(3, dtype=">i4")), np.arange(0, 6, 2, dtype="int32"))
    assert f.cache_size == 3

    class OnDevice:
        __cuda_array_interface__ = {"shape": (2, 3)}  # noqa: RUF012

    with pytest.raises(gn.FeedError, match=r"argument x: OnDevice lies on a GPU"):
        f(OnDevice())
    with pytest.raises(gn.DTypeError, match=r"argument x: dtype 'object'|object is not supported"):
        f(np.array([None]))


def test_results_that_are_no_nodes():
    f = gn.function(lambda x: {"n": None, "half": 0.5, "one": 1, "table": np.arange(2), "x": x})
    got = f(array(2))
    assert got["n"] is None
    expect(got["half"], np.float32(0.5))
    expect(got["one"], np.int64(1))
    expect(got["table"], np.arange(2))
    assert gn.function(lambda x: None)(1.0) is None
    assert gn.function(lambda: ())() == ()
    with pytest.raises(gn.ArgumentError, match=r"returns 'y' as result 1\.name, which is no array"):
        gn.function(lambda x: (x, {"name": "y"}))(1.0)
    with pytest.raises(gn.ArgumentError, match=r"<lambda> returns a set, which is no array"):
        gn.function(lambda x: {x})(1.0)
    with pytest.raises(gn.ArgumentError, match=r"returns Dim\(n\) as result 0[\s\S]*gn\.size_of"):
        gn.make_graph(lambda x: x.shape, gn.TensorSpec(("n",)))


# ----------------------------------------------------------------------------------- the cache


def test_one_program_for_each_structure_shape_and_dtype():
    body = Counted(lambda x, k=None: x * 2 if k is None else x * 2 + k)
    f = gn.function(body)
    for number, (args, kwargs) in enumerate(
        [
            ((array(3),), {}),
            ((array(4),), {}),
            ((array(3, dtype="float64"),), {}),
            ((array(3), 1), {}),
            ((array(3), 1.5), {}),
            ((array(3), array()), {}),
            ((array(3), array(1)), {}),
        ],
        start=1,
    ):
        for _ in range(2):
            expect(f(*args, **kwargs), body.f(*args, **kwargs))
        assert (body.runs, f.cache_size) == (number, number)
    f(array(3), k=7)
    f(k=7, x=array(3))
    f(array(3), np.float64(2.5))
    assert body.runs == 7
    f.clear_cache()
    assert f.cache_size == 0
    f(array(3))
    assert body.runs == 8
    assert repr(f) == "<gn.function <lambda>(x, k): 1 program>"


def test_numbers_that_look_alike_do_not_share_a_program():
    f = gn.function(lambda x, k: (k is True, x * k), static_argnames="k")
    x = array(2)
    for k in (1, True, 1.0, 0.0, -0.0, 0, False):
        flag, product = f(x, k)
        assert flag == (k is True)
        expect(product, x * k)
        np.testing.assert_array_equal(np.signbit(product), np.signbit(x * k))
    assert f.cache_size == 7
    weak, strong = gn.function(lambda t: t * array(2)), np.array(2.0)
    assert weak(2.0).dtype == np.float32
    with pytest.raises(gn.DTypeError, match="float64 and float32 do not mix"):
        weak(strong)


def test_static_arguments():
    body = Counted(
        lambda x, axis, mode="sum", flip=False: getattr(gn, mode)(-x if flip else x, axis)
    )
    f = gn.function(body, static_argnames=("axis",))
    x = array(2, 3)
    expect(f(x, 0), x.sum(0))
    expect(f(x, axis=1), x.sum(1))
    expect(f(x, (0, 1)), x.sum())
    assert body.runs == 3
    expect(f(x, 0, "mean"), x.mean(0))  # strings and bools are static anyway
    expect(f(x, 0, flip=True), -x.sum(0))
    expect(f(x, 0, flip=False), x.sum(0))
    assert body.runs == 6
    with pytest.raises(gn.ArgumentError, match=r"static argument axis is a list[\s\S]*tuple"):
        f(x, [0, 1])
    with pytest.raises(gn.SymbolicError, match=r"axis[\s\S]*static_argnames"):
        gn.function(body.f)(x, 0)


def test_defaults_are_left_to_the_function():
    f = gn.function(lambda x, axis=-1, scale=2.0: gn.sum(x, axis) * scale)
    x = array(2, 3)
    expect(f(x), x.sum(-1) * np.float32(2.0))
    assert [node.name for node in f.program(x).inputs] == ["x"]


def test_the_cache_keeps_no_arrays_alive():
    f = gn.function(lambda x, tree: x * tree["y"])
    x, y = array(3), array(3)
    gone = [weakref.ref(x), weakref.ref(y)]
    f(x, {"y": y})
    with pytest.raises(gn.ShapeError):
        f(x, {"y": array(4)})
    del x, y
    gc.collect()
    assert [each() for each in gone] == [None, None]


def test_a_failed_trace_leaves_nothing_behind():
    f = gn.function(lambda x: x @ x)
    with pytest.raises(gn.ShapeError):
        f(array(2, 3))
    assert f.cache_size == 0
    expect(gn.function(lambda x: x + 1)(array(2) * 0), np.ones(2, "float32"))  # not inlined


def test_options_pass_through():
    f = gn.function(backend="reference", optimize="O0", debug="nan")(lambda x: gn.sqrt(x) + 1.0)
    program = f.program(gn.TensorSpec((2,)))
    assert (program.options.backend, program.options.optimize) == ("reference", "O0")
    with pytest.raises(gn.NonFiniteError):
        f(-array(2))
    assert f.cache_size == 1
    with pytest.raises(gn.ArgumentError, match=r"no option 'optimise'[\s\S]*optimize"):
        gn.function(optimise="O0")(lambda x: x)
    with pytest.raises(gn.ArgumentError, match=r"no parameter 'axes'[\s\S]*axis, x"):
        gn.function(lambda x, axis: x, static_argnames="axes")
    with pytest.raises(gn.ArgumentError, match="no backend 'tpu'"):
        gn.function(lambda x: x, backend="tpu")(1.0)
    with pytest.raises(gn.ArgumentError, match="5 is none"):
        gn.function(5)


# --------------------------------------------------------------------------------- signatures


@on_each_backend
def test_one_graph_for_all_sizes(backend):
    body = Counted(lambda x, params, k: (x @ params["w"]) * k)
    specs = {"x": gn.TensorSpec(("batch", 3)), "params": {"w": gn.TensorSpec((3, 2), "float32")}}
    f = gn.function(body, signature=specs, backend=backend)
    w = array(3, 2)
    for size in (1, 4, 0, 4):
        x = array(size, 3)
        expect(f(x, {"w": w}, 2.0), (x @ w) * np.float32(2.0))
    expect(f([[1.0, 2.0, 3.0]], {"w": w}, 1), np.array([[1, 2, 3]], "float32") @ w)
    assert body.runs == 2  # a float and an int for k
    assert f.program(gn.TensorSpec(()), None, 2.0).inputs[0].shape == (gn.Dim.named("batch"), 3)
    with pytest.raises(gn.FeedError, match=r"'x' must have shape \(batch, 3\), not \(2, 4\)"):
        f(array(2, 4), {"w": w}, 2.0)
    with pytest.raises(gn.FeedError, match=r"'params\.w' must be float32, not float64"):
        f(array(2, 3), {"w": w.astype("float64")}, 2.0)
    with pytest.raises(gn.FeedError, match=r"is given \{'v': 1\} in place of a dict of 'w'"):
        f(array(2, 3), {"v": 1}, 2.0)


def test_signature_by_position():
    spec = gn.TensorSpec(("n",))
    for given in (spec, [spec], {"x": spec}, gn.input("x", shape=("n",))):
        f = gn.function(lambda x, y=1.0: x + y, signature=given)
        assert f(array(3)).shape == (3,)
        assert f(array(4)).shape == (4,)
        assert f.cache_size == 1
        assert f(array(5), 2.0).shape == (5,)
    pair = gn.function(lambda x, y: x + y, signature=(spec, spec))
    expect(pair([1.0, 2.0], array(2) * 0), np.array([1.0, 2.0], "float32"))
    with pytest.raises(gn.FeedError, match="dimension 'n' is 2 in 'x' but 3 in 'y'"):
        pair(array(2), array(3))
    with pytest.raises(gn.ArgumentError, match="3 specs for the 2 parameters"):
        gn.function(lambda x, y: x, signature=[spec] * 3)


def test_trace():
    def affine(x, params, *, scale, kind="plain"):
        y = (x @ params[0] + params[1]) * scale
        return (y, {"mean": gn.mean(y)}) if kind == "plain" else y

    x = gn.input("anything", shape=("batch", 3))
    params = [gn.TensorSpec((3, 2)), array(2)]
    graph = gn.make_graph(affine, x, params, scale=2.0)
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
    assert len(gn.make_graph(affine, x, params, scale=1.0, kind="short").outputs) == 1
    assert len(gn.make_graph(gn.exp, gn.TensorSpec((2,), "float64")).nodes) == 2


def test_pictures_and_dumps_of_traced_graphs():
    f = gn.function(lambda x, rate: gn.sum(x) * rate)
    spec = gn.TensorSpec((3,))
    assert str(f.trace(spec, 0.1)).startswith("graph(x: f32[3], rate: f64[]) {\n")
    assert "rate" in gn.render(f.trace(spec, 0.1)).svg
    assert "rate" in str(f.program(spec, 0.1))


def test_trace_knows_the_static_arguments_of_a_function():
    f = gn.function(gn.sum, static_argnames="axis")
    graph = gn.make_graph(f, gn.TensorSpec((2, 3)), axis=0)
    assert str(graph) == str(f.trace(gn.TensorSpec((2, 3)), axis=0))
    assert graph.outputs[0].shape == (3,)


def test_names_of_inputs_are_unique():
    graph = gn.make_graph(lambda p: p["a.b"] + p["a"]["b"], {"a.b": 1.0, "a": {"b": 2.0}})
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


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_integers_do_not_widen_integer_arrays(dtype):
    f = gn.function(lambda x, n: x * n - (n + 1) // 2)
    x = np.array([5, 6, 7], dtype)
    expect(f(x, 3), x * 3 - (3 + 1) // 2)


@on_each_backend
def test_numbers_alone(backend):
    """They compute in Python's precision, and become float32 where they must be arrays."""
    f = gn.function(
        lambda a, n: (a, n, a * n, n / 2, gn.sin(n), a > n, n // 2, gn.stack([a, a + 1])),
        backend=backend,
    )
    a, n = 0.1, 3
    wanted = (a, n, a * n, n / 2, math.sin(n), a > n, n // 2, [a, a + 1])
    for ours, theirs in zip(f(a, n), wanted, strict=True):
        kind = {"f": "float32", "i": "int64", "b": "bool"}[np.asarray(theirs).dtype.kind]
        assert ours.dtype == kind
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


@on_each_backend
def test_derivatives_by_a_number(backend):
    def f(x, a):
        loss = gn.sum(gn.sin(a * x))
        return (
            gn.grad(loss, a),
            gn.jvp(loss, a, 1.0),
            gn.hessian(loss, a),
            gn.grad(a**3, a) * x,
            gn.hessian(a**3, a),
        )

    x, a = array(4), 0.3
    with_a = np.float32(a) * x
    wanted = (
        np.sum(np.cos(with_a) * x),
        np.sum(np.cos(with_a) * x),
        -np.sum(np.sin(with_a) * x * x),
        np.float32(3 * a**2) * x,
        np.float32(6 * a),
    )
    expect(gn.function(f, backend=backend)(x, a), wanted)


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
    np.testing.assert_array_equal(f(x), gn.evaluate(model(node), {node: x}))
    np.testing.assert_array_equal(gn.function(model)(x), f(x))


# ------------------------------------------------------------------------------------- methods


class Scale:
    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.runs = 0

    __hash__ = None  # programs belong to the object, not to what it equals

    @gn.function
    def apply(self, x):
        """Times the factor."""
        self.runs += 1
        return x * self.factor

    @gn.function(static_argnames="n")
    def repeat(self, x, n):
        return self.apply(x) if n == 0 else self.repeat(self.apply(x), n - 1)


def test_methods():
    double, triple = Scale(2.0), Scale(3.0)
    x = array(3)
    for _ in range(2):
        expect(double.apply(x), x * np.float32(2.0))
        expect(triple.apply(x=x), x * np.float32(3.0))
    assert (double.runs, triple.runs) == (1, 1)
    expect(triple.repeat(x, 2), x * np.float32(27.0))
    assert double.apply.__name__ == "apply"
    assert double.apply.__doc__ == "Times the factor."
    assert double.apply.cache_size == 1
    assert Scale.apply.cache_size == 0
    assert repr(double.apply) == "<gn.function apply(x): 1 program>"
    assert [node.name for node in double.apply.trace(x).inputs] == ["x"]
    assert double.apply.program(x) is double.apply.program(array(3))


def test_the_programs_of_an_object_end_with_it():
    scale = Scale(2.0)
    scale.apply(array(3))
    assert len(Scale.apply._methods) == 1
    gone = weakref.ref(scale)
    del scale
    gc.collect()
    assert gone() is None
    assert len(Scale.apply._methods) == 0


def test_the_arrays_of_a_dataclass_are_fed_to_its_methods():
    layer = Layer(array(3, 2), array(2))
    x = array(4, 3)
    for _ in range(3):
        np.testing.assert_allclose(layer.apply(x), x @ layer.w + layer.b, rtol=1e-5)
        layer.w = layer.w + 1
        layer = Layer(array(3, 2), array(2))
    assert layer.apply.cache_size == 1
    assert [node.name for node in layer.apply.trace(x).inputs] == ["self.w", "self.b", "x"]


def test_what_a_decorated_function_shows():
    @gn.function
    def scaled(x: Any, *, factor: float = 2.0) -> Any:
        """Times a factor."""
        return x * factor

    assert (scaled.__name__, scaled.__doc__) == ("scaled", "Times a factor.")
    assert scaled.__wrapped__(3.0) == 6.0
    assert list(inspect.signature(scaled).parameters) == ["x", "factor"]
    assert repr(scaled) == "<gn.function scaled(x, factor): 0 programs>"
    with pytest.raises(TypeError, match=r"scaled\(\): missing a required argument: 'x'"):
        scaled(factor=1.0)
    with pytest.raises(TypeError, match="unexpected keyword"):
        scaled(1.0, power=2)


def test_functions_without_a_signature():
    class Opaque:
        @property
        def __signature__(self):
            raise ValueError

        def __call__(self, x, y):
            return x - y

    assert gn.function(Opaque())(3.0, y=1.0) == 2.0


# ------------------------------------------------------------------------------------- threads


def test_threads_trace_once():
    body = Counted(lambda x: gn.sum(gn.tanh(x)))
    f = gn.function(body)
    x = array(50)
    barrier = threading.Barrier(8)
    found = []

    def call() -> None:
        barrier.wait()
        found.append(float(f(x)))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert body.runs == 1


def test_a_trace_in_one_thread_does_not_inline_in_another():
    running = gn.function(lambda x: x + 1)
    results = []

    def body(x):
        thread = threading.Thread(target=lambda: results.append(running(array(2) * 0)))
        thread.start()
        thread.join()
        return x

    gn.function(body)(1.0)
    expect(results[0], np.ones(2, "float32"))


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
        gn.make_graph(walk, gn.TensorSpec(("n",)))
    with pytest.raises(gn.ShapeError, match=r"size n is not known"):
        gn.make_graph(lambda x: list(x), gn.TensorSpec(("n",)))


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
        gn.make_graph(lambda x: x, gn.TensorSpec(("a b",)))


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
