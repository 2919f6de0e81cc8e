"""Values computed where they are wanted at once: in state, or in the place of a carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from graphnn.compiler.native.moves import Piece
from graphnn.compiler.overwriting import may_overwrite
from graphnn.compiler.scans.rewriting import may_raise
from graphnn.compiler.unit import Branch, Buffer, Instruction, Region, Storage, View

__all__ = ["moved_view", "with_moved", "written_in_place"]


def written_in_place(
    instructions: Sequence[Instruction],
    regions: Sequence[Region],
    values: Sequence[View],
    targets: Sequence[View],
    begin: int,
) -> dict[Buffer, View]:
    """For buffers of new values that may lie where they are wanted, that place.

    A kernel may write there if nothing reads the old value after it, it reads the old value
    itself only at the position it writes, and nothing after it can fail.

    Parameters
    ----------
    instructions, regions
        All there are so far.
    values, targets : sequence of View
        Where new values lie, and where each of them is wanted.
    begin : int
        The instructions before this one stay as they are.
    """
    writers: dict[Buffer, list[int]] = {}
    last_read: dict[Buffer, int] = {}
    last_risk = -1
    for index, instruction in enumerate(instructions[begin:], start=begin):
        if instruction.op is not None and may_raise(instruction.node):
            last_risk = index
        for buffer in {view.buffer for view in instruction.outputs}:
            writers.setdefault(buffer, []).append(index)
        last_read.update((view.buffer, index) for view in instruction.inputs)
    in_regions: set[int] = set()
    for region in regions:
        if region.begin >= begin:
            in_regions.update(range(region.begin, region.end))
            if isinstance(region, Branch):
                read = max(region.begin, last_read.get(region.flag.buffer, -1))
                last_read[region.flag.buffer] = read
    moved: dict[Buffer, View] = {}
    for value, target in zip(values, targets, strict=True):
        written = writers.get(value.buffer, [])
        if value.buffer in moved or not value.is_whole or not in_regions.isdisjoint(written):
            continue
        if not written or (written[0] <= last_risk and target.buffer.storage is Storage.STATE):
            continue
        first = written[0]  # of several, if parts of it are written one by one
        instruction = instructions[first]
        output = next(
            number for number, view in enumerate(instruction.outputs) if view.buffer == value.buffer
        )
        # What moves is written at another place than anything is read.
        if (
            any(target.moves)
            or last_read.get(target.buffer, -1) < first
            or (
                last_read[target.buffer] == first
                and may_overwrite(instruction, output, target.buffer)
            )
        ):
            moved[value.buffer] = target
    return moved


def with_moved(instruction: Instruction, moved: Mapping[Buffer, View]) -> Instruction:
    """An instruction with places in other memory for some buffers."""
    return replace(
        instruction,
        inputs=_moved_views(instruction.inputs, moved),
        outputs=_moved_views(instruction.outputs, moved),
        reads=tuple((node, moved_view(view, moved)) for node, view in instruction.reads),
        pieces=tuple(_moved_piece(piece, moved) for piece in instruction.pieces),
    )


def moved_view(view: View, moved: Mapping[Buffer, View]) -> View:
    """A view with a place in other memory if its buffer has one."""
    target = moved.get(view.buffer)
    if target is None:
        return view
    moves = tuple(map(sum, zip_longest(target.moves, view.moves, fillvalue=0)))
    return replace(view, buffer=target.buffer, offset=target.offset + view.offset, moves=moves)


def _moved_views(views: Iterable[View], moved: Mapping[Buffer, View]) -> tuple[View, ...]:
    return tuple(moved_view(view, moved) for view in views)


def _moved_piece(piece: Piece, moved: Mapping[Buffer, View]) -> Piece:
    operands = (
        moved_view(each, moved) if isinstance(each, View) else each for each in piece.operands
    )
    return replace(piece, operands=tuple(operands))
