"""Zooms of one thing on one sheet: they are arranged together, so that steps look alike in all.

A time step has the same operations in a rolled picture, in one of some steps and in one of all.
What stands around them differs: lines come back in the one, and lead past what is not drawn in the
other. All of these get their room in each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphnn.viz.grid import columns_of, lane_names
from graphnn.viz.scene import Scene, SceneEdge, SceneGroup, SceneNode

__all__ = ["Sheet", "sheet_of"]


@dataclass(frozen=True, slots=True)
class Sheet:
    """All zooms beside each other, the one that is drawn at the end.

    Attributes
    ----------
    scene : Scene
        Of all.
    drawn : Scene
        The last of them.
    columns : list of int
        By node, among those of all.
    near : list of int
        By node, among those of its own zoom.
    kinds : list of str
        By column; empty between two zooms.
    """

    scene: Scene
    drawn: Scene
    columns: list[int]
    near: list[int]
    kinds: list[str]

    @property
    def first_node(self) -> int:
        """The first of those that are drawn."""
        return len(self.scene.nodes) - len(self.drawn.nodes)

    @property
    def first_edge(self) -> int:
        """The first of those that are drawn."""
        return len(self.scene.edges) - len(self.drawn.edges)

    @property
    def typical(self) -> Sequence[SceneEdge]:
        """Edges between steps of all kinds: those of zooms, of which each has few steps."""
        return self.scene.edges[: self.first_edge] or self.scene.edges


def sheet_of(scene: Scene) -> Sheet:
    """A scene with its zooms, but for those that would leave a lane of it empty."""
    lanes = _lanes(scene) if scene.zooms else set()
    zooms = (*(zoom for zoom in scene.zooms if _lanes(zoom) <= lanes), scene)
    columns: list[int] = []
    near: list[int] = []
    kinds: list[str] = []
    for of_zoom, kinds_of_zoom in columns_of(zooms):
        if kinds:
            kinds.append("")
        columns += [len(kinds) + each for each in of_zoom]
        near += of_zoom
        kinds += kinds_of_zoom
    return Sheet(_beside(zooms) if len(zooms) > 1 else scene, scene, columns, near, kinds)


def _lanes(scene: Scene) -> set[tuple[str, str]]:
    names = lane_names(scene)
    return {(node.role, name) for node, name in zip(scene.nodes, names, strict=True)}


def _beside(zooms: Sequence[Scene]) -> Scene:
    """All boxes, lines and groups, with nothing between those of two zooms."""
    nodes: list[SceneNode] = []
    edges: list[SceneEdge] = []
    groups: list[SceneGroup] = []
    for zoom in zooms:
        number, of_groups = len(nodes), len(groups)
        for node in zoom.nodes:
            if node.origin is not None:
                node = node.about(node.origin + number, node.subject)
            nodes.append(
                node if node.group is None else replace(node, group=node.group + of_groups)
            )
        edges += (edge.between(edge.source + number, edge.target + number) for edge in zoom.edges)
        groups += (
            each if each.parent is None else replace(each, parent=each.parent + of_groups)
            for each in zoom.groups
        )
    return replace(
        zooms[-1], nodes=tuple(nodes), edges=tuple(edges), groups=tuple(groups), zooms=()
    )
