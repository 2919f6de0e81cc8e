"""Orders, positions and counts beside NumPy's and PyTorch's, where ties and NaN decide."""

import ml_dtypes
import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import FeedError, ShapeError
from graphnn.ops.order_statistics import METHODS

torch = pytest.importorskip("torch", reason="PyTorch is the second opinion of these tests")

AWKWARD = (0.0, -0.0, 1.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan)
"""Values that tie, or that order must know."""

BACKENDS = ("reference", "numpy")


def awkward(rng, shape, dtype="float64", values=AWKWARD):
    return rng.choice(values, shape).astype(dtype)


def random_shape(rng, most_axes=3):
    return tuple(int(size) for size in rng.integers(0, 6, rng.integers(1, most_axes + 1)))


def vectors(**sizes):
    return [gn.input(name, (size,), "float64") for name, size in sizes.items()]


def run(outputs, feeds, backend="numpy"):
    return gn.compile(tuple(feeds), outputs, backend=backend, verify=True)(*feeds.values())


def same_bits(actual, expected):
    """Equal, also in the signs of zeros; all NaN are alike."""
    np.testing.assert_array_equal(actual, expected, strict=True)
    is_number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual)[is_number], np.signbit(expected)[is_number])


def gradients(node, inputs, arrays, weights):
    """The vector-Jacobian product by every input."""
    return run(gn.vjp(node, inputs, weights), dict(zip(inputs, arrays, strict=True)))


# ------------------------------------------------------------------------------------- sorting


@pytest.mark.parametrize("seed", range(60))
def test_order_is_that_of_torch_with_ties_nan_and_signed_zeros(seed):
    rng = np.random.default_rng(seed)
    shape = random_shape(rng)
    axis = int(rng.integers(-len(shape), len(shape)))
    descending = bool(rng.integers(0, 2))
    value = awkward(rng, shape)
    x = gn.input("x", shape, "float64")
    given, order = run([gn.sort(x, axis, descending), gn.argsort(x, axis, descending)], {x: value})
    expected = torch.sort(torch.tensor(value), dim=axis, descending=descending, stable=True)
    np.testing.assert_array_equal(order, expected.indices.numpy(), strict=True)
    same_bits(given, expected.values.numpy())


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "float16", "bfloat16"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_dtype_is_sorted_as_its_numbers_are(dtype, descending, backend):
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    rng = np.random.default_rng(0)
    if kind.kind == "b":
        value = rng.random((4, 30)) < 0.5
    elif kind.kind in "iu":
        info = np.iinfo(kind)
        value = rng.integers(info.min, info.max, (4, 30), kind, endpoint=True)
        value[:, :2] = info.min, info.max
    else:
        value = awkward(rng, (4, 30), kind, (*AWKWARD, 1.0078125, 0.99609375))
    x = gn.input("x", value.shape, dtype)
    given, order = run(
        [gn.sort(x, descending=descending), gn.argsort(x, descending=descending)],
        {x: value},
        backend,
    )
    wide = value.astype(np.int64 if kind.kind in "biu" else np.float64)
    expected = torch.sort(torch.tensor(wide), dim=-1, descending=descending, stable=True)
    np.testing.assert_array_equal(order, expected.indices.numpy(), strict=True)
    assert given.dtype == kind
    np.testing.assert_array_equal(given.astype(wide.dtype), expected.values.numpy())


def test_an_unstable_order_is_an_order():
    value = np.random.default_rng(0).integers(0, 5, 1000).astype(np.float64)
    x = gn.input("x", value.shape, "float64")
    for descending in (False, True):
        given, order = run(
            [gn.sort(x, 0, descending, stable=False), gn.argsort(x, 0, descending, stable=False)],
            {x: value},
        )
        expected = np.sort(value)[::-1] if descending else np.sort(value)
        np.testing.assert_array_equal(given, expected)
        np.testing.assert_array_equal(value[order], expected)
        np.testing.assert_array_equal(np.sort(order), np.arange(1000))


@pytest.mark.parametrize("descending", [False, True])
def test_derivative_at_ties_follows_the_stable_order_as_in_torch(descending):
    value = np.array([[1.0, 0.0, 1.0, 0.0], [2.0, 2.0, 2.0, -1.0]])
    weights = np.arange(1.0, 9.0).reshape(2, 4)
    for axis in (0, 1):
        x = gn.input("x", value.shape, "float64")
        (slope,) = gradients(gn.sort(x, axis, descending), [x], [value], weights)
        tensor = torch.tensor(value, requires_grad=True)
        torch.sort(tensor, dim=axis, descending=descending, stable=True).values.backward(
            torch.tensor(weights)
        )
        np.testing.assert_array_equal(slope, tensor.grad.numpy())


