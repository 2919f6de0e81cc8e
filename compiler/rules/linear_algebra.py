"""Linear algebra: determinants that do not overflow, systems solved without an inverse.

The families these rules are for are imported when they are first used; so the patterns name the
operators, and the functions are imported where a rule builds.
"""

from __future__ import annotations

from graphnn.compiler.pattern import Exactness, Var, op, rule
from graphnn.core.node import Node
from graphnn.ops.arithmetic import where
from graphnn.ops.constants import constant
from graphnn.ops.logic import less

__all__ = ["LINEAR_ALGEBRA", "STABLE_LINEAR_ALGEBRA"]

a, b = Var("a"), Var("b")


@rule(Exactness.EXACT, op("log", op("abs", op("det", a))))
def log_of_size_of_det(a: Node) -> Node:
    """``log(abs(det(a))) -> slogdet(a)[1]``, which neither overflows nor underflows."""
    from graphnn.ops.determinants import slogdet

    _, logarithm = slogdet(a)
    return logarithm


@rule(Exactness.EXACT, op("log", op("det", a)))
def log_of_det(a: Node) -> Node:
    """``log(det(a)) -> slogdet(a)[1]``, and NaN where the determinant is negative."""
    from graphnn.ops.determinants import slogdet

    sign, logarithm = slogdet(a)
    return where(less(sign, 0.0), constant(float("nan"), logarithm.dtype), logarithm)


@rule(Exactness.REASSOCIATING, op("dot_general", op("inv", a), b))
def inverse_times(a: Node, b: Node, node: Node) -> Node | None:
    """``inv(a) @ b -> solve(a, b)``: faster, and more accurate the worse the condition."""
    from graphnn.ops.solving import solve

    is_matmul = node.op.label(node) == "matmul" and a.ndim == b.ndim
    return solve(a, b) if is_matmul else None


STABLE_LINEAR_ALGEBRA = (log_of_size_of_det, log_of_det)
LINEAR_ALGEBRA = (inverse_times,)
