"""Convolutions in native code against the operator's own kernel in float64."""

import itertools
from dataclasses import replace

import llvmlite.binding as llvm
import numpy as np
import pytest
from native_code import NativeCode, empty
from native_targets import ELSEWHERE, HOST, TARGETS

from graphnn.compiler.kernel import (
    Apply,
    Bound,
    Contraction,
    Index,
    Kernel,
    Literal,
    Load,
    Operand,
    Product,
)
from graphnn.compiler.native.convolution import generate, scratch_nbytes
from graphnn.compiler.native.convolution.generate import code_of
from graphnn.compiler.native.convolution.layout import layout
from graphnn.compiler.native.convolution.phases import with_phases
from graphnn.compiler.native.convolution.plan import candidates
from graphnn.compiler.native.convolution.windows import (
    phases_of,
    progression,
    taps_at,
    with_bounds,
)
from graphnn.ops.conv_primitive import CONV


def native(contraction, target=HOST):
    """A compiled contraction."""
    compiled = NativeCode(generate(contraction, target, "conv"), target)
    assert compiled.scratch_nbytes == scratch_nbytes(contraction, target)
    return compiled


def contraction_of_conv(x, kernel, out, attrs, values=None, others=(), plain=False):
    """The primitive conv as a contraction, and the kernel as it is to be given.

    ``others`` are operands of the epilogue before ``out``, of its shape; ``plain`` asks for
    strides instead of bounds (there must be neither padding nor ``x_dilation``).
    """
    ndim = x.ndim - 3
    low = list(attrs["low"])
    if attrs["flip"]:
        kernel = np.flip(kernel, tuple(range(3, 3 + ndim)))
        low = [
            (n - 1) * d - before
            for n, d, before in zip(kernel.shape[3:], attrs["dilation"], low, strict=True)
        ]
    sizes = (*out.shape, kernel.shape[2], *kernel.shape[3:])
    xs, ks = x.strides, kernel.strides
    window = [0] * ndim
    places, taps, bounds = window, window, []
    if plain:
        places = [s * step for s, step in zip(attrs["stride"], xs[3:], strict=True)]
        taps = [d * step for d, step in zip(attrs["dilation"], xs[3:], strict=True)]
    else:
        bounds = [
            Bound(3 + n, 4 + ndim + n, attrs["stride"][n], attrs["dilation"][n], low[n],
                  x.shape[3 + n], attrs["x_dilation"][n], xs[3 + n])
            for n in range(ndim)
        ]  # fmt: skip
    dtype = x.dtype.name
    operands = [Operand(each.dtype.name, each.strides) for each in (*others, out)]
    values = values or (Product(dtype),)
    epilogue = Kernel(
        out.shape, (), tuple(operands), values, ((len(operands) - 1, len(values) - 1),)
    )
    contraction = Contraction(
        sizes,
        tuple(range(3 + ndim, len(sizes))),
        dtype,
        Operand(dtype, (xs[0], xs[1], 0, *places, xs[2], *taps)),
        Operand(dtype, (0, ks[0], ks[1], *window, ks[2], *ks[3:])),
        epilogue,
        tuple(bounds),
    )
    return contraction, kernel


def drawn(rng, shape, dtype="float32", order=None):
    """An array in a random order of axes, inside a larger one half of the time."""
    order = rng.permutation(len(shape)) if order is None else order
    gap = int(rng.integers(0, 3)) if rng.random() < 0.3 else 0
    whole = rng.standard_normal([shape[axis] + gap for axis in order]).astype(dtype)
    inner = whole[tuple(slice(0, shape[axis]) for axis in order)]
    return inner.transpose(np.argsort(order))


def exact_and_bound(x, kernel, attrs, size):
    """The convolution in float64, and how far sums in the dtype may be from it."""
    x8, k8 = x.astype("f8"), kernel.astype("f8")
    exact = CONV.evaluate(x8, k8, size=size, **attrs)
    magnitude = CONV.evaluate(np.abs(x8), np.abs(k8), size=size, **attrs)
    n_summed = int(np.prod(kernel.shape[2:]))
    if x.dtype == np.float16:
        bound = (n_summed + 1) * 2.0**-24 * magnitude + 2.0**-11 * np.abs(exact) + 2.0**-24
    elif x.dtype == np.float64:  # the reference errs as much
        bound = 2 * (n_summed + 1) * 2.0**-53 * magnitude
    else:
        bound = (n_summed + 1) * 2.0**-24 * magnitude
    return exact, bound


