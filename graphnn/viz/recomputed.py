"""What is computed again for the way back: in a lane of its own, with what is kept for it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from graphnn.core.graph import Graph, topological_order
from graphnn.core.node import Node
from graphnn.core.provenance import provenance, set_role
from graphnn.ops.recomputation import AGAIN
from graphnn.viz.graph_scene import bytes_text
from graphnn.viz.scene import Scene, SceneEdge
from graphnn.viz.segments import BACK
from graphnn.viz.unrolled import Unrolled

__all__ = ["apart_if_recomputed", "give_back", "with_recomputed"]

LANE = "computed again"


def give_back(written: Graph, asked: Graph) -> None:
    """Let what results of the forward pass need be of the forward pass.

    A compiler merges what both passes compute, such as the squares of states for a loss and for
    derivatives. A result that needs derivatives was asked for, such as a penalty, keeps them.

    Parameters
    ----------
    written : Graph
        That is drawn, with the same results.
    asked : Graph
        As it was before it was compiled.
    """
    for made, result in zip(written.outputs, asked.outputs, strict=True):
        if not any(map(_is_derivative, topological_order((result,)))):
            for node in filter(_is_derivative, topological_order((made,))):
                set_role(node, "forward")


def _is_derivative(node: Node) -> bool:
    return bool(node.inputs) and provenance(node).role == "backward"


def with_recomputed(scene: Scene, made: Unrolled, listed: Set[Node]) -> Scene:
    """The scene with marks on what is computed again; what that reads was kept.

    Parameters
    ----------
    scene : Scene
        Of the graph that is written out.
    made : Unrolled
    listed : set of Node
        Of the graph that was, what is computed again.
    """
    marked: set[Node] = set()
    for node in made.graph.nodes:
        if provenance(node).role == "forward" and node.op is not AGAIN:
            subject = made.subjects.get(node)
            is_listed = subject is not None and subject.node in listed
            reads_again = any(_is_again(each) or each in marked for each in node.inputs)
            # What adds up all steps, such as a loss, is computed once, and at last.
            if is_listed or (reads_again and provenance(node).step is not None):
                marked.add(node)
    shown = [each.subject.node if each.subject is not None else None for each in scene.nodes]
    nodes = tuple(
        replace(box, is_recomputed=True) if node in marked else box
        for box, node in zip(scene.nodes, shown, strict=True)
    )
    told: set[int] = set()
    edges: list[SceneEdge] = []
    for edge in scene.edges:
        source, target = nodes[edge.source], nodes[edge.target]
        is_kept = target.is_recomputed and not source.is_recomputed
        if is_kept and edge.kind == "recurrent":
            edge = replace(edge, kind="saved")
        if edge.kind == "saved":
            label = edge.label if edge.kind == "saved" else ""
            read = shown[edge.source]
            if not label and edge.source not in told and read is not None:
                label = bytes_text(read.spec)
            edge = replace(edge, label="" if edge.source in told else label)
            told.add(edge.source)
        edges.append(edge)
    return replace(scene, nodes=nodes, edges=tuple(edges))


def _is_again(node: Node) -> bool:
    return node.op is AGAIN and node.attrs["copy"] == BACK


def apart_if_recomputed(scene: Scene) -> Scene:
    """The scene with a lane of its own for what is computed again."""
    return replace(
        scene,
        nodes=tuple(
            replace(node, lane=f"{node.lane} {LANE}".strip()) if node.is_recomputed else node
            for node in scene.nodes
        ),
    )
