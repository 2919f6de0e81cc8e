"""Does the time to compile a recurrent net grow with its steps, as a scan and written out?

An LSTM over T steps with its gradient and a step of gradient descent: as `gn.scan`, as a loop in
Python, and as that loop with the pass `reroll` left out. Each in a process of its own, first with
an empty cache of native code, then with what that process left there. "compile" is `gn.compile`
and the first call.

    .venv/bin/python benchmarks/recurrence.py [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from written import write

import graphnn as gn
from graphnn.compiler.native.cache import CACHE_VARIABLE

STEPS = (10, 100, 1_000)
BATCH, INPUTS, HIDDEN = 16, 16, 32
FORMS = ("scan", "written out", "not rerolled")
MOST_UNROLLED = 100
"""Steps up to which programs that are not rerolled are measured."""


def training_step(steps: int, form: str) -> tuple[gn.Node, gn.Node, dict[Any, gn.Node]]:
    """The sequence, the loss and the updates of an LSTM."""
    rng = np.random.default_rng(0)
    w, u = (
        gn.parameter(rng.normal(size=(size, 4 * HIDDEN)) / 10, dtype="float32")
        for size in (INPUTS, HIDDEN)
    )
    x = gn.input("x", shape=(steps, BATCH, INPUTS))

    def cell(carry: Any, x: Any) -> Any:
        h, c = carry
        i, f, o, g = gn.split(x @ w + h @ u, 4, axis=-1)
        c = gn.sigmoid(f) * c + gn.sigmoid(i) * gn.tanh(g)
        h = gn.sigmoid(o) * gn.tanh(c)
        return (h, c), h

    zeros = gn.zeros((BATCH, HIDDEN))
    if form == "scan":
        _, states = gn.scan(cell, (zeros, zeros), x)
    else:
        carry, kept = (zeros, zeros), []
        for step in range(steps):
            carry, state = cell(carry, x[step])
            kept.append(state)
        states = gn.stack(kept)
    loss = gn.mean(gn.square(states))
    gradients = gn.grad(loss, [w, u])
    return x, loss, {p: p - 0.1 * g for p, g in zip((w, u), gradients, strict=True)}


def measure(form: str, steps: int, results: Any) -> None:
    """CPU seconds to build, to compile, and of a call."""
    fed = np.random.default_rng(1).normal(size=(steps, BATCH, INPUTS)).astype(np.float32)
    start = time.process_time()
    x, loss, updates = training_step(steps, form)
    built = time.process_time()
    skip = "reroll" if form == "not rerolled" else ()
    program = gn.compile(x, loss, updates, skip=skip)
    program(fed)
    compiled = time.process_time()
    passes = {each.name: each.milliseconds / 1e3 for each in program.report.passes}
    calls = []
    for _ in range(max(5, 2_000 // steps)):
        begun = time.process_time()
        program(fed)
        calls.append(time.process_time() - begun)
    results.put(
        {
            "build": built - start,
            "compile": compiled - built,
            "reroll": passes.get("reroll", 0.0),
            "call": min(calls),
            "instructions": len(program.instructions),
        }
    )


def in_a_process(form: str, steps: int, cache: str) -> dict[str, Any]:
    """`measure` in a fresh process, with native code kept in a folder."""
    os.environ[CACHE_VARIABLE] = cache
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=measure, args=(form, steps, results))
    process.start()
    found: dict[str, Any] = results.get()
    process.join()
    return found


def row(form: str, steps: int, repeats: int) -> dict[str, Any]:
    """The least of several processes with an empty cache, each followed by one with a full one."""
    cold, warm = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(in_a_process(form, steps, cache))
            warm.append(in_a_process(form, steps, cache))
    return {
        "form": form,
        "steps": steps,
        "instructions": cold[0]["instructions"],
        "build": min(each["build"] for each in (*cold, *warm)),
        "compile_cold": min(each["compile"] for each in cold),
        "compile_warm": min(each["compile"] for each in warm),
        "reroll": min(each["reroll"] for each in (*cold, *warm)),
        "call": min(each["call"] for each in (*cold, *warm)),
    }


def cells(row: dict[str, Any]) -> dict[str, str]:
    """A row as it is shown."""
    seconds = {
        "build and differentiate s": "build",
        "compile, empty cache s": "compile_cold",
        "compile, full cache s": "compile_warm",
        "of that reroll s": "reroll",
    }
    return {
        "form": row["form"],
        "steps": f"{row['steps']:,}",
        "instructions": f"{row['instructions']:,}",
        **{shown: f"{row[key]:.2f}" for shown, key in seconds.items()},
        "call ms": f"{row['call'] * 1e3:.2f}",
    }


def main() -> None:
    """Measure, print a table, write JSON and Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rows = [
        row(form, steps, options.repeats)
        for form in FORMS
        for steps in STEPS
        if form != "not rerolled" or steps <= MOST_UNROLLED
    ]
    note = f"CPU seconds, the least of {options.repeats} processes."
    write(options.out, "recurrence", rows, [cells(each) for each in rows], note)


if __name__ == "__main__":
    main()