def random_case(rng, dtype):
    """Operands and attrs of a small convolution."""
    ndim = int(rng.integers(1, 4))
    most = {1: 20, 2: 11, 3: 6}[ndim]

    def some(low, high):
        return tuple(int(rng.integers(low, high + 1)) for _ in range(ndim))

    examples = int(rng.choice([1, 2, 3, 8, 11, 17]))
    groups = int(rng.choice([1, 1, 1, 2, 5, 9]))
    channels, filters = (int(rng.choice([1, 2, 3, 7, 9])) for _ in range(2))
    if examples * groups * channels * filters > 1500:
        examples, channels = 2, 2
    attrs = {
        "stride": some(1, 3) if rng.random() < 0.4 else (1,) * ndim,
        "low": some(-2, 3) if rng.random() < 0.7 else (0,) * ndim,
        "x_dilation": some(1, 3) if rng.random() < 0.3 else (1,) * ndim,
        "dilation": some(1, 3) if rng.random() < 0.3 else (1,) * ndim,
        "flip": bool(rng.random() < 0.3),
    }
    x = drawn(rng, (examples, groups, channels, *some(1, most)), dtype)
    kernel = drawn(rng, (groups, filters, channels, *some(1, min(most, 5))), dtype)
    return x, kernel, attrs, some(1, most)


@pytest.mark.parametrize("target", TARGETS, ids=["host", "plain"][: len(TARGETS)])
@pytest.mark.parametrize("seed", range(28))
def test_random_convolutions(seed, target):
    rng = np.random.default_rng(seed)
    dtype = ["float32", "float32", "float64", "float16"][seed % 4]
    x, kernel, attrs, size = random_case(rng, dtype)
    shape = (*x.shape[:2], kernel.shape[1], *size)
    whole, out = empty(rng, shape, dtype)
    contraction, given = contraction_of_conv(x, kernel, out, attrs)
    compiled = native(contraction, target)
    compiled(x, given, out)
    exact, bound = exact_and_bound(x, kernel, attrs, size)
    assert np.all(np.abs(out - exact) <= bound)
    first = whole.copy()
    out[...] = 55
    compiled(x, given, out, splits=5)
    np.testing.assert_array_equal(whole, first)
    assert np.count_nonzero(whole == 77) >= whole.size - out.size


@pytest.mark.parametrize("seed", range(6))
def test_every_plan(seed):
    """All axes along vectors, and all kinds of register blocks, not only what seems cheapest."""
    rng = np.random.default_rng(1000 + seed)
    attrs = [
        {"stride": (1, 1), "low": (1, 2), "x_dilation": (1, 1), "dilation": (1, 1), "flip": True},
        {"stride": (2, 1), "low": (0, 1), "x_dilation": (1, 1), "dilation": (1, 2), "flip": False},
        {"stride": (1, 1), "low": (2, 1), "x_dilation": (2, 1), "dilation": (1, 1), "flip": False},
    ][seed % 3]
    x = drawn(rng, (9, 2, 3, 7, 10))
    kernel = drawn(rng, (2, 5, 3, 3, 2))
    _, out = empty(rng, (9, 2, 5, 6, 11))
    contraction, given = contraction_of_conv(x, kernel, out, attrs)
    contraction = with_phases(contraction)
    exact, bound = exact_and_bound(x, kernel, attrs, out.shape[3:])
    families = {}
    for way in candidates(contraction, HOST):
        tiled = tuple(axis for axis, n in enumerate(way.tiles) if n > 1)
        families.setdefault((way.vector, way.vectors, tiled), way)
    assert {-1, 0, 1, 2, 5} <= {vector for vector, _, _ in families}
    chosen = list(families.values())
    for number in rng.permutation(len(chosen))[:8]:
        way = chosen[number]
        out[...] = np.nan
        code = code_of(contraction, HOST, "conv", way, layout(contraction, way))
        NativeCode(code)(x, given, out, splits=3)
        assert np.all(np.abs(out - exact) <= bound), way


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_sums_in_turns(turn):
    """Channels in turns that do or do not divide them; register blocks that overlap add once."""
    rng = np.random.default_rng(turn)
    attrs = {
        "stride": (1, 2), "low": (1, 1), "x_dilation": (1, 1), "dilation": (1, 1), "flip": False
    }  # fmt: skip
    x = rng.standard_normal((2, 1, 7, 6, 21), dtype="f4")
    kernel = rng.standard_normal((1, 11, 7, 3, 3), dtype="f4")
    out = np.empty((2, 1, 11, 6, 11), "f4")
    contraction, given = contraction_of_conv(x, kernel, out, attrs)
    exact, bound = exact_and_bound(x, kernel, attrs, out.shape[3:])
    small = replace(HOST, l1_bytes=64 * turn)  # nothing fits, so every plan that can has turns
    ways = [
        way
        for way in candidates(contraction, small)
        if way.hoisted and way.vector == 2 and way.tiles[4] in (3, 4) and way.chunks[4] == 11
    ]
    assert ways
    axis = contraction.summed[0]
    for way in (ways[0], ways[-1]):
        way = replace(way, hoisted=((axis, turn),))
        out[...] = np.nan
        code = code_of(contraction, HOST, "conv", way, layout(contraction, way))
        NativeCode(code, HOST)(x, given, out, splits=2)
        assert np.all(np.abs(out - exact) <= bound), way


