"""A program for one binding of the named dimensions: planned once, made executable when needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from graphnn.compiler.backends import Executable, emit
from graphnn.compiler.driver import Driver, PassRecord, Report
from graphnn.compiler.pipeline import LEVELS
from graphnn.compiler.unit import Options, Unit
from graphnn.core.graph import Graph
from graphnn.core.state import Parameter

__all__ = ["Specialization", "specialize"]


class Specialization:
    """A program for one binding of the named dimensions.

    Attributes
    ----------
    unit : Unit
    passes : Report
        What the passes did.
    """

    def __init__(self, unit: Unit, driver: Driver, passes: Report) -> None:
        self.unit = unit
        self.passes = passes
        self._driver = driver
        self._expected = tuple((each.shape, each.dtype) for each in unit.graph.inputs)

    @property
    def executable(self) -> Executable:
        """What runs it: made when it is first needed, for a program may be only looked at."""
        return self._emitted[0]

    @property
    def report(self) -> Report:
        """What the passes did, and what it took to make the program executable."""
        return Report((*self.passes.passes, self._emitted[1]))

    @cached_property
    def _emitted(self) -> tuple[Executable, PassRecord]:
        return self._driver.timed("emit", self.unit, emit)

    def takes(self, feeds: Sequence[Any], types: Collection[type]) -> bool:
        """Whether feeds are arrays that can be run as they are: most calls of a training loop.

        ``types`` are those of arrays that the program has run with.
        """
        if len(feeds) != len(self._expected):
            return False
        for (shape, dtype), fed in zip(self._expected, feeds, strict=True):
            if type(fed) not in types or fed.shape != shape or fed.dtype is not dtype:
                return False
            if type(fed) is not np.ndarray and not fed.flags.c_contiguous:
                return False
        return True


def specialize(
    graph: Graph, updated: Sequence[Parameter], options: Options, sizes: Mapping[str, int]
) -> Specialization:
    """Run the passes of the options' level on a graph, for sizes of its named dimensions."""
    driver = Driver(options.fuel)
    unit = Unit(graph, tuple(updated), options, dict(sizes))
    unit, report = driver.run(unit, LEVELS[options.optimize])
    return Specialization(unit, driver, report)
