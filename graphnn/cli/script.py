"""What a user's script defines: it is run as it is, and looked through for things to draw."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from graphnn.compiler.program import Program
from graphnn.core.errors import ArgumentError
from graphnn.core.graph import Graph, topological_order
from graphnn.core.node import Node
from graphnn.core.structure import flatten
from graphnn.functions import Function
from graphnn.nn.module import Module
from graphnn.viz.history import History
from graphnn.viz.picture import FORMATS, Picture
from graphnn.viz.style import shorten

__all__ = ["MODULE_NAME", "Candidate", "candidates", "chosen", "named", "run_script"]

MODULE_NAME = "__graphnn__"
"""The script's ``__name__``: not ``"__main__"``, so that it defines and does not train."""

SCRIPTS = (".py", ".pyw", "")
"""How the names of scripts end."""
GRAPH = ".gng"

KINDS: tuple[tuple[str, type], ...] = (
    ("picture", Picture),
    ("program", Program),
    ("history", History),
    ("graph", Graph),
    ("node", Node),
    ("function", Function),
    ("model", Module),
)
"""From the most to the least telling: the first kind that a script has is the one that is drawn."""


@dataclass(frozen=True)
class Candidate:
    """A variable that can be drawn.

    Attributes
    ----------
    name : str
    kind : str
        One of the words in `KINDS`, or ``"nodes"`` for a list, tuple or dict of them.
    thing : object
    """

    name: str
    kind: str
    thing: Any

    def __str__(self) -> str:
        if self.kind in ("node", "nodes"):
            about = ", ".join(str(node.spec) for node in flatten(self.thing))
        else:
            about = repr(self.thing).strip("<>")
        return f"{self.name:<16} {self.kind:<8} {shorten(about, 60)}"


# ------------------------------------------------------------------------------------ running it


def run_script(path: Path) -> dict[str, Any]:
    """The variables of a script after it has run in a module of its own.

    Raises
    ------
    ArgumentError
        If it is no script, cannot be read, or stops with an error, which the message shows.
    """
    _check_ending(path)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ArgumentError(
            f"cannot read {path}: {error.strerror}", hint="give the path of a script", where=""
        ) from None
    module = ModuleType(MODULE_NAME)
    module.__file__ = str(path)
    sys.modules[MODULE_NAME] = module  # where dataclasses look for the script's names
    with _as_if_started(path):
        exec(compile(source, str(path), "exec"), module.__dict__)
    return module.__dict__


def _check_ending(path: Path) -> None:
    """Refuse what is no script by its name, rather than run it to see."""
    ending = path.suffix.lower()
    if ending in SCRIPTS or not path.exists():
        return
    if ending.removeprefix(".") in FORMATS:
        what = "is a picture, and of pictures only .json can be read again"
        hint = "draw the script again, or write the picture as .json too: -o picture.json"
    elif ending == ".ipynb":
        what = "is a notebook, and no script"
        hint = f"jupyter nbconvert --to script {path.name}, or gn.render in the notebook"
    elif ending == GRAPH:
        what = "holds no graph, or not all of it"
        hint = f'save it again: gn.io.save_graph("{path.name}", graph)'
    else:
        what = "is no script, no saved graph and no picture, as far as its name tells"
        hint = "give a script that ends in .py"
    raise ArgumentError(f"{path} {what}", hint=hint, where="")


@contextmanager
def _as_if_started(path: Path) -> Iterator[None]:
    """The script sees itself as the program, and finds the modules beside it; errors are told."""
    arguments, places = sys.argv, sys.path[:]
    sys.argv = [str(path)]
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        yield
    except SystemExit as stop:
        if stop.code not in (None, 0):
            raise ArgumentError(f"{path} stopped: exit status {stop.code}", where="") from None
    except Exception as error:
        raise ArgumentError(f"{path} failed\n{_told(error)}", where="") from None
    finally:
        sys.argv = arguments
        sys.path[:] = places


def _told(error: Exception) -> str:
    """An error as Python tells it, from the first line that is not of this module on."""
    place = error.__traceback__
    while place is not None and place.tb_frame.f_code.co_filename == __file__:
        place = place.tb_next
    return "".join(traceback.format_exception(error.with_traceback(place))).rstrip()


# ------------------------------------------------------------------------------- what is in it


def candidates(variables: Mapping[str, Any]) -> list[Candidate]:
    """The variables that can be drawn, in the order in which the script defines them."""
    found = []
    for name, value in variables.items():
        kind = None if name.startswith("_") else _kind_of(value)
        if kind is not None:
            found.append(Candidate(name, kind, value))
    return found


def _kind_of(value: Any) -> str | None:
    for word, each in KINDS:
        if isinstance(value, each):
            return word
    if isinstance(value, list | tuple | dict):
        inside = flatten(value)
        if inside and all(isinstance(node, Node) for node in inside):
            return "nodes"
    return None


def named(name: str, variables: Mapping[str, Any], script: Path) -> Candidate:
    """The variable of a name; for a function without arguments, what it returns."""
    value = variables.get(name)
    kind = _kind_of(value)
    if kind is None and inspect.isfunction(value) and not _required(value):
        with _as_if_started(script):
            value = value()
        kind = _kind_of(value)
    if kind is None:
        about = f"in {script}, {name!r} is of type {type(value).__name__}, which cannot be drawn"
        raise ArgumentError(
            about if name in variables else f"there is no {name!r} in {script}",
            hint=_listing(candidates(variables)),
            where="",
        )
    return Candidate(name, kind, value)


def _required(function: Any) -> bool:
    """Whether a function cannot be called without arguments."""
    return any(
        each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        for each in inspect.signature(function).parameters.values()
    )


def chosen(found: Sequence[Candidate], script: Path) -> Candidate:
    """What is drawn when no name is given: the only one of the most telling kind there is.

    Nodes are drawn together: all that no other one reads, such as a loss and its gradients.

    Raises
    ------
    ArgumentError
        If there are several, or none.
    """
    if not found:
        raise ArgumentError(
            f"{script} defines nothing that can be drawn",
            hint="what stands behind `if __name__ == ...` does not run; to draw what a function "
            f"returns, name it: {script}:FUNCTION",
            where="",
        )
    kinds = [word for word, _ in KINDS]
    kind = min((each.kind.rstrip("s") for each in found), key=kinds.index)
    found = [each for each in found if each.kind.rstrip("s") == kind]
    if kind == "node":
        return _ends(found)
    if len(found) > 1:
        raise ArgumentError(
            f"{script} defines {len(found)} things to draw", hint=_listing(found), where=""
        )
    return found[0]


def _ends(found: Sequence[Candidate]) -> Candidate:
    """The nodes that none of the others reads, together."""
    nodes = dict.fromkeys(node for each in found for node in flatten(each.thing))
    read = {each for node in topological_order(nodes) for each in node.inputs}
    ends = [node for node in nodes if node not in read]
    return Candidate(", ".join(each.name for each in found), "nodes", ends)


def _listing(found: Sequence[Candidate]) -> str:
    if not found:
        return "it defines nothing that can be drawn"
    return "\n    ".join(["name one of these, as SCRIPT:NAME", *map(str, found)])
