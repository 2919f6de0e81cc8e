"""Scenes as a tree of text: frames with what is in them, indented."""

from __future__ import annotations

from graphnn.viz.clusters import Cluster, cluster_tree
from graphnn.viz.scene import Scene
from graphnn.viz.style import printable

__all__ = ["tree_text"]


def tree_text(scene: Scene) -> str:
    """One line a box and frame, in the order of computation."""
    lines = [printable(scene.title)]
    pending: list[tuple[str, bool, Cluster | int]] = []

    def put(prefix: str, cluster: Cluster) -> None:
        # Frames and boxes by their first box: sources before what reads them.
        parts: list[Cluster | int] = [*cluster.members, *cluster.inside]
        parts.sort(key=lambda part: part if isinstance(part, int) else _first(part))
        pending.extend((prefix, part is parts[-1], part) for part in reversed(parts))

    put("", cluster_tree(scene))
    while pending:
        prefix, is_last, part = pending.pop()
        branch = "└─ " if is_last else "├─ "
        if isinstance(part, int):
            node = scene.nodes[part]
            words = [node.label, node.detail, *node.badges, "→ result" if node.is_output else ""]
            lines.append(prefix + branch + "  ".join(word for word in words if word))
        else:
            lines.append(prefix + branch + part.title)
            put(prefix + ("   " if is_last else "│  "), part)
    return "\n".join(lines)


def _first(cluster: Cluster) -> int:
    """The number of the first box in a frame."""
    while not cluster.members:
        cluster = cluster.inside[0]
    return cluster.members[0]
