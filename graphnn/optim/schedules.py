"""Schedules: the learning rate as a function of the number of steps made so far.

A schedule is given in place of the learning rate: ``Adam(Cosine(1e-3, steps=10_000))``. It builds a
few nodes that read the optimizer's step counter, so the rate is computed inside the compiled step,
and a checkpoint that has the counter has the schedule's position.
"""

from __future__ import annotations

import math

import numpy as np

from graphnn.compiler.compilation import evaluate
from graphnn.core.arguments import require_number, require_positive
from graphnn.core.dtypes import FLOAT64
from graphnn.core.errors import ArgumentError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.ops.arithmetic import maximum, minimum, where
from graphnn.ops.constants import constant
from graphnn.ops.exponential import exp, log
from graphnn.ops.operands import cast_to
from graphnn.ops.rounding import floor
from graphnn.ops.trigonometric import cos

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "InverseTime",
    "OneCycle",
    "Polynomial",
    "Restarts",
    "Schedule",
    "StepDecay",
    "WarmUp",
]


class Schedule:
    """The base of schedules: a subclass gives ``rate``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.optim.Cosine(0.1, steps=4).values(6)
    array([0.1       , 0.08535534, 0.05      , 0.01464466, 0.        ,
           0.        ])
    >>> gn.optim.WarmUp(gn.optim.Constant(0.1), steps=2).values(4)
    array([0.05, 0.1 , 0.1 , 0.1 ])
    """

    def rate(self, step: Node) -> Node:
        """The learning rate, elementwise.

        Parameters
        ----------
        step : Node
            How many steps were made before: whole numbers as float64.
        """
        raise NotImplementedError(f"{type(self).__name__} has no rate")

    def values(self, steps: int) -> Array:
        """The rates of the first steps, to look at or plot: float64, one for each."""
        require_positive(type(self).__name__, steps=steps)
        return np.asarray(evaluate(self.rate(constant(np.arange(steps, dtype=np.float64)))))

    def __repr__(self) -> str:
        options = ", ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value!r}"
            for name, value in vars(self).items()
        )
        return f"{type(self).__name__}({options})"


class Constant(Schedule):
    """The same rate always.

    Parameters
    ----------
    initial : float

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.optim.Constant(0.1).values(3)
    array([0.1, 0.1, 0.1])
    """

    def __init__(self, initial: float) -> None:
        self.initial = require_number("Constant", "initial", initial)

    def rate(self, step: Node) -> Node:
        """See :meth:`Schedule.rate`."""
        return step * 0.0 + self.initial


class StepDecay(Schedule):
    """Multiplied by a factor every so many steps: ``initial * factor**floor(t / every)``.

    With ``factor=0.5``, geometric halving.

    Parameters
    ----------
    initial : float
    every : int
    factor : float, default 0.1

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.optim.StepDecay(1.0, every=2, factor=0.5).values(5)
    array([1.  , 1.  , 0.5 , 0.5 , 0.25])
    """

    def __init__(self, initial: float, every: int, factor: float = 0.1) -> None:
        self.initial = require_number("StepDecay", "initial", initial)
        require_positive("StepDecay", every=every)
        self.every = every
        self.factor = require_number("StepDecay", "factor", factor, positive=True)

    def rate(self, step: Node) -> Node:
        """See :meth:`Schedule.rate`."""
        return self.initial * exp(floor(step / float(self.every)) * math.log(self.factor))


class Exponential(Schedule):
    """Multiplied by a factor in every step: ``initial * factor**t``.

    Parameters
    ----------
    initial : float
    factor : float
        Above 0.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.optim.Exponential(1.0, 0.5).values(4)
    array([1.   , 0.5  , 0.25 , 0.125])
    """

    def __init__(self, initial: float, factor: float) -> None:
        self.initial = require_number("Exponential", "initial", initial)
        self.factor = require_number("Exponential", "factor", factor, positive=True)

    def rate(self, step: Node) -> Node:
        """See :meth:`Schedule.rate`."""
        return self.initial * exp(step * math.log(self.factor))


class InverseTime(Schedule):
    """``initial / (1 + decay * t)**power``.

    Parameters
    ----------
    initial : float
    decay : float
    power : float, default 1
        With 0.5, as the inverse square root.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.optim.InverseTime(1.0, decay=1.0).values(4).round(3)
    array([1.   , 0.5  , 0.333, 0.25 ])
    """

    def __init__(self, initial: float, decay: float, power: float = 1.0) -> None:
        self.initial = require_number("InverseTime", "initial", initial)
        self.decay = require_number("InverseTime", "decay", decay)
        self.power = require_number("InverseTime", "power", power)

    def rate(self, step: Node) -> Node:
        """See :meth:`Schedule.rate`."""
        return self.initial * exp(-self.power * log(1.0 + self.decay * step))


class Polynomial(Schedule):
    """From one rate to another in so many steps: ``final + (initial - final) * (1 - t/T)**power``.

    Parameters
    ----------
    initial : float
    steps : int
        T; later the rate stays ``final``.
    final : float, default 0
    power : float, default 1
        A straight line.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.optim.Polynomial(1.0, steps=4, power=2.0).values(5)
    array([1.    , 0.5625, 0.25  , 0.0625, 0.    ])
    """

    def __init__(self, initial: float, steps: int, final: float = 0.0, power: float = 1.0) -> None:
        self.initial = require_number("Polynomial", "initial", initial)
        require_positive("Polynomial", steps=steps)
        self.steps = steps
        self.final = require_number("Polynomial", "final", final)
        self.power = require_number("Polynomial", "power", power, positive=True)

    def rate(self, step: Node) -> Node:
        """See :meth:`Schedule.rate`."""
        left = maximum(1.0 - step / float(self.steps), 0.0)
        return self.final + (self.initial - self.final) * left**self.power


