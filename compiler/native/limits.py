"""What this machine can do at most: multiply-adds from registers, copying at every size.

`Program.profile` compares with it, and so do the benchmarks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from graphnn.compiler.native.code import Code
from graphnn.compiler.native.library import Request, host_library
from graphnn.compiler.native.runtime import Call, Segment
from graphnn.compiler.native.target import Target, host_target

__all__ = ["Limits", "copy_bandwidth", "measured_limits", "multiply_add_peak"]

CHAINS = 12
"""Independent sums: latency times throughput of every known processor is 8 to 10."""

MEMORY_NBYTES = 1 << 27
"""Read and written by the largest copy: far more than most caches hold."""

LONG_NS = 1e9
"""A cost that is worth every thread."""

PATIENCE_NS = 100_000_000
"""For so long the same is measured again: somewhere in it nothing else disturbs."""


@dataclass(frozen=True)
class Limits:
    """What a number of threads reached, or a GPU.

    Attributes
    ----------
    n_threads : int
        0 for a GPU.
    flops : float
        Multiply-adds of float32 from registers: operations a second, two for each.
    bandwidths : tuple of (int, float)
        Bytes that a copy reads and writes, and how many it moves in a second; from what the first
        caches hold to what none does.
    gpu : str
        Its name, if it is one.
    """

    n_threads: int
    flops: float
    bandwidths: tuple[tuple[int, float], ...]
    gpu: str = ""

    @property
    def who(self) -> str:
        """Who reached them: "2 threads", or the name of the GPU."""
        return self.gpu or f"{self.n_threads} thread{'s' if self.n_threads > 1 else ''}"

    @property
    def memory_bandwidth(self) -> float:
        """Bytes a second beyond all caches."""
        return self.bandwidths[-1][1]

    @property
    def cache_bandwidth(self) -> float:
        """Bytes a second in the cache that is fastest."""
        return max(each for _, each in self.bandwidths)

    def bandwidth(self, nbytes: int) -> float:
        """Bytes a second for work on so many bytes, as if they were in the cache they fit in."""
        sizes, rates = zip(*self.bandwidths, strict=True)
        return float(np.interp(np.log(max(nbytes, 1)), np.log(sizes), rates))

    def arithmetic_ns(self, flops: int, itemsize: int = 4) -> float:
        """The least time for arithmetic on elements of a size; halves compute in float32."""
        return flops * max(itemsize, 4) / 4 / self.flops * 1e9

    def memory_ns(self, nbytes: int) -> float:
        """The least time to read and write so many bytes."""
        return nbytes / self.bandwidth(nbytes) * 1e9


@cache
def measured_limits(n_threads: int) -> Limits:
    """The limits, measured once per process; it takes about a second."""
    target = host_target()
    inner = n_threads * np.array([target.l1_bytes, target.l2_bytes]) // 2
    sizes = sorted({int(each) for each in inner} | {1 << 22, 1 << 24, MEMORY_NBYTES})
    bandwidths = tuple((each, copy_bandwidth(n_threads, each)) for each in sizes)
    return Limits(n_threads, multiply_add_peak(n_threads), bandwidths)


def multiply_add_peak(n_threads: int = 1) -> float:
    """Floating-point operations a second, float32, two for each multiply-add."""
    target = host_target()
    loops = 200_000
    sums = CHAINS * target.lanes(4)
    out = np.zeros((n_threads, sums), np.float32)
    code = Request(f"peak {loops}", lambda name: _multiply_add(target, name, loops))
    seconds = _seconds(code, n_threads, [out])
    return 2.0 * n_threads * loops * sums / seconds


def copy_bandwidth(n_threads: int = 1, nbytes: int = MEMORY_NBYTES) -> float:
    """Bytes a second that are read and written while arrays are copied.

    Parameters
    ----------
    n_threads : int
    nbytes : int
        Of both arrays together; every thread copies its own part again and again.
    """
    each = max(nbytes // (2 * n_threads) // 64 * 64, 64)
    source = np.ones(n_threads * each, np.uint8)
    times = max(1, (MEMORY_NBYTES >> 4) // nbytes)
    code = Request(f"copy {each} {times}", lambda name: _copies(name, each, times))
    seconds = _seconds(code, n_threads, [source, np.zeros_like(source)])
    return 2.0 * times * n_threads * each / seconds


def _seconds(request: Request, n_threads: int, arrays: Sequence[np.ndarray]) -> float:
    """The least time of one chunk for every thread."""
    (loaded,) = host_library().load([request])
    ((address, _),) = loaded.parts
    spans = tuple((each.ctypes.data, each.ctypes.data + each.nbytes) for each in arrays)
    starts = tuple(start for start, _ in spans)
    call = Call(address, n_threads, starts, spans, spans, cost_ns=LONG_NS)
    segment = Segment([call], n_threads)
    best = min(segment.profile())
    until = time.perf_counter_ns() + PATIENCE_NS
    while time.perf_counter_ns() < until:
        best = min(best, *segment.profile())
    return best * 1e-9


_CHUNKS = """define void @{name}(ptr %args, i64 %begin, i64 %end) {{
entry:
{entry}
  br label %chunk
chunk:
  %i = phi i64 [%begin, %entry], [%i.next, %chunk.end]
{at_chunk}
  br label %loop
loop:
  %n = phi i64 [0, %chunk], [%n.next, %loop]
{body}
  %n.next = add i64 %n, 1
  %more = icmp slt i64 %n.next, {times}
  br i1 %more, label %loop, label %chunk.end
chunk.end:
{after}
  %i.next = add i64 %i, 1
  %going = icmp slt i64 %i.next, %end
  br i1 %going, label %chunk, label %done
done:
  ret void
}}
"""


def _multiply_add(target: Target, name: str, loops: int) -> Code:
    """Every chunk: `CHAINS` vectors multiplied and added to, nothing from memory."""
    lanes = target.lanes(4)
    vector = f"<{lanes} x float>"
    fma = f"@llvm.fma.v{lanes}f32"
    factor, term = (
        f"<{', '.join(['float ' + text] * lanes)}>"
        for text in ("5.000000e-01", "2.500000e-01")  # every sum tends to 0.5
    )
    after: list[str] = []
    body = [
        f"  %a{c} = phi {vector} [zeroinitializer, %chunk], [%b{c}, %loop]" for c in range(CHAINS)
    ]
    for c in range(CHAINS):
        if target.has_fma:
            body.append(
                f"  %b{c} = call {vector} {fma}({vector} %a{c}, {vector} {factor}, {vector} {term})"
            )
        else:
            body.append(f"  %m{c} = fmul {vector} %a{c}, {factor}")
            body.append(f"  %b{c} = fadd {vector} %m{c}, {term}")
        after.append(f"  %p{c} = getelementptr {vector}, ptr %mine, i64 {c}")
        after.append(f"  store {vector} %b{c}, ptr %p{c}, align 4")
    text = _CHUNKS.format(
        name=name,
        entry="  %out = load ptr, ptr %args",
        at_chunk=f"  %mine = getelementptr [{CHAINS} x {vector}], ptr %out, i64 %i",
        body="\n".join(body),
        after="\n".join(after),
        times=loops,
    )
    declared = f"declare {vector} {fma}({vector}, {vector}, {vector})\n" if target.has_fma else ""
    return Code(declared + text, ((name, 1),))


def _copies(name: str, nbytes: int, times: int) -> Code:
    """Every chunk: so many bytes copied by the system's own copying, some times over."""
    text = _CHUNKS.format(
        name=name,
        entry="  %from = load ptr, ptr %args\n"
        "  %to.at = getelementptr ptr, ptr %args, i64 1\n"
        "  %to = load ptr, ptr %to.at",
        at_chunk=f"  %offset = mul i64 %i, {nbytes}\n"
        "  %source = getelementptr i8, ptr %from, i64 %offset\n"
        "  %target = getelementptr i8, ptr %to, i64 %offset",
        body=f"  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %source, i64 {nbytes}, i1 0)",
        after="",
        times=times,
    )
    return Code("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)\n" + text, ((name, 1),))
