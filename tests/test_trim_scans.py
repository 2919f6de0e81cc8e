"""trim_scans: what nobody reads goes, and what is computed twice is computed once."""

import numpy as np
import pytest
from looping import assert_executors_agree, body_of, carries_of, drawn, ops_of, rules

import graphnn as gn
from graphnn.compiler.scans.trim import build_trimmed, same_carries
from graphnn.ops.leaves import input_like
from graphnn.ops.scan_primitive import Carry, Step

STEPS, SIZE = 5, 4


@pytest.fixture
def x():
    return gn.input("x", (STEPS, SIZE), "float64")


def zeros():
    return gn.zeros(SIZE, "float64")


def ones():
    return gn.ones(SIZE, "float64")


def trimmed(x, outputs):
    program = assert_executors_agree([x], outputs, drawn([x]))
    return program, rules(program)["trim_scan"]


def test_results_that_nobody_reads_go(x):
    last, _ = gn.scan(lambda h, x: (gn.tanh(h + x), gn.exp(h)), zeros(), x)
    program, count = trimmed(x, last)
    assert count == 1
    assert len(body_of(program).outputs) == 1
    assert not ops_of(body_of(program))["exp"]


def test_carries_that_nobody_reads_go(x):
    (last, _), _ = gn.scan(
        lambda c, x: ((gn.tanh(c[0] + x), gn.sin(c[1] + c[0])), None), (zeros(), ones()), x
    )
    program, count = trimmed(x, last)
    assert (carries_of(program), count) == (1, 1)


def test_carries_that_another_needs_stay(x):
    """By way of a third one, and only several steps later."""

    def step(carry, x):
        a, b, c = carry
        return (gn.tanh(a + b), gn.sin(c), c * x), None

    (last, _, _), _ = gn.scan(step, (zeros(), ones(), ones() * 0.5), x)
    program, count = trimmed(x, last)
    assert (carries_of(program), count) == (3, 0)


def test_a_scan_without_anything_to_trim_stays_the_node_that_it_is(x):
    results = gn.scan(lambda h, x: (gn.tanh(h + x), gn.exp(h)), zeros(), x)
    step = Step.of(results[0].inputs[0])
    assert build_trimmed(step, {0, 1}) == list(results)
    assert trimmed(x, results)[1] == 0


def test_equal_results_are_one(x):
    _, ys = gn.scan(lambda h, x: (gn.tanh(h + x), (h * x, h * x)), zeros(), x)
    assert len(ys[0].inputs[0].spec.elements) == 3
    program, count = trimmed(x, ys)
    assert len(body_of(program).outputs) == 2
    assert count == 1


def test_one_sequence_given_twice_is_one_element(x):
    last, _ = gn.scan(lambda h, both: (gn.tanh(h + both[0]) * both[1], None), zeros(), (x, x))
    program, _ = trimmed(x, last)
    assert len(body_of(program).inputs) == 2


def test_carries_that_are_always_equal_are_one(x):
    def step(carry, x):
        return tuple(gn.tanh(each + x) for each in carry), carry[1]

    results = gn.scan(step, (zeros(), zeros(), zeros()), x)
    program, count = trimmed(x, results)
    assert (carries_of(program), count) == (1, 1)


def test_carries_that_swap_are_equal_if_they_begin_so(x):
    (a, b), _ = gn.scan(lambda c, x: ((c[1] + x, c[0] + x), None), (zeros(), zeros()), x)
    assert carries_of(trimmed(x, [a, b])[0]) == 1
    (a, b), _ = gn.scan(lambda c, x: ((c[1] + x, c[0] + x), None), (zeros(), ones()), x)
    assert carries_of(trimmed(x, [a, b])[0]) == 2


def chains(length, ends):
    """For every end a row of carries of which each takes what the one behind it was."""

    def step(rows, x):
        return [[*row[1:], end(row[-1] + x)] for row, end in zip(rows, ends, strict=True)], None

    return step, [[zeros() for _ in range(length)] for _ in ends]


def test_carries_that_begin_alike_are_told_apart_after_some_steps(x):
    """The ends differ at once, the beginnings after three steps."""
    step, firsts = chains(3, [gn.tanh, gn.sin])
    finals, _ = gn.scan(step, firsts, x)
    program, count = trimmed(x, [row[0] for row in finals])
    assert (carries_of(program), count) == (6, 0)
    step, firsts = chains(3, [gn.tanh, gn.tanh, gn.sin])
    finals, _ = gn.scan(step, firsts, x)
    assert carries_of(trimmed(x, [row[0] for row in finals])[0]) == 6


def test_classes_of_carries():
    """Directly: of three carries with one beginning, two are treated alike."""
    first = gn.ones(3)
    symbols = [input_like(name, first.tensor) for name in "abc"]
    a, b, c = (Carry(each, first, gn.tanh(each)) for each in symbols)
    other = Carry(symbols[2], first, gn.sin(symbols[2]))
    assert same_carries(Step((a, b, c), {}, (), 3)) == {b: a, c: a}
    assert same_carries(Step((a, b, other), {}, (), 3)) == {b: a}
    elsewhere = Carry(symbols[1], gn.zeros(3), gn.tanh(symbols[1]))
    assert same_carries(Step((a, elsewhere), {}, (), 3)) == {}


def test_without_fuel_all_stays(x):
    def step(carry, x):
        return tuple(gn.tanh(each + x) for each in carry), carry[1]

    outputs = gn.scan(step, (zeros(), zeros()), x)
    program = gn.compile(x, outputs, fuel=0)
    assert carries_of(program) == 2
    arrays = drawn([x])
    (one, other), ys = program(*arrays)
    np.testing.assert_array_equal(one, other)
    (wanted, _), steps = gn.compile(x, outputs)(*arrays)
    np.testing.assert_array_equal(one, wanted)
    np.testing.assert_array_equal(ys, steps)
