"""graphnn side by side with PyTorch, JAX, PyTensor and autograd: time, start and peak memory.

Every library runs the same mathematics from the same initial values in float32. Its loss and
gradients are compared with PyTorch's in float64 before anything is timed. Then all take turns, each
in a process of its own (see `harness.py`).

    .venv/bin/python benchmarks/peers.py                     # everything, with 1 and 2 threads
    .venv/bin/python benchmarks/peers.py --quick             # does it work? 2 runs of each
    .venv/bin/python benchmarks/peers.py --only 'mlp*' lenet --threads 1
    .venv/bin/python benchmarks/peers.py --list

A library may be installed elsewhere: ``--interpreter pytensor=other/bin/python``.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from cases import Case, all_cases
from harness import (
    Plan,
    Stopwatch,
    Worker,
    WorkerError,
    alternate,
    largest_error,
    step_slack,
    summary,
)
from libraries import LIBRARIES
from limits import copy_bandwidth, multiply_add_peak
from report import plot, ratios, table, time_text
from scaling import machine

RESULTS = Path(__file__).parent / "results"

SWEEPS = ("chain-", "gemm-", "conv-", "compile-", "memory-")
"""How names of rows begin that differ only in size."""

QUICK = Plan(rounds=2, turn_seconds=0.0, most_runs=1)


@dataclass(frozen=True)
class Settings:
    """What holds for all rows of one table."""

    plan: Plan
    threads: int
    tiny: bool
    libraries: tuple[str, ...]
    interpreters: Mapping[str, str]

    def worker(self, case: Case, library: str, cache: Path, precision: str = "float32") -> Worker:
        arguments = [case.name, library, "--threads", str(self.threads), "--cache", str(cache)]
        arguments += ["--precision", precision] + ["--tiny"] * self.tiny
        return Worker(arguments, self.interpreters.get(library, sys.executable))


def reference(case: Case, settings: Settings, folder: Path) -> dict[str, np.ndarray]:
    """Results of PyTorch in float64."""
    path = folder / "reference.npz"
    with settings.worker(case, "torch", folder, "float64") as worker:
        worker.answer(settings.plan.limit_seconds)
        worker.ask(settings.plan.limit_seconds, do="save", path=str(path))
    return dict(np.load(path))


def checked_error(
    case: Case, worker: Worker, expected: Mapping[str, np.ndarray], path: Path, limit: float
) -> float:
    """How far a worker's results are off; raises if too far."""
    worker.ask(limit, do="save", path=str(path))
    slack = step_slack(case.arrays()[0], case.learning_rate) if case.mode == "step" else None
    try:
        error = largest_error(dict(np.load(path)), expected, slack)
    except ValueError as problem:
        raise WorkerError(f"wrong result: {problem}") from None
    if error > case.tolerance:
        raise WorkerError(f"wrong result: off by {error:.1e}, relative to the largest element")
    return error


def measure(case: Case, settings: Settings, watch: Stopwatch) -> dict[str, Any]:
    """One row: what every library needs for the case."""
    plan = settings.plan
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        expected = reference(case, settings, folder)
        workers: dict[str, Worker] = {}
        for library in settings.libraries:
            if LIBRARIES[library].functions not in case.functions:
                continue
            entry: dict[str, Any] = {}
            found[library] = entry
            cache = folder / library
            try:
                if "start" in case.measures:
                    with settings.worker(case, library, cache) as first:
                        answer = first.answer(plan.limit_seconds)
                    entry["cold_seconds"] = answer["start_seconds"]
                worker = stack.enter_context(settings.worker(case, library, cache))
                answer = worker.answer(plan.limit_seconds)
                entry["version"] = answer["version"]
                entry["import_seconds"] = answer["import_seconds"]
                is_warm = "start" in case.measures
                entry["warm_seconds" if is_warm else "cold_seconds"] = answer["start_seconds"]
                path = folder / f"{library}.npz"
                entry["error"] = checked_error(case, worker, expected, path, plan.limit_seconds)
                if "memory" in case.measures:
                    entry |= worker.ask(plan.limit_seconds, do="memory")
                worker.stop()
                workers[library] = worker
            except WorkerError as error:
                entry["failure"] = str(error)
            watch.say(f"{case.name}: {library} {entry.get('failure', 'ready')}")
        durations, failures = alternate(workers, plan, random.Random(0))
    for library, each in durations.items():
        found[library] |= asdict(summary(each))
    for library, text in failures.items():
        found[library]["failure"] = text
    return {
        "name": case.name,
        "title": case.title,
        "mode": case.mode,
        "measures": sorted(case.measures),
        "flops": case.flops,
        "nbytes": case.nbytes,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "libraries": found,
    }


def limited(row: dict[str, Any], limits: Mapping[str, float]) -> dict[str, Any]:
    """The row with the least time that the machine allows; 0 where neither limit binds."""
    seconds = max(row["flops"] / limits["flops"], row["nbytes"] / limits["bandwidth"])
    return {**row, "limit_seconds": seconds}