class Cosine(Schedule):
    """Half a cosine from one rate to another: slow at both ends.

    ``final + (initial - final) * (1 + cos(pi * t / T)) / 2``. Source: I. Loshchilov and F. Hutter,
    arXiv:1608.03983.

    Parameters
    ----------
    initial : float
    steps : int
        T; later the rate stays ``final``.
    final : float, default 0

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.optim.Cosine(1.0, steps=4).values(5).round(3)
    array([1.   , 0.854, 0.5  , 0.146, 0.   ])
    """

    def __init__(self, initial: float, steps: int, final: float = 0.0) -> None:
        self.initial = require_number("Cosine", "initial", initial)
        require_positive("Cosine", steps=steps)
        self.steps = steps
        self.final = require_number("Cosine", "final", final)

    def rate(self, step: Node) -> Node:
        """See :meth:`Schedule.rate`."""
        return _half_cosine(self.initial, self.final, minimum(step / float(self.steps), 1.0))


class Restarts(Schedule):
    """Another schedule, begun again and again.

    Parameters
    ----------
    schedule : Schedule
        Such as ``Cosine(0.1, steps=100)``.
    steps : int
        After which it begins again for the first time.
    multiplier : int, default 1
        How many times longer every turn is than the one before; the schedule is stretched.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.optim.Restarts(gn.optim.Cosine(1.0, steps=2), steps=2).values(5)
    array([1. , 0.5, 1. , 0.5, 1. ])
    """

    def __init__(self, schedule: Schedule, steps: int, multiplier: int = 1) -> None:
        self.schedule = _checked("Restarts", schedule)
        require_positive("Restarts", steps=steps, multiplier=multiplier)
        self.steps = steps
        self.multiplier = multiplier

    def rate(self, step: Node) -> Node:
        """See :meth:`Schedule.rate`."""
        first, times = float(self.steps), float(self.multiplier)
        if self.multiplier == 1:
            return self.schedule.rate(step - floor(step / first) * first)
        # Turn n begins after first * (times**n - 1) / (times - 1) steps. Half a step more keeps
        # the logarithm from falling short of a whole number.
        turns = floor(log((step + 0.5) / first * (times - 1.0) + 1.0) / math.log(times))
        longer = exp(turns * math.log(times))
        begun = first * (longer - 1.0) / (times - 1.0)
        return self.schedule.rate((step - begun) / longer)


class WarmUp(Schedule):
    """Straight up from near 0 to another schedule, which begins after that.

    In step ``t < steps`` the rate is ``(t + 1) / steps`` of the schedule's first one.

    Parameters
    ----------
    schedule : Schedule
    steps : int

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.optim.WarmUp(gn.optim.Constant(1.0), steps=4).values(5)
    array([0.25, 0.5 , 0.75, 1.  , 1.  ])
    """

    def __init__(self, schedule: Schedule, steps: int) -> None:
        self.schedule = _checked("WarmUp", schedule)
        require_positive("WarmUp", steps=steps)
        self.steps = steps

    def rate(self, step: Node) -> Node:
        """See :meth:`Schedule.rate`."""
        then = self.schedule.rate(maximum(step - float(self.steps), 0.0))
        return then * minimum((step + 1.0) / float(self.steps), 1.0)


class OneCycle(Schedule):
    """Up to a high rate and far down again, along half cosines.

    Source: L. Smith and N. Topin, arXiv:1708.07120, in PyTorch's form.

    Parameters
    ----------
    highest : float
    steps : int
        Of the whole cycle; later the last rate stays.
    rising : float, default 0.3
        The share of the steps that lead up; above 0, below 1.
    start_divisor : float, default 25
        The first rate is ``highest / start_divisor``.
    end_divisor : float, default 1e4
        The last rate is the first one, divided by this.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.optim.OneCycle(1.0, steps=6).values(6).round(3)
    array([0.04 , 0.994, 0.812, 0.463, 0.133, 0.   ])
    """

    def __init__(
        self,
        highest: float,
        steps: int,
        rising: float = 0.3,
        start_divisor: float = 25.0,
        end_divisor: float = 1e4,
    ) -> None:
        self.highest = require_number("OneCycle", "highest", highest)
        require_positive("OneCycle", steps=steps)
        self.steps = steps
        self.rising = require_number("OneCycle", "rising", rising, below=1.0, positive=True)
        self.start_divisor = require_number(
            "OneCycle", "start_divisor", start_divisor, positive=True
        )
        self.end_divisor = require_number("OneCycle", "end_divisor", end_divisor, positive=True)

    def rate(self, step: Node) -> Node:
        """See :meth:`Schedule.rate`."""
        first = self.highest / self.start_divisor
        top = self.rising * self.steps - 1.0
        rising = _half_cosine(first, self.highest, minimum(step / max(top, 0.5), 1.0))
        part = minimum((step - top) / (self.steps - 1.0 - top), 1.0)
        falling = _half_cosine(self.highest, first / self.end_divisor, part)
        return where(step <= top, rising, falling)


def _half_cosine(initial: float, final: float, part: Node) -> Node:
    """From one number to another while ``part`` goes from 0 to 1."""
    return final + (initial - final) * 0.5 * (1.0 + cos(math.pi * part))


def _checked(what: str, schedule: object) -> Schedule:
    if not isinstance(schedule, Schedule):
        raise ArgumentError(
            f"{what}: {schedule!r} is not a schedule", hint="such as gn.optim.Constant(0.1)"
        )
    return schedule


def rate_of(schedule: Schedule, step: Node) -> Node:
    """The rate of a schedule after so many steps: 0-d, float64."""
    return schedule.rate(cast_to(step, FLOAT64))
