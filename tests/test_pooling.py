"""Windows and pooling: beside PyTorch's over random configurations, and the well-known traps."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.node import Node

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = None

with_torch = pytest.mark.skipif(torch is None, reason="PyTorch is the second opinion here")

Array = np.ndarray[Any, np.dtype[Any]]
Options = dict[str, Any]

SEEDS = range(30)
"""Random configurations of every kind of pooling, in one, two and three dimensions by turns."""

RTOL = 1e-12
"""Both compute in float64 and differ in the order of a few additions."""


def results(ours: Callable[[Node], Any], x: Array) -> tuple[list[Array], Array, Array]:
    """Values, the weights of a weighted sum of the first value, and the gradient of that."""
    node = gn.input("x", x.shape, "float64")
    outputs = ours(node)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    weights = np.random.default_rng(1).uniform(-2.0, 2.0, outputs[0].shape)
    slope = gn.vjp(outputs[0], node, weights)
    values, slope = gn.compile(node, (outputs, slope), verify=True)(x)
    return values, weights, slope


def compare(ours: Callable[[Node], Any], theirs: Callable[[Any], Any], x: Array) -> None:
    """The same values, and the same gradient of a weighted sum of the first one."""
    values, weights, slope = results(ours, x)
    tensor = torch.tensor(x, requires_grad=True)
    expected = theirs(tensor)
    expected = list(expected) if isinstance(expected, tuple) else [expected]
    assert len(values) == len(expected)
    for value, wanted in zip(values, expected, strict=True):
        assert value.dtype == wanted.detach().numpy().dtype
        np.testing.assert_allclose(value, wanted.detach().numpy(), rtol=RTOL, atol=RTOL)
    expected[0].backward(torch.tensor(weights))
    np.testing.assert_allclose(slope, tensor.grad.numpy(), rtol=RTOL, atol=RTOL)


def draw(seed: int, *, ties: bool) -> tuple[int, np.random.Generator, Array]:
    """How many spatial axes, and an array; with ``ties`` of few different numbers."""
    generator, ndim = np.random.default_rng(seed), 1 + seed % 3
    shape = generator.integers(1, 4, 2).tolist() + generator.integers(5, 9, ndim).tolist()
    if ties:
        return ndim, generator, generator.integers(-2, 2, shape).astype(np.float64)
    return ndim, generator, generator.uniform(-2.0, 2.0, shape)


def draw_options(generator: np.random.Generator, ndim: int, *, dilated: bool) -> Options:
    """A window that fits, in our words; PyTorch allows at most half a window of padding."""
    window = tuple(generator.integers(1, 4, ndim).tolist())
    options: Options = {
        "window": window,
        "padding": tuple(int(generator.integers(0, each // 2 + 1)) for each in window),
        "ceil_mode": bool(generator.integers(2)),
    }
    if generator.integers(4):
        options["stride"] = tuple(generator.integers(1, 4, ndim).tolist())
    if dilated:
        options["dilation"] = tuple(generator.integers(1, 3, ndim).tolist())
    return options


def in_torch(options: Options) -> Options:
    """The same in PyTorch's words."""
    renamed = {"window": "kernel_size"}
    return {renamed.get(name, name): value for name, value in options.items()}


# ------------------------------------------------------------------------------- beside PyTorch


@with_torch
@pytest.mark.parametrize("seed", SEEDS)
def test_max_pool_of_ties(seed: int) -> None:
    ndim, generator, x = draw(seed, ties=True)
    options = draw_options(generator, ndim, dilated=True)
    pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[ndim - 1]
    compare(
        lambda x: gn.max_pool(x, return_indices=True, **options),
        lambda x: pool(x, return_indices=True, **in_torch(options)),
        x,
    )


@with_torch
@pytest.mark.parametrize("seed", SEEDS)
def test_avg_pool(seed: int) -> None:
    ndim, generator, x = draw(seed, ties=False)
    options = draw_options(generator, ndim, dilated=False)
    options["count_include_pad"] = bool(generator.integers(2))
    pool = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[ndim - 1]
    compare(lambda x: gn.avg_pool(x, **options), lambda x: pool(x, **in_torch(options)), x)


