"""Processors that native code is generated for: this one, a plain one, and one from elsewhere."""

from dataclasses import replace

from graphnn.compiler.native.target import host_target

HOST = host_target()
IS_X86 = HOST.triple.startswith("x86_64")

PLAIN = replace(HOST, cpu="x86-64", features="", vector_bytes=16, n_registers=16, has_fma=False)
"""No fused multiply-add, four lanes, sixteen registers; every x86-64 machine can run its code."""

TARGETS = [HOST, PLAIN] if IS_X86 else [HOST]
"""Whose code runs here."""

ELSEWHERE = replace(
    HOST, cpu="skylake-avx512", features="", vector_bytes=64, n_registers=32, has_fma=True
)
"""Code for it is compiled, and need not run here."""
