"""Examples run in full, each in a process of its own, and a table of what they reach.

Used by `recurrent_examples.py` and `feedforward_examples.py`.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling import machine

ROOT = Path(__file__).resolve().parents[1]
CODE = """
import importlib, json, sys
folder, name, *sys.argv[1:] = sys.argv[1:]
sys.path.insert(0, folder)
print(json.dumps(importlib.import_module(name).main()))
"""


@dataclass(frozen=True)
class Example:
    """An example, or the same in another library.

    With several seeds it is run with ``--seed 0``, ``--seed 1`` and so on.
    """

    name: str
    seeds: int = 1
    folder: str = "examples"
    arguments: tuple[str, ...] = ()
    beside: str = ""
    """The example whose metrics it is listed with."""


def cpu_seconds() -> float:
    """Of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(example: Example, pictures: Path) -> dict[str, Any]:
    """The metrics of one example, a list where there are seeds, and its mean times.

    Its pictures are kept, those of the first seed.
    """
    found: list[dict[str, float]] = []
    started, cpu = time.perf_counter(), cpu_seconds()
    for seed in range(example.seeds):
        seeded = ["--seed", str(seed)] if example.seeds > 1 else []
        found.append(_metrics([*example.arguments, *seeded], example, pictures, keep=seed == 0))
    spent = {"cpu": cpu_seconds() - cpu, "wall": time.perf_counter() - started}
    metrics: dict[str, Any] = {
        name: [each[name] for each in found] if example.seeds > 1 else found[0][name]
        for name in found[0]
    }
    seconds = {name: round(value / example.seeds, 1) for name, value in spent.items()}
    return {"metrics": metrics, "seconds": seconds}


def _metrics(
    arguments: Sequence[str], example: Example, pictures: Path, *, keep: bool
) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        place = [str(ROOT / example.folder), example.name]
        done = subprocess.run(
            [sys.executable, "-P", "-c", CODE, *place, *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        if keep:
            for picture in Path(folder).glob("demo_output/*.png"):
                shutil.copy(picture, pictures)
    print(done.stdout.rpartition("{")[0], flush=True)
    metrics: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return metrics


def value_text(value: float | list[float]) -> str:
    """A number, or the mean of several with the lowest and the highest."""
    if isinstance(value, list):
        mean = sum(value) / len(value)
        return f"{mean:.4g} ({min(value):.4g} to {max(value):.4g})"
    return f"{value:.4g}"


def table(title: str, result: dict[str, Any]) -> str:
    """The results as a page."""
    told = result["machine"]
    lines = [
        f"# {title}",
        "",
        f"{told['cpu']}, {told['cores']} cores, {told['system']}, Python {told['python']}, "
        f"graphnn {told['graphnn']}.",
        "Seconds of CPU are those of all threads, with compilation.",
    ]
    for name, found in result["examples"].items():
        seeds = max(len(v) if isinstance(v, list) else 1 for v in found["metrics"].values())
        each = f" for each of {seeds} seeds: mean (lowest to highest)" if seeds > 1 else ""
        lines += ["", f"## {name}", "", f"{found['seconds']['cpu']} s of CPU{each}.", ""]
        if "torch_twins" in found["seconds"]:
            lines.insert(-1, f"PyTorch takes {found['seconds']['torch_twins']} s.")
        lines += ["| metric | value |", "| --- | ---: |"]
        lines += [f"| {metric} | {value_text(v)} |" for metric, v in found["metrics"].items()]
    return "\n".join(lines) + "\n"


def measure(title: str, stem: str, examples: Sequence[Example], description: str) -> None:
    """Run examples as the command line says; those that are not run keep the results they have."""
    names = [each.name for each in examples if not each.beside]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    options = parser.parse_args()
    for folder in (options.out, options.pictures):
        folder.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{stem}.json"
    kept = json.loads(path.read_text())["examples"] if path.exists() else {}
    for example in examples:
        if example.beside in options.only:
            other = run(example, options.pictures)
            kept[example.beside]["metrics"] |= other["metrics"]
            kept[example.beside]["seconds"][example.name] = other["seconds"]["cpu"]
        elif example.name in options.only:
            kept[example.name] = run(example, options.pictures)
        _write(title, path, {name: kept[name] for name in names if name in kept})


def _write(title: str, path: Path, examples: dict[str, Any]) -> None:
    """After every example, so that a run that is ended keeps what it found."""
    result = {"machine": machine(), "examples": examples}
    path.write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".md").write_text(table(title, result))