@with_torch
@pytest.mark.parametrize("seed", SEEDS)
def test_lp_pool(seed: int) -> None:
    """PyTorch's takes powers with their signs and scales up what lies half outside."""
    ndim, generator, x = draw(seed, ties=False)
    options = draw_options(generator, ndim, dilated=False)
    del options["padding"], options["ceil_mode"]
    p = float(generator.choice([1.0, 1.5, 2.0, 3.0, 4.0]))
    x = x if p in (2.0, 4.0) else np.abs(x)
    pool = (functional.lp_pool1d, functional.lp_pool2d, functional.lp_pool3d)[ndim - 1]
    renamed = in_torch(options)
    if ndim == 1:
        (renamed["kernel_size"],) = options["window"]  # PyTorch takes no tuple in 1-D
    compare(lambda x: gn.lp_pool(x, p, **options), lambda x: pool(x, p, **renamed), x)


@with_torch
@pytest.mark.parametrize("seed", SEEDS)
def test_adaptive_pools(seed: int) -> None:
    ndim, generator, x = draw(seed, ties=True)
    size = tuple(None if n == 10 else n for n in generator.integers(1, 11, ndim).tolist())
    average = (
        functional.adaptive_avg_pool1d,
        functional.adaptive_avg_pool2d,
        functional.adaptive_avg_pool3d,
    )[ndim - 1]
    largest = (
        functional.adaptive_max_pool1d,
        functional.adaptive_max_pool2d,
        functional.adaptive_max_pool3d,
    )[ndim - 1]
    theirs = size if ndim > 1 else size[0] or x.shape[2]  # PyTorch takes no None in 1-D
    compare(lambda x: gn.adaptive_avg_pool(x, size), lambda x: average(x, theirs), x)
    compare(
        lambda x: gn.adaptive_max_pool(x, size, return_indices=True),
        lambda x: largest(x, theirs, return_indices=True),
        x,
    )


@with_torch
@pytest.mark.parametrize("seed", SEEDS)
def test_max_unpool(seed: int) -> None:
    ndim, generator, x = draw(seed, ties=False)
    window = tuple(generator.integers(1, 4, ndim).tolist())
    size = x.shape[2:]
    unpool = (functional.max_unpool1d, functional.max_unpool2d, functional.max_unpool3d)[ndim - 1]

    def ours(x: Node) -> Node:
        return gn.max_unpool(*gn.max_pool(x, window, return_indices=True), size)

    def theirs(x: Any) -> Any:
        pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[ndim - 1]
        return unpool(*pool(x, window, return_indices=True), window, output_size=size)

    compare(ours, theirs, x)


@with_torch
@pytest.mark.parametrize("seed", range(20))
def test_patches_and_fold(seed: int) -> None:
    generator = np.random.default_rng(seed)
    x = generator.uniform(-2.0, 2.0, (2, 3, *generator.integers(5, 9, 2).tolist()))
    options = draw_options(generator, 2, dilated=True) | {"stride": 2}
    del options["ceil_mode"]
    size = x.shape[2:]

    def unfold(x: Any) -> Any:
        return functional.unfold(x, **in_torch(options))

    compare(lambda x: gn.flatten(gn.patches(x, **options), 2), unfold, x)
    compare(
        lambda x: gn.fold(gn.patches(x, **options), size, **options),
        lambda x: functional.fold(unfold(x), size, **in_torch(options)),
        x,
    )


@with_torch
def test_largest_elements_that_overlap_are_unpooled_once() -> None:
    x = np.random.default_rng(0).uniform(-2.0, 2.0, (2, 3, 7, 6))

    def ours(x: Node) -> Node:
        top, indices = gn.max_pool(x, 3, stride=2, padding=1, return_indices=True)
        return gn.max_unpool(top, indices, (7, 6))

    top, indices = functional.max_pool2d(torch.tensor(x), 3, 2, 1, return_indices=True)
    wanted = functional.max_unpool2d(top, indices, 3, 2, 1, output_size=(7, 6))
    values, _, _ = results(ours, x)
    np.testing.assert_array_equal(values[0], wanted.numpy())


