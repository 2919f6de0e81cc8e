"""A primitive compiled alone: a loop over arrays, with any number of lanes."""

import ctypes
from functools import cache

import llvmlite.binding as llvm
import ml_dtypes  # noqa: F401  (np.dtype("bfloat16"))
import numpy as np

from graphnn.compiler.native.builder import Builder, V, vector_of
from graphnn.compiler.native.scalars import apply, from_storage, storage_type, to_storage
from graphnn.compiler.native.target import host_target
from graphnn.core.op import REGISTRY
from graphnn.core.spec import TensorSpec

LANES = 8


def text_of(op, result, dtypes, lanes=LANES, target=None):
    """The module with ``void f(ptr args, i64 n)``; ``n`` is a multiple of ``lanes``."""
    b = Builder("f", [V("%args", "ptr"), V("%n", "i64")], target=target)
    pointers = [b.load(b.at(V("%args", "ptr"), 8 * i), "ptr", 8) for i in range(len(dtypes) + 1)]
    with b.loop(0, V("%n", "i64"), lanes) as i:
        values = [_load(b, *each, i, lanes) for each in zip(pointers, dtypes, strict=False)]
        made = to_storage(b, result, apply(b, op, result, values, dtypes))
        b.store(made, _address(b, pointers[-1], result, i), 1)
    return "\n".join([*sorted(b.declared), b.function()])


def _address(b, pointer, dtype, i):
    return b.at(pointer, b.binary("mul", i, b.integer(np.dtype(dtype).itemsize)))


def _load(b, pointer, dtype, i, lanes):
    stored = b.load(_address(b, pointer, dtype, i), vector_of(storage_type(dtype), lanes), 1)
    return from_storage(b, dtype, stored)


def assembly_of(text, target):
    """What LLVM makes of it for a processor that need not be here."""
    return _machine(target).emit_assembly(_optimised(text, target)[0])


def _machine(target):
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    chosen = llvm.Target.from_triple(target.triple)
    return chosen.create_target_machine(cpu=target.cpu, features=target.features, opt=2)


def _optimised(text, target):
    machine = _machine(target)
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = options.slp_vectorization = False
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    return module, machine


class NativeFunction:
    """A primitive as a function of arrays.

    ``entry`` takes the address of the table of pointers, the result's last, and the size.
    """

    def __init__(self, op, result, dtypes, lanes=LANES, target=None):
        target = target or host_target()
        module, machine = _optimised(text_of(op, result, dtypes, lanes, target), target)
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        self.entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(
            self._engine.get_function_address("f")
        )
        self._result, self._lanes = np.dtype(result), lanes

    def __call__(self, *arrays):
        size = arrays[0].size
        padded = -(-size // self._lanes) * self._lanes
        given = [np.resize(np.ascontiguousarray(each).reshape(-1), padded) for each in arrays]
        made = np.empty(padded, self._result)
        pointers = [each.ctypes.data for each in (*given, made)]
        self.entry((ctypes.c_void_p * len(pointers))(*pointers), padded)
        return made[:size].reshape(arrays[0].shape)


@cache
def compiled(op, *dtypes, lanes=LANES, target=None):
    """The primitive on dtypes, with the dtype of the result that the operator has."""
    return NativeFunction(op, result_of(op, dtypes), dtypes, lanes, target)


def result_of(op, dtypes):
    """The dtype of an operator's result."""
    specs = [TensorSpec((), np.dtype(dtype)) for dtype in dtypes]
    return REGISTRY[op].infer(*specs).dtype.name
