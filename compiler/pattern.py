"""Patterns over nodes, and the rules that rewrite what they match.

A rule says how exact it is, what it looks for, and what to build instead::

    x, axes = Var("x"), Var("axes")

    @rule(EXACT, op("log", op("softmax", x, axes=axes)))
    def log_of_softmax(x, axes):
        return make_node(LOG_SOFTMAX, (x,), {"axes": axes})

The function gets what the variables stand for, by name (and the matched node itself, if it asks
for ``node``); it gives the new node, or None to decline.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeAlias

import numpy as np

from graphnn.core.dtypes import is_complex
from graphnn.core.errors import VerifyError
from graphnn.core.node import Node, make_node
from graphnn.core.op import Op
from graphnn.core.provenance import made_by
from graphnn.core.spec import TensorSpec
from graphnn.ops.broadcasting import BROADCAST_TO
from graphnn.ops.constants import CONSTANT

__all__ = [
    "Apply",
    "Elementwise",
    "Exactness",
    "Number",
    "Rule",
    "RuleBook",
    "Scalar",
    "Var",
    "for_complex",
    "op",
    "rule",
    "scalar_value",
]


class Exactness(Enum):
    """What a rewrite may change. All NaNs count as one value.

    EXACT: nothing, or it comes closer to the true value, as the stability rules do. (Where there
    is no true value, as for the softmax of a row with inf, numbers may become NaN.)
    REASSOCIATING: the last bits, and the sign of a zero.
    VALUE_UNSAFE: it may drop or bring in NaN and infinities; off by default.
    """

    EXACT = "exact"
    REASSOCIATING = "reassociating"
    VALUE_UNSAFE = "value-unsafe"


@dataclass(frozen=True, slots=True)
class Var:
    """Matches any node (or attribute), the same one wherever it stands."""

    name: str


@dataclass(frozen=True, slots=True)
class Number:
    """Matches a constant all of whose elements are this number, sign of zero included."""

    value: float


@dataclass(frozen=True, slots=True)
class Scalar:
    """Matches a constant all of whose elements are one number, and stands for that number."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """Matches an operator applied to what its arguments match."""

    op: str
    arguments: tuple[Pattern, ...]
    attrs: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Elementwise:
    """Matches any elementwise operator one of whose inputs the argument matches."""

    argument: Apply


Pattern: TypeAlias = Var | Number | Scalar | Apply | Elementwise
Binding: TypeAlias = Mapping[str, Any]

_WIDEST = 4
"""No rule looks at operators of more inputs than this."""

_ANY_HEAD = ""
"""Stands for the operator that `Elementwise` matches."""


def op(name: str, /, *arguments: Pattern | float, **attrs: Any) -> Apply:
    """A pattern: the operator of that name; numbers stand for constants."""
    listed = tuple(
        Number(float(each)) if isinstance(each, int | float) else each for each in arguments
    )
    return Apply(name, listed, tuple(attrs.items()))


def scalar_value(node: Node) -> Any:
    """The number that all elements of a constant are, a NumPy scalar, or None."""
    while node.op is BROADCAST_TO:
        (node,) = node.inputs
    if node.op is not CONSTANT:
        return None
    array = node.attrs["value"].array
    if array.size == 1:
        return array.reshape(())[()]
    if array.size == 0:
        return None
    first = array.flat[0]
    return first if array.tobytes() == np.full_like(array, first).tobytes() else None


# ----------------------------------------------------------------------------------- matching


def match(pattern: Pattern, node: Node, known: Binding) -> Iterator[Binding]:
    """Every way in which the variables can stand for something so that the pattern matches."""
    if isinstance(pattern, Var):
        bound = known.get(pattern.name)
        if bound is None:
            yield {**known, pattern.name: node}
        elif bound is node:
            yield known
    elif isinstance(pattern, Number):
        value = scalar_value(node)
        if value is not None and _is_number(complex(value), complex(pattern.value)):
            yield known
    elif isinstance(pattern, Scalar):
        value = scalar_value(node)
        if value is not None:
            yield {**known, pattern.name: value}
    elif isinstance(pattern, Elementwise):
        if node.op.is_elementwise:
            for each in node.inputs:
                yield from match(pattern.argument, each, known)
    else:
        yield from _match_apply(pattern, node, known)


def _is_number(value: complex, wanted: complex) -> bool:
    return all(
        one == other and np.signbit(one) == np.signbit(other)
        for one, other in ((value.real, wanted.real), (value.imag, wanted.imag))
    )


def _match_apply(pattern: Apply, node: Node, known: Binding) -> Iterator[Binding]:
    if node.op.name != pattern.op or len(node.inputs) != len(pattern.arguments):
        return
    for name, wanted in pattern.attrs:
        value = node.attrs[name]
        if isinstance(wanted, Var):
            if known.get(wanted.name, value) != value:
                return
            known = {**known, wanted.name: value}
        elif wanted != value:
            return
    yield from _match_inputs(pattern.arguments, node.inputs, known)
    if node.op.is_commutative and node.inputs[0] is not node.inputs[1]:
        yield from _match_inputs(pattern.arguments, node.inputs[::-1], known)


def _match_inputs(
    patterns: Sequence[Pattern], inputs: Sequence[Node], known: Binding
) -> Iterator[Binding]:
    if not patterns:
        yield known
        return
    for found in match(patterns[0], inputs[0], known):
        yield from _match_inputs(patterns[1:], inputs[1:], found)


def _may_match(pattern: Apply | Elementwise, head: Op, below: Sequence[str]) -> bool:
    """Whether a pattern may match an operator whose inputs' operators have these names."""
    if isinstance(pattern, Elementwise):
        return head.is_elementwise and pattern.argument.op in below
    if pattern.op != head.name or len(pattern.arguments) != len(below):
        return False
    orders = (below, below[::-1]) if head.is_commutative else (below,)
    return any(all(map(_may_be, pattern.arguments, order)) for order in orders)


