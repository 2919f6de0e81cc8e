"""Loops that were written out: rows of which each time depends on the one before it.

Rows that depend on each other in a circle are the core of a loop. Each is shifted so that a round
of the loop reads what the same round or the one before it made; then the longest stretch of rounds
is taken in which every node reads what its row says it does. What differs at the ends of the
stretch stays outside.

With the core go rows that it reads, and, later, rows that read it (see :mod:`.reroll`).

Two things that differ in the first and the last round need not stay outside:

* A sum that has one term yet is that term and zero: ``h`` gets cotangents from the loss and from
  the step after it, but the last ``h`` from the loss alone.
* What the last round computes for nobody may be computed all the same: no one asks for the
  cotangent of the ``h`` before all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from graphnn.compiler.scans.components import strong_components
from graphnn.compiler.scans.rows import FEWEST, Link, Row, is_heavy
from graphnn.core.node import Node
from graphnn.core.spec import TensorSpec

__all__ = ["Loop", "begin_sums", "find_loops", "in_order", "with_row"]


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop that was written out.

    Attributes
    ----------
    shifts : mapping of Row to int
        By how much the times of a row exceed the numbers of rounds.
    rounds : range
        Numbers of the rounds, the least one first.
    is_reverse : bool
        Whether the round with the greatest number comes first.
    """

    shifts: Mapping[Row, int]
    rounds: range
    is_reverse: bool

    @property
    def begin(self) -> int:
        """The round that comes first."""
        return self.rounds[-1] if self.is_reverse else self.rounds[0]

    @property
    def end(self) -> int:
        """The round that comes last."""
        return self.rounds[0] if self.is_reverse else self.rounds[-1]

    @property
    def heaviest(self) -> Node:
        """A node that stands for the loop: the largest of those that are more than elementwise."""
        ones = [row.one for row in self.shifts if isinstance(row.one.spec, TensorSpec)]
        return max(ones, key=lambda node: (is_heavy(node), node.tensor.nbytes))

    @property
    def text(self) -> str:
        """The loop in words."""
        return f"{len(self.rounds)} repetitions of {len(self.shifts)} nodes"

    def ahead(self, row: Row, place: int) -> int | None:
        """How many rounds ahead is what a row reads at a place; None if it is not of the loop."""
        link = row.operands[place]
        if link is None or link.row not in self.shifts:
            return None
        return self.shifts[row] + link.ahead - self.shifts[link.row]

    def reads(self, row: Row, place: int, number: int) -> Node | None:
        """What a row reads at a place in a round.

        None for the zero that stands for a term that a sum does not have yet, and for what a
        row would have to read in a round in which it has no node.
        """
        time = number + self.shifts[row]
        if time in row.begins:
            return row.nodes[time] if row.begins[time] == place else None
        if time in row.nodes:
            return row.nodes[time].inputs[place]
        link = row.operands[place]
        return row.one.inputs[place] if link is None else link.row.nodes.get(time + link.ahead)

    def members(self) -> Iterator[tuple[Node, Row, int]]:
        """All nodes of the loop, with their rows and rounds."""
        for row in self.shifts:
            for node, number in self.members_of(row):
                yield node, row, number

    def members_of(self, row: Row) -> Iterator[tuple[Node, int]]:
        """The nodes of a row, with their rounds."""
        for number in self.rounds:
            time = number + self.shifts[row]
            if time in row.nodes and time not in row.begins:
                yield row.nodes[time], number


def begin_sums(rows: Iterable[Row]) -> None:
    """Let sums of rows begin with one term, where that is read in place of the sum."""
    for row in rows:
        if row.one.op.name != "add":
            continue
        for time in (row.first - 1, row.last + 1):
            for reader, place, ahead in row.readers:
                node = reader.nodes.get(time - ahead)
                if node is None or time - ahead in reader.begins:
                    continue
                begun = _begun(row, time, node.inputs[place])
                for each, at, operand in begun:
                    each.nodes[at] = node.inputs[place]
                    each.begins[at] = operand
                if begun:
                    break


