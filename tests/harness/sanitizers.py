"""NVIDIA's compute-sanitizer, where it is installed."""

import os
import shutil
import site
from pathlib import Path

__all__ = ["find_sanitizer"]

NAME = "compute-sanitizer"


def find_sanitizer() -> Path | None:
    """The tool on PATH, in CUDA's folder, or in the wheel ``nvidia-cuda-sanitizer-api``."""
    homes = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    homes.append(Path("/usr/local/cuda"))
    listed = [shutil.which(NAME)]
    listed += [str(home / folder / NAME) for home in homes for folder in ("bin", NAME)]
    for packages in site.getsitepackages():
        listed += map(str, sorted(Path(packages, "nvidia").glob(f"**/{NAME}")))
    return next(
        (
            Path(each)
            for each in listed
            if each and os.access(each, os.X_OK) and Path(each).is_file()
        ),
        None,
    )
