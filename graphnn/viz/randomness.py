"""Random numbers as one box: how they are made from a key is the same in every picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphnn.core.provenance import provenance
from graphnn.core.text import counted
from graphnn.ops.philox import RANDOM_BITS
from graphnn.ops.streams import RNG_COUNTER, RNG_SEED
from graphnn.viz.quotient import contracted
from graphnn.viz.scene import Scene, SceneNode
from graphnn.viz.scopes import value_of
from graphnn.viz.style import shorten

__all__ = ["random_once"]

FEWEST_BOXES = 3
"""For one box in place of them to be worth it."""


def random_once(scene: Scene) -> Scene:
    """The scene in which what depends on nothing but random bits is one box.

    Before: ``rng_seed -> reshape -> ... -> random_bits -> ... -> less -> where -> multiply``.
    After: ``random -> multiply``. What has a name, or is a result, keeps its own box.
    """
    values = map(value_of, scene.nodes)
    if not any(value is not None and value.op is RANDOM_BITS for value in values):
        return scene
    reads: dict[int, list[int]] = {}
    for edge in scene.edges:
        reads.setdefault(edge.target, []).append(edge.source)
    random = _random(scene, reads)
    inside = _parts(scene, random, reads)
    if not inside:
        return scene
    part = {each: last for last, members in inside.items() for each in members}
    rest = {index: [index] for index in range(len(scene.nodes)) if index not in part}
    order = sorted({**rest, **inside}.items())
    # What random boxes share, such as the key of the stream, would tie all of them together.
    free = replace(scene, edges=tuple(edge for edge in scene.edges if edge.target not in part))
    return contracted(free, [(_box(scene, last, members), members) for last, members in order])


def _random(scene: Scene, reads: Mapping[int, Sequence[int]]) -> set[int]:
    """The boxes without a name that depend on random bits and constants alone."""
    fixed: set[int] = set()
    random: set[int] = set()
    for index, node in enumerate(scene.nodes):
        value = value_of(node)
        if value is None or node.role != "forward" or node.step is not None or node.is_output:
            continue
        sources = reads.get(index, ())
        if value in (RNG_SEED, RNG_COUNTER):
            random.add(index)
        elif node.kind in ("input", "parameter") or provenance(value).names:
            continue
        elif all(each in fixed or each in random for each in sources):
            is_new = value.op is RANDOM_BITS
            is_random = is_new or any(each in random for each in sources)
            (random if is_random else fixed).add(index)
    readers = _readers(reads)
    for index in sorted(fixed, reverse=True):
        if index in readers and random.issuperset(readers[index]):
            random.add(index)  # a constant of theirs
    return random


def _parts(
    scene: Scene, random: set[int], reads: Mapping[int, Sequence[int]]
) -> dict[int, list[int]]:
    """By the last box: those that become one with it; what several need is in the first part."""
    readers = _readers(reads)
    found: dict[int, list[int]] = {}
    taken: set[int] = set()
    for last in sorted(random):
        if random.issuperset(readers.get(last, ())) or not reads.get(last):
            continue
        members, waiting = [], [last]
        while waiting:
            each = waiting.pop()
            if each in taken:
                continue
            taken.add(each)
            members.append(each)
            waiting += [
                source for source in reads.get(each, ()) if random.issuperset(readers[source])
            ]
        if len(members) >= FEWEST_BOXES:
            found[last] = sorted(members)
    return found


def _readers(reads: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    readers: dict[int, list[int]] = {}
    for target, sources in reads.items():
        for each in sources:
            readers.setdefault(each, []).append(target)
    return readers


def _box(scene: Scene, last: int, members: Sequence[int]) -> SceneNode:
    box = scene.nodes[last]
    if len(members) == 1:
        return box
    words = [scene.nodes[each].label for each in members]
    told = f"random numbers: {counted(len(members), 'operation')} in one box"
    return replace(
        box,
        label="random",
        tooltip="\n".join([box.tooltip, told, shorten(", ".join(words), 200)]),
    )
