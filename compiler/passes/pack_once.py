"""pack_once: what several matrix products read is brought into their panels once, for all.

Before: ``gemm arena1 <- arena0 state0``, ``gemm arena2 <- arena1 state0``, each of which packs.
After: ``pack arena3 <- state0``, and the products read ``arena3``.

A recurrent net multiplies by one weight at every step. The panels stay in the arena from the first
of these products to the last one. Products keep the operand itself among their inputs, for an
interpreter reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from graphnn.compiler.driver import Driver
from graphnn.compiler.kernel import Contraction
from graphnn.compiler.native.contraction.panels import Panels
from graphnn.compiler.native.contraction.sharing import Offer, is_worth_it, offer
from graphnn.compiler.native.generators import is_product, scratch_nbytes
from graphnn.compiler.native.moves import Piece
from graphnn.compiler.native.target import host_target
from graphnn.compiler.unit import Buffer, Instruction, Storage, Unit, View
from graphnn.core.dtypes import UINT8

__all__ = ["pack_once"]


class _Key(NamedTuple):
    """Products of one key can share panels."""

    buffer: Buffer
    offset: int
    version: int
    panels: Panels


def pack_once(unit: Unit, driver: Driver) -> Unit:
    """See the module. A program that stops at the first NaN is interpreted: it needs no panels."""
    if unit.options.debug == "nan":
        return unit
    for factor in (1, 0):
        unit = _pack_factors(unit, factor)
    return unit


def _pack_factors(unit: Unit, factor: int) -> Unit:
    """The same for the left (0) or the right (1) factors of all products."""
    offers = _offers(unit.instructions, factor)
    chosen = {key: each for key, each in offers.items() if _is_chosen(unit, each)}
    if not chosen:
        return unit
    key_of = {number: key for key, each in chosen.items() for number in each}
    buffers = list(unit.buffers)
    instructions: list[Instruction] = []
    panels: dict[_Key, View] = {}
    for number, instruction in enumerate(unit.instructions):
        key = key_of.get(number)
        if key is None:
            instructions.append(instruction)
            continue
        if key not in panels:
            panels[key] = _allocate(buffers, key.panels.nbytes)
            instructions.append(_packing(instruction, factor, key.panels, panels[key]))
        contraction = chosen[key][number].contraction
        scratch = _resized(buffers, instruction.scratch, scratch_nbytes(contraction))
        given = (panels[key], *instruction.panels)  # the right factors come first: see pack_once
        instructions.append(replace(instruction, kernel=contraction, panels=given, scratch=scratch))
    return replace(unit, instructions=tuple(instructions), buffers=tuple(buffers))


def _is_chosen(unit: Unit, offers: Mapping[int, Offer]) -> bool:
    """Whether products share panels: as they would if nothing were computed a second time.

    Products that are computed again under a memory budget must give the same bits, so they use
    the panels that the first ones use, or none.
    """
    again = set(unit.recomputed)
    return is_worth_it(
        [each for number, each in offers.items() if unit.instructions[number].node not in again]
    )


def _offers(instructions: Sequence[Instruction], factor: int) -> dict[_Key, dict[int, Offer]]:
    """What products would gain, by the panels that they would read and their own number."""
    found: dict[_Key, dict[int, Offer]] = {}
    written: Counter[Buffer] = Counter()
    target = host_target()
    for number, instruction in enumerate(instructions):
        kernel = instruction.kernel
        if isinstance(kernel, Contraction) and is_product(kernel):
            view = instruction.inputs[factor]
            made = offer(kernel, factor, target)
            key = _Key(view.buffer, view.offset, written[view.buffer], made.panels)
            found.setdefault(key, {})[number] = made
        written.update({view.buffer for view in instruction.outputs})
    return found


def _allocate(buffers: list[Buffer], nbytes: int) -> View:
    buffer = Buffer(Storage.ARENA, len(buffers), nbytes)
    buffers.append(buffer)
    return View(buffer, 0, (nbytes,), (1,), UINT8)


def _resized(buffers: list[Buffer], scratch: Buffer | None, nbytes: int) -> Buffer | None:
    """Scratch memory of another size, in place of what there was."""
    if nbytes == 0:
        return None
    if scratch is None:
        return _allocate(buffers, nbytes).buffer
    buffers[scratch.index] = Buffer(Storage.ARENA, scratch.index, nbytes)
    return buffers[scratch.index]


def _packing(product: Instruction, factor: int, panels: Panels, target: View) -> Instruction:
    """The instruction that fills panels."""
    view = product.inputs[factor]
    node = product.node.inputs[factor]
    piece = Piece(panels, (view, target))
    return Instruction("pack", None, {}, (view,), (target,), node, pieces=(piece,))
