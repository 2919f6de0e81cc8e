"""hoist: products that need no carry leave the scan, and nothing else does."""

import numpy as np
import pytest
from looping import assert_executors_agree, body_of, carries_of, drawn, ops_of, rules

import graphnn as gn

STEPS, BATCH, SIZE = 5, 3, 4


@pytest.fixture
def x():
    return gn.input("x", (STEPS, BATCH, SIZE), "float64")


@pytest.fixture
def w():
    return gn.input("w", (SIZE, SIZE), "float64")


@pytest.fixture
def u():
    return gn.input("u", (SIZE, SIZE), "float64")


def zeros(*shape):
    return gn.zeros(shape or (BATCH, SIZE), "float64")


def hoisted(inputs, outputs):
    """The program, once it is seen to be right, and how often the rule was applied."""
    program = assert_executors_agree(inputs, outputs, drawn(inputs))
    return program, rules(program)["hoist"]


def products_in(program):
    return ops_of(body_of(program))["dot_general"]


def products_outside(program):
    return ops_of(program.unit.graph)["dot_general"]


# --------------------------------------------------------------------------------------- before


def test_a_product_of_elements_is_one_before_the_scan(x, w, u):
    last, _ = gn.scan(lambda h, x: (gn.tanh(x @ w + h @ u), None), zeros(), x)
    program, count = hoisted([x, w, u], last)
    assert (count, products_in(program), products_outside(program)) == (1, 1, 1)
    (product,) = (n for n in program.unit.graph.nodes if n.op.name == "dot_general")
    assert product.size == STEPS * BATCH * SIZE


def test_elementwise_nodes_around_it_go_along_if_nothing_is_larger(x, w, u):
    last, _ = gn.scan(lambda h, x: (gn.tanh(gn.exp(gn.sin(x) @ w) + h @ u), None), zeros(), x)
    program, _ = hoisted([x, w, u], last)
    inside, outside = ops_of(body_of(program)), ops_of(program.unit.graph)
    assert not inside["sin"] + inside["exp"]
    assert (outside["sin"], outside["exp"], inside["tanh"], outside["tanh"]) == (1, 1, 1, 0)


def test_what_would_be_larger_stays(x, w):
    """The product of one row is spread over all of a batch within the step."""
    last, _ = gn.scan(lambda h, x: (gn.tanh(h + gn.sin(x * (x[0] @ w))), None), zeros(), x)
    program, count = hoisted([x, w], last)
    inside = ops_of(body_of(program))
    assert (count, inside["dot_general"], inside["sin"]) == (1, 0, 1)
    (product,) = (n for n in program.unit.graph.nodes if n.op.name == "dot_general")
    assert product.size == STEPS * SIZE


def test_elementwise_nodes_alone_stay(x):
    last, ys = gn.scan(lambda h, x: (gn.tanh(h + gn.exp(x)), gn.sin(h)), zeros(), x)
    program, count = hoisted([x], [last, ys])
    inside = ops_of(body_of(program))
    assert (count, inside["exp"], inside["sin"]) == (0, 1, 1)


def test_what_a_carry_needs_stays(x, w):
    last, _ = gn.scan(lambda h, x: (gn.tanh((x + h) @ w), None), zeros(), x)
    program, count = hoisted([x, w], last)
    assert (count, products_in(program), products_outside(program)) == (0, 1, 0)


def test_a_product_of_several_results_of_one_operator(x, w):
    """Of values and places of the largest elements, one goes into a product, one does not."""

    def step(h, x):
        values, places = gn.top_k(x, 2)
        return gn.tanh(h + values @ w[:2] + gn.sum(places).astype("float64")), None

    program, count = hoisted([x, w], gn.scan(step, zeros(), x)[0])
    assert (count, products_in(program)) == (1, 0)


def test_a_product_of_what_an_inner_scan_gives(x, w):
    def step(h, x):
        total, rows = gn.scan(lambda g, row: (g + row, g * row), zeros(SIZE), x)
        return gn.tanh(h + rows @ w + total), None

    _program, count = hoisted([x, w], gn.scan(step, zeros(), x)[0])
    assert count == 1


# ---------------------------------------------------------------------------------------- after


def test_an_output_layer_is_computed_after_the_scan(x, w, u):
    _, ys = gn.scan(
        lambda h, x: (gn.tanh(x + h @ u), gn.softmax(gn.tanh(x + h @ u) @ w)), zeros(), x
    )
    program, count = hoisted([x, w, u], ys)
    inside, outside = ops_of(body_of(program)), ops_of(program.unit.graph)
    assert (count, inside["dot_general"], outside["dot_general"]) == (1, 1, 1)
    assert (inside["exp"], outside["exp"]) == (0, 1)


@pytest.mark.parametrize("reverse", [False, True])
def test_an_output_layer_that_reads_the_carry_before_the_step(reverse, x, w, u):
    results = gn.scan(lambda h, x: (gn.tanh(x + h @ u), h @ w), zeros(), x, reverse=reverse)
    program, count = hoisted([x, w, u], results)
    assert (count, products_in(program)) == (1, 1)


# --------------------------------------------------------------------------------------- totals


