"""Transposing squares of memory: one function for each dtype, which copies and results share.

Shuffles take long to compile, so there is one square of them in a module, whoever needs it.
"""

from __future__ import annotations

from graphnn.compiler.native.builder import Builder, V
from graphnn.compiler.native.memory import ITEMSIZE, Strip, load_strip
from graphnn.compiler.native.target import Target
from graphnn.compiler.native.transposition import transposed

__all__ = ["Squares"]


class Squares:
    """The functions of a module that transpose.

    Parameters
    ----------
    name : str
        Their names begin with it.
    lanes : int
        Rows and columns of a square.
    item : int
        Bytes of an element as it is written.
    target : Target
    """

    def __init__(self, name: str, lanes: int, item: int, target: Target) -> None:
        self.lanes = lanes
        self._name, self._item, self._target = name, item, target
        self._functions: dict[str, Builder] = {}

    @property
    def functions(self) -> list[Builder]:
        """All that were asked for."""
        return list(self._functions.values())

    def turn(self, b: Builder, dtype: str, source: V, source_step: int, to: V, step: int) -> None:
        """Rows of elements of a dtype, so many bytes apart, become columns."""
        if dtype not in self._functions:
            self._functions[dtype] = self._printed(dtype)
        steps = f"i64 {source_step}", f"i64 {step}"
        b.do(f"call void @{self._name}_{dtype}({source}, {steps[0]}, {to}, {steps[1]})")

    def _printed(self, dtype: str) -> Builder:
        source, source_step = V("%source", "ptr"), V("%source_step", "i64")
        to, step = V("%to", "ptr"), V("%step", "i64")
        arguments = [source, source_step, to, step]
        b = Builder(f"{self._name}_{dtype}", arguments, target=self._target)
        strip, rows = Strip(self.lanes, self.lanes), []
        for _ in range(self.lanes):
            rows.append(load_strip(b, dtype, source, ITEMSIZE[dtype], strip))
            source = b.at(source, source_step)
        for value in transposed(b, rows):
            b.store(value, to, self._item)
            to = b.at(to, step)
        return b
