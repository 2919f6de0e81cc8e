"""What a code generator gives: LLVM IR, and how its functions are to be called."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Code"]


@dataclass(frozen=True, slots=True)
class Code:
    """Generated code of one kernel.

    Attributes
    ----------
    ir : str
        A module in LLVM's text form.
    parts : tuple of (str, int)
        Functions ``void name(ptr args, i64 begin, i64 end)`` to call one after the other, with a
        barrier between, and the number of chunks of each. ``args`` holds a pointer for every
        operand, then one to the scratch memory if there is any. Chunks are independent: any
        split of their range among threads gives the same bits.
    scratch_nbytes : int
        Bytes of memory that the parts share while the kernel runs.
    """

    ir: str
    parts: tuple[tuple[str, int], ...]
    scratch_nbytes: int = 0
