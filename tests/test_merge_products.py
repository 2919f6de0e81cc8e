"""merge_products: products become one where that pays, and give what they gave."""

import numpy as np
import pytest
from looping import assert_executors_agree, drawn, ops_of, rules, scans_of
from recurrent_nets import BATCH, HIDDEN, NETS, STEPS

import graphnn as gn
from graphnn.compiler.merging_cost import Times, reason_against


@pytest.fixture
def always(monkeypatch):
    """Whatever the numbers of the decision say."""
    monkeypatch.setattr(
        "graphnn.compiler.passes.merge_products.reason_against", lambda *numbers: ""
    )


@pytest.fixture
def small(monkeypatch):
    """What is small counts as what is large does."""
    monkeypatch.setattr("graphnn.compiler.merging_cost.LEAST_NBYTES", 0)


def inputs(dtype="float64", **shapes):
    return [gn.input(name, shape, dtype) for name, shape in shapes.items()]


def products(graph):
    """How many there are, in the bodies of scans too."""
    inner = (products(node.attrs["body"]) for node in graph.nodes if node.op.name == "scan")
    return ops_of(graph)["dot_general"] + sum(inner)


def merged(given, outputs):
    """How many products are left, and how often the rule was applied; values are right."""
    program = assert_executors_agree(given, outputs, drawn(given))
    return products(program.unit.graph), rules(program)["merge_products"]


# ------------------------------------------------------------------------------ a shared operand


def times(x, *weights):
    return [x @ each for each in weights]


SHARED = {
    "columns": ({"x": (3, 4), "a": (4, 2), "b": (4, 5), "c": (4, 1)}, times),
    "rows": ({"w": (4, 5), "a": (3, 4), "b": (2, 4)}, lambda w, *x: [each @ w for each in x]),
    "transposed weights": (
        {"x": (3, 4), "a": (2, 4), "b": (5, 4)},
        lambda x, *w: [x @ each.T for each in w],
    ),
    "a transposed operand": (
        {"x": (4, 3), "a": (4, 2), "b": (4, 5)},
        lambda x, *w: [x.T @ each for each in w],
    ),
    "many rows": ({"x": (2, 3, 4), "a": (4, 2), "b": (4, 5)}, times),
    "batches": ({"x": (2, 3, 4), "a": (2, 4, 2), "b": (2, 4, 5)}, times),
    "several free axes": (
        {"x": (3, 4), "a": (4, 2, 3), "b": (4, 1, 3)},
        lambda x, *w: [gn.dot_general(x, each, contract=((1,), (0,))) for each in w],
    ),
    "rows with several axes": (
        {"w": (4, 5), "a": (2, 3, 4), "b": (1, 3, 4)},
        lambda w, *x: [each @ w for each in x],
    ),
    "two sums": (
        {"x": (2, 3, 4), "a": (3, 4, 2), "b": (3, 4, 5)},
        lambda x, *w: [gn.dot_general(x, each, contract=((1, 2), (0, 1))) for each in w],
    ),
    "outer products": (
        {"x": (3,), "a": (4,), "b": (5,)},
        lambda x, *w: [gn.dot_general(x, each, contract=((), ())) for each in w],
    ),
}


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", SHARED)
def test_products_that_share_an_operand_are_one(name):
    shapes, build = SHARED[name]
    given = inputs(**shapes)
    assert merged(given, build(*given)) == (1, 1)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "complex64"])
def test_columns_keep_their_dtype(dtype):
    given = inputs(dtype, x=(3, 4), a=(4, 2), b=(4, 5))
    x, a, b = given
    assert merged(given, [x @ a, x @ b]) == (1, 1)


@pytest.mark.usefixtures("always")
def test_what_reads_a_product_reads_its_part():
    x, a, b = given = inputs(x=(3, 4), a=(4, 4), b=(4, 4))
    first, second = x @ a, x @ b
    assert merged(given, gn.tanh(first) @ gn.exp(second).T + gn.sum(first)) == (2, 1)


@pytest.mark.usefixtures("always")
def test_the_largest_set_is_merged_where_a_product_is_in_two():
    """``x @ a`` shares x with two others, and a with one."""
    x, y, a, b, c = given = inputs(x=(3, 4), y=(3, 4), a=(4, 4), b=(4, 4), c=(4, 4))
    program = assert_executors_agree(given, [x @ a, x @ b, x @ c, y @ a], drawn(given))
    sizes = [node.size for node in program.unit.graph.nodes if node.op.name == "dot_general"]
    assert sorted(sizes) == [12, 36]


