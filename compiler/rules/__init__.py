"""The rewrite rules, one file per theme; where several fit a node, the first one is applied."""

from graphnn.compiler.pattern import RuleBook
from graphnn.compiler.rules.algebra import ALGEBRA
from graphnn.compiler.rules.choices import CHOICES
from graphnn.compiler.rules.movement import MOVEMENT
from graphnn.compiler.rules.stability import STABILITY

__all__ = ["RULES", "STABILITY"]

RULES = RuleBook((*STABILITY, *ALGEBRA, *CHOICES, *MOVEMENT))
