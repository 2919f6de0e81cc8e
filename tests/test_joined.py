"""Parts of a concatenation are computed where they are wanted, and copied where they cannot be."""

import numpy as np
import pytest
from looping import assert_executors_agree, drawn

import graphnn as gn

SHAPE = (6, 4)


@pytest.fixture
def x():
    return gn.input("x", SHAPE)


def copies(x, outputs, updates=None):
    """How many copies there are, once values are seen to be right."""
    program = assert_executors_agree([x], outputs, drawn([x]), updates)
    return [each.kind for each in program.instructions].count("copy")


@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_computed_to_be_joined_is_not_copied(axis, x):
    parts = [gn.sin(x), gn.cos(x), x @ gn.transpose(x) @ x, gn.cumsum(x, axis)]
    assert copies(x, gn.concatenate(parts, axis)) == 0


def test_what_is_fed_is_copied(x):
    assert copies(x, gn.concatenate([x, gn.cos(x), x[:2]], 0)) == 2


def test_a_part_that_is_read_elsewhere(x):
    sines = gn.sin(x) @ gn.ones((4, 4))
    joined = gn.concatenate([gn.cos(x) @ gn.ones((4, 4)), sines], 1)
    assert copies(x, [joined, gn.sum(sines, 0), gn.transpose(sines) @ sines]) == 0


def test_a_part_that_is_a_result(x):
    sines = gn.sin(x)
    assert copies(x, [gn.concatenate([gn.cos(x), sines], 1), sines]) == 1


def test_a_part_that_is_there_twice(x):
    sines = gn.sin(x)
    assert copies(x, gn.concatenate([sines, gn.cos(x), sines], 1)) == 1


def test_a_part_of_two_joined_arrays(x):
    sines = gn.sin(x)
    outputs = [gn.concatenate([sines, gn.cos(x)], 1), gn.concatenate([gn.exp(x), sines], 0)]
    assert copies(x, outputs) == 1


def test_a_part_seen_through_a_view_is_copied(x):
    assert copies(x, gn.concatenate([gn.transpose(gn.sin(x)), gn.cos(x[:4, :4])], 1)) == 1


def test_a_joined_array_within_another(x):
    inner = gn.concatenate([gn.sin(x), gn.cos(x)], 0)
    assert copies(x, gn.exp(gn.concatenate([inner, gn.tanh(x)], 0))) <= 1
    assert copies(x, [inner, gn.concatenate([inner, gn.tanh(x)], 0)]) == 1


def test_empty_parts(x):
    nothing = gn.sin(x[:0])
    assert copies(x, gn.concatenate([nothing, gn.cos(x), nothing], 0)) == 0
    assert copies(x, gn.concatenate([nothing, nothing], 0)) == 0
    assert copies(x, [gn.concatenate([gn.cos(x), nothing], 0), gn.exp(gn.cos(x))]) == 0


def test_new_state_that_is_joined():
    """A part is written over the old value only where nothing reads that later."""
    x = gn.input("x", (3,))
    state = gn.parameter(np.arange(6, dtype="float32"), "state")
    weight = gn.constant(drawn([gn.input("w", (6, 3))])[0])
    later = gn.tanh(gn.sin(state) @ weight)
    new = gn.concatenate([gn.tanh(x), later], 0)
    copies(x, gn.sum(x), {state: new})
    shifted = gn.concatenate([state[3:] * 1.0, gn.tanh(x)], 0)
    copies(x, gn.sum(state), {state: shifted})


def test_a_carry_that_is_joined():
    """Its first part does not come too early for the second one."""
    xs, w = gn.input("xs", (5, 4)), gn.input("w", (4, 4))

    def step(carry, x):
        return gn.concatenate([gn.tanh(x[:2]), gn.tanh(carry @ w)[:2]]), None

    last, _ = gn.scan(step, gn.ones(4), xs)
    assert_executors_agree([xs, w], last, drawn([xs, w]))
    _, ys = gn.scan(lambda c, x: (step(c, x)[0],) * 2, gn.ones(4), xs, reverse=True)
    assert_executors_agree([xs, w], ys, drawn([xs, w]))
