"""Convolutions beside SciPy's, the structure of their derivatives, and named sizes."""

import itertools
import math
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import signal

import graphnn as gn
from graphnn.core.errors import ShapeError
from graphnn.core.graph import topological_order
from graphnn.core.node import Node, make_node
from graphnn.ops import conv_primitive
from graphnn.ops.conv_primitive import CONV, conv_of

Array = np.ndarray[Any, np.dtype[Any]]


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-2.0, 2.0, shape)


def value(node: Node) -> Array:
    return np.asarray(gn.evaluate(node))


# ----------------------------------------------------------------------------------- beside SciPy


@pytest.mark.parametrize(
    ("signals", "window"),
    [((9,), (3,)), ((9,), (4,)), ((6, 7), (3, 1)), ((6, 7), (2, 4)), ((4, 5, 6), (3, 2, 1))],
    ids=str,
)
@pytest.mark.parametrize("mode", ["valid", "same", "full"])
@pytest.mark.parametrize("flip", [False, True], ids=["correlate", "convolve"])
def test_scipy(signals: tuple[int, ...], window: tuple[int, ...], mode: str, flip: bool) -> None:
    x, kernel = random(*signals), random(*window, seed=1)
    theirs = (signal.convolve if flip else signal.correlate)(x, kernel, mode, method="direct")
    # SciPy puts the odd element of an even window before the array, PyTorch and JAX behind it.
    padding: Any = [(k // 2, (k - 1) // 2) for k in window] if mode == "same" else mode
    ours = value(gn.conv(x[None, None], kernel[None, None], padding=padding, flip=flip))
    np.testing.assert_allclose(ours[0, 0], theirs, rtol=1e-13, atol=1e-13)
    if mode == "same" and all(k % 2 for k in window):
        word = value(gn.conv(x[None, None], kernel[None, None], padding="same", flip=flip))
        np.testing.assert_array_equal(word, ours)


@pytest.mark.parametrize("mode", ["valid", "same", "full"])
def test_flip_reverses_the_kernel(mode: str) -> None:
    x, kernel = random(2, 2, 6, 5), random(3, 2, 2, 3, seed=1)
    options: dict[str, Any] = {"padding": mode, "stride": (1, 2), "dilation": 2}
    flipped = gn.conv(x, kernel, flip=True, **options)
    by_hand = gn.conv(x, np.flip(kernel, (2, 3)), **options)
    np.testing.assert_allclose(value(flipped), value(by_hand), rtol=1e-14, atol=1e-14)


def test_transpose_is_the_derivative_of_a_convolution() -> None:
    x, kernel, y = random(2, 3, 8, 7), random(4, 3, 3, 2, seed=1), random(2, 4, 4, 3, seed=2)
    options: dict[str, Any] = {"stride": 2, "padding": ((1, 0), (0, 1)), "dilation": (1, 2)}
    node = gn.input("x", x.shape, "float64")
    pulled = gn.vjp(gn.conv(node, kernel, **options), node, y)
    transposed = gn.conv_transpose(y, kernel, output_padding=(0, 1), **options)
    np.testing.assert_allclose(
        gn.evaluate(pulled, {node: x}), value(transposed), rtol=1e-13, atol=1e-13
    )


# --------------------------------------------------------------------- structure of derivatives

MOVEMENT = {"constant", "broadcast_to", "input", "reshape", "transpose"}


def operators(nodes: Sequence[Node]) -> set[str]:
    return {node.op.name for node in topological_order(nodes)}


@pytest.mark.parametrize("flip", [False, True], ids=["", "flip"])
def test_derivatives_of_any_order_are_convolutions(flip: bool) -> None:
    x = gn.input("x", ("batch", 4, "height", 9))
    kernel = gn.input("kernel", (4, 2, 3, 2))
    options: dict[str, Any] = {"stride": (2, 1), "dilation": (1, 2), "padding": 1, "groups": 2}
    y = x
    for _ in range(2):  # a polynomial of third degree
        y = gn.conv(y, kernel, flip=flip, **options)
    nodes = [y]
    for order in range(3):
        directions = [gn.ones(node.shape) for node in nodes]
        nodes = gn.vjp(nodes, [x, kernel], directions, allow_unused=True)
        assert "conv" in operators(nodes), order
        # Several paths to one input are added; everything else moves data.
        assert operators(nodes) <= {"conv", "add", *MOVEMENT}, order


def test_a_gradient_is_one_convolution_for_each_input() -> None:
    x, kernel = gn.input("x", (2, 3, 8, 8)), gn.input("kernel", (4, 3, 3, 3))
    y = gn.conv(x, kernel, stride=2, padding=1)
    slopes = gn.vjp(y, [x, kernel], gn.ones(y.shape))
    found = [node for node in topological_order(slopes) if node.op is CONV]
    assert len(found) == 2
    assert {node.attrs["x_dilation"] for node in found} == {(2, 2), (1, 1)}


# -------------------------------------------------------------------------------- many examples

ATTRS = {
    "plain": {"stride": (1, 2), "low": (1, 0), "size": (4, 3), "x_dilation": (1, 1),
              "dilation": (2, 1), "flip": False},
    "transposed": {"stride": (2, 1), "low": (1, -1), "size": (3, 8), "x_dilation": (1, 2),
                   "dilation": (1, 2), "flip": True},
}  # fmt: skip


@pytest.mark.parametrize("attrs", ATTRS)
@pytest.mark.parametrize("mapped", [(True, False), (False, True), (True, True)], ids=str)
def test_examples_become_one_convolution(attrs: str, mapped: tuple[bool, bool]) -> None:
    shapes = [(2, 3, 4, 5, 6), (3, 2, 4, 2, 3)]
    one = conv_of(*(gn.input(f"x{i}", s, "float64") for i, s in enumerate(shapes)), **ATTRS[attrs])
    arrays = [
        random(*((5,) if is_mapped else ()), *shape, seed=i)
        for i, (shape, is_mapped) in enumerate(zip(shapes, mapped, strict=True))
    ]
    nodes = [gn.input(f"many{i}", each.shape, "float64") for i, each in enumerate(arrays)]
    many = CONV.batch(one, nodes, mapped)
    assert many.shape == (5, *one.shape)
    assert [node.op.name for node in topological_order([many])].count("conv") == 1
    found = gn.compile(nodes, many)(*arrays)
    for example in range(5):
        own = [a[example] if m else a for a, m in zip(arrays, mapped, strict=True)]
        wanted = CONV.evaluate(*own, **ATTRS[attrs])
        np.testing.assert_allclose(found[example], wanted, rtol=1e-13, atol=1e-13)


# ----------------------------------------------------------------------------------- named sizes

BUILD: dict[str, Callable[[Any, Any], Node]] = {
    "plain": lambda x, kernel: gn.conv(x, kernel),
    "strided": lambda x, kernel: gn.conv(x, kernel, stride=(3, 2), padding=((1, 0), (2, 3))),
    "same": lambda x, kernel: gn.conv(x, kernel, padding="same", dilation=2, flip=True),
    "reflect": lambda x, kernel: gn.conv(x, kernel, padding=1, stride=2, padding_mode="reflect"),
    "grouped": lambda x, kernel: gn.conv(x, kernel[:, :1], groups=2, padding="full"),
    "transposed": lambda x, kernel: gn.conv_transpose(x, kernel, stride=2, output_padding=1),
}


@pytest.mark.parametrize("build", BUILD.values(), ids=BUILD)
def test_named_sizes_give_what_known_sizes_give(build: Callable[[Any, Any], Node]) -> None:
    def derivatives(x: Node, kernel: Node) -> list[Node]:
        y = build(x, kernel)
        by_x, by_kernel = gn.grad(gn.sum(gn.sin(y)), [x, kernel])
        return [y, by_x, by_kernel, *gn.grad(gn.sum(gn.square(by_kernel)), [x, kernel])]

    kernel = gn.input("kernel", (2, 2, 3, 3), "float64")
    x = gn.input("x", ("batch", 2, "height", "width"), "float64")
    program = gn.compile([x, kernel], derivatives(x, kernel))
    weights = random(2, 2, 3, 3, seed=1)
    for batch, height, width in [(2, 5, 6), (1, 8, 5), (3, 7, 7)]:
        feed = random(batch, 2, height, width)
        known = gn.input("x", feed.shape, "float64")
        expected = gn.compile([known, kernel], derivatives(known, kernel))(feed, weights)
        for one, other in zip(program(feed, weights), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13, strict=True)


def test_named_sizes_are_refused_where_they_decide() -> None:
    x = gn.input("x", (1, 2, "n"), "float64")
    with pytest.raises(ShapeError, match='"same" with stride 2 depends on the size n'):
        gn.conv(x, random(3, 2, 3), padding="same", stride=2)
    with pytest.raises(ShapeError, match=r"the kernel has window \(n,\)"):
        gn.conv(random(1, 2, 9), gn.input("kernel", (3, 2, "n"), "float64"))
    program = gn.compile(x, gn.conv(x, random(3, 2, 5)))
    with pytest.raises(ShapeError, match="the size n - 4 is -2 for n=2"):
        program(np.zeros((1, 2, 2)))


def test_locally_connected_with_a_named_batch() -> None:
    x, kernel = gn.input("x", ("batch", 2, 4)), gn.input("kernel", (3, 2, 2, 3))
    y = gn.locally_connected(x, kernel)
    slope = gn.grad(gn.sum(y), kernel)
    feed = random(5, 2, 4).astype("float32")
    found = gn.compile([x, kernel], [y, slope])(feed, np.ones((3, 2, 2, 3), "float32"))
    pairs = feed[:, :, :-1] + feed[:, :, 1:]
    np.testing.assert_allclose(found[0], np.repeat(pairs.sum(1)[:, None], 3, 1), rtol=1e-5)
    seen = np.stack([feed[:, :, :-1], feed[:, :, 1:]], 2).sum(0)
    np.testing.assert_allclose(found[1], np.broadcast_to(seen, (3, 2, 2, 3)), rtol=1e-5)


def test_locally_connected_with_one_kernel_everywhere_is_a_convolution() -> None:
    x, kernel = random(2, 3, 6, 7), random(4, 3, 2, 3, seed=1)
    shared = gn.conv(x, kernel, stride=2, padding=1, dilation=2)
    everywhere = gn.broadcast_to(kernel[..., None, None], (*kernel.shape, *shared.shape[2:]))
    local = gn.locally_connected(x, everywhere, stride=2, padding=1, dilation=2)
    np.testing.assert_allclose(value(local), value(shared), rtol=1e-13, atol=1e-13)


# ---------------------------------------------------------------------------------- empty arrays


@pytest.mark.parametrize(
    ("x", "kernel", "padding"),
    [((0, 2, 5), (3, 2, 2), 0), ((2, 0, 5), (3, 0, 2), 0), ((2, 2, 0), (3, 2, 1), 1)],
    ids=["batch", "channels", "spatial"],
)
def test_empty_arrays_have_zero_gradients(x: Any, kernel: Any, padding: int) -> None:
    nodes = [gn.input("x", x), gn.input("kernel", kernel)]
    y = gn.conv(*nodes, padding=padding, stride=2)
    slopes = gn.grad(gn.sum(y + gn.square(y)), nodes)
    found = gn.compile(nodes, [y, *slopes])(np.ones(x, "float32"), np.ones(kernel, "float32"))
    for array, node in zip(found, [y, *nodes], strict=True):
        assert array.shape == node.shape
        assert not array.any()


# ------------------------------------------------------------------------------- the primitive


@pytest.mark.parametrize("attrs", ATTRS)
def test_result_need_not_be_contiguous(attrs: str) -> None:
    x, kernel = random(2, 3, 4, 5, 6), random(3, 2, 4, 2, 3, seed=1)
    expected = CONV.evaluate(x, kernel, **ATTRS[attrs])
    out = np.empty(expected.shape[::-1]).T
    CONV.evaluate_into(out, x, kernel, **ATTRS[attrs])
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("attrs", ATTRS)
def test_examples_may_be_taken_a_few_at_a_time(attrs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, kernel = random(5, 3, 4, 5, 6), random(3, 2, 4, 2, 3, seed=1)
    expected = CONV.evaluate(x, kernel, **ATTRS[attrs])
    one = 3 * 4 * math.prod(kernel.shape[3:]) * math.prod(ATTRS[attrs]["size"]) * x.itemsize
    for together in (0, 1, 2, 3):
        monkeypatch.setattr(conv_primitive, "COPIED_BYTES", together * one)
        found = CONV.evaluate(x, kernel, **ATTRS[attrs])
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("size", [(40, 40), (5, 5)], ids=["columns", "rows"])
def test_what_windows_see_is_not_copied_at_once(size: tuple[int, int]) -> None:
    window = tuple(44 - each + 1 for each in size)
    x, kernel = random(64, 1, 4, 44, 44), random(1, 4, 4, *window, seed=1)
    attrs = {"stride": (1, 1), "low": (0, 0), "x_dilation": (1, 1), "dilation": (1, 1)}
    everything = len(x) * math.prod(kernel.shape[2:]) * math.prod(size) * x.itemsize
    assert everything > 4 * conv_primitive.COPIED_BYTES
    tracemalloc.start()
    try:
        CONV.evaluate(x, kernel, size=size, flip=False, **attrs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < everything / 2


def test_the_equation_of_the_primitive() -> None:
    """By definition, at every combination of options: the elements that meet are multiplied."""
    generator = np.random.default_rng(0)
    for stride, low, x_dilation, dilation, flip in itertools.product(
        (1, 2, 3), (-3, -1, 0, 1, 4), (1, 2, 3), (1, 2, 3), (False, True)
    ):
        n, k, m = (int(each) for each in generator.integers(1, 6, 3))
        x, kernel = random(n, seed=n), random(k, seed=k + 10)
        expected = np.zeros(m)
        for q, i, j in np.ndindex(n, m, k):
            step = low - dilation * j if flip else dilation * j - low
            if x_dilation * q == stride * i + step:
                expected[i] += x[q] * kernel[j]
        attrs = {"stride": (stride,), "low": (low,), "x_dilation": (x_dilation,)}
        found = CONV.evaluate(
            x[None, None, None],
            kernel[None, None, None],
            **attrs,
            dilation=(dilation,),
            size=(m,),
            flip=flip,
        )
        np.testing.assert_allclose(found[0, 0, 0], expected, rtol=1e-14, atol=1e-14)


def test_primitive_refuses_what_does_not_fit() -> None:
    x = gn.input("x", (2, 3, 4, 5, 6))
    for shape in [(3, 2, 5, 2, 3), (2, 2, 4, 2, 3), (3, 2, 4, 2)]:
        with pytest.raises(ShapeError, match="groups, filters, channels"):
            make_node(CONV, (x, gn.input("kernel", shape)), ATTRS["plain"])


def test_bias_of_half_floats_is_rounded_once() -> None:
    arrays = [each.astype("float16") for each in (random(2, 3, 9), random(4, 3, 3), random(4))]
    inputs = [gn.input(f"x{i}", each.shape, each.dtype) for i, each in enumerate(arrays)]
    half = gn.compile(inputs, gn.conv(*inputs))(*arrays)
    wide = value(gn.conv(*(each.astype("float32") for each in arrays)))
    np.testing.assert_array_equal(half, wide.astype("float16"), strict=True)


def test_label_and_cost() -> None:
    x, kernel = gn.input("x", (2, 6, 8, 8)), gn.input("kernel", (4, 3, 3, 3))
    (node,) = (
        each
        for each in topological_order([gn.conv(x, kernel, groups=2, stride=2)])
        if each.op is CONV
    )
    assert repr(node) == "<Node conv2d (2, 2, 2, 3, 3) float32>"
    assert CONV.shown_attrs(node) == {"stride": (2, 2)}
    assert CONV.flops(node) == 2 * (2 * 4 * 3 * 3) * (3 * 3 * 3)
