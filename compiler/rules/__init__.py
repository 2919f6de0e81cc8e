"""The rewrite rules, one file per theme; where several fit a node, the first one is applied."""

from graphnn.compiler.pattern import RuleBook
from graphnn.compiler.rules.algebra import ALGEBRA
from graphnn.compiler.rules.choices import CHOICES
from graphnn.compiler.rules.complex_numbers import COMPLEX
from graphnn.compiler.rules.convolution import CONVOLUTION
from graphnn.compiler.rules.linear_algebra import LINEAR_ALGEBRA, STABLE_LINEAR_ALGEBRA
from graphnn.compiler.rules.movement import MOVEMENT
from graphnn.compiler.rules.stability import STABILITY as STABLE_FORMULAS

__all__ = ["RULES", "STABILITY"]

STABILITY = (*STABLE_LINEAR_ALGEBRA, *STABLE_FORMULAS)
"""Rules that run before differentiation too: a derivative of the other form is beyond repair."""

RULES = RuleBook(
    (*STABILITY, *ALGEBRA, *CHOICES, *MOVEMENT, *LINEAR_ALGEBRA, *CONVOLUTION, *COMPLEX)
)
