"""A device that runs CUDA code on the CPU: the same text, compiled as C++ behind `cuda_shim.h`."""

import ctypes
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from duck_arrays import Duck

from graphnn.compiler.cuda.code import Code, Matrices, Matrix, Part
from graphnn.compiler.cuda.device import Function, Recording
from graphnn.compiler.cuda.prelude import PRELUDE
from graphnn.core.dtypes import DType, as_dtype
from graphnn.core.op import Array

HERE = Path(__file__).parent
FOLDER = Path(tempfile.gettempdir()) / f"graphnn-cuda-shim-{os.getuid()}"
CHECKS = ("-fsanitize=undefined", "-fno-sanitize-recover=all", "-fsanitize-undefined-trap-on-error")
"""A misaligned access, a signed overflow, a shift too far: the process ends."""
COMPILER = ("g++", "-std=c++17", "-O1", "-ffp-contract=off", "-w", "-shared", "-fPIC", *CHECKS)


class ShimDevice:
    """Threads in forward or reversed order; memory begins as NaN.

    Attributes
    ----------
    is_reversed : bool
    every : int
        Every how many-th block of a grid is run; the last one is as well.
    """

    name = "the CPU, by a shim"

    def __init__(self, *, is_reversed: bool = False) -> None:
        self.is_reversed, self.every = is_reversed, 1

    def turn(self) -> AbstractContextManager[None]:
        return nullcontext()

    def allocate(self, nbytes: int) -> Array:
        return np.full(-(-nbytes // 256) * 256 + 256, 0xFF, np.uint8)

    def address(self, memory: Array) -> int:
        return -(-int(memory.ctypes.data) // 256) * 256

    def upload(self, array: Array, address: int) -> None:
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def download(self, address: int, array: Array) -> None:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def copy(self, source: int, target: int, nbytes: int) -> None:
        ctypes.memmove(target, source, nbytes)

    def address_of(self, array: Any) -> None:
        return None

    def view(
        self,
        memory: Array,
        address: int,
        shape: Sequence[int],
        strides: Sequence[int],
        dtype: DType,
    ) -> Duck:
        return Duck(np.ndarray(shape, dtype, memory, address - memory.ctypes.data, strides))

    def stream(self) -> AbstractContextManager[None]:
        return nullcontext()

    def load(self, codes: Sequence[Code]) -> dict[Part, Function]:
        parts = [part for code in codes for part in code.parts if isinstance(part, Part)]
        library = ctypes.CDLL(str(built(codes))) if parts else None
        return {part: self._function(library, part) for part in parts}

    def _function(self, library: Any, part: Part) -> Function:
        function = getattr(library, f"shim_{part.name}")
        return lambda addresses: self._launch(function, part, addresses)

    def _launch(self, function: Any, part: Part, addresses: Sequence[int]) -> None:
        given = (ctypes.c_void_p * len(addresses))(*addresses)
        function(given, part.blocks, part.threads, self.is_reversed, self.every)

    def product(self, matrices: Matrices, precision: str) -> Function:
        return partial(_multiply, matrices)

    def record(self, work: Callable[[], None]) -> Recording:
        return work

    def wait(self) -> None:
        pass


class UnbuiltDevice(ShimDevice):
    """Takes code, but does not compile it."""

    def load(self, codes: Sequence[Code]) -> dict[Part, Function]:
        return dict.fromkeys(part for code in codes for part in code.parts)


def built(codes: Sequence[Code]) -> Path:
    """The library of some code, compiled when it is first asked for."""
    text = shim_source(codes)
    shim = (HERE / "cuda_shim.h").read_text()
    key = hashlib.sha256(" ".join([*COMPILER, shim, text]).encode()).hexdigest()[:24]
    made = FOLDER / f"{key}.so"
    if not made.exists():
        FOLDER.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            source, library = Path(folder, "code.cpp"), Path(folder, "code.so")
            source.write_text(text)
            command = [*COMPILER, f"-I{HERE}", str(source), "-o", str(library)]
            subprocess.run(command, check=True)
            library.replace(made)
    return made


def shim_source(codes: Sequence[Code]) -> str:
    """All functions, each with an entry that launches it."""
    lines = ['#include "cuda_shim.h"', PRELUDE]
    for code in codes:
        lines.append(code.source)
        meets = "true" if "__sync" in code.source or "gn_together" in code.source else "false"
        for part in (each for each in code.parts if isinstance(each, Part)):
            head = code.source.partition(f" {part.name}(")[2].partition(")")[0]
            arguments = ", ".join(f"p[{n}]" for n in range(head.count("char*")))
            lines += [
                f'extern "C" void shim_{part.name}('
                "char** p, int blocks, int threads, bool is_reversed, int every) {",
                f"    auto kernel = [](char** p) {{ {part.name}({arguments}); }};",
                f"    shim::launch(kernel, p, blocks, threads, is_reversed, every, {meets});",
                "}",
            ]
    return "\n".join(lines)


def _multiply(matrices: Matrices, addresses: Sequence[int]) -> None:
    """A product by NumPy, on strided views of memory."""
    left, right, out = addresses
    m, n, k, batch = matrices.m, matrices.n, matrices.k, matrices.batch
    a = _matrix(left, matrices.dtype, (batch, m, k), matrices.left)
    b = _matrix(right, matrices.dtype, (batch, k, n), matrices.right)
    c = _matrix(out, matrices.dtype, (batch, m, n), matrices.out)
    wide = np.float64 if c.dtype == np.float64 else np.float32
    c[...] = (a.astype(wide) @ b.astype(wide)).astype(c.dtype)


def _matrix(address: int, dtype: str, shape: tuple[int, int, int], lies: Matrix) -> Array:
    kind = as_dtype(dtype)
    steps = (lies.batch, lies.row, lies.column)
    reach = sum(step * (size - 1) for step, size in zip(steps, shape, strict=True)) + 1
    memory = (ctypes.c_char * (reach * kind.itemsize)).from_address(address)
    strides = [step * kind.itemsize for step in steps]
    return np.ndarray(shape, kind, memory, 0, strides)