def test_values_order_and_derivatives_share_one_order():
    x = gn.input("x", ("n", 7), "float64")
    ordered = gn.sort(x)
    slope = gn.grad(gn.sum(gn.exp(ordered) * gn.cast(gn.argsort(x), "float64")), x)
    program = gn.compile(x, [ordered, gn.argsort(x), slope])
    program(np.random.default_rng(0).random((3, 7)))
    assert [each.op.name for each in program.instructions].count("argsort") == 1


def test_second_derivative_of_a_function_of_order():
    # The sum of i * x_(i)**2 has the Hessian 2 i, for every element by its rank.
    value = np.array([0.3, -1.0, 2.0, 0.7])
    x = gn.input("x", (4,), "float64")
    f = gn.sum(np.arange(4.0) * gn.square(gn.sort(x)))
    (found,) = run([gn.hessian(f, x)], {x: value})
    np.testing.assert_array_equal(found, np.diag(2.0 * np.argsort(np.argsort(value))))


# --------------------------------------------------------------------------------------- top_k


@pytest.mark.parametrize("seed", range(60))
def test_top_k_is_the_beginning_of_the_stable_order(seed):
    rng = np.random.default_rng(seed)
    shape = random_shape(rng)
    axis = int(rng.integers(-len(shape), len(shape)))
    k, largest = int(rng.integers(0, shape[axis] + 1)), bool(rng.integers(0, 2))
    value = awkward(rng, shape, ("float64", "float32", "float16")[seed % 3])
    x = gn.input("x", shape, value.dtype)
    given, indices = run(gn.top_k(x, k, axis, largest), {x: value})
    wide = torch.tensor(value.astype(np.float64))
    order = torch.sort(wide, dim=axis, descending=largest, stable=True).indices.numpy()
    order = np.moveaxis(np.moveaxis(order, axis, 0)[:k], 0, axis)
    np.testing.assert_array_equal(indices, order, strict=True)
    same_bits(given, np.take_along_axis(value, order, axis))
    best = torch.topk(wide, k, dim=axis, largest=largest).values.numpy()
    np.testing.assert_array_equal(given.astype(np.float64), best)


def test_top_k_of_many_elements():
    value = np.random.default_rng(0).integers(0, 300, (3, 5000)).astype(np.float32)
    x = gn.input("x", value.shape)
    for largest in (True, False):
        _, indices = run(gn.top_k(x, 50, largest=largest), {x: value})
        sign = -1 if largest else 1
        expected = np.argsort(sign * value, axis=-1, kind="stable")[:, :50]
        np.testing.assert_array_equal(indices, expected)


def test_top_k_of_a_named_size_needs_that_many():
    x = gn.input("x", ("n",))
    values, _ = gn.top_k(x, 3)
    assert values.shape == (3,)
    f = gn.compile(x, values)
    np.testing.assert_array_equal(f([1.0, 5.0, 2.0, 4.0]), [5.0, 4.0, 2.0])
    with pytest.raises(ShapeError, match="the 3 largest of 2 elements"):
        f([1.0, 2.0])


def test_gradient_of_top_k_is_that_of_torch():
    rng = np.random.default_rng(0)
    value, weights = rng.standard_normal((3, 6, 2)), rng.standard_normal((3, 4, 2))
    x = gn.input("x", value.shape, "float64")
    (slope,) = gradients(gn.top_k(x, 4, 1)[0], [x], [value], weights)
    tensor = torch.tensor(value, requires_grad=True)
    torch.topk(tensor, 4, dim=1).values.backward(torch.tensor(weights))
    np.testing.assert_array_equal(slope, tensor.grad.numpy())


# -------------------------------------------------------------------------------------- unique


