"""Products of strided matrices as calls of cuBLAS: a fake of the library that follows its rules."""

import itertools

import numpy as np
import pytest
from fake_cupy import FakeCublas, FakeCupy
from lying_matrices import FORMS, lying

from graphnn.compiler.cuda.code import Matrices, Matrix
from graphnn.compiler.cuda.cublas import Cublas, call_of


@pytest.mark.parametrize("sizes", [(3, 4, 5, 1), (3, 4, 5, 2), (1, 4, 5, 2), (3, 1, 5, 1),
                                   (3, 4, 1, 1), (1, 1, 1, 1), (1, 1, 6, 3)])  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_way_to_lie(sizes, dtype):
    m, n, k, batch = sizes
    cupy, rng = FakeCupy(), np.random.default_rng(0)
    stream = cupy.cuda.Stream(non_blocking=True)
    blas = Cublas(FakeCublas(cupy), stream.ptr, 0)
    for left, right, out in itertools.product(FORMS, repeat=3):
        a, left_lies = lying(rng, batch, m, k, left, dtype)
        b, right_lies = lying(rng, batch, k, n, right, dtype)
        c, out_lies = lying(rng, batch, m, n, out, dtype)
        untouched = c.base.copy()
        matrices = Matrices(m, n, k, batch, dtype, left_lies, right_lies, out_lies)
        blas.product(matrices, "float32")([a.ctypes.data, b.ctypes.data, c.ctypes.data])
        stream.synchronize()
        np.testing.assert_allclose(c, a @ b, rtol=1e-5, atol=1e-6)
        if c.size < c.base.size:  # what lies between the rows
            assert (c.base == untouched).sum() >= c.base.size - c.size


def test_a_broadcast_factor_has_no_step():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 3, 5)).astype("float32")
    b = rng.normal(size=(5, 2)).astype("float32")
    c = np.empty((4, 3, 2), "float32")
    cupy = FakeCupy()
    stream = cupy.cuda.Stream(non_blocking=True)
    matrices = Matrices(3, 2, 5, 4, "float32", Matrix(5, 1, 15), Matrix(2, 1, 0), Matrix(2, 1, 6))
    product = Cublas(FakeCublas(cupy), stream.ptr, 0).product(matrices, "float32")
    product([a.ctypes.data, b.ctypes.data, c.ctypes.data])
    stream.synchronize()
    np.testing.assert_allclose(c, a @ b, rtol=1e-5)


def of(dtype):
    row = Matrix(4, 1)
    return Matrices(4, 4, 4, 1, dtype, row, row, row)


@pytest.mark.parametrize(
    ("dtype", "precision", "compute"),
    [
        ("float32", "float32", 68),
        ("float32", "tf32", 77),
        ("float32", "bfloat16", 75),
        ("float64", "tf32", 70),
        ("float16", "float32", 68),
        ("bfloat16", "tf32", 68),
        ("complex64", "float32", 68),
        ("complex128", "float32", 70),
    ],
)
def test_precision_concerns_float32_alone(dtype, precision, compute):
    assert call_of(of(dtype), precision).compute == compute


def test_numbers_are_those_of_cupy():
    reason = "CuPy or cuBLAS is not installed"
    name = "cupy_backends.cuda.libs.cublas"
    cublas = pytest.importorskip(name, reason=reason, exc_type=ImportError)
    runtime = pytest.importorskip("cupy.cuda.runtime")
    assert cublas.CUBLAS_COMPUTE_32F == 68
    assert cublas.CUBLAS_COMPUTE_32F_FAST_TF32 == 77
    assert cublas.CUBLAS_COMPUTE_32F_FAST_16BF == 75
    assert cublas.CUBLAS_COMPUTE_64F == 70
    assert (runtime.CUDA_R_32F, runtime.CUDA_R_64F, runtime.CUDA_R_16F) == (0, 1, 2)
    assert (runtime.CUDA_C_32F, runtime.CUDA_C_64F, runtime.CUDA_R_16BF) == (4, 5, 14)


def test_matrices_that_cublas_cannot_read():
    spread = Matrix(10, 2)
    with pytest.raises(ValueError, match="cuBLAS cannot read 4 x 4 elements"):
        call_of(Matrices(4, 4, 4, 1, "float32", spread, Matrix(4, 1), Matrix(4, 1)), "float32")
    with pytest.raises(ValueError, match="cuBLAS cannot read"):  # rows that are all the same one
        call_of(
            Matrices(4, 4, 4, 1, "float32", Matrix(0, 1), Matrix(4, 1), Matrix(4, 1)),
            "float32",
        )


def test_an_error_of_the_library_is_said():
    cupy = FakeCupy()
    library = FakeCublas(cupy)
    blas = Cublas(library, cupy.cuda.Stream(non_blocking=True).ptr, 0)
    library.cublasGemmEx = lambda *_: 13
    with pytest.raises(RuntimeError, match="cublasGemmEx: the fake refuses"):
        blas.product(of("float32"), "float32")([256, 512, 768])
