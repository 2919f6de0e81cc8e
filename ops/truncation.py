"""Truncated backpropagation through time: derivatives of a scan that reach back a few steps alone.

After every ``k1`` steps a *window* ends, and the way back from what it gave goes through the latest
``k2`` steps. So every window has a *run*: the steps through which its derivatives flow. The carry
before a run counts as constant, but for the first one. Values are those of the whole sequence.

Where ``k2 > k1`` several runs are under way at a time. Each gets a copy of the carry, a *lane*; the
lanes hold equal values and differ in where derivatives stop, so that the compiler makes one of
them again on the way there, and keeps them apart on the way back.

Source: R. Williams and J. Peng, An efficient gradient-based algorithm for on-line training of
recurrent network trajectories (1990); I. Sutskever, Training recurrent neural networks (2013).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from graphnn.core.dtypes import is_inexact
from graphnn.core.errors import ArgumentError
from graphnn.core.graph import substitute
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec
from graphnn.ops.arithmetic import minimum, where
from graphnn.ops.control import stop_gradient
from graphnn.ops.creation import iota
from graphnn.ops.leaves import input_like
from graphnn.ops.logic import equal, logical_and, logical_or
from graphnn.ops.movement import flip
from graphnn.ops.reduction import any as some
from graphnn.ops.scan_primitive import Carry, Step

__all__ = ["Truncation", "scan_in_windows", "unroll_in_windows"]


@dataclass(frozen=True, slots=True)
class Truncation:
    """How far derivatives reach back.

    Attributes
    ----------
    k1 : int
        Steps of a window; the last one may be shorter.
    k2 : int
        Steps of a full window's run. That of a shorter one goes as far beyond its first step as
        all others do, or begins with it.
    """

    k1: int
    k2: int

    @staticmethod
    def of(what: str, truncate: Any) -> Truncation:
        """From what a user gave: ``k`` for ``(k, k)``, or ``(k1, k2)``."""
        pair = truncate if isinstance(truncate, tuple | list) else (truncate, truncate)
        is_number = [isinstance(each, int) and not isinstance(each, bool) for each in pair]
        if len(pair) != 2 or not all(is_number) or min(pair) < 1:
            raise ArgumentError(
                f"{what}: truncate must be a number of steps, or two, at least 1, not {truncate!r}",
                hint="truncate=20, or truncate=(k1, k2): after every k1 steps, through k2 steps",
            )
        return Truncation(*pair)

    @property
    def lanes(self) -> int:
        """How many runs are under way at a time."""
        return -(-self.k2 // self.k1)

    def first_of_run(self, window: int, length: int) -> int:
        """The step that the run of a window begins with."""
        begin = window * self.k1
        end = min(begin + self.k1, length)
        return max(end - self.k2, begin - max(self.k2 - self.k1, 0), 0)


# ------------------------------------------------------------------------------------------ scan


def scan_in_windows(step: Step, truncation: Truncation) -> tuple[list[Node], list[Node]]:
    """The results of a step, see `Step.build`, with derivatives that stop."""
    if step.length == 0:
        return step.build()
    symbols = [each.symbol for each in step.carries]
    flags = _Flags.of(step, truncation)
    carries: list[Carry] = []
    ys: list[list[Node]] = []
    for is_first in flags.is_first:
        own = [input_like("lane", each.tensor) for each in symbols]
        cut = [_stopped_where(is_first, each) for each in own]
        made = substitute(step.outputs, dict(zip(symbols, cut, strict=True)))
        firsts = [each.first for each in step.carries]
        carries += map(Carry, own, firsts, made)
        ys.append([_stopped_where(flags.is_outside, y) for y in made[len(symbols) :]])
    chosen = [_chosen(flags.is_own, each) for each in zip(*ys, strict=True)]
    elements = {**step.elements, **flags.wholes}
    opened = replace(step, carries=tuple(carries), elements=elements, ys=tuple(chosen))
    finals, stacked = opened.build()
    is_last = [_at_the_end(flags.wholes[each], step.reverse) for each in flags.is_own]
    count = len(symbols)
    lanes = (finals[at : at + count] for at in range(0, len(finals), count))
    return [_chosen(is_last, each) for each in zip(*lanes, strict=True)], stacked


@dataclass(frozen=True)
class _Flags:
    """What a step must know of windows, each a bool.

    Attributes
    ----------
    is_first : tuple of Node
        For every lane, whether the step is the first of a run, and derivatives stop before it.
    is_own : tuple of Node
        For every lane but the first, whether the window of the step has its run there.
    is_outside : Node or None
        Whether the step is in no run.
    wholes : mapping of Node to Node
        All of them for all steps.
    """

    is_first: tuple[Node, ...]
    is_own: tuple[Node, ...]
    is_outside: Node | None
    wholes: dict[Node, Node]

    @staticmethod
    def of(step: Step, truncation: Truncation) -> _Flags:
        """The flags of all steps, by counting them in the order in which they are made."""
        k1, k2, lanes = truncation.k1, truncation.k2, truncation.lanes
        wholes: dict[Node, Node] = {}

        def element(whole: Node) -> Node:
            symbol = input_like("flag", TensorSpec((), whole.dtype))
            wholes[symbol] = whole
            return symbol

        numbers = iota((step.length,))
        number, later = numbers, flip(numbers)
        if step.reverse:
            number, later = later, number
        window = number // k1
        own = tuple(element(equal(window % lanes, lane)) for lane in range(1, lanes))
        if k2 >= k1:
            ahead = number + (k2 - k1)
            begins = logical_and(equal(ahead % k1, 0), number > 0)
            run = ahead // k1 % lanes
            first = tuple(element(logical_and(begins, equal(run, lane))) for lane in range(lanes))
            return _Flags(first, own, None, wholes)
        left = minimum(k1 - number % k1, later + 1)
        begins = logical_and(logical_or(equal(left, k2), equal(number % k1, 0)), number > 0)
        return _Flags((element(begins),), own, element(left > k2), wholes)


def _at_the_end(flags: Node, is_reverse: bool) -> Node:
    """A flag of all steps at the last of them; not set if there is no step."""
    numbers = iota(flags.shape)
    later = numbers if is_reverse else flip(numbers)
    return some(logical_and(flags, equal(later, 0)))


def _stopped_where(flag: Node | None, node: Node) -> Node:
    """The node, constant for derivatives where a flag is set."""
    if flag is None or not is_inexact(node.dtype):
        return node
    return where(flag, stop_gradient(node), node)


def _chosen(is_own: Sequence[Node], lanes: Sequence[Node]) -> Node:
    """One of the nodes that all lanes have: that of the first, unless another one is the own."""
    first, *others = lanes
    if all(each is first for each in others):
        return first
    pairs = zip(is_own, others, strict=True)
    return reduce(lambda chosen, pair: where(*pair, chosen), pairs, first)


# ---------------------------------------------------------------------------------------- unroll


def unroll_in_windows(
    apply: Callable[[int], tuple[Sequence[Node], Sequence[Node], Sequence[Node]]],
    firsts: Sequence[Node],
    order: Sequence[int],
    truncation: Truncation,
) -> tuple[list[Node], dict[int, list[Node]]]:
    """The results of steps that are written out, with derivatives that stop.

    Parameters
    ----------
    apply : callable
        From the number of an element to symbols for the carry, what it is after the step, and
        the ys.
    firsts : sequence of Node
        The carry before the first step.
    order : sequence of int
        The numbers of the elements.
    truncation : Truncation

    Returns
    -------
    list of Node
        The last carry.
    dict of int to list of Node
        The ys by the number of the element.
    """
    length = len(order)
    begin_at: dict[int, list[int]] = {}
    for window in range(-(-length // truncation.k1)):
        begin_at.setdefault(truncation.first_of_run(window, length), []).append(window)
    runs: dict[int, list[Node]] = {}  # the carry of every run that is under way, by its window
    carry = list(firsts)
    ys: dict[int, list[Node]] = {}
    for step, element in enumerate(order):
        own = step // truncation.k1
        if step % truncation.k1 == 0:
            runs.pop(own - 1, None)
        for window in begin_at.get(step, ()):
            runs[window] = [stop_gradient(each) if step else each for each in carry]
        symbols, nexts, made = apply(element)
        for window in [*runs, *([] if own in runs else [own])]:
            given = runs.get(window) or [stop_gradient(each) for each in carry]
            outputs = substitute((*nexts, *made), dict(zip(symbols, given, strict=True)))
            if window not in runs:
                outputs = tuple(stop_gradient(each) for each in outputs)
            else:
                runs[window] = list(outputs[: len(symbols)])
            if window == own:
                carry, ys[element] = list(outputs[: len(symbols)]), list(outputs[len(symbols) :])
    return carry, ys
