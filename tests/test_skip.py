"""Passes that only make programs faster can be left out, one by one."""

import numpy as np
import pytest
from looping import drawn, rules
from recurrent_nets import NETS

import graphnn as gn
from graphnn.compiler.pipeline import O0, O2, SKIPPABLE
from graphnn.core.errors import ArgumentError


@pytest.fixture(scope="module")
def lstm():
    """Inputs, outputs, arrays, and what a simple executor makes of them."""
    net = NETS["LSTM by gate"]()
    outputs, arrays = net.outputs(), drawn(net.inputs)
    plain = gn.compile(net.inputs, outputs, backend="reference", optimize="O0")
    return net.inputs, outputs, arrays, plain(*arrays)


def passes(program):
    return [record.name for record in program.report.passes]


@pytest.mark.parametrize("name", SKIPPABLE)
def test_results_are_the_same_without_a_pass(name, lstm):
    inputs, outputs, arrays, wanted = lstm
    program = gn.compile(inputs, outputs, skip=(name,), verify=True)
    assert name not in passes(program)
    assert program.options.skip == {name}
    for got, value in zip(program(*arrays), wanted, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-10, atol=1e-13)


def test_without_any_of_them(lstm):
    inputs, outputs, arrays, wanted = lstm
    program = gn.compile(inputs, outputs, skip=SKIPPABLE, verify=True)
    assert set(passes(program)) - {"emit"} == {each.__name__ for each in O0}
    for got, value in zip(program(*arrays), wanted, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-10, atol=1e-13)


def test_what_can_be_left_out_are_passes_that_o0_does_without():
    assert {"hoist", "merge_products", "merge_scans", "trim_scans", "pack_once", "join_pads"} <= {
        *SKIPPABLE
    }
    assert {*SKIPPABLE} == {each.__name__ for each in O2} - {each.__name__ for each in O0}


def test_a_pass_that_is_left_out_does_nothing_in_bodies_either(lstm):
    inputs, outputs, *_ = lstm
    program = gn.compile(inputs, outputs, skip="hoist", native="never")
    assert not rules(program)["hoist"]
    assert rules(program)["merge_products"]


def test_under_a_memory_budget_it_is_left_out_of_what_is_tried():
    x, w = gn.input("x", (50, 20)), gn.input("w", (20, 20))
    y = x
    for _ in range(8):
        y = gn.tanh(y @ w)
    slope = gn.grad(gn.sum(y), w)
    free = gn.compile([x, w], slope, skip=("fuse", "reroll"), native="never")
    budget = free.arena_nbytes * 8 // 10
    program = gn.compile([x, w], slope, skip="fuse", native="never", memory_budget=budget)
    assert program.arena_nbytes <= budget
    assert all(len(each.nodes) <= 1 for each in program.instructions)
    arrays = drawn([x, w])
    np.testing.assert_array_equal(program(*arrays), free(*arrays))


@pytest.mark.parametrize("name", ["lower", "canonicalize", "no such pass"])
def test_others_cannot_be_left_out(name):
    x = gn.input("x", (3,))
    with pytest.raises(ArgumentError, match=f"'{name}' is no pass that can be left out") as raised:
        gn.compile(x, gn.tanh(x), skip=("fuse", name))
    assert "'hoist'" in raised.value.hint


def test_functions_pass_it_on():
    step = gn.function(lambda x: gn.tanh(x) * 2.0, skip="fuse")
    given = np.ones(3, "float32")
    np.testing.assert_allclose(step(given), 2.0 * np.tanh(given), rtol=1e-6)
    assert len(step.program(given).instructions) == 2
    assert step.program(given).options.skip == {"fuse"}
    x = gn.input("x", (3,))
    np.testing.assert_allclose(gn.evaluate(x * x, {x: given}, skip=["fuse"]), given)


def test_levels_that_do_not_have_a_pass_do_without_it_anyway():
    x = gn.input("x", (3,))
    program = gn.compile(x, gn.tanh(x), optimize="O0", skip="hoist")
    np.testing.assert_allclose(program(np.zeros(3, "float32")), 0.0)


@pytest.mark.parametrize("skip", [3, None, ("hoist", 3)])
def test_what_is_no_name_is_refused(skip):
    x = gn.input("x", (3,))
    with pytest.raises(ArgumentError, match="skip takes names of passes, not"):
        gn.compile(x, gn.tanh(x), skip=skip)


@pytest.mark.parametrize("skip", ["hoist fuse", "hoist, fuse"])
def test_several_in_one_word(skip):
    x = gn.input("x", (3,))
    with pytest.raises(ArgumentError) as raised:
        gn.compile(x, gn.tanh(x), skip=skip)
    assert "skip=('hoist', 'fuse')" in raised.value.hint


@pytest.mark.parametrize("fuel", [-1, "a", 1.5, True])
def test_fuel_is_a_number_of_rewrites(fuel):
    x = gn.input("x", (3,))
    with pytest.raises(ArgumentError, match="fuel must be a number of rewrites"):
        gn.compile(x, gn.tanh(x), fuel=fuel)


@pytest.mark.parametrize("count", [0, "2", 1.5, True])
def test_numbers_of_threads_are_positive_integers(count):
    before = gn.get_num_threads()
    with pytest.raises(ArgumentError, match="set_num_threads: n must be a positive integer"):
        gn.set_num_threads(count)
    assert gn.get_num_threads() == before


def test_the_report_is_a_table(lstm):
    inputs, outputs, *_ = lstm
    header, *lines = str(gn.compile(inputs, outputs, native="never").report).splitlines()
    assert any(line.startswith("simplify_conditionals ") for line in lines)
    end = header.index("ms") + 2
    for line in lines:
        assert line[end - 1].isdigit()
        assert line[end] == " "