@pytest.mark.parametrize("seed", range(40))
def test_unique_is_numpys_cut_or_filled(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(1, 5, rng.integers(0, 3)))
    dtype = ("float64", "int64", "float16", "bool")[seed % 4]
    values = AWKWARD if dtype.startswith("float") else (-1, 0, 1, 2, 5)
    value = awkward(rng, shape, dtype, values)
    size = int(rng.integers(0, 8))
    x = gn.input("x", shape, dtype)
    options = {"return_index": True, "return_inverse": True, "return_counts": True}
    given, index, inverse, counts = run(gn.unique(x, size, 1, **options), {x: value})
    expected = np.unique(value, return_inverse=True, return_counts=True)
    found = min(size, len(expected[0]))
    np.testing.assert_array_equal(given[:found], expected[0][:size], strict=True)
    assert np.all(given[found:] == 1)
    np.testing.assert_array_equal(inverse, expected[1].reshape(shape))
    np.testing.assert_array_equal(counts, [*expected[2][:found], *[0] * (size - found)])
    flat = value.ravel()
    for place in range(found):
        is_it = (flat == given[place]) | (np.isnan(flat) & np.isnan(given[place]))
        assert index[place] == np.argmax(is_it), "not the first occurrence"
    assert np.all(index[found:] == index[:1].sum())


def test_unique_fills_with_the_smallest_and_repeats_its_derivative():
    x = gn.input("x", ("n",), "float64")
    values = gn.unique(x, 4)
    weights = np.array([1.0, 10.0, 100.0, 1000.0])
    result, (slope,) = run([values, gn.vjp(values, [x], weights)], {x: [3.0, 2.0, 3.0]})
    np.testing.assert_array_equal(result, [2.0, 3.0, 2.0, 2.0])
    np.testing.assert_array_equal(slope, [10.0, 1101.0, 0.0])


# ---------------------------------------------------------------------------------- searching


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted_is_torchs_in_one_row_and_in_many(seed, side):
    rng = np.random.default_rng(seed)
    leading = random_shape(rng, 2) if seed % 3 else ()
    numbers = (*AWKWARD[:-1], 2.0, -3.0)
    rows = np.sort(awkward(rng, (*leading, int(rng.integers(0, 9))), values=numbers), axis=-1)
    values = awkward(rng, (*leading, int(rng.integers(0, 5))), values=numbers)
    inputs = gn.input("rows", rows.shape, "float64"), gn.input("v", values.shape, "float64")
    found = run(gn.searchsorted(*inputs, side), dict(zip(inputs, (rows, values), strict=True)))
    expected = torch.searchsorted(torch.tensor(rows), torch.tensor(values), side=side).numpy()
    np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("side", ["left", "right"])
def test_many_rows_are_searched_as_numpy_searches_one_with_nan_last(side):
    rng = np.random.default_rng(0)
    for size in range(1, 18):
        rows = np.sort(awkward(rng, (3, size)), axis=-1)
        values = np.tile(np.array(AWKWARD), (3, 1))
        inputs = gn.input("rows", rows.shape, "float64"), gn.input("v", values.shape, "float64")
        found = run(gn.searchsorted(*inputs, side), dict(zip(inputs, (rows, values), strict=True)))
        expected = [np.searchsorted(*each, side) for each in zip(rows, values, strict=True)]
        np.testing.assert_array_equal(found, expected)


def test_integers_are_searched_exactly():
    big = 2**62
    found = gn.evaluate(gn.searchsorted(np.array([[big, big + 1, big + 3]]), [[big + 1, big + 2]]))
    np.testing.assert_array_equal(found, [[1, 2]])


@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 2), (0,), (2, 0)])
def test_nonzero_finds_what_numpy_finds(shape):
    value = np.random.default_rng(len(shape)).integers(-1, 2, shape)
    x = gn.input("x", ("n", *shape[1:]), "int64")
    found = run(gn.nonzero(x, 9, fill_value=-7), {x: value})
    for given, expected in zip(found, np.nonzero(value), strict=True):
        np.testing.assert_array_equal(given, [*expected, *[-7] * 9][:9])


# ------------------------------------------------------------------------------------- counts


@pytest.mark.parametrize("seed", range(20))
def test_bincount_is_torchs_and_its_derivative_picks_the_weights_cotangents(seed):
    rng = np.random.default_rng(seed)
    codes, weights = rng.integers(0, 5, 12), rng.standard_normal(12)
    x, w = gn.input("x", ("n",), "int64"), gn.input("w", ("n",), "float64")
    u = rng.standard_normal(7)
    summed = gn.bincount(x, w, length=7)
    feeds = {x: codes, w: weights}
    count, total, (slope,) = run([gn.bincount(x, length=7), summed, gn.vjp(summed, [w], u)], feeds)
    expected = torch.bincount(torch.tensor(codes), minlength=7).numpy()
    np.testing.assert_array_equal(count, expected, strict=True)
    wanted = torch.bincount(torch.tensor(codes), torch.tensor(weights), minlength=7).numpy()
    np.testing.assert_allclose(total, wanted, rtol=1e-14)
    np.testing.assert_array_equal(slope, u[codes])


