"""What the training loop costs beside the compiled steps that it calls.

Steps of several lengths: called in a bare loop over the same batches, by `gn.train.fit` without
and with callbacks, and by `Trainer.fit`, in mixed precision too; in alternation, medians of the
repeats. Besides, the least time that the processor has worked, which other processes disturb less;
with one thread alone, for threads that wait for each other work, too.

    .venv/bin/python benchmarks/training.py [--threads 1] [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from written import write

import graphnn as gn

BATCHES, REPEATS = 100, 7
SHAPES = ((32, 64, 32), (128, 512, 128), (256, 1024, 512))  # batch, inputs, hidden


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--threads", type=int, default=gn.get_num_threads())
    options = parser.parse_args()
    gn.set_num_threads(options.threads)
    rows = [row for shape in SHAPES for row in measured(*shape)]
    cells = [
        {
            "step": each["step"],
            "loop": each["loop"],
            "us a step": f"{each['us']:.1f}",
            "over the bare loop": f"{each['us'] / each['bare_us'] - 1:+.1%}",
            "CPU us a step": f"{each['cpu_us']:.1f}",
            "CPU over the bare loop": f"{each['cpu_us'] / each['bare_cpu_us'] - 1:+.1%}",
        }
        for each in rows
    ]
    note = (
        f"Medians of {REPEATS} runs of {BATCHES} steps, in alternation, and the least CPU time of "
        f"them; threads: {options.threads}."
    )
    write(options.out, "training", rows, cells, note)


def measured(batch: int, inputs: int, hidden: int) -> list[dict[str, Any]]:
    """The rows of one network."""
    loops = loops_of(batch, inputs, hidden)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
    for loop in loops.values():
        loop()
    for _ in range(REPEATS):
        for name, loop in loops.items():
            wall, cpu = time.perf_counter(), time.process_time()
            loop()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    us = {
        name: [
            statistics.median(wall for wall, _ in times) / BATCHES * 1e6,
            min(cpu for _, cpu in times) / BATCHES * 1e6,
        ]
        for name, times in seconds.items()
    }
    step = f"MLP {inputs}-{hidden}-10, batch {batch}"
    bare = us["bare loop"]
    return [
        {"step": step, "loop": name, "us": wall, "cpu_us": cpu}
        | {"bare_us": bare[0], "bare_cpu_us": bare[1]}
        for name, (wall, cpu) in us.items()
    ]


def loops_of(batch: int, inputs: int, hidden: int) -> dict[str, Callable[[], Any]]:
    """Ways to go once through the same batches."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(batch * BATCHES, inputs)).astype("float32")
    labels = rng.integers(0, 10, batch * BATCHES)
    batches = gn.data.Batches(features, labels, batch_size=batch)

    def model() -> gn.nn.Module:
        gn.seed(0)
        layers = gn.nn.Dense(inputs, hidden), gn.nn.Tanh(), gn.nn.Dense(hidden, 10)
        return gn.nn.Sequential(*layers)

    own = model()
    x = gn.input("x", shape=("batch", inputs))
    t = gn.input("t", shape=("batch",), dtype="int64")
    loss = gn.losses.cross_entropy(own(x), t)
    step = gn.compile([x, t], loss, gn.optim.SGD(0.01).minimize(loss, own.parameters()))
    trainers = {
        precision: gn.train.Trainer(
            model(), gn.losses.cross_entropy, gn.optim.SGD(0.01), precision=precision
        )
        for precision in ("float32", "bfloat16", "float16")
    }
    log = gn.train.CSVLogger(Path(tempfile.mkdtemp()) / "log.csv")
    callbacks = [gn.train.Timing(), log]

    def bare() -> None:
        for each in batches:
            float(step(*each))

    return {
        "bare loop": bare,
        "gn.train.fit": lambda: gn.train.fit(step, batches, verbose=0),
        "with timing and a log": lambda: gn.train.fit(
            step, batches, callbacks=callbacks, verbose=0
        ),
        "Trainer.fit": lambda: trainers["float32"].fit(batches, verbose=0),
        "Trainer.fit, bfloat16": lambda: trainers["bfloat16"].fit(batches, verbose=0),
        "Trainer.fit, float16": lambda: trainers["float16"].fit(batches, verbose=0),
    }


if __name__ == "__main__":
    main()
