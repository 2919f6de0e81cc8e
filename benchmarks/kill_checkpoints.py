"""Kill a training process at random moments, again and again, and see what is left of it.

A process trains a small network with dropout, batch normalisation, Adam, a schedule and shuffled
batches, and saves a checkpoint after every other step, so that many kills fall into saving. It is
killed (SIGKILL) some time after its first step, and begun anew, until it ends; then all that it
has must be, bit for bit, what an undisturbed process has. This is repeated until so many kills
have been made. Every other process has a loop of its own, with `gn.io.save` and `gn.io.load`; the
others are a `Trainer.fit(resume=...)` with validation, early stopping, a log and a `Checkpoint`,
of which the log and the best checkpoint have to be the same, too.

    python benchmarks/kill_checkpoints.py --kills 200 [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from written import write

import graphnn as gn

SAVE_EVERY = 2
READY = "ready"


def network(hidden: int = 256) -> gn.nn.Module:
    """With random numbers, and state that is not trained."""
    return gn.nn.Sequential(
        gn.nn.Dense(16, hidden),
        gn.nn.BatchNorm(hidden),
        gn.nn.Dropout(0.3),
        gn.nn.ReLU(),
        gn.nn.Dense(hidden, 4),
    )


def optimizer(steps: int) -> gn.optim.Adam:
    """With slots, and a rate that depends on the step."""
    return gn.optim.Adam(gn.optim.WarmUp(gn.optim.Cosine(0.02, steps), 5))


def batches(samples: int) -> gn.data.Batches:
    """Shuffled: five of 90 samples."""
    rng = np.random.default_rng(samples)
    inputs = rng.normal(size=(samples, 16)).astype(np.float32)
    labels = rng.integers(0, 4, samples)
    return gn.data.Batches(inputs, labels, batch_size=20, shuffle=True, seed=3)


class Run:
    """All that one training run consists of, made the same way every time."""

    def __init__(self, steps: int) -> None:
        gn.seed(1)
        x = gn.input("x", shape=("batch", 16))
        t = gn.input("t", shape=("batch",), dtype="int64")
        self.model = network()
        loss = gn.losses.cross_entropy(self.model(x), t)
        self.optimizer = optimizer(steps)
        self.average = gn.optim.Average(self.model.parameters(), 0.9)
        updates = self.average.track(self.optimizer.minimize(loss, self.model.parameters()))
        self.step = gn.compile([x, t], loss, updates={**updates, **self.model.state_updates()})
        self.batches = batches(90)
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
        return checksum(self.parts())


def checksum(parts: dict[str, Any], *texts: str) -> str:
    """Of all bits of some parts, and of texts."""
    digest = hashlib.sha256("".join(texts).encode())
    for name, part in parts.items():
        for key, value in part.state_dict().items():
            content = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
            digest.update(f"{name} {key} ".encode() + content)
    return digest.hexdigest()


def train(folder: Path, steps: int, *, save: bool = True) -> str:
    """Train to the end in a loop, going on from the checkpoint if there is one."""
    path = folder / "run.ckpt"
    run = Run(steps)
    if path.exists():
        gn.io.load(path, **run.parts())
    for made in run.train():
        if save and made % SAVE_EVERY == 0:
            gn.io.save(path, **run.parts())
        if save:
            print(READY, flush=True)  # after the first step, which compiles
    return run.digest()


class Ready(gn.train.Callback):
    """Says that a step was made."""

    def on_step_end(self, batch: Any, measured: Any) -> None:
        """Say so."""
        print(READY, flush=True)


def fit(folder: Path, steps: int, *, save: bool = True) -> str:
    """Train to the end with a trainer, going on from the folder's checkpoint if there is one."""
    gn.seed(1)
    model, rates, data = network(), optimizer(steps), batches(90)
    trainer = gn.train.Trainer(
        model, gn.losses.cross_entropy, rates, metrics={"accuracy": gn.metrics.accuracy}
    )
    log = gn.train.CSVLogger(folder / "log.csv")
    stopping = gn.train.EarlyStopping(model, patience=steps)
    callbacks: list[gn.train.Callback] = [stopping, log]
    if save:
        checkpoint = gn.train.Checkpoint(folder, every_steps=SAVE_EVERY, monitor="val_loss")
        callbacks += [checkpoint, Ready()]
    trainer.fit(
        data,
        epochs=steps // len(data),
        validation=batches(30),
        callbacks=callbacks,
        resume=folder,
        verbose=0,
    )
    parts = {"model": model, "optimizer": rates, "batches": data, "random": gn.random}
    parts |= {"history": trainer.history, "stopping": stopping}
    found = checksum(parts, log.path.read_text(encoding="utf-8"))
    if save:
        gn.io.load(checkpoint.best, model=model)  # is what early stopping has brought back
        if checksum(parts, log.path.read_text(encoding="utf-8")) != found:
            return "another best checkpoint"
    return found


WAYS = {"trainer": fit, "loop": train}


def killed(way: str, path: Path, steps: int, seconds: float | None) -> str | None:
    """Train in a process that is killed so long after its first step; what it says if it ends.

    With None it is left alone.
    """
    command = [sys.executable, __file__, "--way", way, "--child", str(path)]
    command += ["--steps", str(steps)]
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


def torture(
    folder: Path,
    kills: int,
    steps: int,
    seed: int,
    most_seconds: float,
    ways: Sequence[str] = tuple(WAYS),
) -> dict[str, int]:
    """Kill and resume; what was counted. Fails if a run ends in other bits than it should.

    Runs take turns in the ways of training. After the last kill the run under way is left alone,
    to its end.
    """
    expected = {}
    for way in ways:
        (folder / f"undisturbed {way}").mkdir()
        expected[way] = WAYS[way](folder / f"undisturbed {way}", steps, save=False)
    rng = random.Random(seed)
    counted = {"kills": 0, "runs": 0, "kills while saving": 0, "kills of trainers": 0}
    while counted["kills"] < kills:
        way = ways[counted["runs"] % len(ways)]
        path = folder / f"run{counted['runs']}"
        path.mkdir()
        said = None
        while said is None:
            partial = len(list(path.glob(".*.partial")))
            seconds = rng.uniform(0.0, most_seconds) if counted["kills"] < kills else None
            said = killed(way, path, steps, seconds)
            counted["kills"] += said is None
            counted["kills of trainers"] += said is None and way == "trainer"
            counted["kills while saving"] += len(list(path.glob(".*.partial"))) > partial
            print(f"\r{counted}", end="", file=sys.stderr, flush=True)
        if said != expected[way]:
            raise AssertionError(
                f"run {counted['runs']} ({way}) ended with {said}, not with {expected[way]}"
            )
        counted["runs"] += 1
    return counted


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most-seconds", type=float, default=0.4, help="until a kill")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.child is not None:
        print(WAYS[chosen.way](chosen.child, chosen.steps))
        return
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counted = torture(
            Path(folder), chosen.kills, chosen.steps, chosen.seed, chosen.most_seconds
        )
    print(file=sys.stderr)
    seconds = time.perf_counter() - started
    row = {**counted, "runs that ended in other bits": 0, "seconds": round(seconds)}
    note = (
        f"Runs of {chosen.steps} steps, killed up to {chosen.most_seconds} s after their first "
        "step and begun anew until they end; one that ends in other bits than an undisturbed one "
        "ends the command with an error."
    )
    cells = {what: str(value) for what, value in row.items()}
    write(chosen.out, "kill_checkpoints", [row], [cells], note)


if __name__ == "__main__":
    main()
