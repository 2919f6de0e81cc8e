"""The rows of the comparison with other libraries, one file for each family."""

from __future__ import annotations

from cases import (
    cells,
    chains,
    convolutions,
    gradbench,
    growth,
    lenet,
    matrices,
    mlp,
    normalization,
    recurrent,
)
from cases.case import Case

__all__ = ["Case", "all_cases"]

FAMILIES = (
    mlp,
    lenet,
    recurrent,
    cells,
    normalization,
    gradbench,
    chains,
    matrices,
    convolutions,
    growth,
)


def all_cases(*, tiny: bool = False) -> dict[str, Case]:
    """Every case by name, in the order of the table; ``tiny`` ones keep all but the size."""
    listed = [case for family in FAMILIES for case in family.cases(tiny=tiny)]
    named = {case.name: case for case in listed}
    if len(named) != len(listed):
        raise ValueError("two cases share a name")
    return named
