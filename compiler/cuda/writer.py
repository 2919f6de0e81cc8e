"""Lines of C++, indented by the blocks that they are in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod

__all__ = ["Writer", "body_of", "offset_text", "signature"]


def signature(name: str, n_operands: int, threads: int, *, is_alone: bool = False) -> str:
    """The head of a function with an address for every operand.

    A block that has a processor to itself may use all of its registers.
    """
    parameters = ", ".join(f"char* p{number}" for number in range(n_operands))
    bounds = f"{threads}, 1" if is_alone else f"{threads}"
    return f'extern "C" __global__ void __launch_bounds__({bounds}) {name}({parameters})'


def body_of(source: str, name: str) -> str:
    """A function to be called by others, which are told the number of their block."""
    _, _, parameters = source.partition("(char*")
    rest = parameters.replace("blockIdx.x", "block")
    return f"static __device__ void {name}(const int block, char*{rest}"


def offset_text(number: str, sizes: Sequence[int], strides: Sequence[int]) -> str:
    """The bytes that element ``number``, counted in row-major order, lies from the first."""
    terms = []
    for axis, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
        after = prod(sizes[axis + 1 :])
        index = number if after == 1 else f"{number} / {after}"
        if size > 1 and stride:
            terms.append(f"{index}{f' % {size}' if axis else ''} * {stride}")
    return f"({' + '.join(terms) or '0'})"


class Writer:
    """Text in the making."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0

    @property
    def text(self) -> str:
        """All lines so far."""
        return "\n".join(self._lines) + "\n"

    def line(self, text: str) -> None:
        """One line."""
        self._lines.append("    " * self._depth + text)

    def open(self, head: str) -> None:
        """Begin a block."""
        self.line(f"{head} {{".lstrip())
        self._depth += 1

    def close(self) -> None:
        """End a block."""
        self._depth -= 1
        self.line("}")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Lines in braces behind a head."""
        self.open(head)
        yield
        self.close()
