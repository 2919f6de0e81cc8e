"""Programs: feeds, results, updates, state, threads, and what they show of themselves."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

import graphnn as gn

BACKENDS = ("reference", "numpy")


@pytest.fixture
def affine():
    """A program with two inputs and a parameter."""
    x = gn.input("x", shape=("n", 3))
    scale = gn.input("scale", shape=())
    w = gn.parameter(np.arange(3, dtype="float32"), name="w")
    return gn.compile([x, scale], gn.sum(x * w) * scale)


def test_feeds_by_place_and_name(affine):
    x = np.ones((2, 3), dtype="float32")
    assert affine(x, 2.0) == affine(x, scale=2.0) == affine(scale=2, x=x) == 12.0


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "nothing is fed to 'x', 'scale'"),
        ((np.ones((2, 3), "float32"),), {}, "nothing is fed to 'scale'"),
        ((1, 2, 3), {}, "2 inputs, but 3 feeds"),
        ((np.ones((2, 3), "float32"), 1.0), {"x": 1}, "'x' is fed twice"),
        ((np.ones((2, 3), "float32"), 1.0), {"y": 1}, "there is no input 'y'"),
        ((np.ones((2, 4), "float32"), 1.0), {}, r"'x' must have shape \(n, 3\), not \(2, 4\)"),
        ((np.ones(3, "float32"), 1.0), {}, r"'x' must have shape \(n, 3\), not \(3,\)"),
        ((np.ones((2, 3)), 1.0), {}, "'x' must be float32, not float64"),
        ((np.ones((2, 3), "int64"), 1.0), {}, "'x' must be float32, not int64"),
        ((np.ones((2, 3), object), 1.0), {}, "dtype object is not supported"),
        (([["a", "b", "c"]], 1.0), {}, "is not supported"),
        (([[1.0, 2.0, 3.0], [1.0]], 1.0), {}, "not an array"),
        ((gn.constant(1.0), 1.0), {}, "fed a node"),
    ],
)
def test_wrong_feeds_are_refused_in_words(affine, args, kwargs, words):
    with pytest.raises(gn.FeedError, match=words):
        affine(*args, **kwargs)


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_layout_is_read_and_never_written(backend):
    x = gn.input("x", shape=(4, 6))
    w = gn.parameter(np.zeros((4, 6), dtype="float32"))
    program = gn.compile(x, x * 2.0 + w, {w: w + x}, backend=backend)
    base = np.random.default_rng(0).normal(size=(8, 12)).astype("float32")
    plain = np.ascontiguousarray(base[::2, ::2])
    swapped = plain.astype(plain.dtype.newbyteorder())
    read_only = plain.copy()
    read_only.setflags(write=False)
    for fed in (
        plain,
        base[::2, ::2],
        np.asfortranarray(plain),
        plain[::-1, ::-1][::-1, ::-1],
        swapped,
        read_only,
    ):
        w.value = np.zeros((4, 6))
        before = fed.copy()
        np.testing.assert_array_equal(program(fed), plain * 2)
        np.testing.assert_array_equal(w.value, plain)
        np.testing.assert_array_equal(fed, before)


def test_device_arrays_do_not_move_silently(affine):
    on_device = SimpleNamespace(__cuda_array_interface__={"shape": (2, 3)})

    with pytest.raises(gn.FeedError, match=r"lies on a GPU(.|\n)*gn\.to_host"):
        affine(on_device, 1.0)


def test_dlpack_feeds(affine):
    torch = pytest.importorskip("torch")
    assert affine(torch.ones(2, 3), 1.0) == 6.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_keep_their_structure(backend):
    x = gn.input("x", shape=(2,))
    outputs = {"a": x + 1.0, "b": [x * 2.0, (gn.sum(x), None)]}
    got = gn.compile(x, outputs, backend=backend)([1.0, 2.0])
    assert got["a"].tolist() == [2.0, 3.0]
    assert isinstance(got["b"], list)
    assert got["b"][1] == (3.0, None)
    assert gn.compile(x, (), backend=backend)([1.0, 2.0]) == ()


def test_the_structure_of_results_is_copied():
    x = gn.input("x", shape=(2,))
    outputs = [x, x * 2.0]
    program = gn.compile(x, outputs)
    outputs.append(x)
    assert len(program([1.0, 2.0])) == 2


@pytest.mark.parametrize(("dtype", "value"), [("int8", 300), ("int8", -129), ("uint8", -1)])
def test_python_integers_do_not_wrap_around(dtype, value):
    x = gn.input("x", shape=(2,), dtype=dtype)
    w = gn.parameter([1, 2], dtype=dtype)
    with pytest.raises(gn.FeedError, match=f"'x': {value} does not fit {dtype}"):
        gn.compile(x, x)([0, value])
    with pytest.raises(gn.DTypeError, match=f"{value} does not fit {dtype}"):
        gn.constant([0, value], dtype)
    with pytest.raises(gn.DTypeError, match=f"{value} does not fit {dtype}"):
        gn.parameter([0, value], dtype=dtype)
    with pytest.raises(gn.DTypeError, match=f"{value} does not fit {dtype}"):
        w.value = np.array([0, value])
    assert w.value.tolist() == [1, 2]
    w.value = [3, 4]
    assert w.value.tolist() == [3, 4]
    assert gn.compile(x, x)([0, 100]).tolist() == [0, 100]


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_are_the_callers(backend):
    x = gn.input("x", shape=(2,))
    w = gn.parameter([1.0, 1.0])
    program = gn.compile(x, [x, w, gn.transpose(x), x * w], backend=backend)
    first = program([1.0, 2.0])
    for each in first:
        each[...] = 99.0
    for got, want in zip(program([1.0, 2.0]), ([1, 2], [1, 1], [1, 2], [1, 2]), strict=True):
        assert got.tolist() == want


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimize", ["O0", "O2"])
def test_updates_happen_at_once(backend, optimize):
    a, b = gn.parameter([1.0, 2.0], name="a"), gn.parameter([10.0, 20.0], name="b")
    program = gn.compile(
        [], [a, b, a + b], {a: b, b: a + b}, backend=backend, optimize=optimize, verify=True
    )
    old = program()
    assert [each.tolist() for each in old] == [[1, 2], [10, 20], [11, 22]]
    assert a.value.tolist() == [10.0, 20.0]
    assert b.value.tolist() == [11.0, 22.0]


def test_programs_share_state():
    x = gn.input("x", shape=(2,))
    w = gn.parameter([0.0, 0.0])
    train = gn.compile(x, (), {w: w + x})
    look = gn.compile([], w * 1.0)
    train([1.0, 2.0])
    train([1.0, 2.0])
    assert look().tolist() == [2.0, 4.0]
    w.value = [5.0, 5.0]
    assert look().tolist() == [5.0, 5.0]


def test_a_step_updates_in_place_without_copies():
    x = gn.input("x", shape=(8, 4))
    w = gn.parameter(np.ones((4, 3), "float32"), name="w")
    loss = gn.mean((x @ w) ** 2)
    program = gn.compile(x, loss, {w: w - 0.1 * gn.grad(loss, w)})
    writes = [each for each in program.instructions if str(each.outputs[0].buffer) == "state0"]
    assert [each.kind for each in writes] == ["gemm"]


def test_many_threads_may_call_one_program():
    x = gn.input("x", shape=("n",))
    count = gn.parameter(0, name="count", trainable=False)
    program = gn.compile(x, gn.sum(gn.exp(x) * x), {count: count + 1})
    wrong = []

    def call(seed):
        for i in range(50):
            fed = np.random.default_rng(seed * 1000 + i).normal(size=3 + seed % 3)
            fed = fed.astype("float32")
            if not np.isclose(program(fed), np.sum(np.exp(fed) * fed), rtol=1e-4):
                wrong.append(fed)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert count.value == 400


def test_compile_refuses():
    x, y = gn.input("x", shape=(2,)), gn.input("y", shape=(2,))
    w = gn.parameter([1.0, 2.0], name="w")
    with pytest.raises(gn.FeedError, match="not listed"):
        gn.compile(x, x + y)
    with pytest.raises(gn.FeedError, match="is not an input"):
        gn.compile([x + y], x)
    with pytest.raises(gn.FeedError, match="'x' is used by two inputs"):
        gn.compile([x, gn.input("x", shape=(2,))], x)
    with pytest.raises(gn.FeedError, match="'x' is listed twice"):
        gn.compile([x, x], x)
    with pytest.raises(gn.ShapeError, match="update"):
        gn.compile(x, x, {w: gn.sum(w)})
    with pytest.raises(gn.DTypeError, match="update"):
        gn.compile(x, x, {w: gn.cast(w, "float64")})
    with pytest.raises(gn.GraphnnError, match="map parameters to nodes"):
        gn.compile(x, x, {x: x})
    with pytest.raises(gn.ArgumentError, match="no backend 'abacus'"):
        gn.compile(x, x, backend="abacus")
    with pytest.raises(gn.ArgumentError, match="no backend 'abacus'"):
        gn.compile(gn.input("x", shape=("n",)), x, backend="abacus")
    with pytest.raises(gn.ArgumentError, match="no level 'O9'"):
        gn.compile(x, x, optimize="O9")
    with pytest.raises(gn.ArgumentError, match="no debug mode"):
        gn.compile(x, x, debug="all")
    with pytest.raises(gn.ArgumentError, match=r"3\.0, which is no node"):
        gn.compile(x, [x, 3.0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_errors_while_running_name_node_and_line(backend):
    x, index = gn.input("x", shape=(3,)), gn.input("index", shape=(1,), dtype="int64")
    with gn.time_step(5):
        taken = gn.take(x, index)
    program = gn.compile([x, index], taken, backend=backend)
    with pytest.raises(gn.FeedError, match="index 3 is out of range") as caught:
        program([1.0, 2.0, 3.0], [3])
    notes = "\n".join(caught.value.__notes__)
    assert "gather" in notes
    assert "t=5" in notes
    assert "test_program.py:" in notes
    assert program([1.0, 2.0, 3.0], [2]) == [3.0]  # still usable


@pytest.mark.parametrize("backend", BACKENDS)
def test_debug_nan_stops_at_the_first_non_finite_value(backend):
    x = gn.input("x", shape=(3,))
    with gn.name_scope("layer2"), gn.time_step(37):
        loss = gn.sum(gn.sqrt(x))
    program = gn.compile(x, [loss, gn.grad(loss, x)], backend=backend, debug="nan")
    program([1.0, 2.0, 3.0])
    with pytest.raises(gn.NonFiniteError, match=r"backward of sqrt, t=37, layer2\n.*test_program"):
        program([1.0, 0.0, 3.0])
    with pytest.raises(gn.NonFiniteError, match=r"\(NaN\).*sqrt"):
        program([1.0, -1.0, 3.0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_debug_nan_leaves_the_state_as_it_was(backend):
    x = gn.input("x", shape=())
    v, w = gn.parameter([1.0, 1.0], name="v"), gn.parameter([1.0, 1.0], name="w")
    updates = {v: v + 1.0, w: w - gn.log(x)}
    program = gn.compile(x, (), updates, backend=backend, debug="nan")
    with pytest.raises(gn.NonFiniteError, match="log"):
        program(-1.0)
    assert (v.value.tolist(), w.value.tolist()) == ([1.0, 1.0], [1.0, 1.0])
    program(1.0)
    assert (v.value.tolist(), w.value.tolist()) == ([2.0, 2.0], [1.0, 1.0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimize", ["O0", "O2"])
def test_debug_nan_lets_constants_be_infinite(backend, optimize):
    x = gn.input("x", shape=(2,))
    largest = gn.maximum(x, gn.broadcast_to(gn.constant(-np.inf), (2,)))
    program = gn.compile(x, largest, backend=backend, optimize=optimize, debug="nan")
    assert program([1.0, 2.0]).tolist() == [1.0, 2.0]


def test_program_shows_itself():
    x = gn.input("x", shape=("n", 4))
    w = gn.parameter(np.ones((4, 2), "float32"), name="w")
    program = gn.compile(x, gn.tanh(x @ w))
    assert "graph(x: f32[n, 4])" in str(program)
    words = r"has not been called yet(?s:.*)give their sizes, program.specialize\({'n': ...}\), or"
    with pytest.raises(gn.ShapeError, match=words):
        _ = program.instructions
    program.specialize({"n": 3})
    assert program.flops == 2 * 3 * 4 * 2 + 6
    program(np.ones((8, 4), "float32"))
    text = str(program)
    assert "1 instructions" in text
    assert "gemm   matmul+tanh" in text
    assert "test_program.py:" in text
    assert program.flops == 2 * 8 * 4 * 2 + 16
    assert program.nbytes_moved == 4 * (32 + 8 + 16)
    assert program.arena_nbytes == 64
    assert {record.name for record in program.report.passes} >= {"simplify", "plan_memory"}
    assert "plan_memory" in str(program.report)


def test_thousands_of_inputs_and_of_equal_names():
    """Two seconds; over thirty if looking up names or inputs is quadratic.

    Interpreted: it is not about one kernel with as many operands.
    """
    inputs = [gn.input(f"x{i}") for i in range(8000)]
    program = gn.compile(inputs, gn.sum(gn.stack(inputs)), optimize="O0", native="never")
    assert program(**{node.name: 1.0 for node in inputs}) == 8000.0
    assert program.graph.text().count("\n") > 8000
    x = y = gn.input("x", shape=(2,))
    for _ in range(20_000):
        y = gn.tanh(y).named("h")
    text = gn.Graph((x,), (y,)).text()
    assert "  h#20000: f32[2] = tanh(h#19999)" in text


# Rerolled, all of it is one loop; without, every pass sees every node.
@pytest.mark.parametrize(("steps", "skip"), [(100_000, ()), (10_000, "reroll")])
def test_a_long_chain_through_everything(steps, skip):
    x = gn.input("x", shape=(4,))
    y = x
    for _ in range(steps):
        y = gn.tanh(y)
    loss = gn.sum(y)
    gradient = gn.grad(loss, x)
    program = gn.compile(x, [loss, gradient], verify=False, skip=skip)
    value, slope = program(np.full(4, 0.5, "float32"))
    reference, product = np.full(4, 0.5), np.ones(4)
    for _ in range(steps):
        reference = np.tanh(reference)
        product = product * (1 - reference**2)
    np.testing.assert_allclose(value, reference.sum(), rtol=1e-3)
    np.testing.assert_allclose(slope, product, rtol=1e-3)
    assert program.graph.text().count("\n") > steps
    assert (len(str(program)) > steps) == bool(skip)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_call_that_fails_leaves_the_state_as_it_was(backend):
    x, index = gn.input("x", shape=(3,)), gn.input("index", shape=(), dtype="int64")
    a, b = gn.parameter([1.0, 1.0, 1.0]), gn.parameter(0.0)
    program = gn.compile([x, index], (), {a: a + x, b: b + gn.take(a * x, index)}, backend=backend)
    before = a.value, b.value
    with pytest.raises(gn.FeedError, match="out of range"):
        program([1.0, 2.0, 3.0], 7)
    np.testing.assert_array_equal(a.value, before[0])
    program([1.0, 2.0, 3.0], 2)
    assert b.value == 3.0
    assert a.value.tolist() == [2.0, 3.0, 4.0]


def test_specializing_for_other_names_is_refused():
    x = gn.input("x", shape=("n",))
    program = gn.compile(x, gn.sum(x))
    with pytest.raises(gn.FeedError, match="the named dimensions are n, not batch"):
        program.specialize({"batch": 2})


def test_the_report_names_lines():
    x = gn.input("x", shape=(2,))
    assert "log_of_softmax x1 (test_program.py:" in str(gn.compile(x, gn.log(gn.softmax(x))).report)
