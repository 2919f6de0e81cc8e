"""Launches that need nothing of each other become one.

A small kernel leaves most of a GPU idle, and a launch costs some microseconds. Updates of many
parameters, sums over gradients and the borders of a padded array are such kernels. Those that
follow each other, and of which none reads or writes what another one writes, share a grid: the
first blocks do the work of the first, the next ones that of the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from graphnn.compiler.cuda.code import Code, Part, named
from graphnn.compiler.cuda.launches import Launch, Step, launched, launches_of
from graphnn.compiler.cuda.layout import ENOUGH_BLOCKS, STATIC_NBYTES, THREADS
from graphnn.compiler.cuda.writer import Writer, body_of, signature
from graphnn.compiler.kernel import Kernel, Pick
from graphnn.compiler.unit import Buffer, Storage, Unit, View
from graphnn.core.dtypes import as_dtype

__all__ = ["Extent", "extent_of", "meet", "steps_of"]

MOST_BESIDE_LARGE = 28 << 10
"""Bytes that threads share, as far as the arrays of kernels add up, if one of these fills the GPU:
eight blocks of it still have room on a processor with 227 KiB."""

MOST_OPERANDS = 500
"""A launch has room for 4096 bytes of addresses, from which some stay free."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The elements that an operand may touch.

    Attributes
    ----------
    buffer : Buffer
    first, last : int
        The bytes that they lie in, in any round, counted from the start of the buffer's storage.
    begin : int
        Where the first element is, in the first round.
    axes : tuple of (int, int), or None
        Size and stride of every axis, the longest stride first; None if they are not known.
    moves : tuple of int
        Bytes that all of it moves by with the rounds of loops.
    """

    buffer: Buffer
    first: int
    last: int
    begin: int = 0
    axes: tuple[tuple[int, int], ...] | None = None
    moves: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A launch that may be joined with others."""

    launch: Launch
    part: Part
    code: Code
    reads: tuple[Extent, ...]
    writes: tuple[Extent, ...]

    @property
    def is_large(self) -> bool:
        """Whether it fills the GPU by itself."""
        return self.part.blocks > ENOUGH_BLOCKS


Group: TypeAlias = list[Candidate]
"""Launches that need nothing of each other."""


def steps_of(unit: Unit) -> tuple[list[Step], list[Code]]:
    """The steps of a unit, one for each instruction, and the code of all their functions.

    The launches of some steps are made by an earlier one; every step says whose work it does.
    """
    steps, codes = launches_of(unit)
    by_part = {part: code for code in codes for part in code.parts}
    groups = [_groups(unit, each, by_part) for each in steps]
    made: dict[Calls, tuple[Part, Code]] = {}
    found = list(steps)
    for numbers in _runs(unit, groups):
        first, *others = numbers
        together = [[each for number in numbers for each in groups[number][0]]]
        launches = [_joined(each, made) for each in (together if others else groups[first])]
        does = tuple(unit.instructions[number] for number in numbers)
        found[first] = replace(steps[first], launches=tuple(launches), does=does)
        for number in others:
            found[number] = replace(steps[number], launches=(), does=())
    kept = launched(codes, (launch for step in found for launch in step.launches))
    return found, [*kept, *(code for _, code in made.values())]


def _runs(unit: Unit, groups: Sequence[list[Group]]) -> Iterator[list[int]]:
    """Numbers of instructions whose launches become one, or that have several which do."""
    run: list[int] = []
    members: Group = []
    for number, own in enumerate(groups):
        fits = len(own) == 1 and run and _around(unit, number) == _around(unit, run[-1])
        if fits and _may_join(members, own[0]):
            run.append(number)
            members += own[0]
            continue
        if run:
            yield run
        run, members = ([number], list(own[0])) if len(own) == 1 else ([], [])
        if len(own) > 1:
            yield [number]
    if run:
        yield run


def _around(unit: Unit, number: int) -> list[int]:
    """The regions that an instruction is in."""
    return [n for n, each in enumerate(unit.regions) if each.begin <= number < each.end]


