"""Algebra on single elements: neutral elements, inverses, powers."""

from __future__ import annotations

from graphnn.compiler.pattern import Exactness, Var, op, rule
from graphnn.core.node import Node

__all__ = ["ALGEBRA"]

EXACT = Exactness.EXACT
x = Var("x")


@rule(op("multiply", x, 1.0), EXACT)
def times_one(x: Node) -> Node:
    """``x * 1 -> x``."""
    return x


ALGEBRA = (times_one,)