def test_bincount_leaves_out_what_is_out_of_range():
    codes = np.array([-1, 0, 3, 4, -5, 2**40], np.int64)
    np.testing.assert_array_equal(gn.evaluate(gn.bincount(codes, length=4)), [1, 0, 0, 1])
    w = gn.input("w", (6,), "float64")
    (slope,) = gradients(gn.bincount(codes, w, length=4), [w], [np.ones(6)], np.ones(4))
    np.testing.assert_array_equal(slope, [0.0, 1.0, 1.0, 0.0, 0.0, 0.0])


def test_bincount_of_half_floats_adds_up_in_float32():
    ones = np.ones(5000, np.float16)
    total = gn.evaluate(gn.bincount(np.zeros(5000, np.int64), ones, length=1))
    assert total.dtype == np.float16
    np.testing.assert_array_equal(total, [5000.0])  # in float16, 2048 + 1 is 2048


@pytest.mark.parametrize("seed", range(20))
def test_histogram_is_numpys(seed):
    rng = np.random.default_rng(seed)
    value, weights = rng.standard_normal((2, 4, 25))
    bins = (7, np.sort(rng.standard_normal(5)))[seed % 2]
    limits = (None, (-1.0, 0.5))[seed // 2 % 2]
    density = bool(seed // 4 % 2)
    x, w = gn.input("x", ("n", 25), "float64"), gn.input("w", ("n", 25), "float64")
    for node, given in ((None, None), (w, np.abs(weights))):
        feeds = {x: value} if node is None else {x: value, node: given}
        found = run(gn.histogram(x, bins, limits, node, density), feeds)
        expected = np.histogram(value, bins, limits, density, given)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------------------------- interpolation


@pytest.mark.parametrize("seed", range(20))
def test_interp_is_numpys_at_between_and_beyond_knots(seed):
    rng = np.random.default_rng(seed)
    knots = np.sort(rng.standard_normal(int(rng.integers(1, 8))))
    values = rng.standard_normal(knots.size)
    at = np.concatenate([3.0 * rng.standard_normal(20), knots, [np.inf, -np.inf]])
    ends = ((None, None), (5.0, None), (None, -5.0), (1.0, np.nan))[seed % 4]
    x, xp, fp = vectors(x="m", xp="n", fp="n")
    found = run(gn.interp(x, xp, fp, *ends), {x: at, xp: knots, fp: values})
    np.testing.assert_allclose(found, np.interp(at, knots, values, *ends), rtol=1e-12, atol=1e-13)


def test_interp_at_repeated_knots_jumps_and_nan_stays():
    knots, values = np.array([0.0, 1.0, 1.0, 2.0, 2.0]), np.array([0.0, 1.0, 5.0, 6.0, 9.0])
    at = np.array([0.5, 1.0, 1.5, 2.0, np.nan])
    x = gn.input("x", (5,), "float64")
    y = gn.interp(x, knots, values)
    (given,) = run([y], {x: at})
    np.testing.assert_array_equal(given[:4], [0.5, 5.0, 5.5, 9.0])
    np.testing.assert_array_equal(given[:4], np.interp(at, knots, values)[:4])
    spread = gn.interp(x, np.arange(3.0), np.arange(3.0))
    assert np.isnan(run([spread], {x: at})[0][4])


def test_derivative_of_interp_at_knots_and_beyond():
    knots, values = np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, -2.0])
    at = np.array([-np.inf, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, np.inf])
    x, xp, fp = vectors(x=9, xp=3, fp=3)
    y = gn.interp(x, xp, fp)
    by_x, by_xp, by_fp = gradients(y, [x, xp, fp], [at, knots, values], np.ones(9))
    np.testing.assert_array_equal(by_x, [0.0, 0.0, 2.0, 2.0, -2.0, -2.0, -2.0, 0.0, 0.0])
    # Every result is a mean of values: the derivatives by these add up to 1 for each.
    np.testing.assert_array_equal(by_fp, [2.0 + 1.0 + 0.5, 0.5 + 1.0 + 0.5, 0.5 + 1.0 + 2.0])
    # Moving all knots is moving x the other way.
    np.testing.assert_allclose(by_xp.sum(), -by_x.sum())


