"""Lines of C++, indented by the blocks that they are in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Writer", "body_of", "signature"]


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
