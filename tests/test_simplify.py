"""What rules must not fire on, and the pass that applies them: levels, fuel, report, provenance."""

import numpy as np
from rewriting import BY_NAME, apply_alone, shifted, simplified, vector, zeros

import graphnn as gn
from graphnn.compiler.driver import Driver
from graphnn.compiler.passes.simplify import simplify
from graphnn.compiler.pattern import Exactness, Rule, RuleBook, Var, op
from graphnn.compiler.rewrite import rewrite
from graphnn.compiler.unit import Unit
from graphnn.core.graph import topological_order


def declined(rule: str, node: gn.Node) -> bool:
    return apply_alone(BY_NAME[rule], node) is node


# ------------------------------------------------------------- what rules must not fire on


def test_sign_of_zero_is_part_of_a_number() -> None:
    x = vector()
    assert declined("plus_negative_zero", x + 0.0)
    assert declined("minus_zero", x - -0.0)
    assert declined("plus_zero", x + -0.0)


def test_reciprocals_that_lose_digits_are_not_taken() -> None:
    x = vector()
    assert declined("over_power_of_two", x / 3.0)
    assert declined("over_constant", x / 1e-40)  # 1e40 is inf in float32
    assert declined("over_constant", x / 1e38)  # 1e-38 is subnormal
    assert declined("over_constant", x / 0.0)
    assert declined("factors", (x * 1e-30) * 1e-30)
    assert declined("terms", (x + 3e38) + 3e38)  # 6e38 is inf in float32, 3e38 + -3e38 is not
    assert declined("exact_factors", (x * 0.1) * 0.1)
    assert declined("exact_terms", (x + 1e8) + 1.0)
    assert declined("exact_terms", (vector("float64") + 1e30) + 1.0)


def test_casts_that_lose_something_stay() -> None:
    for dtype, between, back in (
        ("float32", "float16", "float32"),
        ("float16", "bfloat16", "float16"),
        ("int64", "float64", "int64"),
        ("int8", "uint8", "int64"),
        ("float32", "int64", "float32"),
        ("float32", "bool", "float32"),
        ("float32", "float64", "int8"),  # 300.0 becomes some int8: which one may differ
    ):
        assert declined("cast_of_cast", gn.cast(gn.cast(vector(dtype), between), back))


def test_integer_rules_leave_floats_alone_and_the_other_way_round() -> None:
    assert declined("plus_zero_of_integers", vector() + 0.0)
    assert declined("times_zero_of_integers", vector() * 0.0)
    assert declined("abs_of_square", abs(gn.square(vector("int8"))))


def test_reductions_must_be_of_the_same_axes_and_broadcast_as_with_keepdims() -> None:
    x = vector(shape=(4, 4))
    powers = gn.exp(x)
    assert declined("softmax_by_hand", powers / gn.sum(powers, 1))
    assert declined("log_softmax_by_hand", x - gn.logsumexp(x, 1))
    assert declined("softmax_by_hand", powers / gn.sum(gn.exp(vector(shape=(4, 4))), 0))
    assert declined("softmax_of_shifted", gn.softmax(x - gn.max(x, 0, keepdims=True), 1))
    assert declined("softmax_of_shifted", gn.softmax(x - gn.min(x, 1, keepdims=True), 1))
    other = gn.stop_gradient(gn.max(x, 1))
    assert declined("logsumexp_of_shifted", gn.logsumexp(shifted(x), 1) + other)
    assert declined("logsumexp_of_shifted", gn.logsumexp(shifted(x), 1) + 1.0)


def test_what_is_stable_already_stays() -> None:
    x = vector()
    assert declined("log1p_of_exp", gn.log1p(gn.exp(-abs(x))))
    assert declined("log_of_moved", gn.log(gn.tanh(x)[1:]))
    assert declined("log_of_moved", gn.log(x[1:]))


def test_transposes_that_reorder_the_result_stay() -> None:
    x, y = vector(shape=(2, 3, 4)), vector(shape=(4, 5))
    node = gn.dot_general(gn.transpose(x, (1, 0, 2)), y, contract=((2,), (0,)))
    assert declined("dot_of_transpose_left", node)


def test_counts_that_a_dtype_does_not_hold_are_not_multiplied_by() -> None:
    many = gn.broadcast_to(vector("float16", ()), (4097,))
    assert declined("sum_of_broadcast", gn.sum(many))
    assert declined("sum_of_broadcast", gn.sum(gn.broadcast_to(vector(shape=()), (0,))))
    assert declined("sum_of_broadcast", gn.sum(gn.broadcast_to(vector(shape=()), ("n",))))


def test_patterns_are_found_in_every_order() -> None:
    """Operands of commutative operators may stand either way, at every depth."""
    x, y = vector(), vector()
    for node in (
        gn.log(gn.exp(x) + 1.0),
        gn.log(1.0 + gn.exp(x)),
    ):
        assert simplified(node) is gn.softplus(x)
    total = gn.exp(-x) + gn.exp(x)
    assert simplified((gn.exp(x) - gn.exp(-x)) / total) is gn.tanh(x)
    assert simplified(gn.maximum(gn.maximum(x, y), x)) is gn.maximum(x, y)


# ------------------------------------------------------------------------------ the whole pass


