"""Which backend programs are compiled for where nothing else is said."""

from __future__ import annotations

import os

from graphnn.compiler.backends import BACKENDS
from graphnn.core.arguments import require_known
from graphnn.core.errors import ArgumentError

__all__ = ["get_backend", "set_backend"]

BACKEND_VARIABLE = "GRAPHNN_BACKEND"
"""Says which backend to use where `set_backend` was not called."""

_chosen: str | None = None


def set_backend(name: str) -> None:
    """Say which backend the programs that are compiled from now on are for.

    Parameters
    ----------
    name : {"numpy", "cupy", "reference"}
        See :func:`graphnn.compile`, whose argument of this name comes first.

    Raises
    ------
    ArgumentError
        If there is no such backend.
    MissingPackageError, DeviceError
        For "cupy", if CuPy is not installed, or there is no GPU that it can use.

    Examples
    --------
    >>> import graphnn as gn
    >>> before = gn.get_backend()
    >>> gn.set_backend("reference")
    >>> gn.get_backend()
    'reference'
    >>> gn.set_backend(before)
    """
    global _chosen
    require_known("set_backend", "backend", name, BACKENDS)
    if name == "cupy":
        from graphnn.compiler.cuda.requirements import require_gpu

        require_gpu()
    _chosen = name


def get_backend() -> str:
    """Which backend the programs that are compiled from now on are for.

    What `set_backend` said, else the environment variable ``GRAPHNN_BACKEND``, else "numpy".

    Raises
    ------
    ArgumentError
        If the environment variable names no backend.
    """
    if _chosen is not None:
        return _chosen
    name = os.environ.get(BACKEND_VARIABLE, "").strip() or "numpy"
    if name not in BACKENDS:
        raise ArgumentError(
            f"{BACKEND_VARIABLE} is {name!r}, which is no backend",
            hint=f"there are {', '.join(map(repr, BACKENDS))}",
            where="",
        )
    return name
