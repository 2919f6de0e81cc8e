"""Kill a training process at random moments, again and again, and see what is left of it.

A process trains a small network with dropout, batch normalisation, Adam, a schedule and shuffled
batches, and saves a checkpoint after every other step, so that many kills fall into saving. It is
killed (SIGKILL) some time after its first step, and begun anew, until it ends; then all that it
has must be, bit for bit, what an undisturbed process has. This is repeated until so many kills
have been made.

    python -P benchmarks/kill_checkpoints.py --kills 200
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import graphnn as gn

SAVE_EVERY = 2
READY = "ready"


class Run:
    """All that one training run consists of, made the same way every time."""

    def __init__(self, steps: int, hidden: int = 256) -> None:
        gn.seed(1)
        rng = np.random.default_rng(0)
        inputs = rng.normal(size=(90, 16)).astype(np.float32)
        labels = rng.integers(0, 4, 90)
        x = gn.input("x", shape=("batch", 16))
        t = gn.input("t", shape=("batch",), dtype="int64")
        self.model = gn.nn.Sequential(
            gn.nn.Dense(16, hidden),
            gn.nn.BatchNorm(hidden),
            gn.nn.Dropout(0.3),
            gn.nn.ReLU(),
            gn.nn.Dense(hidden, 4),
        )
        loss = gn.losses.cross_entropy(self.model(x), t)
        schedule = gn.optim.WarmUp(gn.optim.Cosine(0.02, steps), 5)
        self.optimizer = gn.optim.Adam(schedule)
        self.average = gn.optim.Average(self.model.parameters(), 0.9)
        updates = self.average.track(self.optimizer.minimize(loss, self.model.parameters()))
        self.step = gn.compile([x, t], loss, updates={**updates, **self.model.state_updates()})
        self.batches = gn.data.Batches(inputs, labels, batch_size=20, shuffle=True, seed=3)
        self.history = gn.train.History()
        self.steps = steps

    def parts(self) -> dict[str, Any]:
        """What a checkpoint has to hold."""
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "average": self.average,
            "batches": self.batches,
            "history": self.history,
            "random": gn.random,
        }

    def train(self) -> Iterator[int]:
        """Train to the end, and tell the number of every step that is made."""
        made = len(self.history.metrics.get("loss", []))
        while made < self.steps:
            for batch in self.batches:
                self.history.record({"loss": float(self.step(*batch))})
                made += 1
                yield made
                if made == self.steps:
                    return

    def digest(self) -> str:
        """A checksum of all bits that a run ends with."""
        digest = hashlib.sha256()
        for name, part in self.parts().items():
            for key, value in part.state_dict().items():
                content = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
                digest.update(f"{name} {key} ".encode() + content)
        return digest.hexdigest()


def train(path: Path, steps: int, *, save: bool = True) -> str:
    """Train to the end, going on from the checkpoint if there is one."""
    run = Run(steps)
    if path.exists():
        gn.io.load(path, **run.parts())
    for made in run.train():
        if save and made % SAVE_EVERY == 0:
            gn.io.save(path, **run.parts())
        if save:
            print(READY, flush=True)  # after the first step, which compiles
    return run.digest()


def killed(path: Path, steps: int, seconds: float | None) -> str | None:
    """Train in a process that is killed so long after its first step; what it says if it ends.

    With None it is left alone.
    """
    command = [sys.executable, "-P", __file__, "--child", str(path), "--steps", str(steps)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() != READY:
                return line.strip()
            break
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return None
    if process.returncode != 0:
        raise RuntimeError(f"the training process failed with {process.returncode}")
    return said.splitlines()[-1]


def torture(folder: Path, kills: int, steps: int, seed: int, most_seconds: float) -> dict[str, int]:
    """Kill and resume; what was counted. Fails if a run ends in other bits than it should.

    After the last kill the run under way is left alone, to its end.
    """
    expected = train(folder / "undisturbed.ckpt", steps, save=False)
    rng = random.Random(seed)
    counted = {"kills": 0, "runs": 0, "kills while saving": 0}
    while counted["kills"] < kills:
        path = folder / f"run{counted['runs']}.ckpt"
        said = None
        while said is None:
            partial = len(list(folder.glob(".*.partial")))
            seconds = rng.uniform(0.0, most_seconds) if counted["kills"] < kills else None
            said = killed(path, steps, seconds)
            counted["kills"] += said is None
            counted["kills while saving"] += len(list(folder.glob(".*.partial"))) > partial
            print(f"\r{counted}", end="", file=sys.stderr, flush=True)
        if said != expected:
            raise AssertionError(f"run {counted['runs']} ended with {said}, not with {expected}")
        counted["runs"] += 1
    return counted


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most-seconds", type=float, default=0.4, help="until a kill")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.child is not None:
        print(train(chosen.child, chosen.steps))
        return
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counted = torture(
            Path(folder), chosen.kills, chosen.steps, chosen.seed, chosen.most_seconds
        )
    print(file=sys.stderr)
    words = ", ".join(f"{count} {what}" for what, count in counted.items())
    print(f"{words}: all ended bit for bit as undisturbed, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
