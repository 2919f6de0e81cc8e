"""What the builder prints is LLVM IR that means what was asked for."""

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest

from graphnn.compiler.native.builder import Builder, V, element_of, lanes_of, vector_of
from graphnn.compiler.native.target import CPU_VARIABLE, host_target
from graphnn.core.errors import ArgumentError


def test_types_tell_lanes_and_elements():
    assert vector_of("float", 8) == "<8 x float>"
    assert vector_of("float", 1) == "float"
    assert (lanes_of("<16 x i64>"), element_of("<16 x i64>")) == (16, "i64")
    assert (lanes_of("double"), element_of("double")) == (1, "double")


@pytest.mark.parametrize(
    ("value", "type_", "text"),
    [
        (0.1, "float", "0x3FB99999A0000000"),  # rounded to float32, written as a double
        (0.1, "double", "0x3FB999999999999A"),
        (1e300, "float", "0x7FF0000000000000"),
        (-1e300, "float", "0xFFF0000000000000"),
        (-0.0, "<2 x double>", "<double 0x8000000000000000, double 0x8000000000000000>"),
    ],
)
def test_constants_are_exact(value, type_, text):
    assert Builder.real(value, type_) == V(text, type_)


def test_a_loop_with_a_condition_adds_up_vectors():
    builder = Builder("total", [V("%x", "ptr"), V("%n", "i64"), V("%y", "ptr")])
    wide = vector_of("double", 4)
    total = builder.local(wide)
    builder.store(builder.real(0.0, wide), total, 64)
    with builder.loop(0, V("%n", "i64"), 4) as i:
        taken = builder.compare("icmp ne", i, builder.integer(4))
        with builder.when(taken):
            address = builder.at(V("%x", "ptr"), builder.binary("mul", i, builder.integer(8)))
            before = builder.load(total, wide, 64)
            builder.store(builder.binary("fadd", before, builder.load(address, wide, 8)), total, 64)
    builder.store(builder.load(total, wide, 64), V("%y", "ptr"), 8)
    engine = _compiled("\n".join([*builder.declared, builder.function()]))
    x, y = np.arange(12.0), np.empty(4)
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)(
        engine.get_function_address("total")
    )
    function(x.ctypes.data, 12, y.ctypes.data)
    assert y.tolist() == [8.0, 10.0, 12.0, 14.0]


def _compiled(ir):
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(ir)
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=1)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


@pytest.mark.parametrize(
    ("cpu", "vector_bytes", "has_fma"),
    [("x86-64", 16, False), ("haswell", 32, True), ("skylake-avx512", 64, True)],
)
def test_another_processor_may_be_named(monkeypatch, cpu, vector_bytes, has_fma):
    monkeypatch.setenv(CPU_VARIABLE, cpu)
    target = host_target.__wrapped__()
    assert (target.cpu, target.vector_bytes, target.has_fma) == (cpu, vector_bytes, has_fma)
    assert (target.lanes(4), target.lanes(8)) == (vector_bytes // 4, vector_bytes // 8)


def test_a_processor_that_is_not_known_is_refused(monkeypatch):
    monkeypatch.setenv(CPU_VARIABLE, "znver9")
    with pytest.raises(ArgumentError, match="GRAPHNN_CPU=znver9 names no processor"):
        host_target.__wrapped__()