@pytest.mark.parametrize("seed", range(8))
def test_phases(seed):
    """Gradients of strided convolutions; phases with fewer places than others, or without taps."""
    rng = np.random.default_rng(seed)
    attrs = {
        "stride": (1, 1 + seed % 2), "low": (int(rng.integers(-1, 3)), 1),
        "x_dilation": (2 + seed % 3, 3 - seed % 2), "dilation": (1, 1 + seed // 4), "flip": False,
    }  # fmt: skip
    x = drawn(rng, (3, 1, 4, 6, 7))
    kernel = drawn(rng, (1, 9, 4, int(rng.integers(1, 5)), 3))
    size = (11 + seed % 2, 14 - seed % 3)
    whole, out = empty(rng, (3, 1, 9, *size))
    contraction, given = contraction_of_conv(x, kernel, out, attrs)
    phased = with_phases(contraction)
    assert len(phases_of(phased)) == sum(each.x_dilation > 1 for each in contraction.bounds)
    exact, bound = exact_and_bound(x, kernel, attrs, size)
    native(contraction)(x, given, out, splits=3)
    assert np.all(np.abs(out - exact) <= bound)
    assert np.count_nonzero(whole == 77) >= whole.size - out.size
    ways = candidates(phased, HOST)
    for number in rng.integers(0, len(ways), 3):
        way = ways[number]
        out[...] = np.nan
        code = code_of(phased, HOST, "conv", way, layout(phased, way))
        NativeCode(code, HOST)(x, given, out, splits=2)
        assert np.all(np.abs(out - exact) <= bound), way
    assert np.count_nonzero(whole == 77) >= whole.size - out.size


def test_positions_along_an_array_with_gaps():
    """An epilogue that asks for positions keeps its axes."""
    rng = np.random.default_rng(2)
    attrs = {
        "stride": (1, 1), "low": (1, 1), "x_dilation": (2, 2), "dilation": (1, 1), "flip": False
    }  # fmt: skip
    x = rng.standard_normal((2, 1, 3, 5, 5), dtype="f4")
    kernel = rng.standard_normal((1, 4, 3, 3, 3), dtype="f4")
    out = np.empty((2, 1, 4, 9, 10), "f4")
    values = (
        Product("float32"),
        Index(4),
        Apply("cast", "float32", (1,)),
        Apply("add", "float32", (0, 2)),
    )
    contraction, given = contraction_of_conv(x, kernel, out, attrs, values)
    assert [each.place for each in phases_of(with_phases(contraction)).values()] == [3]
    native(contraction)(x, given, out)
    exact, bound = exact_and_bound(x, kernel, attrs, out.shape[3:])
    exact = exact + np.arange(10)
    assert np.all(np.abs(out - exact) <= bound + 2.0**-23 * (np.abs(exact) + 10))


@pytest.mark.parametrize("layer", ["few", "many"])
def test_gradients_of_a_layer(layer):
    """The three convolutions of a training step, as the operator's transposes state them."""
    rng = np.random.default_rng(5)
    examples, channels, filters = (16, 3, 10) if layer == "many" else (1, 9, 17)
    x = rng.standard_normal((examples, 1, channels, 12, 12), dtype="f4")
    kernel = rng.standard_normal((1, filters, channels, 5, 5), dtype="f4")
    ones = {"stride": (1, 1), "x_dilation": (1, 1), "dilation": (1, 1)}
    y = np.empty((examples, 1, filters, 8, 8), "f4")
    cases = [
        (x, kernel, y, {**ones, "low": (0, 0), "flip": False}),
        (
            y,
            kernel.transpose(0, 2, 1, 3, 4),
            np.empty_like(x),
            {**ones, "low": (0, 0), "flip": True},
        ),
        (
            x.transpose(2, 1, 0, 3, 4),
            y.transpose(1, 2, 0, 3, 4),
            np.empty((channels, 1, filters, 5, 5), "f4"),
            {**ones, "low": (0, 0), "flip": False},
        ),
    ]
    for array, window, out, attrs in cases:
        contraction, given = contraction_of_conv(array, window, out, attrs)
        native(contraction)(array, given, out)
        exact, bound = exact_and_bound(array, window, attrs, out.shape[3:])
        assert np.all(np.abs(out - exact) <= bound)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (0, 3, 4, 1, 2), (1, 2, 3, 4, 0)])
