"""One cell: where the operations of a time step stand, for all steps at once.

Along time, an operation stands after what it reads, and the derivatives of an operation below it.
Across time, chains of operations have a row each: first those that carry a value through all
steps, then what hangs on them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from graphnn.viz.grid import Lane, Slot

__all__ = ["Links", "order_rows", "spread_along"]

Chain = list[Slot]

LEAST_LINE = 6
"""Places of a read-out that stand in one line beside a short cell."""
MOST_PLACES = 1 << 30
SIDE_BY_SIDE = 2
"""Gradients of weights that a cell has room for in one row."""


@dataclass(eq=False)
class Links:
    """What slots of one cell read from each other.

    Attributes
    ----------
    before, after : dict of Slot to list of Slot
        Within a column and lane.
    carries : dict of Slot to list of Slot
        Who reads it in another time step of the same lane.
    origin : dict of Slot to Slot
        The slot of the forward operation that it is a derivative of.
    is_main : set of Slot
        What gradients run through; other slots of backward lanes only prepare factors.
    """

    before: dict[Slot, list[Slot]] = field(default_factory=dict)
    after: dict[Slot, list[Slot]] = field(default_factory=dict)
    carries: dict[Slot, list[Slot]] = field(default_factory=dict)
    origin: dict[Slot, Slot] = field(default_factory=dict)
    is_main: set[Slot] = field(default_factory=set)


# ------------------------------------------------------------------------------------ along time


def spread_along(slots: Sequence[Slot], lanes: Sequence[Lane], links: Links) -> int:
    """Set the place of the slots of a cell; returns how many places there are.

    Read-outs end where the cell ends: what they read comes from there. Those that are much longer
    than the cell go on below, in lines.

    Parameters
    ----------
    slots : sequence of Slot
        Each after those it reads, forward lanes before their derivatives.
    """
    parts: dict[str, list[Slot]] = {}
    for slot in slots:
        lane = lanes[slot.lane]
        parts.setdefault(lane.name if lane.is_readout else "", []).append(slot)
    found = {name: _spread(part, lanes, links) for name, part in parts.items()}
    length = {name: 1 + max(ahead.values()) for name, ahead in found.items()}
    longest = max(length.get("", 0), LEAST_LINE)
    folded = {name: ceil(size / max(1, round(size / longest))) for name, size in length.items()}
    folded[""] = length.get("", 0)
    last = max(folded.values()) - 1
    for name, ahead in found.items():
        for slot, place in ahead.items():
            lane = lanes[slot.lane]
            if lane.is_readout:
                slot.line, place = divmod(place, folded[name])
                place += last + 1 - folded[name]
            starts_left = (lane.flow > 0) != (lane.role == "backward")
            slot.place = place if starts_left else last - place
    return last + 1


def _spread(slots: Sequence[Slot], lanes: Sequence[Lane], links: Links) -> dict[Slot, int]:
    """How far ahead slots stand, from the side on which the lane's forward pass starts."""
    ahead: dict[Slot, int] = {}
    least = _least(slots, lanes, links)
    forward = [slot for slot in slots if lanes[slot.lane].role != "backward"]
    for slot in forward:
        read = [ahead[each] + 1 for each in links.before.get(slot, ())]
        ahead[slot] = max([least.get(slot, 0), *read])
    for slot in reversed(forward):
        if slot not in links.before and slot in links.after:
            ahead[slot] = max(0, min(ahead[each] for each in links.after[slot]) - 1)
    last = max(ahead.values(), default=0)
    backward = [slot for slot in slots if lanes[slot.lane].role == "backward"]
    last = max([last, *(least.get(slot, 0) for slot in backward)])
    factors: dict[Slot, int] = {}  # how many stand one after another before a slot
    for slot in backward:
        others = [each for each in links.before.get(slot, ()) if each not in links.is_main]
        factors[slot] = max((factors[each] + 1 for each in others), default=0)
        if slot in links.is_main:
            read = [ahead[e] - 1 for e in links.before.get(slot, ()) if e in links.is_main]
            wish = ahead.get(links.origin[slot], last) if slot in links.origin else last
            ahead[slot] = min([max(wish - factors[slot], least[slot]), *read])
    for slot in reversed(backward):
        if slot not in links.is_main:
            ahead[slot] = max((ahead[each] + 1 for each in links.after.get(slot, ())), default=0)
    _part_siblings(backward, links, ahead)
    return ahead


def _least(slots: Sequence[Slot], lanes: Sequence[Lane], links: Links) -> dict[Slot, int]:
    """How far ahead a slot must stand so that the backward pass has room to its end.

    For what gradients run through, and for the forward operations above.
    """
    least: dict[Slot, int] = {}
    for slot in reversed(slots):
        if lanes[slot.lane].role == "backward" and slot in links.is_main:
            after = [least[each] + 1 for each in links.after.get(slot, ()) if each in links.is_main]
            ends = sum(
                each not in links.after and each not in links.carries
                for each in links.after.get(slot, ())
            )
            least[slot] = max([least.get(slot, 0), min(ends, SIDE_BY_SIDE), *after])
            origin = links.origin.get(slot)
            if origin is not None and lanes[origin.lane].role != "backward":
                least[origin] = max(least.get(origin, 0), least[slot])
    return least


