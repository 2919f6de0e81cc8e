"""Updates of many parameters by one rule: the first is drawn in full, the others as one box each.

An optimizer does the same for every parameter. Ten operations and two slots for each of them are a
comb of lines in which nobody finds the rule.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from graphnn.core.text import counted
from graphnn.viz.quotient import contracted
from graphnn.viz.scene import Scene, SceneNode
from graphnn.viz.style import shorten

__all__ = ["updates_once"]

ARROW = " ← "
FEWEST_BOXES = 3
"""Of an update, for one box in place of them to be worth it."""


def updates_once(scene: Scene) -> Scene:
    """The scene of a program in which equal updates are drawn in full once.

    Updates are equal if they compute the same, whatever the gradient was computed from. The slots
    of the others, such as moments, are in their box: nothing else reads them.
    """
    members: dict[int, list[int]] = {}
    for index, node in enumerate(scene.nodes):
        if node.role == "update" and node.group is not None:
            members.setdefault(node.group, []).append(index)
    reads, readers = _neighbours(scene)
    first: dict[Hashable, list[int]] = {}
    later: dict[int, list[int]] = {}
    same: dict[int, list[int]] = {}
    for group, boxes in members.items():
        if len(boxes) < FEWEST_BOXES:
            continue
        shown = first.setdefault(_content(scene, boxes, reads), boxes)
        if shown is not boxes:
            later[group] = boxes
            same.setdefault(shown[0], []).append(group)
    if not later:
        return scene
    nodes = list(scene.nodes)
    for shown in first.values():
        others = same.get(shown[0], [])
        if others:
            each = _target(scene, shown)
            badge = f"× {len(others) + 1} parameters"
            nodes[each] = replace(nodes[each], badges=(*nodes[each].badges, badge))
    slots = _slots(scene, later, reads, readers)
    return _folded(replace(scene, nodes=tuple(nodes)), later, slots)


def _folded(scene: Scene, later: Mapping[int, list[int]], slots: Mapping[int, list[int]]) -> Scene:
    """The scene with one box in place of each of these updates and its slots."""
    part = list(range(len(scene.nodes)))
    for group, boxes in later.items():
        for each in (*boxes, *slots[group]):
            part[each] = boxes[-1]
    inside: dict[int, list[int]] = {}
    for index, stands in enumerate(part):
        inside.setdefault(stands, []).append(index)
    made: dict[int, SceneNode] = {
        boxes[-1]: _box(scene, boxes, len(slots[group])) for group, boxes in later.items()
    }
    order = sorted(inside)
    parts = [(made.get(each, scene.nodes[each]), inside[each]) for each in order]
    place = {each: number for number, each in enumerate(order)}
    if scene.strip is not None:
        blocks = tuple(
            replace(block, first=place[part[block.first]], last=place[part[block.last]])
            for block in scene.strip.blocks
        )
        scene = replace(scene, strip=replace(scene.strip, blocks=blocks))
    return contracted(scene, parts)


def _content(scene: Scene, boxes: Sequence[int], reads: Mapping[int, set[int]]) -> Hashable:
    """What an update computes, whatever its parameter is called and however large it is."""
    place = {each: number for number, each in enumerate(boxes)}
    words = tuple(scene.nodes[each].label.rpartition(ARROW)[2] for each in boxes)
    wiring = [(place[a], place[b]) for b in boxes for a in reads.get(b, ()) if a in place]
    return words, tuple(sorted(wiring))


def _target(scene: Scene, boxes: Sequence[int]) -> int:
    """The box that writes the parameter: slots are written before it."""
    return max((each for each in boxes if ARROW in scene.nodes[each].label), default=boxes[-1])


def _neighbours(scene: Scene) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
    """By box: what it reads, and what reads it."""
    reads: dict[int, set[int]] = {}
    readers: dict[int, set[int]] = {}
    for edge in scene.edges:
        readers.setdefault(edge.source, set()).add(edge.target)
        reads.setdefault(edge.target, set()).add(edge.source)
    return reads, readers


def _slots(
    scene: Scene,
    later: Mapping[int, list[int]],
    reads: Mapping[int, set[int]],
    readers: Mapping[int, set[int]],
) -> dict[int, list[int]]:
    """By update: the values of its own that it reads and writes, beside its parameter."""
    found: dict[int, list[int]] = {}
    for group, boxes in later.items():
        name = scene.nodes[_target(scene, boxes)].label.rpartition(ARROW)[0]
        around = {each for box in boxes for each in reads.get(box, ())}
        found[group] = [
            each
            for each in sorted(around)
            if scene.nodes[each].kind == "parameter"
            and scene.nodes[each].label != name
            and readers[each] <= set(boxes)
        ]
    return found


def _box(scene: Scene, boxes: Sequence[int], slots: int) -> SceneNode:
    target = scene.nodes[_target(scene, boxes)]
    name = target.label.rpartition(ARROW)[0]
    words = [scene.nodes[each].label for each in boxes]
    return replace(
        target,
        label=shorten(f"{name}{ARROW}the same"),
        detail=f"{counted(len(boxes), 'operation')}, {counted(slots, 'slot')}",
        tooltip="\n".join([target.tooltip, *(shorten(word, 200) for word in words)]),
        badges=(),
        is_output=True,
    )
