"""What vmap must satisfy for every operation: many examples at once are a stacked loop."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from checks import BACKENDS, assert_close, tolerance
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
    """A sample with values for some examples."""

    case: Case
    draws: list[Drawn]

    @staticmethod
    def of(case: Case, dtype: str) -> "Examples":
        """Examples of a case."""
        generator = case.generator()
        return Examples(case, [draw(case.sample, dtype, generator) for _ in range(EXAMPLES)])

    def f(self, *nodes: Node) -> list[Node]:
        """The operation."""
        return as_list(self.draws[0].call(self.case.operation.function, nodes))

    def masks(self) -> list[tuple[bool, ...]]:
        """Every choice of the arguments that are mapped; none without arguments."""
        count = len(self.draws[0].arrays)
        masks = {mask[:count] + (True,) * (count - len(mask)) for mask in MASKS}
        return [mask for mask in sorted(masks) if any(mask)]

    def stacked(self, mask: tuple[bool, ...]) -> list[Array]:
        """The arguments, those that are mapped for all examples."""
        first, *_ = self.draws
        return [
            np.stack([each.arrays[i] for each in self.draws]) if is_mapped else first.arrays[i]
            for i, is_mapped in enumerate(mask)
        ]

    def single(self, mask: tuple[bool, ...], example: int) -> list[Array]:
        """The arguments for one example."""
        return [
            self.draws[example if is_mapped else 0].arrays[i] for i, is_mapped in enumerate(mask)
        ]


@naming_failures
def check_batching(cases: Sequence[Case], dtype: str) -> None:
    """vmap of an operation is a loop over it, whichever of its arguments are mapped."""
    examples = [Examples.of(case, dtype) for case in cases]
    samples = [each for each in examples if each.masks()]
    rows = [(sample, mask) for sample in samples for mask in sample.masks()]
    expected = _loops(samples)
    feeds = [sample.stacked(mask) for sample, mask in rows]
    inputs = [
        [gn.input(f"x{place}_{i}", each.shape, each.dtype) for i, each in enumerate(arrays)]
        for place, arrays in enumerate(feeds)
    ]
    batched = [
        as_list(gn.vmap(sample.f, in_axes=tuple(0 if each else None for each in mask))(*given))
        for (sample, mask), given in zip(rows, inputs, strict=True)
    ]
    for backend in BACKENDS:
        # Native code of every operation, along any axes, has tests of its own.
        options = {"backend": backend, "native": "never", "verify": True}
        program = gn.compile(joined(inputs), batched, **options)
        found = program(*joined(feeds))
        for (sample, mask), nodes, results in zip(rows, batched, found, strict=True):
            what = f"{sample.case} on {backend}, mapped: {mask}"
            wanted = expected[sample.case, mask]
            for node, result, one in zip(nodes, results, wanted, strict=True):
                assert (result.shape, result.dtype) == (one.shape, one.dtype), what
                assert result.shape == node.shape, what
                _assert_equal(result, one, what)


def _loops(samples: Sequence[Examples]) -> dict[tuple[Case, tuple[bool, ...]], list[Array]]:
    """The operation on one example after the other, for every choice of mapped arguments.

    One program of the reference interpreter has all samples, and is called for one choice of each
    at a time.
    """
    inputs = [each.draws[0].inputs(f"x{place}_") for place, each in enumerate(samples)]
    nodes = [each.f(*given) for each, given in zip(samples, inputs, strict=True)]
    program = gn.compile(joined(inputs), nodes, backend="reference", optimize="O0")
    found: dict[tuple[Case, tuple[bool, ...]], list[Array]] = {}
    for masks in itertools.zip_longest(*(each.masks() for each in samples)):
        chosen = [mask or each.masks()[0] for each, mask in zip(samples, masks, strict=True)]
        pairs = list(zip(samples, chosen, strict=True))
        loop = [
            program(*joined([each.single(mask, i) for each, mask in pairs]))
            for i in range(EXAMPLES)
        ]
        for place, (each, mask) in enumerate(pairs):
            results = zip(*(results[place] for results in loop), strict=True)
            found[each.case, mask] = [np.stack(result) for result in results]
    return found


def _assert_equal(result: Array, expected: Array, what: str) -> None:
    """Floats up to rounding, for sums may be taken in another order; the rest exactly."""
    if is_inexact(expected.dtype):
        assert_close(result, expected, tolerance(expected.dtype), what)
    else:
        np.testing.assert_array_equal(result, expected, err_msg=what)
