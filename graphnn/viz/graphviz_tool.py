"""Running Graphviz: the system's ``dot``, or the one that the wheel ``graphviz-pure`` brings."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from graphnn.core.errors import RenderError

__all__ = ["INSTALL_HINT", "find_graphviz", "run_graphviz"]

INSTALL_HINT = "pip install 'graphnn[viz]', or install Graphviz so that `dot` is on the PATH"
PURE = "graphviz-pure"
SECONDS = 60.0


@cache
def find_graphviz() -> str | None:
    """The path of a Graphviz executable, if there is one."""
    return shutil.which("dot") or shutil.which(PURE) or _inside_environment()


def _inside_environment() -> str | None:
    """The wheel's executable, where the environment's scripts are not on the PATH."""
    beside = Path(sys.executable).parent
    candidates = [beside / PURE, beside / f"{PURE}.exe"]
    try:
        listed = files(PURE) or []
    except PackageNotFoundError:
        listed = []
    candidates += [Path(str(each.locate())) for each in listed if each.stem == PURE]
    return next((str(each) for each in candidates if each.is_file()), None)


def run_graphviz(arguments: list[str], source: str, seconds: float = SECONDS) -> bytes:
    """What Graphviz writes for a graph in its language.

    Raises
    ------
    RenderError
        If there is no Graphviz, or it fails, or it takes too long.
    """
    program = find_graphviz()
    if program is None:
        raise RenderError("there is no Graphviz here", hint=INSTALL_HINT, where="")
    try:
        done = subprocess.run(
            [program, *arguments],
            input=source.encode(),
            capture_output=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise RenderError(
            f"Graphviz took longer than {seconds:g} s", hint='use layout="grid"', where=""
        ) from None
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode(errors="replace").strip()
        raise RenderError(
            f"{' '.join([Path(program).name, *arguments])} failed: {said or 'no output'}", where=""
        )
    return done.stdout
