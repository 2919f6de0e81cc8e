"""The explorer: a page in one file in which a graph is looked at, searched and folded.

The page needs nothing from outside, and its security policy forbids it to ask. What it does is
written in ``page/``: plain JavaScript, joined in the order of `SCRIPTS`, without a build step.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from graphnn.compiler.garbage import without_collections
from graphnn.viz.explorer_data import Texts, scene_columns, tooltip_columns
from graphnn.viz.heat import NOT_FINITE, heat_color
from graphnn.viz.history import Stage
from graphnn.viz.layout import Layout
from graphnn.viz.scene import Scene
from graphnn.viz.style import BANDS, DETAIL_SIZE, EDGES, FONTS, LABEL_SIZE, NODES, shorten

__all__ = ["SCRIPTS", "PageStage", "explorer_page"]

SCRIPTS = (
    "tips.js",
    "graph.js",
    "index.js",
    "lines.js",
    "folding.js",
    "relations.js",
    "colours.js",
    "camera.js",
    "paint.js",
    "tiles.js",
    "bands.js",
    "overview.js",
    "elements.js",
    "details.js",
    "list.js",
    "search.js",
    "outline.js",
    "overlays.js",
    "highlights.js",
    "panel.js",
    "transition.js",
    "stages.js",
    "link.js",
    "pointer.js",
    "keys.js",
    "app.js",
)
"""The files of ``page/`` that make the page work, in the order in which they are joined."""


SHADES = 64
"""Colours that an overlay's numbers are told apart by."""


@dataclass(frozen=True, slots=True)
class PageStage:
    """A scene in a series of them, such as what a graph is after one of the compiler's passes.

    Attributes
    ----------
    name : str
        Such as the pass.
    notes : tuple of str
        What was decided, and why.
    scene : Scene
    layout : Layout
    same : tuple of int or None
        By node, which node of the stage before it is.
    changes : tuple of str
        By node, what became of it: ``"added"``, ``"changed"``, ...; empty if nothing did.
    removed : tuple of int
        Nodes of the stage before that are gone.
    """

    name: str
    notes: tuple[str, ...]
    scene: Scene
    layout: Layout
    same: tuple[int | None, ...] = ()
    changes: tuple[str, ...] = ()
    removed: tuple[int, ...] = ()

    @staticmethod
    def of(stage: Stage, scene: Scene, layout: Layout) -> PageStage:
        """A stage of the history of a program: its scene with another title, and positions."""
        return PageStage(
            stage.summary,
            stage.notes,
            scene,
            layout,
            stage.same,
            stage.changes,
            stage.removed,
        )


@without_collections()
def explorer_page(stages: Sequence[PageStage]) -> str:
    """The page of one scene or of a series of scenes, as the text of an HTML file.

    Parameters
    ----------
    stages : sequence of PageStage
        At least one; a slider leads through several.

    Examples
    --------
    >>> import graphnn as gn
    >>> picture = gn.render(gn.tanh(gn.input("x", shape=(3,))))
    >>> page = explorer_page([PageStage("graph", (), picture.scene, picture.layout)])
    >>> page.startswith("<!DOCTYPE html>") and "https:" not in page
    True
    """
    texts, lines = Texts(), Texts()
    told = [tooltip_columns(stage.scene, lines) for stage in stages]
    data = {"stages": [_stage(stage, texts) for stage in stages], "style": _style()}
    script = '"use strict";\n' + "\n".join(_file(name) for name in SCRIPTS)
    style = _file("style.css")
    parts = {
        "POLICY": (
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
            "img-src data:; base-uri 'none'; form-action 'none'"
        ),
        "TITLE": html.escape(shorten(stages[0].scene.title, 100)),
        "STYLE": style,
        "DATA": _harmless({"texts": texts.all, **data}),
        "TIPS": _harmless({"texts": lines.all, "stages": told}),
        "SCRIPT": script,
    }
    page = _file("page.html")
    for name, text in parts.items():
        before, after = page.split(f"<!--{name}-->")
        page = before + text + after
    return page


def _stage(stage: PageStage, texts: Texts) -> dict[str, Any]:
    return {
        "name": stage.name,
        "notes": list(stage.notes),
        "scene": scene_columns(stage.scene, stage.layout, texts),
        "same": [-1 if each is None else each for each in stage.same],
        "changes": [[index, change] for index, change in enumerate(stage.changes) if change],
        "removed": list(stage.removed),
    }


def _style() -> dict[str, Any]:
    """Colours, lines and sizes, which the page shares with all other pictures."""
    return {
        "nodes": {name: asdict(style) for name, style in NODES.items()},
        "edges": {name: asdict(style) for name, style in EDGES.items()},
        "bands": {name: {"fill": fill, "line": line} for name, (fill, line) in BANDS.items()},
        "fonts": FONTS,
        "notFinite": NOT_FINITE,
        "ramp": [heat_color(shade / (SHADES - 1)) for shade in range(SHADES)],
        "labelSize": LABEL_SIZE,
        "detailSize": DETAIL_SIZE,
    }


def _file(name: str) -> str:
    return files("graphnn.viz").joinpath("page", name).read_text("utf-8")


def _hash(text: str) -> str:
    """How a security policy names a script that may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _harmless(data: Any) -> str:
    """JSON that no HTML parser can take for markup: in ASCII, and without ``<``, ``>``, ``&``."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
