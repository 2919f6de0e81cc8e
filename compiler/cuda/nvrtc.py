"""NVRTC, NVIDIA's compiler of CUDA C++ as a library: text to machine code. It needs no GPU."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from dataclasses import dataclass

from graphnn.compiler.cuda.libraries import load_library

__all__ = ["OPTIONS", "Compiled", "Nvrtc"]

OPTIONS = ("--std=c++17", "--fmad=false")
"""Products are rounded before they are added, as on the CPU. Subnormal numbers, division and square
roots are exact by default."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """Machine code, and what the compiler had to say.

    Attributes
    ----------
    cubin : bytes
        An ELF file for one architecture.
    log : str
    """

    cubin: bytes
    log: str


class Nvrtc:
    """The library, wherever it is installed. Safe to use from several threads.

    Attributes
    ----------
    version : tuple of int
        Major and minor.
    architectures : tuple of int
        That it has code for: 90 is compute capability 9.0.
    """

    def __init__(self) -> None:
        self._library = load_library("nvrtc")
        self._library.nvrtcGetErrorString.restype = c_char_p
        major, minor, count = c_int(), c_int(), c_int()
        self._call("nvrtcVersion", byref(major), byref(minor))
        self._call("nvrtcGetNumSupportedArchs", byref(count))
        listed = (c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", listed)
        self.version = major.value, minor.value
        self.architectures = tuple(listed)

    def compile(self, source: str, architecture: int, options: tuple[str, ...] = ()) -> Compiled:
        """Compile a text for an architecture.

        Raises
        ------
        RuntimeError
            With the compiler's words, if the text is not well formed: our fault.
        """
        program = c_void_p()
        text = source.encode()
        self._call("nvrtcCreateProgram", byref(program), text, b"graphnn.cu", 0, None, None)
        try:
            chosen = (*OPTIONS, f"--gpu-architecture=sm_{architecture}", *options)
            given = (c_char_p * len(chosen))(*(each.encode() for each in chosen))
            status = self._library.nvrtcCompileProgram(program, len(chosen), given)
            log = self._output(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
            if status:
                raise RuntimeError(f"NVRTC: {self._words(status)}\n{log}")
            return Compiled(self._output(program, "CUBIN"), log)
        finally:
            self._call("nvrtcDestroyProgram", byref(program))

    def _output(self, program: c_void_p, kind: str) -> bytes:
        """The log or the code of a program."""
        size = c_size_t()
        self._call(f"nvrtcGet{kind}Size", program, byref(size))
        content = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{kind}", program, content)
        return content.raw

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise RuntimeError(f"{name}: {self._words(status)}")

    def _words(self, status: int) -> str:
        words: bytes = self._library.nvrtcGetErrorString(status)
        return words.decode()
