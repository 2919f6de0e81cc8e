"""How building, differentiating, compiling, running, printing and drawing grow with the graph.

A chain of n tanh and its gradient, for n from 1,000 to 100,000. Every stage, and every pass of
the pipeline, should take time proportional to n: the table gives microseconds per tanh and the
exponent of the best power law (1 is linear).

    .venv/bin/python benchmarks/scaling.py [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import graphnn as gn

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
LINEAR = 1.15
"""Exponents up to here count as linear: caches grow cold and the garbage collector looks on."""


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result of one call."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def chain(x: gn.Node, length: int) -> gn.Node:
    """tanh applied ``length`` times."""
    for _ in range(length):
        x = gn.tanh(x)
    return x


def measure(length: int) -> dict[str, float]:
    """Seconds of every stage for a chain of one length."""
    x = gn.input("x", shape=(8,))
    seconds: dict[str, float] = {}
    seconds["build"], y = timed(lambda: chain(x, length))
    loss = gn.sum(y)
    seconds["differentiate"], gradient = timed(lambda: gn.grad(loss, x))
    seconds["compile"], program = timed(lambda: gn.compile(x, [loss, gradient]))
    for record in program.report.passes:
        seconds[f"pass: {record.name}"] = record.milliseconds / 1e3
    fed = np.linspace(-1, 1, 8, dtype=np.float32)
    seconds["run"], _ = timed(lambda: program(fed))
    seconds["print"], _ = timed(lambda: str(program.graph))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain.svg"
        seconds["draw"], _ = timed(lambda: gn.render(program.graph, path))
    return seconds


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Slope of log(time) over log(size), by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(seconds, 1e-6)), 1)[0])


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "graphnn": gn.__version__,
    }


def plot(path: Path, sizes: list[int], stages: dict[str, list[float]]) -> None:
    """Time over size on double logarithmic axes, beside a line of slope one."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "graphnn"
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    for name, seconds in stages.items():
        axes = right if name.startswith("pass: ") else left
        axes.loglog(sizes, seconds, marker="o", label=name.removeprefix("pass: "))
    for axes, title in ((left, "stages"), (right, "passes of the compiler")):
        ideal = [size * 1e-4 for size in sizes]
        axes.loglog(sizes, ideal, color="0.6", linestyle="--", label="linear")
        axes.set(title=title, xlabel="tanh in the chain")
        axes.grid(True, which="major", alpha=0.3)
        axes.legend(fontsize=8)
    left.set(ylabel="seconds", ylim=(1e-4, 1e2))  # below that a pass had nothing to do
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, print a table, write JSON and a plot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    options = parser.parse_args()
    measure(options.sizes[0])  # imports and caches
    stages: dict[str, list[float]] = {}
    for size in options.sizes:
        runs = [measure(size) for _ in range(options.repeats if size <= 30_000 else 1)]
        for name in runs[0]:
            stages.setdefault(name, []).append(statistics.median(run[name] for run in runs))
        print(f"{size:>8,} measured", flush=True)
    table = {
        name: {
            "seconds": [round(each, 6) for each in seconds],
            "exponent": round(exponent(options.sizes, seconds), 3),
        }
        for name, seconds in stages.items()
    }
    print(f"{'stage':24} {'us per tanh at the largest':>28} {'exponent':>9}")
    for name, row in table.items():
        per = row["seconds"][-1] / options.sizes[-1] * 1e6
        note = "" if row["exponent"] <= LINEAR else "  <- not linear"
        print(f"{name:24} {per:28.2f} {row['exponent']:9.2f}{note}")
    options.out.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine(), "sizes": options.sizes, "stages": table}
    (options.out / "scaling.json").write_text(json.dumps(result, indent=1) + "\n")
    plot(options.out / "scaling.svg", options.sizes, stages)


if __name__ == "__main__":
    main()
