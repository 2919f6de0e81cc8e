"""The folder of a training run: what ``graphnn train`` writes and ``graphnn predict`` reads.

``run.json`` comes first and tells all that the run depends on; everything else follows from it and
from the data. Every file is replaced whole, so that a process that is killed leaves a folder from
which the run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from graphnn.cli.networks import NETWORKS
from graphnn.cli.preparation import Preparation
from graphnn.cli.sample_files import Source
from graphnn.core.errors import ArgumentError
from graphnn.io.environment import environment
from graphnn.io.files import write
from graphnn.io.weights import load_weights, save_weights
from graphnn.nn.module import Module

__all__ = ["RunFolder", "Settings", "chosen_folder"]

FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """All that a training run depends on; ``run.json`` holds it.

    Attributes
    ----------
    network : str
    options : dict
        Of the network, all of them.
    input_shape : tuple of int
        Of one sample as the network reads it; of sequences, the time may differ.
    classes, values : tuple of str
        What is predicted: one of these classes, or these values.
    data : dict
        Fields of the `Source`, with absolute paths.
    columns : tuple of dict
        Of a table.
    samples, held_out : int
        To learn from, and to test on after every epoch.
    checksum : str
        Of the data.
    validation : float
        The share that was held out.
    epochs : int
        To reach.
    batch_size : int
    optimizer : str
    learning_rate : float
    seed : int
    backend : str
    schedule : str
        How the learning rate goes from step to step.
    patience : int, optional
        Epochs without improvement after which training ends.
    """

    network: str
    options: dict[str, Any]
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    values: tuple[str, ...]
    data: dict[str, Any]
    columns: tuple[Mapping[str, Any], ...]
    samples: int
    held_out: int
    checksum: str
    validation: float
    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    seed: int
    backend: str
    schedule: str = "constant"
    patience: int | None = None

    @property
    def source(self) -> Source:
        """Where the data come from."""
        return Source(**{name: _frozen(value) for name, value in self.data.items()})

    @property
    def monitor(self) -> str:
        """What tells which epoch was the best."""
        return "val_accuracy" if self.classes else "val_loss"

    def built(self) -> Module:
        """The network, with the initial weights that the default stream gives."""
        outputs = len(self.classes or self.values)
        return NETWORKS[self.network].build(self.input_shape, outputs, self.options)


@dataclass(frozen=True)
class RunFolder:
    """Names of the files in the folder, and how they are written and read."""

    path: Path

    @property
    def run_file(self) -> Path:
        """What the run depends on, for people and programs."""
        return self.path / "run.json"

    @property
    def scale_file(self) -> Path:
        """Means and deviations of the training part."""
        return self.path / "scale.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder of ``last.ckpt`` and ``best.ckpt``."""
        return self.path / "checkpoints"

    @property
    def history_file(self) -> Path:
        """Measures of every epoch."""
        return self.path / "history.csv"

    @property
    def epochs(self) -> int:
        """How many were made: rows of the history, below its header."""
        if not self.history_file.is_file():
            return 0
        return max(0, len(self.history_file.read_text(encoding="utf-8").splitlines()) - 1)

    @property
    def plot_file(self) -> Path:
        """The same as a picture."""
        return self.path / "history.png"

    @property
    def summary_file(self) -> Path:
        """The network, layer by layer, and what was reached."""
        return self.path / "summary.txt"

    def require_free(self) -> None:
        """Check that nothing is in the folder, so that nothing is overwritten.

        Raises
        ------
        ArgumentError
        """
        if self.run_file.exists():
            raise ArgumentError(
                f"{self.path} holds a run already",
                hint=f"graphnn train --resume {self.path} goes on; --out names another folder",
                where="",
            )
        if self.path.is_dir() and any(
            not each.name.startswith(".") for each in self.path.iterdir()
        ):
            raise ArgumentError(
                f"{self.path} is not empty", hint="--out names another folder", where=""
            )

    def save(self, run: Settings) -> None:
        """Write what the run depends on, and the versions that it began with."""
        self.path.mkdir(parents=True, exist_ok=True)
        about = {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "environment": environment(),
        }
        if self.run_file.exists():
            before = self._read()
            about = {name: before[name] for name in about}
        content = about | asdict(run)
        lines = (f" {json.dumps(name)}: {json.dumps(value)}" for name, value in content.items())
        text = "{\n" + ",\n".join(lines) + "\n}\n"
        write(self.run_file, text.encode(), keep_previous=False)

    def load(self) -> Settings:
        """What the run depends on.

        Raises
        ------
        ArgumentError
            If there is no run, or its description is damaged.
        """
        content = self._read()
        try:
            names = Settings.__annotations__.keys() & content.keys()
            run = Settings(**{name: _frozen(content[name]) for name in names})
            known = (
                run.network in NETWORKS
                and run.options.keys() == NETWORKS[run.network].options.keys()
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise self._damaged(f"{type(error).__name__}: {error}") from None
        if not known:
            raise self._damaged(f"there is no network {run.network!r} with these options")
        return run

    def _read(self) -> dict[str, Any]:
        if not self.run_file.is_file():
            raise ArgumentError(
                f"{self.path} holds no run: there is no {self.run_file}",
                hint="graphnn train MODEL --data DATA begins one",
                where="",
            )
        try:
            content = json.loads(self.run_file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise self._damaged(str(error)) from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise self._damaged(f"it is not of format {FORMAT}")
        return content

    def _damaged(self, what: str) -> ArgumentError:
        return ArgumentError(f"{self.run_file} is damaged, or of another version: {what}", where="")

    def save_scale(self, scale: Preparation) -> None:
        """Write means and deviations."""
        save_weights(self.scale_file, scale.state())

    def load_scale(self, run: Settings) -> Preparation:
        """Means and deviations of the training part."""
        takes = NETWORKS[run.network].takes
        return Preparation.from_state(run.network, takes, load_weights(self.scale_file))


def chosen_folder(network: str, data: str) -> Path:
    """A folder of runs that is not there yet: ``runs/mlp-digits``, ``runs/mlp-digits-2`` ..."""
    stem = f"{network}-{Path(data).name.partition('.')[0]}"
    names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    return next(path for path in (Path("runs") / name for name in names) if not path.exists())


def _frozen(value: Any) -> Any:
    """Lists of JSON as tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