def test_epilogue(order):
    """A bias, a mask by position and a maximum; results in three orders of memory."""
    rng = np.random.default_rng(3)
    attrs = {
        "stride": (1, 1), "low": (1, 1), "x_dilation": (1, 1), "dilation": (1, 1), "flip": False
    }  # fmt: skip
    x = rng.standard_normal((9, 1, 3, 8, 11), dtype="f4")
    kernel = rng.standard_normal((1, 10, 3, 3, 3), dtype="f4")
    bias = rng.standard_normal(10, dtype="f4")
    out = drawn(rng, (9, 1, 10, 8, 11), order=order)
    spread = np.broadcast_to(bias[:, None, None], out.shape)
    values = (
        Product("float32"),
        Load(0),
        Apply("add", "float32", (0, 1)),
        Literal("float32", (0.0).hex()),
        Apply("maximum", "float32", (2, 3)),
        Index(4),
        Apply("cast", "float32", (5,)),
        Apply("add", "float32", (4, 6)),
    )
    contraction, given = contraction_of_conv(x, kernel, out, attrs, values, (spread,))
    native(contraction)(x, given, spread, out, splits=3)
    exact, bound = exact_and_bound(x, kernel, attrs, out.shape[3:])
    exact = np.maximum(exact + spread, 0) + np.arange(11)
    assert np.all(np.abs(out - exact) <= bound + 2.0**-23 * (np.abs(exact) + 2))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows_told_by_strides(stride):
    """Without padding there may be plain strides in place of bounds."""
    rng = np.random.default_rng(stride)
    attrs = {
        "stride": (stride, 1), "low": (0, 0), "x_dilation": (1, 1), "dilation": (2, 1),
        "flip": False,
    }  # fmt: skip
    x = rng.standard_normal((8, 1, 3, 13, 9), dtype="f4")
    kernel = rng.standard_normal((1, 7, 3, 3, 2), dtype="f4")
    out = np.empty((8, 1, 7, (13 - 5) // stride + 1, 8), "f4")
    contraction, given = contraction_of_conv(x, kernel, out, attrs, plain=True)
    bounds = with_bounds(contraction).bounds
    assert [(each.stride, each.dilation) for each in bounds] == [
        ((1, 1) if stride == 2 else (stride, 2)),
        (1, 1),
    ]
    native(contraction)(x, given, out)
    exact, bound = exact_and_bound(x, kernel, attrs, out.shape[3:])
    assert np.all(np.abs(out - exact) <= bound)


@pytest.mark.parametrize("seed", range(4))
def test_other_processors(seed):
    """Code for wider vectors is valid."""
    rng = np.random.default_rng(seed)
    x, kernel, attrs, size = random_case(rng, "float32")
    out = np.empty((*x.shape[:2], kernel.shape[1], *size), "f4")
    contraction, _ = contraction_of_conv(x, kernel, out, attrs)
    code = generate(contraction, ELSEWHERE, "conv")
    llvm.parse_assembly(code.ir).verify()


def test_taps_that_meet_the_array():
    """Against trying all."""
    for numbers in itertools.product((1, 2, 3), (1, 2, 3), (1, 2, 3), (-2, 0, 3)):
        stride, dilation, x_dilation, low = numbers
        bound = Bound(0, 1, stride, dilation, low, 5, x_dilation, 4)
        for place in range(9):
            met = []
            for tap in range(4):
                element, rest = divmod(stride * place + dilation * tap - low, x_dilation)
                if rest == 0 and 0 <= element < 5:
                    met.append((tap, element))
            found = taps_at(bound, 4, place)
            every, elements = progression(bound)
            assert met == [
                (found.first + n * every, found.element + n * elements) for n in range(found.count)
            ]
