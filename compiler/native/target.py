"""The processor that code is generated for: its vectors, its registers, its caches."""

from __future__ import annotations

import os
from collections.abc import Set
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm

from graphnn.core.errors import ArgumentError

__all__ = ["Target", "host_target"]

CPU_VARIABLE = "GRAPHNN_CPU"
"""Names another processor to generate code for; see `CPUS`."""


@dataclass(frozen=True, slots=True)
class Target:
    """What code generators need to know of a processor.

    Attributes
    ----------
    triple, cpu, features : str
        As LLVM calls them.
    vector_bytes : int
        Width of a vector register.
    n_registers : int
        How many vector registers there are.
    has_fma : bool
        Whether a multiplication and an addition are one instruction.
    l1_bytes, l2_bytes : int
        Data caches of one core.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    n_registers: int
    has_fma: bool
    l1_bytes: int
    l2_bytes: int

    def lanes(self, itemsize: int) -> int:
        """Elements of a size that a vector register holds."""
        return max(1, self.vector_bytes // itemsize)


@cache
def host_target() -> Target:
    """The processor that this process runs on, or a weaker one named by `CPU_VARIABLE`."""
    triple = llvm.get_process_triple()
    chosen = os.environ.get(CPU_VARIABLE, "")
    if chosen:
        return _target(triple, chosen, "", _features_of(chosen))
    features = llvm.get_host_cpu_features()
    return _target(
        triple,
        llvm.get_host_cpu_name(),
        features.flatten(),
        {name for name, has in features.items() if has},
    )


CPUS = {
    "generic": frozenset[str](),
    "x86-64": frozenset[str](),
    "haswell": frozenset({"avx2", "fma", "f16c"}),
    "x86-64-v3": frozenset({"avx2", "fma", "f16c"}),
    "skylake-avx512": frozenset({"avx2", "fma", "f16c", "avx512f"}),
    "x86-64-v4": frozenset({"avx2", "fma", "f16c", "avx512f"}),
}
"""Processors that can be chosen by name, and what of their features matters here."""


def _features_of(cpu: str) -> frozenset[str]:
    if cpu not in CPUS:
        raise ArgumentError(
            f"{CPU_VARIABLE}={cpu} names no processor that code can be generated for",
            hint=f"one of {', '.join(CPUS)}; without it, code is for the processor at hand",
            where="",
        )
    return CPUS[cpu]


def _target(triple: str, cpu: str, features: str, has: Set[str]) -> Target:
    is_arm = triple.startswith(("aarch64", "arm64"))
    if "avx512f" in has:
        vector_bytes, n_registers = 64, 32
    elif "avx2" in has:
        vector_bytes, n_registers = 32, 16
    else:
        vector_bytes, n_registers = 16, 32 if is_arm else 16
    return Target(
        triple=triple,
        cpu=cpu,
        features=features,
        vector_bytes=vector_bytes,
        n_registers=n_registers,
        has_fma=is_arm or "fma" in has,
        l1_bytes=_cache_bytes(0, 32 << 10),
        l2_bytes=_cache_bytes(2, 512 << 10),
    )


def _cache_bytes(index: int, default: int) -> int:
    """The size of a data cache of the first core, from Linux; else a common one."""
    path = f"/sys/devices/system/cpu/cpu0/cache/index{index}/size"
    try:
        with open(path) as file:
            text = file.read().strip()
    except OSError:
        return default
    units = {"K": 1 << 10, "M": 1 << 20}
    return int(text[:-1]) * units[text[-1]] if text[-1:] in units else default
