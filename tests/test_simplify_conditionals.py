"""simplify_conditionals: work that grows with the graph, and circles that it stays out of."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from looping import assert_executors_agree, drawn, ops_of, rules

import graphnn as gn
from graphnn.compiler.conditionals.simplify import simplify_conditionals
from graphnn.compiler.driver import Driver
from graphnn.compiler.unit import Options, Unit
from graphnn.core.graph import Graph
from graphnn.core.node import Node

p = gn.input("p", (), "bool")
x = gn.input("x", (3,), "float64")


def chain(count: int) -> Node:
    y = x
    for _ in range(count):
        y = gn.cond(p, gn.sin, gn.cos, y)
    return y


def parallel(count: int) -> list[Node]:
    return [gn.cond(p, lambda x, k=k: gn.sin(x * float(k)), gn.cos, x) for k in range(count)]


def sums(count: int) -> Node:
    flags = gn.input("flags", (count,), "bool")
    y = x
    for k in range(count):
        y = y + gn.cond(flags[k], gn.sin, lambda x: gn.zeros_like(x), x * float(k))
    return y


def loops(count: int) -> list[Node]:
    def rounds(k: int) -> Node:
        return gn.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, gn.sin(c[1])), (0, x * k))[1]

    return [rounds(k) for k in range(2, count + 2)]


def calls(work: Callable[[], Any]) -> int:
    """How many functions are called meanwhile."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("build", [chain, parallel, sums, loops])
def test_work_grows_with_the_graph(build: Callable[[int], Any]) -> None:
    """Twice as many take twice the work, and no more than a few lines each."""

    def work(count: int) -> int:
        made = build(count)
        outputs = tuple(made) if isinstance(made, list) else (made,)
        unit = Unit(Graph((), outputs), Options(optimize="O2"))
        return calls(lambda: simplify_conditionals(unit, Driver()))

    once, twice = work(40), work(80)
    assert twice < 2.3 * once
    assert once < 40 * 4000


def test_conds_of_one_predicate_that_need_each_other_by_halves_are_two() -> None:
    """Two chains, side by side: the first conds of both are one, and the second ones."""
    y, z = x, x + 1.0
    for _ in range(2):
        y, z = gn.cond(p, gn.sin, gn.cos, y * 2.0), gn.cond(p, gn.tanh, gn.exp, z * 2.0)
    program = assert_executors_agree([p, x], [y, z], drawn([p, x]))
    assert rules(program)["merge_conditionals"] == 2
    assert ops_of(program.unit.graph)["cond"] == 2


def test_conds_of_two_predicates_that_would_need_each_other_stay_apart() -> None:
    q = gn.input("q", (), "bool")
    first = gn.cond(q, gn.sin, gn.cos, gn.cond(p, gn.tanh, gn.exp, x) * 2.0)
    second = gn.cond(p, gn.sin, gn.cos, gn.cond(q, gn.tanh, gn.exp, x) * 2.0)
    program = assert_executors_agree([p, q, x], [first, second], drawn([p, q, x]))
    assert ops_of(program.unit.graph)["cond"] == 3


@pytest.mark.parametrize("flag", [False, True])
def test_the_sum_of_two_conds_of_which_one_may_need_the_other(flag: bool) -> None:
    def nothing(x: Node) -> Node:
        return gn.zeros_like(x)

    q = gn.input("q", (), "bool")
    first = gn.cond(p, lambda x: (gn.sin(x), gn.cos(x)), lambda x: (x * 0.0 + 0.0, x), x)
    alone = gn.cond(p, gn.sin, nothing, x), gn.cond(q, gn.cos, nothing, x)
    needing = first[0] + gn.cond(q, gn.cos, nothing, first[1])
    fed = [np.bool_(flag), np.bool_(True), np.linspace(0.1, 1.0, 3)]
    program = assert_executors_agree([p, q, x], [alone[0] + alone[1], needing], fed)
    assert rules(program)["sum_inside"] == 2


def test_what_is_added_may_not_need_the_cond() -> None:
    """The cond would be computed twice."""
    first, second = gn.cond(p, lambda x: (gn.sin(x), gn.cos(x)), lambda x: (gn.zeros_like(x), x), x)
    fed = [np.bool_(True), np.linspace(0.1, 1.0, 3)]
    program = assert_executors_agree([p, x], [first + gn.exp(second)], fed)
    assert not rules(program)["sum_inside"]
    assert ops_of(program.unit.graph)["cond"] == 1
