"""Compiled functions: their arguments, the cache, signatures and threads.

A function of operators alone also runs on NumPy arrays: that is the oracle.
"""

import copy
import gc
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from traced import Counted, Layer, array, expect, on_each_backend

import graphnn as gn
from graphnn.core.structure import flatten, flatten_like, leaf_paths, outline, unflatten


class Line(NamedTuple):
    slope: Any
    offset: Any


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

    on_device = SimpleNamespace(__cuda_array_interface__={"shape": (2, 3)})

    with pytest.raises(gn.FeedError, match=r"argument x: SimpleNamespace lies on a GPU"):
        f(on_device)
    with pytest.raises(gn.DTypeError, match="argument x: dtype object is not supported"):
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
        gn.trace(lambda x: x.shape, gn.TensorSpec(("n",)))


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
