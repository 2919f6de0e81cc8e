"""Products with epilogues by cuBLASLt, through ctypes: the algorithm is chosen once, when loading.

Equal products share their descriptors, which stay: programs may be gone before their work is done.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

from graphnn.compiler.cuda.code import Epilogue, Matrices, Matrix
from graphnn.compiler.cuda.cublas import WORKSPACE_NBYTES, GemmCall, call_of
from graphnn.compiler.cuda.device import Function

__all__ = ["CublasLt", "Heuristic"]

_SCALE_32F = 0
"""CUDA_R_32F: what 1 and 0, the factors of product and addend, are."""

_TRANSPOSE_A, _TRANSPOSE_B, _EPILOGUE, _BIAS, _BIAS_STEP = 3, 4, 7, 8, 10
"""cublasLtMatmulDescAttributes_t."""

_BATCH_COUNT, _BATCH_STEP = 5, 6
"""cublasLtMatrixLayoutAttribute_t."""

_WORKSPACE, _REDUCTIONS, _ALIGNMENTS = 1, 3, (5, 6, 7, 8)
"""cublasLtMatmulPreferenceAttributes_t."""

_SUMS_IN_FLOAT32 = 2
"""CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE: parts of a sum are not rounded to half floats."""

_FUNCTIONS = {"": 0, "relu": 2, "gelu": 32}
_NO_EPILOGUE, _WITH_BIAS = 1, 4
"""cublasLtEpilogue_t."""


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", c_uint64 * 8),
        ("workspace_nbytes", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    )


class CublasLt:
    """A handle of the library, for one stream.

    Parameters
    ----------
    library
        cuBLASLt, loaded by ctypes.
    stream : int
        A cudaStream_t.
    workspace : int
        Address of `WORKSPACE_NBYTES` bytes, which nothing uses at the same time.
    """

    def __init__(self, library: Any, stream: int, workspace: int) -> None:
        self._library, self._stream, self._workspace = library, stream, workspace
        self._library.cublasLtGetStatusString.restype = ctypes.c_char_p
        self._handle = c_void_p()
        self._call("cublasLtCreate", byref(self._handle))
        self._made: dict[tuple[Matrices, str, int], Function | None] = {}

    def product(self, matrices: Matrices, precision: str, alignment: int) -> Function | None:
        """See `Device.fused_product`."""
        key = matrices, precision, alignment
        if key not in self._made:
            self._made[key] = self._product(matrices, precision, alignment)
        return self._made[key]

    def _product(self, matrices: Matrices, precision: str, alignment: int) -> Function | None:
        epilogue = matrices.epilogue
        assert epilogue is not None
        if epilogue.function == "gelu" and (matrices.dtype, precision) == ("float32", "float32"):
            return None  # nobody says how exact the library's tanh is
        call = call_of(matrices, precision)
        description = self._description(call, epilogue, alignment)
        layouts = self._layouts(matrices, call, epilogue)
        found = self._heuristic(description, layouts, alignment)
        if found is None:
            return None
        one, factor = c_float(1.0), c_float(0.0 if epilogue.addend is None else 1.0)
        first_lies, second_lies, addend_lies, out_lies = layouts

        def multiply(addresses: Sequence[int]) -> None:
            left, right, *extra, out = addresses
            if epilogue.bias is not None:
                self._describe(description, _BIAS, c_void_p(extra[0]))
            addend = out if epilogue.addend is None else extra[-1]
            first, second = (right, left) if call.is_swapped else (left, right)
            self._call(
                "cublasLtMatmul",
                *(self._handle, description),
                *(byref(one), c_void_p(first), first_lies, c_void_p(second), second_lies),
                *(byref(factor), c_void_p(addend), addend_lies, c_void_p(out), out_lies),
                *(byref(found), c_void_p(self._workspace), c_size_t(WORKSPACE_NBYTES)),
                c_void_p(self._stream),
            )

        return multiply

    def _description(self, call: GemmCall, epilogue: Epilogue, alignment: int) -> c_void_p:
        """A cublasLtMatmulDesc_t."""
        description = c_void_p()
        scale = c_int(_SCALE_32F)
        self._call("cublasLtMatmulDescCreate", byref(description), c_int(call.compute), scale)
        self._describe(description, _TRANSPOSE_A, c_int32(call.first_is_transposed))
        self._describe(description, _TRANSPOSE_B, c_int32(call.second_is_transposed))
        kind = _FUNCTIONS[epilogue.function]
        if epilogue.bias is not None:
            kind |= _WITH_BIAS
            self._describe(description, _BIAS_STEP, c_int64(epilogue.bias.batch))
            # It is not read before a product is made, but says how addresses are aligned.
            self._describe(description, _BIAS, c_void_p(alignment))
        self._describe(description, _EPILOGUE, c_uint32(kind or _NO_EPILOGUE))
        return description

    def _layouts(
        self, matrices: Matrices, call: GemmCall, epilogue: Epilogue
    ) -> tuple[c_void_p, c_void_p, c_void_p, c_void_p]:
        """A cublasLtMatrixLayout_t of the first and the second factor, the addend and out."""

        def layout(rows: int, columns: int, lead: int, step: int, *, turned: bool) -> c_void_p:
            if turned:
                rows, columns = columns, rows
            made, kind = c_void_p(), c_int(call.dtype)
            sizes = c_uint64(rows), c_uint64(columns), c_int64(lead)
            self._call("cublasLtMatrixLayoutCreate", byref(made), kind, *sizes)
            name = "cublasLtMatrixLayoutSetAttribute"
            self._set(name, made, _BATCH_COUNT, c_int32(call.batch))
            self._set(name, made, _BATCH_STEP, c_int64(step))
            return made

        m, n, k = call.m, call.n, call.k
        addend = matrices.out if epilogue.addend is None else epilogue.addend
        return (
            layout(m, k, call.first_lead, call.first_batch, turned=call.first_is_transposed),
            layout(k, n, call.second_lead, call.second_batch, turned=call.second_is_transposed),
            layout(m, n, _lead(addend, call), addend.batch, turned=False),
            layout(m, n, call.out_lead, call.out_batch, turned=False),
        )

    def _heuristic(
        self, description: c_void_p, layouts: Sequence[c_void_p], alignment: int
    ) -> Heuristic | None:
        """The algorithm that the library recommends; None if it has none."""
        preference, found, count = c_void_p(), Heuristic(), c_int()
        self._call("cublasLtMatmulPreferenceCreate", byref(preference))
        name = "cublasLtMatmulPreferenceSetAttribute"
        self._set(name, preference, _WORKSPACE, c_uint64(WORKSPACE_NBYTES))
        self._set(name, preference, _REDUCTIONS, c_uint32(_SUMS_IN_FLOAT32))
        for each in _ALIGNMENTS:
            self._set(name, preference, each, c_uint32(alignment))
        status = self._library.cublasLtMatmulAlgoGetHeuristic(
            *(self._handle, description, *layouts, preference, c_int(1)),
            *(byref(found), byref(count)),
        )
        self._call("cublasLtMatmulPreferenceDestroy", preference)
        return None if status or not count.value or found.state else found

    def _describe(self, description: c_void_p, attribute: int, value: Any) -> None:
        self._set("cublasLtMatmulDescSetAttribute", description, attribute, value)

    def _set(self, name: str, of: c_void_p, attribute: int, value: Any) -> None:
        size = c_size_t(ctypes.sizeof(value))
        self._call(name, of, c_int(attribute), byref(value), size)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            words: bytes = self._library.cublasLtGetStatusString(c_int(status))
            raise RuntimeError(f"{name}: {words.decode()}")


def _lead(matrix: Matrix, call: GemmCall) -> int:
    """Elements from one column of the addend to the next, as the library sees them."""
    seen = matrix.transposed if call.is_swapped else matrix
    return seen.column if call.n > 1 else max(call.m, 1)
