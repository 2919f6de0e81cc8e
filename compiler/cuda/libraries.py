"""Where CUDA's own libraries are: in packages beside Python's, or in a CUDA toolkit."""

from __future__ import annotations

import ctypes

from graphnn.core.errors import MissingPackageError

__all__ = ["HOW_TO_INSTALL", "load_library"]

HOW_TO_INSTALL = (
    "in the checkout, pip install '.[cuda13]' for drivers from 580 on, "
    "'.[cuda12]' for drivers from 525 on"
)


def load_library(name: str) -> ctypes.CDLL:
    """Load "nvrtc", "cublas" or "cublasLt".

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        path = load_nvidia_dynamic_lib(name).abs_path
    except (ImportError, RuntimeError):
        raise MissingPackageError(
            f'backend="cupy" needs CUDA\'s library {name}, which is not installed',
            hint=HOW_TO_INSTALL,
            where="",
        ) from None
    return ctypes.CDLL(path)
