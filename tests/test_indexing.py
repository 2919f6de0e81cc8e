"""Indexing and cutting: NumPy's rules on random indices, named dimensions, and run-time errors."""

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ShapeError
from graphnn.core.graph import topological_order


def run(inputs, outputs, *feeds):
    return gn.compile(inputs, outputs, backend="reference", verify=True)(*feeds)


def random_part(rng, size):
    """A number, a slice or an integer array that fits an axis of ``size`` elements."""
    kind = rng.integers(0, 6)
    if kind == 0 and size:
        return int(rng.integers(-size, size))
    if kind == 1 and size:
        shape = ((), (2,), (3, 1), (1, 2), (0,))[rng.integers(0, 5)]
        return np.asarray(rng.integers(-size, size, shape))
    if kind < 5:
        bounds = [None if rng.random() < 0.4 else int(rng.integers(-size - 2, size + 3))] * 2
        bounds[1] = None if rng.random() < 0.4 else int(rng.integers(-size - 2, size + 3))
        return slice(*bounds, rng.choice([None, -3, -2, -1, 1, 2, 3]))
    return slice(None)


def random_index(rng, shape):
    """An index with numbers, slices, arrays, None and at most one ellipsis."""
    used = int(rng.integers(0, len(shape) + 1))
    first = int(rng.integers(0, used + 1))
    parts = [random_part(rng, size) for size in shape[:first]]
    if rng.random() < 0.5 or first < used:
        parts.append(...)
        parts += [random_part(rng, size) for size in shape[len(shape) - (used - first) :]]
    for _ in range(rng.integers(0, 3)):
        parts.insert(int(rng.integers(0, len(parts) + 1)), None)
    return tuple(parts)


@pytest.mark.parametrize("seed", range(150))
def test_any_index_gives_what_numpy_gives_and_its_gradient_goes_back_there(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(rng.random() > 0.1, 5, rng.integers(0, 5)))
    index = random_index(rng, shape)
    value = rng.standard_normal(shape)
    x = gn.input("x", shape, "float64")
    try:
        expected = value[index]
    except IndexError:  # arrays that do not broadcast
        with pytest.raises(gn.ShapeError, match="do not broadcast"):
            x[index]
        return
    arrays = [part for part in index if isinstance(part, np.ndarray)]
    nodes = [gn.input(f"i{i}", part.shape, "int64") for i, part in enumerate(arrays)]
    unused = iter(nodes)
    symbolic = tuple(next(unused) if isinstance(part, np.ndarray) else part for part in index)
    cotangent = rng.standard_normal(expected.shape)
    results = [x[index], x[symbolic]]
    slopes = [gn.vjp(each, x, gn.constant(cotangent)) for each in results]
    found = run([x, *nodes], [*results, *slopes], value, *arrays)
    back = np.zeros(shape)
    np.add.at(back, index, cotangent)
    for each in found[:2]:
        np.testing.assert_array_equal(each, expected, strict=True)
    for each in found[2:]:
        np.testing.assert_allclose(each, back, rtol=0, atol=1e-14)


INDICES_OF_A_BATCH = [
    np.s_[1:],
    np.s_[:-1],
    np.s_[-1],
    np.s_[0],
    np.s_[::2],
    np.s_[::-1],
    np.s_[::-3],
    np.s_[1::2],
    np.s_[:3],
    np.s_[-3:],
    np.s_[2:0:-1],
    np.s_[None, :, 1],
    np.s_[[0, -1, 0]],
]


@pytest.mark.parametrize("index", INDICES_OF_A_BATCH, ids=str)
@pytest.mark.parametrize("batch", [3, 4, 7])
def test_named_dimensions_are_indexed_as_known_ones(index, batch):
    x = gn.input("x", ("batch", 2), "float64")
    part = x[index]
    slope = gn.vjp(gn.sum(part * part * part), x, 1.0)
    curvature = gn.vjp(gn.sum(slope * slope), x, 1.0)
    value = np.arange(batch * 2.0).reshape(batch, 2) + 1
    got, first, second = run([x], [part, slope, curvature], value)
    np.testing.assert_array_equal(got, value[index], strict=True)
    count = np.zeros_like(value)
    np.add.at(count, index, 1.0)
    np.testing.assert_allclose(first, 3 * count * value**2)
    np.testing.assert_allclose(second, 36 * count**2 * value**3)


@pytest.mark.parametrize("batch", [0, 1])
def test_a_strided_slice_of_an_empty_batch_is_empty_and_so_is_its_gradient(batch):
    x = gn.input("x", ("batch",), "float64")
    part = x[::2]
    slope = gn.vjp(gn.sum(part * part), x, 1.0)
    curvature = gn.vjp(gn.sum(slope * slope), x, 1.0)
    found = run([x], [part, slope, curvature], np.ones(batch))
    assert [each.tolist() for each in found] == [[1.0] * batch, [2.0] * batch, [8.0] * batch]


@pytest.mark.parametrize("index", [np.s_[:3], np.s_[2], np.s_[-3:]], ids=str)
def test_a_batch_too_small_for_its_slice_is_refused_in_words(index):
    x = gn.input("x", ("batch",))
    program = gn.compile([x], x[index], backend="reference")
    with pytest.raises(gn.ShapeError, match=r"out of range for axis 0 of size 2|is -1 for batch=2"):
        program(np.ones(2, np.float32))


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_that_is_out_of_range_at_run_time_is_an_error_with_numbers(index):
    x, i = gn.input("x", (3, 2)), gn.input("i", (4,), "int64")
    feeds = np.ones((3, 2), np.float32), np.array([0, index, 1, 2])
    for node in (x[i], gn.scatter_add(x, i, 1.0)):
        with pytest.raises(gn.FeedError, match=f"index {index} is out of range for 3 elements"):
            run([x, i], node, *feeds)


def test_scatter_add_gives_the_same_bits_every_time_in_the_order_of_the_indices():
    rng = np.random.default_rng(0)
    indices, updates = rng.integers(0, 4, 10_000), rng.standard_normal(10_000).astype(np.float32)
    found = run([], gn.scatter_add(gn.zeros(4), indices, updates))
    expected = np.zeros(4, np.float32)
    for index, update in zip(indices, updates, strict=True):
        expected[index] += update
    assert found.tobytes() == expected.tobytes()


def test_gradients_of_all_parts_are_joined_and_not_padded():
    x = gn.input("x", (6, 4))
    parts = [*gn.split(x, 3), *gn.unstack(x)]
    slope = gn.grad(gn.sum(gn.stack([gn.sum(part**2) for part in parts])), x)
    used = {node.op.name for node in topological_order([slope])}
    assert "concatenate" in used
    assert "pad" not in used
    value = np.arange(24, dtype=np.float32).reshape(6, 4)
    np.testing.assert_allclose(run([x], slope, value), 4 * value)


def test_a_part_that_is_not_used_has_gradient_zero():
    x = gn.input("x", (6,))
    _, middle, _ = gn.split(x, [1, 2, 3])
    found = run([x], gn.grad(gn.sum(middle), x), np.ones(6, np.float32))
    assert found.tolist() == [0, 1, 1, 0, 0, 0]


def test_a_slice_of_a_named_dimension_that_is_moved_is_not_the_whole():
    x = gn.input("x", shape=("n",))
    size = x.shape[0]
    assert x[0:size] is x
    with pytest.raises(ShapeError, match="out of range for axis 0 of size 3"):
        run(x, x[1 : size + 1], np.zeros(3, np.float32))