# ----------------------------------------------------------------------- medians and quantiles


@pytest.mark.parametrize("seed", range(40))
def test_quantile_and_median_are_numpys_over_any_axes(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(1, 6, rng.integers(0, 4)))
    several = rng.permutation(len(shape))[: rng.integers(1, 4)]
    axis = tuple(several.tolist()) if shape and seed % 4 else None
    keepdims, method = (
        bool(seed % 2),
        ("linear", "lower", "higher", "nearest", "midpoint")[seed % 5],
    )
    q = (0.3, rng.random((2, 3)), [0.0, 0.25, 0.5, 1.0])[seed % 3]
    value = awkward(rng, shape, values=(0.0, 1.0, 1.0, -2.0, 0.3, 7.0, np.nan))
    x = gn.input("x", ("n", *shape[1:]) if shape else (), "float64")
    middle, at = run(
        [gn.median(x, axis, keepdims), gn.quantile(x, q, axis, method, keepdims)], {x: value}
    )
    np.testing.assert_allclose(middle, np.median(value, axis, keepdims=keepdims), rtol=1e-15)
    expected = np.quantile(value, q, axis=axis, method=method, keepdims=keepdims)
    assert at.shape == expected.shape
    np.testing.assert_allclose(at, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_gradient_of_quantile_is_that_of_torch(method, seed):
    rng = np.random.default_rng(seed)
    value, q = rng.standard_normal((3, 2 + seed)), np.array([0.0, 0.21, 0.5, 1.0])
    weights = rng.standard_normal((4, 3))
    x = gn.input("x", value.shape, "float64")
    (slope,) = gradients(gn.quantile(x, q, -1, method), [x], [value], weights)
    tensor = torch.tensor(value, requires_grad=True)
    at = torch.quantile(tensor, torch.tensor(q), -1, interpolation=method)
    at.backward(torch.tensor(weights))
    np.testing.assert_allclose(slope, tensor.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_median_of_two_that_tie_shares_the_derivative():
    x = gn.input("x", (4,), "float64")
    (slope,) = run([gn.grad(gn.median(x), x)], {x: [1.0, 5.0, 1.0, 0.0]})
    np.testing.assert_array_equal(slope, [0.5, 0.0, 0.5, 0.0])


def test_quantile_by_q_is_the_distance_of_neighbours():
    x, q = gn.input("x", ("n",), "float64"), gn.input("q", (2,), "float64")
    y = gn.quantile(x, q)
    feeds = {x: [4.0, 1.0, 2.0, 8.0], q: [0.5, 0.9]}
    value, (slope,) = run([y, gn.vjp(y, [q], np.ones(2))], feeds)
    np.testing.assert_allclose(value, [3.0, 6.8])
    np.testing.assert_allclose(slope, [3 * 2.0, 3 * 4.0])
    with pytest.raises(FeedError, match="out of range"):
        run([y], {x: [4.0, 1.0, 2.0, 8.0], q: [0.5, 1.5]})


def test_quantile_of_infinities_is_a_limit_not_nan():
    x = gn.input("x", (4,), "float64")
    q = np.array([0.0, 0.1, 0.5, 0.8, 1.0])
    (found,) = run([gn.quantile(x, q)], {x: [1.0, np.inf, -np.inf, 2.0]})
    np.testing.assert_array_equal(found, [-np.inf, -np.inf, 1.5, np.inf, np.inf])
    (found,) = run([gn.quantile(x, q)], {x: [np.inf] * 4})
    np.testing.assert_array_equal(found, [np.inf] * 5)
    (slope,) = run([gn.grad(gn.median(x), x)], {x: [1.0, np.inf, -np.inf, 2.0]})
    np.testing.assert_array_equal(slope, [0.5, 0.0, 0.0, 0.5])


def test_quantile_of_equal_elements_is_that_element():
    x = gn.input("x", (7,))
    q = np.linspace(0.0, 1.0, 101)
    (found,) = run([gn.quantile(x, q)], {x: np.full(7, 0.1, np.float32)})
    np.testing.assert_array_equal(found, np.full(101, np.float32(0.1)))


def test_half_floats_are_averaged_in_float32():
    # In float16, the sum of the two in the middle would be infinite.
    value = np.array([60000.0, 50000.0], np.float16)
    x = gn.input("x", (2,), "float16")
    (found,) = run([gn.median(x)], {x: value})
    assert found == value.astype(np.float32).mean().astype(np.float16)
