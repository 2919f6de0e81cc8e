"""What the bits of a result depend on besides the program: versions, processor, threads."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version

import numpy as np

from graphnn._version import __version__
from graphnn.compiler.native.target import host_target
from graphnn.compiler.threads import get_num_threads

__all__ = ["changes", "environment"]


def environment() -> dict[str, str | int]:
    """Versions, system, processor, and how many threads programs use."""
    target = host_target()
    return {
        "graphnn": __version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "llvmlite": version("llvmlite"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": f"{target.cpu}, vectors of {target.vector_bytes} bytes",
        "threads": get_num_threads(),
    }


def changes(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """What differs between two environments, in words."""
    return [
        f"{name} {before.get(name, 'unknown')}, here {value}"
        for name, value in now.items()
        if before.get(name) != value
    ]
