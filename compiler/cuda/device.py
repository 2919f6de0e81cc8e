"""What an executor needs of a device: memory, functions, products, streams and recordings.

`CupyDevice` is a GPU. The tests have a device that runs the same functions on the CPU, and one that
writes down what it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from graphnn.compiler.cuda.code import Code, Convolution, Matrices, Part
from graphnn.core.dtypes import DType
from graphnn.core.op import Array

__all__ = ["Device", "Function", "Recording"]

Function = Callable[[Sequence[int]], None]
"""A part of a kernel: called with addresses, it is launched."""

Recording = Callable[[], None]
"""Launches that were recorded: called, all are made at once."""


class Device(Protocol):
    """A device with one stream of work, in order.

    Programs give it work in their turn; copies to and from the host may be asked for at any time.
    """

    def __hash__(self) -> int: ...

    @property
    def name(self) -> str:
        """For people: "NVIDIA H100"."""
        ...

    @property
    def shared_nbytes(self) -> int:
        """Most bytes that the threads of a block may share."""
        ...

    def turn(self) -> AbstractContextManager[None]:
        """While one program gives work; other threads wait for their turn.

        The work comes after what the caller's own stream has been given so far, and what that is
        given later comes after the work.
        """
        ...

    def allocate(self, nbytes: int) -> Any:
        """Memory, aligned to 256 bytes, that is given back with the object; 0 bytes too."""
        ...

    def address(self, memory: Any) -> int:
        """Where memory begins."""
        ...

    def upload(self, array: Array, address: int) -> None:
        """Copy a contiguous array from the host; it may change as soon as this returns."""
        ...

    def download(self, address: int, array: Array) -> None:
        """Copy into a contiguous array of the host, and wait for it."""
        ...

    def copy(self, source: int, target: int, nbytes: int) -> None:
        """Copy within the device."""
        ...

    def address_of(self, array: Any) -> int | None:
        """Where a contiguous array lies on this device; None for one of the host."""
        ...

    def view(
        self, memory: Any, address: int, shape: Sequence[int], strides: Sequence[int], dtype: DType
    ) -> Any:
        """A part of some memory as the array of this device that users know."""
        ...

    def stream(self) -> AbstractContextManager[object]:
        """Within it, what arrays of this device do is part of the stream.

        Where they find too little memory, that is said as by `allocate`.
        """
        ...

    def load(self, codes: Sequence[Code]) -> dict[Part, Function]:
        """Compile code, or look it up, and load it: a function for every `Part`."""
        ...

    def product(self, matrices: Matrices, precision: str) -> Function:
        """What multiplies matrices at the addresses of left, right and out.

        ``precision`` is that of `Options`: to what factors in float32 may be rounded.
        """
        ...

    def fused_product(self, matrices: Matrices, precision: str, alignment: int) -> Function | None:
        """What multiplies matrices and applies their epilogue; None if no library does.

        Called with the addresses of left, right, the bias and the addend if there are, and out,
        all of which are multiples of ``alignment``.
        """
        ...

    def convolution(self, convolution: Convolution, precision: str) -> Function | None:
        """What convolves the factors at two addresses into a third; None to use kernels instead.

        It allocates nothing when it is called.
        """
        ...

    def record(self, work: Callable[[], None]) -> Recording:
        """What ``work`` launches, without launching it. Nothing may be allocated or waited for."""
        ...

    def wait(self) -> None:
        """Until all work is done."""
        ...

    def mark(self) -> Any:
        """The moment when the work that was given so far is done."""
        ...

    def elapsed_ns(self, first: Any, last: Any) -> float:
        """Nanoseconds from one moment to a later one, which is waited for."""
        ...
