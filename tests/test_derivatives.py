"""grad, vjp, jvp, jacobian, hessian and their like; custom rules; what they refuse."""

import numpy as np
import pytest

import graphnn as gn


@pytest.fixture
def x():
    return gn.input("x", shape=(3,), dtype="float64")


POINT = np.array([0.3, -0.7, 1.1])


def value(node, x, at=POINT):
    return gn.evaluate(node, {x: at})


def test_structure_follows_wrt(x):
    y = gn.input("y", shape=(), dtype="float64")
    loss = gn.sum(gn.sin(x)) * y
    (single,) = gn.grad(loss, [x])
    assert single is gn.grad(loss, x)
    nested = gn.grad(loss, {"a": x, "b": (y, [x])})
    assert nested["a"] is single is nested["b"][1][0]
    assert gn.value_and_grad(loss, x) == (loss, single)


def test_derivatives_of_intermediate_nodes(x):
    y = gn.sin(x)
    loss = gn.sum(y**2) + gn.sum(x)
    by_y, by_x = gn.grad(loss, [y, x])
    np.testing.assert_allclose(value(by_y, x), 2 * np.sin(POINT))
    np.testing.assert_allclose(value(by_x, x), 2 * np.sin(POINT) * np.cos(POINT) + 1)


@pytest.mark.parametrize("derivative", [gn.jacfwd, gn.jacrev, gn.jacobian])
@pytest.mark.parametrize("rows", [2, 5])
def test_jacobian(x, derivative, rows):
    matrix = np.random.default_rng(0).normal(size=(rows, 3))
    jacobian = derivative(gn.tanh(gn.constant(matrix) @ x), x)
    assert jacobian.shape == (rows, 3)
    slope = 1 - np.tanh(matrix @ POINT) ** 2
    np.testing.assert_allclose(value(jacobian, x), slope[:, None] * matrix)


def test_jacobian_picks_the_cheaper_mode():
    def flops(rows, columns, derivative):
        x = gn.input("x", shape=(columns,))
        weights = [gn.constant(np.ones(shape, "float32")) for shape in ((9, columns), (rows, 9))]
        y = gn.tanh(weights[1] @ gn.tanh(weights[0] @ x))
        order = gn.Graph((x,), (derivative(y, x),)).nodes
        return sum(node.op.flops(node) for node in order)

    assert flops(8, 2, gn.jacobian) == flops(8, 2, gn.jacfwd) < flops(8, 2, gn.jacrev)
    assert flops(2, 8, gn.jacobian) == flops(2, 8, gn.jacrev) < flops(2, 8, gn.jacfwd)


@pytest.mark.parametrize("derivative", [gn.jacfwd, gn.jacrev])
def test_size_of_a_jacobian_graph_does_not_grow_with_the_arrays(derivative):
    def size(n):
        x = gn.input("x", shape=(n,))
        return len(gn.Graph((x,), (derivative(gn.tanh(x) * gn.sum(x), x),)).nodes)

    assert size(3) == size(300)


@pytest.mark.parametrize("derivative", [gn.jacfwd, gn.jacrev, gn.jacobian])
def test_jacobian_with_named_dimensions(derivative):
    x = gn.input("x", shape=("n",))
    found = gn.evaluate(derivative(x**2 * x[0], x), {x: [2.0, 3.0]})
    np.testing.assert_allclose(found, [[12.0, 0.0], [9.0, 12.0]])


def test_jacobian_of_scalars_matrices_and_nothing():
    x = gn.input("x", shape=(2, 3))
    assert gn.jacobian(gn.sum(x), x).shape == (2, 3)
    assert gn.jacobian(x, x).shape == (2, 3, 2, 3)
    empty = gn.input("e", shape=(0,))
    assert gn.jacobian(gn.exp(empty), empty).shape == (0, 0)


def test_hessian_and_products(x):
    loss = gn.sum(gn.sin(x) * x[::-1] ** 2)
    direction = np.array([1.0, -2.0, 0.5])
    hessian = value(gn.hessian(loss, x), x)
    np.testing.assert_allclose(hessian, hessian.T)
    np.testing.assert_allclose(value(gn.hvp(loss, x, direction), x), hessian @ direction)
    h = 1e-6
    gradient = gn.grad(loss, x)
    numeric = (
        value(gradient, x, POINT + h * direction) - value(gradient, x, POINT - h * direction)
    ) / (2 * h)
    np.testing.assert_allclose(hessian @ direction, numeric, rtol=1e-7)


