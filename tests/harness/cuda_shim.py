"""A device that runs CUDA code on the CPU: the same text, compiled as C++ behind `cuda_shim.h`."""

import ctypes
import hashlib
import math
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from duck_arrays import Duck

from graphnn.compiler.cuda.code import Code, Convolution, Matrices, Matrix, Part
from graphnn.compiler.cuda.device import Function, Recording
from graphnn.compiler.cuda.prelude import PRELUDE
from graphnn.core.dtypes import DType, as_dtype
from graphnn.core.op import Array

HERE = Path(__file__).parent
FOLDER = Path(tempfile.gettempdir()) / f"graphnn-cuda-shim-{os.getuid()}"
CHECKS = ("-fsanitize=undefined", "-fno-sanitize-recover=all", "-fsanitize-undefined-trap-on-error")
"""A misaligned access, a signed overflow, a shift too far: the process ends."""
COMPILER = ("g++", "-std=c++17", "-O1", "-ffp-contract=off", "-w", "-shared", "-fPIC", *CHECKS)

MOST_STATIC_NBYTES = 48 << 10
"""Of the arrays that a function declares for threads to share, on every GPU."""
NBYTES_OF = {
    "bool": 1, "i8": 1, "u8": 1, "short": 2, "u16": 2, "int": 4, "u32": 4, "float": 4,
    "i64": 8, "u64": 8, "double": 8, "gn_complex<float>": 8, "gn_complex<double>": 16,
}  # fmt: skip


class ShimDevice:
    """Threads in forward or reversed order; memory begins as NaN.

    Products with epilogues are made at once, but where ``fuses`` is false.

    Attributes
    ----------
    is_reversed : bool
    every : int
        Every how many-th block of a grid is run; the last one is as well.
    """

    name = "the CPU, by a shim"
    shared_nbytes = 227 << 10

    def __init__(self, *, is_reversed: bool = False, fuses: bool = True) -> None:
        self.is_reversed, self.every, self.fuses = is_reversed, 1, fuses
        self.n_fused = 0

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
        parts = [part for code in codes for part in code.functions]
        require_static_memory(codes)
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

    def fused_product(self, matrices: Matrices, precision: str, alignment: int) -> Function | None:
        assert alignment % as_dtype(matrices.dtype).itemsize == 0
        self.n_fused += self.fuses
        return partial(_multiply, matrices) if self.fuses else None

    def convolution(self, convolution: Convolution, precision: str) -> Function | None:
        return None

    def record(self, work: Callable[[], None]) -> Recording:
        return work

    def wait(self) -> None:
        pass

    def mark(self) -> int:
        return time.perf_counter_ns()

    def elapsed_ns(self, first: int, last: int) -> float:
        return float(last - first)


def require_static_memory(codes: Sequence[Code]) -> None:
    """Every function shares as much as it says, and no more than it may."""
    for code in codes:
        called, *texts = code.source.split('extern "C" ')
        for text in texts:
            (part,) = (each for each in code.functions if f" {each.name}(" in text)
            assert part.static_nbytes == shared_in(called) + shared_in(text), part
            assert part.static_nbytes <= MOST_STATIC_NBYTES, part


def shared_in(text: str) -> int:
    """Bytes of the arrays that are declared in a text."""
    total = 0
    for kind, sizes in re.findall(r"__shared__ (\S+) \w+((?:\[\d+\])*);", text):
        total += NBYTES_OF[kind] * math.prod(map(int, re.findall(r"\d+", sizes)))
    return total


class UnbuiltDevice(ShimDevice):
    """Takes code, but does not compile it."""

    def load(self, codes: Sequence[Code]) -> dict[Part, Function]:
        return dict.fromkeys(part for code in codes for part in code.functions)


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
    parts = [part for code in codes for part in code.parts if isinstance(part, Part)]
    shared = max((each.shared_nbytes for each in parts), default=0)
    lines = ['#include "cuda_shim.h"', PRELUDE]
    if shared:
        lines.insert(1, f"alignas(16) __shared__ char gn_shared_memory[{shared}];")
    for code in codes:
        lines.append(code.source)
        meets = "true" if "__sync" in code.source or "gn_together" in code.source else "false"
        for part in code.functions:
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


def mistaken_source(right: str, wrong: str) -> Callable[[Sequence[Code]], str]:
    """What gives in place of `shim_source` code with a mistake."""
    text_of = shim_source

    def mistaken(codes: Sequence[Code]) -> str:
        text = text_of(codes)
        assert right in text
        return text.replace(right, wrong)

    return mistaken


def _multiply(matrices: Matrices, addresses: Sequence[int]) -> None:
    """A product and its epilogue by NumPy, on strided views of memory."""
    left, right, *extra, out = addresses
    m, n, k, batch, dtype = matrices.m, matrices.n, matrices.k, matrices.batch, matrices.dtype
    a = _matrix(left, dtype, (batch, m, k), matrices.left)
    b = _matrix(right, dtype, (batch, k, n), matrices.right)
    c = _matrix(out, dtype, (batch, m, n), matrices.out)
    assert not any(np.shares_memory(c, each) for each in (a, b)), "out lies where a factor does"
    wide = np.float64 if c.dtype == np.float64 else np.float32
    total = a.astype(wide, copy=False) @ b.astype(wide, copy=False)
    epilogue = matrices.epilogue
    if epilogue is not None:
        for address, lies in zip(extra, epilogue.operands, strict=True):
            added = _matrix(address, dtype, (batch, m, n), lies)
            is_out = (address, lies) == (out, matrices.out)
            assert is_out or not np.shares_memory(c, added), "out lies where an operand does"
            total += added
        total = ACTIVATIONS[epilogue.function](total)
    c[...] = total.astype(c.dtype, copy=False)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "": lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
    "gelu": lambda x: 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))),
}


def _matrix(address: int, dtype: str, shape: tuple[int, int, int], lies: Matrix) -> Array:
    kind = as_dtype(dtype)
    steps = (lies.batch, lies.row, lies.column)
    reach = sum(step * (size - 1) for step, size in zip(steps, shape, strict=True)) + 1
    memory = (ctypes.c_char * (reach * kind.itemsize)).from_address(address)
    strides = [step * kind.itemsize for step in steps]
    return np.ndarray(shape, kind, memory, 0, strides)