# ------------------------------------------------------------------------------ sums of products

SUMS = {
    "two": lambda a, b, c, d, r: gn.sin(a) @ c + gn.cos(b) @ d,
    "with the rest": lambda a, b, c, d, r: r + gn.sin(a) @ c + r * r + gn.cos(b) @ d,
    "in brackets": lambda a, b, c, d, r: (gn.sin(a) @ c + r) + (gn.cos(b) @ d + gn.exp(r)),
    "three": lambda a, b, c, d, r: gn.sin(a) @ c + gn.cos(b) @ d + gn.exp(a) @ gn.exp(d),
    "within a step": lambda a, b, c, d, r: gn.tanh(gn.sin(a) @ c + gn.cos(b) @ d)[:1],
}


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", SUMS)
def test_a_sum_of_products_is_one_product(name):
    given = inputs(a=(30, 4), b=(30, 4), c=(4, 50), d=(4, 50), r=(30, 50))
    assert merged(given, SUMS[name](*given)) == (1, 1)


@pytest.mark.usefixtures("always")
def test_a_sum_of_transposed_products():
    a, b, c, d = given = inputs(a=(4, 30), b=(4, 30), c=(50, 4), d=(50, 4))
    assert merged(given, gn.sin(a).T @ c.T + gn.cos(b).T @ d.T) == (1, 1)


@pytest.mark.usefixtures("always")
def test_a_sum_along_several_axes():
    a, b, c, d = given = inputs(a=(30, 2, 3), b=(30, 4, 3), c=(2, 3, 50), d=(4, 3, 50))
    both = [
        gn.dot_general(gn.sin(left), right, contract=((1, 2), (0, 1)))
        for left, right in ((a, c), (b, d))
    ]
    assert merged(given, both[0] + both[1]) == (1, 1)


# ------------------------------------------------------------------------------ and nowhere else

APART = {
    "other axes of the shared operand": lambda x, a, b: [x @ a, x.T @ b],
    "one reads the other": lambda x, a, b: x @ (x @ b),
    "one reads the other by way of a third": lambda x, a, b: [x @ a, x @ gn.tanh(gn.sin(x @ a))],
    "a product of vectors": lambda x, a, b: [x @ a[0], x @ b[0]],
    "one product alone": lambda x, a, b: [x @ a, gn.tanh(a) + b],
    "a term that is a result": lambda x, a, b: [x @ a, x @ a + gn.cos(b) @ gn.exp(x)],
    "a term that is read elsewhere": (
        lambda x, a, b: gn.tanh(gn.sin(x) @ a) * (gn.sin(x) @ a + gn.cos(b) @ gn.exp(x))
    ),
    "a term that counts twice": lambda x, a, b: gn.sin(x) @ a + gn.sin(x) @ a,
    "a difference": lambda x, a, b: gn.sin(x) @ a - gn.cos(b) @ gn.exp(x),
    "a row that is added to all": lambda x, a, b: gn.sin(x) @ a + gn.cos(b[:1]) @ gn.exp(x),
    "a sum of outer products": (
        lambda x, a, b: gn.outer(gn.sin(x[0]), a[0]) + gn.outer(gn.cos(x[1]), b[0])
    ),
}


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", APART)
def test_others_stay(name):
    given = inputs(x=(4, 4), a=(4, 4), b=(4, 4))
    assert merged(given, APART[name](*given))[1] == 0


@pytest.mark.usefixtures("always")
def test_sums_of_half_floats_stay():
    """Each product is rounded by itself."""
    a, b, c, d = given = inputs("float16", a=(30, 4), b=(30, 4), c=(4, 50), d=(4, 50))
    assert merged(given, gn.sin(a) @ c + gn.cos(b) @ d)[1] == 0


@pytest.mark.usefixtures("always")
def test_of_two_sets_that_need_each_other_one_is_merged():
    """The second x product needs a y product, and the second y product an x product."""
    x, y, a, b = given = inputs(x=(4, 4), y=(4, 4), a=(4, 4), b=(4, 4))
    first_x, first_y = x @ a, y @ b
    outputs = [x @ gn.sin(first_y), y @ gn.sin(first_x)]
    assert merged(given, outputs) == (3, 1)


