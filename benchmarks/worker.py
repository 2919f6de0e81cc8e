"""A process that runs one case with one library, on command.

`harness.Worker` starts it and talks to it in lines of JSON: ``{"do": "run", "times": 5}`` gives
``{"seconds": [...]}``. What libraries print goes to standard error. Only the standard library is
imported before the processors and the cache folders are set.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def environment(threads: int, cache: Path) -> dict[str, str]:
    """Threads of all thread pools, and where each library keeps what it compiled."""
    pools = ("OMP", "OPENBLAS", "MKL", "NUMBA", "GRAPHNN")
    return {
        **{f"{pool}_NUM_THREADS": str(threads) for pool in pools},
        "GRAPHNN_CACHE_DIR": str(cache / "graphnn"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "torch"),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_PLATFORMS": "cpu",
        "PYTENSOR_FLAGS": f"base_compiledir={cache / 'pytensor'},floatX=float32",
        "NUMBA_CACHE_DIR": str(cache / "numba"),
    }


def resident(field: str) -> int:
    """Bytes of memory of this process: ``VmRSS`` now, or ``VmHWM`` at most; 0 where unknown."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    for line in status.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def forget_peak() -> None:
    """Let ``VmHWM`` start again from what is in memory now."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


class Session:
    """One case, prepared; its methods answer the commands."""

    def __init__(self, case_name: str, library_name: str, precision: str, tiny: bool) -> None:
        start = time.perf_counter()
        import numpy as np
        from cases import all_cases
        from libraries import LIBRARIES

        library = LIBRARIES[library_name]
        __import__(library.module)
        self.import_seconds = time.perf_counter() - start
        self.np = np
        self.case = all_cases(tiny=tiny)[case_name]
        self.library = library
        parameters, data = (
            {
                name: each.astype(precision) if each.dtype.kind == "f" else each
                for name, each in group.items()
            }
            for group in self.case.arrays()
        )
        self.parameters, self.data = parameters, data
        self.resident_before = resident("VmRSS")

    def prepare(self, threads: int) -> dict[str, Any]:
        """Build, compile and run for the first time."""
        self.library.set_threads(threads)
        start = time.perf_counter()
        prepared = self.library.prepare(self.case, self.parameters, self.data)
        value = prepared.run()
        seconds = time.perf_counter() - start
        self.step = prepared.run
        self.planned_bytes = prepared.planned_bytes
        self.results = prepared.arrays(value)
        return {
            "version": self.library.version(),
            "import_seconds": self.import_seconds,
            "start_seconds": seconds,
        }

    def run(self, seconds: float, most: int) -> dict[str, Any]:
        """Durations of single runs, for about so many seconds; one more before is not timed."""
        clock, step = time.perf_counter, self.step
        step()
        durations: list[float] = []
        end = clock() + seconds
        while len(durations) < most:
            start = clock()
            step()
            stop = clock()
            durations.append(stop - start)
            if stop > end:
                break
        return {"seconds": durations}

    def save(self, path: str) -> dict[str, Any]:
        """Write the results of the first run."""
        self.np.savez(path, **self.results)
        return {}

    def memory(self) -> dict[str, Any]:
        """Peak of a run, beyond what was there before the case was prepared."""
        forget_peak()
        self.step()
        peak = resident("VmHWM") - self.resident_before
        return {"peak_bytes": peak, "planned_bytes": self.planned_bytes}


def main() -> None:
    """Prepare, then answer until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("case")
    parser.add_argument("library")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--precision", choices=("float32", "float64"), default="float32")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    os.environ |= environment(options.threads, options.cache)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    session = Session(options.case, options.library, options.precision, options.tiny)
    print(json.dumps(session.prepare(options.threads)), file=answers)
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(session, command.pop("do"))(**command)
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
