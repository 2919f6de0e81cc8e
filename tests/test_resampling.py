"""Resizing and pixel shuffling: beside PyTorch's, and what is exact by construction."""

from typing import Any

import numpy as np
import pytest

import graphnn as gn

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = None

with_torch = pytest.mark.skipif(torch is None, reason="PyTorch is the second opinion here")

Array = np.ndarray[Any, np.dtype[Any]]

RTOL = 1e-12
"""Both compute in float64; places differ by some units in the last place of a size."""

LINEAR = ("linear", "bilinear", "trilinear")


def compare(ours: Any, theirs: Any, x: Array) -> None:
    """The same values, and the same gradient of a weighted sum."""
    node, tensor = gn.input("x", x.shape, "float64"), torch.tensor(x, requires_grad=True)
    output, expected = ours(node), theirs(tensor)
    weights = np.random.default_rng(1).uniform(-2.0, 2.0, output.shape)
    value, slope = gn.compile(node, (output, gn.vjp(output, node, weights)), verify=True)(x)
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=RTOL, atol=RTOL)
    expected.backward(torch.tensor(weights))
    np.testing.assert_allclose(slope, tensor.grad.numpy(), rtol=RTOL, atol=RTOL)


def in_torch(method: str, ndim: int) -> str:
    return LINEAR[ndim - 1] if method == "linear" else method


@with_torch
@pytest.mark.parametrize("seed", range(60))
def test_resize_to_a_size(seed: int) -> None:
    generator, ndim = np.random.default_rng(seed), 1 + seed % 3
    x = generator.uniform(-2.0, 2.0, (2, 2, *generator.integers(1, 8, ndim).tolist()))
    size = tuple(generator.integers(1, 12, ndim).tolist())
    for method in ("nearest", "nearest-exact", "linear"):
        compare(
            lambda x, method=method: gn.resize(x, size, method=method),
            lambda x, method=method: functional.interpolate(x, size, mode=in_torch(method, ndim)),
            x,
        )
    compare(
        lambda x: gn.resize(x, size, method="linear", align_corners=True),
        lambda x: functional.interpolate(x, size, mode=LINEAR[ndim - 1], align_corners=True),
        x,
    )


@with_torch
@pytest.mark.parametrize("seed", range(40))
def test_resize_by_a_scale(seed: int) -> None:
    generator, ndim = np.random.default_rng(seed), 1 + seed % 3
    x = generator.uniform(-2.0, 2.0, (1, 2, *generator.integers(4, 9, ndim).tolist()))
    known = [0.25, 0.3, 0.5, 0.7, 1.0, 1.3, 1.5, 2.0, 2.3, 3.0, 1 / 3, 5 / 3, 1.987654321]
    scale = tuple(generator.choice(known, ndim).tolist())
    for method in ("nearest", "nearest-exact", "linear"):
        align = [{}, {"align_corners": True}] if method == "linear" else [{}]
        for options in align:
            compare(
                lambda x, method=method, o=options: gn.resize(x, scale=scale, method=method, **o),
                lambda x, method=method, o=options: functional.interpolate(
                    x, scale_factor=scale, mode=in_torch(method, ndim), **o
                ),
                x,
            )


@with_torch
@pytest.mark.parametrize("method", ["nearest", "nearest-exact"])
def test_nearest_places_for_all_small_sizes(method: str) -> None:
    for n in range(1, 25):
        numbers = np.arange(n, dtype=np.float64).reshape(1, 1, n)
        resized = [gn.resize(gn.constant(numbers), m, method=method) for m in range(1, 49)]
        for m, found in enumerate(gn.evaluate(resized), start=1):
            wanted = functional.interpolate(torch.tensor(numbers), m, mode=method)
            np.testing.assert_array_equal(found, wanted.numpy(), err_msg=f"{n} to {m}")


@with_torch
@pytest.mark.parametrize("method", ["nearest", "nearest-exact", "linear"])
def test_a_scale_that_changes_no_size(method: str) -> None:
    """Values alone: PyTorch's gradient of "nearest" is not that of its values here."""
    x = np.random.default_rng(0).uniform(-2.0, 2.0, (2, 3, 7))
    found = gn.evaluate(gn.resize(gn.constant(x), scale=1.1, method=method))
    wanted = functional.interpolate(torch.tensor(x), scale_factor=1.1, mode=method)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=RTOL, atol=RTOL)


@with_torch
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_pixel_shuffle(factor: int) -> None:
    x = np.random.default_rng(0).uniform(-2.0, 2.0, (2, 2 * factor**2, 3, 2))
    compare(lambda x: gn.pixel_shuffle(x, factor), lambda x: functional.pixel_shuffle(x, factor), x)
    x = np.random.default_rng(0).uniform(-2.0, 2.0, (2, 3, 4 * factor, 2 * factor))
    compare(
        lambda x: gn.pixel_unshuffle(x, factor), lambda x: functional.pixel_unshuffle(x, factor), x
    )


