"""What stands in boxes that are small: signs in circles, and shapes only where they change."""

from __future__ import annotations

import re

from graphnn.viz.layout import HEIGHT
from graphnn.viz.scene import Scene
from graphnn.viz.style import DETAIL_SIZE, LABEL_SIZE, text_width

__all__ = ["box_texts", "size_of"]

SIGNS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷"}
"""Operations so small that a sign in a circle tells them."""
CIRCLE = 20.0
ONE_LINE = 22.0

_PREFIXED = re.compile(r"^(∂?)[\w.…]*\.([^\W\d]\w*(?:\[[^\]]*\])?)$")


def box_texts(scene: Scene) -> list[tuple[str, str]]:
    """Two lines for every node: signs for small operations, shapes only where they change."""
    specs = [node.detail.rpartition("  ")[2] for node in scene.nodes]
    keeps = [False] * len(specs)
    for edge in scene.edges:
        if edge.kind != "weight" and specs[edge.source] == specs[edge.target]:
            keeps[edge.target] = True
    texts = []
    for index, node in enumerate(scene.nodes):
        if node.label in SIGNS:
            texts.append((SIGNS[node.label], ""))
        elif "•" in node.label or node.kind == "elision":
            texts.append((node.label, "" if "•" in node.label else node.detail))
        else:
            shortened = _PREFIXED.match(node.label)
            label = "".join(shortened.groups()) if shortened else node.label
            is_same = keeps[index] and node.kind == "operation" and " " not in specs[index]
            texts.append((label, node.detail.rpartition("  ")[0] if is_same else node.detail))
    return texts


def size_of(label: str, detail: str) -> tuple[float, float]:
    """Width and height of a box with such texts."""
    if label in SIGNS.values():
        return CIRCLE, CIRCLE
    width = max(text_width(label, LABEL_SIZE), text_width(detail, DETAIL_SIZE)) + 14
    return max(width, 30.0), HEIGHT if detail else ONE_LINE
