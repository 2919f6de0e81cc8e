"""Sequences abreast: the steps of an encoder and of its decoder share columns.

One after the other, each would leave its lanes empty while the other runs, and the picture would
be as wide as both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from graphnn.viz.scene import Scene

__all__ = ["abreast"]


def abreast(scene: Scene, axes: Iterable[Sequence[int]]) -> Scene:
    """The scene with sequences above each other where no lane has two of them.

    Those of which steps are left out need the same places for what is drawn.

    Parameters
    ----------
    scene : Scene
    axes : iterable of sequence of int
        The time steps that lie along each other, in order.
    """
    lanes: dict[int, set[str]] = {}
    elided = set()
    for node in scene.nodes:
        if node.step is not None:
            lanes.setdefault(node.step, set()).add(node.lane)
            if node.kind == "elision":
                elided.add(node.step)
    tracks: list[_Track] = []
    column: dict[int, int] = {}
    for steps in filter(None, axes):
        gaps = tuple(place for place, step in enumerate(steps) if step in elided)
        own = {lane for step in steps for lane in lanes.get(step, ())}
        track = next((each for each in tracks if each.has_room(own, gaps)), None)
        if track is None:
            tracks.append(track := _Track([], gaps, set()))
        track.lanes.update(own)
        track.columns.extend(steps[len(track.columns) :])
        column.update(zip(steps, track.columns, strict=False))
    if all(step == place for step, place in column.items()):
        return scene
    nodes = tuple(
        node if node.step is None else replace(node, step=column.get(node.step, node.step))
        for node in scene.nodes
    )
    return replace(scene, nodes=nodes, step_labels=_labels(scene, column))


@dataclass(frozen=True, slots=True)
class _Track:
    """Columns that sequences share, where some of them have gaps, and all lanes in them."""

    columns: list[int]
    gaps: tuple[int, ...]
    lanes: set[str]

    def has_room(self, lanes: set[str], gaps: tuple[int, ...]) -> bool:
        return self.gaps == gaps and self.lanes.isdisjoint(lanes)


def _labels(scene: Scene, column: dict[int, int]) -> tuple[tuple[int, str], ...]:
    """What stands above columns; where several steps have one, all of them."""
    told = dict(scene.step_labels)
    found: dict[int, dict[str, None]] = {}
    for step, place in column.items():
        found.setdefault(place, {})[told.get(step, f"t = {step}")] = None
    return tuple((place, " · ".join(texts)) for place, texts in found.items())
