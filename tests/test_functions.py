"""Compiled functions: their arguments, the cache, signatures, methods and threads.

A function of operators alone also runs on NumPy arrays: that is the oracle.
"""

import copy
import gc
import inspect
import pickle
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from traced import Counted, array, expect, on_each_backend

import graphnn as gn
from graphnn.core.structure import flatten, flatten_like, leaf_paths, outline, unflatten


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


def test_what_cannot_have_methods_of_its_own_is_told_why():
    class Slotted:
        __slots__ = ("k",)

        @gn.function
        def apply(self, x):
            return x

    with pytest.raises(gn.ArgumentError, match=r"a Slotted has __slots__[\s\S]*add '__weakref__'"):
        Slotted().apply(1.0)
    for kind in (staticmethod, classmethod):
        with pytest.raises(gn.ArgumentError, match=f"write @{kind.__name__} above @gn.function"):
            gn.function(kind(lambda x: x))

    class Kinds:
        factor = 3.0

        @staticmethod
        @gn.function
        def double(x):
            return 2.0 * x

        @classmethod
        @gn.function
        def scale(cls, x):
            return cls.factor * x

    assert (Kinds().double(2.0), Kinds.double(2.0)) == (4.0, 4.0)
    assert (Kinds().scale(2.0), Kinds.scale(2.0)) == (6.0, 6.0)


@gn.function
def pickled(x):
    return x + 1.0


@gn.custom_jvp
def pickled_rule(x):
    return x


def test_copies_and_pickles_are_the_function_itself():
    pickled(1.0)
    for each in (pickled, pickled_rule, gn.function, gn.grad, gn.exp, gn.conv):
        assert copy.copy(each) is copy.deepcopy([each])[0] is each
        assert pickle.loads(pickle.dumps(each)) is each
    scale = Scale(2.0)
    scale.run = scale.apply
    other = copy.deepcopy(scale)
    other.factor = 5.0
    assert (other.run(3.0), scale.run(3.0)) == (15.0, 6.0)  # each of its own object
    assert pickle.loads(pickle.dumps(Scale(4.0).apply))(3.0) == 12.0


# -------------------------------------------------------------- derivatives and many examples


def squares(params: dict[str, Any], x: Any, t: Any) -> Any:
    """The loss of one example."""
    return gn.sum((gn.tanh(x @ params["w"]) + params["b"] - t) ** 2)


def example() -> tuple[dict[str, Any], Any, Any]:
    return {"w": array(3, 2), "b": array(2)}, array(5, 3), array(5, 2)


@on_each_backend
def test_gradients_of_each_example(backend):
    torch = pytest.importorskip("torch")
    params, x, t = example()

    def in_torch(params, x, t):
        return ((torch.tanh(x @ params["w"]) + params["b"] - t) ** 2).sum()

    tensors = {name: torch.tensor(each) for name, each in params.items()}
    expected = torch.func.vmap(torch.func.grad(in_torch), (None, 0, 0))(
        tensors, torch.tensor(x), torch.tensor(t)
    )
    each = gn.function(gn.vmap(gn.grad(squares), in_axes=(None, 0, 0)), backend=backend)
    found = each(params, x, t)
    assert list(found) == ["w", "b"]
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, expected[name].numpy(), rtol=2e-5, atol=1e-6)
    assert each.cache_size == 1
    # The same with the compiled function inside, and with parameters instead of arguments.
    inside = gn.vmap(gn.grad(gn.function(squares)), (None, 0, 0))
    stored = {name: gn.parameter(value) for name, value in params.items()}
    own = gn.vmap(lambda x, t: gn.grad(squares(stored, x, t), stored))
    for f, args in ((inside, (params, x, t)), (own, (x, t))):
        again = gn.function(f, backend=backend)(*args)
        for name in params:
            np.testing.assert_allclose(again[name], found[name], rtol=1e-6, atol=1e-7)


def test_gradients_of_each_example_of_a_model():
    model = gn.nn.Sequential(gn.nn.Dense(3, 4), gn.nn.Tanh(), gn.nn.Dense(4, 2))
    weights = list(model.parameters())
    x, t = array(6, 3), np.array([0, 1, 1, 0, 1, 0])

    def loss(x, t):
        return gn.losses.cross_entropy(model(x), t)

    each = gn.function(gn.vmap(lambda x, t: gn.grad(loss(x, t), weights)))(x, t)
    single = gn.function(lambda x, t: gn.grad(loss(x, t), weights))
    for i in range(6):
        for one, many in zip(single(x[i], t[i]), each, strict=True):
            np.testing.assert_allclose(many[i], one, rtol=1e-5, atol=1e-7)


