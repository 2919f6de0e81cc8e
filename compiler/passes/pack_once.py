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
from math import prod
from typing import NamedTuple

from graphnn.compiler.driver import Driver, expression
from graphnn.compiler.kernel import Contraction
from graphnn.compiler.native.contraction.panels import Panels
from graphnn.compiler.native.contraction.sharing import Offer, is_worth_it, offer
from graphnn.compiler.native.generators import is_product, scratch_nbytes
from graphnn.compiler.native.moves import Piece
from graphnn.compiler.native.target import host_target
from graphnn.compiler.unit import Buffer, Instruction, Loop, Region, Storage, Unit, View
from graphnn.core.dtypes import UINT8
from graphnn.core.node import Node

__all__ = ["pack_once"]


MANY = 64
"""Rounds of a loop beyond which it makes no difference how many there are."""


class _Key(NamedTuple):
    """Products of one key can share panels.

    ``regions`` are those around it in which the factor is not the same all the time.
    """

    buffer: Buffer
    offset: int
    moves: tuple[int, ...]
    version: int
    regions: tuple[Region, ...]
    panels: Panels


def pack_once(unit: Unit, driver: Driver) -> Unit:
    """See the module. A program that stops at the first NaN is interpreted: it needs no panels."""
    if unit.options.debug == "nan":
        return unit
    for factor in (1, 0):
        unit = _pack_factors(unit, factor, driver)
    return unit


def _pack_factors(unit: Unit, factor: int, driver: Driver) -> Unit:
    """The same for the left (0) or the right (1) factors of all products."""
    offers = _offers(unit, factor)
    chosen = {key: each for key, each in offers.items() if _is_chosen(unit, key, each)}
    for key, each in offers.items():
        _explain(unit, key, sorted(each), factor, driver, is_chosen=key in chosen)
    if not chosen:
        return unit
    buffers = list(unit.buffers)
    panels = {key: _allocate(buffers, key.panels.nbytes) for key in chosen}
    packing: dict[int, list[_Key]] = {}
    for key, each in chosen.items():
        packing.setdefault(_place(unit, key, min(each)), []).append(key)
    key_of = {number: key for key, each in chosen.items() for number in each}
    listed: list[tuple[Instruction, tuple[Region, ...]]] = []
    for number, instruction in enumerate(unit.instructions):
        for key in packing.get(number, ()):
            product = unit.instructions[min(chosen[key])]
            listed.append((_packing(product, factor, key.panels, panels[key]), key.regions))
        given = key_of.get(number)
        if given is not None:
            contraction = chosen[given][number].contraction
            scratch = _resized(buffers, instruction.scratch, scratch_nbytes(contraction))
            views = (panels[given], *instruction.panels)  # the right ones come first: see pack_once
            instruction = replace(instruction, kernel=contraction, panels=views, scratch=scratch)
        listed.append((instruction, unit.regions_around(number)))
    return replace(unit.with_instructions(listed), buffers=tuple(buffers))


def _explain(
    unit: Unit, key: _Key, numbers: Sequence[int], factor: int, driver: Driver, *, is_chosen: bool
) -> None:
    """Say of a factor that is read again and again whether it is packed once."""
    times = sum(_rounds(unit, key, number) for number in numbers)
    if times == 1:
        return
    product = unit.instructions[numbers[0]].node
    node = _written_to(unit, key.buffer)
    word = expression(product.inputs[factor] if node is None else node)
    if is_chosen:
        driver.decide(word, f"is packed once for {times} products", "", product)
    else:
        reason = "packing it once would save next to nothing"
        driver.decide(word, f"is packed by each of {times} products that need it", reason, product)


def _written_to(unit: Unit, buffer: Buffer) -> Node | None:
    """The node whose value a buffer holds, outside of loops."""
    if buffer.storage is not Storage.ARENA:
        known = {
            Storage.STATE: unit.states,
            Storage.CONSTANT: unit.constants,
            Storage.FEED: unit.graph.inputs,
        }
        return known[buffer.storage][buffer.index]
    for number, each in enumerate(unit.instructions):
        if each.op is not None and any(view.buffer is buffer for view in each.outputs):
            return None if unit.loops_around(number) else each.node
    return None


def _place(unit: Unit, key: _Key, number: int) -> int:
    """Before which instruction panels are filled: outside of what leaves the factor alone."""
    inside = unit.regions_around(number)[len(key.regions) :]
    return inside[0].begin if inside else number


def _is_chosen(unit: Unit, key: _Key, offers: Mapping[int, Offer]) -> bool:
    """Whether products share panels: as they would if nothing were computed a second time.

    Products that are computed again under a memory budget must give the same bits, so they use
    the panels that the first ones use, or none.
    """
    again = set(unit.recomputed)
    return is_worth_it(
        [
            each
            for number, each in offers.items()
            if unit.instructions[number].node not in again
            for _ in range(min(_rounds(unit, key, number), MANY))
        ]
    )


def _rounds(unit: Unit, key: _Key, number: int) -> int:
    """How often a product would read panels that are filled once."""
    inside = unit.regions_around(number)[len(key.regions) :]
    return prod(each.count or MANY for each in inside if isinstance(each, Loop))


def _offers(unit: Unit, factor: int) -> dict[_Key, dict[int, Offer]]:
    """What products would gain, by the panels that they would read and their own number."""
    found: dict[_Key, dict[int, Offer]] = {}
    written: Counter[Buffer] = Counter()
    target = host_target()
    for number, instruction in enumerate(unit.instructions):
        kernel = instruction.kernel
        if isinstance(kernel, Contraction) and is_product(kernel):
            view = instruction.inputs[factor]
            made = offer(kernel, factor, target)
            regions = _changing(unit, view, number)
            key = _Key(
                view.buffer, view.offset, view.moves, written[view.buffer], regions, made.panels
            )
            found.setdefault(key, {})[number] = made
        written.update({view.buffer for view in instruction.outputs})
    return found


def _changing(unit: Unit, view: View, number: int) -> tuple[Region, ...]:
    """The regions around an instruction in which a view is not the same memory all the time.

    In a branch that writes it, what is there belongs to that branch alone.
    """
    around = unit.regions_around(number)
    while around:
        region = around[-1]
        n_loops = sum(isinstance(each, Loop) for each in around)
        is_moving = isinstance(region, Loop) and any(view.moves[n_loops - 1 :])
        inside = unit.instructions[region.begin : region.end]
        if is_moving or any(out.buffer is view.buffer for each in inside for out in each.outputs):
            break
        around = around[:-1]
    return around


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