def _groups(unit: Unit, step: Step, by_part: Mapping[Any, Code]) -> list[Group]:
    """The launches of an instruction in as few groups as can be; none if some cannot be joined."""
    instruction = step.instruction
    works: list[tuple[Any, Sequence[Any]]] = [
        (each.kernel, each.operands) for each in instruction.pieces
    ]
    if instruction.kernel is not None:
        works.insert(0, (instruction.kernel, (*instruction.inputs, *instruction.outputs)))
    if not all(isinstance(kernel, Kernel) for kernel, _ in works):
        return []
    groups: list[Group] = []
    for launch, (kernel, operands) in zip(step.launches, works, strict=True):
        assert isinstance(launch.does, Part)
        if launch.does.threads != THREADS:
            return []
        reads, writes = _touched(unit, kernel, operands)
        own = Candidate(launch, launch.does, by_part[launch.does], reads, writes)
        if groups and _may_join(groups[-1], [own]):
            groups[-1].append(own)
        else:
            groups.append([own])
    return groups


def _may_join(group: Group, others: Group) -> bool:
    """Whether launches need nothing of each other, and are not too many."""
    both = [*group, *others]
    most = MOST_BESIDE_LARGE if any(each.is_large for each in both) else STATIC_NBYTES
    if len({each.part for each in both}) > 1 and _shared_nbytes(both) > most:
        return False
    if len({place for each in both for place in each.launch.places}) > MOST_OPERANDS:
        return False
    return not any(
        meet(x, y)
        for one in group
        for other in others
        for some, these in (
            (one.writes, (*other.reads, *other.writes)),
            (one.reads, other.writes),
        )
        for x in some
        for y in these
    )


def _shared_nbytes(group: Group) -> int:
    """Bytes that the threads of a joined launch share: the arrays of all its functions."""
    return sum(part.static_nbytes for part in {each.part for each in group})


# --------------------------------------------------------------------------------------- memory


def _touched(
    unit: Unit, kernel: Kernel, operands: Sequence[Any]
) -> tuple[tuple[Extent, ...], tuple[Extent, ...]]:
    """What a kernel reads, and what it writes."""
    stored = {number for number, _ in kernel.stores}
    picked = {each.operand for each in kernel.values if isinstance(each, Pick)}
    extents = [
        extent_of(unit, kernel, number, view, is_whole=number in picked)
        for number, view in enumerate(operands)
    ]
    reads = tuple(each for number, each in enumerate(extents) if number not in stored)
    return reads, tuple(extents[number] for number in sorted(stored))


def extent_of(unit: Unit, kernel: Kernel, number: int, view: View, *, is_whole: bool) -> Extent:
    """What an operand of a kernel may touch; of one that jumps, its whole buffer."""
    buffer, operand = view.buffer, kernel.operands[number]
    assert unit.plan is not None
    start = unit.plan.offsets[buffer.index] if buffer.storage is Storage.ARENA else 0
    if is_whole or min(operand.strides, default=0) < 0:
        return Extent(buffer, start, start + buffer.nbytes)
    begin = start + view.offset
    steps: dict[int, int] = {}
    for size, stride in zip(kernel.sizes, operand.strides, strict=True):
        if stride and size > 1:  # axes of one stride, as windows have, go on where the other ends
            steps[stride] = steps.get(stride, 0) + size - 1
    ordered = tuple((steps[stride] + 1, stride) for stride in sorted(steps, reverse=True))
    reach = sum((size - 1) * stride for size, stride in ordered)
    end = begin + reach + as_dtype(operand.dtype).itemsize
    if any(view.moves):
        return Extent(buffer, start, start + buffer.nbytes, begin, ordered, view.moves)
    return Extent(buffer, begin, end, begin, ordered)


def meet(one: Extent, other: Extent) -> bool:
    """Whether two operands may have memory in common."""
    same = one.buffer.storage is other.buffer.storage
    if one.buffer.storage is not Storage.ARENA:
        same = one.buffer is other.buffer
    return (
        same
        and one.first < other.last
        and other.first < one.last
        and not _are_boxes_apart(one, other)
    )


def _are_boxes_apart(one: Extent, other: Extent) -> bool:
    """Whether two operands are boxes of one array, next to each other.

    Their first elements differ by steps along the axes of that array; along one of them, the
    box that begins first ends before the other one begins.
    """
    if one.axes is None or other.axes is None or one.moves != other.moves:
        return False
    strides = sorted({stride for _, stride in (*one.axes, *other.axes)}, reverse=True)
    if not strides or one.buffer is not other.buffer:
        return False
    start = min(one.begin, other.begin)
    boxes = [_box(each, start, strides) for each in (one, other)]
    if None in boxes:
        return False
    return any(
        low >= end or begin >= high
        for (low, high), (begin, end) in zip(*(box for box in boxes if box), strict=True)
    )


