"""The rewrite rules, one file per theme; order matters only between rules of one head."""

from graphnn.compiler.pattern import RuleBook
from graphnn.compiler.rules.algebra import ALGEBRA

__all__ = ["RULES"]

RULES = RuleBook(ALGEBRA)
