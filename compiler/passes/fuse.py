"""fuse: which nodes are computed together, by one instruction.

Before: ``tanh(x @ w + b)`` is three nodes.
After: one group, a matrix product with an epilogue.
"""

from __future__ import annotations

from dataclasses import replace

from graphnn.compiler.domain import Group, is_computed
from graphnn.compiler.driver import Driver
from graphnn.compiler.unit import Unit

__all__ = ["separate"]


def separate(unit: Unit, driver: Driver) -> Unit:
    """Every node by itself."""
    return replace(
        unit, groups=tuple(Group.of(node) for node in unit.schedule if is_computed(node))
    )
