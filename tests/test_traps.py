"""Corners where systems like this one are known to go wrong, each pinned to what is right.

The values are those that JAX and PyTorch share; every trap is run without rewriting, with exact
rules and with all of them, on both backends.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.node import Node

inf, nan = np.inf, np.nan

WAYS = [("reference", "O0"), ("numpy", "O0"), ("numpy", "O1"), ("numpy", "O2")]

every_way = pytest.mark.parametrize(("backend", "optimize"), WAYS, ids=map("-".join, WAYS))


def compute(nodes: Any, feeds: dict[Node, Any], backend: str, optimize: str) -> Any:
    program = gn.compile(list(feeds), nodes, backend=backend, optimize=optimize, verify=True)
    return program(*(np.asarray(value, node.dtype) for node, value in feeds.items()))


def expect(given: Any, wanted: Any) -> None:
    """The same values, with NaN for NaN and signs of zeros."""
    array = np.asarray(wanted, given.dtype)
    np.testing.assert_allclose(given, array, rtol=1e-6)
    zeros = array == 0.0
    np.testing.assert_array_equal(np.signbit(given[zeros]), np.signbit(array[zeros]))


def vector(size: int = 3) -> Node:
    return gn.input("x", shape=(size,))


# ------------------------------------------------------------------------- folding and rewriting


@every_way
def test_constant_over_itself_where_it_folds_to_zero(backend: str, optimize: str) -> None:
    c = gn.constant([2.0, 3.0]) - gn.constant([2.0, 3.0])
    expect(compute(c / c, {}, backend, optimize), [nan, nan])


@every_way
def test_quotient_of_equals_is_not_1_everywhere(backend: str, optimize: str) -> None:
    x = vector()
    expect(compute(x / x, {x: [0.0, inf, 2.0]}, backend, optimize), [nan, nan, 1.0])


@every_way
def test_difference_of_equals_is_not_0_everywhere(backend: str, optimize: str) -> None:
    x = vector()
    expect(compute(x - x, {x: [nan, inf, 2.0]}, backend, optimize), [nan, nan, 0.0])


@every_way
def test_zero_times_nan_is_nan(backend: str, optimize: str) -> None:
    x = vector(4)
    y = compute([x * 0.0, 0.0 * x], {x: [nan, inf, 2.0, -2.0]}, backend, optimize)
    for each in y:
        expect(each, [nan, nan, 0.0, -0.0])


@every_way
def test_zero_matrix_times_nan_is_nan(backend: str, optimize: str) -> None:
    x = vector(2)
    expect(compute(gn.zeros((2, 2)) @ x, {x: [nan, 1.0]}, backend, optimize), [nan, nan])


@every_way
def test_false_times_infinity_is_nan_but_where_is_not(backend: str, optimize: str) -> None:
    x = vector()
    mask = gn.input("mask", shape=(3,), dtype="bool")
    masked = [gn.cast(mask, "float32") * x, mask * x, gn.where(mask, x, 0.0)]
    feeds = {x: [inf, -inf, 2.0], mask: [False, False, True]}
    product, promoted, chosen = compute(masked, feeds, backend, optimize)
    expect(product, [nan, nan, 2.0])
    expect(promoted, [nan, nan, 2.0])
    expect(chosen, [0.0, 0.0, 2.0])


@every_way
def test_adding_zero_keeps_the_sign_of_zero_in_exact_rules(backend: str, optimize: str) -> None:
    x = vector(2)
    plus, minus = compute([x + 0.0, x - 0.0], {x: [-0.0, 0.0]}, backend, optimize)
    expect(minus, [-0.0, 0.0])
    if optimize != "O2":  # reassociating rules may change the sign of a zero
        expect(plus, [0.0, 0.0])


@every_way
def test_root_of_a_square_is_not_its_argument(backend: str, optimize: str) -> None:
    x = vector()
    expect(compute(gn.sqrt(x * x), {x: [-2.0, -0.0, 3.0]}, backend, optimize), [2.0, 0.0, 3.0])
    expect(compute((x**2.0) ** 0.5, {x: [-2.0, 0.0, 3.0]}, backend, optimize), [2.0, 0.0, 3.0])


# ------------------------------------------------------------------------------ powers and roots


@every_way
def test_log_of_zero_to_the_zero(backend: str, optimize: str) -> None:
    x, y = gn.input("x"), gn.input("y")
    expect(compute(gn.log(x**y), {x: 0.0, y: 0.0}, backend, optimize), 0.0)
    expect(compute(gn.log(x**0.0), {x: 0.0}, backend, optimize), 0.0)


@every_way
def test_powers_at_zero(backend: str, optimize: str) -> None:
    for exponent, value, slope, curvature in [
        (0.0, 1.0, 0.0, 0.0),
        (1.0, 0.0, 1.0, 0.0),
        (2.0, 0.0, 0.0, 2.0),
        (3.0, 0.0, 0.0, 0.0),
    ]:
        x = gn.input("x")
        y = x**exponent
        first = gn.grad(y, x, allow_unused=True)
        second = gn.grad(first, x, allow_unused=True)
        found = compute([y, first, second], {x: 0.0}, backend, optimize)
        assert [float(each) for each in found] == [value, slope, curvature], exponent


@every_way
def test_power_by_its_exponent_at_zero(backend: str, optimize: str) -> None:
    x, y = vector(3), gn.input("y", shape=(3,))
    by_x, by_y = gn.grad(gn.sum(x**y), [x, y])
    feeds = {x: [0.0, 0.0, 2.0], y: [0.0, 2.0, 0.0]}
    found_x, found_y = compute([by_x, by_y], feeds, backend, optimize)
    expect(found_x, [0.0, 0.0, 0.0])
    expect(found_y, [0.0, 0.0, np.log(2.0)])


@every_way
def test_gradient_of_a_square_root_at_zero(backend: str, optimize: str) -> None:
    x = vector(2)
    slope = gn.grad(gn.sum(gn.sqrt(x)), x)
    expect(compute(slope, {x: [0.0, 4.0]}, backend, optimize), [inf, 0.25])


@every_way
def test_gradient_of_a_masked_square_root(backend: str, optimize: str) -> None:
    """The branch not taken is infinite; its gradient is 0 and not 0 * inf."""
    x = vector(2)
    slope = gn.grad(gn.sum(gn.where(x > 0.0, gn.sqrt(x), 0.0)), x)
    found = compute(slope, {x: [0.0, 4.0]}, backend, optimize)
    assert found[1] == 0.25
    assert np.isnan(found[0])  # sqrt's own rule sees 0 * inf, as in JAX and PyTorch
    safe = gn.where(x > 0.0, x, 1.0)
    slope = gn.grad(gn.sum(gn.where(x > 0.0, gn.sqrt(safe), 0.0)), x)
    expect(compute(slope, {x: [0.0, 4.0]}, backend, optimize), [0.0, 0.25])


@every_way
@pytest.mark.parametrize(
    "length",
    [gn.norm, gn.std, lambda x: gn.norm(x, 3), lambda x: gn.norm(x, 1)],
    ids=["2", "std", "3", "1"],
)
def test_gradient_of_a_norm_at_zero(
    length: Callable[[Node], Node], backend: str, optimize: str
) -> None:
    x = vector()
    slope = gn.grad(length(x), x)
    along = gn.jvp(slope, x, np.ones(3, np.float32))
    first, second = compute([slope, along], {x: [0.0, 0.0, 0.0]}, backend, optimize)
    np.testing.assert_array_equal(first, [0.0, 0.0, 0.0])
    assert np.isfinite(second).all()


# --------------------------------------------------------------------------------- the softmax


@every_way
def test_log_sum_exp_of_large_numbers(backend: str, optimize: str) -> None:
    x = vector()
    feeds = {x: [1e4, 1e4, -1e4]}
    expect(compute(gn.logsumexp(x), feeds, backend, optimize), 1e4 + np.log(2.0))
    expect(compute(gn.grad(gn.logsumexp(x), x), feeds, backend, optimize), [0.5, 0.5, 0.0])


def test_log_sum_exp_by_hand_is_made_stable() -> None:
    x = vector()
    by_hand = gn.log(gn.sum(gn.exp(x)))
    feeds = {x: [1e4, 1e4, -1e4]}
    assert compute(by_hand, feeds, "numpy", "O0") == inf
    expect(compute(by_hand, feeds, "numpy", "O1"), 1e4 + np.log(2.0))


@every_way
def test_log_sum_exp_of_infinities(backend: str, optimize: str) -> None:
    x = vector(2)
    for values, wanted in [
        ((-inf, -inf), -inf),
        ((-inf, 1.0), 1.0),
        ((inf, 1.0), inf),
        ((inf, -inf), inf),
        ((nan, inf), nan),
    ]:
        expect(compute(gn.logsumexp(x), {x: values}, backend, optimize), wanted)


@every_way
def test_softmax_of_a_row_of_minus_infinity(backend: str, optimize: str) -> None:
    x = gn.input("x", shape=(3, 2))
    feeds = {x: [[-inf, -inf], [-inf, 0.0], [1e30, -1e30]]}
    values, logs = compute([gn.softmax(x), gn.log_softmax(x)], feeds, backend, optimize)
    expect(values, [[nan, nan], [0.0, 1.0], [1.0, 0.0]])
    expect(logs, [[nan, nan], [-inf, 0.0], [0.0, -2e30]])


@every_way
def test_infinite_logit_spoils_itself_alone(backend: str, optimize: str) -> None:
    """What ``exp(x) / sum(exp(x))`` gives, so that rewriting that to a softmax is exact."""
    x = vector(2)
    by_hand = gn.exp(x) / gn.sum(gn.exp(x))
    for each in compute([gn.softmax(x), by_hand], {x: [inf, 0.5]}, backend, optimize):
        expect(each, [nan, 0.0])


@every_way
def test_log_of_softmax_that_underflows(backend: str, optimize: str) -> None:
    x = vector(2)
    logs = compute(gn.log(gn.softmax(x)), {x: [0.0, -200.0]}, backend, optimize)
    expect(logs, [0.0, -inf if optimize == "O0" else -200.0])


# ---------------------------------------------------------------------- products, extremes, ties


@every_way
def test_gradient_of_a_product_with_zeros(backend: str, optimize: str) -> None:
    for values, wanted in [
        ((2.0, 0.0, 3.0), [0.0, 6.0, 0.0]),
        ((0.0, 0.0, 3.0), [0.0, 0.0, 0.0]),
        ((2.0, 4.0, 3.0), [12.0, 6.0, 8.0]),
    ]:
        x = vector()
        slope = gn.grad(gn.prod(x), x)
        np.testing.assert_allclose(compute(slope, {x: values}, backend, optimize), wanted)
    x = vector()
    curvature = compute(gn.hessian(gn.prod(x), x), {x: [0.0, 0.0, 3.0]}, backend, optimize)
    np.testing.assert_allclose(curvature, [[0.0, 3.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 0.0]])


@every_way
def test_gradient_of_a_running_product_with_zeros(backend: str, optimize: str) -> None:
    x = vector()
    slope = gn.grad(gn.sum(gn.cumprod(x)), x)
    expect(compute(slope, {x: [2.0, 0.0, 3.0]}, backend, optimize), [1.0, 8.0, 0.0])


@every_way
def test_ties_share_the_gradient(backend: str, optimize: str) -> None:
    x, y = vector(), gn.input("y", shape=(3,))
    slopes = gn.grad(gn.sum(gn.maximum(x, y)), [x, y])
    feeds = {x: [1.0, 2.0, 3.0], y: [1.0, 3.0, 2.0]}
    by_x, by_y = compute(slopes, feeds, backend, optimize)
    expect(by_x, [0.5, 0.0, 1.0])
    expect(by_y, [0.5, 1.0, 0.0])
    slope = gn.grad(gn.max(x), x)
    expect(compute(slope, {x: [5.0, 5.0, 1.0]}, backend, optimize), [0.5, 0.5, 0.0])


@every_way
def test_nan_wins_every_comparison_of_size(backend: str, optimize: str) -> None:
    x = vector()
    nodes = [gn.max(x), gn.min(x), gn.sum(gn.maximum(x, 0.0)), gn.sum(gn.relu(x)), gn.argmax(x)]
    found = compute(nodes, {x: [1.0, nan, -inf]}, backend, optimize)
    assert [bool(np.isnan(each)) for each in found[:-1]] == [True] * 4
    assert found[-1] == 1


@every_way
def test_saturated_activations_have_finite_gradients(backend: str, optimize: str) -> None:
    x = vector(4)
    for function in (
        gn.sigmoid,
        gn.tanh,
        gn.softplus,
        gn.log_sigmoid,
        gn.silu,
        gn.gelu,
        gn.mish,
        gn.elu,
        gn.selu,
    ):
        y = gn.sum(function(x))
        slope = gn.grad(y, x)
        curvature = gn.grad(gn.sum(slope), x)
        found = compute([slope, curvature], {x: [-1e4, -88.8, 88.8, 1e4]}, backend, optimize)
        for each in found:
            assert np.isfinite(each).all(), function


@every_way
def test_empty_reductions(backend: str, optimize: str) -> None:
    x = gn.input("x", shape=(0, 2))
    nodes = [gn.sum(x, 0), gn.prod(x, 0), gn.mean(x, 0), gn.logsumexp(x, 0), gn.norm(x, axis=0)]
    found = compute(nodes, {x: np.zeros((0, 2))}, backend, optimize)
    for each, wanted in zip(found, (0.0, 1.0, nan, -inf, 0.0), strict=True):
        expect(each, [wanted, wanted])


@every_way
def test_integers_out_of_range_raise(backend: str, optimize: str) -> None:
    x, index = vector(), gn.input("index", shape=(2,), dtype="int64")
    with pytest.raises(gn.FeedError, match="index 3 is out of range for 3 elements"):
        compute(x[index], {x: [1.0, 2.0, 3.0], index: [0, 3]}, backend, optimize)
