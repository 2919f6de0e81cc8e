"""How the memory of a gradient through time grows with the steps, with and without a budget.

An LSTM and a simple net with a loss of every step, over 100 to 10,000 steps: the arena that the
compiler predicts, and what one call really takes, measured as the growth of the resident memory of
a process of its own. Another program has run there before, so that libraries are loaded.

    .venv/bin/python benchmarks/recurrence_memory.py [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from written import write

import graphnn as gn

STEPS = (100, 1_000, 10_000)
BATCH, INPUTS, HIDDEN, TARGETS = 16, 16, 32, 16
PAGE = os.sysconf("SC_PAGE_SIZE")

BUDGETS = {"none": None, "twentieth": 0.05}
"""Parts of the arena that a program without a budget has."""


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def problem(net: str, steps: int) -> tuple[gn.Node, list[gn.Node]]:
    """The sequence, and the loss with its gradients."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> gn.Node:
        return gn.parameter(rng.normal(size=shape) / shape[0] ** 0.5, dtype="float32")

    gates = 4 if net == "lstm" else 1
    w, u = weight(INPUTS, gates * HIDDEN), weight(HIDDEN, gates * HIDDEN)
    v = weight(HIDDEN, TARGETS)
    x = gn.input("x", shape=(steps, BATCH, INPUTS))
    zeros = gn.zeros((BATCH, HIDDEN))

    def simple(h: Any, x: Any) -> Any:
        h = gn.tanh(x @ w + h @ u)
        return h, h

    def lstm(carry: Any, x: Any) -> Any:
        h, c = carry
        i, f, o, g = gn.split(x @ w + h @ u, 4, axis=1)
        c = gn.sigmoid(f) * c + gn.sigmoid(i) * gn.tanh(g)
        h = gn.sigmoid(o) * gn.tanh(c)
        return (h, c), h

    states = gn.scan(lstm, (zeros, zeros), x)[1] if gates == 4 else gn.scan(simple, zeros, x)[1]
    labels = gn.zeros((steps, BATCH), "int64")
    loss = gn.losses.cross_entropy(states @ v, labels)
    return x, [loss, *gn.grad(loss, [w, u, v])]


def measure(net: str, steps: int, budget: int | None, results: Any) -> None:
    """Compile, call, and say what it took."""
    warm, small = problem(net, 10)
    gn.compile(warm, small)(np.zeros(warm.shape, np.float32))
    x, outputs = problem(net, steps)
    fed = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    start = time.process_time()
    try:
        program = gn.compile(x, outputs, memory_budget=budget)
    except gn.ArgumentError:  # so few steps take little else
        results.put(None)
        return
    compiling = time.process_time() - start
    # What the compiler has freed would be taken first: back to the system with it.
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = resident()
    program(fed)
    taken = resident() - before
    seconds = []
    for _ in range(3):
        start = time.process_time()
        program(fed)
        seconds.append(time.process_time() - start)
    results.put(
        {
            "net": net,
            "steps": steps,
            "predicted": program.memory.predicted_peak,
            "measured": taken,
            "flops": program.flops,
            "extra_flops": program.memory.extra_flops,
            "compile_seconds": compiling,
            "call_seconds": min(seconds),
        }
    )


def in_a_process(*arguments: Any) -> dict[str, Any] | None:
    """`measure` in a fresh process; None if there is no such program."""
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=measure, args=(*arguments, results))
    process.start()
    found: dict[str, Any] | None = results.get()
    process.join()
    return found


def cells(row: dict[str, Any]) -> dict[str, str]:
    """A row as it is shown."""
    plain = row["flops"] - row["extra_flops"]
    return {
        "net": row["net"],
        "steps": f"{row['steps']:,}",
        "budget": row["budget"],
        "predicted KiB": f"{row['predicted'] / 1024:,.0f}",
        "measured KiB": f"{row['measured'] / 1024:,.0f}",
        "extra FLOPs": f"{row['extra_flops'] / plain:.0%}",
        "compile s": f"{row['compile_seconds']:.2f}",
        "call ms": f"{row['call_seconds'] * 1e3:.2f}",
    }


def main() -> None:
    """Measure, print a table, write JSON and Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for net in ("simple", "lstm"):
        for steps in STEPS:
            arena = 0
            for name, part in BUDGETS.items():
                budget = None if part is None else int(arena * part)
                row = in_a_process(net, steps, budget)
                if row is not None:
                    arena = arena or row["predicted"]
                    rows.append({**row, "budget": name})
    note = "Times are CPU seconds, the least of three calls, beside other work on the machine."
    write(options.out, "recurrence_memory", rows, [cells(each) for each in rows], note)


if __name__ == "__main__":
    main()