SPECIAL = [
    [np.nan, 1.0, np.nan, 2.0, 0.0, 0.0],
    [-np.inf, -np.inf, -np.inf, -np.inf, -np.inf, 3.0],
    [np.inf, np.inf, 1.0, -np.inf, np.nan, np.inf],
    [0.0, -0.0, -0.0, 0.0, 0.0, -0.0],
]


@with_torch
@pytest.mark.parametrize("values", SPECIAL, ids=str)
@pytest.mark.parametrize("padding", [0, 1])
def test_special_values_of_max_pool(values: list[float], padding: int) -> None:
    options: Options = {"stride": 1, "padding": padding, "return_indices": True}
    compare(
        lambda x: gn.max_pool(x, 3, **options),
        lambda x: functional.max_pool1d(x, 3, **options),
        np.array([[values]]),
    )


@with_torch
def test_second_derivatives_with_ties() -> None:
    x = np.random.default_rng(0).integers(-1, 2, (1, 1, 4, 4)).astype(np.float64)

    def loss(x: Any, pool: Callable[..., Any]) -> Any:
        top = pool(x * x + x, 3, stride=1, padding=1)
        return (top * top * top).sum() if torch.is_tensor(x) else gn.sum(top * top * top)

    node = gn.input("x", x.shape, "float64")
    ours = gn.evaluate(gn.hessian(loss(node, gn.max_pool), node), {node: x})
    theirs = torch.autograd.functional.hessian(
        lambda x: loss(x, functional.max_pool2d), torch.tensor(x)
    )
    assert np.any(ours)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=RTOL, atol=RTOL)


# -------------------------------------------------------------------------------------- the traps


def test_padding_is_never_the_largest() -> None:
    x = np.full((1, 2, 4, 4), -3.0)
    for padding in (1, "same", ((1, 0), (0, 1))):
        top = gn.evaluate(gn.max_pool(x, 3, stride=1, padding=padding))
        np.testing.assert_array_equal(top, np.full(top.shape, -3.0))
    least = np.full((1, 1, 3), np.iinfo(np.int8).min, np.int8)
    assert gn.evaluate(gn.max_pool(gn.constant(least), 2, padding=1)).tolist() == [[[-128, -128]]]


def test_padding_may_exceed_half_a_window_but_must_not_fill_one() -> None:
    x = gn.constant([[[1.0, 5.0, 2.0]]])
    top = gn.max_pool(x, 3, stride=1, padding=2)
    assert gn.evaluate(top).tolist() == [[[1.0, 5.0, 5.0, 5.0, 2.0]]]
    with pytest.raises(gn.ShapeError, match="window 0 of 9 along spatial axis 0 sees nothing"):
        gn.max_pool(x, 3, stride=1, padding=4)
    with pytest.raises(gn.ShapeError, match=r"window 0 of 2 .* sees nothing but padding"):
        gn.max_pool(x, 2, padding=(4,), dilation=8)  # its two elements straddle the array


def test_windows_that_see_nothing_are_found_when_a_size_is_bound() -> None:
    x = gn.input("x", (1, 1, "n"))
    pool = gn.compile(x, gn.max_pool(x, 2, padding=1, dilation=3))
    assert pool(np.zeros((1, 1, 4), np.float32)).shape == (1, 1, 2)
    with pytest.raises(gn.ShapeError, match="sees nothing but padding"):
        pool(np.zeros((1, 1, 2), np.float32))


