"""Native convolutions beside PyTorch on one thread, and beside the limit of this processor.

    python benchmarks/convolution.py [--json FILE] [--only WORD]

A convolution and its two gradients, float32, for networks' layers, as the compiler states them:
windows of one element are products of matrices. Both sides take turns; the best of many is kept,
in processor time of the thread, so that a busy machine disturbs less. ``all`` counts copies of
operands too, ``sums`` only the part that multiplies.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from compiled_code import PART, NativeCode, addresses_of

from graphnn.compiler.kernel import Bound, Contraction, Kernel, Operand, Product
from graphnn.compiler.native.builder import Builder, V
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.generators import generate
from graphnn.compiler.native.target import Target, host_target

LAYERS = {
    # name: examples, channels, size, filters, window, padding, stride
    "lenet 1": (64, 1, 28, 20, 5, 0, 1),
    "lenet 2": (64, 20, 12, 50, 5, 0, 1),
    "64 ch 56x56, batch 1": (1, 64, 56, 64, 3, 1, 1),
    "64 ch 56x56, batch 16": (16, 64, 56, 64, 3, 1, 1),
    "256 ch 14x14, batch 1": (1, 256, 14, 256, 3, 1, 1),
    "256 ch 14x14, batch 16": (16, 256, 14, 256, 3, 1, 1),
    "128 ch 28x28 stride 2, batch 4": (4, 64, 56, 128, 3, 1, 2),
    "1x1 64 to 256, batch 1": (1, 64, 56, 256, 1, 0, 1),
    "7x7 stride 2, batch 1": (1, 3, 224, 64, 7, 3, 2),
}


class Call:
    """Compiled code with its operands."""

    def __init__(self, code: Code, arrays: list[np.ndarray]) -> None:
        self.code = NativeCode(code, arrays)
        self.parts = [(PART(address), count) for address, count in self.code.parts]

    def all(self) -> None:
        """Run every part."""
        for function, count in self.parts:
            function(self.code.args, 0, count)

    def sums(self) -> None:
        """Run the last part."""
        function, count = self.parts[-1]
        function(self.code.args, 0, count)


def contraction_of(
    x: np.ndarray, kernel: np.ndarray, out: np.ndarray, low: int, stride: int, x_dilation: int,
    dilation: int,
) -> Contraction:  # fmt: skip
    """``(N, C, H, W)`` by ``(O, C, h, w)`` to ``(N, O, H', W')``, in any memory order."""
    places, taps, bounds = [0, 0], [0, 0], []
    for n, axis in enumerate((2, 3)):
        last = stride * (out.shape[axis] - 1) + dilation * (kernel.shape[axis] - 1)
        if low == 0 and x_dilation == 1 and last < x.shape[axis]:
            places[n], taps[n] = stride * x.strides[axis], dilation * x.strides[axis]
        else:
            size, step = x.shape[axis], x.strides[axis]
            bounds.append(Bound(axis, axis + 3, stride, dilation, low, size, x_dilation, step))
    epilogue = Kernel(
        out.shape, (), (Operand("float32", out.strides),), (Product("float32"),), ((0, 0),)
    )
    return Contraction(
        (*out.shape, *kernel.shape[1:]),
        (4, 5, 6),
        "float32",
        Operand("float32", (x.strides[0], 0, *places, x.strides[1], *taps)),
        Operand("float32", (0, kernel.strides[0], 0, 0, *kernel.strides[1:])),
        epilogue,
        tuple(bounds),
    )


def problems(layer: tuple[int, ...]) -> dict[str, tuple[Contraction, list[np.ndarray], float]]:
    """Forward, gradient of the data, gradient of the weights; with operands and flops."""
    n, c, size, filters, window, padding, stride = layer
    rng = np.random.default_rng(0)
    places = (size + 2 * padding - window) // stride + 1
    x = rng.standard_normal((n, c, size, size), dtype="f4")
    w = rng.standard_normal((filters, c, window, window), dtype="f4")
    y = rng.standard_normal((n, filters, places, places), dtype="f4")
    flops = 2.0 * y.size * c * window**2
    turned = np.flip(w, (2, 3)).transpose(1, 0, 2, 3)
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    x_t, y_t, dw_t = (each.transpose(1, 0, 2, 3) for each in (x, y, dw))
    return {
        "forward": (contraction_of(x, w, y, padding, stride, 1, 1), [x, w, y], flops),
        "data": (
            contraction_of(y, turned, dx, window - 1 - padding, 1, stride, 1),
            [y, turned, dx],
            flops,
        ),
        "weights": (
            contraction_of(x_t, y_t, dw_t, padding, 1, 1, stride),
            [x, y, dw],
            flops,
        ),
    }


def torch_calls(layer: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """The same by PyTorch; empty without it."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(1)
    n, c, size, filters, window, padding, stride = layer
    places = (size + 2 * padding - window) // stride + 1
    x, w = torch.randn(n, c, size, size), torch.randn(filters, c, window, window)
    y = torch.randn(n, filters, places, places)
    gradient = torch.nn.grad

    return {
        "forward": lambda: torch.nn.functional.conv2d(x, w, stride=stride, padding=padding),
        "data": lambda: gradient.conv2d_input(x.shape, w, y, stride, padding),
        "weights": lambda: gradient.conv2d_weight(x, w.shape, y, stride, padding),
    }


