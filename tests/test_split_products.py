"""split_products: of what is side by side, the part that needs no carry leaves the loop."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from looping import assert_executors_agree, drawn, ops_of, rules, scans_of
from recurrent_nets import BATCH, HIDDEN, INPUTS, STEPS, Net, gate_of, net

import graphnn as gn

BOTH = HIDDEN + INPUTS


def beside(*parts):
    return gn.concatenate(list(parts), -1)


def lstm_of(z, c):
    i, f, g, o = (gate_of(z, number) for number in range(4))
    c = gn.sigmoid(f) * c + gn.sigmoid(i) * gn.tanh(g)
    return gn.sigmoid(o) * gn.tanh(c), c


def lstm(carry, x, p):
    h, c = carry
    return lstm_of(beside(h, x) @ p["w"] + p["b"], c)


def lstm_input_first(carry, x, p):
    h, c = carry
    return lstm_of(beside(x, h) @ p["w"], c)


def lstm_with_ones(carry, x, p):
    h, c = carry
    return lstm_of(beside(h, x, gn.ones((BATCH, 1), "float64")) @ p["w"], c)


def lstm_of_both_states(carry, x, p):
    """Parts with a carry on both sides of the input, and nested."""
    h, c = carry
    return lstm_of(beside(beside(h, x), c) @ p["w"], c)


def lstm_by_gate(carry, x, p):
    h, c = carry
    z = beside(*(beside(h, x) @ p[k] for k in "ifgo"))
    return lstm_of(z, c)


def gru(h, x, p):
    z, r = (gn.sigmoid(beside(h, x) @ p[k]) for k in "zr")
    n = gn.tanh(beside(r * h, x) @ p["n"])
    return (1.0 - z) * n + z * h


def transposed(h, x, p):
    """The weight comes first, and features before the batch."""
    return gn.tanh(p["w"] @ gn.concatenate([h.T, gn.sin(x).T], 0)).T


WEIGHTS: dict[str, Any] = {"w": (BOTH, 4 * HIDDEN)}

NETS: dict[str, Callable[[], Net]] = {
    "LSTM": lambda: net(lstm, {**WEIGHTS, "b": (4 * HIDDEN,)}, carries=2),
    "LSTM, reversed": lambda: net(lstm, {**WEIGHTS, "b": (4 * HIDDEN,)}, carries=2, reverse=True),
    "input first": lambda: net(lstm_input_first, WEIGHTS, carries=2),
    "with ones": lambda: net(lstm_with_ones, {"w": (BOTH + 1, 4 * HIDDEN)}, carries=2),
    "both states": lambda: net(lstm_of_both_states, {"w": (BOTH + HIDDEN, 4 * HIDDEN)}, carries=2),
    "LSTM by gate": lambda: net(lstm_by_gate, dict.fromkeys("ifgo", (BOTH, HIDDEN)), carries=2),
    "GRU": lambda: net(gru, dict.fromkeys("zrn", (BOTH, HIDDEN))),
    "transposed": lambda: net(transposed, {"w": (HIDDEN, BOTH)}),
}


def products(graph):
    return [node for node in graph.nodes if node.op.name == "dot_general"]


def sizes_in_loops(program):
    """What each product in a loop sums over, and gives of an example; loop by loop."""
    return [
        [
            (
                int(np.prod([node.inputs[0].shape[axis] for axis in node.attrs["contract"][0]])),
                node.size // BATCH,
            )
            for node in products(each.attrs["body"])
        ]
        for each in scans_of(program)
    ]


IN_LOOPS = {
    "GRU": [[(HIDDEN, 2 * HIDDEN), (HIDDEN, HIDDEN)], [(HIDDEN, HIDDEN), (2 * HIDDEN, HIDDEN)]],
    "transposed": [[(HIDDEN, HIDDEN)], [(HIDDEN, HIDDEN)]],
    "both states": [[(2 * HIDDEN, 4 * HIDDEN)], [(4 * HIDDEN, 2 * HIDDEN)]],
}


@pytest.mark.parametrize("name", NETS)
def test_loops_hold_products_with_the_state_alone(name):
    case = NETS[name]()
    program = assert_executors_agree(case.inputs, case.outputs(), drawn(case.inputs))
    wanted = [[(HIDDEN, 4 * HIDDEN)], [(4 * HIDDEN, HIDDEN)]]
    assert sizes_in_loops(program) == IN_LOOPS.get(name, wanted)
    assert rules(program)["split_products"]


def test_without_gradients_nothing_is_put_side_by_side():
    case = NETS["LSTM"]()
    program = gn.compile(case.inputs, case.loss, native="never")
    (scan,) = scans_of(program)
    assert not ops_of(scan.attrs["body"])["concatenate"]
    assert not ops_of(program.unit.graph)["concatenate"]


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_the_way_back_puts_together_nothing_but_gradients(name):
    """The state and the input are multiplied by the gradients of gates each by itself."""
    case = NETS[name]()
    program = gn.compile(case.inputs, case.outputs(), native="never")
    for scan in scans_of(program):
        body = scan.attrs["body"]
        joined = [node for node in body.nodes if node.op.name == "concatenate"]
        assert not any(each in body.inputs for node in joined for each in node.inputs)
        shapes = [each.shape for each in body.outputs]
        assert (BATCH, BOTH) not in shapes
        assert (BATCH, INPUTS) not in shapes


@pytest.mark.parametrize("name", ["LSTM", "GRU", "LSTM by gate", "transposed"])
def test_the_gradient_of_the_input_is_computed_after_the_loop(name):
    case = NETS[name]()
    outputs = gn.grad(case.loss, [case.x, *case.weights.values()])
    program = assert_executors_agree(case.inputs, outputs, drawn(case.inputs))
    wanted = [[(HIDDEN, 4 * HIDDEN)], [(4 * HIDDEN, HIDDEN)]]
    assert sizes_in_loops(program) == IN_LOOPS.get(name, wanted)
    whole = STEPS * BATCH * INPUTS
    assert any(node.size == whole for node in products(program.unit.graph))


def test_gradients_are_those_of_numbers():
    case = NETS["with ones"]()
    arrays = drawn(case.inputs)
    program = gn.compile(case.inputs, [case.loss, *case.outputs()[1:]], native="never")
    x, w = arrays
    _, gradient = program(x, w)
    for place in [(0, 0), (HIDDEN, 3), (BOTH, 7), (BOTH - 1, 4 * HIDDEN - 1)]:
        step = np.zeros_like(w)
        step[place] = 1e-6
        slope = (program(x, w + step)[0] - program(x, w - step)[0]) / 2e-6
        np.testing.assert_allclose(gradient[place], slope, rtol=1e-6, atol=1e-10)


def test_values_are_those_of_the_formula():
    case = NETS["GRU"]()
    x, z, r, n = drawn(case.inputs)
    (loss,) = gn.compile(case.inputs, [case.loss], native="never")(x, z, r, n)
    h, total = np.zeros((BATCH, HIDDEN)), 0.0
    for each in x:
        both = np.concatenate([h, each], 1)
        update, reset = (1.0 / (1.0 + np.exp(-both @ w)) for w in (z, r))
        new = np.tanh(np.concatenate([reset * h, each], 1) @ n)
        h = (1.0 - update) * new + update * h
        total += np.sum(h**2)
    np.testing.assert_allclose(loss, total / (STEPS * BATCH * HIDDEN), rtol=1e-12)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "with ones"])
def test_second_order(name):
    case = NETS[name]()
    weights = list(case.weights.values())
    gradients = gn.grad(case.loss, weights)
    again = gn.grad(sum(gn.sum(gn.sin(each)) for each in gradients), [case.x, *weights])
    assert_executors_agree(case.inputs, again, drawn(case.inputs))


def test_tangents():
    case = NETS["GRU"]()
    tangents = [gn.input(f"d{k}", each.shape, each.dtype) for k, each in case.weights.items()]
    moved = gn.jvp(case.loss, list(case.weights.values()), tangents)
    given = [*case.inputs, *tangents]
    program = assert_executors_agree(given, moved, drawn(given))
    inside = [size for each in sizes_in_loops(program) for size, _ in each]
    assert not {BOTH, INPUTS} & {*inside}


def test_within_an_inner_loop_weights_are_cut_before_the_outer_one():
    x, w = given = inputs(x=(STEPS, BATCH, INPUTS), w=(BOTH, HIDDEN))

    def step(h, x):
        def inner(g, row):
            return gn.tanh(gn.concatenate([g, row]) @ w), None

        return gn.scan(inner, h, x)

    last, _ = gn.scan(step, gn.zeros(HIDDEN, "float64"), x)
    loss = gn.sum(last**2)
    program = assert_executors_agree(given, [loss, gn.grad(loss, w)], drawn(given))
    for scan in scans_of(program):
        cut = [node for node in scan.attrs["body"].nodes if node.op.name == "slice"]
        assert not any(node.inputs[0].shape == w.shape for node in cut)
    there = scans_of(program)[0].attrs["body"]
    (loop,) = [node for node in there.nodes if node.op.name == "scan"]
    assert [each.inputs[0].shape for each in products(loop.attrs["body"])] == [(HIDDEN,)]


# --------------------------------------------------------------------------------- nowhere else


def inputs(dtype="float64", **shapes):
    return [gn.input(name, shape, dtype) for name, shape in shapes.items()]


def split(given, outputs):
    """How often the rule was applied; values are right."""
    return rules(assert_executors_agree(given, outputs, drawn(given)))["split_products"]


def scanned(step, dtype="float64", **shapes):
    """What a scan over the first input gives; ``step`` gets the carry, an element and weights."""
    given = inputs(dtype, x=(STEPS, BATCH, INPUTS), **shapes)
    x, *rest = given
    zeros = gn.zeros((BATCH, HIDDEN), dtype)
    return given, gn.scan(lambda h, x: step(h, x, *rest), zeros, x)


def test_outside_of_scans_products_stay():
    a, b, w = given = inputs(a=(3, 4), b=(3, 2), w=(6, 5))
    y = beside(a, b) @ w
    assert split(given, [y[:, :2], gn.grad(gn.sum(gn.sin(y)), a)]) == 0


def test_parts_that_all_need_the_carry_stay():
    def step(h, x, w):
        return gn.tanh(beside(h, gn.sin(h)) @ w + x[:, :1]), None

    given, (last, _) = scanned(step, w=(2 * HIDDEN, HIDDEN))
    assert split(given, last) == 0


def test_parts_of_elements_leave_as_one():
    """All of the product leaves as it is."""

    def step(h, x, w):
        return gn.tanh(h + beside(x, gn.sin(x)) @ w), None

    given, (last, _) = scanned(step, w=(2 * INPUTS, HIDDEN))
    assert split(given, last) == 0


def test_another_axis_than_the_sum_stays():
    """Examples are side by side, not what is summed."""

    def step(h, x, w, v):
        rows = gn.concatenate([h, x @ v], 0) @ w
        return gn.tanh(rows[:BATCH] + rows[BATCH:]), None

    given, (last, _) = scanned(step, w=(HIDDEN, HIDDEN), v=(INPUTS, HIDDEN))
    assert split(given, last) == 0


def test_a_weight_that_changes_stays():
    """It is made anew in every step, and its product needs the carry either way."""

    def step(h, x, w):
        fast = w * gn.mean(h)
        return gn.tanh(beside(h, x) @ fast), None

    given, (last, _) = scanned(step, w=(BOTH, HIDDEN))
    assert split(given, last) == 0


def test_gates_are_not_cut_apart():
    """All columns are needed for the carry."""

    def step(h, x, w):
        z = h @ w
        return gn.tanh(z[:, :HIDDEN] + x[:, :1]) * gn.sigmoid(z[:, HIDDEN:]), None

    given, (last, _) = scanned(step, w=(HIDDEN, 2 * HIDDEN))
    assert split(given, last) == 0


def test_columns_that_nobody_reads_are_not_computed():
    def step(h, x, w):
        return gn.tanh((h @ w)[:, 1 : HIDDEN + 1] + x[:, :1]), None

    given, (last, _) = scanned(step, w=(HIDDEN, 2 * HIDDEN))
    program = assert_executors_agree(given, last, drawn(given))
    assert sizes_in_loops(program) == [[(HIDDEN, HIDDEN)]]


def test_columns_that_the_loop_does_not_need_leave_it():
    """An output gate that nothing is fed back from."""

    def step(h, x, w):
        z = h @ w
        return gn.tanh(z[:, :HIDDEN] + x[:, :1]), gn.exp(z[:, HIDDEN:])

    given, results = scanned(step, w=(HIDDEN, HIDDEN + 2))
    program = assert_executors_agree(given, results, drawn(given))
    assert sizes_in_loops(program) == [[(HIDDEN, HIDDEN)]]


def test_overlapping_columns_stay():
    def step(h, x, w):
        z = h @ w
        return gn.tanh(z[:, :HIDDEN] + x[:, :1]), gn.exp(z[:, 1 : HIDDEN + 1])

    given, results = scanned(step, w=(HIDDEN, 2 * HIDDEN))
    assert split(given, results) == 0


def test_half_floats_keep_their_sums():
    """Each of two products would be rounded."""
    given, (last, _) = scanned(
        lambda h, x, w: (gn.tanh(beside(h, x) @ w), None), "float16", w=(BOTH, HIDDEN)
    )
    assert not rules(gn.compile(given, last, native="never"))["split_products"]


def test_it_is_for_o2_and_can_be_left_out():
    case = NETS["LSTM"]()
    for options in ({"optimize": "O1"}, {"skip": "split_products"}):
        program = gn.compile(case.inputs, case.outputs(), native="never", **options)
        assert not rules(program)["split_products"]


def test_decisions_say_why():
    case = NETS["LSTM"]()
    program = gn.compile(case.inputs, case.outputs(), native="never")
    (record,) = [each for each in program.report.passes if each.name == "split_products"]
    assert [f"{each.what} {each.verdict}: {each.reason}" for each in record.decisions] == [
        "[carry 0 element 0] @ w becomes a sum of products of the parts: "
        "not all of them need a carry",
        "add @ w is computed by parts: the loop needs part of it",
        "[element 3 element 0] @ add becomes products of the parts: a total alone needs it",
    ]
