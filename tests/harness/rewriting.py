"""What tests of rewrite rules share: the shape of a case, and rules applied on their own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import graphnn as gn
from graphnn.compiler.driver import Driver
from graphnn.compiler.passes.simplify import simplify
from graphnn.compiler.pattern import Rule, RuleBook
from graphnn.compiler.rewrite import rewrite
from graphnn.compiler.rules import RULES
from graphnn.compiler.unit import Options, Unit
from graphnn.core.graph import topological_order
from graphnn.core.node import make_node
from graphnn.core.op import REGISTRY

BY_NAME = {rule.name: rule for rule in RULES.rules}
FLOATS = ("float32", "float64", "float16", "bfloat16")
INTEGERS = ("int64", "int8")


@dataclass(frozen=True)
class Case:
    """Inputs, the node that a rule looks for, and the node it should become.

    ``args`` are shapes, or kinds of elements: "f" for numbers, "b" for bools, which are then
    drawn as all combinations of special values. ``truth`` is the value in extended precision, for
    rules that come closer to it; ``rows`` are the values of the only input.
    """

    rule: str
    args: tuple[Any, ...]
    before: Callable[..., gn.Node]
    after: Callable[..., gn.Node]
    dtypes: tuple[str, ...] = ("float32",)
    truth: Callable[..., Any] | None = None
    rows: Any = None
    improves: bool = True

    def __str__(self) -> str:
        return self.rule


def raw(name: str, *inputs: gn.Node, **attrs: Any) -> gn.Node:
    """A node that the public functions would not build."""
    return make_node(REGISTRY[name], inputs, attrs)


def elementwise(rule: str, args: str, before: Any, after: Any, **options: Any) -> Case:
    options.setdefault("dtypes", FLOATS)
    return Case(rule, tuple(args), before, after, **options)


def of_integers(rule: str, args: str, before: Any, after: Any) -> Case:
    return Case(f"{rule}_of_integers", tuple(args), before, after, INTEGERS)


def shaped(rule: str, shape: tuple[int, ...], before: Any, after: Any, **options: Any) -> Case:
    return Case(rule, (shape,), before, after, **options)


def zeros(x: gn.Node) -> gn.Node:
    return filled(x, 0)


def filled(x: gn.Node, value: float, dtype: Any = None) -> gn.Node:
    return gn.broadcast_to(gn.constant(value, dtype or x.dtype), x.shape)


def shifted(x: gn.Node) -> gn.Node:
    return x - gn.max(x, -1, keepdims=True)


def apply_alone(rule: Rule, node: gn.Node) -> gn.Node:
    """What a rule alone makes of a graph."""
    book = RuleBook([rule])

    def step(each: gn.Node) -> gn.Node | None:
        made = (candidate.apply(each, by="test") for candidate in book.candidates(each))
        return next((one for one in made if one is not None), None)

    return rewrite(topological_order([node]), step, "test")[node]


def simplified(node: gn.Node, **options: Any) -> gn.Node:
    unit = Unit(gn.Graph((), (node,)), options=Options(**options))
    return simplify(unit, Driver(options.get("fuel"))).graph.outputs[0]


def vector(dtype: str = "float32", shape: tuple[int, ...] = (4,)) -> gn.Node:
    return gn.input("x", shape, dtype)
