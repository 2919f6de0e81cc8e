"""Every decision about a recurrent net is made where it should be, and nowhere else; and told."""

import numpy as np
import pytest
from looping import drawn, ops_of, rules, scans_of
from recurrent_nets import BATCH, HIDDEN, INPUTS, NETS, STEPS

import graphnn as gn

RULES = ("merge_scans", "trim_scan", "merge_products", "hoist")

# Scans that become one, scans that are trimmed, products that become one, scans that something
# leaves; products in the loops there and back; carries of both.
EXPECTED = {
    "LSTM by gate": ((1, 1, 2, 2), [1, 1], [2, 2]),
    "LSTM by gate, reversed": ((1, 1, 2, 2), [1, 1], [2, 2]),
    "LSTM": ((1, 1, 0, 2), [1, 1], [2, 2]),
    "peephole LSTM": ((1, 1, 2, 2), [1, 1], [2, 2]),
    "GRU by gate": ((1, 1, 2, 2), [1, 1], [1, 1]),
    "GRU, concatenated": ((1, 1, 2, 2), [2, 2], [1, 1]),
    "minimal gated unit": ((1, 1, 0, 2), [2, 2], [1, 1]),
    "state only": ((1, 1, 0, 1), [1, 1], [1, 1]),
    "elementwise": ((1, 1, 0, 1), [0, 0], [1, 1]),
}


@pytest.fixture(scope="module", params=EXPECTED)
def trained(request):
    """A net's name, its program with gradients, and what that gives beside the reference."""
    net = NETS[request.param]()
    program = gn.compile(net.inputs, net.outputs(), verify=True, native="never")
    return request.param, net, program


def test_decisions(trained):
    name, _, program = trained
    counts, inside, carries = EXPECTED[name]
    found = rules(program)
    assert tuple(found[rule] for rule in RULES) == counts
    scans = scans_of(program)
    assert [ops_of(each.attrs["body"])["dot_general"] for each in scans] == inside
    assert [each.attrs["n_carry"] for each in scans] == carries


def test_values(trained):
    _, net, program = trained
    arrays = drawn(net.inputs)
    plain = gn.compile(net.inputs, net.outputs(), backend="reference", optimize="O0")
    for got, wanted in zip(program(*arrays), plain(*arrays), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-13)


def test_no_gradient_of_a_weight_is_added_up_in_a_loop(trained):
    """All totals have left: carries have the size of a state."""
    for scan in scans_of(trained[2]):
        n_carry = scan.attrs["n_carry"]
        assert {each.shape for each in scan.attrs["body"].outputs[:n_carry]} == {(BATCH, HIDDEN)}


def test_without_gradients_nothing_is_merged_or_trimmed():
    net = NETS["LSTM by gate"]()
    program = gn.compile(net.inputs, net.loss, native="never")
    found = rules(program)
    assert (found["merge_scans"], found["trim_scan"], found["hoist"]) == (0, 0, 1)
    (scan,) = scans_of(program)
    assert ops_of(scan.attrs["body"])["dot_general"] == 1


def nested(inner_reads_outer_state):
    """An outer loop over rows and an inner one; what is read inside depends on the outer state."""
    x, u = gn.input("x", (STEPS, BATCH, INPUTS)), gn.input("u", (INPUTS, INPUTS))

    def step(h, row):
        def inner(g, _):
            return gn.tanh(g @ u + (h if inner_reads_outer_state else row) @ gn.sin(u)), None

        g, _ = gn.scan(inner, h, length=4)
        return g, g

    _, ys = gn.scan(step, gn.zeros((BATCH, INPUTS)), x)
    return [x, u], ys


