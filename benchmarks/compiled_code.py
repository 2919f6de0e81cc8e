"""Generated code with its operands, compiled and linked as the library does it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from graphnn.compiler.native.code import Code
from graphnn.compiler.native.objects import compile_object, link_objects
from graphnn.compiler.native.target import host_target

__all__ = ["PART", "NativeCode", "addresses_of"]

PART = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
"""``void name(ptr args, i64 begin, i64 end)``"""


def addresses_of(ir: str, *names: str) -> list[int]:
    """Where functions of a module lie once it is compiled."""
    found = link_objects([compile_object(ir, host_target())], names)
    return [found[name] for name in names]


class NativeCode:
    """Generated code and the table of pointers that its functions take.

    Attributes
    ----------
    parts : list of (int, int)
        Addresses of the functions, and their numbers of chunks.
    args : int
        The address of the table.
    """

    def __init__(self, code: Code, arrays: Sequence[np.ndarray]) -> None:
        found = addresses_of(code.ir, *(name for name, _ in code.parts))
        self.parts = [(at, count) for at, (_, count) in zip(found, code.parts, strict=True)]
        scratch = np.zeros(code.scratch_nbytes + 64, np.uint8)
        self._arrays = [*arrays, scratch]
        pointers = [each.ctypes.data for each in self._arrays]
        pointers[-1] += -pointers[-1] % 64
        self._table = np.array(pointers, np.uint64)
        self.args = int(self._table.ctypes.data)
