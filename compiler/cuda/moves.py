"""CUDA code of what a loop nest cannot say: random bits, running sums, range checks."""

from __future__ import annotations

from math import prod

from graphnn.compiler.cuda.code import Code, Part
from graphnn.compiler.cuda.indices import offset_text
from graphnn.compiler.cuda.layout import THREADS
from graphnn.compiler.cuda.scalars import (
    combined,
    identity,
    literal,
    load,
    register,
    register_nbytes,
    store,
)
from graphnn.compiler.cuda.writer import Writer, signature
from graphnn.compiler.native.philox import Philox
from graphnn.compiler.native.range_check import RangeCheck
from graphnn.compiler.native.scanning import Scan
from graphnn.core.dtypes import as_dtype
from graphnn.ops.philox import KEY_STEPS, MULTIPLIERS, ROUNDS

__all__ = ["check_range", "draw", "one_each", "scan"]


def one_each(w: Writer, name: str, n_operands: int, count: int) -> Part:
    """The head of a function whose threads take one number below ``count`` each.

    The caller closes the block.
    """
    w.open(signature(name, n_operands, THREADS))
    w.line(f"const i64 number = (i64)blockIdx.x * {THREADS} + threadIdx.x;")
    w.line(f"if (number >= {count}) return;")
    return Part(name, -(-count // THREADS), THREADS)


# -------------------------------------------------------------------------------- random bits


def draw(philox: Philox, name: str) -> Code:
    """A thread for every number: Philox-4x32-10, as in :mod:`graphnn.ops.philox`."""
    w = Writer()
    part = one_each(w, name, 2, philox.n_keys * philox.count)
    w.line(f"const u64* key = (const u64*)p0 + number / {philox.count} * 2;")
    w.line(f"const u64 index = number % {philox.count};")
    w.line(
        "u32 c0 = (u32)index, c1 = (u32)(index >> 32), c2 = (u32)key[1], c3 = (u32)(key[1] >> 32);"
    )
    w.line("u32 k0 = (u32)key[0], k1 = (u32)(key[0] >> 32);")
    with w.block(f"for (int turn = 0; turn < {ROUNDS}; ++turn)"):
        w.line(f"const u64 a = (u64)c0 * {MULTIPLIERS[0]}u, b = (u64)c2 * {MULTIPLIERS[1]}u;")
        w.line("const u32 high = (u32)(b >> 32) ^ c1 ^ k0, low = (u32)(a >> 32) ^ c3 ^ k1;")
        w.line("c0 = high, c1 = (u32)b, c2 = low, c3 = (u32)a;")
        w.line(f"k0 += {KEY_STEPS[0]}u, k1 += {KEY_STEPS[1]}u;")
    if philox.dtype == "int32":
        w.line("((u32*)p1)[number] = c0;")
    else:
        w.line("((u64*)p1)[number] = (u64)c0 << 32 | c1;")
    w.close()
    return Code(w.text, (part,))


# -------------------------------------------------------------------------------- range checks


def check_range(check: RangeCheck, name: str) -> Code:
    """A thread for every integer."""
    w = Writer()
    part = one_each(w, name, 2, prod(check.sizes))
    at = offset_text("number", check.sizes, check.strides)
    w.line(f"const i64 value = (i64){load(check.dtype, f'p0 + {at}')};")
    w.line(f"if (value < {check.low}ll || value >= {check.high}ll) *(i64*)p1 = 1;")
    w.close()
    return Code(w.text, (part,))


# -------------------------------------------------------------------------------- running sums


LONG = 2 * THREADS
"""Steps of a line that a block shares, where they are neighbours in memory."""


def scan(scan: Scan, name: str) -> Code:
    """A thread for every line, whose steps follow each other; a block for one that is long."""
    itemsize = as_dtype(scan.dtype).itemsize
    if scan.op != "recurrence" and scan.steps >= LONG and set(map(abs, scan.along)) == {itemsize}:
        return _shared_scan(scan, name)
    w, n_operands = Writer(), len(scan.along)
    part = one_each(w, name, n_operands, prod(scan.sizes))
    for operand in range(n_operands):
        at = offset_text("number", scan.sizes, scan.strides[operand])
        w.line(f"char* q{operand} = p{operand} + {at};")
    dtype, last = scan.dtype, n_operands - 1

    def read(operand: int) -> str:
        return load(dtype, f"q{operand}")

    w.line(f"{register(dtype)} state = {read(last - 1)};")
    w.line(store(dtype, f"q{last}", "state"))
    with w.block(f"for (i64 step = 1; step < {scan.steps}; ++step)"):
        for operand, by in enumerate(scan.along):
            w.line(f"q{operand} += {by};")
        if scan.op == "recurrence":
            w.line(f"state = gn_add(gn_multiply({read(0)}, state), {read(1)});")
        else:
            w.line(f"state = {combined(scan.op, 'state', read(0))};")
        w.line(store(dtype, f"q{last}", "state"))
    w.close()
    return Code(w.text, (part,))


def _shared_scan(scan: Scan, name: str) -> Code:
    """A block for every line: the threads' elements by doubling distances, then the next ones."""
    w, dtype, kind = Writer(), scan.dtype, register(scan.dtype)
    lines = prod(scan.sizes)
    start = literal(dtype, identity(scan.op, dtype))
    with w.block(signature(name, 2, THREADS)):
        w.line(f"__shared__ {kind} shared[{THREADS}];")
        w.line("const i64 number = blockIdx.x;")
        for operand in range(2):
            at = offset_text("number", scan.sizes, scan.strides[operand])
            w.line(f"char* const q{operand} = p{operand} + {at};")
        w.line("const int own = threadIdx.x;")
        w.line(f"{kind} before = {start};")
        with w.block(f"for (i64 from = 0; from < {scan.steps}; from += {THREADS})"):
            w.line("const i64 at = from + own;")
            w.line(f"const bool is_in = at < {scan.steps};")
            w.line(f"{kind} value = {start};")
            w.line(f"if (is_in) value = {load(dtype, f'q0 + at * {scan.along[0]}')};")
            with w.block(f"for (int by = 1; by < {THREADS}; by *= 2)"):
                w.line("shared[own] = value;")
                w.line("__syncthreads();")
                earlier = combined(scan.op, "shared[own - by]", "value")
                w.line(f"if (own >= by) value = {earlier};")
                w.line("__syncthreads();")
            w.line(f"value = {combined(scan.op, 'before', 'value')};")
            w.line("shared[own] = value;")
            w.line("__syncthreads();")
            w.line(f"before = shared[{THREADS - 1}];")
            w.line(f"if (is_in) {store(dtype, f'q1 + at * {scan.along[1]}', 'value')}")
            w.line("__syncthreads();")
    part = Part(name, lines, THREADS, static_nbytes=THREADS * register_nbytes(dtype))
    return Code(w.text, (part,))
