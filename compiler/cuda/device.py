"""What an executor needs of a device: memory, functions, products, streams and recordings.

`CupyDevice` is a GPU. The tests have a device that runs the same functions on the CPU, and one that
writes down what it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from graphnn.compiler.cuda.code import Code, Part
from graphnn.core.dtypes import DType
from graphnn.core.op import Array

__all__ = ["Device", "Function", "Matrices", "Matrix", "Recording"]

Function = Callable[[Sequence[int]], None]
"""A part of a kernel: called with addresses, it is launched."""

Recording = Callable[[], None]
"""Launches that were recorded: called, all are made at once."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """How one operand of a product lies in memory, in elements.

    Attributes
    ----------
    row, column : int
        From one row, or column, to the next; one of them is 1, if there are several.
    batch : int
        From one matrix to the next.
    """

    row: int
    column: int
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Matrices:
    """A product ``out = left @ right`` for every matrix of a batch.

    Attributes
    ----------
    m, n, k, batch : int
    dtype : str
        Of the operands.
    result : str
        Of the product; half floats are multiplied and summed in float32.
    left, right, out : Matrix
    """

    m: int
    n: int
    k: int
    batch: int
    dtype: str
    result: str
    left: Matrix
    right: Matrix
    out: Matrix


class Device(Protocol):
    """A device with one stream of work, in order.

    All but `turn` is asked for within a turn, or of what nothing else works on.
    """

    @property
    def name(self) -> str:
        """For people: "NVIDIA H100"."""
        ...

    def turn(self) -> AbstractContextManager[None]:
        """While this thread gives work: other threads wait.

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

    def array(self, memory: Any, offset: int, shape: Sequence[int], dtype: DType) -> Any:
        """Memory as the array of this device that users know."""
        ...

    def load(self, codes: Sequence[Code]) -> dict[Part, Function]:
        """Compile code, or look it up, and load it."""
        ...

    def product(self, matrices: Matrices, precision: str) -> Callable[[int, int, int], None]:
        """What multiplies matrices at the addresses of left, right and out.

        ``precision`` says to what factors in float32 may be rounded: see `Options.precision`.
        """
        ...

    def record(self, work: Callable[[], None]) -> Recording:
        """What ``work`` launches, without launching it. Nothing may be allocated or waited for."""
        ...

    def wait(self) -> None:
        """Until all work is done."""
        ...
