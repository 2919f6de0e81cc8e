"""Which code generator prints which kernel."""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any

from graphnn.compiler.kernel import Contraction, Kernel
from graphnn.compiler.native import convolution as convolutions
from graphnn.compiler.native import loops
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.contraction import generate as products
from graphnn.compiler.native.library import Request, host_library
from graphnn.compiler.native.target import Target, host_target
from graphnn.core.dtypes import as_dtype, is_floating

__all__ = ["generate", "is_product", "request_for", "scratch_nbytes"]


def generate(kernel: Any, target: Target, name: str) -> Code:
    """Print a kernel, a contraction, or whatever prints itself."""
    match kernel:
        case Kernel():
            return loops.generate(kernel, target, name)
        case Contraction():
            made: Code = _contracting(kernel).generate(kernel, target, name)
        case _:
            made = kernel.generate(target, name)
    return made


def _contracting(contraction: Contraction) -> ModuleType:
    """The generator of a contraction."""
    return products if is_product(contraction) else convolutions


def is_product(contraction: Contraction) -> bool:
    """Whether it is a product of matrices; a convolution looks through windows.

    That meets elements twice; its generator knows floats alone.
    """
    has_windows = is_floating(as_dtype(contraction.dtype)) and _sees_twice(contraction)
    return not (contraction.bounds or has_windows)


def _sees_twice(contraction: Contraction) -> bool:
    """Whether the left operand's elements are met at several points of its own axes."""
    reach = as_dtype(contraction.left.dtype).itemsize
    for stride, size in sorted(
        (abs(stride), size)
        for stride, size in zip(contraction.left.strides, contraction.sizes, strict=True)
        if stride and size > 1
    ):
        if stride < reach:
            return True
        reach = stride * (size - 1) + reach
    return False


def request_for(kernel: Any, *, is_quick: bool = False) -> Request:
    """What to ask the library for; kernels are equal if their texts are.

    Parameters
    ----------
    kernel : Kernel, Contraction or Generated
    is_quick : bool
        Whether the code may be slow, so that it is there soon.
    """
    return Request(
        repr(kernel), lambda name: generate(kernel, host_target(), name), is_quick=is_quick
    )


def scratch_nbytes(kernel: Any) -> int:
    """Bytes of memory that a kernel needs while it runs, known before it is printed."""
    match kernel:
        case Kernel():
            return 0
        case Contraction():
            nbytes: int = _scratch_of_contraction(kernel, host_target())
        case _:
            nbytes = kernel.scratch_nbytes
    return nbytes


@lru_cache(maxsize=4096)  # a memory budget is searched for by lowering the same kernels many times
def _scratch_of_contraction(contraction: Contraction, target: Target) -> int:
    known = host_library().scratch_nbytes(request_for(contraction))
    if known is not None:
        return known  # to read it is much quicker than to plan how to pack
    nbytes: int = _contracting(contraction).scratch_nbytes(contraction, target)
    return nbytes