def _part_siblings(slots: Iterable[Slot], links: Links, ahead: dict[Slot, int]) -> None:
    """Ends that read the same, such as gradients of weights, stand one after another."""
    taken: dict[Slot, set[int]] = {}
    for slot in slots:
        read = links.before.get(slot, ())
        if slot in links.after or slot in links.carries or len(read) != 1:
            continue
        used = taken.setdefault(read[0], set())
        free = [x for x in range(ahead[read[0]]) if x not in used]
        if free:
            ahead[slot] = min(free, key=lambda x: abs(x - ahead[slot]))
            used.add(ahead[slot])


# ----------------------------------------------------------------------------------- across time


def order_rows(slots: Sequence[Slot], lane: Lane, links: Links) -> int:
    """Set the rows of one lane of a cell; returns how many there are."""
    if not slots:  # a lane of what belongs to no step
        return 0
    chains = _chains(slots, links)
    ordered = _in_order(chains, links, lane)
    if lane.role == "backward":
        ordered.reverse()
    row, line = -1, -1
    ends: list[tuple[int, int]] = []
    for chain in ordered:
        low, high = min(slot.place for slot in chain), max(slot.place for slot in chain)
        if chain[-1] in links.carries:  # a line through all steps: the row is its own
            low, high = -1, MOST_PLACES
        is_below = chain[0].line != line
        if is_below or any(low <= end and start <= high for start, end in ends):
            row, line, ends = row + 1, chain[0].line, []
        ends.append((low, high))
        for slot in chain:
            slot.row = row
    return row + 1


def _chains(slots: Sequence[Slot], links: Links) -> list[Chain]:
    """Every slot in one chain; those that carry values through all steps come first."""
    chains = []
    used: set[Slot] = set()
    carried = [path for slot in slots if (path := _carried(slot, links, used))]
    for path in sorted(carried, key=len):
        free = path if used.isdisjoint(path) else _carried(path[-1], links, used)
        if free:
            chains.append(free)
            used.update(free)
    for slot in reversed(slots):
        if slot in used:
            continue
        chain = [slot]
        used.add(slot)
        while free := [
            each
            for each in links.before.get(chain[-1], ())
            if each not in used and each.line == slot.line
            if each in links.before or len(links.after[each]) == 1
        ]:
            chain.append(max(free, key=lambda each: each.order))
            used.add(chain[-1])
        chains.append(chain[::-1])
    return chains


def _carried(slot: Slot, links: Links, used: set[Slot]) -> Chain | None:
    """The shortest way from what reads a carried value in the next step to what computes it."""
    if slot not in links.carries or slot in used:
        return None
    goals = set(links.carries[slot])
    came: dict[Slot, Slot | None] = {slot: None}
    waiting = deque([slot])
    while waiting:
        each = waiting.popleft()
        if each in goals:
            path = [each]
            while (towards := came[path[-1]]) is not None:
                path.append(towards)
            return path
        for source in links.before.get(each, ()):
            if source not in came and source not in used:
                came[source] = each
                waiting.append(source)
    return None


def _in_order(chains: Sequence[Chain], links: Links, lane: Lane) -> list[Chain]:
    """Chains from the top: the first that carries, what hangs on it, and the last at the end."""
    number = {slot: index for index, chain in enumerate(chains) for slot in chain}
    roots = [i for i, chain in enumerate(chains) if chain[-1] in links.carries] or [0]
    children = _tree(chains, roots, number, links, lane)
    ordered: list[int] = []
    for root in roots:
        family = _family(root, children)
        ordered += family if root != roots[-1] else family[::-1]
    return sorted((chains[index] for index in ordered), key=lambda chain: chain[0].line)


def _tree(
    chains: Sequence[Chain],
    roots: list[int],
    number: Mapping[Slot, int],
    links: Links,
    lane: Lane,
) -> dict[int, list[int]]:
    """Which chains hang on which, the nearest to the lane's start first; completes the roots."""
    hung: dict[int, list[tuple[int, int]]] = {}
    seen = set(roots)
    waiting = deque(roots)
    rest = iter(range(len(chains)))
    while True:
        while waiting:
            here = waiting.popleft()
            for slot in chains[here]:
                for each in (*links.before.get(slot, ()), *links.after.get(slot, ())):
                    if number[each] not in seen:
                        seen.add(number[each])
                        waiting.append(number[each])
                        hung.setdefault(here, []).append((slot.place * lane.flow, number[each]))
        lost = next((index for index in rest if index not in seen), None)
        if lost is None:
            return {here: [child for _, child in sorted(found)] for here, found in hung.items()}
        roots.insert(0, lost)
        seen.add(lost)
        waiting.append(lost)


def _family(root: int, children: Mapping[int, Sequence[int]]) -> list[int]:
    """A chain and all that hangs on it, each followed by its own."""
    found, waiting = [], [root]
    while waiting:
        here = waiting.pop()
        found.append(here)
        waiting += reversed(children.get(here, ()))
    return found
