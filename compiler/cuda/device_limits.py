"""What a device can do at most: multiply-adds from registers, copying at every size."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from graphnn.compiler.cuda.code import Code, Part
from graphnn.compiler.cuda.device import Device
from graphnn.compiler.cuda.writer import Writer, signature
from graphnn.compiler.native.limits import Limits

__all__ = ["measured_limits"]

COPIES = (1 << 20, 1 << 23, 1 << 26, 1 << 29)
"""Bytes that copies read and write: from what the last cache holds to far more."""

CHAINS, BLOCKS, THREADS, ROUNDS = 16, 2048, 256, 2048
"""Independent sums of a thread, which hide how long each takes, and how often they are added to."""

REPEATS = 5
"""The best of so many counts: somewhere nothing else disturbs."""

MADE_IN_A_ROW = 8
"""Copies between two moments, so that giving them does not count."""


@cache
def measured_limits(device: Device) -> Limits:
    """The limits of a device, measured once per process."""
    with device.turn():
        bandwidths = tuple((each, _copied(device, each)) for each in COPIES)
        return Limits(0, _multiplied(device), bandwidths, device.name)


def _copied(device: Device, nbytes: int) -> float:
    """Bytes a second that are read and written while memory is copied."""
    source, target = (device.allocate(nbytes // 2) for _ in range(2))
    addresses = device.address(source), device.address(target)

    def copy() -> None:
        for _ in range(MADE_IN_A_ROW):
            device.copy(*addresses, nbytes // 2)

    return MADE_IN_A_ROW * nbytes / _seconds(device, copy)


def _multiplied(device: Device) -> float:
    """Floating-point operations a second, float32, two for each multiply-add."""
    code = _multiply_adds("multiply_adds")
    (part,) = (each for each in code.parts if isinstance(each, Part))
    launch = device.load([code])[part]
    out = device.allocate(4 * BLOCKS * THREADS)
    seconds = _seconds(device, lambda: launch([device.address(out)]))
    return 2.0 * BLOCKS * THREADS * CHAINS * ROUNDS / seconds


def _seconds(device: Device, work: Callable[[], None]) -> float:
    """The least time of some work; the first time is not counted."""
    work()
    times = []
    for _ in range(REPEATS):
        before = device.mark()
        work()
        times.append(device.elapsed_ns(before, device.mark()))
    return max(min(times), 1.0) * 1e-9


def _multiply_adds(name: str) -> Code:
    """Every thread: `CHAINS` numbers multiplied and added to, nothing from memory."""
    w = Writer()
    with w.block(signature(name, 1, THREADS)):
        w.line("const int number = blockIdx.x * blockDim.x + threadIdx.x;")
        for chain in range(CHAINS):
            w.line(f"float a{chain} = number + {chain};")
        with w.block(f"for (int turn = 0; turn < {ROUNDS}; ++turn)"):
            for chain in range(CHAINS):  # every number tends to 0.5
                w.line(f"a{chain} = fmaf(a{chain}, 0.5f, 0.25f);")
        total = " + ".join(f"a{chain}" for chain in range(CHAINS))
        w.line(f"((float*)p0)[number] = {total};")
    return Code(w.text, (Part(name, BLOCKS, THREADS),))
