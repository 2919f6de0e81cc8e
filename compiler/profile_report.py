"""The profile: what every instruction of a program takes, beside what the machine allows.

`Program.profile` makes it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from graphnn.compiler.memory_report import MemoryReport
from graphnn.compiler.memory_size import size_text
from graphnn.compiler.native.limits import Limits
from graphnn.compiler.regions import Loop, Region
from graphnn.compiler.reports import PlottedReport, table
from graphnn.compiler.unit import Instruction, Unit
from graphnn.core.op import Array
from graphnn.core.provenance import sources_of
from graphnn.core.state import Parameter

__all__ = ["InstructionProfile", "Profile", "Profiled", "measure"]

MOST_ROWS = 30


@dataclass(frozen=True, slots=True)
class InstructionProfile:
    """One instruction of a profile.

    Attributes
    ----------
    number : int
    kind : str
        "kernel", "gemm", "conv", "copy", "pack", "move" or "host" (NumPy's kernel is called; on a
        GPU, CuPy's).
    label, where : str
        What it computes, and the user's lines.
    ns : float
        Median time in nanoseconds.
    flops, nbytes : int
        Of one run; every operand counts once.
    arithmetic_ns, memory_ns : float
        The least time that this machine needs for as much arithmetic, and to read and write as
        many bytes in the cache that holds them.
    """

    number: int
    kind: str
    label: str
    where: str
    ns: float
    flops: int
    nbytes: int
    arithmetic_ns: float
    memory_ns: float

    @property
    def gflops(self) -> float:
        """Floating-point operations a nanosecond: GFLOP/s."""
        return self.flops / max(self.ns, 1.0)

    @property
    def gbytes(self) -> float:
        """Bytes a nanosecond: GB/s."""
        return self.nbytes / max(self.ns, 1.0)

    @property
    def bound(self) -> str:
        """Which limit binds: "arithmetic" or "memory"."""
        return "arithmetic" if self.arithmetic_ns > self.memory_ns else "memory"

    @property
    def percent(self) -> float:
        """How much of that limit it reaches."""
        return 100.0 * max(self.arithmetic_ns, self.memory_ns) / max(self.ns, 1.0)

    @property
    def intensity(self) -> float:
        """Floating-point operations for every byte."""
        return self.flops / max(self.nbytes, 1)

    def to_dict(self) -> dict[str, Any]:
        """All of it as numbers and text."""
        return {
            "number": self.number,
            "kind": self.kind,
            "label": self.label,
            "where": self.where,
            "ns": self.ns,
            "flops": self.flops,
            "nbytes": self.nbytes,
            "gflops": self.gflops,
            "gbytes": self.gbytes,
            "bound": self.bound,
            "percent": self.percent,
        }


@dataclass(frozen=True)
class Profile(PlottedReport):
    """What a program's time is spent on.

    Its picture is the roofline: operations for every byte to the right, GFLOP/s upwards. A disc is
    an instruction, as large as its share of the time; the roofs are what memory, the fastest cache
    and the arithmetic of this machine allow.

    Attributes
    ----------
    instructions : tuple of InstructionProfile
        In the order of execution.
    call_ns : float
        Median time of a whole run that nobody times inside: instructions, and what it takes to
        get to them. Threads may run instructions side by side, so it may be less than their sum.
    repeat : int
        How many runs there were of each.
    limits : Limits
        What this machine reached with as many threads.
    regions : tuple of Loop or Branch
        Of instructions, by their numbers; outer ones come first.
    live_nbytes : tuple of int
        Bytes of the arena that are live while each instruction is carried out.
    """

    instructions: tuple[InstructionProfile, ...]
    call_ns: float
    repeat: int
    limits: Limits
    regions: tuple[Region, ...] = ()
    live_nbytes: tuple[int, ...] = ()
    figure_size: ClassVar[tuple[float, float]] = (10.0, 6.0)

    @property
    def ns(self) -> float:
        """Time of all instructions, one after the other."""
        return sum(each.ns for each in self.instructions)

    @property
    def flops(self) -> int:
        """Floating-point operations of a run."""
        return sum(each.flops for each in self.instructions)

    @property
    def nbytes(self) -> int:
        """Bytes that instructions read and write in a run."""
        return sum(each.nbytes for each in self.instructions)

    def rounds(self, number: int) -> int:
        """How often an instruction is carried out in a run, if all branches are taken."""
        return prod(
            each.count or 1
            for each in self.regions
            if isinstance(each, Loop) and each.begin <= number < each.end
        )

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the profile as a trace, which Perfetto and ``chrome://tracing`` show.

        One row is a whole call; the other has its instructions one after the other, with loops
        and branches around them, and the live bytes of the arena as a counter.

        Parameters
        ----------
        path : path-like
            Ends with ``.json``.

        Returns
        -------
        Path

        Raises
        ------
        RenderError
            If the name has another ending, or the file cannot be written.
        """
        from graphnn.compiler.trace_events import write_trace

        return write_trace(self, path)

    def to_dict(self) -> dict[str, Any]:
        """All of it as numbers and text, ready for JSON."""
        return {
            "call_ns": self.call_ns,
            "ns": self.ns,
            "flops": self.flops,
            "nbytes": self.nbytes,
            "repeat": self.repeat,
            "limits": {
                "n_threads": self.limits.n_threads,
                "gpu": self.limits.gpu,
                "flops": self.limits.flops,
                "bandwidths": [list(each) for each in self.limits.bandwidths],
            },
            "instructions": [each.to_dict() for each in self.instructions],
        }

    def draw(self, axes: Any) -> None:
        """Draw the roofline on axes of matplotlib."""
        from graphnn.compiler.profile_plot import draw

        draw(axes, self)

    def __str__(self) -> str:
        lines = [
            f"one call takes {time_text(self.call_ns)}: {len(self.instructions)} instructions, "
            f"{time_text(self.ns)} together; medians of {self.repeat} runs, {self.limits.who}",
            f"limits: {self.limits.flops / 1e9:.0f} GFLOP/s, "
            f"{self.limits.cache_bandwidth / 1e9:.0f} GB/s in the fastest cache, "
            f"{self.limits.memory_bandwidth / 1e9:.0f} GB/s in memory",
        ]
        slowest = sorted(self.instructions, key=lambda each: (-each.ns, each.number))
        lines += table(self._rows(slowest[:MOST_ROWS]), ">>>>>>>><")
        if len(slowest) > MOST_ROWS:
            rest = sum(each.ns for each in slowest[MOST_ROWS:])
            lines.append(f"and {len(slowest) - MOST_ROWS} more, {time_text(rest)} together")
        return "\n".join(lines)

    def _rows(self, shown: Sequence[InstructionProfile]) -> list[tuple[str, ...]]:
        total = max(self.ns, 1.0)
        units = ("time", "share", "FLOPs", "bytes", "GFLOP/s", "GB/s", "of limit")
        sums = ("all", time_text(self.ns), "", f"{self.flops:,}", size_text(self.nbytes))
        rates = (f"{self.flops / total:.2f}", f"{self.nbytes / total:.2f}")
        return [
            ("", *units, "instruction"),
            *(_row_of(each, total) for each in shown),
            (*sums, *rates, "", ""),
        ]

    def __repr__(self) -> str:
        return f"<Profile {len(self.instructions)} instructions, {time_text(self.call_ns)} a call>"


def _row_of(each: InstructionProfile, total: float) -> tuple[str, ...]:
    """A row of the table; ``total`` is the time of all instructions."""
    return (
        str(each.number),
        time_text(each.ns),
        f"{100 * each.ns / total:.1f}%",
        f"{each.flops:,}",
        size_text(each.nbytes),
        f"{each.gflops:.2f}",
        f"{each.gbytes:.2f}",
        f"{each.percent:.0f}% {each.bound}",
        f"{each.kind} {each.label}{_place(each.where)}",
    )


def _place(where: str) -> str:
    """The first of the user's lines, as a comment."""
    most = 3
    lines = where.split(", ")
    more = ", ..." if len(lines) > most else ""
    return f"  # {', '.join(lines[:most])}{more}" if where else ""


def time_text(ns: float) -> str:
    """A time with three digits and a unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            digits = 2 if ns < 10 * size else 1 if ns < 100 * size else 0
            return f"{ns / size:.{digits}f} {unit}"
    return f"{ns:.0f} ns"


@runtime_checkable
class Profiled(Protocol):
    """An executable that tells the time of its instructions."""

    def limits(self) -> Limits:
        """What can be reached where it runs."""
        ...

    def now_ns(self) -> int:
        """The time when all runs so far are done."""
        ...

    def run(self, feeds: Sequence[Array]) -> list[Array]:
        """See `Executable.run`."""
        ...

    def profile(self, feeds: Sequence[Array]) -> Sequence[float]:
        """Run once; how many nanoseconds each instruction took."""
        ...


def measure(unit: Unit, executable: Profiled, feeds: Sequence[Array], repeat: int) -> Profile:
    """Run a program again and again, and leave its state as it was.

    Every run starts from the same state, so that random numbers and branches on values are the
    same too.
    """
    with kept(unit.updated) as restore:
        executable.run(feeds)  # memory is touched, threads are there, refusals are told in words
        whole, times = [], []
        for _ in range(repeat):
            restore()
            start = executable.now_ns()
            executable.run(feeds)
            whole.append(executable.now_ns() - start)
            restore()
            times.append(executable.profile(feeds))
    limits = executable.limits()
    medians = [statistics.median(each) for each in zip(*times, strict=True)]
    rows = zip(unit.instructions, unit.runs, medians, strict=True)
    return Profile(
        tuple(_row(number, *each, limits) for number, each in enumerate(rows)),
        statistics.median(whole),
        repeat,
        limits,
        unit.regions,
        MemoryReport.of(unit).live_nbytes[1:-1],
    )


@contextmanager
def kept(parameters: Sequence[Parameter]) -> Iterator[Any]:
    """State that is at the end, and whenever the given function is called, as it was."""
    saved = [each.array.copy() for each in parameters]

    def restore() -> None:
        for parameter, array in zip(parameters, saved, strict=True):
            parameter.array[...] = array

    try:
        yield restore
    finally:
        restore()


def _row(
    number: int, instruction: Instruction, runs: int, ns: float, limits: Limits
) -> InstructionProfile:
    flops, nbytes = runs * instruction.flops, runs * instruction.nbytes
    nodes = (instruction.node, *instruction.nodes)
    itemsize = max((view.dtype.itemsize for view in instruction.outputs), default=4)
    return InstructionProfile(
        number,
        instruction.kind,
        instruction.label,
        ", ".join(map(str, sources_of(nodes))),
        float(ns),
        flops,
        nbytes,
        limits.arithmetic_ns(flops, itemsize),
        limits.memory_ns(nbytes),
    )