def _begun(row: Row, time: int, term: Node) -> list[tuple[Row, int, int]]:
    """The sums, and sums in them, that are that term at that time; the places it is read at."""
    begun: list[tuple[Row, int, int]] = []
    while term.spec == row.one.spec and row not in (each for each, _, _ in begun):
        read = [link and link.row.nodes.get(time + link.ahead) for link in row.operands]
        free = [
            place
            for place, link in enumerate(row.operands)
            if link is None and _most_common(_read(row, place, row.nodes)) is None
        ]
        inner = [
            place
            for place, link in enumerate(row.operands)
            if link is not None and read[place] is None and link.row.one.op is row.one.op
        ]
        places = [place for place, each in enumerate(read) if each is term]
        if places:
            return [*begun, (row, time, places[0])]
        if len(free) == 1:
            return [*begun, (row, time, free[0])]
        if len(inner) != 1:
            break
        begun.append((row, time, inner[0]))
        link = row.operands[inner[0]]
        assert link is not None
        row, time = link.row, time + link.ahead
    return []


def find_loops(rows: Sequence[Row]) -> list[Loop]:
    """The loops that rows make, those that are read before those that read them."""
    cores = [each for each in _components(rows) if _is_circle(each)]
    plain = set(rows).difference(*cores)
    loops = []
    for core in cores:
        best: Loop | None = None
        whole = [_bounded(_with_inputs(each, plain)) for each in _alignments(core)]
        for loop in sorted(whole, key=_length, reverse=True):
            if _length(loop) > (_length(best) if best else FEWEST - 1):
                best = max(filter(None, (best, _longest(loop))), key=_length, default=None)
        if best is not None:
            loops.append(best)
            plain.difference_update(best.shifts)
    return loops


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Rows, those that are read before those that read them."""
    return [row for component in _components(rows) for row in component]


def _components(rows: Iterable[Row]) -> Iterator[list[Row]]:
    return strong_components(rows, lambda row: [each.row for each in _links(row)])


def with_row(loop: Loop, row: Row) -> Loop | None:
    """The loop with a row that reads it in every round; None if the row does not fit."""
    for link in _links(row):
        if link.row not in loop.shifts:
            continue
        shift = loop.shifts[link.row] - link.ahead
        more = replace(loop, shifts={**loop.shifts, row: shift})
        steps = {more.ahead(row, place) for place in range(len(row.operands))}
        if steps <= {None, 0, _back(loop.is_reverse)} and not any(
            number in loop.rounds and (is_wrong or number != loop.begin)
            for number, is_wrong in _faults(more, row)
        ):
            return more
    return None


def _length(loop: Loop) -> int:
    return len(loop.rounds)


def _back(is_reverse: bool) -> int:
    """How many rounds ahead the round before is."""
    return 1 if is_reverse else -1


def _links(row: Row) -> Iterator[Link]:
    return (each for each in row.operands if each is not None)


def _within(core: Collection[Row]) -> Iterator[tuple[Row, Link]]:
    among = set(core)
    return ((row, link) for row in core for link in _links(row) if link.row in among)


def _is_circle(component: Sequence[Row]) -> bool:
    """Whether rows depend on themselves, and are more than a sum, which can go with any loop."""
    (row, *others) = component
    return bool(others) or (
        row.one.op.name != "add" and any(link.row is row for link in _links(row))
    )


def _alignments(core: Sequence[Row]) -> Iterator[Loop]:
    """Cores in which a round reads the round before it at most.

    All rows begin, or end, in one round, or they are as they were found.
    """
    for shifts in (
        {row: row.first for row in core},
        {row: row.last for row in core},
        dict.fromkeys(core, 0),
    ):
        steps = {shifts[row] + link.ahead - shifts[link.row] for row, link in _within(core)}
        for is_reverse in (False, True):
            if steps <= {0, _back(is_reverse)}:
                yield Loop(shifts, range(0), is_reverse)


def _with_inputs(core: Loop, plain: Collection[Row]) -> Loop:
    """The core with rows that it reads, directly or not, and that belong to no loop."""
    found = dict(core.shifts)
    waiting = list(found)
    while waiting:
        row = waiting.pop()
        for link in _links(row):
            if link.row in plain and link.row not in found:
                found[link.row] = found[row] + link.ahead
                waiting.append(link.row)
    while True:
        unfit = {
            link.row
            for row in found
            for link in _links(row)
            if link.row in found
            and found[row] + link.ahead - found[link.row] not in (0, _back(core.is_reverse))
        }
        if not unfit:
            return replace(core, shifts=found)
        found = {row: at for row, at in found.items() if row not in unfit - core.shifts.keys()}


def _bounded(loop: Loop) -> Loop:
    """The loop with the rounds in which all rows have nodes.

    But for the last one: what a row would compute there that has no node, nobody reads.
    """
    firsts = [row.first - shift for row, shift in loop.shifts.items()]
    lasts = [row.last - shift for row, shift in loop.shifts.items()]
    low, high = max(firsts), min(lasts)
    if loop.is_reverse:
        low = max(min(firsts), low - 1)
    else:
        high = min(max(lasts), high + 1)
    return replace(loop, rounds=range(low, high + 1))


def _longest(loop: Loop) -> Loop | None:
    """The longest stretch of a loop in which all is as it should be; None if it is short."""
    faults: dict[int, bool] = {}
    for row in loop.shifts:
        for number, is_wrong in _faults(loop, row):
            faults[number] = faults.get(number, False) or is_wrong
    best = range(0)
    begin = None
    order = list(reversed(loop.rounds)) if loop.is_reverse else list(loop.rounds)
    for number in order:
        if faults.get(number):
            begin = None
            continue
        if begin is None or number in faults:
            begin = number
        stretch = range(min(begin, number), max(begin, number) + 1)
        best = max(best, stretch, key=len)
    return replace(loop, rounds=best) if len(best) >= FEWEST else None


def _faults(loop: Loop, row: Row) -> Iterator[tuple[int, bool]]:
    """Rounds in which a row does not read what it should.

    Each with whether it is wrong; if not, it may still be the first round.
    """
    shift = loop.shifts[row]
    absent = [number for number in loop.rounds if number + shift not in row.nodes]
    if any(number != loop.end for number in absent) or row.one.op.may_raise:
        yield from ((number, True) for number in absent)
    for time in row.begins:
        if time - shift in loop.rounds:
            number = time - shift
            zero = 1 - row.begins[time]
            yield number, not loop.ahead(row, zero)
    times = [
        number + shift
        for number in loop.rounds
        if number + shift in row.nodes and number + shift not in row.begins
    ]
    for place, link in enumerate(row.operands):
        ahead = loop.ahead(row, place)
        given = _read(row, place, times)
        if link is not None and ahead is not None:
            if ahead and not isinstance(link.row.one.spec, TensorSpec):
                yield from ((number, True) for number in loop.rounds)  # no carry
            expected = map(link.row.nodes.get, (time + link.ahead for time in times))
            pairs = zip(times, given, expected, strict=True)
            yield from ((time - shift, not ahead) for time, node, one in pairs if node is not one)
            continue
        constant = _most_common(given)
        if constant is not None:
            pairs_given = zip(times, given, strict=True)
            yield from ((t - shift, True) for t, node in pairs_given if node is not constant)
        for number in absent:
            if loop.reads(row, place, number) is None or (link is None and constant is None):
                yield number, True


def _read(row: Row, place: int, times: Iterable[int]) -> list[Node]:
    return [row.nodes[time].inputs[place] for time in times if time not in row.begins]


def _most_common(nodes: Sequence[Node]) -> Node | None:
    """The node that most of them are."""
    if not nodes or len(set(nodes[:3])) == 3:
        return None
    ((node, count),) = Counter(nodes).most_common(1)
    return node if 2 * count > len(nodes) else None