# ------------------------------------------------------------------------ exact by construction


@pytest.mark.parametrize("shape", [(1, 8, 3), (2, 16, 3, 2), (1, 64, 2, 1, 3)])
def test_unshuffling_undoes_shuffling(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    node = gn.constant(x)
    factor = (2, 4, 2)[: len(shape) - 2] if len(shape) > 4 else 2
    shuffled = gn.pixel_shuffle(node, factor)
    np.testing.assert_array_equal(gn.evaluate(gn.pixel_unshuffle(shuffled, factor)), x)


def test_places_are_not_shifted_by_rounding() -> None:
    """1/1.1 as a float is above 10/11, and eleven times that below 10 or above, by luck."""
    numbers = gn.constant(np.arange(1000.0).reshape(1, 1, 1000))
    for scale, p, q in ((1.1, 10, 11), (0.7, 10, 7), (5 / 3, 3, 5), (0.29, 100, 29)):
        found = gn.evaluate(gn.resize(numbers, scale=scale))[0, 0]
        assert len(found) == int(np.floor(1000 * scale))
        np.testing.assert_array_equal(found, np.arange(len(found)) * p // q)


def test_the_same_size_changes_nothing() -> None:
    x = gn.input("x", (1, 2, "height", 5))
    for method in ("nearest", "nearest-exact", "linear"):
        assert gn.resize(x, x.shape[2:], method=method) is x
    assert gn.resize(x, x.shape[2:], method="linear", align_corners=True) is x


@pytest.mark.parametrize("align_corners", [False, True])
def test_linear_interpolation_is_exact_for_lines(align_corners: bool) -> None:
    line = gn.constant((3.0 * np.arange(6.0) - 2.0).reshape(1, 1, 6))
    found = gn.evaluate(gn.resize(line, 13, method="linear", align_corners=align_corners))[0, 0]
    at = np.arange(13) * 5 / 12 if align_corners else (np.arange(13) + 0.5) * 6 / 13 - 0.5
    np.testing.assert_allclose(found, 3.0 * np.clip(at, 0.0, 5.0) - 2.0, rtol=1e-14)


def test_named_dimensions() -> None:
    x = gn.input("x", ("batch", 4, "height", "width"), "float64")
    outputs = [
        gn.resize(x, scale=2),
        gn.resize(x, scale=(3.0, 1), method="nearest-exact"),
        gn.resize(x, (x.shape[2] * 2, x.shape[3])),
        gn.pixel_shuffle(x, 2),
    ]
    slopes = [gn.grad(gn.sum(each * each), x) for each in outputs]
    program = gn.compile(x, outputs + slopes)
    for shape in ((2, 4, 3, 5), (0, 4, 2, 2)):
        feed = np.random.default_rng(0).normal(size=shape)
        twice, stretched, taller, shuffled, *gradients = program(feed)
        np.testing.assert_array_equal(twice, feed.repeat(2, 2).repeat(2, 3))
        np.testing.assert_array_equal(stretched, feed.repeat(3, 2))
        np.testing.assert_array_equal(taller, feed.repeat(2, 2))
        assert shuffled.shape == (shape[0], 1, 2 * shape[2], 2 * shape[3])
        for found, times in zip(gradients, (4, 3, 2, 1), strict=True):
            np.testing.assert_allclose(found, 2 * times * feed, rtol=1e-14)


def test_unknown_sizes_say_what_to_do() -> None:
    x = gn.input("x", (1, 2, "n"))
    with pytest.raises(gn.ShapeError, match=r"n times 1\.5 is not known"):
        gn.resize(x, scale=1.5)
    for options in ({"size": 4}, {"scale": 2, "method": "linear"}):
        with pytest.raises(gn.ShapeError, match="not all sizes are known of n resized to"):
            gn.resize(x, **options)
    with pytest.raises(gn.ShapeError, match="size n of spatial axis 0 is no multiple of 2"):
        gn.pixel_unshuffle(x, 2)


def test_one_bad_pixel_spoils_its_neighbours_alone() -> None:
    x = np.zeros((1, 1, 6, 6))
    x[0, 0, 2, 3] = np.nan
    found = gn.evaluate(gn.resize(gn.constant(x), 12, method="linear"))
    rows, columns = np.nonzero(np.isnan(found[0, 0]))
    assert {*rows} == {3, 4, 5, 6}
    assert {*columns} == {5, 6, 7, 8}


def test_what_has_no_weight_is_not_seen() -> None:
    x = gn.constant([[[2.0, 1.0, np.inf], [np.inf, 1.0, 2.0]]])
    found = gn.evaluate(gn.resize(x, 6, method="linear"))[0]
    wanted = [2.0, 1.75, 1.25, np.inf, np.inf, np.inf]
    np.testing.assert_array_equal(found, [wanted, wanted[::-1]])
