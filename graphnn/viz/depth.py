"""How much of a graph is drawn: scopes as boxes, and equal blocks once."""

from __future__ import annotations

from typing import Literal, TypeAlias

from graphnn.core.errors import RenderError
from graphnn.viz.collapse import collapsed
from graphnn.viz.repeats import once_each
from graphnn.viz.scene import Scene

__all__ = ["Depth", "at_depth"]

Depth: TypeAlias = 'int | Literal["all"] | None'

MOST_IN_FULL = 60
"""Boxes up to which repeated blocks are all drawn if nothing is said."""


def at_depth(scene: Scene, depth: Depth) -> Scene:
    """The scene with what lies deeper than asked in one box each; see :func:`render`.

    Raises
    ------
    RenderError
        If `depth` is none of the numbers and words there are.
    """
    if depth == "all":
        return scene
    if depth is None:
        is_small = len(scene.nodes) <= MOST_IN_FULL
        return scene if scene.steps or is_small else once_each(scene)
    if not isinstance(depth, int) or isinstance(depth, bool) or depth < 0:
        raise RenderError(
            f"cannot draw depth={depth!r}",
            hint='0 for the outermost name scopes, 1 for those within, ..., or "all"',
            where="",
        )
    shallow = collapsed(scene, depth)
    return shallow if scene.steps else once_each(shallow)
