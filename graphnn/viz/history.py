"""The history of a program: what every pass made of it, and why.

The program is compiled once more, and the unit is kept after every pass: ordinary compilation
forgets what it rewrites.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from graphnn.compiler.domain import ANCHOR_OPS
from graphnn.compiler.driver import Decision, Driver, Snapshot, lines_of
from graphnn.compiler.pipeline import LEVELS
from graphnn.compiler.program import Program
from graphnn.compiler.unit import Options, Unit
from graphnn.core.errors import RenderError
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.viz.body_frames import scene_with_bodies
from graphnn.viz.matching import matched
from graphnn.viz.program_scene import scene_of_unit
from graphnn.viz.scene import Scene, SceneNode

__all__ = ["History", "Stage", "history", "remarks_of"]

MERGING = {
    "reroll": "loop",
    "merge_scans": "loop",
    "merge_products": "product",
    "simplify_conditionals": "branch",
}
"""The passes that make one thing of several, and of what."""

WORDS = (
    ("is computed before the loop", "hoisted"),
    ("is computed after the loop", "hoisted"),
    ("becomes one product over all steps", "hoisted"),
    ("become one product", "merged"),
    ("is packed once", "packed once"),
    ("became a scan", "rerolled"),
)
"""How a verdict begins, and the badge that says the same."""

MOST_NOTES = 200
"""Sentences of one stage."""


@dataclass(frozen=True)
class Stage:
    """What there was after a pass.

    Attributes
    ----------
    name : str
        The pass; ``"graph"`` for what was given.
    notes : tuple of str
        What it did and decided, in sentences.
    scene : Scene
    same : tuple of int or None
        By node: its number in the stage before, if it was there.
    changes : tuple of {"", "added", "merged"}
        By node. What was merged does the work of several that were removed.
    removed : tuple of int
        Numbers in the stage before.
    """

    name: str
    notes: tuple[str, ...]
    scene: Scene
    same: tuple[int | None, ...]
    changes: tuple[str, ...]
    removed: tuple[int, ...]

    def __repr__(self) -> str:
        return f"<Stage {self.name}: {_counted(self)}>"


@dataclass(frozen=True)
class History(Sequence[Stage]):
    """What every pass that changed or decided something made of a graph.

    ``history[i]`` is a stage, and can be drawn like anything else.

    Attributes
    ----------
    stages : tuple of Stage
        The first one is what was given.
    """

    stages: tuple[Stage, ...]

    def __len__(self) -> int:
        return len(self.stages)

    def __getitem__(self, index):  # type: ignore
        return self.stages[index]

    def __str__(self) -> str:
        return "\n".join(line for stage in self.stages for line in _lines(stage))

    def __repr__(self) -> str:
        return f"<History of {len(self.stages)} stages: {', '.join(s.name for s in self.stages)}>"
