"""What this machine can do at most: fused multiply-adds from registers, copying memory.

.venv/bin/python benchmarks/limits.py [--threads 1]
"""

from __future__ import annotations

import argparse
import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphnn.compiler.native.target import Target, host_target

__all__ = ["copy_bandwidth", "multiply_add_peak"]

CHAINS = 12
"""Independent sums: latency times throughput of every known processor is 8 to 10."""

COPIED_BYTES = 1 << 28
"""Far more than any cache holds."""


def multiply_add_ir(target: Target) -> str:
    """``void peak(i64 n, ptr out)``: n times `CHAINS` vectors, nothing from memory."""
    lanes = target.lanes(4)
    vector = f"<{lanes} x float>"
    fma = f"@llvm.fma.v{lanes}f32"
    factor, term = (
        f"<{', '.join(['float ' + text] * lanes)}>"
        for text in ("5.000000e-01", "2.500000e-01")  # every sum tends to 0.5
    )
    lines = [
        f"declare {vector} {fma}({vector}, {vector}, {vector})",
        "define void @peak(i64 %n, ptr %out) {",
        "entry:",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [0, %entry], [%next, %loop]",
    ]
    lines += [
        f"  %a{c} = phi {vector} [zeroinitializer, %entry], [%b{c}, %loop]" for c in range(CHAINS)
    ]
    for c in range(CHAINS):
        if target.has_fma:
            lines.append(
                f"  %b{c} = call {vector} {fma}({vector} %a{c}, {vector} {factor}, {vector} {term})"
            )
        else:
            lines.append(f"  %m{c} = fmul {vector} %a{c}, {factor}")
            lines.append(f"  %b{c} = fadd {vector} %m{c}, {term}")
    lines += [
        "  %next = add i64 %i, 1",
        "  %more = icmp slt i64 %next, %n",
        "  br i1 %more, label %loop, label %done",
        "done:",
    ]
    for c in range(CHAINS):
        lines.append(f"  %p{c} = getelementptr {vector}, ptr %out, i64 {c}")
        lines.append(f"  store {vector} %b{c}, ptr %p{c}, align 4")
    return "\n".join([*lines, "  ret void", "}"])


def compiled(ir: str, target: Target) -> tuple[Any, Callable[[int, int], None]]:
    """Machine code and its owner."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(ir), machine)
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)
    return engine, kind(engine.get_function_address("peak"))


def fastest(work: Callable[[int], None], threads: int, repeats: int = 7) -> float:
    """Least seconds in which all threads did their work; each is given its number."""
    seconds = []
    for _ in range(repeats):
        running = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
        start = time.perf_counter()
        for each in running:
            each.start()
        for each in running:
            each.join()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def multiply_add_peak(threads: int = 1) -> float:
    """Floating-point operations a second, float32, two for each multiply-add."""
    target = host_target()
    engine, peak = compiled(multiply_add_ir(target), target)
    outs = [np.zeros(CHAINS * target.lanes(4), np.float32) for _ in range(threads)]
    loops = 5_000_000
    seconds = fastest(lambda i: peak(loops, outs[i].ctypes.data), threads)
    del engine
    return 2.0 * threads * loops * CHAINS * target.lanes(4) / seconds


def copy_bandwidth(threads: int = 1) -> float:
    """Bytes a second that are read and written while memory is copied."""
    source = np.ones(COPIED_BYTES // 4, np.float32)
    target = np.zeros_like(source)
    parts = list(zip(np.split(source, threads), np.split(target, threads), strict=True))
    seconds = fastest(lambda i: np.copyto(parts[i][1], parts[i][0]), threads)
    return 2.0 * COPIED_BYTES / seconds


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    print(f"{multiply_add_peak(threads) / 1e9:8.1f} GFLOP/s, float32 multiply-adds")
    print(f"{copy_bandwidth(threads) / 1e9:8.1f} GB/s read and written, copying")


if __name__ == "__main__":
    main()