def _box(extent: Extent, start: int, strides: Sequence[int]) -> list[tuple[int, int]] | None:
    """The steps from ``start`` along axes, from and to; None if it is no box along these."""
    rest, places = extent.begin - start, []
    for stride in strides:
        places.append(rest // stride)
        rest %= stride
    known = {stride: size for size, stride in extent.axes or ()}
    sizes = [known.get(stride, 1) for stride in strides]
    for axis in range(len(strides) - 1, 0, -1):  # a box must not run over into the next row
        room = strides[axis - 1] // strides[axis]
        if places[axis] + sizes[axis] <= room:
            continue
        rows, beyond = divmod(sizes[axis], room)
        if places[axis] or beyond or sizes[axis - 1] > 1:
            return None
        sizes[axis], sizes[axis - 1] = room, rows  # several rows were one axis
    boxes = [(place, place + size) for place, size in zip(places, sizes, strict=True)]
    return None if rest else boxes


# ----------------------------------------------------------------------------------------- code


Calls: TypeAlias = tuple[tuple[Part, tuple[tuple[int, ...], ...]], ...]
"""Functions, and which of a launch's places each of them is given; perhaps several times."""


def _joined(group: Group, made: dict[Calls, tuple[Part, Code]]) -> Launch:
    """One launch for a group; equal groups are one function."""
    if len(group) == 1:
        return group[0].launch
    places = list(dict.fromkeys(place for each in group for place in each.launch.places))
    number = {place: n for n, place in enumerate(places)}
    given: dict[Part, list[tuple[int, ...]]] = {}
    for each in group:
        given.setdefault(each.part, []).append(tuple(number[e] for e in each.launch.places))
    calls = tuple((part, tuple(some)) for part, some in given.items())
    if calls not in made:
        by_name = tuple((part.name, some) for part, some in calls)
        made[calls] = _function(group, calls, len(places), named("joined", by_name))
    return Launch(made[calls][0], tuple(places))


def _function(group: Group, calls: Calls, n_places: int, name: str) -> tuple[Part, Code]:
    """A function whose blocks are those of the functions of a group, one after the other."""
    w = Writer()
    bodies: dict[str, str] = {}
    for each in group:
        bodies.setdefault(each.part.name, body_of(each.code.source, f"{name}_{each.part.name}"))
    with w.block(signature(name, n_places, THREADS)):
        blocks = _choose(w, name, calls, 0)
    part = Part(name, blocks, THREADS, static_nbytes=_shared_nbytes(group))
    return part, Code("".join(bodies.values()) + w.text, (part,))


def _choose(w: Writer, name: str, calls: Calls, first: int) -> int:
    """Call the function that a block works for, by halves; the number of the block after them."""
    if len(calls) == 1:
        ((part, some),) = calls
        _call(w, f"{name}_{part.name}", part.blocks, some, first)
        return first + part.blocks * len(some)
    half = len(calls) // 2
    middle = first + sum(part.blocks * len(some) for part, some in calls[:half])
    with w.block(f"if (blockIdx.x < {middle})"):
        _choose(w, name, calls[:half], first)
    with w.block("else"):
        return _choose(w, name, calls[half:], middle)


def _call(w: Writer, name: str, blocks: int, some: Sequence[Sequence[int]], first: int) -> None:
    """Call a function, which is there once, with the operands that a block works on."""
    block = f"blockIdx.x - {first}" if first else "blockIdx.x"
    if len(some) == 1:
        w.line(f"{name}({block}, {', '.join(f'p{number}' for number in some[0])});")
        return
    given = range(len(some[0]))
    w.line(f"const int block = {block};")
    w.line(f"char {', '.join(f'*q{n}' for n in given)};")
    with w.block(f"switch (block / {blocks})"):
        for which, operands in enumerate(some):
            chosen = " ".join(f"q{n} = p{number};" for n, number in enumerate(operands))
            label = f"case {which}:" if which < len(some) - 1 else "default:"
            w.line(f"{label} {chosen} break;")
    w.line(f"{name}(block % {blocks}, {', '.join(f'q{n}' for n in given)});")