def test_gauss_newton_product(x):
    matrix = np.random.default_rng(1).normal(size=(4, 3))
    outputs = gn.tanh(gn.constant(matrix) @ x)
    loss = gn.sum(gn.exp(outputs))
    direction = np.array([1.0, -2.0, 0.5])
    product = gn.gauss_newton_product(loss, outputs, x, direction)
    out = np.tanh(matrix @ POINT)
    jacobian = (1 - out**2)[:, None] * matrix
    expected = jacobian.T @ (np.exp(out) * (jacobian @ direction))
    np.testing.assert_allclose(value(product, x), expected)


@pytest.mark.parametrize("order", range(1, 7))
def test_any_order_in_mixed_modes(order):
    x = gn.input("x", shape=(), dtype="float64")
    y = gn.exp(x * 2.0) * 1.0
    for i in range(order):
        y = gn.grad(y, x) if i % 2 else gn.jvp(y, x, 1.0)
    assert np.isclose(value(y, x, 0.3), 2.0**order * np.exp(0.6))


def test_vjp_and_jvp_of_several_results(x):
    outputs = {"a": gn.sin(x), "b": gn.sum(x)}
    pulled = gn.vjp(outputs, x, {"a": np.ones(3), "b": 2.0})
    np.testing.assert_allclose(value(pulled, x), np.cos(POINT) + 2)
    pushed = gn.jvp(outputs, x, np.ones(3))
    np.testing.assert_allclose(value(pushed, x)["a"], np.cos(POINT))
    assert value(pushed, x)["b"] == 3.0


def test_refusals(x):
    n = gn.input("n", shape=(3,), dtype="int64")
    other = gn.input("other", shape=(2,), dtype="float64")
    with pytest.raises(gn.ShapeError, match=r"gradient of a scalar.*\(3,\)"):
        gn.grad(gn.sin(x), x)
    with pytest.raises(gn.DTypeError, match="derivatives are of floats"):
        gn.grad(gn.sum(n), n)
    with pytest.raises(gn.DTypeError, match="derivatives are of floats"):
        gn.grad(gn.sum(x), [x, n])
    with pytest.raises(gn.GradientError, match=r"does not depend on other \(built at test_deriv"):
        gn.grad(gn.sum(x), [x, other])
    zeros = gn.grad(gn.sum(x), [x, other], allow_unused=True)[1]
    assert value(zeros, x).tolist() == [0.0, 0.0]
    with pytest.raises(gn.ShapeError, match=r"cotangent of sin must be f64\[3\]"):
        gn.vjp(gn.sin(x), x, np.ones(2))
    with pytest.raises(gn.ShapeError, match=r"tangent of x must be f64\[3\], not f64\[2\]"):
        gn.jvp(gn.sin(x), x, [1.0, 2.0])
    with pytest.raises(gn.GradientError, match="expected a node, not float"):
        gn.vjp(1.0, x, 1.0)


def test_directions_lie_where_their_nodes_lie():
    a, b = gn.input("a", (2,)), gn.input("b", (2,))
    feeds, ones, tens = {a: [1.0, 1.0], b: [1.0, 1.0]}, np.ones(2), np.full(2, 10.0)
    # Another order of the keys means the same.
    along = gn.jvp(a + 2.0 * b, {"a": a, "b": b}, {"b": tens, "a": ones})
    np.testing.assert_array_equal(gn.evaluate(along, feeds), [21.0, 21.0])
    back = gn.vjp({"a": a * 1.0, "b": b * 2.0}, {"b": b, "a": a}, {"b": tens, "a": ones})
    np.testing.assert_array_equal(gn.evaluate(back["a"], feeds), [1.0, 1.0])
    np.testing.assert_array_equal(gn.evaluate(back["b"], feeds), [20.0, 20.0])
    curved = gn.hvp(gn.sum(a**2 + b**3), {"a": a, "b": b}, {"b": tens, "a": ones})
    np.testing.assert_array_equal(gn.evaluate(curved["b"], feeds), [60.0, 60.0])
    with pytest.raises(gn.ShapeError, match=r"2 cotangents are needed.* in place of a list of 2"):
        gn.vjp([a, b], a, a)
    with pytest.raises(gn.ShapeError, match=r"tangents are needed.* in place of a dict of 'a'"):
        gn.jvp(a, {"a": a}, {"b": b})
    with pytest.raises(
        gn.ShapeError, match=r"tangent of a is a list of nodes[\s\S]*\[x\] and \[v\]"
    ):
        gn.jvp(a, a, [b])
    with pytest.raises(gn.GradientError, match=r"not function[\s\S]*call the function: gn\.jvp"):
        gn.jvp(lambda x: x, a, b)


