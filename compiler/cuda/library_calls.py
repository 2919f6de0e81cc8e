"""Operators whose own kernels compute on a device: those made of functions that CuPy has too.

NumPy's functions hand arrays of a device over to CuPy, so that a kernel of NumPy calls is one of
CuPy calls. They are no part of a recording.
"""

from __future__ import annotations

from graphnn.compiler.unit import Instruction
from graphnn.core.errors import UnsupportedOpError
from graphnn.core.provenance import provenance

__all__ = ["BY_LIBRARY", "require_library"]

BY_LIBRARY = frozenset(
    {
        "argsort",
        "cholesky",
        "eigh",
        "fft",
        "inv",
        "irfft",
        "lstsq",
        "pinv",
        "qr",
        "rfft",
        "solve",
        "svd",
    }
)
"""By name of the operator."""


def require_library(instruction: Instruction) -> None:
    """Refuse an operator that has neither code nor functions of a library.

    Raises
    ------
    UnsupportedOpError
        Naming it and the user's line.
    """
    node = instruction.node
    if node.op.name not in BY_LIBRARY:
        raise UnsupportedOpError(
            f"{node.op.name} has no code for GPUs",
            where=provenance(node).where,
            hint='compile with backend="numpy"',
        )
