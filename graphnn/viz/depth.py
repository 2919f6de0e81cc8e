"""How much of a graph is drawn: scopes as boxes, and equal blocks once."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from graphnn.core.errors import RenderError
from graphnn.viz.collapse import collapsed
from graphnn.viz.mirror import has_mirror
from graphnn.viz.randomness import random_once
from graphnn.viz.repeats import once_each
from graphnn.viz.scene import Scene

__all__ = ["Depth", "at_depth", "check_depth"]

Depth: TypeAlias = 'int | Literal["all"] | None'

MOST_IN_FULL = 60
"""Boxes up to which repeated blocks are all drawn if nothing is said."""
MOST_IN_ROWS = 150
"""Boxes of a forward and a backward pass that are drawn if nothing is said: about three screens."""


def at_depth(scene: Scene, depth: Depth) -> Scene:
    """The scene with what lies deeper than asked in one box each; see :func:`render`.

    Raises
    ------
    RenderError
        If `depth` is none of the numbers and words there are.
    """
    check_depth(depth)
    if depth == "all":
        return scene
    scene = random_once(scene)
    if depth is None:
        is_small = len(scene.nodes) <= MOST_IN_FULL
        return scene if is_small else _on_some_screens(scene, _with_repeats_once(scene))
    return _with_repeats_once(collapsed(scene, depth))


def check_depth(depth: object) -> None:
    """Refuse what is no depth."""
    is_number = isinstance(depth, int) and not isinstance(depth, bool) and depth >= 0
    is_word = isinstance(depth, str) and depth == "all"
    if depth is not None and not is_number and not is_word:
        raise RenderError(
            f"cannot draw depth={depth!r}",
            hint='0 for the outermost name scopes, 1 for those within, ..., or "all"',
            where="",
        )


def _on_some_screens(whole: Scene, scene: Scene) -> Scene:
    """A forward pass with its backward pass, with as many scopes opened as can be overlooked."""
    if len(scene.nodes) <= MOST_IN_ROWS or not has_mirror(scene):
        return scene
    deepest = max((len(node.scope.split("/")) for node in whole.nodes if node.scope), default=0)
    smaller, depth = scene, 0
    for depth in reversed(range(deepest)):
        smaller = _with_repeats_once(collapsed(whole, depth))
        if len(smaller.nodes) <= MOST_IN_ROWS or not depth:
            break
    if len(smaller.nodes) == len(scene.nodes):
        return scene
    told = f'{scene.title}, depth={depth}: depth={depth + 1} or depth="all" shows more'
    return replace(smaller, title=told)


def _with_repeats_once(scene: Scene) -> Scene:
    """Time steps are repeated on purpose, and what has frames of its own keeps them."""
    return scene if scene.steps or scene.groups else once_each(scene)