def test_stop_gradient_and_straight_through(x):
    loss = gn.sum(gn.stop_gradient(gn.sin(x)) * x)
    np.testing.assert_allclose(value(gn.grad(loss, x), x), np.sin(POINT))
    hard = gn.straight_through(gn.sign(x), gn.tanh(x))
    np.testing.assert_array_equal(value(hard, x), np.sign(POINT))
    np.testing.assert_allclose(value(gn.grad(gn.sum(hard), x), x), 1 - np.tanh(POINT) ** 2)
    np.testing.assert_allclose(value(gn.jvp(hard, x, np.ones(3)), x), 1 - np.tanh(POINT) ** 2)


def test_custom_vjp_works_in_both_modes(x):
    @gn.custom_vjp
    def scaled(x, y):
        return gn.sin(x) * y

    @scaled.defvjp
    def _(arguments, result, cotangent):
        _, y = arguments
        return cotangent * 10.0 * y, cotangent * result

    y = x * 2.0
    out = scaled(x, y)
    np.testing.assert_allclose(value(out, x), np.sin(POINT) * 2 * POINT)
    expected = 10 * 2 * POINT + np.sin(POINT) * 2 * POINT * 2
    np.testing.assert_allclose(value(gn.grad(gn.sum(out), x), x), expected)
    np.testing.assert_allclose(value(gn.jvp(out, x, np.ones(3)), x), expected)


def test_custom_jvp_works_in_both_modes(x):
    @gn.custom_jvp
    def double_slope(x):
        return gn.sin(x), gn.cos(x)

    @double_slope.defjvp
    def _(arguments, result, tangents):
        _, cosine = result
        return tangents[0] * cosine * 2.0, None

    sine, cosine = double_slope(x)
    loss = gn.sum(sine) + gn.sum(cosine)
    np.testing.assert_allclose(value(gn.grad(loss, x), x), 2 * np.cos(POINT))
    np.testing.assert_allclose(value(gn.jvp(sine, x, np.ones(3)), x), 2 * np.cos(POINT))
    np.testing.assert_allclose(value(cosine, x), np.cos(POINT))


def test_custom_rules_that_are_wrong(x):
    @gn.custom_vjp
    def no_rule(x):
        return x * 2.0

    with pytest.raises(gn.ShapeError, match=r"no derivative rule yet[\s\S]*@no_rule.defvjp"):
        gn.grad(gn.sum(no_rule(x)), x)

    @no_rule.defvjp
    def _(arguments, result, cotangent):
        return cotangent, cotangent

    with pytest.raises(gn.ShapeError, match="gives 2 cotangents for 1 arguments"):
        gn.grad(gn.sum(no_rule(x)), x)

    @gn.custom_jvp
    def quadratic(x):
        return x * 2.0

    @quadratic.defjvp
    def _(arguments, result, tangents):
        return tangents[0] * tangents[0]

    with pytest.raises(gn.UnsupportedOpError, match="not linear in its direction"):
        gn.grad(gn.sum(quadratic(x)), x)


def test_check_grads_finds_a_wrong_rule(x):
    gn.check_grads(gn.sin(x) * gn.exp(x), {x: POINT}, order=3)

    @gn.custom_vjp
    def wrong(x):
        return gn.sin(x)

    @wrong.defvjp
    def _(arguments, result, cotangent):
        return cotangent * gn.cos(arguments[0]) * 1.001

    for mode in ("forward", "reverse"):
        with pytest.raises(gn.GradientError, match=f"{mode} derivative differs"):
            gn.check_grads(wrong(x), {x: POINT}, modes=[mode])
    single = gn.input("s", shape=(3,))
    gn.check_grads(gn.tanh(single), {single: POINT}, order=1)
    with pytest.raises(gn.GradientError, match="no mode"):
        gn.check_grads(gn.sin(x), {x: POINT}, modes=["sideways"])


