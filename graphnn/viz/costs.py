"""``gn.viz.costs``: what every instruction of a program costs, for pictures of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphnn.compiler.profile_report import InstructionProfile
from graphnn.compiler.program import Program
from graphnn.core.errors import RenderError
from graphnn.viz.overlays import Measurement, Moment

__all__ = ["costs"]

NS_IN_US = 1e3


def costs(program: Program, *args: Any, repeat: int = 20, **kwargs: Any) -> tuple[Measurement, ...]:
    """Profile a program, for pictures of what takes its time.

    The program really runs; its state is as before in the end.

    Parameters
    ----------
    program : Program
    *args, **kwargs : array_like
        Feeds, as in a call.
    repeat : int, default 20
        How many runs to take the median of.

    Returns
    -------
    tuple of Measurement
        Time in microseconds, bytes read and written, FLOPs, and how much of what this machine
        allows is reached, in percent; of each instruction. What is fused into one instruction has
        the numbers of the instruction.

    Raises
    ------
    ArgumentError
        See :meth:`Program.profile`.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(100, 100))
    >>> program = gn.compile(x, gn.softmax(x @ x))
    >>> feed = np.ones((100, 100), "float32")
    >>> time, nbytes, flops, limit = gn.viz.costs(program, feed, repeat=3)
    >>> gn.render(program, overlay=time)  # doctest: +ELLIPSIS
    <Picture of ...>
    """
    if not isinstance(program, Program):
        raise RenderError(
            f"the costs of {type(program).__name__} are not known",
            hint="compile it: gn.viz.costs(gn.compile(inputs, outputs), *feeds)",
            where="",
        )
    profile = program.profile(*args, repeat=repeat, **kwargs)

    def by_instruction(number: Callable[[InstructionProfile], float]) -> tuple[Moment]:
        rows = profile.instructions
        return (Moment("", {(row.number,): np.array(float(number(row))) for row in rows}),)

    return (
        Measurement("time", "µs", by_instruction(lambda row: row.ns / NS_IN_US), low=0.0),
        Measurement("bytes read and written", "B", by_instruction(lambda row: row.nbytes), low=0.0),
        Measurement(
            "floating-point operations", "", by_instruction(lambda row: row.flops), low=0.0
        ),
        Measurement(
            "of what the machine allows",
            "%",
            by_instruction(lambda row: row.percent),
            low=0.0,
            high=100.0,
        ),
    )