def test_a_graph_without_work_is_the_same_object() -> None:
    x, w = vector(shape=(3, 4)), gn.parameter(np.ones((4, 2), "float32"))
    y = gn.softmax(gn.relu(x @ w + 0.5))
    unit = Unit(gn.Graph((x,), (gn.sum(y * y), y, gn.argmax(y))))
    assert simplify(unit, Driver()) is unit


def test_rules_follow_one_another() -> None:
    x = vector()
    assert simplified(-gn.log(1.0 / (1.0 + gn.exp(-x))) * 1.0) is -gn.log_sigmoid(x)
    assert simplified(gn.log(1.0 - 1.0 / (1.0 + gn.exp(-x)))) is gn.log_sigmoid(-x)
    powers = gn.exp(shifted(x))
    assert simplified(gn.log(powers / gn.sum(powers))) is gn.log_softmax(x)
    assert simplified(x - gn.log(gn.sum(gn.exp(x)))) is gn.log_softmax(x)
    top = gn.max(x)
    assert simplified(top + gn.log(gn.sum(gn.exp(x - top)))) is gn.logsumexp(x)


def test_constants_fold_before_rules_look_at_them() -> None:
    """0/0 is NaN and log(0**0) is 0, whatever rules say of c/c and x**0."""
    zero = gn.constant(0.0)
    for options in ({}, {"optimize": "O1"}, {"value_unsafe": True}):
        assert np.isnan(gn.evaluate(zero / zero, **options))
        assert gn.evaluate(gn.log(zero**zero), **options) == 0.0
        assert np.isnan(gn.evaluate(zero * np.nan, **options))


def test_nan_and_inf_survive_products_with_zero() -> None:
    x = vector()
    result = gn.evaluate(
        [x * 0.0, x - x, gn.where(gn.constant(False), x, x * 0)], {x: [np.nan, np.inf, 1, -1]}
    )
    for each in result:
        np.testing.assert_array_equal(each, [np.nan, np.nan, 0, 0])


def test_softmax_of_a_row_of_minus_infinity_stays_nan() -> None:
    x = vector()
    powers = gn.exp(x)
    for optimize in ("O0", "O2"):
        result = gn.evaluate(powers / gn.sum(powers), {x: [-np.inf] * 4}, optimize=optimize)
        assert np.isnan(result).all()


def test_levels() -> None:
    x = vector()
    assert simplified(x + 0.0, optimize="O1") is x + 0.0
    assert simplified(x + 0.0, optimize="O2") is x
    assert simplified(x * 1.0, optimize="O1") is x
    assert simplified(x * 0.0, optimize="O2") is x * 0.0
    assert simplified(x * 0.0, value_unsafe=True) is zeros(x)
    assert simplified((x + 0.0) * 0.0, optimize="O1", value_unsafe=True) is zeros(x)
    program = gn.compile(x, x * 1.0 + 0.0, optimize="O0")
    assert [each.kind for each in program.instructions] == ["kernel", "kernel"]


def test_fuel_bisects() -> None:
    x = vector()
    y = gn.log(1.0 + x) * 1.0 - 0.0
    expected = gn.evaluate(y, {x: [1.0, 2.0, 3.0, 4.0]}, optimize="O0")
    for fuel in range(5):
        program = gn.compile(x, y, fuel=fuel)
        fired = [each.rule for record in program.report.passes for each in record.rewrites]
        assert fired == ["log_of_one_plus", "times_one", "minus_zero"][:fuel]
        np.testing.assert_allclose(program([1.0, 2.0, 3.0, 4.0]), expected, rtol=1e-6)


def test_report_names_rule_nodes_and_the_users_line() -> None:
    x = vector()
    y = gn.log(gn.softmax(x))
    line = gn.provenance(y).sources[0]
    assert line.path == __file__
    (rewrite,) = [
        each
        for record in gn.compile(x, y).report.passes
        if record.name == "simplify"
        for each in record.rewrites
    ]
    assert str(rewrite) == f"log_of_softmax: log(softmax) -> log_softmax(x)  # {line}"


def test_provenance_survives() -> None:
    x = vector()
    with gn.name_scope("head"):
        y = gn.log(gn.softmax(x * 1.0)).named("scores")
    found = simplified(y)
    known = gn.provenance(found)
    assert found is gn.log_softmax(x)
    assert known.name == "scores"
    assert known.scope == "head"
    assert known.made_by == "simplify"
    assert gn.provenance(y).sources[0] in known.sources
    assert gn.provenance(x).made_by == "user"


def test_rules_that_undo_each_other_end() -> None:
    x = vector()
    swap = [
        Rule("one", Exactness.EXACT, (op("sin", Var("x")),), lambda x: gn.cos(x), False),
        Rule("two", Exactness.EXACT, (op("cos", Var("x")),), lambda x: gn.sin(x), False),
        Rule("grow", Exactness.EXACT, (op("tan", Var("x")),), lambda x: gn.tanh(gn.tan(x)), False),
    ]
    book = RuleBook(swap)

    def step(node: gn.Node) -> gn.Node | None:
        return next((each.apply(node, by="test") for each in book.candidates(node)), None)

    for node in (gn.sin(x), gn.tan(x)):
        assert node in rewrite(topological_order([node]), step, "test")


def test_deep_graphs_need_no_recursion() -> None:
    x = vector()
    node = x
    for _ in range(5000):
        node = gn.tanh(gn.log(gn.exp(node * 1.0)))
    order = topological_order([simplified(node)])
    assert len(order) == 5001
    assert {each.op.name for each in order} == {"input", "tanh"}
