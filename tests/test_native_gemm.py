"""Products of matrices in native code against float64 NumPy, for many shapes, strides and plans."""

import ctypes
from dataclasses import replace
from math import prod

import llvmlite.binding as llvm
import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from graphnn.compiler.kernel import (
    Apply,
    Contraction,
    Index,
    Kernel,
    Literal,
    Load,
    Operand,
    Product,
)
from graphnn.compiler.native.contraction import generate, scratch_nbytes
from graphnn.compiler.native.contraction.blocking import plan, segments_of
from graphnn.compiler.native.contraction.matrices import recognise
from graphnn.compiler.native.target import host_target

HOST = host_target()
# What this machine can run as well: no fused multiply-add, four lanes, sixteen registers.
PLAIN = replace(HOST, cpu="x86-64", features="", vector_bytes=16, n_registers=16, has_fma=False)
IS_X86 = HOST.triple.startswith("x86_64")
TARGETS = [HOST, PLAIN] if IS_X86 else [HOST]
ELSEWHERE = replace(
    HOST, cpu="skylake-avx512", features="", vector_bytes=64, n_registers=32, has_fma=True
)


def machine_code(ir, target):
    """An engine that holds the compiled module."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(ir)
    module.verify()
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2
    )
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


class Native:
    """A compiled contraction."""

    def __init__(self, contraction, target=HOST):
        self.code = generate(contraction, target, "product")
        self.engine = machine_code(self.code.ir, target)
        assert self.code.scratch_nbytes == scratch_nbytes(contraction, target)

    def __call__(self, *arrays, splits=1):
        """Run on arrays whose first elements are given; chunks in so many ranges, backwards."""
        scratch = np.full(self.code.scratch_nbytes + 64, 0xFF, np.uint8)  # NaN, if it is read
        addresses = [each.ctypes.data for each in arrays]
        addresses.append(scratch.ctypes.data + -scratch.ctypes.data % 64)
        args = (ctypes.c_void_p * len(addresses))(*addresses)
        for name, n_chunks in self.code.parts:
            function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
                self.engine.get_function_address(name)
            )
            edges = sorted({n_chunks * i // splits for i in range(splits + 1)})
            for begin, end in reversed(list(zip(edges[:-1], edges[1:], strict=True))):
                function(ctypes.addressof(args), begin, end)


def strides_of(array, axes):
    """Bytes along the axes (letters) of a product, for an array whose letters are given."""
    letters, values = axes
    return tuple(dict(zip(letters, array.strides, strict=True)).get(each, 0) for each in values)


def contraction_of(subscripts, a, b, out, epilogue=None, others=()):
    """An einsum of two arrays as a Contraction; the epilogue's operands are others, then out."""
    (left, right), result = subscripts.split("->")[0].split(","), subscripts.split("->")[1]
    letters = result + "".join(dict.fromkeys(each for each in left + right if each not in result))
    sizes = {**dict(zip(left, a.shape, strict=True)), **dict(zip(right, b.shape, strict=True))}
    dtype = a.dtype.name
    operands = [
        *(Operand(each.dtype.name, strides_of(each, (where, result))) for each, where in others),
        Operand(out.dtype.name, out.strides),
    ]
    values = epilogue or (Product(dtype),)
    kernel = Kernel(
        tuple(sizes[each] for each in result),
        (),
        tuple(operands),
        tuple(values),
        ((len(operands) - 1, len(values) - 1),),
    )
    return Contraction(
        tuple(sizes[each] for each in letters),
        tuple(range(len(result), len(letters))),
        dtype,
        Operand(dtype, strides_of(a, (left, letters))),
        Operand(dtype, strides_of(b, (right, letters))),
        kernel,
    )


