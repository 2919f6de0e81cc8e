"""Generated products of matrices beside NumPy's (OpenBLAS), and the limit of one core.

Both run in alternation on one thread; the table gives the best of the repeats in GFLOP/s, the
share of the limit, and what compiling cost. The limit is measured: independent fused
multiply-adds that never leave the registers. A call of NumPy from Python costs about a
microsecond, which small sizes show; the generated code is called from native code.

    .venv/bin/python benchmarks/gemm.py [--out benchmarks/results] [--only 784] [--dtype float64]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from compiled_code import NativeCode, addresses_of
from scaling import machine

from graphnn.compiler.kernel import Contraction, Kernel, Operand, Product
from graphnn.compiler.native.builder import Builder, V, vector_of
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.contraction.blocking import make_plan
from graphnn.compiler.native.contraction.generate import generate
from graphnn.compiler.native.target import host_target

SQUARES = [8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
ODD = [7, 15, 31, 33, 65, 100, 127, 255, 513]
LAYERS = [  # rows, summed, columns: forward, gradient of the input, gradient of the weights
    ("NN", 32, 784, 128),
    ("NT", 32, 128, 784),
    ("TN", 784, 32, 128),
    ("NN", 32, 128, 10),
    ("NT", 32, 10, 128),
    ("TN", 128, 32, 10),
    ("NN", 128, 784, 256),
    ("NT", 128, 256, 784),
    ("TN", 784, 128, 256),
    ("NN", 64, 512, 512),
    ("NT", 64, 512, 512),
    ("TN", 512, 64, 512),
    ("NN", 64, 512, 2048),
    ("NN", 32, 256, 1024),
    ("NN", 1, 512, 512),
    ("NT", 1, 512, 512),
    ("NN", 512, 512, 1),
]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

CASES = [
    *(("NN", size, size, size) for size in SQUARES),
    *(("NT", size, size, size) for size in SQUARES[2:]),
    *(("TN", size, size, size) for size in SQUARES[2:]),
    *(("NN", size, size, size) for size in ODD),
    *LAYERS,
]

REPEAT = """
define void @repeat(ptr %function, ptr %args, i64 %chunks, i64 %count) {
entry:
  br label %again
again:
  %i = phi i64 [0, %entry], [%next, %again]
  call void %function(ptr %args, i64 0, i64 %chunks)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %again, label %done
done:
  ret void
}
"""


def limit(dtype: str) -> float:
    """GFLOP/s of fused multiply-adds in registers."""
    target, size = host_target(), np.dtype(dtype).itemsize
    lanes = target.lanes(size)
    type_ = vector_of({4: "float", 8: "double"}[size], lanes)
    x = V("%x", "ptr")
    b = Builder("limit", [x, V("%n", "i64")])
    sums = [b.local(type_) for _ in range(12)]
    for place in sums:
        b.store(b.load(x, type_, size), place, size)
    factor = b.load(b.at(x, 64), type_, size)
    with b.loop(0, V("%n", "i64")):
        for place in sums:
            b.store(b.intrinsic("fma", factor, factor, b.load(place, type_, size)), place, size)
    for number, place in enumerate(sums):
        b.store(b.load(place, type_, size), b.at(x, 64 * number), size)
    (address,) = addresses_of("\n".join([*b.declared, b.function()]), "limit")
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)
    memory = np.zeros(1024, dtype)
    count = 20_000
    seconds = best(lambda: function(memory.ctypes.data, count), 200)
    return count * len(sums) * lanes * 2 / seconds / 1e9


clock = time.perf_counter
"""``time.thread_time`` with ``--cpu-time``: on a machine that others use as well."""


def best(call: Callable[[], Any], repeats: int) -> float:
    """The least of many timings."""
    return min(timings(call, repeats))


def timings(call: Callable[[], Any], repeats: int) -> list[float]:
    """Seconds of every call."""
    found = []
    for _ in range(repeats):
        start = clock()
        call()
        found.append(clock() - start)
    return found


def contraction_of(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> Contraction:
    """``out = a @ b``."""
    (m, k), n, dtype = a.shape, b.shape[1], a.dtype.name
    epilogue = Kernel((m, n), (), (Operand(dtype, out.strides),), (Product(dtype),), ((0, 0),))
    left, right = (
        Operand(dtype, (a.strides[0], 0, a.strides[1])),
        Operand(dtype, (0, *b.strides[::-1])),
    )
    return Contraction((m, n, k), (2,), dtype, left, right, epilogue)


class Native:
    """Generated code, called again and again without Python in between."""

    def __init__(self, code: Code, arrays: list[np.ndarray]) -> None:
        self.code = NativeCode(code, arrays)
        (address,) = addresses_of(REPEAT, "repeat")
        self.repeat = ctypes.CFUNCTYPE(
            None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
        )(address)

    def seconds(self, count: int, repeats: int) -> tuple[float, float]:
        """Least and median seconds of one product, part by part."""
        least = median = 0.0
        for function, n_chunks in self.code.parts:
            again = partial(self.repeat, function, self.code.args, n_chunks, count)
            found = timings(again, repeats)
            least += min(found) / count
            median += statistics.median(found) / count
        return least, median


def measure(case: tuple[str, int, int, int], dtype: str, peak: float) -> dict[str, Any]:
    """One row of the table."""
    form, m, k, n = case
    rng = np.random.default_rng(0)
    a = rng.standard_normal((m, k) if form[0] == "N" else (k, m)).astype(dtype)
    b = rng.standard_normal((k, n) if form[1] == "N" else (n, k)).astype(dtype)
    a, b = a if form[0] == "N" else a.T, b if form[1] == "N" else b.T
    out, expected = np.empty((m, n), dtype), a @ b
    contraction = contraction_of(a, b, out)
    start = time.perf_counter()
    native = Native(generate(contraction, host_target(), "product"), [a, b, out])
    compile_ms = (time.perf_counter() - start) * 1e3
    flops = 2 * m * k * n
    count = max(1, int(1e-3 / (flops / peak / 1e9)))
    native.seconds(1, 2)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5 * k)
    ours, middle, numpy = float("inf"), float("inf"), float("inf")
    for _ in range(5):
        least, median = native.seconds(count, 6)
        ours, middle = min(ours, least), min(middle, median)
        found = timings(lambda: [np.matmul(a, b, out=out) for _ in range(count)], 6)
        numpy = min(numpy, min(found) / count)
    made = make_plan(contraction, host_target())
    return {
        "case": f"{form} {m} x {k} x {n}",
        "gflops": flops / ours / 1e9,
        "median_gflops": flops / middle / 1e9,
        "numpy_gflops": flops / numpy / 1e9,
        "share_of_limit": flops / ours / 1e9 / peak,
        "microseconds": ours * 1e6,
        "compile_ms": compile_ms,
        "expected_microseconds": made.cycles / (peak / (4 * host_target().lanes(a.itemsize))) / 1e3,
        "packs": f"{'left ' * made.packs_left}{'right' * made.packs_right}".strip(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--cpu-time", action="store_true", help="the machine is not quiet")
    options = parser.parse_args()
    if options.cpu_time:
        global clock
        clock = time.thread_time
    peak = limit(options.dtype)
    print(f"limit of one core: {peak:.0f} GFLOP/s of {options.dtype}")
    print(f"{'case':>22} {'GFLOP/s':>8} {'limit':>6} {'NumPy':>7} {'us':>9} {'compile':>9}")
    rows = []
    for case in CASES:
        if options.only not in "{} {} x {} x {}".format(*case):
            continue
        row = measure(case, options.dtype, peak)
        rows.append(row)
        print(
            f"{row['case']:>22} {row['gflops']:8.1f} {row['share_of_limit']:6.0%} "
            f"{row['numpy_gflops']:7.1f} {row['microseconds']:9.2f} {row['compile_ms']:6.0f} ms",
            flush=True,
        )
    options.out.mkdir(parents=True, exist_ok=True)
    result = {
        "machine": machine(),
        "clock": clock.__name__,
        "dtype": options.dtype,
        "limit_gflops": peak,
        "rows": rows,
    }
    (options.out / "gemm.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    if ONE_THREAD.items() <= os.environ.items():
        main()
    else:  # libraries read it when they are loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
