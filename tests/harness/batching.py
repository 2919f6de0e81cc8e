"""What vmap must satisfy for every operation: many examples at once are a stacked loop."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from checks import assert_close, tolerance
from drawing import Array, Case, Drawn, draw
from together import as_list, joined, naming_failures

import graphnn as gn
from graphnn.core.dtypes import is_inexact
from graphnn.core.node import Node

EXAMPLES = 3
MASKS = list(itertools.product((True, False), repeat=3))
"""Which of the first three arguments are mapped: all others are, and one is at least."""


@dataclass(frozen=True)
class Examples:
    """A sample with values for some examples, and which of its arguments are mapped."""

    case: Case
    draws: list[Drawn]
    mapped: tuple[bool, ...]

    def f(self, *nodes: Node) -> list[Node]:
        """The operation."""
        return as_list(self.draws[0].call(self.case.operation.function, nodes))

    def batched(self, inputs: Sequence[Node]) -> list[Node]:
        """The operation on all examples at once."""
        axes = tuple(0 if is_mapped else None for is_mapped in self.mapped)
        return as_list(gn.vmap(self.f, in_axes=axes)(*inputs))

    def stacked(self) -> list[Array]:
        """The arguments, those that are mapped for all examples."""
        return [
            np.stack([each.arrays[i] for each in self.draws])
            if is_mapped
            else self.draws[0].arrays[i]
            for i, is_mapped in enumerate(self.mapped)
        ]

    def single(self, example: int) -> list[Array]:
        """The arguments for one example."""
        return [
            self.draws[example if is_mapped else 0].arrays[i]
            for i, is_mapped in enumerate(self.mapped)
        ]


@naming_failures
def check_batching(cases: Sequence[Case], dtype: str, backend: str) -> None:
    """vmap of an operation is a loop over it, whichever of its arguments are mapped."""
    rows = joined([_examples(case, dtype) for case in cases])
    inputs = [each.draws[0].inputs(f"x{place}_") for place, each in enumerate(rows)]
    nodes = [row.f(*given) for row, given in zip(rows, inputs, strict=True)]
    program = gn.compile(joined(inputs), nodes, backend=backend)
    loop = [program(*joined([row.single(i) for row in rows])) for i in range(EXAMPLES)]
    feeds = [row.stacked() for row in rows]
    many = [
        [gn.input(f"x{place}_{i}", each.shape, each.dtype) for i, each in enumerate(arrays)]
        for place, arrays in enumerate(feeds)
    ]
    batched = [row.batched(given) for row, given in zip(rows, many, strict=True)]
    found = gn.compile(joined(many), batched, backend=backend, verify=True)(*joined(feeds))
    for place, row in enumerate(rows):
        what = f"{row.case} on {backend}, mapped: {row.mapped}"
        expected = map(np.stack, zip(*(each[place] for each in loop), strict=True))
        for node, result, wanted in zip(batched[place], found[place], expected, strict=True):
            assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype), what
            assert result.shape == node.shape, what
            _assert_equal(result, wanted, what)


def _examples(case: Case, dtype: str) -> list[Examples]:
    """Examples of a sample, for every choice of the arguments that are mapped."""
    generator = case.generator()
    draws = [draw(case.sample, dtype, generator) for _ in range(EXAMPLES)]
    count = len(draws[0].arrays)
    masks = {mask[:count] + (True,) * (count - len(mask)) for mask in MASKS}
    return [Examples(case, draws, mask) for mask in sorted(masks) if any(mask)]


def _assert_equal(result: Array, expected: Array, what: str) -> None:
    """Floats up to rounding, for sums may be taken in another order; the rest exactly."""
    if is_inexact(expected.dtype):
        assert_close(result, expected, tolerance(expected.dtype), what)
    else:
        np.testing.assert_array_equal(result, expected, err_msg=what)