def test_large_products_outside_of_loops_stay():
    x, *weights = inputs("float32", x=(4096, 512), a=(512, 128), b=(512, 128), c=(512, 128))
    program = gn.compile([x, *weights], [x @ each for each in weights], native="never")
    assert rules(program)["merge_products"] == 0
    assert "large products outside of a loop" in program.explain()


def test_operands_that_are_copied_for_more_than_is_saved_stay():
    x, *weights = inputs("float32", x=(80, 512), a=(512, 256), b=(512, 256))
    program = gn.compile([x, *weights], [x @ each for each in weights], native="never")
    assert rules(program)["merge_products"] == 0
    assert "would take longer than it saves" in program.explain()


def test_what_is_small_stays_outside_of_loops():
    x, a, b = inputs(x=(30, 4), a=(4, 4), b=(4, 4))
    program = gn.compile([x, a, b], [x @ a, x @ b], native="never")
    assert rules(program)["merge_products"] == 0
    assert "so little is read again for next to nothing" in program.explain()


def test_the_numbers_of_the_decision():
    """More copies never speak for it, more uses of what is copied never against it."""
    x, a, b = inputs("float32", x=(64, 256), a=(256, 256), b=(256, 256))
    pair, loop = [x @ a, x @ b], Times(products=100, steps=100, results=0)
    once, always = [(a, 1), (b, 1)], [(a, 100), (b, 100)]
    assert reason_against(pair, x, True, once, loop, 1) == ""
    assert reason_against(pair, x, True, always, loop, 1) != ""
    assert reason_against(pair, x, True, always, loop, 100) == ""
    assert reason_against(pair, x, True, once, Times(), 1) != ""


@pytest.mark.usefixtures("always")
def test_exact_rewrites_alone_leave_products():
    x, a, b = inputs(x=(3, 4), a=(4, 2), b=(4, 2))
    program = gn.compile([x, a, b], [x @ a, x @ b], optimize="O1", native="never")
    assert (products(program.unit.graph), rules(program)["merge_products"]) == (2, 0)


# ------------------------------------------------------------------------------------ within scans


def loops_and_outside(program):
    """The numbers of products in every loop, and outside of them."""
    inside = [ops_of(each.attrs["body"])["dot_general"] for each in scans_of(program)]
    return inside, ops_of(program.unit.graph)["dot_general"]


IN_LOOPS = {
    "LSTM by gate": [1, 1],
    "LSTM by gate, reversed": [1, 1],
    "LSTM": [1, 1],
    "peephole LSTM": [1, 1],
    "GRU by gate": [1, 1],
    "GRU, concatenated": [2, 2],
    "minimal gated unit": [2, 2],
}


@pytest.mark.parametrize("name", IN_LOOPS)
def test_recurrent_products_of_a_step_are_as_few_as_can_be(name):
    """Where the candidate reads the gated state, its product waits for that of the gate."""
    net = NETS[name]()
    program = gn.compile(net.inputs, net.outputs(), verify=True, native="never")
    assert loops_and_outside(program)[0] == IN_LOOPS[name]
    plain = gn.compile(net.inputs, net.outputs(), backend="reference", optimize="O0")
    arrays = drawn(net.inputs)
    for got, wanted in zip(program(*arrays), plain(*arrays), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-13)


def test_weights_are_joined_before_the_loop_and_once_for_both_ways():
    net = NETS["LSTM by gate"]()
    graph = gn.compile(net.inputs, net.outputs(), native="never").unit.graph
    (joined,) = (
        node
        for node in graph.nodes
        if node.op.name == "concatenate" and node.shape == (HIDDEN, 4 * HIDDEN)
    )
    assert [user.op.name for user in graph.users[joined]] == ["scan", "scan"]
    assert {each.name for each in joined.inputs} == {"ui", "uf", "ug", "uo"}


def test_gradients_of_gates_are_written_where_they_are_joined():
    """So that nothing is copied in the loop, and one array is kept of every step."""
    net = NETS["LSTM by gate"]()
    program = gn.compile(net.inputs, net.outputs(), native="never")
    _forward, back = program.loops
    kinds = [each.kind for each in program.instructions[back.begin : back.end]]
    assert sorted(kinds) == ["gemm", "kernel"]
    body = scans_of(program)[-1].attrs["body"]
    assert [node.shape for node in body.outputs[2:]] == [(BATCH, 4 * HIDDEN)]


