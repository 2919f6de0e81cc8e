"""Libraries take turns: one process for each, all but one of them stopped.

A library's thread pool may spin for a while after a run. So a worker that is not at its turn is
stopped by a signal, and every turn begins with a run that is not timed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

__all__ = ["Plan", "Timing", "Worker", "WorkerError", "alternate", "largest_error", "summary"]

HERE = Path(__file__).parent
EPSILON = float(np.finfo(np.float32).eps)


class WorkerError(Exception):
    """A worker ended or took too long; the message is for the table."""


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Attributes
    ----------
    rounds : int
        How often every library has its turn.
    turn_seconds : float
        How long a turn is, at least one run.
    most_runs : int
        In a turn.
    limit_seconds : float
        For importing, compiling and running for the first time.
    """

    rounds: int = 15
    turn_seconds: float = 0.15
    most_runs: int = 2_000
    limit_seconds: float = 300.0


class Worker:
    """A process with one library and one case; a context manager.

    Parameters
    ----------
    arguments : sequence of str
        Of `worker.py`.
    python : str
        The interpreter that has the library.
    """

    def __init__(self, arguments: Sequence[str], python: str = sys.executable) -> None:
        self._command = [python, str(HERE / "worker.py"), *arguments]

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            self._errors = opened.enter_context(tempfile.TemporaryFile("w+"))
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,  # torch.compile has processes of its own: stop them too
            )
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # what it did not read any more
                    stream.close()
        self._opened.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """It and its threads stand still until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def ask(self, limit_seconds: float, **command: Any) -> dict[str, Any]:
        """Send a command and wait for the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        return self.answer(limit_seconds)

    def answer(self, limit_seconds: float) -> dict[str, Any]:
        """The next answer; the first comes by itself when the case is prepared."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], limit_seconds)
        if not ready:
            raise WorkerError(f"not run: took more than {limit_seconds:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        """The last line that the worker wrote, usually an exception."""
        self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit status {self._process.returncode}"
        return f"failed: {reason[:200]}"


def alternate(
    workers: Mapping[str, Worker], plan: Plan, rng: random.Random
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Durations of single runs in seconds by library, and failures.

    All workers must be stopped, and are stopped again afterwards. The order changes every round.
    """
    durations: dict[str, list[float]] = {name: [] for name in workers}
    failures: dict[str, str] = {}
    for _ in range(plan.rounds):
        order = [name for name in workers if name not in failures]
        rng.shuffle(order)
        for name in order:
            worker = workers[name]
            worker.resume()
            try:
                answer = worker.ask(
                    plan.limit_seconds, do="run", seconds=plan.turn_seconds, most=plan.most_runs
                )
                durations[name] += answer["seconds"]
            except WorkerError as error:
                failures[name] = str(error)
            worker.stop()
    return {name: each for name, each in durations.items() if name not in failures}, failures


@dataclass(frozen=True)
class Timing:
    """Median, quartiles and number of runs, in seconds."""

    median: float
    lower: float
    upper: float
    runs: int


def summary(durations: Iterable[float]) -> Timing:
    """Median and quartiles of all runs."""
    listed = sorted(durations)
    if len(listed) == 1:
        return Timing(listed[0], listed[0], listed[0], 1)
    lower, median, upper = statistics.quantiles(listed, n=4, method="inclusive")
    return Timing(median, lower, upper, len(listed))


def largest_error(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    slack: Mapping[str, float] | None = None,
) -> float:
    """The largest error over all results, each relative to its largest element.

    Parameters
    ----------
    found, expected : mapping of str to array
    slack : mapping of str to float, optional
        Errors that the way of measuring makes, which are forgiven.

    Raises
    ------
    ValueError
        If names or shapes differ, or something is not finite.
    """
    if found.keys() != expected.keys():
        raise ValueError(f"results {sorted(found)} instead of {sorted(expected)}")
    largest = 0.0
    for name, right in expected.items():
        if found[name].shape != right.shape:
            raise ValueError(f"{name}: shape {found[name].shape} instead of {right.shape}")
        if not np.isfinite(found[name]).all():
            raise ValueError(f"{name}: not finite")
        error = float(np.max(np.abs(found[name].astype(np.float64) - right)))
        error = max(0.0, error - (slack or {}).get(name, 0.0))
        largest = max(largest, error / max(float(np.max(np.abs(right))), EPSILON))
    return largest


def step_slack(parameters: Mapping[str, np.ndarray], learning_rate: float) -> dict[str, float]:
    """How exactly a gradient can be told from parameters in float32 before and after a step."""
    return {
        f"gradient of {name}": EPSILON * float(np.max(np.abs(each))) / learning_rate
        for name, each in parameters.items()
    }


@dataclass
class Stopwatch:
    """Says on standard error what takes long."""

    start: float = field(default_factory=time.perf_counter)

    def say(self, text: str) -> None:
        print(f"[{time.perf_counter() - self.start:7.1f} s] {text}", file=sys.stderr, flush=True)