def is_installed(library: str, interpreters: Mapping[str, str]) -> bool:
    """Whether the interpreter that runs a library can find it."""
    module = LIBRARIES[library].module
    if library not in interpreters:
        return importlib.util.find_spec(module) is not None
    script = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return subprocess.run([interpreters[library], "-c", script], check=False).returncode == 0


def compare(
    cases: Sequence[Case], settings: Settings, kept: Sequence[Mapping[str, Any]], out: Path | None
) -> None:
    """Measure all cases with one number of threads; write after each row, print at the end."""
    watch = Stopwatch()
    threads = settings.threads
    limits = {"flops": multiply_add_peak(threads), "bandwidth": copy_bandwidth(threads)}
    watch.say(f"{threads} thread(s): {limits['flops'] / 1e9:.0f} GFLOP/s, {limits}")
    rows = {row["name"]: dict(row) for row in kept}
    result: dict[str, Any] = {}
    for case in cases:
        if case.name not in rows:
            try:
                rows[case.name] = limited(measure(case, settings, watch), limits)
            except WorkerError as error:
                watch.say(f"{case.name}: no reference: {error}")
                continue
        row = rows[case.name]
        best, limit = ratios(row)
        watch.say(
            f"{row['title']}: "
            + ", ".join(
                f"{name} {time_text(each['median']) if 'median' in each else 'not run'}"
                for name, each in row["libraries"].items()
            )
            + (f"; {best:.2f} of the best peer" if best else "")
            + (f"; {limit:.2f} of the limit" if limit else "")
        )
        result = {
            "machine": machine(),
            "load": os.getloadavg(),
            "threads": threads,
            "date": datetime.now(UTC).date().isoformat(),
            "versions": versions(rows.values()),
            "limits": limits,
            "plan": asdict(settings.plan),
            "titles": {name: LIBRARIES[name].title for name in settings.libraries},
            "rows": list(rows.values()),
        }
        if out is not None:
            write(out, result)
    if result:
        print(table(result))


def versions(rows: Any) -> dict[str, str]:
    """Of all libraries that took part."""
    return {
        LIBRARIES[name].module: each["version"]
        for row in rows
        for name, each in row["libraries"].items()
        if "version" in each
    }


def write(out: Path, result: Mapping[str, Any]) -> None:
    """JSON, table and plots: one of models and one of sweeps, which have many rows."""
    out.mkdir(parents=True, exist_ok=True)
    name = f"peers-{result['threads']}threads"
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / f"{name}.md").write_text(table(result))
    for ending, is_sweep in (("", False), ("-sweeps", True)):
        rows = [row for row in result["rows"] if row["name"].startswith(SWEEPS) == is_sweep]
        if rows:
            plot(out / f"{name}{ending}.svg", result, rows)


def kept_rows(out: Path | None, threads: int) -> list[dict[str, Any]]:
    """Rows of an earlier run that is to be continued."""
    path = out / f"peers-{threads}threads.json" if out is not None else None
    if path is None or not path.exists():
        return []
    earlier = json.loads(path.read_text())
    if earlier["machine"] != machine():
        raise SystemExit(f"{path} was measured on another machine or with other versions")
    rows: list[dict[str, Any]] = earlier["rows"]
    return rows


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="of names")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument(
        "--quick", action="store_true", help="two runs of each, to see that it works"
    )
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--rounds", type=int, help="turns of every library")
    parser.add_argument("--seconds", type=float, help="length of a turn")
    parser.add_argument("--limit", type=float, help="seconds after which a start is given up")
    parser.add_argument("--interpreter", nargs="+", default=[], metavar="LIBRARY=PYTHON")
    parser.add_argument("--out", type=Path, help="default: results/, if nothing is left out")
    parser.add_argument("--resume", action="store_true", help="keep rows that --out has already")
    parser.add_argument("--list", action="store_true", help="list the cases")
    return parser.parse_args()


def main() -> None:
    """Measure what the command line asks for."""
    # Leave as after Ctrl-C: workers that are stopped would stay for ever.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    options = arguments()
    cases = [
        case
        for case in all_cases(tiny=options.tiny).values()
        if any(fnmatch.fnmatch(case.name, pattern) for pattern in options.only)
    ]
    if options.list:
        for case in cases:
            print(f"{case.name:22} {case.title} [{', '.join(case.functions)}]")
        return
    interpreters = dict(each.split("=", 1) for each in options.interpreter)
    libraries = tuple(name for name in options.libraries if is_installed(name, interpreters))
    for name in set(options.libraries) - set(libraries):
        print(f"{name} is not installed: left out", file=sys.stderr)
    given = {
        "rounds": options.rounds,
        "turn_seconds": options.seconds,
        "limit_seconds": options.limit,
    }
    plan = replace(
        QUICK if options.quick else Plan(),
        **{name: value for name, value in given.items() if value is not None},
    )
    is_full = options.only == ["*"] and not options.quick and not options.tiny
    out = options.out or (RESULTS if is_full else None)
    for threads in options.threads:
        settings = Settings(plan, threads, options.tiny, libraries, interpreters)
        kept = kept_rows(out, threads) if options.resume else []
        compare(cases, settings, kept, out)


if __name__ == "__main__":
    main()
