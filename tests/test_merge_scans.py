"""merge_scans: scans over the same carry become one, and no others."""

import numpy as np
import pytest
from looping import assert_executors_agree, body_of, drawn, ops_of, rules, scans_of

import graphnn as gn

STEPS, SIZE = 5, 4


@pytest.fixture
def x():
    return gn.input("x", (STEPS, SIZE), "float64")


@pytest.fixture
def w():
    return gn.input("w", (SIZE, SIZE), "float64")


def zeros():
    return gn.zeros(SIZE, "float64")


def net(w, kept):
    """A step over one carry that keeps what ``kept`` makes of it."""

    def step(h, x):
        h = gn.tanh(x + h @ w)
        return h, kept(h)

    return step


def merged(inputs, outputs):
    """How many scans are left, and how often the rule was applied."""
    program = assert_executors_agree(inputs, outputs, drawn(inputs))
    return len(scans_of(program)), rules(program)["merge_scans"]


def test_two_scans_over_one_carry_become_one(x, w):
    squares = gn.scan(net(w, lambda h: h * h), zeros(), x)
    sines = gn.scan(net(w, gn.sin), zeros(), x)
    assert squares[0].inputs[0] is not sines[0].inputs[0]
    program = assert_executors_agree([x, w], [squares, sines], drawn([x, w]))
    assert rules(program)["merge_scans"] == 1
    assert ops_of(body_of(program))["tanh"] == 1


def test_three_become_one(x, w):
    found = [gn.scan(net(w, kept), zeros(), x) for kept in (gn.sin, gn.cos, gn.exp)]
    assert merged([x, w], found) == (1, 2)


def test_one_carry_in_common_is_enough(x, w):
    """The other carries go along."""

    def counted(carry, x):
        h, total = carry
        h = gn.tanh(x + h @ w)
        return (h, total * 0.5 + h), None

    one = gn.scan(counted, (zeros(), gn.ones(SIZE, "float64")), x)
    other = gn.scan(net(w, gn.sin), zeros(), x)
    assert merged([x, w], [one, other]) == (1, 1)


def test_what_the_way_back_needs_is_kept_by_the_scan_there(x, w):
    """The rule for gradients makes a scan more, which is merged with the first."""
    _, ys = gn.scan(net(w, gn.sin), zeros(), x)
    loss = gn.sum(ys)
    assert merged([x, w], [loss, *gn.grad(loss, [x, w])]) == (2, 1)


def test_none_that_needs_the_results_of_the_other(x, w):
    """Both go over the same carry, but the second reads what the first gives."""
    _, ys = gn.scan(net(w, gn.sin), zeros(), x)

    def step(h, both):
        x, y = both
        h = gn.tanh(x + h @ w)
        return h, h * y

    assert merged([x, w], [ys, gn.scan(step, zeros(), (x, ys))]) == (2, 0)


def test_none_that_needs_them_by_way_of_another_node(x, w):
    last, _ = gn.scan(net(w, gn.sin), zeros(), x)
    scale = gn.exp(gn.sum(last))
    assert merged([x, w], [last, gn.scan(net(w, lambda h: h * scale), zeros(), x)]) == (2, 0)


@pytest.mark.parametrize("case", ["first", "next", "direction", "length"])
def test_none_that_goes_another_way(case, x, w):
    one = gn.scan(net(w, gn.sin), zeros(), x)
    first = gn.ones(SIZE, "float64") if case == "first" else zeros()
    weight = w * 2.0 if case == "next" else w
    sequence = x[:-1] if case == "length" else x
    step = net(weight, gn.cos)
    other = gn.scan(step, first, sequence, reverse=case == "direction")
    assert merged([x, w], [one, other]) == (2, 0)


def test_without_fuel_both_stay(x, w):
    outputs = [gn.scan(net(w, kept), zeros(), x)[1] for kept in (gn.sin, gn.cos)]
    program = gn.compile([x, w], outputs, fuel=0)
    assert len(scans_of(program)) == 2
    arrays = drawn([x, w])
    for got, wanted in zip(program(*arrays), gn.compile([x, w], outputs)(*arrays), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_scans_inside_of_scans_are_merged(x, w):
    def outer(g, row):
        sines = gn.scan(net(w, gn.sin), g, x)
        cosines = gn.scan(net(w, gn.cos), g, x)
        return sines[0] + row, gn.sum(sines[1] * cosines[1])

    program = assert_executors_agree([x, w], gn.scan(outer, zeros(), x), drawn([x, w]))
    assert rules(program)["merge_scans"] == 1
    assert ops_of(body_of(program))["scan"] == 1
