"""The cotangents of a scan: the step once more for what must be kept, then a scan backwards.

The way back goes over the steps from the last to the first; cotangents of the carry go from step
to step, those of constants are summed on the way, and those of elements are what it gives. A pass
merges the first of the two scans with the one that was there before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphnn.compiler.autodiff.reverse import pull_back
from graphnn.compiler.scans.residuals import choose_residuals
from graphnn.core.dtypes import is_inexact
from graphnn.core.graph import depending_on, substitute
from graphnn.core.node import Node
from graphnn.core.provenance import derived_from, move_origins
from graphnn.ops.arithmetic import add
from graphnn.ops.constants import zeros_like
from graphnn.ops.leaves import input_like
from graphnn.ops.scan_primitive import Carry, Step, places_in_body

__all__ = ["vjp_of_scan"]


def vjp_of_scan(node: Node, cotangents: Sequence[Node | None]) -> list[Node | None]:
    """Cotangents of all inputs of a scan from those of its results; None for zero."""
    step = Step.of(node)
    given = node.inputs[: len(node.inputs) - len(step.symbols)]
    back = _Back(step, list(dict.fromkeys(given)), cotangents, places_in_body(step, node))
    of_constants, of_symbols = back.build()
    # A constant that is given twice gets all of its cotangent at its first place.
    return [
        *(of_constants.pop(each, None) for each in given),
        *(of_symbols.get(each) for each in step.symbols),
    ]


class _Back:
    """The way back through a step.

    Parameters
    ----------
    step : Step
    constants : list of Node
    cotangents : sequence of Node or None
        Of the last carry and of the ys of all steps.
    places : mapping of Node to Node
        From nodes of the step to those of the body, see `places_in_body`.
    """

    def __init__(
        self,
        step: Step,
        constants: list[Node],
        cotangents: Sequence[Node | None],
        places: Mapping[Node, Node],
    ) -> None:
        self.step = step
        self.places = places
        self.constants = constants
        of_finals, of_ys = cotangents[: len(step.carries)], cotangents[len(step.carries) :]
        self.arriving = dict(zip((each.symbol for each in step.carries), of_finals, strict=True))
        self.of_carry = {
            symbol: None if cotangent is None else _symbol_for(symbol)
            for symbol, cotangent in self.arriving.items()
        }
        self.of_ys = [
            None if whole is None else _symbol_for(y)
            for y, whole in zip(step.ys, of_ys, strict=True)
        ]
        pairs = zip(self.of_ys, of_ys, strict=True)
        self.elements = {
            symbol: whole for symbol, whole in pairs if symbol is not None and whole is not None
        }
        self.found = self._pulled()

    def _pulled(self) -> dict[Node, Node]:
        """Cotangents of constants, carry and elements within a step, where they are not zero.

        Through a step, a carry may get one whose cotangent was zero after it: until nothing is
        new.
        """
        everything = (*self.constants, *self.step.symbols)
        wanted = [each for each in everything if is_inexact(each.dtype)]
        while True:
            seeds = (*self.of_carry.values(), *self.of_ys)
            given = [
                (output, seed)
                for output, seed in zip(self.step.outputs, seeds, strict=True)
                if seed is not None
            ]
            outputs, cotangents = [each for each, _ in given], [seed for _, seed in given]
            pulled = pull_back(outputs, cotangents, wanted, boundary=self.constants)
            pairs = zip(wanted, pulled, strict=True)
            found = {node: cotangent for node, cotangent in pairs if cotangent is not None}
            late = [symbol for symbol, seed in self.of_carry.items() if seed is None]
            late = [symbol for symbol in late if symbol in found]
            if not late:
                return found
            self.of_carry.update((symbol, _symbol_for(symbol)) for symbol in late)

    def build(self) -> tuple[dict[Node, Node], dict[Node, Node]]:
        """Cotangents of constants, and those of the first carry and of sequences."""
        carries: dict[Node, Carry] = {}
        for symbol, seed in self.of_carry.items():
            if seed is not None:
                zeros: Node = zeros_like(symbol)
                first = self.arriving[symbol]
                after = self.found.get(symbol, zeros)
                carries[symbol] = Carry(seed, zeros if first is None else first, after)
        for each in self.constants:
            if each in self.found:
                total = input_like("total", each.tensor)
                with derived_from(each, "backward"):
                    added = add(total, self.found[each])
                carries[each] = Carry(total, zeros_like(each), added)
        ys = {each: self.found[each] for each in self.step.elements if each in self.found}
        made = (*(each.next for each in carries.values()), *ys.values())
        symbols = (*self.step.symbols, *(each.symbol for each in carries.values()), *self.elements)
        move_origins(depending_on(made, symbols), self.places)
        finals, stacked = self._reading_kept(list(carries.values()), list(ys.values())).build()
        found = dict(zip((*carries, *ys), (*finals, *stacked), strict=True))
        of_constants = {each: found.pop(each) for each in self.constants if each in found}
        return of_constants, found

    def _reading_kept(self, carries: Sequence[Carry], ys: Sequence[Node]) -> Step:
        """The step backwards, with elements in place of what it reads of the step forwards."""
        outputs = (*(each.next for each in carries), *ys)
        arriving = [*(each.symbol for each in carries), *self.elements]
        after = {each.symbol: each.next for each in self.step.carries}
        kept = choose_residuals(*self._read(outputs, arriving), after)
        _, wholes = replace(self.step, ys=tuple(kept)).build()
        symbols = {each: input_like("kept", each.tensor) for each in kept}
        made = substitute(outputs, symbols)
        elements = dict(zip(symbols.values(), wholes, strict=True))
        return Step(
            tuple(replace(each, next=after) for each, after in zip(carries, made, strict=False)),
            {**self.step.elements, **self.elements, **elements},
            made[len(carries) :],
            self.step.length,
            not self.step.reverse,
        )

    def _read(
        self, outputs: Sequence[Node], arriving: Sequence[Node]
    ) -> tuple[list[Node], set[Node]]:
        """What the way back reads of a step, and what is known within that step alone."""
        backward = depending_on(outputs, arriving)
        inputs = (each for node in backward for each in node.inputs)
        read = sorted({*inputs, *outputs} - backward, key=lambda node: node.serial)
        depending = depending_on(read, self.step.symbols)
        return read, depending - set(self.step.elements)


def _symbol_for(node: Node) -> Node:
    return input_like("cotangent", node.tensor)