@on_each_backend
def test_functions_of_derivatives_of_functions(backend):
    torch = pytest.importorskip("torch")
    w, x = array(3, 3, dtype="float64"), array(4, 3, dtype="float64")

    def f(x, w):
        return gn.tanh(x @ w) * x[0]

    def total(x, w):
        return gn.sum(f(x, w) ** 2)

    def in_torch(x, w):
        return torch.tanh(x @ w) * x[0]

    def total_in_torch(x, w):
        return (in_torch(x, w) ** 2).sum()

    tw, tx = torch.tensor(w), torch.tensor(x)
    func = torch.func
    for ours, theirs in (
        (gn.jacrev(f), func.jacrev(in_torch)),
        (gn.jacfwd(f), func.jacrev(in_torch)),
        (gn.jacobian(f, 1), func.jacrev(in_torch, 1)),
        (gn.hessian(total), func.jacrev(func.jacrev(total_in_torch))),
        (gn.grad(total, (0, 1)), func.grad(total_in_torch, (0, 1))),
        (gn.grad(total, 1), func.grad(total_in_torch, 1)),
    ):
        one = gn.function(ours, backend=backend)(x[0], w)
        many = gn.function(gn.vmap(ours, (0, None)), backend=backend)(x, w)
        expected = theirs(tx[0], tw)
        loop = func.vmap(theirs, (0, None))(tx, tw)
        assert isinstance(one, tuple) == isinstance(expected, tuple)
        for got, wanted in zip(flatten((one, many)), flatten((expected, loop)), strict=True):
            np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-9, atol=1e-12)
    value, slope = gn.function(gn.value_and_grad(total), backend=backend)(x[0], w)
    np.testing.assert_allclose(value, total_in_torch(tx[0], tw).numpy())
    np.testing.assert_allclose(slope, func.grad(total_in_torch)(tx[0], tw).numpy())
    # The gradient of a mean over examples, and tables of distances by two maps.
    mean = gn.function(gn.grad(lambda w, x: gn.mean(gn.vmap(total, (0, None))(x, w))))
    np.testing.assert_allclose(
        mean(w, x), func.vmap(func.grad(total_in_torch, 1), (0, None))(tx, tw).numpy().mean(0)
    )
    table = gn.function(gn.vmap(gn.vmap(lambda a, b: gn.sum((a - b) ** 2), (None, 0)), (0, None)))
    np.testing.assert_allclose(table(x, w), ((x[:, None] - w[None]) ** 2).sum(-1))


def test_static_arguments_inside_derivatives():
    @gn.function(static_argnames="n")
    def power(x, n):
        assert isinstance(n, int)
        return gn.sum(x**n)

    x = array(3)
    expect(gn.function(gn.grad(power), static_argnames="n")(x, n=3), 3 * x**2)
    many = gn.function(gn.vmap(gn.grad(power), (0, None)), static_argnames="n")
    expect(many(array(2, 3) * 0 + 2, 3), np.full((2, 3), 12, "float32"))
    assert many.cache_size == 1


def test_what_is_handed_on_beside_a_derivative():
    def loss(w, x):
        y = x @ w
        return gn.sum(y**2), {"y": y, "n": None, "rate": 2}

    w, x = array(2, dtype="float64"), array(3, 2, dtype="float64")
    expected = 2 * x.T @ (x @ w)
    gradient, aux = gn.function(gn.grad(loss, has_aux=True))(w, x)
    np.testing.assert_allclose(gradient, expected)
    np.testing.assert_allclose(aux["y"], x @ w)
    assert (aux["n"], aux["rate"]) == (None, 2)
    (value, aux), gradient = gn.function(gn.value_and_grad(loss, has_aux=True))(w, x)
    np.testing.assert_allclose(value, ((x @ w) ** 2).sum())
    np.testing.assert_allclose(gradient, expected)
    np.testing.assert_allclose(aux["y"], x @ w)
    rows, aux = gn.function(gn.vmap(gn.grad(loss, has_aux=True), (None, 0)))(w, x[:, None])
    np.testing.assert_allclose(rows.sum(0), expected)
    assert aux["y"].shape == (3, 1)
    with pytest.raises(gn.ArgumentError, match="<lambda> gives a pair, not <Node"):
        gn.grad(lambda w: gn.sum(w), has_aux=True)(w)
    with pytest.raises(gn.ArgumentError, match=r"0 arguments[\s\S]*give w, x by position"):
        gn.grad(loss)(w=w, x=x)
    x = gn.input("x", ())
    assert gn.grad(loss=x**2, wrt=x) is gn.grad(x**2, x)  # of nodes, by keyword too


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
