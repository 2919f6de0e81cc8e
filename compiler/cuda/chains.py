"""Kernels that follow each other become one, where every point needs its own point alone.

Fusion does so to nodes. What it cannot see is left for here: a copy of what was just computed, and
what a loop does at the end of a round and at the beginning of the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from graphnn.compiler.cuda.side_by_side import Extent, extent_of, meet
from graphnn.compiler.kernel import Apply, Index, Kernel, Literal, Load, Operand, Value
from graphnn.compiler.unit import Buffer, Instruction, Storage, Unit, View
from graphnn.core.dtypes import as_dtype

__all__ = ["chained", "conflict", "is_by_point"]

MOST_OPERANDS = 64


@dataclass(frozen=True, slots=True)
class _Seen:
    """An operand over the axes that two kernels have in common."""

    where: tuple[Storage | Buffer, int]
    moves: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int


def is_by_point(instruction: Instruction) -> bool:
    """Whether it is an elementwise kernel, which reads and writes at the point it computes."""
    kernel = instruction.kernel
    return (
        isinstance(kernel, Kernel)
        and not kernel.reduced
        and all(isinstance(each, Load | Literal | Apply | Index) for each in kernel.values)
    )


def chained(unit: Unit, first: Instruction, second: Instruction) -> Instruction | None:
    """One instruction for two elementwise ones; None if a point of one needs another of the other.

    What the second reads of the first is handed on in a register.
    """
    if not (is_by_point(first) and is_by_point(second)):
        return None
    one, other = first.kernel, second.kernel
    assert isinstance(one, Kernel)
    assert isinstance(other, Kernel)
    sizes = _common(one.sizes, other.sizes)
    if sizes is None or len(one.operands) + len(other.operands) > MOST_OPERANDS:
        return None
    is_counted = any(isinstance(each, Index) for each in (*one.values, *other.values))
    if is_counted and not one.sizes == other.sizes == sizes:
        return None  # an axis that is counted stays as it is
    handed_on = _handed_on(unit, first, second, sizes)
    return None if handed_on is None else _merged(first, second, sizes, handed_on)


def conflict(unit: Unit, one: Instruction, other: Instruction) -> bool:
    """Whether one of two instructions writes what the other one touches."""
    (reads, writes), (others, targets) = _touched(unit, one), _touched(unit, other)
    return any(meet(x, y) for x in writes for y in (*others, *targets)) or any(
        meet(x, y) for x in reads for y in targets
    )


# ------------------------------------------------------------------------------------ points


def _common(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...] | None:
    """The axes of two domains, split so that they are the same; None if they cannot be."""
    left, right, found = list(one), list(other), list[int]()
    while left and right:
        a, b = left.pop(), right.pop()
        least = min(a, b)
        if max(a, b) % least:
            return None
        found.append(least)
        if a > least:
            left.append(a // least)
        if b > least:
            right.append(b // least)
    if any(size > 1 for size in (*left, *right)):
        return None
    return tuple(reversed(found))


def _along(sizes: Sequence[int], strides: Sequence[int], common: Sequence[int]) -> tuple[int, ...]:
    """Strides along axes that are parts of a kernel's own ones."""
    own, found = [*zip(sizes, strides, strict=True)], list[int]()
    for size in reversed(common):
        while own and own[-1][0] == 1 and size > 1:
            own.pop()
        have, stride = own.pop() if own else (size, 0)
        found.append(stride if size > 1 else 0)
        if have > size:
            own.append((have // size, stride * size))
    return tuple(reversed(found))


def _handed_on(
    unit: Unit, first: Instruction, second: Instruction, sizes: Sequence[int]
) -> dict[int, int] | None:
    """Operands that the second reads of the first, and its values; None if they do not fit."""
    one, other = first.kernel, second.kernel
    assert isinstance(one, Kernel)
    assert isinstance(other, Kernel)
    stored, targets, found = dict(one.stores), dict(other.stores), dict[int, int]()
    for n, view in enumerate((*first.inputs, *first.outputs)):
        for m, seen in enumerate((*second.inputs, *second.outputs)):
            if n not in stored and m not in targets:
                continue
            if _seen(unit, one, n, view, sizes) == _seen(unit, other, m, seen, sizes):
                if m in targets:
                    continue
                if one.operands[n].dtype != other.operands[m].dtype and not _copies(other):
                    return None
                found[m] = stored[n]
            elif meet(
                extent_of(unit, one, n, view, is_whole=False),
                extent_of(unit, other, m, seen, is_whole=False),
            ):
                return None
    return found


def _seen(unit: Unit, kernel: Kernel, number: int, view: View, sizes: Sequence[int]) -> _Seen:
    assert unit.plan is not None
    operand, buffer, offset = kernel.operands[number], view.buffer, view.offset
    where: Storage | Buffer = buffer
    if buffer.storage is Storage.ARENA:
        where, offset = Storage.ARENA, offset + unit.plan.offsets[buffer.index]
    strides = _along(kernel.sizes, operand.strides, sizes)
    moves = view.moves if any(view.moves) else ()
    return _Seen((where, offset), moves, strides, as_dtype(operand.dtype).itemsize)


def _copies(kernel: Kernel) -> bool:
    """Whether a kernel moves bits, whatever they mean."""
    return kernel.values == (Load(0),)


# ------------------------------------------------------------------------------------ kernels


def _merged(
    first: Instruction, second: Instruction, sizes: tuple[int, ...], handed_on: Mapping[int, int]
) -> Instruction:
    """The instruction that does the work of both."""
    one, other = first.kernel, second.kernel
    assert isinstance(one, Kernel)
    assert isinstance(other, Kernel)
    dtypes = {value: one.operands[operand].dtype for operand, value in one.stores}
    read = [n for n in range(len(second.inputs)) if n not in handed_on]
    n_first, n_inputs = len(first.inputs), len(first.inputs) + len(read)
    place = {n: n if n < n_first else n + len(read) for n in range(len(one.operands))}
    n_before = n_inputs + len(first.outputs)
    others = {n: n_first + number for number, n in enumerate(read)}
    others |= {len(second.inputs) + n: n_before + n for n in range(len(second.outputs))}

    values: list[Value] = [
        Load(place[each.operand]) if isinstance(each, Load) else each for each in one.values
    ]
    number: dict[int, int] = {}
    for n, each in enumerate(other.values):
        if isinstance(each, Load) and each.operand in handed_on:
            number[n] = handed_on[each.operand]
            continue
        number[n] = len(values)
        values.append(_renumbered(each, others, number))
    stores = [(place[operand], value) for operand, value in one.stores]
    stores += [(others[operand], number[value]) for operand, value in other.stores]
    operands: dict[int, Operand] = {}
    for kernel, numbers in ((one, place), (other, others)):
        for n, into in numbers.items():
            along = _along(kernel.sizes, kernel.operands[n].strides, sizes)
            operands[into] = Operand(kernel.operands[n].dtype, along)
    if _copies(other) and handed_on:  # it stores what it was handed, not bits
        operands[n_before] = replace(operands[n_before], dtype=dtypes[handed_on[0]])
    ordered = tuple(operands[n] for n in sorted(operands))
    return replace(
        first,
        kind="kernel",
        inputs=(*first.inputs, *(second.inputs[n] for n in read)),
        outputs=(*first.outputs, *second.outputs),
        flops=first.flops + second.flops,
        kernel=Kernel(sizes, (), ordered, tuple(values), tuple(stores)),
        nodes=(*first.nodes, *second.nodes),
        reads=(),
        stored=(),
    )


def _renumbered(value: Value, operands: Mapping[int, int], values: Mapping[int, int]) -> Value:
    match value:
        case Load(operand):
            return Load(operands[operand])
        case Apply(op, dtype, args):
            return Apply(op, dtype, tuple(values[each] for each in args))
        case _:
            return value


# ------------------------------------------------------------------------------------ memory


def _touched(unit: Unit, instruction: Instruction) -> tuple[list[Extent], list[Extent]]:
    """What an instruction reads, and what it writes."""
    kernel, by_point = instruction.kernel, is_by_point(instruction)
    found = []
    for number, view in enumerate((*instruction.inputs, *instruction.outputs)):
        if by_point and isinstance(kernel, Kernel):
            found.append(extent_of(unit, kernel, number, view, is_whole=False))
        else:
            found.append(_whole(unit, view.buffer))
    n_inputs = len(instruction.inputs)
    scratch = [_whole(unit, instruction.scratch)] if instruction.scratch is not None else []
    return found[:n_inputs], found[n_inputs:] + scratch


def _whole(unit: Unit, buffer: Buffer) -> Extent:
    assert unit.plan is not None
    start = unit.plan.offsets[buffer.index] if buffer.storage is Storage.ARENA else 0
    return Extent(buffer, start, start + buffer.nbytes)
