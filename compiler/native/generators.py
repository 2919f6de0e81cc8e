"""Which code generator prints which kernel."""

from __future__ import annotations

from typing import Any

from graphnn.compiler.kernel import Contraction, Kernel
from graphnn.compiler.native import loops
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.contraction import generate as products
from graphnn.compiler.native.library import Request
from graphnn.compiler.native.target import Target, host_target

__all__ = ["request_for", "scratch_nbytes"]


def generate(kernel: Any, target: Target, name: str) -> Code:
    """Print a kernel, a contraction, or whatever prints itself."""
    match kernel:
        case Kernel():
            return loops.generate(kernel, target, name)
        case Contraction():
            return products.generate(kernel, target, name)
        case _:
            code: Code = kernel.generate(target, name)
            return code


def request_for(kernel: Any) -> Request:
    """What to ask the library for; kernels are equal if their texts are."""
    return Request(repr(kernel), lambda name: generate(kernel, host_target(), name))


def scratch_nbytes(kernel: Any) -> int:
    """Bytes of memory that a kernel needs while it runs, known before it is printed."""
    match kernel:
        case Kernel():
            return 0
        case Contraction():
            return products.scratch_nbytes(kernel, host_target())
        case _:
            nbytes: int = kernel.scratch_nbytes
            return nbytes
