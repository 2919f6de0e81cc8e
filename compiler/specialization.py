"""A program for one binding of the named dimensions: planned once, made executable when needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from graphnn.compiler.backends import WITHOUT_INSTRUCTIONS, Executable, emit
from graphnn.compiler.driver import Driver, Pass, PassRecord, Report
from graphnn.compiler.pipeline import LEVELS, until_scheduled
from graphnn.compiler.unit import Options, Unit
from graphnn.core.graph import Graph
from graphnn.core.state import Parameter

__all__ = ["Specialization", "specialize"]


class Specialization:
    """A program for one binding of the named dimensions.

    Parameters
    ----------
    unit : Unit
        As its backend needs it.
    passes : Report
        What was done for that.
    left : sequence of Pass
        What is done only when somebody looks at the program.
    driver : Driver
    """

    def __init__(self, unit: Unit, passes: Report, left: Sequence[Pass], driver: Driver) -> None:
        self._needed = unit
        self._done = passes
        self._left = left
        self._driver = driver
        self._expected = tuple((each.shape, each.dtype) for each in unit.graph.inputs)

    @property
    def unit(self) -> Unit:
        """The record that all passes made."""
        return self._finished[0]

    @property
    def passes(self) -> Report:
        """What the passes did."""
        return self._finished[1]

    @cached_property
    def _finished(self) -> tuple[Unit, Report]:
        unit, report = self._driver.run(self._needed, self._left)
        return unit, Report((*self._done.passes, *report.passes))

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
        return self._driver.timed("emit", self._needed, emit)

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
    passes = LEVELS[options.optimize]
    count = until_scheduled(passes) if options.backend in WITHOUT_INSTRUCTIONS else len(passes)
    driver = Driver(options.fuel)
    unit = Unit(graph, tuple(updated), options, dict(sizes))
    unit, report = driver.run(unit, passes[:count])
    return Specialization(unit, report, passes[count:], driver)