def limit(target: Target) -> float:
    """Multiplications and additions per second that registers alone allow."""
    lanes, count, turns = target.lanes(4), 12, 20000
    args, begin, end = V("%args", "ptr"), V("%begin", "i64"), V("%end", "i64")
    b = Builder("limit", [args, begin, end])
    type_ = f"<{lanes} x float>"
    sums = [b.local(type_) for _ in range(count)]
    factor = b.load(args, type_, 4)
    for each in sums:
        b.store(b.real(1.0, type_), each, 4)
    with b.loop(begin, end):
        for each in sums:
            total = b.load(each, type_, 4)
            if target.has_fma:
                total = b.intrinsic("fma", factor, total, factor)
            else:
                total = b.binary("fadd", b.binary("fmul", factor, total), factor)
            b.store(total, each, 4)
    for n, each in enumerate(sums):
        b.store(b.load(each, type_, 4), b.at(args, 64 * (n + 1)), 4)
    (address,) = addresses_of("\n".join([*sorted(b.declared), b.function()]), "limit")
    function, memory = PART(address), np.zeros(1024, "f4")
    seconds = best(lambda: function(memory.ctypes.data, 0, turns))
    return 2.0 * lanes * count * turns / seconds


def best(call: Callable[[], Any], budget: float = 0.15) -> float:
    """Seconds of the fastest of many."""
    call()
    fastest, end = float("inf"), time.thread_time() + budget
    while time.thread_time() < end:
        start = time.thread_time()
        call()
        fastest = min(fastest, time.thread_time() - start)
    return fastest


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    target = host_target()
    top = limit(target)
    print(f"{target.cpu}: {top / 1e9:.0f} GFLOP/s on one core")
    rows = []
    for name, layer in LAYERS.items():
        if options.only not in name:
            continue
        others = torch_calls(layer)
        for kind, (contraction, arrays, flops) in problems(layer).items():
            start = time.thread_time()
            code = generate(contraction, target, f"conv{len(rows)}")
            printed = time.thread_time() - start
            call = Call(code, arrays)
            compiled = time.thread_time() - start
            times = {"all": call.all, "sums": call.sums}
            if kind in others:
                times["torch"] = others[kind]
            fastest = dict.fromkeys(times, float("inf"))
            for _ in range(4):
                for which, function in times.items():
                    fastest[which] = min(fastest[which], best(function))
            share = {which: flops / seconds / top for which, seconds in fastest.items()}
            rows.append({
                "layer": name, "kind": kind, "flops": flops, "limit": top, "seconds": fastest,
                "print_seconds": printed, "compile_seconds": compiled,
            })  # fmt: skip
            shares = "  ".join(f"{which} {value:5.0%}" for which, value in share.items())
            print(
                f"{name:32} {kind:8} {fastest['all'] * 1e3:8.3f} ms  {shares}  "
                f"printed {printed * 1e3:4.0f} ms, compiled {(compiled - printed) * 1e3:4.0f} ms",
                flush=True,
            )
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