@pytest.mark.parametrize("reads", [True, False])
def test_a_product_leaves_all_loops_that_it_does_not_depend_on(reads):
    inputs, ys = nested(reads)
    program = gn.compile(inputs, ys, native="never", verify=True)
    (outer,) = scans_of(program)
    (inner,) = (node for node in outer.attrs["body"].nodes if node.op.name == "scan")
    places = program.unit.graph, outer.attrs["body"], inner.attrs["body"]
    counts = [ops_of(each)["dot_general"] for each in places]
    assert counts == ([0, 1, 1] if reads else [1, 0, 1])
    arrays = drawn(inputs)
    plain = gn.compile(inputs, ys, backend="reference", optimize="O0")(*arrays)
    np.testing.assert_allclose(program(*arrays), plain, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------ explanations


def decisions(program, name):
    return [
        str(each)
        for record in program.report.passes
        if record.name == name
        for each in record.decisions
    ]


def test_an_explanation_says_what_became_one_and_what_left():
    net = NETS["LSTM by gate"]()
    program = gn.compile(net.inputs, net.outputs(), native="never")
    text = program.explain()
    merged = [each for each in decisions(program, "merge_products") if "become one" in each]
    assert any("carry 0 @ ui, carry 0 @ uf, carry 0 @ ug, carry 0 @ uo" in each for each in merged)
    assert any("become one product, not a sum" in each for each in merged)
    left = decisions(program, "hoist")
    assert sum("stays in the loop" in each for each in left) == 2
    assert any("carry 0 @ [ui uf ug uo]" in each and "it reads carry 0" in each for each in left)
    assert any("is computed before the loop" in each for each in left)
    assert any("becomes one product over all steps" in each for each in left)
    (scans,) = decisions(program, "merge_scans")
    assert "becomes one with another scan" in scans
    trimmed = decisions(program, "trim_scans")
    assert "14 of 14 carries and 0 of 1 results are needed" in trimmed[0]
    for each in (*merged, *left):
        assert f"  {each}" in text.splitlines()
    assert f"{STEPS} steps of instructions" in text
    assert "recurrent_nets.py" in text


def test_an_explanation_says_why_something_stays():
    x = gn.input("x", (STEPS, BATCH, HIDDEN))
    u = gn.parameter(np.eye(HIDDEN, dtype="float32"), "u")
    last, _ = gn.scan(lambda h, x: (gn.tanh(x + h @ u), None), gn.zeros((BATCH, HIDDEN)), x)
    (stays,) = decisions(gn.compile(x, last, native="never"), "hoist")
    assert stays.startswith("carry 0 @ u (")
    assert f"stays in the loop (of {STEPS}): it reads carry 0, and a carry needs it" in stays


def test_an_explanation_says_what_is_computed_after_the_loop():
    x = gn.input("x", (STEPS, BATCH, HIDDEN))
    v = gn.parameter(np.eye(HIDDEN, dtype="float32"), "v")
    _, ys = gn.scan(lambda h, x: (gn.tanh(x + h), h @ v), gn.zeros((BATCH, HIDDEN)), x)
    (left,) = decisions(gn.compile(x, ys, native="never"), "hoist")
    assert "is computed after the loop, for all steps at once" in left
    assert left.endswith("no carry needs it")


@pytest.mark.parametrize("is_worth_it", [True, False])
def test_an_explanation_says_what_is_packed_once(is_worth_it, monkeypatch):
    monkeypatch.setattr(
        "graphnn.compiler.passes.pack_once.is_worth_it", lambda offers: is_worth_it and bool(offers)
    )
    x = gn.input("x", (STEPS, BATCH, HIDDEN))
    u = gn.parameter(np.eye(HIDDEN, dtype="float32"), "u")
    last, _ = gn.scan(lambda h, x: (gn.tanh(x + h @ u), None), gn.zeros((BATCH, HIDDEN)), x)
    (told,) = (each for each in decisions(gn.compile(x, last), "pack_once") if each[0] == "u")
    assert f"by each of {STEPS} products" in told or f"once for {STEPS} products" in told
    assert ("packed once for" in told) == is_worth_it


def test_scans_that_need_each_other_are_told():
    x = gn.input("x", (STEPS, HIDDEN))
    _, ys = gn.scan(lambda h, x: (gn.tanh(h + x), h), gn.zeros(HIDDEN), x)
    other, _ = gn.scan(lambda h, y: (gn.tanh(h + y), None), gn.zeros(HIDDEN), ys)
    third, _ = gn.scan(
        lambda h, both: (gn.tanh(h + both[0]), h * both[1]), gn.zeros(HIDDEN), (x, ys)
    )
    program = gn.compile(x, [other, third, ys], native="never")
    told = decisions(program, "merge_scans")
    assert any("it needs the results of the other" in each for each in told)


def test_only_what_concerns_a_node_is_told():
    x = gn.input("x", (40000, 4))
    weights = [gn.parameter(np.ones((4, 5), "float32"), name) for name in "abc"]
    products = [x @ each for each in weights]
    other = gn.tanh(products[0])
    program = gn.compile(x, [*products, other], native="never")
    assert "x @ a, x @ b, x @ c" in program.explain(products[0])
    assert "x @ a" not in program.explain(other)


def test_what_was_left_out_is_not_explained():
    net = NETS["LSTM by gate"]()
    program = gn.compile(net.inputs, net.outputs(), native="never", skip=("hoist", "pack_once"))
    assert not decisions(program, "hoist")
    assert "stays in the loop" not in program.explain()
