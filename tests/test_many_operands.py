"""What reads thousands of arrays at once is compiled in time that grows with their number alone."""

import gc
import sys

import numpy as np
import pytest

import graphnn as gn


def functions_called(count: int, axis: int) -> int:
    """Python functions that building native code for so many operands calls."""
    inputs = [gn.input(f"x{number}", (3,)) for number in range(count)]
    program = gn.compile(inputs, gn.sum(gn.stack(inputs, axis)))
    fed = [np.ones(3, "float32")] * count
    called = 0

    def look(frame: object, event: str, argument: object) -> None:
        nonlocal called
        called += event == "call"

    gc.disable()
    sys.setprofile(look)
    try:
        total = program(*fed)
    finally:
        sys.setprofile(None)
        gc.enable()
    assert total == 3 * count
    return called


@pytest.mark.parametrize("axis", [0, 1])
def test_first_call_is_linear_in_operands(axis: int) -> None:
    """Twice as many operands take about twice as many calls, not four times."""
    functions_called(10, axis)  # what is made once for all programs
    few, many = functions_called(300, axis), functions_called(600, axis)
    assert few > 300
    assert many < 2.4 * few
