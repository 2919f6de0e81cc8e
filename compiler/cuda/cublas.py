"""Matrix products by cuBLAS, through ctypes: a handle of our own, whose calls can be recorded.

How a product of strided matrices becomes a call is plain data (`GemmCall`), known without a GPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_double, c_float, c_int, c_longlong, c_size_t, c_void_p
from dataclasses import dataclass
from typing import Any

from graphnn.compiler.cuda.code import Matrices, Matrix
from graphnn.compiler.cuda.device import Function

__all__ = ["WORKSPACE_NBYTES", "Cublas", "GemmCall", "call_of"]

WORKSPACE_NBYTES = 32 << 20
"""What cuBLAS asks for on the largest GPUs. With memory of its own it allocates none, which a
recording does not allow, and does not mix up calls of several streams."""

_MATH_MODE = 16
"""CUBLAS_DEFAULT_MATH without reduced-precision reductions: half floats are summed in float32. TF32
is used only where a call asks for it."""

_DTYPES = {
    "float32": 0,
    "float64": 1,
    "float16": 2,
    "complex64": 4,
    "complex128": 5,
    "bfloat16": 14,
}
"""cudaDataType_t."""

_COMPUTE_32F, _COMPUTE_64F = 68, 70
_COMPUTE_FAST = {"float32": _COMPUTE_32F, "tf32": 77, "bfloat16": 75}
"""cublasComputeType_t for products of float32, by how their factors may be rounded."""

_DEFAULT_ALGORITHM = -1


@dataclass(frozen=True, slots=True)
class GemmCall:
    """What ``cublasGemmStridedBatchedEx`` is called with; matrices lie column by column for it.

    Attributes
    ----------
    is_swapped : bool
        Whether the product is made as ``out' = right' @ left'``: rows of the result lie in memory
        as columns of its transpose do.
    first_is_transposed, second_is_transposed : bool
    m, n, k : int
    first_lead, second_lead, out_lead : int
        Elements from one column to the next.
    first_batch, second_batch, out_batch : int
        Elements from one matrix to the next.
    batch : int
    dtype : int
        A cudaDataType_t.
    compute : int
        A cublasComputeType_t.
    """

    is_swapped: bool
    first_is_transposed: bool
    second_is_transposed: bool
    m: int
    n: int
    k: int
    first_lead: int
    second_lead: int
    out_lead: int
    first_batch: int
    second_batch: int
    out_batch: int
    batch: int
    dtype: int
    compute: int


def call_of(matrices: Matrices, precision: str) -> GemmCall:
    """How cuBLAS makes a product."""
    m, n, k = matrices.m, matrices.n, matrices.k
    is_swapped = not matrices.out.is_by_columns(m, n)
    first, second = matrices.left, matrices.right
    out, sizes = matrices.out, (m, n)
    if is_swapped:
        first, second = matrices.right.transposed, matrices.left.transposed
        out, sizes = out.transposed, (n, m)
    m, n = sizes
    first_is_transposed, first_lead = _lies(first, m, k)
    second_is_transposed, second_lead = _lies(second, k, n)
    _, out_lead = _lies(out, m, n)
    return GemmCall(
        is_swapped,
        first_is_transposed,
        second_is_transposed,
        m,
        n,
        k,
        first_lead,
        second_lead,
        out_lead,
        first.batch,
        second.batch,
        out.batch,
        matrices.batch,
        _DTYPES[matrices.dtype],
        _compute(matrices.dtype, precision),
    )


def _compute(dtype: str, precision: str) -> int:
    """In what products are made and summed."""
    if dtype in ("float64", "complex128"):
        return _COMPUTE_64F
    return _COMPUTE_FAST[precision] if dtype in ("float32", "complex64") else _COMPUTE_32F


def _lies(matrix: Matrix, rows: int, columns: int) -> tuple[bool, int]:
    """Whether a matrix is to be read as a transposed one, and its leading dimension."""
    if matrix.is_by_columns(rows, columns):
        return False, matrix.column if columns > 1 else max(rows, 1)
    turned = matrix.transposed
    if turned.is_by_columns(columns, rows):
        return True, turned.column if rows > 1 else max(columns, 1)
    raise ValueError(f"cuBLAS cannot read {rows} x {columns} elements that lie as {matrix}")


class Cublas:
    """A handle of the library on one stream.

    Parameters
    ----------
    library
        cuBLAS, loaded by ctypes.
    stream : int
        A cudaStream_t.
    workspace : int
        Address of `WORKSPACE_NBYTES` bytes.
    """

    def __init__(self, library: Any, stream: int, workspace: int) -> None:
        self._library = library
        self._library.cublasGetStatusString.restype = ctypes.c_char_p
        self._handle = c_void_p()
        self._call("cublasCreate_v2", byref(self._handle))
        self._call("cublasSetStream_v2", self._handle, c_void_p(stream))
        # After the stream: setting a stream takes the workspace away.
        size = c_size_t(WORKSPACE_NBYTES)
        self._call("cublasSetWorkspace_v2", self._handle, c_void_p(workspace), size)
        self._call("cublasSetMathMode", self._handle, c_int(_MATH_MODE))

    def product(self, matrices: Matrices, precision: str) -> Function:
        """What makes a product of matrices at the addresses of left, right and out."""
        call = call_of(matrices, precision)
        number: type[c_float] | type[c_double]
        number = c_double if call.compute == _COMPUTE_64F else c_float
        one, zero = (number * 2)(1.0), (number * 2)(0.0)  # two: they may be complex
        is_single = call.batch == 1
        name = "cublasGemmEx" if is_single else "cublasGemmStridedBatchedEx"
        sizes = c_int(call.m), c_int(call.n), c_int(call.k)
        between = () if is_single else (c_longlong(call.first_batch),)
        between_second = () if is_single else (c_longlong(call.second_batch),)
        between_out = () if is_single else (c_longlong(call.out_batch), c_int(call.batch))
        head = (
            self._handle,
            c_int(call.first_is_transposed),
            c_int(call.second_is_transposed),
            *sizes,
            byref(one),
        )
        first_kind = (c_int(call.dtype), c_int(call.first_lead), *between)
        second_kind = (c_int(call.dtype), c_int(call.second_lead), *between_second, byref(zero))
        out_kind = (c_int(call.dtype), c_int(call.out_lead), *between_out)
        tail = (c_int(call.compute), c_int(_DEFAULT_ALGORITHM))

        def multiply(addresses: Sequence[int]) -> None:
            left, right, out = addresses
            first, second = (right, left) if call.is_swapped else (left, right)
            operands = (
                *(c_void_p(first), *first_kind),
                *(c_void_p(second), *second_kind),
                *(c_void_p(out), *out_kind),
            )
            self._call(name, *head, *operands, *tail)

        return multiply

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            words: bytes = self._library.cublasGetStatusString(c_int(status))
            raise RuntimeError(f"{name}: {words.decode()}")
