"""Lines of C++, indented by the blocks that they are in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Writer"]


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

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Lines in braces behind a head."""
        self.line(head + " {")
        self._depth += 1
        yield
        self._depth -= 1
        self.line("}")
