"""Scenes in Mermaid's language, which GitHub, GitLab and many editors draw."""

from __future__ import annotations

import json
from collections.abc import Iterator

from graphnn.viz.clusters import Cluster, cluster_tree
from graphnn.viz.scene import Scene, SceneNode
from graphnn.viz.style import BANDS, EDGES, NODES, printable

__all__ = ["mermaid_text"]

MOST_EDGES = 500
"""That Mermaid draws unless it is set up for more."""

_CODES = {character: f"#{ord(character)};" for character in "#&<>%\"`'\\"}
"""What has a meaning in labels, as Mermaid's entities."""


def mermaid_text(scene: Scene) -> str:
    """The scene as a flowchart: frames are subgraphs, kinds of nodes are classes."""
    lines = ["---", f"title: {_quoted(scene.title)}", "---", "flowchart TD"]
    if len(scene.edges) > MOST_EDGES:
        lines.append(
            f"%% {len(scene.edges):,} edges: Mermaid draws {MOST_EDGES}, unless its maxEdges is set"
        )
    lines += _clusters(scene)
    lines += [
        f"n{edge.source} {_arrow(edge.kind)}{_label(edge.label)} n{edge.target}"
        for edge in scene.edges
    ]
    lines += _styles(scene)
    return "\n".join(lines) + "\n"


def _clusters(scene: Scene) -> Iterator[str]:
    """Boxes inside of their frames, frames inside of frames."""
    pending: list[Cluster | str] = [cluster_tree(scene)]
    count = -1
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
            continue
        if count >= 0:
            yield f'subgraph c{count}["{_escaped(item.title)}"]'
            pending.append("end")
            pending.append(
                f"style c{count} fill:{BANDS[item.tone][0]},stroke:{BANDS[item.tone][1]}"
            )
        count += 1
        yield from (_box(index, scene.nodes[index]) for index in item.members)
        pending += reversed(item.inside)


def _box(index: int, node: SceneNode) -> str:
    lines = [node.label, node.detail, "  ".join(node.badges)]
    text = "<br/>".join(_escaped(line) for line in lines if line)
    look = NODES[node.style].radius
    opening, closing = ("([", "])") if look > 10 else ("(", ")") if look > 3 else ("[", "]")
    return f'n{index}{opening}"{text}"{closing}:::{node.style}'


def _arrow(kind: str) -> str:
    look = EDGES[kind]
    return "-.->" if look.dashes else "==>" if look.width > 2 else "-->"


def _label(label: str) -> str:
    return f'|"{_escaped(label)}"|' if label else ""


def _quoted(title: str) -> str:
    """A title between quotes; two percent signs would begin a directive."""
    return json.dumps(printable(title)).replace("%", "\\u0025")


def _escaped(text: str) -> str:
    return "".join(_CODES.get(character, character) for character in printable(text)) or " "


def _styles(scene: Scene) -> Iterator[str]:
    """Colours of the kinds that occur; results have a thick line."""
    used = {node.style for node in scene.nodes}
    for name, look in NODES.items():
        if name in used:
            yield f"classDef {name} fill:{look.fill},stroke:{look.line},color:#222222"
    for kind, line in EDGES.items():
        numbers = [str(index) for index, edge in enumerate(scene.edges) if edge.kind == kind]
        if numbers:
            yield f"linkStyle {','.join(numbers)} stroke:{line.line}"
    results = [f"n{index}" for index, node in enumerate(scene.nodes) if node.is_output]
    if results:
        yield "classDef result stroke-width:3px"
        yield f"class {','.join(results)} result"