def test_ceil_mode_lets_a_window_exceed_the_array() -> None:
    x = gn.constant([[[1.0, 2.0]]])
    assert gn.evaluate(gn.max_pool(x, 3, ceil_mode=True)).tolist() == [[[2.0]]]
    assert gn.evaluate(gn.avg_pool(x, 3, ceil_mode=True)).tolist() == [[[1.5]]]
    with pytest.raises(gn.ShapeError, match="does not fit"):
        gn.max_pool(x, 3)


def test_norm_of_zeros_has_derivative_zero() -> None:
    x = gn.input("x", (1, 1, 4), "float64")
    feed = np.array([[[0.0, 0.0, 3.0, 4.0]]])
    for p in (0.5, 1, 1.5, 2, 3):
        slope = gn.grad(gn.sum(gn.lp_pool(x, p, 2)), x)
        curve = gn.grad(gn.sum(slope * slope), x)
        first, second = gn.compile(x, (slope, curve))(feed)
        assert np.all(first[..., :2] == 0.0)
        assert np.all(second[..., :2] == 0.0)
        assert np.all(first[..., 2:] > 0.0)


def test_unpooling_checks_its_indices_when_it_runs() -> None:
    x, indices = gn.input("x", (1, 1, 2)), gn.input("indices", (1, 1, 2), "int64")
    unpool = gn.compile([x, indices], gn.max_unpool(x, indices, 4))
    ones = np.ones((1, 1, 2), np.float32)
    assert unpool(ones, np.array([[[3, 0]]])).tolist() == [[[1.0, 0.0, 0.0, 1.0]]]
    for wrong in (4, -1):
        with pytest.raises(gn.FeedError, match=f"index {wrong} is out of range"):
            unpool(ones, np.array([[[0, wrong]]]))


def test_half_floats_are_rounded_once() -> None:
    x = np.random.default_rng(0).uniform(0.0, 2.0, (1, 1, 300)).astype(np.float16)
    mean = gn.evaluate(gn.avg_pool(gn.constant(x), 300))
    np.testing.assert_array_equal(
        mean, x.astype(np.float64).mean(-1, keepdims=True, dtype="f8").astype("f2")
    )


# --------------------------------------------------------------------------- shapes and programs


POOLS: dict[str, Callable[[Node], Any]] = {
    "max": lambda x: gn.max_pool(x, (3, 2), stride=2, padding=1, ceil_mode=True),
    "indices": lambda x: gn.max_pool(x, 2, return_indices=True)[1],
    "unpool": lambda x: gn.max_unpool(*gn.max_pool(x, 2, return_indices=True), x.shape[2:]),
    "avg": lambda x: gn.avg_pool(x, 3, stride=2, padding=1, count_include_pad=False),
    "avg, ceil": lambda x: gn.avg_pool(x, 3, stride=2, padding=1, ceil_mode=True),
    "lp": lambda x: gn.lp_pool(x, 3, 2, dilation=2),
    "patches": lambda x: gn.patches(x, 2, stride=2, padding=1),
    "fold": lambda x: gn.fold(gn.patches(x, 2), x.shape[2:], 2),
    "adaptive": lambda x: gn.adaptive_avg_pool(x, 1),
    "global avg": gn.global_avg_pool,
    "global max": gn.global_max_pool,
}


@pytest.mark.parametrize("name", POOLS)
def test_named_dimensions_give_what_numbers_give(name: str) -> None:
    named = gn.input("x", ("batch", 2, "height", "width"), "float64")
    outputs = POOLS[name](named)
    if name != "indices":
        outputs = (outputs, gn.grad(gn.sum(outputs * outputs), named))
    program = gn.compile(named, outputs)
    generator = np.random.default_rng(0)
    for shape in ((3, 2, 5, 7), (0, 2, 6, 5), (1, 2, 6, 6)):
        feed = generator.uniform(-2.0, 2.0, shape)
        known = gn.input("x", shape, "float64")
        wanted = POOLS[name](known)
        if name != "indices":
            wanted = (wanted, gn.grad(gn.sum(wanted * wanted), known))
        found, expected = program(feed), gn.compile(known, wanted)(feed)
        pairs = [(found, expected)] if name == "indices" else zip(found, expected, strict=True)
        for one, other in pairs:
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=RTOL, atol=RTOL)