def test_weights_used_many_times_get_the_sum():
    w = gn.parameter(np.full((2, 2), 0.3), name="w", dtype="float64")
    h = gn.constant(np.ones(2), "float64")
    for step in range(4):
        with gn.time_step(step):
            h = gn.tanh(h @ w)
    gn_value = gn.evaluate(gn.grad(gn.sum(h), w))
    eps, base = 1e-6, w.value
    numeric = np.zeros((2, 2))
    run = gn.compile([], gn.sum(h))
    for index in np.ndindex(2, 2):
        shift = np.zeros((2, 2))
        shift[index] = eps
        w.value = base + shift
        above = run()
        w.value = base - shift
        numeric[index] = (above - run()) / (2 * eps)
    np.testing.assert_allclose(gn_value, numeric, rtol=1e-8)


def test_integers_on_the_way_carry_no_derivative(x):
    loss = gn.sum(gn.cast(gn.floor(x * 10.0), "int64") * 2) + gn.sum(x)
    np.testing.assert_allclose(value(gn.grad(gn.cast(loss, "float64"), x), x), np.ones(3))


def test_flat_operators_have_derivative_zero(x):
    for flat in (gn.floor, gn.sign, gn.stop_gradient, lambda x: gn.cast(gn.argmax(x), "float64")):
        assert value(gn.grad(gn.sum(flat(x)), x), x).tolist() == [0.0, 0.0, 0.0]


def test_what_a_custom_rule_gives_is_checked(x):
    @gn.custom_vjp
    def doubled(x, factor):
        return x * factor

    for rule, words in (
        (lambda ct: gn.sum(ct), r"gives f64\[\] as the cotangent of argument 0, which is f64\[3\]"),
        (lambda ct: gn.cast(ct, "float32"), r"gives f32\[3\] as the cotangent"),
        (lambda ct: 1.0, "gives float as the cotangent"),
    ):
        doubled.defvjp(lambda arguments, result, ct, rule=rule: (rule(ct), None))
        with pytest.raises(gn.ShapeError, match=words):
            gn.grad(gn.sum(doubled(x, 2.0)), x)

    @gn.custom_jvp
    def tripled(x):
        return x * 3.0

    tripled.defjvp(lambda arguments, result, tangents: gn.sum(tangents[0]))
    with pytest.raises(gn.ShapeError, match=r"gives f64\[\] as the tangent of result 0"):
        gn.jvp(tripled(x), x, np.ones(3))


def test_power_with_a_known_exponent_has_a_short_gradient(x):
    gradient = gn.grad(gn.sum(x**2), x)
    used = {node.op.name for node in gn.Graph((x,), (gradient,)).nodes}
    assert not used & {"power", "where", "log", "equal"}
    for exponent in (0, 1, 2, 3, -1, 0.5):
        derivative = gn.jacobian(x**exponent, x)
        base = np.array([0.5, 1.5, 2.0])
        expected = np.diag(exponent * base ** (exponent - 1.0))
        np.testing.assert_allclose(value(derivative, x, base), expected)


def test_structures_are_refused_where_one_node_is_meant(x):
    with pytest.raises(gn.GradientError, match="jacobian: expected a node, not list"):
        gn.jacobian(gn.sin(x), [x])
    with pytest.raises(gn.GradientError, match="grad: expected a node, not float"):
        gn.grad(1.0, x)


@pytest.mark.parametrize("wrap", [gn.custom_jvp, gn.custom_vjp])
def test_custom_rules_take_keywords_and_arrays(wrap):
    @wrap
    def scaled(x, by=2.0, *, only=None):
        return x * by

    x = gn.input("x", (2,), "float64")
    assert scaled(by=3.0, x=x) is not scaled(x)
    feeds = {x: np.ones(2)}
    np.testing.assert_array_equal(gn.evaluate(scaled(x=x, by=3.0), feeds), [3.0, 3.0])
    np.testing.assert_array_equal(gn.evaluate(scaled(np.ones(2), 3.0)), [3.0, 3.0])
    with pytest.raises(TypeError, match="scaled: its rule gets arguments by position, so only"):
        scaled(x, only=1.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'to'"):
        scaled(x, to=1.0)
