"""Patterns over nodes, and the rules that rewrite what they match.

A rule is a pattern, what to build instead, a name, and how exact it is::

    x, axis = Var("x"), Var("axis")

    @rule(op("log", op("softmax", x, axis=axis)), EXACT)
    def log_of_softmax(x, axis):
        return log_softmax(x, axis)

The function gets what the variables matched, by name (and the matched node itself, if it asks
for ``node``); it gives the new node, or None to decline.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from graphnn.core.errors import VerifyError
from graphnn.core.node import Node, make_node
from graphnn.core.spec import TensorSpec
from graphnn.ops.broadcasting import BROADCAST_TO
from graphnn.ops.contract import CONSTANT

__all__ = ["Apply", "Exactness", "Number", "Rule", "RuleBook", "Var", "op", "rule", "scalar_value"]


class Exactness(Enum):
    """What a rewrite may change.

    EXACT: nothing, or it comes closer to the true value, as the stability rules do.
    REASSOCIATING: the last bits, and the sign of a zero.
    VALUE_UNSAFE: it may drop NaN and infinities; off by default.
    """

    EXACT = "exact"
    REASSOCIATING = "reassociating"
    VALUE_UNSAFE = "value-unsafe"


@dataclass(frozen=True)
class Var:
    """Matches any node (or attribute), the same one wherever it stands."""

    name: str


@dataclass(frozen=True)
class Number:
    """Matches a constant all of whose elements are this number, sign of zero included."""

    value: float


@dataclass(frozen=True)
class Apply:
    """Matches an operator applied to what its arguments match."""

    op: str
    arguments: tuple[Pattern, ...]
    attrs: tuple[tuple[str, Any], ...] = ()


Pattern = Var | Number | Apply

_COMMUTATIVE = frozenset(
    {"add", "multiply", "maximum", "minimum", "logical_and", "logical_or", "logaddexp"}
)


def op(name: str, /, *arguments: Pattern | float, **attrs: Any) -> Apply:
    """A pattern: the operator of that name; numbers stand for constants."""
    listed = tuple(
        Number(float(each)) if isinstance(each, int | float) else each for each in arguments
    )
    return Apply(name, listed, tuple(attrs.items()))


def scalar_value(node: Node) -> Any:
    """The number that all elements of a constant are, or None."""
    while node.op is BROADCAST_TO:
        (node,) = node.inputs
    if node.op is not CONSTANT:
        return None
    array = node.attrs["value"].array
    if array.size == 0:
        return None
    first = array.flat[0]
    if array.size > 1 and array.tobytes() != np.full_like(array, first).tobytes():
        return None
    return first


def _is_number(node: Node, value: float) -> bool:
    found = scalar_value(node)
    if found is None:
        return False
    number = float(found)
    return number == value and np.signbit(number) == np.signbit(value)


def match(pattern: Pattern, node: Node, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the variables stand for if the pattern matches, else None."""
    if isinstance(pattern, Var):
        if pattern.name in known:
            return dict(known) if known[pattern.name] is node else None
        return {**known, pattern.name: node}
    if isinstance(pattern, Number):
        return dict(known) if _is_number(node, pattern.value) else None
    if node.op.name != pattern.op or len(node.inputs) != len(pattern.arguments):
        return None
    for name, wanted in pattern.attrs:
        value = node.attrs.get(name)
        if isinstance(wanted, Var):
            if wanted.name in known and known[wanted.name] != value:
                return None
            known = {**known, wanted.name: value}
        elif wanted != value:
            return None
    orders = [node.inputs]
    if pattern.op in _COMMUTATIVE:
        orders.append(node.inputs[::-1])
    for inputs in orders:
        found: dict[str, Any] | None = dict(known)
        for argument, each in zip(pattern.arguments, inputs, strict=True):
            found = match(argument, each, found) if found is not None else None
        if found is not None:
            return found
    return None


@dataclass(frozen=True)
class Rule:
    """A rewrite: what to look for, what to build, its name, and how exact it is."""

    pattern: Apply
    build: Callable[..., Node | None]
    name: str
    exactness: Exactness
    wants_node: bool = False

    def apply(self, node: Node) -> Node | None:
        """What replaces a node, of its shape and dtype; None if the rule does not apply."""
        found = match(self.pattern, node, {})
        if found is None:
            return None
        if self.wants_node:
            found["node"] = node
        made = self.build(**found)
        if made is None or made is node or made.spec == node.spec:
            return None if made is node else made
        # x * ones(3, 1) -> x loses a broadcast that the constant brought.
        if isinstance(made.spec, TensorSpec) and made.dtype == node.dtype:
            return make_node(BROADCAST_TO, (made,), {"shape": node.shape})
        raise VerifyError(f"rule {self.name} turns {node.spec} into {made.spec}", where="")


def rule(
    pattern: Apply, exactness: Exactness, name: str | None = None
) -> Callable[[Callable[..., Node | None]], Rule]:
    """Decorator that makes a `Rule` of a function from matched variables to a node."""

    def declare(build: Callable[..., Node | None]) -> Rule:
        wants_node = "node" in inspect.signature(build).parameters
        return Rule(pattern, build, name or build.__name__, exactness, wants_node)

    return declare


class RuleBook:
    """Rules, indexed by the operator at the head of their pattern."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._by_head: dict[str, list[Rule]] = {}
        for each in self.rules:
            self._by_head.setdefault(each.pattern.op, []).append(each)

    def only(self, kinds: frozenset[Exactness]) -> RuleBook:
        """The rules of these kinds."""
        return RuleBook(each for each in self.rules if each.exactness in kinds)

    def matching(self, node: Node) -> Iterable[tuple[Rule, Node]]:
        """Rules that apply to a node, with what they would make of it."""
        for each in self._by_head.get(node.op.name, ()):
            made = each.apply(node)
            if made is not None:
                yield each, made