def drawn(rng, shape, dtype="float32"):
    """An array in a random order of axes, inside a larger one half of the time."""
    order = rng.permutation(len(shape))
    gaps = [int(rng.integers(0, 3)) if rng.random() < 0.3 else 0 for _ in shape]
    whole = [shape[axis] + gaps[axis] for axis in order]
    if np.dtype(dtype).kind == "f":
        values = np.asarray(rng.standard_normal(whole)).astype(dtype)
    else:
        values = rng.integers(0, 256, whole).astype(dtype)
    inner = values[(*(slice(0, shape[axis]) for axis in order), ...)]
    return inner.transpose(np.argsort(order))


def empty(rng, shape, dtype="float32"):
    """Memory for a result in a random order of axes, and the elements around it."""
    order = rng.permutation(len(shape))
    whole = np.full([shape[axis] + 1 for axis in order], 77, dtype)
    inner = whole[(*(slice(0, shape[axis]) for axis in order), ...)]
    return whole, inner.transpose(np.argsort(order))


def check(subscripts, a, b, out, n_summed):
    """Compare with float64, within the error of summing so many products one after the other."""
    exact = np.einsum(subscripts, a.astype("f8"), b.astype("f8"))
    magnitude = np.einsum(subscripts, np.abs(a.astype("f8")), np.abs(b.astype("f8")))
    bound = (n_summed + 1) * np.finfo(out.dtype).eps / 2 * magnitude
    if out.dtype.itemsize == 2:  # summed in float32, rounded once
        bound = (n_summed + 1) * 2.0**-24 * magnitude + 2.0**-11 * np.abs(exact) + 2.0**-25
    elif out.dtype.itemsize == 8:
        bound = bound + n_summed * 2.0**-53 * magnitude  # the reference's own
    assert np.all(np.abs(out - exact) <= bound)


def run(subscripts, a, b, rng, target=HOST):
    letters = subscripts.split("->")[1]
    (left, right) = subscripts.split("->")[0].split(",")
    sizes = {**dict(zip(left, a.shape, strict=True)), **dict(zip(right, b.shape, strict=True))}
    whole, out = empty(rng, [sizes[each] for each in letters], a.dtype)
    native = Native(contraction_of(subscripts, a, b, out), target)
    native(a, b, out)
    bits = whole.copy()
    outside = whole.astype("f8").sum() - out.astype("f8").sum()
    assert outside == pytest.approx(77 * (whole.size - out.size), rel=1e-6)
    for splits in (2, 3, 7):
        whole[...] = 77
        native(a, b, out, splits=splits)
        assert whole.tobytes() == bits.tobytes()
    return out, prod(size for each, size in sizes.items() if each not in letters)


SUBSCRIPTS = [
    "mk,kn->mn",
    "mk,kn->mn",
    "mk,kn->nm",
    "bmk,bkn->bmn",
    "bmk,kn->bmn",
    "mk,k->m",
    "k,kn->n",
    "k,k->",
    "m,n->mn",
    "bk,bk->b",
    "b,b->b",
    "abmk,abkn->ambn",
    "mij,ijn->mn",
    "mki,inj->mjkn",
    "mkq,kn->mn",  # an axis that only one operand has is summed: the other stands still
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.cpu)
@pytest.mark.parametrize("seed", range(60))
def test_any_shape_and_any_strides(seed, target):
    rng = np.random.default_rng(seed)
    subscripts = SUBSCRIPTS[seed % len(SUBSCRIPTS)]
    (left, right) = subscripts.split("->")[0].split(",")
    most = {0: 9, 1: 40, 2: 130}[seed % 3] if len(set(left + right)) <= 3 else 14
    sizes = {each: int(rng.integers(1, most + 1)) for each in left + right}
    dtype = "float64" if seed % 5 == 4 else "float32"
    a = drawn(rng, [sizes[each] for each in left], dtype)
    b = drawn(rng, [sizes[each] for each in right], dtype)
    out, n_summed = run(subscripts, a, b, rng, target)
    check(subscripts, a, b, out, n_summed)
