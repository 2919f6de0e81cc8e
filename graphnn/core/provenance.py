"""Provenance: names, scopes, time steps, roles and source lines of nodes.

They are no part of a node's identity, so two nodes that compute the same thing are one node
with both lines. A node holds its record, and is the same node when that changes. Errors, profiles
and pictures read it; passes carry it along.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypeVar

from graphnn.core.source import Source, caller

if TYPE_CHECKING:
    from graphnn.core.node import Node

__all__ = [
    "Provenance",
    "Role",
    "carry",
    "derived_from",
    "in_role",
    "made_by",
    "move_origins",
    "name_scope",
    "note_creation",
    "provenance",
    "recorded",
    "set_gradient_of",
    "set_name",
    "set_origin",
    "set_role",
    "sources_of",
    "stand_for_all_steps",
    "time_step",
    "without_lines",
]

Role: TypeAlias = Literal["forward", "backward", "tangent", "update"]

T = TypeVar("T")

MOST_SOURCES = 8
"""Lines kept for one node; merged nodes of a long unrolled loop would gather thousands."""


class Provenance(NamedTuple):  # a dataclass takes three times as long to make
    """What is known of a node beside what it computes.

    Attributes
    ----------
    names : tuple of str
        Names the user gave it, first one first.
    scope : str
        Name scopes it was built in, joined by ``/``.
    sources : tuple of Source
        The user's lines that built it; several after merging.
    step : int or None
        Time step of an unrolled recurrence.
    role : {"forward", "backward", "tangent", "update"}
    made_by : str
        ``"user"``, or the pass that made it.
    origin_ref : weak reference to Node, or None
        See :attr:`origin`; weak, for the forward node may well depend on this one.
    gradient_of : tuple of str
        Names of what it was asked for as the gradient of.
    """

    names: tuple[str, ...] = ()
    scope: str = ""
    sources: tuple[Source, ...] = ()
    step: int | None = None
    role: Role = "forward"
    made_by: str = "user"
    origin_ref: weakref.ref[Node] | None = None
    gradient_of: tuple[str, ...] = ()

    @property
    def origin(self) -> Node | None:
        """The forward node that a derivative node belongs to, while that one lives."""
        return self.origin_ref() if self.origin_ref is not None else None

    @property
    def name(self) -> str | None:
        """The first name given, if any."""
        return self.names[0] if self.names else None

    @property
    def where(self) -> str:
        """The user's lines in words, for messages: ``"built at mlp.py:31"``; may be empty."""
        return "built at " + ", ".join(map(str, self.sources)) if self.sources else ""


class _Surroundings(NamedTuple):
    """What nodes built right now have in common."""

    scope: str = ""
    step: int | None = None
    role: Role = "forward"
    made_by: str = "user"
    origin_ref: weakref.ref[Node] | None = None
    sources: tuple[Source, ...] | None = None


_ORDINARY = _Surroundings()
_surroundings: ContextVar[_Surroundings] = ContextVar("surroundings", default=_ORDINARY)
NOTHING = Provenance()
"""What is known of a node that is being made."""

_write = object.__setattr__  # nodes refuse to be changed in any other way


def provenance(node: Node) -> Provenance:
    """What is known of a node beside what it computes."""
    return node.record


def note_creation(node: Node, *, is_new: bool) -> None:
    """Record where a node was built, or built again. Called by the node factory alone."""
    around = _surroundings.get()
    sources = around.sources
    if sources is None:
        line = caller()
        sources = (line,) if line is not None else ()
    if is_new:
        record = Provenance(
            (), around.scope, sources, around.step, around.role, around.made_by, around.origin_ref
        )
        _write(node, "record", record)
        return
    known = node.record
    merged = _merge(known.sources, sources)
    if merged is not known.sources:
        _write(node, "record", known._replace(sources=merged))


def set_name(node: Node, *names: str) -> None:
    """Give a node (further) names."""
    known = node.record
    all_names = tuple(dict.fromkeys((*known.names, *names)))
    if len(all_names) > len(known.names):
        _write(node, "record", known._replace(names=all_names))


def set_gradient_of(node: Node, *names: str) -> None:
    """Note that a node is the gradient of what has these names, if it was made to be one.

    Its origin does not tell: that is the operator it is a derivative of, which may read a weight
    through a reshape, or several weights of one shape.
    """
    known = node.record
    if known.role == "backward":
        all_names = tuple(dict.fromkeys((*known.gradient_of, *names)))
        _write(node, "record", known._replace(gradient_of=all_names))


def carry(old: Node, new: Node) -> None:
    """Let ``new``, which replaces ``old``, inherit its names, lines and step.

    What the user built keeps its own: ``x`` does not take over the lines of ``x * 1``.
    """
    if old is new:
        return
    before, after = old.record, new.record
    if after.made_by == "user":
        return
    carried = Provenance(
        _merge(after.names, before.names),
        after.scope or before.scope,
        _merge(after.sources, before.sources),
        before.step if after.step is None else after.step,
        after.role,
        after.made_by,
        after.origin_ref or before.origin_ref,
        _merge(after.gradient_of, before.gradient_of),
    )
    _write(new, "record", carried)