@pytest.mark.usefixtures("small")
def test_gradients_of_recurrent_weights_are_one_product_over_time():
    net = NETS["LSTM by gate"]()
    program = gn.compile(net.inputs, net.outputs(), native="never")
    shapes = [
        node.shape
        for node in program.unit.graph.nodes
        if node.op.name == "dot_general" and node.inputs[0].shape[:2] == (STEPS, BATCH)
    ]
    assert shapes.count((HIDDEN, 4 * HIDDEN)) == 1
    assert shapes.count((HIDDEN, HIDDEN)) == 0


@pytest.mark.usefixtures("always")
def test_products_that_leave_the_loop_stay_apart_from_those_that_do_not():
    """Both read the state; no carry needs the output layer."""
    h, x, u, v = given = inputs(h=(3, 4), x=(5, 3, 4), u=(4, 4), v=(4, 4))

    def step(h, x):
        return gn.tanh(x + h @ u), h @ v

    program = assert_executors_agree(given, gn.scan(step, h, x), drawn(given))
    assert rules(program)["merge_products"] == 0
    assert loops_and_outside(program) == ([1], 1)


@pytest.mark.usefixtures("always")
def test_a_weight_that_every_step_makes_is_joined_in_the_step():
    h, x, u, v = given = inputs(h=(30, 4), x=(5, 30, 4), u=(4, 4), v=(4, 4))

    def step(h, x):
        scale = gn.sum(h)
        both = h @ gn.sin(u * scale) + gn.exp(h @ gn.cos(v * scale))
        return gn.tanh(x + both), None

    program = assert_executors_agree(given, gn.scan(step, h, x)[0], drawn(given))
    assert rules(program)["merge_products"] == 1
    assert loops_and_outside(program) == ([1], 0)


@pytest.mark.usefixtures("always")
def test_a_product_from_outside_is_not_merged_with_one_that_it_is_added_to():
    h, u, v, c = given = inputs(h=(3, 4), u=(4, 4), v=(4, 4), c=(3, 4))
    last, _ = gn.scan(lambda h, _: (gn.tanh(h @ u + c @ v), None), h, length=5)
    program = assert_executors_agree(given, last, drawn(given))
    assert loops_and_outside(program) == ([1], 1)


@pytest.mark.usefixtures("always")
def test_weights_of_an_inner_loop_are_joined_before_the_outer_one():
    h, x, u, v = given = inputs(h=(3, 4), x=(5, 3, 4), u=(4, 4), v=(4, 4))

    def step(h, x):
        def inner(g, _):
            return gn.tanh(x + g @ u) * gn.sigmoid(g @ v), None

        return gn.scan(inner, h, length=4)

    last, _ = gn.scan(step, h, x)
    loss = gn.sum(last**2)
    program = assert_executors_agree(given, [loss, *gn.grad(loss, [u, v])], drawn(given))
    graph = program.unit.graph
    (joined,) = (node for node in graph.nodes if node.op.name == "concatenate")
    assert {each.name for each in joined.inputs} == {"u", "v"}
    inner = [
        products(node.attrs["body"])
        for scan in scans_of(program)
        for node in scan.attrs["body"].nodes
        if node.op.name == "scan"
    ]
    assert inner == [1] * len(inner)


@pytest.mark.usefixtures("small")
def test_an_unrolled_net_joins_its_weights_once():
    """Its products share the weights too, but each needs the one before it."""
    given = inputs(h=(30, 4), x=(5, 30, 4), **dict.fromkeys("abcd", (4, 4)))
    h, x, *weights = given

    def step(h, x):
        a, b, c, d = (h @ each for each in weights)
        return gn.tanh(x + a) * gn.sigmoid(b) + gn.sin(c) * gn.cos(d), None

    last, _ = gn.unroll(step, h, x)
    program = assert_executors_agree(given, last, drawn(given))
    assert (ops_of(program.unit.graph)["dot_general"], rules(program)["merge_products"]) == (5, 5)
    assert ops_of(program.unit.graph)["concatenate"] == 1


