"""How many time steps of a graph are drawn: from a graph to the scene of some of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from typing import Literal, TypeAlias

from graphnn.compiler.program import Program
from graphnn.compiler.scans.rewriting import has_scans, is_scan
from graphnn.compiler.unit import Unit
from graphnn.core.errors import RenderError
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.ops.control import STOP_GRADIENT
from graphnn.viz.abreast import abreast
from graphnn.viz.body_frames import scene_with_bodies
from graphnn.viz.elements import with_elements, with_numbers_apart
from graphnn.viz.graph_scene import scene_of_graph
from graphnn.viz.lanes import with_lanes
from graphnn.viz.recomputed import apart_if_recomputed, give_back, with_recomputed
from graphnn.viz.rolled import rolled
from graphnn.viz.rows import Window, minus
from graphnn.viz.scene import Scene, SceneNode
from graphnn.viz.segments import kept_by
from graphnn.viz.unrolled import Unrolled, unrolled
from graphnn.viz.windows import Gap, windowed, without

__all__ = ["Steps", "check_steps", "in_zooms", "scene_in_steps", "scene_of_kept"]

Steps: TypeAlias = Literal["auto", "all", "rolled"] | int

MOST_STEPS = 8
"""That are drawn if nothing is said."""
FEW_STEPS = 2
"""At both ends, where there are more."""
SUM = re.compile(r"Σ \d+ terms")
ROLLED = Window(3, 3)
"""Among these are, at both ends, neighbours that are neither the first nor the last step."""
FEWER = (1, 2)
"""At both ends: with them, the cell and the above, steps have all neighbours that there can be."""


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


def scene_of_kept(program: Program, steps: Steps, title: str = "") -> Scene:
    """The scene of what a program computes in its time steps; what it computes again is marked.

    It knows its zooms, as that of :func:`scene_in_steps`.
    """
    kept = kept_by(program)
    title = title or f"{program.arena_nbytes:,} bytes of memory, {program.flops:,} FLOPs"
    # All is written out: segments have ends where a window over all steps has none.
    made = unrolled(kept.graph, in_segments=True)
    give_back(made.graph, program.graph)
    scene, _ = _scene_of(made, title, kept.recomputed)
    return in_zooms(scene, steps)


def scene_in_steps(graph: Graph, steps: Steps, title: str = "") -> Scene:
    """The scene of a graph in which time steps are drawn as asked; it knows its zooms."""
    title = title or repr(graph).strip("<>")
    if has_scans(graph) or any(node.op is STOP_GRADIENT for node in graph.nodes):
        return _of_scans(graph, steps, title)
    if any(node.op.body_attrs for node in graph.nodes) and not _has_steps(graph):
        return scene_with_bodies(Unit(graph), title)
    return in_zooms(with_lanes(with_elements(scene_of_graph(graph, title))), steps)


def _has_steps(graph: Graph) -> bool:
    """Whether anything in a graph belongs to a time step."""
    return any(provenance(node).step is not None for node in graph.nodes)


def in_zooms(scene: Scene, steps: Steps) -> Scene:
    """What is drawn of a scene with all steps; it knows its zooms, beside which it is laid out."""
    if not scene.steps:
        return scene
    short = windowed(scene, ROLLED.first)
    fewer = (windowed(short, count) for count in FEWER)
    zooms = (_rolled(short, [short.steps]), *fewer, short)
    return replace(_some_of(scene, steps), zooms=zooms)


def _some_of(scene: Scene, steps: Steps) -> Scene:
    """What is drawn of a scene with all steps."""
    if steps == "rolled":
        return _rolled(scene, [scene.steps])
    if steps == "auto":
        steps = FEW_STEPS if len(scene.steps) > MOST_STEPS else "all"
    return windowed(scene, steps) if isinstance(steps, int) else scene


def _rolled(scene: Scene, axes: Sequence[Sequence[int]]) -> Scene:
    """One cell of each axis, from the steps that are written out."""
    elided = {node.step for node in scene.nodes if node.kind == "elision"}
    return rolled(scene, [[step for step in axis if step not in elided] for axis in axes])


def _of_scans(graph: Graph, steps: Steps, title: str) -> Scene:
    """The scene of a graph with scans: what is not drawn is not written out."""
    window = None
    if steps == "auto":
        window = Window(FEW_STEPS, FEW_STEPS, MOST_STEPS)
    elif steps == "rolled":
        window = ROLLED
    elif isinstance(steps, int):
        window = Window(steps, steps)
    made = _written_out(graph, window, title)
    if not made[0].steps:
        return made[0]
    short = made if steps == "rolled" else _written_out(graph, ROLLED, title)
    fewer = (_written_out(graph, Window(count, count), title) for count in FEWER)
    zooms = (_rolled(*short), *(abreast(*each) for each in (*fewer, short)))
    return replace(zooms[0] if steps == "rolled" else abreast(*made), zooms=zooms)


def _written_out(graph: Graph, window: Window | None, title: str) -> tuple[Scene, list[list[int]]]:
    """The scene of a graph whose scans are written out, and the time steps by axis."""
    made = unrolled(graph, window)
    if window is None:
        _check_known(made.graph)
    return _scene_of(made, title)


def _scene_of(
    made: Unrolled, title: str, recomputed: Set[Node] | None = None
) -> tuple[Scene, list[list[int]]]:
    """The scene of what is written out, and the time steps by axis."""
    scene = _with_cuts(scene_of_graph(made.graph, title), made.cuts)
    if recomputed is not None:
        scene = with_recomputed(scene, made, recomputed)
    labels = [each for axis in made.axes for each in axis.labels.items()]
    scene = with_elements(replace(scene, step_labels=tuple(labels)))
    if recomputed is None:
        scene = with_numbers_apart(scene)
    subjects = (
        made.subjects.get(each.subject.node) if each.subject is not None else None
        for each in scene.nodes
    )
    counted = _counted(scene.nodes, made) if recomputed is None else scene.nodes
    pairs = zip(counted, subjects, strict=True)
    nodes = tuple(node.about(node.origin, subject or node.subject) for node, subject in pairs)
    # Axes of segments are parts of one sequence.
    sequences = [range(axis.places[0].column, axis.end) for axis in made.axes]
    scene = replace(scene, nodes=nodes)
    scene = apart_if_recomputed(with_lanes(scene, sequences if recomputed is None else ()))
    gaps = [
        Gap((axis.column_between,), minus(axis.between), axis.told_between)
        for axis in made.axes
        if axis.between != 0
    ]
    if gaps:
        scene = without(scene, gaps)
    columns = {each for node in scene.nodes if (each := node.step) is not None}
    return scene, [[step for step in steps if step in columns] for steps in sequences]


def _with_cuts(scene: Scene, cuts: Set[tuple[Node, Node]]) -> Scene:
    """The scene with a cut where something is read as a constant."""
    made = [each.subject.node if each.subject is not None else None for each in scene.nodes]
    edges = tuple(
        replace(edge, is_cut=True) if (made[edge.source], made[edge.target]) in cuts else edge
        for edge in scene.edges
    )
    return replace(scene, edges=edges)


def _counted(nodes: Iterable[SceneNode], made: Unrolled) -> Iterator[SceneNode]:
    """The nodes, with sums over time that say how many steps they add up."""
    for node in nodes:
        length = made.totals.get(node.subject.node) if node.subject is not None else None
        if length is None or node.kind != "sum":
            yield node
        else:
            terms = f"Σ {minus(length)} terms"
            label, detail = (SUM.sub(terms, text) for text in (node.label, node.detail))
            yield replace(node, label=label, detail=detail)


def _check_known(graph: Graph) -> None:
    """All steps can be written out."""
    for node in graph.nodes:
        if is_scan(node) and not isinstance(node.attrs["length"], int):
            raise RenderError(
                f'steps="all": how many steps a scan has is not known, '
                f"but for {minus(node.attrs['length'])}",
                hint='steps=2 draws the first and the last two, steps="rolled" one cell',
                where=provenance(node).where,
            )
