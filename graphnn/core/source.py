"""Where in the user's code something happened: the innermost frame outside graphnn and Python."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType

__all__ = ["Source", "caller", "internal_folders"]


@dataclass(frozen=True, slots=True)
class Source:
    """A line of the user's code.

    Attributes
    ----------
    path : str
        File as Python knows it.
    line : int
        Line number, counted from one.
    function : str
        Name of the function that the line belongs to.
    """

    path: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{_file_name(self.path)}:{self.line}"


_file_name = cache(os.path.basename)
"""A graph has as many lines of users as nodes, in few files."""


def internal_folders() -> tuple[str, ...]:
    """Folders whose code is graphnn's own: the core's parent, and ``ops`` and ``compiler``.

    An installed package holds all three below ``graphnn/``; in a checkout ``ops/`` and
    ``compiler/`` lie beside it.
    """
    package = Path(__file__).resolve().parent.parent
    folders = [package]
    if not (package / "ops").is_dir():
        folders += [package.parent / "ops", package.parent / "compiler"]
    return tuple(str(folder) + os.sep for folder in folders)


_LIBRARY = os.path.dirname(os.__file__) + os.sep
"""Python's own modules: what is built in a `functools.reduce` was built by its caller."""
_INSTALLED = tuple(os.sep + name + os.sep for name in ("site-packages", "dist-packages"))
"""Folders in the library's for packages, which are somebody's code."""
_INTERNAL = (*internal_folders(), "<frozen")
_is_internal: dict[CodeType, bool] = {}


def caller() -> Source | None:
    """The innermost line on the call stack that is neither graphnn's nor Python's own, if any."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        internal = _is_internal.get(code)
        if internal is None:
            internal = _is_internal[code] = _is_ours_or_pythons(code.co_filename)
        if not internal:
            return Source(code.co_filename, frame.f_lineno, code.co_qualname)
        frame = frame.f_back
    return None


def _is_ours_or_pythons(path: str) -> bool:
    if path.startswith(_INTERNAL):
        return True
    return path.startswith(_LIBRARY) and not any(each in path for each in _INSTALLED)