def move_origins(nodes: Iterable[Node], places: Mapping[Node, Node]) -> None:
    """Let derivatives of some nodes be those of others, which do the same elsewhere."""
    for node in nodes:
        origin = node.record.origin
        if origin is not None and origin in places:
            moved = weakref.ref(places[origin])
            _write(node, "record", node.record._replace(origin_ref=moved))


def set_origin(node: Node, origin: Node) -> None:
    """Let a node be the derivative of another one, if it is of none: for what comes from files."""
    if node.record.origin_ref is None and node is not origin:
        _write(node, "record", node.record._replace(origin_ref=weakref.ref(origin)))


def set_role(node: Node, role: Role) -> None:
    """Let a node belong to another pass than the one that made it."""
    _write(node, "record", node.record._replace(role=role))


def stand_for_all_steps(node: Node) -> None:
    """Take the time step from a node, and from its name: ``h[3]`` now does the work of all h."""
    known = node.record
    names = dict.fromkeys(name.removesuffix(f"[{known.step}]") for name in known.names)
    _write(node, "record", known._replace(step=None, names=tuple(names)))


def _merge(known: tuple[T, ...], more: tuple[T, ...]) -> tuple[T, ...]:
    if more is known or not more or len(known) >= MOST_SOURCES:
        return known
    fresh = tuple([item for item in more if item not in known])
    return (known + fresh)[:MOST_SOURCES] if fresh else known


class _Within:
    """Context in which nodes are built with these surroundings; a class because it is hot."""

    __slots__ = ("_around", "_token")

    def __init__(self, around: _Surroundings) -> None:
        self._around = around

    def __enter__(self) -> None:
        self._token: Token[_Surroundings] = _surroundings.set(self._around)

    def __exit__(self, *failure: object) -> None:
        _surroundings.reset(self._token)


def name_scope(name: str) -> AbstractContextManager[None]:
    """Group the nodes built inside under a name; scopes nest as ``outer/inner``.

    Parameters
    ----------
    name : str
        Shown in dumps, profiles and pictures; it does not change what is computed.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(3,))
    >>> with gn.name_scope("encoder"):
    ...     y = gn.tanh(x)
    >>> gn.provenance(y).scope
    'encoder'
    """
    around = _surroundings.get()
    scope = f"{around.scope}/{name}" if around.scope else name
    return _Within(around._replace(scope=scope))


def time_step(step: int) -> AbstractContextManager[None]:
    """Mark the nodes built inside as belonging to one time step of a recurrence."""
    return _Within(_surroundings.get()._replace(step=step))


def in_role(role: Role) -> AbstractContextManager[None]:
    """Give the nodes built inside a role, such as "update"."""
    return _Within(_surroundings.get()._replace(role=role))


def without_lines() -> AbstractContextManager[None]:
    """Give the nodes built inside no line of the user's but those of what they are made from."""
    return _Within(_surroundings.get()._replace(sources=()))


def derived_from(node: Node, role: Role) -> AbstractContextManager[None]:
    """Let the nodes built inside inherit a node's scope, step and lines, in another role.

    Of an operation that is differentiated through simpler ones, all derivatives belong to itself;
    the symbols of a loop that is differentiated have derivatives of their own.
    """
    known, outer = node.record, _surroundings.get().origin_ref
    owner = outer() if outer is not None else None
    is_part = owner is not None and known.origin is owner and len(node.inputs) > 0
    origin = outer if is_part else weakref.ref(node)
    return _Within(
        _Surroundings(known.scope, known.step, role, "differentiation", origin, known.sources)
    )


def recorded(known: Provenance, origin: Node | None) -> AbstractContextManager[None]:
    """Let the nodes built inside have a record like this one, without names, and an origin."""
    reference = weakref.ref(origin) if origin is not None else None
    return _Within(
        _Surroundings(known.scope, known.step, known.role, known.made_by, reference, known.sources)
    )


def made_by(name: str | None, node: Node) -> AbstractContextManager[None]:
    """Mark the nodes built inside as made by a pass on behalf of ``node``.

    Without a name it is the pass that is at work already.
    """
    known = node.record
    if name is None:
        current = _surroundings.get().made_by
        name = current if current != "user" else "rebuild"
    return _Within(
        _Surroundings(known.scope, known.step, known.role, name, known.origin_ref, known.sources)
    )


def sources_of(nodes: Iterable[Node]) -> tuple[Source, ...]:
    """The user's lines that built any of the nodes, each once."""
    return tuple(dict.fromkeys(line for node in nodes for line in provenance(node).sources))
