"""Scatters and segments: against loops and PyTorch, at ties, repeats and zeros, in batches."""

import itertools

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.node import make_node
from graphnn.core.op import REGISTRY

torch = pytest.importorskip("torch", reason="PyTorch is the second opinion of these tests")

SEEDS = range(25)
OPS = ("set", "add", "multiply", "max", "min")
TORCH_NAMES = {"multiply": "prod", "max": "amax", "min": "amin"}


def run(inputs, outputs, *feeds):
    return gn.compile(inputs, outputs, backend="reference", verify=True)(*feeds)


def drawn(rng, *shape, tied=True):
    """Values with many ties and zeros, or without."""
    if tied:
        return rng.integers(-2, 3, shape).astype(np.float64)
    return rng.uniform(-2.0, 2.0, shape)


def compare(ours, theirs, *arrays, rng):
    """The same value, and the same gradients of a weighted sum, as PyTorch."""
    inputs = [gn.input(f"x{i}", array.shape, "float64") for i, array in enumerate(arrays)]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    node, tensor = ours(*inputs), theirs(*tensors)
    assert node.shape == tuple(tensor.shape)
    weights = rng.uniform(-1.0, 1.0, node.shape)
    value, *slopes = run(inputs, [node, *gn.vjp(node, inputs, weights)], *arrays)
    np.testing.assert_allclose(value, tensor.detach().numpy(), rtol=1e-13, atol=1e-13)
    tensor.backward(torch.tensor(weights))
    for slope, each in zip(slopes, tensors, strict=True):
        np.testing.assert_allclose(slope, each.grad.numpy(), rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------ beside PyTorch


@pytest.mark.parametrize("seed", SEEDS)
def test_scatter_along_one_axis_as_index_add_and_index_copy(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(2, 5, rng.integers(1, 4)))
    axis = int(rng.integers(0, len(shape)))
    count = int(rng.integers(1, shape[axis] + 1))
    once = rng.permutation(shape[axis])[:count]
    often = rng.integers(0, shape[axis], count + 2)
    for indices, ours, theirs in (
        (often, gn.scatter_add, "index_add"),
        (once, gn.scatter_set, "index_copy"),
    ):
        added = drawn(rng, *shape[:axis], len(indices), *shape[axis + 1 :])
        compare(
            lambda x, u, f=ours, i=indices: f(x, i, u, axis),
            lambda x, u, f=theirs, i=indices: getattr(x, f)(axis, torch.tensor(i), u),
            drawn(rng, *shape),
            added,
            rng=rng,
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_scatter_at_several_indices_as_index_put(seed):
    rng = np.random.default_rng(seed)
    shape = (3, 4, 2)
    flat = rng.permutation(12)[:6].reshape(2, 3)
    once = np.unravel_index(flat, (3, 4))
    often = rng.integers(-3, 3, (2, 3)), rng.integers(-4, 4, (3,))
    for indices, ours, accumulate in ((often, gn.scatter_add, True), (once, gn.scatter_set, False)):
        places = tuple(map(torch.tensor, indices))
        compare(
            lambda x, u, f=ours, i=indices: f(x, i, u),
            lambda x, u, i=places, a=accumulate: x.index_put(i, u, accumulate=a),
            drawn(rng, *shape),
            drawn(rng, 2, 3, 2),
            rng=rng,
        )


@pytest.mark.parametrize("reduce", OPS[1:])
@pytest.mark.parametrize("seed", SEEDS)
def test_put_along_axis_as_scatter_reduce(reduce, seed):
    rng = np.random.default_rng(seed)
    x, axis = drawn(rng, 3, 4), int(rng.integers(0, 2))
    shape = [3, 4]
    shape[axis] = 6
    indices, updates = rng.integers(0, x.shape[axis], shape), drawn(rng, *shape)

    def theirs(x, u):
        if reduce == "add":
            return x.scatter_add(axis, torch.tensor(indices), u)
        return x.scatter_reduce(axis, torch.tensor(indices), u, TORCH_NAMES[reduce])

    compare(
        lambda x, u: gn.put_along_axis(x, indices, u, axis, reduce), theirs, x, updates, rng=rng
    )


@pytest.mark.parametrize("reduce", ["sum", "mean", "prod", "max", "min"])
@pytest.mark.parametrize("seed", SEEDS)
def test_segments_as_scatter_reduce(reduce, seed):
    rng = np.random.default_rng(seed)
    count, rows = int(rng.integers(1, 6)), int(rng.integers(1, 12))
    segments = rng.integers(0, count, rows)
    start = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf}[reduce]

    def theirs(x):
        into = torch.full((count, 3), start, dtype=torch.float64)
        places = torch.tensor(segments)[:, None].expand(-1, 3)
        word = {"max": "amax", "min": "amin"}.get(reduce, reduce)
        return into.scatter_reduce(0, places, x, word, include_self=False)

    ours = getattr(gn, f"segment_{reduce}")
    compare(lambda x: ours(x, segments, count), theirs, drawn(rng, rows, 3), rng=rng)


# ----------------------------------------------------------------------- repeats, ties, corners


@pytest.mark.parametrize("seed", SEEDS)
def test_the_last_of_repeated_updates_is_set_and_it_alone_has_a_derivative(seed):
    rng = np.random.default_rng(seed)
    x, updates = drawn(rng, 4, 2, tied=False), drawn(rng, 3, 5, 2, tied=False)
    indices, weights = rng.integers(-4, 4, (3, 5)), rng.uniform(-1.0, 1.0, (4, 2))
    if seed % 2:  # the order is that of the indices, however they lie in memory
        indices, updates = np.asfortranarray(indices), np.asfortranarray(updates)
    expected, by_x, by_updates = x.copy(), weights.copy(), np.zeros_like(updates)
    owner = {}
    for at in np.ndindex(3, 5):
        row = int(indices[at]) % 4
        expected[row], by_x[row], owner[row] = updates[at], 0.0, at
    for row, at in owner.items():
        by_updates[at] = weights[row]
    nodes = [gn.input("x", x.shape, "float64"), gn.input("u", updates.shape, "float64")]
    i = gn.input("i", indices.shape, "int64")
    y = gn.scatter_set(nodes[0], i, nodes[1])
    found = run([*nodes, i], [y, *gn.vjp(y, nodes, weights)], x, updates, indices)
    for given, wanted in zip(found, (expected, by_x, by_updates), strict=True):
        np.testing.assert_array_equal(given, wanted)


@pytest.mark.parametrize("start", [0.0, -0.0, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int32"])
@pytest.mark.parametrize("count", [3, 3000])  # few are added one by one, many by a product
def test_scatter_add_gives_the_bits_of_adding_in_order(count, dtype, start):
    rng = np.random.default_rng(0)
    shape = (2, 100, 4)  # the last of the first axis gets none
    x = np.full(shape, start, dtype)
    indices = np.zeros(count, np.int64), rng.integers(-100, 100, count)
    updates = rng.uniform(-9.0, 9.0, (count, 4)).astype(dtype)
    if dtype != "int32":
        updates[0] = (np.inf, np.nan, -0.0, 1e30)
        updates[1:3] = -0.0
    expected = x.copy()
    for place, update in zip(zip(*indices, strict=True), updates, strict=True):
        expected[place] += update
    inputs = [gn.input(f"x{i}", each.shape, each.dtype) for i, each in enumerate((x, updates))]
    y = gn.scatter_add(inputs[0], tuple(indices), inputs[1])
    for backend in ("reference", "numpy"):
        found = gn.compile(inputs, y, backend=backend)(x, updates)
        parts = (np.real, np.imag) if dtype == "complex64" else (np.asarray,)
        for part in parts:
            np.testing.assert_array_equal(part(found), part(expected))
            np.testing.assert_array_equal(np.signbit(part(found)), np.signbit(part(expected)))


def test_extremes_share_among_what_ties_and_nan_wins():
    x, u = gn.input("x", (3,), "float64"), gn.input("u", (4,), "float64")
    y = gn.scatter_max(x, [0, 0, 0, 1], u)
    feeds = np.array([2.0, 1.0, 5.0]), np.array([2.0, 1.0, 2.0, np.nan])
    value, by_x, by_u = run([x, u], [y, *gn.vjp(y, [x, u], np.ones(3))], *feeds)
    np.testing.assert_array_equal(value, [2.0, np.nan, 5.0])
    np.testing.assert_allclose(by_x, [1 / 3, np.nan, 1.0])
    np.testing.assert_allclose(by_u, [1 / 3, 0.0, 1 / 3, np.nan])
    # What did not win gets exactly 0, whatever arrives.
    by_u = gn.vjp(y, u, np.array([np.inf, 1.0, 1.0]))
    by_u = run([x, u], by_u, feeds[0], np.array([3.0, 1.0, 2.0, 7.0]))
    np.testing.assert_array_equal(by_u, [np.inf, 0.0, 0.0, 1.0])


def test_empty_segments():
    def of_none(name, dtype):
        x = gn.input("x", (1,), dtype)
        return run([x], getattr(gn, f"segment_{name}")(x, [1], 2), np.ones(1, dtype))[0]

    assert [of_none(name, "float32") for name in ("sum", "mean", "prod")] == [0.0, 0.0, 1.0]
    assert [of_none(name, "float32") for name in ("max", "min")] == [-np.inf, np.inf]
    assert [of_none(name, "bfloat16") for name in ("max", "min")] == [-np.inf, np.inf]
    assert [of_none(name, "int8") for name in ("max", "min", "prod")] == [-128, 127, 1]
    assert [of_none(name, "bool") for name in ("max", "min", "sum")] == [False, True, 0]


def test_a_mean_counts_exactly_and_half_floats_are_rounded_once():
    x = gn.input("x", (4000,), "float16")
    segments = np.zeros(4000, np.int64)
    outputs = [gn.segment_mean(x, segments, 1), gn.segment_sum(x, segments, 1)]
    mean, total = run([x], outputs, np.full(4000, 1.5, np.float16))
    assert (mean.dtype, mean.item(), total.item()) == (np.float16, 1.5, 6000.0)


def test_the_third_derivative_of_a_product_with_zeros():
    x = gn.input("x", (5,), "float64")
    y = gn.sum(gn.segment_prod(x, [0, 1, 0, 0, 0], 2))
    first = gn.grad(y, x)
    second = gn.grad(first[0], x)
    third = gn.grad(second[2], x)
    found = run([x], [first, second, third], np.array([0.0, 9.0, 0.0, 0.0, 3.0]))
    np.testing.assert_array_equal(found[0], [0.0, 1.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(found[1], np.zeros(5))
    np.testing.assert_array_equal(found[2], [0.0, 0.0, 0.0, 3.0, 0.0])


def test_what_one_segment_holds_does_not_reach_another():
    x = gn.input("x", (6,), "float64")
    y = gn.segment_prod(x, [0, 1, 0, 1, 0, 1], 2)
    feed = np.array([2.0, np.nan, 3.0, np.inf, 5.0, 1e300])
    slope = run([x], gn.grad(y[0], x), feed)
    np.testing.assert_array_equal(slope[::2], [15.0, 10.0, 6.0])
    assert np.isfinite(run([x], gn.jvp(y, x, np.ones(6)), feed)[0])


# -------------------------------------------------------------------------------------- chains


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 7, 500])
def test_chains_are_walked_one_by_one(rows, reverse):
    rng = np.random.default_rng(rows)
    a, b = rng.uniform(-1.0, 1.0, (2, rows, 3))
    places = rng.integers(-2, 2, rows), rng.integers(0, 2, rows)
    sizes = (2, 2)
    recurrence = REGISTRY["chain_recurrence"].evaluate(a, b, *places, sizes=sizes, reverse=reverse)
    shift = REGISTRY["chain_shift"].evaluate(a, *places, sizes=sizes, reverse=reverse, fill=7.0)
    state, before = {}, {}
    for row in reversed(range(rows)) if reverse else range(rows):
        chain = (int(places[0][row]) % 2, int(places[1][row]))
        np.testing.assert_array_equal(shift[row], before.get(chain, 7.0))
        state[chain] = a[row] * state[chain] + b[row] if chain in state else b[row]
        before[chain] = a[row]
        np.testing.assert_allclose(recurrence[row], state[chain], rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------- batching


def batches(node, feeds):
    """A node for several examples, and the loop, for every choice of inputs that are mapped."""
    for mapped in itertools.product((True, False), repeat=len(feeds)):
        if not any(mapped):
            continue
        pairs = list(zip(feeds, mapped, strict=True))
        arrays = [feed if is_mapped else feed[0] for feed, is_mapped in pairs]
        many = [gn.input(f"x{i}", each.shape, each.dtype) for i, each in enumerate(arrays)]
        found = run(many, node.op.batch(node, many, mapped), *arrays)
        one = [
            [feed[example if is_mapped else 0] for feed, is_mapped in pairs]
            for example in range(len(feeds[0]))
        ]
        yield found, np.stack([run(list(node.inputs), node, *each) for each in one])


CHAINS = {"sizes": (3, 2), "reverse": False}


@pytest.mark.parametrize(
    ("name", "n_values", "attrs"),
    [
        *((f"scatter_{name}", 2, {}) for name in OPS),
        ("chain_shift", 1, {**CHAINS, "fill": 2.0}),
        ("chain_recurrence", 2, CHAINS),
        ("chain_recurrence", 2, {**CHAINS, "reverse": True}),
    ],
)
def test_batching_is_a_stacked_loop(name, n_values, attrs):
    rng = np.random.default_rng(0)
    # Fewer axes of indices than axes that they index: the two numbers must not be mixed up.
    indices = [rng.integers(-3, 3, (4, 7)), rng.integers(-2, 2, (4, 7))]
    values = [rng.uniform(-2.0, 2.0, (4, 7, 3)) for _ in range(n_values)]
    if name.startswith("scatter"):
        values[0] = rng.uniform(-2.0, 2.0, (4, 3, 2, 3))
    feeds = [*values, *indices]
    inputs = [gn.input(f"x{i}", feed.shape[1:], feed.dtype) for i, feed in enumerate(feeds)]
    node = make_node(REGISTRY[name], inputs, attrs)
    found = list(batches(node, feeds))
    assert len(found) == 2 ** len(feeds) - 1
    for given, wanted in found:
        np.testing.assert_allclose(given, wanted, rtol=1e-13)


# ---------------------------------------------------------------------------- names and mistakes


def test_counts_and_rows_may_be_named_dimensions():
    x = gn.input("x", ("edges", 2))
    target = gn.input("target", ("edges",), "int64")
    y = gn.segment_mean(x, target, "nodes")
    assert str(y.shape) == "(Dim(nodes), 2)"
    z = gn.input("z", ("nodes", 2))
    slope = gn.grad(gn.sum(gn.segment_prod(x, target, "nodes") * z * y), x)
    feeds = np.ones((3, 2), np.float32), np.array([0, 1, 0]), np.ones((4, 2), np.float32)
    assert run([x, target, z], y, *feeds).tolist() == [[1.0, 1.0], [1.0, 1.0], [0, 0], [0, 0]]
    np.testing.assert_allclose(run([x, target, z], slope, *feeds), [[1.5] * 2, [2] * 2, [1.5] * 2])


@pytest.mark.parametrize("index", [3, -4])
@pytest.mark.parametrize("name", ["scatter_set", "scatter_max", "scatter_min", "scatter_multiply"])
def test_an_index_out_of_range_at_run_time_is_an_error_with_numbers(name, index):
    x, i = gn.input("x", (3,)), gn.input("i", (2,), "int64")
    y = getattr(gn, name)(x, i, 2.0)
    with pytest.raises(gn.FeedError, match=f"index {index} is out of range for 3 elements"):
        run([x, i], y, np.ones(3, np.float32), np.array([0, index]))


def test_a_segment_out_of_range_at_run_time_is_an_error_with_numbers():
    x, i = gn.input("x", (2,)), gn.input("i", (2,), "int64")
    for name in ("sum", "mean", "max", "min", "prod"):
        y = getattr(gn, f"segment_{name}")(x, i, 3)
        with pytest.raises(gn.FeedError, match="index 3 is out of range for 3 elements"):
            run([x, i], y, np.ones(2, np.float32), np.array([0, 3]))


def test_bools_and_integers_are_set_as_they_are():
    x = gn.input("x", (3,), "bool")
    y = gn.scatter_set(x, [0, 0, 2], [False, True, True])
    assert run([x], y, np.zeros(3, bool)).tolist() == [True, False, True]
    with pytest.raises(gn.DTypeError, match="bool"):
        gn.scatter_add(x, [0], [True])
