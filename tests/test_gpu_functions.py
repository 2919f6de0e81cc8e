"""Functions that have code for GPUs alone, or are CuPy's there: beside SciPy and NumPy."""

import numpy as np
import pytest
import scipy.linalg
import scipy.special
from cuda_shim import ShimDevice
from device_oracle import TwiceExecutable

import graphnn as gn
from graphnn.compiler.backends import BACKENDS


@pytest.fixture(autouse=True)
def shim(monkeypatch):
    """Programs for GPUs run here, in both orders of threads."""
    device = ShimDevice()
    monkeypatch.setitem(BACKENDS, "cupy", lambda unit: TwiceExecutable(unit, device))


def test_polygamma_left_and_right_of_its_poles():
    rng = np.random.default_rng(0)
    x = np.concatenate([
        10.0 ** rng.uniform(-3, 5, 60), -rng.uniform(0.05, 30.0, 60), [1e-8, 1e15, 16.0, -1000.25],
        [0.0, -1.0, -7.0, np.nan],
    ])  # fmt: skip
    fed, orders = gn.input("x", x.shape, "float64"), range(1, 9)
    program = gn.compile(fed, [gn.polygamma(n, fed) for n in orders], backend="cupy")
    for order, found in zip(orders, program(x), strict=True):
        expected = scipy.special.polygamma(order, x)
        np.testing.assert_allclose(found, expected, rtol=1e-11, err_msg=str(order))


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 1e-4)])
def test_exponentials_of_matrices_of_any_norm(dtype, rtol):
    rng = np.random.default_rng(0)
    scales = np.array([1e-6, 0.1, 1.0, 4.0, 20.0, 60.0])[:, None, None]
    a = (scales * rng.normal(size=(6, 5, 5)) / np.sqrt(5)).astype(dtype)
    fed = gn.input("a", a.shape, dtype)
    found = gn.compile(fed, gn.expm(fed), backend="cupy")(a)
    for each, matrix in zip(found, a, strict=True):
        expected = scipy.linalg.expm(matrix.astype("float64"))
        size = np.abs(expected).max()
        np.testing.assert_allclose(each / size, expected / size, atol=rtol)


def test_what_is_no_matrix_of_numbers_has_no_exponential():
    a = np.zeros((3, 2, 2), "float32")
    a[0, 0, 0], a[1, 0, 1] = np.nan, np.inf
    fed = gn.input("a", a.shape)
    with np.errstate(all="ignore"):
        found = gn.compile(fed, gn.expm(fed), backend="cupy")(a)
    assert np.isnan(found[:2]).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(found[2], np.eye(2))


def test_products_of_complex_numbers_are_in_order():
    rng = np.random.default_rng(0)
    x, u = (rng.normal(size=(n, 2, 2)).view("complex128")[..., 0] for n in (7, 600))
    at = rng.integers(0, 7, 600)
    fed = gn.input("x", x.shape, x.dtype), gn.input("u", u.shape, u.dtype)
    outputs = [
        gn.scatter_multiply(fed[0], at, fed[1]), gn.scatter_add(fed[0], at, fed[1]),
        gn.cumprod(fed[1], axis=0), gn.cumsum(fed[1], axis=0)[::-1],
    ]  # fmt: skip
    found = gn.compile(fed, outputs, backend="cupy")(x, u)
    expected = x.copy(), x.copy()
    for row, each in zip(at, u, strict=True):
        expected[0][row] *= each
        expected[1][row] += each
    for have, want in zip(found, (*expected, np.cumprod(u, 0), np.cumsum(u, 0)[::-1]), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-12)


def test_programs_with_moves_of_complex_numbers_are_recorded():
    x = gn.input("x", (4, 3), "complex64")
    program = gn.compile(x, gn.pad(x, ((1, 1), (0, 0))), backend="cupy")
    assert "gn_complex<float>" in program.source("cuda")
    assert program._latest.executable._once._records
    product = gn.compile(x, x * x, backend="cupy")  # one call of CuPy's for every operation
    assert not product._latest.executable._once._records