def test_second_derivatives_and_forward_mode():
    net = NETS["GRU by gate"]()
    direction = [gn.sin(each) for each in net.weights.values()]
    weights = list(net.weights.values())
    slope = gn.jvp(net.loss, weights, direction)
    again = gn.grad(slope, weights)
    program = gn.compile(net.inputs, [slope, *again], native="never", verify=True)
    assert rules(program)["merge_products"] > 0
    arrays = drawn(net.inputs)
    plain = gn.compile(net.inputs, [slope, *again], backend="reference", optimize="O0")
    for got, wanted in zip(program(*arrays), plain(*arrays), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("always")
def test_batches_of_nets():
    x, u, v = inputs(x=(2, 5, 3, 4), u=(4, 4), v=(4, 4))

    def last(x):

        def step(h, x):
            return gn.tanh(x + h @ u) * gn.sigmoid(h @ v), None

        return gn.scan(step, gn.zeros((3, 4), "float64"), x)[0]

    program = assert_executors_agree([x, u, v], gn.vmap(last)(x), drawn([x, u, v]))
    assert loops_and_outside(program) == ([1], 0)


def test_a_training_step_is_that_of_a_net_with_one_weight():
    """Gates by themselves and gates side by side learn the same, update by update."""
    by_gate, one = NETS["LSTM by gate"](), NETS["LSTM"]()
    arrays = dict(zip(by_gate.weights, drawn(list(by_gate.weights.values())), strict=True))
    sides = {kind: np.concatenate([arrays[kind + g] for g in "ifgo"], -1) for kind in "wub"}
    (x,) = drawn([by_gate.x], seed=1)
    loss, *slopes = gn.compile(by_gate.inputs, by_gate.outputs())(x, *arrays.values())
    wanted, *others = gn.compile(one.inputs, one.outputs())(x, *sides.values())
    np.testing.assert_allclose(loss, wanted, rtol=1e-12)
    named = dict(zip(by_gate.weights, slopes, strict=True))
    for kind, other in zip("wub", others, strict=True):
        got = np.concatenate([named[kind + gate] for gate in "ifgo"], -1)
        np.testing.assert_allclose(got, other, rtol=1e-10, atol=1e-14)


# ------------------------------------------------------------------------------------------ fuel


@pytest.mark.usefixtures("small")
def test_every_rewrite_can_be_left_out():
    net = NETS["peephole LSTM"]()
    outputs, arrays = net.outputs(), drawn(net.inputs)
    full = gn.compile(net.inputs, outputs, native="never")
    wanted, count = full(*arrays), rules(full).total()
    assert rules(full)["merge_products"] >= 3
    for fuel in range(0, count, 2):
        program = gn.compile(net.inputs, outputs, fuel=fuel, native="never")
        assert rules(program).total() == fuel
        for one, other in zip(program(*arrays), wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


# ------------------------------------------------------------------------- branches and rounds


def test_in_the_branches_of_a_cond(always):
    p, x, *weights = gn.input("p", (), "bool"), *inputs(x=(3, 4), a=(4, 2), b=(4, 5))

    def one(x):
        return gn.concatenate([x @ each for each in weights], axis=1)

    def other(x):
        return gn.concatenate([gn.tanh(x) @ each for each in weights], axis=1)

    arrays = drawn([p, x, *weights])
    program = assert_executors_agree([p, x, *weights], gn.cond(p, one, other, x), arrays)
    (cond,) = (each for each in program.unit.graph.nodes if each.op.name == "cond")
    assert [ops_of(cond.attrs[name])["dot_general"] for name in ("if_true", "if_false")] == [1, 1]
    assert rules(program)["merge_products"] == 2


def test_in_the_rounds_of_a_while_loop(always):
    x, a, b = inputs(x=(3, 4), a=(4, 4), b=(4, 4))
    last = gn.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, gn.tanh(c[1] @ a) * gn.cos(c[1] @ b)), (0, x)
    )[1]
    program = assert_executors_agree([x, a, b], last, drawn([x, a, b]))
    (loop,) = (each for each in program.unit.graph.nodes if each.op.name == "while_loop")
    assert ops_of(loop.attrs["body"])["dot_general"] == 1


def test_in_a_cond_of_a_step(always):
    xs, h, a, b = inputs(xs=(5, 3, 4), h=(3, 4), a=(4, 4), b=(4, 4))

    def step(h, x):
        h = gn.cond(gn.sum(x) > 0, lambda: gn.tanh(h @ a) * gn.cos(h @ b), lambda: h)
        return h, h

    given = [xs, h, a, b]
    last, _ = gn.scan(step, h, xs)
    program = assert_executors_agree(given, [last, gn.grad(gn.sum(last), a)], drawn(given))
    assert rules(program)["merge_products"]