def test_adaptive_pooling_of_unknown_sizes_says_what_to_do() -> None:
    x = gn.input("x", ("batch", 2, "n"))
    with pytest.raises(gn.ShapeError, match="for one place use"):
        gn.adaptive_max_pool(x, 2)
    with pytest.raises(gn.ShapeError, match="windows of n elements for 2 places"):
        gn.adaptive_avg_pool(x, 2)


def test_values_alone_need_no_indices() -> None:
    x = gn.input("x", (1, 1, 6))
    top = gn.max_pool(x, 2)
    assert [each.op.name for each in gn.compile(x, top).instructions] == ["max_pool"]
    both = gn.compile(x, [gn.max_pool(x, 2, return_indices=True)[1], gn.grad(gn.sum(top), x)])
    assert [each.op.name for each in both.instructions].count("max_pool_indices") == 1


@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_of_max_pool_look_at_windows_alone(order: int) -> None:
    """To any order they place at, and pick from, the indices; nothing is added one by one."""
    x = gn.input("x", (2, 1, 6, 6), "float64")
    result = gn.sum(gn.max_pool(x, 3, stride=2) ** 3)
    for _ in range(order):
        result = gn.sum(gn.grad(result, x) ** 2)
    names = {each.op.name for each in gn.compile(x, gn.grad(result, x)).instructions if each.op}
    assert "window_place" in names
    assert "window_pick" in names
    assert names.isdisjoint({"gather", "scatter_add"})


def test_windows_are_views() -> None:
    x = gn.input("x", (2, 3, 8))
    program = gn.compile(x, gn.exp(gn.patches(x, 3, stride=2, dilation=2)))
    assert "windows" not in [each.op.name for each in program.instructions if each.op]


def test_windows_look_at_any_memory() -> None:
    x = gn.input("x", (2, 6, 3, 5), "float64")
    backwards = gn.flip(gn.transpose(x, (0, 2, 3, 1)), (2, 3))[:, :, ::2]
    feed = np.random.default_rng(0).uniform(-2.0, 2.0, x.shape)
    found = gn.compile(x, gn.patches(backwards, 2, stride=(1, 2)))(feed)
    copied = feed.transpose(0, 2, 3, 1)[:, :, ::-1, ::-1][:, :, ::2].copy()
    wanted = gn.evaluate(gn.patches(copied, 2, stride=(1, 2)))
    np.testing.assert_array_equal(found, wanted)


def test_dumps_show_windows_in_short() -> None:
    x = gn.input("x", (1, 1, 8, 8))
    assert "window=2x2 stride 2x2)" in str(gn.Graph((x,), (gn.max_pool(x, 2),)))
    top = gn.max_pool(x, 3, stride=1, padding=((1, 0), (0, 2)), dilation=(1, 2))
    assert "window=3x3 dilation 1x2 padding 1+0x0+2)" in str(gn.Graph((x,), (top,)))


def test_operators_work_on_the_last_axes_whatever_stands_before() -> None:
    """As their ``axis_attrs`` says; batching relies on it."""
    x = gn.input("x", (2, 3, 5, 6), "float64")
    outputs = [POOLS[name](x) for name in ("max", "indices", "avg", "patches", "fold")]
    generator, checked = np.random.default_rng(0), set()
    for node in gn.Graph((x,), tuple(outputs)).nodes:
        if node.op.axis_attrs != ():
            continue
        arrays = [generator.integers(0, 30, (4, *each.shape)) for each in node.inputs]
        together = node.op.evaluate(*arrays, **node.attrs)
        apart = [node.op.evaluate(*each, **node.attrs) for each in zip(*arrays, strict=True)]
        np.testing.assert_array_equal(together, np.stack(apart))
        checked.add(node.op.name)
    names = {"max_pool", "max_pool_indices", "windows", "window_sum", "overlap_add"}
    assert checked == names
