"""Complex numbers: parts and conjugates that cancel, as differentiation leaves them."""

from __future__ import annotations

from graphnn.compiler.pattern import Exactness, Rule, Var, for_complex, op, rule
from graphnn.core.dtypes import is_complex
from graphnn.core.node import Node, make_node
from graphnn.ops.arithmetic import abs
from graphnn.ops.constants import zeros_like
from graphnn.ops.operands import cast_to

__all__ = ["COMPLEX"]

EXACT = Exactness.EXACT
x, y = Var("x"), Var("y")


@rule(EXACT, op("conj", op("conj", x)))
def conj_of_conj(x: Node) -> Node:
    """``conj(conj(x)) -> x``."""
    return x


@rule(EXACT, op("real", op("complex", x, y)))
def real_of_complex(x: Node, y: Node) -> Node:
    """``real(complex(x, y)) -> x``."""
    return x


@rule(EXACT, op("imag", op("complex", x, y)))
def imag_of_complex(x: Node, y: Node) -> Node:
    """``imag(complex(x, y)) -> y``."""
    return y


@rule(EXACT, op("complex", op("real", x), op("imag", x)))
def complex_of_parts(x: Node) -> Node:
    """``complex(real(x), imag(x)) -> x``."""
    return x


@rule(EXACT, op("real", op("conj", x)))
def real_of_conj(x: Node, node: Node) -> Node:
    """``real(conj(x)) -> real(x)``."""
    return make_node(node.op, (x,))


@rule(EXACT, op("abs", op("conj", x)))
def abs_of_conj(x: Node) -> Node:
    """``abs(conj(x)) -> abs(x)``."""
    return abs(x)


@rule(EXACT, op("real", op("cast", x)))
def real_of_cast(x: Node, node: Node) -> Node | None:
    """``real(cast(x, "complex64")) -> x`` for real numbers."""
    return None if is_complex(x.dtype) else cast_to(x, node.dtype)


@rule(EXACT, op("imag", op("cast", x)))
def imag_of_cast(x: Node, node: Node) -> Node | None:
    """``imag(cast(x, "complex64")) -> 0`` for real numbers."""
    return None if is_complex(x.dtype) else zeros_like(node)


COMPLEX: tuple[Rule, ...] = tuple(
    map(
        for_complex,
        (
            conj_of_conj,
            real_of_complex,
            imag_of_complex,
            complex_of_parts,
            real_of_conj,
            abs_of_conj,
            real_of_cast,
            imag_of_cast,
        ),
    )
)
