"""Copies of nodes for a time step, and where they read something as a constant.

Used by :mod:`graphnn.viz.unrolled`. A copy keeps the names of its node, with its step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from graphnn.core.node import Node, make_node
from graphnn.core.provenance import Provenance, provenance, recorded, set_gradient_of
from graphnn.ops.constants import CONSTANT, constant
from graphnn.ops.control import STOP_GRADIENT
from graphnn.viz.rows import Place

__all__ = ["Cuts", "chosen_input", "copy_of", "name_like"]


def copy_of(
    node: Node,
    inputs: tuple[Node, ...],
    about: Provenance,
    origin: Node | None,
    place: Place | None = None,
) -> Node:
    """The same operator on other inputs."""
    if node.op.name == "logical_not" and inputs[0].op is CONSTANT:
        return constant(~inputs[0].attrs["value"].array)
    with recorded(about, origin):
        made = make_node(node.op, inputs, node.attrs)
    name_like(made, about, place)
    return made


def name_like(made: Node, about: Provenance, place: Place | None = None) -> None:
    """Give a copy the names of what it is a copy of, and whose gradient that is."""
    for name in about.names:
        made.named(name if place is None else f"{name}[{place.label}]")
    for name in about.gradient_of:
        set_gradient_of(made, name)


def chosen_input(node: Node, inputs: Sequence[Node]) -> int | None:
    """Which of its inputs a node is for certain; None of others.

    Derivatives have been taken, so nothing is left to be stopped.
    """
    if node.op is STOP_GRADIENT:
        return 0
    if node.op.name == "where" and inputs[0].op is CONSTANT and inputs[0].shape == ():
        return 1 if inputs[0].attrs["value"].array else 2
    return None


class Cuts:
    """Who reads what as a constant."""

    def __init__(self) -> None:
        self._cut: set[tuple[Node, Node]] = set()
        self._uncut: set[tuple[Node, Node]] = set()

    def note(self, made: Node, inputs: Sequence[Node], stopped: Iterable[bool]) -> None:
        """Remember what is read as a constant; something else may read it otherwise."""
        if provenance(made).role == "backward":
            return
        for source, is_stopped in zip(inputs, stopped, strict=True):
            (self._cut if is_stopped else self._uncut).add((source, made))

    @property
    def all(self) -> Set[tuple[Node, Node]]:
        """Pairs of what is read, and of who reads it as a constant and not otherwise."""
        return self._cut - self._uncut