TERMS = {
    "product": lambda x, h, w: gn.transpose(x) @ h,
    "view": lambda x, h, w: gn.transpose(gn.transpose(x) @ h),
    "reshape": lambda x, h, w: gn.reshape(gn.reshape(x, (SIZE, BATCH)) @ h, (SIZE, SIZE)),
    "sum of terms": lambda x, h, w: gn.transpose(x) @ h + gn.transpose(gn.transpose(h) @ x),
    "db": lambda x, h, w: gn.sum(h * x, 0),
    "whole sum": lambda x, h, w: gn.sum(h * x),
    "sum spread": lambda x, h, w: gn.broadcast_to(gn.sum(x * h, 0), (SIZE, SIZE)),
    "constant factor": lambda x, h, w: w @ gn.transpose(h)[:, :SIZE] @ x,
    "in batches": lambda x, h, w: gn.matmul(x[:, :, None], h[:, None, :]),
}


@pytest.mark.parametrize("is_zero", [True, False])
@pytest.mark.parametrize("name", TERMS)
def test_a_total_is_one_product_over_time(name, is_zero, x, w):
    term = TERMS[name]
    shape = term(x[0], x[0], w).shape
    first = zeros(*shape) if shape and is_zero else gn.ones(shape, "float64") * (not is_zero)

    def step(carry, x):
        h, total = carry
        h = gn.tanh(h * 0.5 + x)
        return (h, total + term(x, h, w)), None

    (h, total), _ = gn.scan(step, (zeros(), first), x)
    program, count = hoisted([x, w], [h, total])
    assert (count, carries_of(program)) == (1, 1)
    assert not products_in(program)


def test_a_total_added_from_the_left(x, w):
    (h, total), _ = gn.scan(
        lambda c, x: ((gn.tanh(c[0] + x), gn.transpose(x) @ c[0] + c[1]), None),
        (zeros(), zeros(SIZE, SIZE)),
        x,
    )
    program, count = hoisted([x, w], [h, total])
    assert (count, carries_of(program)) == (1, 1)


READERS = {
    "as a result of the step": lambda t, new, h: ((h, new), new),
    "as it was before the step": lambda t, new, h: ((h, new), t),
    "by another node": lambda t, new, h: ((h, new), gn.sin(new)),
    "before the step, by another node": lambda t, new, h: ((h, new), gn.sin(t)),
    "by the carry": lambda t, new, h: ((gn.tanh(h + gn.sum(t)), new), None),
}


@pytest.mark.parametrize("name", READERS)
def test_a_total_that_is_read_elsewhere_stays(name, x):
    def step(carry, x):
        h, total = carry
        h = gn.tanh(h * 0.5 + x)
        return READERS[name](total, total + gn.transpose(x) @ h, h)

    program, _ = hoisted([x], gn.scan(step, (zeros(), zeros(SIZE, SIZE)), x))
    assert carries_of(program) == 2


@pytest.mark.parametrize("is_old", [True, False])
def test_a_total_that_becomes_another_carry_stays(is_old, x, w):
    def step(carry, x):
        total, _ = carry
        new = total + x @ w
        return (new, total if is_old else new), None

    program, _ = hoisted([x, w], gn.scan(step, (zeros(), zeros() + 1.0), x)[0])
    assert carries_of(program) == 2


def test_a_total_of_elementwise_terms_stays(x, w):
    """And what it needs is computed once, though a result is a product too."""

    def step(carry, x):
        h, total = carry
        h = gn.tanh(h + x)
        made = h @ w
        return (h, total + gn.sin(made)), made

    program, count = hoisted([x, w], gn.scan(step, (zeros(), zeros()), x))
    assert (count, carries_of(program)) == (0, 2)
    assert (products_in(program), products_outside(program)) == (1, 0)


def test_gradients_of_weights_are_products_over_batch_and_time(x, w, u):
    b = gn.input("b", (SIZE,), "float64")
    _last, ys = gn.scan(lambda h, x: (gn.tanh(x @ w + h @ u + b),) * 2, zeros(), x)
    grads = gn.grad(gn.sum(ys**2), [w, u, b, x])
    program, _ = hoisted([x, w, u, b], grads)
    scans = [node for node in program.unit.graph.nodes if node.op.name == "scan"]
    inside = [ops_of(each.attrs["body"])["dot_general"] for each in scans]
    assert sorted(inside) == [1, 1]
    assert [each.attrs["n_carry"] for each in scans] == [1, 1]


# ------------------------------------------------------------------------------------------ fuel


def test_every_rewrite_can_be_left_out(x, w, u):
    """With any amount of fuel, values are the same, and so many rewrites are made."""
    _last, ys = gn.scan(lambda h, x: (gn.tanh(x @ w + h @ u),) * 2, zeros(), x)
    other, _ = gn.scan(lambda h, x: (gn.sin(h + x), gn.cos(h)), zeros(), x)
    loss = gn.sum(gn.sin(ys[:, :, :2]) @ w[:2]) + gn.sum(ys[:, :, 2:])
    outputs = [loss, *gn.grad(loss, [x, w, u]), other]
    inputs = [x, w, u]
    arrays = drawn(inputs)
    full = gn.compile(inputs, outputs)
    wanted, count = full(*arrays), rules(full).total()
    applied = set()
    for fuel in range(count):
        program = gn.compile(inputs, outputs, fuel=fuel, native="never")
        applied |= set(rules(program))
        assert rules(program).total() == fuel
        for one, other in zip(program(*arrays), wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)
    assert {"merge_scans", "trim_scan", "hoist"} <= applied
