"""A primitive compiled alone: a loop over arrays, with any number of lanes."""

from functools import cache

import numpy as np
from native_code import NativeCode

from graphnn.compiler.native.builder import Builder, V, vector_of
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.scalars import apply, from_storage, storage_type, to_storage
from graphnn.core.op import REGISTRY
from graphnn.core.spec import TensorSpec

LANES = 8


def code_of(op, result, dtypes, lanes=LANES, target=None):
    """A function of one part; its range, of elements, is a multiple of ``lanes`` long."""
    args, begin, end = V("%args", "ptr"), V("%begin", "i64"), V("%end", "i64")
    b = Builder("f", [args, begin, end], target=target)
    pointers = [b.load(b.at(args, 8 * i), "ptr", 8) for i in range(len(dtypes) + 1)]
    with b.loop(begin, end, lanes) as i:
        values = [_load(b, *each, i, lanes) for each in zip(pointers, dtypes, strict=False)]
        made = to_storage(b, result, apply(b, op, result, values, dtypes))
        b.store(made, _address(b, pointers[-1], result, i), 1)
    return Code("\n".join([*sorted(b.declared), b.function()]), (("f", lanes),))


def _address(b, pointer, dtype, i):
    return b.at(pointer, b.binary("mul", i, b.integer(np.dtype(dtype).itemsize)))


def _load(b, pointer, dtype, i, lanes):
    stored = b.load(_address(b, pointer, dtype, i), vector_of(storage_type(dtype), lanes), 1)
    return from_storage(b, dtype, stored)


class NativeFunction:
    """A primitive as a function of arrays."""

    def __init__(self, op, result, dtypes, lanes=LANES, target=None):
        code = code_of(op, result, dtypes, lanes, target)
        ((self._function, _),) = NativeCode(code, target).parts
        self._result, self._lanes = np.dtype(result), lanes

    def __call__(self, *arrays):
        size = arrays[0].size
        padded = -(-size // self._lanes) * self._lanes
        given = [np.resize(np.ascontiguousarray(each).reshape(-1), padded) for each in arrays]
        made = np.empty(padded, self._result)
        table = np.array([each.ctypes.data for each in (*given, made)], np.uint64)
        self._function(table.ctypes.data, 0, padded)
        return made[:size].reshape(arrays[0].shape)


@cache
def compiled(op, *dtypes, lanes=LANES, target=None):
    """The primitive on dtypes, with the dtype of the result that the operator has."""
    return NativeFunction(op, result_of(op, dtypes), dtypes, lanes, target)


def result_of(op, dtypes):
    """The dtype of an operator's result."""
    specs = [TensorSpec((), np.dtype(dtype)) for dtype in dtypes]
    return REGISTRY[op].infer(*specs).dtype.name
