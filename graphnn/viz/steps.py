"""How many time steps of a graph are drawn: from a graph to the scene of some of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from graphnn.compiler.scans.rewriting import has_scans
from graphnn.core.errors import RenderError
from graphnn.core.graph import Graph
from graphnn.viz.graph_scene import scene_of_graph
from graphnn.viz.scene import Scene
from graphnn.viz.unrolled import unrolled
from graphnn.viz.windows import windowed

__all__ = ["Steps", "check_steps", "scene_in_steps"]

Steps: TypeAlias = Literal["auto", "all", "rolled"] | int

MOST_STEPS = 8
"""That are drawn if nothing is said."""
FEW_STEPS = 2
"""At both ends, where there are more."""


def check_steps(steps: object) -> None:
    """It is one of the words, or a number of steps.

    Raises
    ------
    RenderError
    """
    is_number = isinstance(steps, int) and not isinstance(steps, bool) and steps > 0
    if not is_number and steps not in ("auto", "all", "rolled"):
        raise RenderError(
            f"cannot draw steps={steps!r}",
            hint='"all", "rolled", "auto", or how many at the beginning and at the end, such as 3',
            where="",
        )


def scene_in_steps(graph: Graph, steps: Steps, title: str = "") -> Scene:
    """The scene of a graph in which time steps are drawn as asked."""
    title = title or repr(graph).strip("<>")
    if has_scans(graph):
        made = unrolled(graph)
        scene = scene_of_graph(made.graph, title)
        subjects = made.subjects
        nodes = tuple(
            replace(node, subject=subjects.get(node.subject.node, node.subject))
            if node.subject is not None
            else node
            for node in scene.nodes
        )
        scene = replace(scene, nodes=nodes)
    else:
        scene = scene_of_graph(graph, title)
    if steps == "auto":
        steps = FEW_STEPS if len(scene.steps) > MOST_STEPS else "all"
    return windowed(scene, steps) if isinstance(steps, int) else scene
