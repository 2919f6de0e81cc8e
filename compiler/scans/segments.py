"""Recurrences in segments: what the way back needs of each step is computed again, not kept.

Before: a scan over 10,000 steps that gives what the way back needs of each, and the scan back.
After: a scan over 100 segments, each a scan of 100 steps, that gives the carry before every
segment; and a scan back over these, each of which computes a segment again with what its steps
need, and then goes back through them. The same may be done to a segment.

A step reads what it is given through `again`. That tells the second computation from the first,
and makes products stay in their segment, which `hoist` would else compute for all steps at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from graphnn.compiler.scans.rewriting import is_scan
from graphnn.compiler.scans.schedules import Recurrence, Schedule
from graphnn.core.graph import Graph, with_inputs
from graphnn.core.node import Node
from graphnn.core.provenance import made_by
from graphnn.core.spec import TensorSpec
from graphnn.core.state import aligned
from graphnn.ops.broadcasting import reshape
from graphnn.ops.control import PROJECT
from graphnn.ops.joining import concatenate
from graphnn.ops.leaves import input_like
from graphnn.ops.recomputation import SEGMENT, again
from graphnn.ops.scan_primitive import Carry, Step

__all__ = ["Pair", "find_lonely", "find_pairs", "in_segments"]


# ------------------------------------------------------------------------------- what there is


@dataclass(frozen=True, slots=True)
class Pair:
    """A scan and the one that goes back over it.

    Attributes
    ----------
    forward : Node
    backward : Node or None
        A scan of as many steps in the opposite direction; None for a scan that is alone.
    kept : tuple of int
        The numbers of those results of ``forward`` for every step that ``backward`` alone reads.
    """

    forward: Node
    backward: Node | None
    kept: tuple[int, ...]

    @property
    def recurrence(self) -> Recurrence:
        """Its steps, and what of them takes memory."""
        body: Graph = self.forward.attrs["body"]
        carry = body.outputs[: self.forward.attrs["n_carry"]]
        return Recurrence(
            self.forward.attrs["length"],
            sum(aligned(each.tensor.nbytes) for each in carry),
            sum(body.outputs[number].tensor.nbytes for number in self.kept) or 1,
        )


def find_pairs(graph: Graph) -> list[Pair]:
    """The pairs of a graph, no scan in two of them; those that keep most are preferred."""
    found: list[Pair] = []
    outputs = set(graph.outputs)
    for node in filter(is_scan, graph.nodes):
        by_reader: dict[Node, list[int]] = {}
        for result in graph.users[node]:
            number: int = result.attrs["index"]
            readers = graph.users[result]
            if number < node.attrs["n_carry"] or result in outputs or len(readers) != 1:
                continue
            if _goes_back(node, readers[0], result):
                by_reader.setdefault(readers[0], []).append(number)
        found += (Pair(node, reader, tuple(kept)) for reader, kept in by_reader.items())
    found.sort(key=lambda pair: -pair.recurrence.nbytes(()))
    taken: set[Node | None] = set()
    chosen = []
    for pair in found:
        if taken.isdisjoint((pair.forward, pair.backward)):
            taken.update((pair.forward, pair.backward))
            chosen.append(pair)
    return chosen


def find_lonely(graph: Graph, pairs: Sequence[Pair]) -> list[Pair]:
    """Scans that give their last carry alone, and are in no pair.

    Nothing is computed again for their segments, but products of sequences stay in them.
    """
    taken = {node for pair in pairs for node in (pair.forward, pair.backward)}
    return [
        Pair(node, None, ())
        for node in filter(is_scan, graph.nodes)
        if node not in taken
        and node.attrs["length"] > 1
        and node.attrs["n_xs"]
        and node.attrs["n_carry"] == len(node.attrs["body"].outputs)
    ]


def _goes_back(forward: Node, reader: Node, result: Node) -> bool:
    """Whether a scan reads a result of another one step by step, from the last to the first."""
    if not is_scan(reader) or forward.attrs["length"] < 2:
        return False
    before = len(reader.inputs) - reader.attrs["n_xs"]
    same = reader.attrs["length"] == forward.attrs["length"]
    is_opposite = reader.attrs["reverse"] != forward.attrs["reverse"]
    return same and is_opposite and result not in reader.inputs[:before]


# ------------------------------------------------------------------------------ what is made of it


def in_segments(graph: Graph, chosen: Mapping[Pair, Schedule]) -> Graph:
    """The graph with some pairs computed in segments."""
    forwards = {pair.forward: pair for pair in chosen}
    backwards = {pair.backward: pair for pair in chosen if pair.backward is not None}
    ways: dict[Pair, _Way] = {}
    results: dict[Node, Sequence[Node]] = {}

    def made(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is PROJECT and inputs[0] in results:
            number: int = node.attrs["index"]
            return results[inputs[0]][number]
        new = with_inputs(node, inputs)
        with made_by("rematerialize", node):
            if node in forwards:
                pair = forwards[node]
                ways[pair] = _Way(Step.of(new), pair.kept, chosen[pair])
                results[new] = ways[pair].there()
            elif node in backwards:
                results[new] = ways[backwards[node]].back(Step.of(new))
        return new

    return graph.map(made)


class _Way:
    """The way there, in segments, and the way back over it, when it is known."""

    def __init__(self, step: Step, numbers: Sequence[int], schedule: Schedule) -> None:
        self._step = step
        self._schedule = schedule
        self._kept = {number: step.outputs[number] for number in numbers}
        # These stand for what is not there for all steps at a time.
        self._absent = {
            number: input_like("kept", TensorSpec((step.length, *each.shape), each.dtype))
            for number, each in self._kept.items()
        }
        self._saved = _Saved((), ())

    def there(self) -> list[Node]:
        """The results of the scan by number."""
        step, count = self._step, len(self._step.carries)
        numbers = [n for n in range(count, len(step.outputs)) if n not in self._kept]
        others = [step.outputs[number] for number in numbers]
        finals, ys, self._saved = _there(step, others, [*self._kept.values()], self._schedule)
        by_number = {**self._absent, **dict(zip(numbers, ys, strict=True))}
        return [*finals, *(by_number[number] for number in sorted(by_number))]

    def back(self, step: Step) -> list[Node]:
        """The results of the scan back by number."""
        number_of = {absent: number for number, absent in self._absent.items()}
        kept: dict[Node, Node] = {}
        given: dict[Node, Node] = {}
        for symbol, whole in step.elements.items():
            if whole in number_of:
                kept[symbol] = self._kept[number_of[whole]]
            else:
                given[symbol] = whole
        # Where two elements keep the same, it is there once.
        places = {each: place for place, each in enumerate(self._kept.values())}
        numbered = {symbol: places[each] for symbol, each in kept.items()}
        way = _Both(self._step, replace(step, elements=given), [*places], numbered)
        finals, ys = _back(way, self._saved, self._schedule)
        return [*finals, *ys]


@dataclass(frozen=True)
class _Saved:
    """What of the way there is read on the way back.

    Attributes
    ----------
    borders : sequence of Node
        The carry before every segment but the last.
    kept : sequence of Node
        What the steps of the last segment keep.
    """

    borders: Sequence[Node]
    kept: Sequence[Node]


@dataclass(frozen=True)
class _Both:
    """The steps of both ways.

    Attributes
    ----------
    forward : Step
    backward : Step
        Its elements are without those that are kept.
    kept : sequence of Node
        What ``backward`` needs of each step of ``forward``.
    numbered : mapping of Node to int
        For the symbols of ``backward`` that stand for these, their numbers.
    """

    forward: Step
    backward: Step
    kept: Sequence[Node]
    numbered: Mapping[Node, int]


def _there(
    step: Step, others: Sequence[Node], kept: Sequence[Node], schedule: Schedule
) -> tuple[list[Node], list[Node], _Saved]:
    """The last carry, what is asked for of all steps, and what is saved."""
    if not schedule:
        finals, ys = replace(step, ys=(*others, *kept)).build()
        return finals, ys[: len(others)], _Saved((), ys[len(others) :])
    cut = _Cut(step, schedule[0], is_last_behind=not step.reverse)
    carries, elements = _symbols(each.symbol for each in step.carries), cut.symbols()
    segment = cut.segment(_again(carries), _again(elements))
    # In segments too, though nothing is saved of it: products leave the innermost ones alone.
    after, made, _ = _there(segment, others, (), schedule[1:])
    whole = Step(
        tuple(map(Carry, carries, (each.first for each in step.carries), after)),
        dict(zip(elements, cut.mains, strict=True)),
        (*made, *carries),
        cut.count,
        step.reverse,
    )
    finals, stacked = whole.build()
    mains, borders = stacked[: len(others)], stacked[len(others) :]
    finals, rests, last = _there(cut.last(finals), others, kept, ())
    return finals, cut.joined(mains, rests), _Saved(borders, last.kept)


def _back(way: _Both, saved: _Saved, schedule: Schedule) -> tuple[list[Node], list[Node]]:
    """The results of the scan back."""
    forward, backward = way.forward, way.backward
    if not schedule:
        kept = {symbol: saved.kept[number] for symbol, number in way.numbered.items()}
        return replace(backward, elements={**backward.elements, **kept}).build()
    there, back = (
        _Cut(each, schedule[0], is_last_behind=not forward.reverse) for each in (forward, backward)
    )
    firsts = [each.first for each in backward.carries]
    firsts, rests = _back(replace(way, backward=back.last(firsts)), saved, ())
    borders = _symbols(each.symbol for each in forward.carries)
    carries = _symbols(each.symbol for each in backward.carries)
    read, given = there.symbols(), back.symbols()
    segment = replace(
        way,
        forward=there.segment(_again(borders), _again(read)),
        backward=back.segment(_again(carries), _again(given)),
    )
    _, _, inside = _there(segment.forward, (), way.kept, schedule[1:])
    after, ys = _back(segment, inside, schedule[1:])
    symbols = (*borders, *read, *given)
    wholes = (*saved.borders, *there.mains, *back.mains)
    whole = Step(
        tuple(map(Carry, carries, firsts, after)),
        dict(zip(symbols, wholes, strict=True)),
        tuple(ys),
        back.count,
        backward.reverse,
    )
    finals, mains = whole.build()
    return finals, back.joined(mains, rests)


class _Cut:
    """A step and its sequences, cut into segments; the last one on the way there is apart.

    Attributes
    ----------
    count : int
        How many segments there are beside that one.
    mains : list of Node
        The sequences without that one, of segments.
    """

    def __init__(self, step: Step, level: tuple[int, int], *, is_last_behind: bool) -> None:
        assert isinstance(step.length, int)
        self._step = step
        self._is_last_behind = is_last_behind
        self.count, self._length = level
        self._n_last = step.length - self.count * self._length
        split = self.count * self._length if is_last_behind else self._n_last
        self.mains: list[Node] = []
        self._rests: list[Node] = []
        for whole in step.elements.values():
            parts = (whole[:split], whole[split:])
            main, rest = parts if is_last_behind else reversed(parts)
            self.mains.append(reshape(main, (self.count, self._length, *whole.shape[1:])))
            self._rests.append(rest)

    def symbols(self) -> list[Node]:
        """Symbols for a segment of every sequence."""
        specs = (each.tensor for each in self.mains)
        return [input_like("segment", TensorSpec(each.shape[1:], each.dtype)) for each in specs]

    def segment(self, firsts: Sequence[Node], wholes: Sequence[Node]) -> Step:
        """The steps of one segment."""
        return self._part(firsts, wholes, self._length)

    def last(self, firsts: Sequence[Node]) -> Step:
        """The steps of the last segment."""
        return self._part(firsts, self._rests, self._n_last)

    def _part(self, firsts: Sequence[Node], wholes: Sequence[Node], length: int) -> Step:
        step = self._step
        pairs = zip(step.carries, firsts, strict=True)
        carries = tuple(replace(each, first=first) for each, first in pairs)
        elements = dict(zip(step.elements, wholes, strict=True))
        return replace(step, carries=carries, elements=elements, length=length)

    def joined(self, mains: Sequence[Node], rests: Sequence[Node]) -> list[Node]:
        """What is given for all steps, from what is given for segments and for the last one."""
        listed = []
        for main, rest in zip(mains, rests, strict=True):
            parts = [reshape(main, (self.count * self._length, *rest.shape[1:])), rest]
            listed.append(concatenate(parts if self._is_last_behind else parts[::-1]))
        return listed


def _symbols(nodes: Iterable[Node]) -> list[Node]:
    return [input_like("carry", each.tensor) for each in nodes]


def _again(nodes: Iterable[Node]) -> list[Node]:
    return [again(each, SEGMENT) for each in nodes]
