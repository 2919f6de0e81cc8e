"""Named dimensions: arithmetic, shapes that depend on them, and binding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphnn as gn
from graphnn.core.dims import Dim, exact_quotient, product

BATCH, TIME = Dim.named("batch"), Dim.named("time")


def test_arithmetic_is_canonical():
    assert BATCH + BATCH == 2 * BATCH
    assert BATCH - BATCH == 0
    assert BATCH * TIME == TIME * BATCH
    assert (BATCH + 1) * (BATCH - 1) == BATCH * BATCH - 1
    assert 3 - BATCH == -BATCH + 3
    assert product([BATCH, 2, 0]) == 0
    assert BATCH != 1
    assert BATCH * 1 is not None
    assert hash(BATCH + 1) == hash(1 + BATCH)


def test_text():
    assert str(2 * BATCH + 1) == "2*batch + 1"
    assert str(BATCH - TIME) == "batch - time"
    assert str(BATCH // 2) == "(batch)//2"
    assert repr(BATCH) == "Dim(batch)"


def test_quotients():
    assert exact_quotient(6 * BATCH, 2 * BATCH) == 3
    assert exact_quotient(4 * BATCH + 8, 4) == BATCH + 2
    assert exact_quotient(BATCH, 2) is None
    assert (4 * BATCH) // 4 == BATCH


@given(
    st.integers(-5, 5), st.integers(-5, 5), st.integers(1, 7), st.integers(0, 9), st.integers(0, 9)
)
def test_binding_commutes_with_arithmetic(p, q, divisor, batch, time):
    sizes = {"batch": batch, "time": time}

    def formula(a, b):
        return (a * p + b * q + 3) * (a - b) + (a + 2 * b) // divisor

    symbolic = formula(BATCH, TIME)
    bound = symbolic.bind(sizes) if isinstance(symbolic, Dim) else symbolic
    assert bound == formula(batch, time)


def test_order_is_not_known():
    for compare in (lambda: BATCH < 3, lambda: BATCH >= TIME):
        with pytest.raises(gn.ShapeError, match="not known until the program is called"):
            compare()
    with pytest.raises(gn.ShapeError, match="not known"):
        range(BATCH)


def test_named_dimensions_specialise_and_cache():
    x = gn.input("x", shape=("batch", "time", 4))
    y = gn.input("y", shape=("batch", 1))
    flat = gn.reshape(x, (-1, 4))
    assert flat.shape == (BATCH * TIME, 4)
    pooled = gn.mean(x, axis=1) * y
    program = gn.compile([x, y], {"flat": flat, "pooled": pooled}, verify=True)
    rng = np.random.default_rng(0)
    for batch, time in [(2, 3), (5, 1), (2, 3), (1, 7)]:
        a = rng.normal(size=(batch, time, 4)).astype("float32")
        b = rng.normal(size=(batch, 1)).astype("float32")
        got = program(a, b)
        np.testing.assert_array_equal(got["flat"], a.reshape(-1, 4))
        np.testing.assert_allclose(got["pooled"], a.mean(1) * b, rtol=1e-5)
    assert len(program._specialized) == 3


def test_gradients_with_named_dimensions():
    x, w = gn.input("x", shape=("n", 3)), gn.parameter(np.ones((3, 2), dtype="float32"))
    loss = gn.mean(gn.tanh(x @ w) ** 2)
    program = gn.compile(x, gn.grad(loss, w))
    fixed_x = gn.input("x", shape=(5, 3))
    fixed = gn.compile(fixed_x, gn.grad(gn.mean(gn.tanh(fixed_x @ w) ** 2), w))
    fed = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_allclose(program(fed), fixed(fed), rtol=1e-6)


def test_an_input_that_is_not_used_is_specialised_too():
    x = gn.input("x", shape=("n", 2))
    program = gn.compile(x, gn.sum(gn.zeros_like(x)) + gn.cast(gn.constant(1.0), "float32"))
    assert program(np.ones((3, 2), "float32")) == 1.0


def test_names_and_numbers_do_not_mix():
    x = gn.input("x", shape=("batch", 3))
    with pytest.raises(gn.ShapeError, match=r"\(batch, 3\) and \(5, 3\) do not broadcast"):
        x + gn.input("y", shape=(5, 3))
    with pytest.raises(gn.ShapeError, match="not an identifier"):
        gn.input("x", shape=("my batch",))
    with pytest.raises(gn.ShapeError, match="is not a size"):
        gn.input("x", shape=(2.5,))


def test_binding_errors():
    x, y = gn.input("x", shape=("n", 2)), gn.input("y", shape=("n",))
    program = gn.compile([x, y], gn.sum(x) + gn.sum(y))
    with pytest.raises(gn.FeedError, match=r"dimension 'n' is 3 in 'x' but 4 in 'y'"):
        program(np.ones((3, 2), "float32"), np.ones(4, "float32"))
    short = gn.compile(x, x[3:])
    assert short(np.ones((5, 2), "float32")).shape == (2, 2)
    with pytest.raises(gn.ShapeError):
        short(np.ones((2, 2), "float32"))


def test_divisions_that_no_size_has():
    n, m = Dim.named("n"), Dim.named("m")
    for divisor in (m, 0, -2):
        with pytest.raises(gn.ShapeError, match=f"size n cannot be divided by {divisor}"):
            _ = n // divisor
    assert (2 * n * m) // m == 2 * n


def test_sizes_are_no_values():
    x = gn.input("x", shape=("batch", 2))
    for wrong in (
        lambda: gn.sum(x) / x.shape[0],
        lambda: x.shape[0] / 2,
        lambda: 1 / x.shape[0],
        lambda: x.shape[0] ** 0.5,
        lambda: x * x.shape[0],
        lambda: float(x.shape[0]),
    ):
        with pytest.raises(gn.ShapeError, match=r"no value to compute with[\s\S]*gn\.size_of"):
            wrong()
    mean = gn.sum(x) / gn.size_of(x.shape[0])
    assert gn.evaluate(mean, {x: [[1.0, 2.0], [3.0, 4.0]]}) == 5.0
