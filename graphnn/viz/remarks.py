"""What passes decided, told at the boxes that it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from graphnn.compiler.domain import ANCHOR_OPS
from graphnn.compiler.driver import Decision, Snapshot
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.viz.scene import Scene, SceneNode

__all__ = ["Remark", "add_decisions", "badge_of", "with_remarks"]

BADGES = (
    ("is computed before the loop", "hoisted"),
    ("is computed after the loop", "hoisted"),
    ("becomes one product over all steps", "hoisted"),
    ("become one product", "merged"),
)
"""How a verdict begins, and the word for the corner of the box."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What is told of a box.

    Attributes
    ----------
    badges : tuple of str
    lines : tuple of str
        Sentences for its tooltip, with the pass and its reason.
    """

    badges: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()

    def and_then(self, name: str, decision: Decision) -> Remark:
        """The remark, and what a pass decided besides."""
        badge = badge_of(decision)
        badges = (*self.badges, *([badge] if badge else []))
        because = f": {decision.reason}" if decision.reason else ""
        line = f"{name}: {decision.what} {decision.verdict}{because}"
        return Remark(tuple(dict.fromkeys(badges)), tuple(dict.fromkeys((*self.lines, line))))


def badge_of(decision: Decision) -> str:
    """The word that says the same as a decision; empty if there is none."""
    return next((word for start, word in BADGES if decision.verdict.startswith(start)), "")


def with_remarks(scene: Scene, remarks: Mapping[int, Remark]) -> Scene:
    """The scene with remarks on its boxes, by their numbers."""
    if not remarks:
        return scene
    nodes = list(scene.nodes)
    for number, remark in remarks.items():
        node = nodes[number]
        badges = tuple(dict.fromkeys((*remark.badges, *node.badges)))
        nodes[number] = replace(
            node, badges=badges, tooltip="\n".join([node.tooltip, *remark.lines])
        )
    return replace(scene, nodes=tuple(nodes))


def add_decisions(
    earlier: Mapping[int, Remark],
    snapshot: Snapshot,
    before: Scene,
    after: Scene,
    same: Sequence[int | None],
) -> dict[int, Remark]:
    """The remarks on the boxes of the scene that a pass left: the earlier ones, and its own.

    A decision is about a node as the pass saw it: opened bodies have nodes of their own, so it is
    looked up by what it computes. If it is gone, the box that took its place is one of those that
    the pass has added: a product for a product.
    """
    remarks = {at: earlier[n] for at, n in enumerate(same) if n is not None and n in earlier}
    places = _Places(before, after, same)
    for decision, node in snapshot.decided:
        was, now = places.of(node)
        if now is not None:
            known = remarks.get(now) or (earlier.get(was) if was is not None else None) or Remark()
            remarks[now] = known.and_then(snapshot.record.name, decision)
    return remarks


class _Places:
    """Where in a scene the nodes are that a pass decided about."""

    def __init__(self, before: Scene, after: Scene, same: Sequence[int | None]) -> None:
        self._after = after
        self._by_node = {
            id(each.subject.node): number
            for number, each in reversed(list(enumerate(after.nodes)))
            if each.subject is not None
        }
        self._now = {each: number for number, each in enumerate(same) if each is not None}
        self._before = _by_likeness(enumerate(before.nodes))
        added = (
            pair for pair, was in zip(enumerate(after.nodes), same, strict=True) if was is None
        )
        self._added = [number for number, each in added if _is_product(each)]

    def of(self, node: Node) -> tuple[int | None, int | None]:
        """The numbers of the boxes that showed a node, and that show it or what it became."""
        if id(node) in self._by_node:
            return None, self._by_node[id(node)]
        found = self._before.get(_likeness(node))
        was = found.pop(0) if found else None
        if was is not None and was in self._now:
            return was, self._now[was]
        return was, self._heir(node) if node.op.name in ANCHOR_OPS else None

    def _heir(self, node: Node) -> int | None:
        """The first product that was added for the same pass forwards or backwards."""
        for number in self._added:
            if self._after.nodes[number].role == provenance(node).role:
                self._added.remove(number)
                return number
        return None


def _by_likeness(nodes: Iterable[tuple[int, SceneNode]]) -> dict[object, list[int]]:
    found: dict[object, list[int]] = {}
    for number, each in nodes:
        if each.subject is not None:
            found.setdefault(_likeness(each.subject.node), []).append(number)
    return found


def _likeness(node: Node) -> object:
    known = provenance(node)
    return node.op.name, str(node.spec), known.role, known.sources, known.names


def _is_product(node: SceneNode) -> bool:
    return node.subject is not None and node.subject.node.op.name in ANCHOR_OPS
