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


def test_why_two_stay_apart_is_told(x, w):
    """What is told of scans that begin alike; those that begin otherwise are no candidates."""
    one = gn.scan(net(w, gn.sin), zeros(), x)
    other = gn.scan(net(w * 2.0, gn.cos), zeros(), x)
    elsewhere = gn.scan(net(w, gn.cos), gn.ones(SIZE, "float64"), x)
    program = gn.compile([x, w], [one, other, elsewhere])
    (record,) = (each for each in program.report.passes if each.name == "merge_scans")
    assert [(each.verdict, each.reason) for each in record.decisions] == [
        ("begins with a carry of another scan", "a step makes something else of it")
    ]


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


def scanned(h, w, x):
    return gn.scan(lambda h, _: (gn.tanh(x + h @ w), None), h, length=3)[0]


def looped(h, w, x):
    """A loop of few rounds, as many as the numbers say."""
    return gn.while_loop(lambda h: gn.sum(h * h) < 1.5, lambda h: gn.tanh(x + h @ w), h, bound=3)


def branched(h, w, x):
    return gn.cond(gn.sum(x) > 0, lambda: gn.tanh(x + h @ w), lambda: h * 0.5)


def twice_scanned(h, w, x):
    return gn.scan(lambda h, _: (scanned(h, w, x), None), h, length=2)[0]


@pytest.mark.parametrize(
    ("inner", "on_the_way_back"), [(scanned, 0), (twice_scanned, 0), (looped, 1), (branched, 1)]
)
def test_steps_that_differ_in_what_is_kept_within_are_the_same(inner, on_the_way_back, x, w):
    """The way there is gone once: its copies differ in what they keep, deep inside.

    What a branch computes is not kept: the way back takes the branch again.
    """

    def step(h, x):
        h = inner(h, w, x)
        return h, h

    _, ys = gn.scan(step, zeros(), x)
    loss = gn.sum(gn.sin(ys))
    gradients = gn.grad(loss, [x, w])
    program = assert_executors_agree([x, w], [loss, *gradients], drawn([x, w]))
    there, back = scans_of(program)
    assert (there.attrs["reverse"], back.attrs["reverse"]) == (False, True)
    assert [count_everywhere(each, "tanh") for each in (there, back)] == [1, on_the_way_back]


def count_everywhere(node, name):
    """How many nodes of an operator there are in a node, all the way in."""
    bodies = [node.attrs[each].nodes for each in node.op.body_attrs]
    return (node.op.name == name) + sum(
        count_everywhere(each, name) for body in bodies for each in body
    )


def test_tangents_go_along_with_scans_in_scans(x, w):
    """A scan of values, and another one of values and tangents: inside too, they are one."""

    def of(weight):
        return gn.scan(lambda h, row: (scanned(h, weight, row), None), zeros(), x)[0]

    value = of(w)
    tangent = gn.jvp(value, w, gn.sin(w))
    program = assert_executors_agree([x, w], [value, tangent], drawn([x, w]))
    assert count_everywhere(scans_of(program)[0], "tanh") == 1
    assert ops_of(body_of(program))["scan"] == 1


@pytest.mark.parametrize("inner", [scanned, branched])
def test_steps_that_differ_within_stay_apart(inner, x, w):
    one = gn.scan(lambda h, x: (inner(h, w, x), None), zeros(), x)[0]
    other = gn.scan(lambda h, x: (inner(h, w * 2.0, x), h * x), zeros(), x)[1]
    assert merged([x, w], [one, other]) == (2, 0)
