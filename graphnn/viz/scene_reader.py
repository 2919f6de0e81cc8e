"""Pictures from the ``.json`` files that :func:`graphnn.render` writes.

A file may come from anywhere. It is data: nothing in it is run, every field is checked, and what
cannot be drawn is refused with its place in the file.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from graphnn.core.errors import RenderError
from graphnn.viz.layout import Layout
from graphnn.viz.picture import Picture
from graphnn.viz.scene import Scene
from graphnn.viz.scene_json import INTERNAL
from graphnn.viz.style import BANDS, EDGES, NODES, printable

__all__ = ["read_picture"]


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """The picture in a ``.json`` file that :func:`graphnn.render` wrote, to save in other forms.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Picture
        As it was laid out.

    Raises
    ------
    RenderError
        If the file cannot be read, or holds anything else than a scene and its layout.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(3,))
    >>> gn.viz.read_picture(gn.render(gn.tanh(x), "tanh.json"))
    <Picture of 2 nodes, 1 edge>
    """
    file = Path(path)
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise RenderError(f"cannot read {file}: {error.strerror}", where="") from None
    except (ValueError, RecursionError) as error:
        raise _refusal(file, str(error)) from None
    try:
        scene, layout = (_part(content, name, cls) for name, cls in _PARTS)
        _check(scene, layout)
    except _WrongError as error:
        raise _refusal(file, error.told()) from None
    picture = Picture(scene, "grid", lambda: "\n".join(_listing(scene)))
    picture.layout = layout
    return picture


_PARTS: tuple[tuple[str, type[Any]], ...] = (("scene", Scene), ("layout", Layout))


def _refusal(file: Path, why: str) -> RenderError:
    return RenderError(
        f"{file} holds no picture: {why}",
        hint='pictures are written by gn.render(thing, "picture.json"), of this version',
        where="",
    )


# ------------------------------------------------------------------------------ values by type


class _WrongError(Exception):
    """What is wrong, and where: the path is completed on the way out."""

    def __init__(self, what: str, *path: str | int) -> None:
        super().__init__(what)
        self.what = what
        self.path = list(path)

    def told(self) -> str:
        """The place in the file, then what is wrong there."""
        parts = (f"[{each}]" if isinstance(each, int) else f".{each}" for each in self.path)
        place = "".join(parts).removeprefix(".")
        return f"{place}: {self.what}" if place else self.what


def _part(content: Any, name: str, cls: type[Any]) -> Any:
    if not isinstance(content, dict) or name not in content:
        raise _WrongError(f"it has no {name!r}")
    try:
        return _read(content[name], cls)
    except _WrongError as error:
        error.path.insert(0, name)
        raise


def _read(value: Any, wanted: Any) -> Any:
    """A value of a type, from what JSON made of it."""
    # As deep as types are nested, not as the file is.
    if isinstance(wanted, type) and is_dataclass(wanted):
        return _read_object(value, wanted)
    origin = get_origin(wanted)
    if origin is tuple:
        return _read_tuple(value, get_args(wanted))
    if origin is UnionType:
        (inner,) = (each for each in get_args(wanted) if each is not NoneType)
        return None if value is None else _read(value, inner)
    if wanted is float:
        return _read_number(value)
    if type(value) is not wanted:
        raise _WrongError(f"{_word(value)} is no {wanted.__name__}")
    return "\n".join(map(printable, value.split("\n"))) if wanted is str else value


def _read_number(value: Any) -> float:
    if value in ("nan", "inf", "-inf"):
        return float(value)
    if type(value) not in (int, float):
        raise _WrongError(f"{_word(value)} is no number")
    try:
        return float(value)
    except OverflowError:
        raise _WrongError("the number is too large") from None


def _read_tuple(value: Any, inner: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _WrongError(f"{_word(value)} is no list")
    kinds: Iterable[Any] = inner
    if inner[-1] is Ellipsis:
        kinds = [inner[0]] * len(value)
    elif len(value) != len(inner):
        raise _WrongError(f"{len(value)} values instead of {len(inner)}")
    read = []
    for index, (each, kind) in enumerate(zip(value, kinds, strict=True)):
        try:
            read.append(_read(each, kind))
        except _WrongError as error:
            error.path.insert(0, index)
            raise
    return tuple(read)


def _read_object(value: Any, cls: Any) -> Any:
    if not isinstance(value, dict):
        raise _WrongError(f"{_word(value)} is no {cls.__name__}")
    known, required = _fields(cls)
    unknown = [name for name in value if name not in known]
    missing = [name for name in required if name not in value]
    if unknown or missing:
        word = f"unknown field {_word(unknown[0])}" if unknown else f"no field {missing[0]!r}"
        raise _WrongError(f"{word} in a {cls.__name__}")
    read = {}
    for name, each in value.items():
        try:
            read[name] = _read(each, known[name])
        except _WrongError as error:
            error.path.insert(0, name)
            raise
    return cls(**read)


@cache
def _fields(cls: Any) -> tuple[dict[str, Any], list[str]]:
    """Types of the fields that a file holds, and the names of those without a default."""
    hints = get_type_hints(cls)
    kept = [field for field in fields(cls) if field.name not in INTERNAL]
    required = [field.name for field in kept if field.default is MISSING]
    return {field.name: hints[field.name] for field in kept}, required


def _word(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 30 else f"{text[:29]}…"


# -------------------------------------------------------------------------- what fits together


def _check(scene: Scene, layout: Layout) -> None:
    """Numbers lead to what is there, styles exist, places are finite."""
    _check_numbers(scene)
    for name, styles, used in (
        ("nodes", NODES, [node.style for node in scene.nodes]),
        ("edges", EDGES, [edge.kind for edge in scene.edges]),
        ("bands", BANDS, [band.tone for band in layout.bands]),
    ):
        for index, style in enumerate(used):
            if style not in styles:
                raise _WrongError(f"no style {_word(style)}", name, index)
    if len(layout.boxes) != len(scene.nodes) or len(layout.routes) != len(scene.edges):
        raise _WrongError("not one box for each node and one route for each edge", "layout")
    if len(layout.texts) not in (0, len(scene.nodes)):
        raise _WrongError("not one text for each node", "layout")
    for index, ghost in enumerate(layout.ghosts):
        if not (0 <= ghost.node < len(scene.nodes) and 0 <= ghost.reader < len(scene.nodes)):
            raise _WrongError(f"there are {len(scene.nodes)} nodes", "layout", "ghosts", index)
    for index, route in enumerate(layout.routes):
        if len(route.points) < 2 or (route.is_curve and len(route.points) % 3 != 1):
            raise _WrongError("points are missing", "layout", "routes", index)
    boxes = [*layout.boxes, *(band.box for band in layout.bands)]
    boxes += [ghost.box for ghost in layout.ghosts]
    lengths = [layout.width, layout.height]
    lengths += [length for box in boxes for length in (box.x, box.y, box.width, box.height)]
    lengths += [length for route in layout.routes for point in route.points for length in point]
    if not all(map(math.isfinite, lengths)):
        raise _WrongError("a place is not finite", "layout")


def _check_numbers(scene: Scene) -> None:
    count = len(scene.nodes)
    for index, edge in enumerate(scene.edges):
        if not (0 <= edge.source < count and 0 <= edge.target < count):
            raise _WrongError(f"there are {count} nodes", "scene", "edges", index)
    for index, node in enumerate(scene.nodes):
        if not (_leads(node.origin, count) and _leads(node.group, len(scene.groups))):
            raise _WrongError("its origin or group is not there", "scene", "nodes", index)
    for index, group in enumerate(scene.groups):
        if not _leads(group.parent, index):
            raise _WrongError("groups around others come first", "scene", "groups", index)
    for index, overlay in enumerate(scene.overlays):
        low, high = overlay.low, overlay.high
        if not (math.isfinite(low) and low <= high < math.inf and (low > 0 or not overlay.is_log)):
            raise _WrongError(f"from {low:g} to {high:g} is no scale", "scene", "overlays", index)
    curves = [frame.values for overlay in scene.overlays for frame in overlay.frames]
    if scene.strip is not None:
        curves.append(scene.strip.values)
    if any(len(values) != count for values in curves):
        raise _WrongError("an overlay or strip has not one value for each node", "scene")


def _leads(number: int | None, count: int) -> bool:
    return number is None or 0 <= number < count


def _listing(scene: Scene) -> Iterable[str]:
    """The scene as text: a line for each box, with the boxes that it reads."""
    before: list[list[int]] = [[] for _ in scene.nodes]
    for edge in scene.edges:
        before[edge.target].append(edge.source)
    yield scene.title
    for index, node in enumerate(scene.nodes):
        read = ", ".join(f"%{each}" for each in before[index])
        yield f"  %{index} = {node.label}({read})  {node.detail}".rstrip()
