"""Running generated code on arrays, and what a kernel means in plain NumPy."""

import ctypes
from itertools import product

import llvmlite.binding as llvm
import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphnn.compiler.kernel import Apply, Index, Kernel, Literal, Load, Pick, Reduce
from graphnn.compiler.native.target import host_target
from graphnn.core.dtypes import as_dtype
from graphnn.core.op import REGISTRY

REDUCTIONS = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "any": np.logical_or,
    "all": np.logical_and,
}


def compiled(code, target=None):
    """The functions of generated code, and what keeps them alive."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = target or host_target()
    module = llvm.parse_assembly(code.ir)
    module.verify()
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2
    )
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    functions = [(kind(engine.get_function_address(name)), n) for name, n in code.parts]
    return functions, engine


def run(code, arrays, target=None, split=None):
    """Run all parts of generated code on arrays, given by their first elements.

    ``split(n)`` gives the ranges of chunks, in the order they are run; default: all at once.
    """
    functions, _engine = compiled(code, target)
    scratch = np.empty(code.scratch_nbytes + 64, np.uint8)
    pointers = [each.ctypes.data for each in arrays]
    pointers.append(scratch.ctypes.data + -scratch.ctypes.data % 64)
    table = np.array(pointers, np.int64)
    for function, n_chunks in functions:
        for start, stop in split(n_chunks) if split else [(0, n_chunks)]:
            function(table.ctypes.data, start, stop)


def strided(array, dtype, sizes, strides):
    """The operand of a kernel over its whole domain."""
    return as_strided(array, sizes, strides)


def evaluate(kernel: Kernel, arrays):
    """What a kernel writes, by NumPy, one value at a time over the whole domain."""
    views = [
        strided(array, operand.dtype, kernel.sizes, operand.strides)
        for array, operand in zip(arrays, kernel.operands, strict=True)
    ]
    values = []
    dtypes = []
    with np.errstate(all="ignore"):
        _evaluate_values(kernel, arrays, views, values, dtypes)
    for operand, number in kernel.stores:
        views[operand][...] = values[number]


def _evaluate_values(kernel, arrays, views, values, dtypes):
    for value in kernel.values:
        match value:
            case Load(operand):
                values.append(views[operand].copy())
                dtypes.append(kernel.operands[operand].dtype)
            case Pick(operand, terms):
                values.append(_picked(kernel, arrays[operand], operand, terms, values))
                dtypes.append(kernel.operands[operand].dtype)
            case Literal(dtype, text):
                number = float.fromhex(text) if "float" in dtype else int(text)
                values.append(np.full(kernel.sizes, number, as_dtype(dtype)))
                dtypes.append(dtype)
            case Index(axis):
                shape = [-1 if each == axis else 1 for each in range(len(kernel.sizes))]
                index = np.arange(kernel.sizes[axis]).reshape(shape)
                values.append(np.broadcast_to(index, kernel.sizes))
                dtypes.append("int64")
            case Apply(op, dtype, args):
                given = [values[each] for each in args]
                if op == "cast":
                    values.append(given[0].astype(as_dtype(dtype)))
                else:
                    values.append(REGISTRY[op].evaluate(*given))
                dtypes.append(dtype)
            case Reduce(op, arg):
                wide = np.float64 if "float" in dtypes[arg] else None
                given = values[arg].astype(wide) if wide else values[arg]
                reduced = REDUCTIONS[op].reduce(given, axis=kernel.reduced, keepdims=True)
                made = np.broadcast_to(reduced, kernel.sizes).astype(as_dtype(dtypes[arg]))
                values.append(made)
                dtypes.append(dtypes[arg])


def _picked(kernel, array, operand, terms, values):
    flat = array.reshape(-1).view(np.uint8)
    itemsize = array.dtype.itemsize
    made = np.empty(kernel.sizes, array.dtype)
    for place in product(*map(range, kernel.sizes)):
        strides = kernel.operands[operand].strides
        offset = sum(i * s for i, s in zip(place, strides, strict=True))
        offset += sum(int(values[number][place]) * step for number, step in terms)
        made[place] = flat[offset : offset + itemsize].view(array.dtype)[0]
    return made
