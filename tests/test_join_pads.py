"""join_pads: padded parts that lie side by side are their concatenation; others stay a sum."""

import itertools

import numpy as np
import pytest
from looping import assert_executors_agree, drawn, ops_of, rules

import graphnn as gn

SIZE, WIDTH = 8, 3


@pytest.fixture
def x():
    return gn.input("x", (SIZE, WIDTH), "float64")


def part(x, begin, end, axis=0, value=0.0):
    """Some rows of ``x``, which are computed, with zeros around them."""
    size = int(x.shape[axis])
    widths = [(0, 0)] * x.ndim
    widths[axis] = (begin, size - end)
    index = [slice(None)] * x.ndim
    index[axis] = slice(begin, end)
    return gn.pad(gn.sin(x[tuple(index)]), widths, constant_values=value)


def joined(x, outputs):
    """The operators that are left, once values are seen to be right; how often it was applied."""
    program = assert_executors_agree([x], outputs, drawn([x]))
    return ops_of(program.unit.graph), rules(program)["join_pads"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_parts_in_any_order(order, x):
    places = [(0, 2), (2, 5), (5, 8)]
    left, middle, right = (part(x, *places[number]) for number in order)
    for total in ((left + middle) + right, left + (middle + right)):
        ops, count = joined(x, total)
        assert (count, ops["pad"], ops["add"], ops["concatenate"]) == (1, 0, 0, 1)


@pytest.mark.parametrize("places", [[(1, 3), (3, 6)], [(0, 2), (5, 8)], [(2, 4), (5, 7)]])
def test_gaps_are_zeros(places, x):
    first, second = (part(x, *each) for each in places)
    ops, count = joined(x, first + second)
    assert (count, ops["pad"], ops["concatenate"]) == (1, 0, 1)


def test_parts_along_another_axis(x):
    ops, count = joined(x, part(x, 0, 1, axis=1) + part(x, 1, 3, axis=1))
    assert (count, ops["pad"], ops["concatenate"]) == (1, 0, 1)


def test_parts_that_overlap_are_added(x):
    ops, count = joined(x, part(x, 0, 4) + part(x, 3, 8))
    assert (count, ops["pad"], ops["add"]) == (0, 2, 1)
    ops, count = joined(x, part(x, 0, 4) + part(x, 4, 8) + part(x, 2, 3))
    assert (count, ops["pad"], ops["add"]) == (0, 3, 2)


def test_parts_along_several_axes_are_added(x):
    ops, count = joined(x, part(x, 0, 4) + part(x, 0, 1, axis=1))
    assert (count, ops["pad"]) == (0, 2)


def test_other_pads_are_added(x):
    """Those with another value, and those with something between the elements."""
    _, count = joined(x, part(x, 0, 4, value=1.0) + part(x, 4, 8))
    assert count == 0
    between = gn.grad(gn.sum(gn.sin(x[::2])), x) + gn.grad(gn.sum(gn.cos(x[1::2])), x)
    assert joined(x, between)[1] == 0


def test_terms_that_two_sums_share(x):
    """Each sum is joined of its own terms, whichever comes first."""
    a, b, c = part(x, 0, 2), part(x, 2, 5), part(x, 5, 8)
    for outputs in ([(a + b) + c, a + c], [a + c, (a + b) + c], [a + b, b + c, a + c]):
        for each in itertools.permutations(outputs):
            _, count = joined(x, each)
            assert count == len(outputs)


def test_a_term_that_is_a_result_too(x):
    a, b, c = part(x, 0, 2), part(x, 2, 5), part(x, 5, 8)
    ops, count = joined(x, [a + b + c, a])
    assert (count, ops["pad"]) == (1, 1)


def test_a_sum_that_is_read_elsewhere_is_joined_by_itself(x):
    a, b, c = part(x, 0, 2), part(x, 2, 5), part(x, 5, 8)
    ab = a + b
    ops, _ = joined(x, [ab + c, gn.exp(ab)])
    assert ops["concatenate"] >= 1


def test_a_sum_with_other_terms(x):
    """Nothing is lost where a term is no part."""
    joined(x, (part(x, 0, 2) + part(x, 2, 8)) + gn.exp(x))
    joined(x, gn.exp(x) + part(x, 0, 2) + part(x, 2, 8))


def test_the_same_term_twice(x):
    a = part(x, 0, 4)
    assert joined(x, [a + a, (a + a) + part(x, 4, 8)])[1] == 0


def test_negative_zero_stays_what_it_is():
    """In the sum it would lose its sign; see the pass."""
    x = gn.input("x", (4,))
    negative = -gn.abs(x)
    total = gn.pad(negative[:2], ((0, 2),)) + gn.pad(negative[2:], ((2, 0),))
    made = gn.compile(x, total)(np.zeros(4, "float32"))
    np.testing.assert_array_equal(np.signbit(made), True)
    plain = gn.compile(x, total, fuel=0)(np.zeros(4, "float32"))
    np.testing.assert_array_equal(made, plain)
    assert not np.signbit(plain).any()


@pytest.mark.parametrize("dtype", ["int32", "float16", "complex64"])
def test_dtypes(dtype):
    x = gn.input("x", (4,), dtype)
    total = gn.pad(x[:1] * x[:1], ((0, 3),)) + gn.pad(x[2:] + x[2:], ((2, 0),))
    program = assert_executors_agree([x], total, [np.arange(4).astype(dtype)])
    assert rules(program)["join_pads"] == 1


def test_the_gradient_of_many_slices():
    x = gn.input("x", (60, 2), "float64")
    loss = sum(gn.sum(gn.sin(x[number])) for number in range(60))
    program = gn.compile(x, gn.grad(loss, x))
    assert rules(program)["join_pads"] == 1
    (fed,) = drawn([x])
    np.testing.assert_allclose(program(fed), np.cos(fed), rtol=1e-12)


def test_without_fuel_it_stays_a_sum(x):
    total = part(x, 0, 4) + part(x, 4, 8)
    program = gn.compile(x, total, fuel=0)
    assert ops_of(program.unit.graph)["pad"] == 2
    (fed,) = drawn([x])
    np.testing.assert_allclose(program(fed), np.sin(fed), rtol=1e-12)
