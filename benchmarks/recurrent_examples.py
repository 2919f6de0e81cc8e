"""What the recurrent examples reach: each in full, in a process of its own, with its time.

Writes a table of their metrics, and their pictures for the documentation.

    .venv/bin/python benchmarks/recurrent_examples.py [--out benchmarks/results] [--only NAME ...]
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
from pathlib import Path
from typing import Any

from scaling import machine

ROOT = Path(__file__).resolve().parents[1]
NAMES = (
    "sunspots",
    "japanese_vowels",
    "adding_problem",
    "copy_memory",
    "vanishing_gradients",
    "hopfield_digits",
)
CODE = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
example = importlib.import_module(sys.argv[2])
del sys.argv[1:]
print(json.dumps(example.main()))
"""


def cpu_seconds() -> float:
    """Of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(name: str, pictures: Path) -> dict[str, Any]:
    """The metrics and times of one example; its pictures are kept."""
    with tempfile.TemporaryDirectory() as folder:
        started, cpu = time.perf_counter(), cpu_seconds()
        done = subprocess.run(
            [sys.executable, "-P", "-c", CODE, str(ROOT / "examples"), name],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        seconds = {"cpu": cpu_seconds() - cpu, "wall": time.perf_counter() - started}
        for picture in Path(folder).glob("demo_output/*.png"):
            shutil.copy(picture, pictures)
    print(done.stdout.rpartition("{")[0], flush=True)
    rounded = {key: round(value, 1) for key, value in seconds.items()}
    return {"metrics": json.loads(done.stdout.splitlines()[-1]), "seconds": rounded}


def table(result: dict[str, Any]) -> str:
    """The results as a page."""
    told = result["machine"]
    lines = [
        "# Recurrent examples",
        "",
        f"{told['cpu']}, {told['cores']} cores, {told['system']}, Python {told['python']}, "
        f"graphnn {told['graphnn']}.",
        "Seconds of CPU are those of all threads, with compilation.",
    ]
    for name, found in result["examples"].items():
        lines += ["", f"## {name}", "", f"{found['seconds']['cpu']} s of CPU.", ""]
        lines += ["| metric | value |", "| --- | ---: |"]
        lines += [f"| {metric} | {value:.4g} |" for metric, value in found["metrics"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run them, one after the other; those that are not run keep the results they have."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    options = parser.parse_args()
    for folder in (options.out, options.pictures):
        folder.mkdir(parents=True, exist_ok=True)
    path = options.out / "recurrent_examples.json"
    before = json.loads(path.read_text())["examples"] if path.exists() else {}
    ran = {name: measured(name, options.pictures) for name in NAMES if name in options.only}
    kept = {name: (before | ran)[name] for name in NAMES if name in before | ran}
    result = {"machine": machine(), "examples": kept}
    path.write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".md").write_text(table(result))


if __name__ == "__main__":
    main()