def _may_be(pattern: Pattern, name: str) -> bool:
    if isinstance(pattern, Number | Scalar):
        return name in (CONSTANT.name, BROADCAST_TO.name)
    return not isinstance(pattern, Apply) or pattern.op == name


# -------------------------------------------------------------------------------------- rules


@dataclass(frozen=True)
class Rule:
    """A rewrite.

    Attributes
    ----------
    name : str
    exactness : Exactness
    patterns : tuple of Apply or Elementwise
        What to look for: any of them.
    build : callable
        From what the variables stand for to the new node, or None to decline.
    wants_node : bool
        Whether it also gets the matched node, as ``node``.
    of_complex : bool, default False
        Whether it holds for complex numbers too, see `for_complex`; without, it is not applied
        where one is matched.
    """

    name: str
    exactness: Exactness
    patterns: tuple[Apply | Elementwise, ...]
    build: Callable[..., Node | None]
    wants_node: bool
    of_complex: bool = False

    def apply(self, node: Node, by: str) -> Node | None:
        """What replaces a node, of its shape and dtype; None if the rule does not apply.

        ``by`` is the name of the pass that builds it.
        """
        given = {"node": node} if self.wants_node else {}
        for pattern in self.patterns:
            for found in match(pattern, node, {}):
                if not self.of_complex and any(map(_is_complex, (node, *found.values()))):
                    continue
                with made_by(by, node):
                    made = self.build(**found, **given)
                    if made is not None and made is not node:
                        return self._fit(made, node)
        return None

    def _fit(self, made: Node, node: Node) -> Node:
        """The replacement in the shape of the node: ``x * ones(3, 1) -> x`` loses a broadcast."""
        if made.spec == node.spec:
            return made
        if isinstance(made.spec, TensorSpec) and made.dtype == node.dtype:
            return make_node(BROADCAST_TO, (made,), {"shape": node.shape})
        raise VerifyError(f"rule {self.name} turns {node.spec} into {made.spec}", where="")


def _is_complex(found: Any) -> bool:
    """Whether what a variable stands for is a complex node, or a complex number."""
    spec = found.spec if isinstance(found, Node) else found
    return isinstance(spec, TensorSpec | np.generic) and is_complex(spec.dtype)


def for_complex(rewrite: Rule) -> Rule:
    """The same rule, which holds for complex numbers too.

    A product or quotient with a real number is then that of both parts: rules come closer to the
    true value where the kernel computes ``inf * 0`` on the way.
    """
    return replace(rewrite, of_complex=True)


def rule(
    exactness: Exactness, *patterns: Apply | Elementwise
) -> Callable[[Callable[..., Node | None]], Rule]:
    """Decorator that makes a `Rule` of a function from matched variables to a node."""

    def declare(build: Callable[..., Node | None]) -> Rule:
        wants_node = "node" in inspect.signature(build).parameters
        return Rule(build.__name__, exactness, patterns, build, wants_node)

    return declare


class RuleBook:
    """Rules in the order in which they are tried.

    Which rules may match is looked up by the names of a node's operator and of its inputs'
    operators, so that most nodes cost one look-up and no matching.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._by_head: dict[str, list[tuple[int, Rule, Apply | Elementwise]]] = defaultdict(list)
        for number, each in enumerate(self.rules):
            for pattern in each.patterns:
                head = _ANY_HEAD if isinstance(pattern, Elementwise) else pattern.op
                self._by_head[head].append((number, each, pattern))
        self._candidates: dict[tuple[str, ...], tuple[Rule, ...]] = {}

    def only(self, kinds: Iterable[Exactness]) -> RuleBook:
        """The rules of these kinds."""
        kinds = frozenset(kinds)
        return RuleBook(each for each in self.rules if each.exactness in kinds)

    def candidates(self, node: Node) -> tuple[Rule, ...]:
        """The rules that may apply to a node."""
        if len(node.inputs) > _WIDEST:
            return ()
        key = (node.op.name, *[each.op.name for each in node.inputs])
        found = self._candidates.get(key)
        if found is None:
            listed = (*self._by_head.get(key[0], ()), *self._by_head.get(_ANY_HEAD, ()))
            chosen = {
                number: each
                for number, each, pattern in listed
                if _may_match(pattern, node.op, key[1:])
            }
            found = self._candidates[key] = tuple(chosen[number] for number in sorted(chosen))
        return found
