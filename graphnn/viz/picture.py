"""A picture: where everything is, in every form, and as a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import Literal, TypeAlias

from graphnn.core.errors import RenderError
from graphnn.core.text import counted
from graphnn.viz.drawing import Drawing, drawing_of
from graphnn.viz.explorer import PageStage, explorer_page
from graphnn.viz.graphviz_tool import find_graphviz, run_graphviz
from graphnn.viz.layout import Layout
from graphnn.viz.listing import listing_layout
from graphnn.viz.mermaid import mermaid_text
from graphnn.viz.mirror import has_mirror
from graphnn.viz.mirrored import mirrored_layout
from graphnn.viz.painting import overlaid
from graphnn.viz.plot import plotted
from graphnn.viz.route import grid_layout
from graphnn.viz.scene import Scene
from graphnn.viz.scene_json import json_text
from graphnn.viz.svg import svg_text

__all__ = ["FORMATS", "LayoutName", "Picture", "checked_target"]

LayoutName: TypeAlias = Literal["auto", "dot", "grid"]

MOST_FOR_DOT = 400
"""Nodes and edges together that ``dot`` is trusted with; its time grows very fast with them."""
DOT_SECONDS = 20.0
MOST_IN_ROWS = 1_000
"""Boxes of a forward pass with its backward pass beside it; more are written in lines."""
PIXELS_PER_POINT = 2.0
MOST_PIXELS = 20_000
"""Longest side of a PNG; larger drawings are scaled down to it."""
LEAST_SCALE = 0.25
"""Below this nothing in a PNG could be read."""


class Picture:
    """A picture in memory; notebooks show it.

    Attributes
    ----------
    scene : Scene
        What is drawn.
    """

    def __init__(
        self,
        scene: Scene,
        layout: LayoutName,
        text: Callable[[], str],
        explored: Scene | None = None,
    ) -> None:
        self.scene = scene
        self._layout_name = layout
        self._text = text
        self._explored = scene if explored is None else explored

    @cached_property
    def layout(self) -> Layout:
        """Where everything is."""
        if self._is_listed:
            return listing_layout(self.scene)
        if self._is_mirrored:
            return mirrored_layout(self.scene)
        if self._uses_dot and find_graphviz() is not None:
            from graphnn.viz.dot import dot_layout

            try:
                return dot_layout(self.scene, DOT_SECONDS)
            except RenderError:
                if self._layout_name == "dot":
                    raise
        elif self._layout_name == "dot":
            run_graphviz([], "")  # raises, and says what to install
        return grid_layout(self.scene)

    @property
    def _is_listed(self) -> bool:
        """Whether what is computed has an order, and no time steps to be shown instead."""
        is_ordered = self.scene.strip is not None and not self.scene.steps
        return self._layout_name == "auto" and is_ordered

    @property
    def _is_mirrored(self) -> bool:
        """Whether it is a forward pass that has its backward pass beside it."""
        is_readable = len(self.scene.nodes) <= MOST_IN_ROWS
        return self._layout_name == "auto" and is_readable and has_mirror(self.scene)

    @property
    def _uses_dot(self) -> bool:
        if self._is_listed or self._is_mirrored:
            return False
        if self._layout_name != "auto":
            return self._layout_name == "dot"
        size = len(self.scene.nodes) + len(self.scene.edges)
        return not self.scene.steps and 0 < size <= MOST_FOR_DOT

    @cached_property
    def drawing(self) -> Drawing:
        """Positions and styles together."""
        return overlaid(drawing_of(self.scene, self.layout), self.scene)

    @property
    def svg(self) -> str:
        """The picture as SVG."""
        return svg_text(self.drawing)

    @property
    def dot(self) -> str:
        """The picture in Graphviz's language: positions are Graphviz's to find, or pinned."""
        from graphnn.viz.dot import flowing_dot, pinned_dot

        return flowing_dot(self.scene) if self._uses_dot else pinned_dot(self.drawing)

    @property
    def png(self) -> bytes:
        """The picture as PNG."""
        from graphnn.viz.dot import pinned_dot

        if len(self.drawing.marks) > MOST_NODES_IN_PIXELS:
            raise RenderError(
                f"{len(self.drawing.marks):,} nodes are too many for a .png, "
                f"which holds up to {MOST_NODES_IN_PIXELS:,}",
                hint="write .svg, which browsers zoom",
                where="",
            )
        longest = max(self.drawing.width, self.drawing.height)
        scale = min(PIXELS_PER_POINT, MOST_PIXELS / longest)
        if scale < LEAST_SCALE:
            raise RenderError(
                f"as a PNG of at most {MOST_PIXELS:,} pixels nothing could be read: the picture "
                f"is {self.drawing.width:,.0f} x {self.drawing.height:,.0f} points",
                hint="write .svg, which browsers zoom",
                where="",
            )
        if find_graphviz() is None:
            return plotted(self.drawing, "png", 72 * scale)
        options = ["-Kneato", "-n2", "-Tpng", f"-Gdpi={72 * scale:g}"]
        return run_graphviz(options, pinned_dot(self.drawing))

    @property
    def pdf(self) -> bytes:
        """The picture as PDF."""
        return plotted(self.drawing, "pdf", 72.0)

    @property
    def json(self) -> str:
        """Scene and layout as JSON, for other programs."""
        return json_text(self.scene, self.layout)

    @property
    def mmd(self) -> str:
        """The picture in Mermaid's language, which many websites draw."""
        return mermaid_text(self.scene)

    @property
    def html(self) -> str:
        """A page in which the picture is explored: one file that needs nothing from outside.

        Repeated blocks are all there if no ``depth`` was asked for: the page folds them.
        """
        scene = self._explored
        picture = self if scene is self.scene else Picture(scene, self._layout_name, self._text)
        return explorer_page([PageStage("", (), scene, picture.layout)])

    @property
    def txt(self) -> str:
        """The same as text: a graph reads like code, a model is a tree of its layers."""
        return self._text() + "\n"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture in the format that the file's ending names; see :func:`render`."""
        target = checked_target(path)
        ending = _ending(target)
        content: str | bytes = getattr(self, ending)
        _write_whole(target, content.encode() if isinstance(content, str) else content)
        return target

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What notebooks show: the picture, and words where there is no room for it."""
        return {"image/svg+xml": self.svg, "text/plain": repr(self)}

    def __repr__(self) -> str:
        scene = self.scene
        return (
            f"<Picture of {counted(len(scene.nodes), 'node')}, {counted(len(scene.edges), 'edge')}>"
        )


MOST_NODES_IN_PIXELS = 5_000
"""Beyond this Graphviz takes minutes to draw pixels, and no screen could show them."""

WRITE_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

FORMATS = ("svg", "png", "pdf", "html", "dot", "json", "mmd", "txt")


def _ending(target: Path) -> str:
    return target.suffix.lower().removeprefix(".")


def checked_target(path: str | os.PathLike[str]) -> Path:
    """Where a picture is to be written, if that can be: asked before the work is done.

    Raises
    ------
    RenderError
        If the ending names no format, or the folder is not there.
    """
    if not isinstance(path, str | os.PathLike):
        raise RenderError(f"path={path!r}", hint="the path of a file, such as a.svg", where="")
    target = Path(path)
    if _ending(target) not in FORMATS:
        raise RenderError(
            f"cannot tell the format from {target.name!r}",
            hint=f"end it with one of .{', .'.join(FORMATS)}",
            where="",
        )
    if not target.parent.is_dir():
        raise RenderError(
            f"cannot write {str(target)!a}: its folder is not there",
            hint=f"make {str(target.parent)!a} first, or name another one",
            where="",
        )
    return target


def _write_whole(target: Path, content: bytes) -> None:
    """Write a file so that it is never seen half written."""
    # Not a file of `tempfile`, which nobody else may read.
    partly = target.parent / f".graphnn-{token_hex(8)}"
    try:
        descriptor = os.open(partly, WRITE_NEW, 0o666)
    except OSError as error:
        raise RenderError(
            f"cannot write {target}: {error.strerror}",
            hint="is its folder yours to write?",
            where="",
        ) from None
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(partly, target)
    except (OSError, ValueError) as error:  # no file has a name with a null or half a character
        why = error.strerror if isinstance(error, OSError) else "no file can have this name"
        raise RenderError(f"cannot write {str(target)!a}: {why}", where="") from None
    finally:
        partly.unlink(missing_ok=True)
