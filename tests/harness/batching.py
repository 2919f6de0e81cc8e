"""What vmap must satisfy for every operation: many examples at once are a stacked loop."""

import itertools
from collections.abc import Sequence

import numpy as np
from checks import as_list, assert_close, tolerance
from drawing import Array, Case, draw

import graphnn as gn
from graphnn.core.dtypes import is_inexact
from graphnn.core.node import Node

EXAMPLES = 3


def check_batching(case: Case, dtype: str, backend: str) -> None:
    """vmap of an operation is a loop over it, whichever of its arguments are mapped."""
    generator = case.generator()
    draws = [draw(case.sample, dtype, generator) for _ in range(EXAMPLES)]
    count = len(draws[0].arrays)
    for mapped in itertools.product((True, False), repeat=min(count, 3)):
        mapped += (True,) * (count - len(mapped))
        if any(mapped):
            _check(case, draws, mapped, backend)


def _check(case: Case, draws: Sequence, mapped: Sequence[bool], backend: str) -> None:
    """One choice of the arguments that are mapped."""
    first = draws[0]

    def f(*nodes: Node) -> list[Node]:
        return as_list(first.call(case.operation.function, nodes))

    stacked = [
        np.stack([each.arrays[i] for each in draws]) if is_mapped else first.arrays[i]
        for i, is_mapped in enumerate(mapped)
    ]
    many = [gn.input(f"x{i}", array.shape, array.dtype) for i, array in enumerate(stacked)]
    axes = tuple(0 if is_mapped else None for is_mapped in mapped)
    batched = gn.vmap(f, in_axes=axes)(*many)
    results = gn.compile(many, batched, backend=backend, verify=True)(*stacked)
    inputs = first.inputs()
    program = gn.compile(inputs, f(*inputs), backend=backend)
    loop = [
        program(*(array[i] if m else array for array, m in zip(stacked, mapped, strict=True)))
        for i in range(EXAMPLES)
    ]
    for place, (node, result) in enumerate(zip(batched, results, strict=True)):
        expected = np.stack([each[place] for each in loop])
        what = f"{case} on {backend}, mapped: {mapped}"
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype), what
        assert result.shape == node.shape, what
        _assert_equal(result, expected, what)


def _assert_equal(result: Array, expected: Array, what: str) -> None:
    """Floats up to rounding, for sums may be taken in another order; the rest exactly."""
    if is_inexact(expected.dtype):
        assert_close(result, expected, tolerance(expected.dtype), what)
    else:
        np.testing.assert_array_equal(result, expected, err_msg=what)
