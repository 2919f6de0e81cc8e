"""The library cuBLASLt, as far as graphnn uses it: descriptors are memory, products are NumPy's.

It takes attributes by the numbers and sizes of NVIDIA's header, and follows its rules: matrices lie
column by column, the bias is a vector along a column of the result.
"""

import ctypes

import numpy as np

__all__ = ["ATTRIBUTES", "FakeCublasLt"]

DTYPES = {0: np.dtype("float32"), 2: np.dtype("float16")}

ATTRIBUTES = {
    "MatmulDesc": {3: 4, 4: 4, 7: 4, 8: 8, 10: 8},
    "MatrixLayout": {5: 4, 6: 8},
    "MatmulPreference": {1: 8, 3: 4, 5: 4, 6: 4, 7: 4, 8: 4},
}
"""Bytes of each attribute that may be set."""

INVALID, UNSUPPORTED = 7, 15
BIAS, RELU, GELU = 4, 2, 32


class FakeCublasLt:
    """The library.

    Attributes
    ----------
    declines : bool
        Whether it knows no algorithm.
    drops_nan : bool
        Whether its relu makes 0 of NaN.
    described : list of dict
        The attributes of every product that it made, and those of the preference that it was
        chosen by.
    """

    def __init__(self, cupy):
        self._cupy, self.declines, self.drops_nan = cupy, False, False
        self.described, self.n_asked = [], 0
        self._objects = []
        self.cublasLtGetStatusString = lambda status: b"the fake refuses"
        for kind in ATTRIBUTES:
            setattr(self, f"cublasLt{kind}Create", self._creating(kind))
            setattr(self, f"cublasLt{kind}SetAttribute", self._setting(kind))
        self.cublasLtCreate = self._create
        self.cublasLtMatmulPreferenceDestroy = lambda _: 0
        self.cublasLtMatmulAlgoGetHeuristic = self._heuristic
        self.cublasLtMatmul = self._multiply

    def _create(self, handle):
        handle._obj.value = 11
        return 0

    def _creating(self, kind):
        def create(made, *arguments):
            self._objects.append({"kind": kind, "made of": [each.value for each in arguments]})
            made._obj.value = len(self._objects)
            return 0

        return create

    def _setting(self, kind):
        def set_attribute(handle, attribute, value, size):
            target = self._object(handle, kind)
            if ATTRIBUTES[kind].get(attribute.value) != size.value:
                return INVALID
            target[attribute.value] = value._obj.value or 0
            return 0

        return set_attribute

    def _object(self, handle, kind):
        found = self._objects[handle.value - 1]
        assert found["kind"] == kind
        return found

    def _heuristic(self, handle, desc, a, b, c, d, preference, wanted, found, count):
        assert (handle.value, wanted.value) == (11, 1)
        assert all(each.captured is None for each in self._cupy.all_streams.values())
        preference = self._object(preference, "MatmulPreference")
        description = self._object(desc, "MatmulDesc")
        if description[7] & BIAS:
            assert description[8] % preference[8] == 0, "the bias is less aligned than out"
        self.n_asked += 1
        if self.declines:
            return UNSUPPORTED
        found._obj.algorithm[0], count._obj.value = desc.value, 1
        self._object(desc, "MatmulDesc")["preference"] = preference
        return 0

    def _multiply(
        self, handle, desc, one, a, a_lies, b, b_lies, factor, c, c_lies, d, d_lies,
        algorithm, workspace, nbytes, stream,
    ):  # fmt: skip
        assert algorithm._obj.algorithm[0] == desc.value, "chosen for another product"
        assert (handle.value, one._obj.value, nbytes.value) == (11, 1.0, 32 << 20)
        description = dict(self._object(desc, "MatmulDesc"))
        alignment = description["preference"][5]
        assert all(each.value % alignment == 0 for each in (a, b, c, d)), "alignment"
        self.described.append(description)
        first, second, addend, out = (
            self._matrices(address, lies)
            for address, lies in ((a, a_lies), (b, b_lies), (c, c_lies), (d, d_lies))
        )
        first = first.swapaxes(1, 2) if description[3] else first
        second = second.swapaxes(1, 2) if description[4] else second
        bias = self._bias(description, out) if description[7] & BIAS else 0.0
        factor = factor._obj.value

        def multiply():
            total = first.astype("float32") @ second.astype("float32")
            total += factor * addend.astype("float32") if factor else 0.0
            out[...] = self._activated(description[7], total + bias).astype(out.dtype)

        self._cupy.all_streams[stream.value].give(multiply)
        return 0

    def _activated(self, epilogue, x):
        if epilogue & RELU:
            return np.fmax(x, 0.0) if self.drops_nan else np.maximum(x, 0.0)
        if epilogue & GELU:
            return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))
        return x

    def _bias(self, description, out):
        assert description[8] % description["preference"][8] == 0, "alignment of the bias"
        batch, rows, _ = out.shape
        strides = [each * out.itemsize for each in (description[10], 1, 0)]
        return _array(description[8], out.dtype, (batch, rows, 1), strides)

    def _matrices(self, address, handle):
        lies = self._object(handle, "MatrixLayout")
        dtype, rows, columns, lead = lies["made of"]
        assert lead >= rows, "leading dimension"
        kind = DTYPES[dtype]
        strides = [each * kind.itemsize for each in (lies[6], 1, lead)]
        return _array(address.value, kind, (lies[5], rows, columns), strides)


def _array(address, dtype, shape, strides):
    reach = sum(step * (size - 1) for step, size in zip(strides, shape, strict=True))
    memory = (ctypes.c_char * (reach + dtype.itemsize)).from_address(address)
    return np.ndarray(shape, dtype, memory, 0, strides)
