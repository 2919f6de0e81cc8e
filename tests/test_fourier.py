"""Fourier transforms beside NumPy's and PyTorch's, and what only shows in use."""

from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ShapeError

Array = np.ndarray[Any, np.dtype[Any]]

NORMS = ("backward", "ortho", "forward", None)
BACKENDS = ("reference", "numpy")


def random(*shape: int, seed: int = 0, real: bool = False) -> Array:
    generator = np.random.default_rng(seed)
    parts = generator.normal(size=shape), generator.normal(size=shape)
    return np.asarray(parts[0] if real else parts[0] + 1j * parts[1])


class Transform:
    """A transform of an array, with its vector-Jacobian product; the place is for its input."""

    def __init__(self, place: int, name: str, x: Array, kwargs: dict[str, Any]) -> None:
        self.name, self.x, self.kwargs = name, x, kwargs
        self.node = gn.input(f"x{place}", x.shape, x.dtype)
        self.made = getattr(gn, name)(self.node, **kwargs)
        self.cotangent = random(*self.made.shape, seed=1, real=self.made.dtype == "float64")
        self.slope = gn.vjp(self.made, self.node, self.cotangent)

    def compare(self, value: Array, slope: Array) -> None:
        """Value and vector-Jacobian product beside PyTorch, value beside NumPy."""
        torch = pytest.importorskip("torch")
        tensor = torch.tensor(self.x, requires_grad=True)
        names = {"axis": "dim", "axes": "dim"}
        renamed = {names.get(key, key): each for key, each in self.kwargs.items()}
        theirs = getattr(torch.fft, self.name)(tensor, **renamed)
        np.testing.assert_allclose(value, theirs.detach().numpy(), rtol=1e-11, atol=1e-12)
        numpys = getattr(np.fft, self.name)(self.x, **self.kwargs)
        np.testing.assert_allclose(value, numpys, atol=1e-12)
        theirs.backward(torch.tensor(self.cotangent))
        np.testing.assert_allclose(slope, tensor.grad.numpy(), rtol=1e-11, atol=1e-12)


def compare(calls: list[tuple[str, Array, dict[str, Any]]]) -> None:
    """All of them in one program: that is compiled in a fraction of the time of many."""
    transforms = [Transform(place, *call) for place, call in enumerate(calls)]
    program = gn.compile(
        [each.node for each in transforms], [(each.made, each.slope) for each in transforms]
    )
    for each, found in zip(transforms, program(*(each.x for each in transforms)), strict=True):
        each.compare(*found)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 8])
@pytest.mark.parametrize("n", [None, 1, 2, 4, 5, 9])
def test_along_one_axis(norm: str | None, size: int, n: int | None) -> None:
    calls = []
    for axis in (0, 1, -1):
        shape = [2, 3, 4]
        shape[axis] = size
        options: dict[str, Any] = {"norm": norm, "axis": axis}
        if n is not None:
            options["n"] = n
        names = ["fft", "ifft", "rfft"]
        if n is not None or size > 1:
            names.append("irfft")
        calls += [(name, random(*shape, real=name == "rfft"), options) for name in names]
    compare(calls)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("s", "axes"),
    [(None, (0, 1)), (None, (2, 0)), ((3, 5), (1, 2)), ((4, 2), (0, -1)), ((2, 3, 5), (2, 0, 1))],
)
def test_along_several_axes(norm: str | None, s: Any, axes: Any) -> None:
    calls = []
    options = {"s": s, "axes": axes, "norm": norm}
    for name in ("fftn", "ifftn", "rfftn", "irfftn"):
        x = random(3, 4, 5, real=name == "rfftn")
        calls.append((name, x, options))
        if len(axes) == 2:
            calls.append((f"{name[:-1]}2", x, options))
    compare(calls)


def test_all_axes_are_the_default() -> None:
    names = ("fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2")
    compare([(name, random(3, 4, 5, real=name[0] == "r"), {}) for name in names])


@pytest.mark.parametrize("backend", BACKENDS)
def test_single_precision_stays_single(backend: str) -> None:
    x = gn.input("x", (2, 6), "float32")
    nodes = [gn.fft(x), gn.rfft(x), gn.irfft(gn.rfft(x))]
    assert [node.dtype for node in nodes] == ["complex64", "complex64", "float32"]
    array = random(2, 6, real=True).astype(np.float32)
    found = gn.compile(x, nodes, backend=backend)(array)
    assert [each.dtype for each in found] == ["complex64", "complex64", "float32"]
    np.testing.assert_allclose(found[2], array, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [1, 4, 5])
def test_inverses(norm: str | None, size: int) -> None:
    z, x = gn.input("z", (2, size), "complex128"), gn.input("x", (2, size), "float64")
    there_and_back = [
        gn.ifft(gn.fft(z, norm=norm), norm=norm),
        gn.ifftn(gn.fftn(z, norm=norm), norm=norm),
        gn.irfft(gn.rfft(x, norm=norm), size, norm=norm),
        gn.irfftn(gn.rfftn(x, norm=norm), (2, size), norm=norm),
        gn.ifftshift(gn.fftshift(z)),
    ]
    arrays = random(2, size), random(2, size, real=True, seed=1)
    a, b, c, d, e = gn.compile([z, x], there_and_back)(*arrays)
    for found, wanted in ((a, 0), (b, 0), (c, 1), (d, 1), (e, 0)):
        np.testing.assert_allclose(found, arrays[wanted], atol=1e-14)


def test_derivatives_to_second_order() -> None:
    x, z = gn.input("x", (5,), "float64"), gn.input("z", (2, 3), "complex128")
    power = gn.sum(gn.square(gn.abs(gn.rfft(x * x, 6))))
    signal = gn.sum(gn.square(gn.irfftn(gn.exp(z), (3, 4)))) + gn.norm(gn.fft2(z * z))
    gn.check_grads(power * signal, {x: random(5, real=True), z: random(2, 3)})


@pytest.mark.parametrize("backend", BACKENDS)
def test_convolution_theorem_with_gradients(backend: str) -> None:
    a, b = gn.input("a", (8,), "float64"), gn.input("b", (8,), "float64")
    circular = gn.irfft(gn.rfft(a) * gn.rfft(b), 8)
    direct = gn.stack([gn.sum(a * gn.flip(gn.roll(b, -1 - i, 0))) for i in range(8)])
    weights = random(8, real=True, seed=2)
    nodes = [[node, *gn.vjp(node, [a, b], weights)] for node in (circular, direct)]
    program = gn.compile([a, b], nodes, backend=backend)
    by_transform, by_sums = program(random(8, real=True), random(8, real=True, seed=1))
    for one, other in zip(by_transform, by_sums, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)


def test_named_dimensions() -> None:
    x = gn.input("x", ("batch", "time"), "float64")
    bins = gn.rfft(x, norm="ortho")
    assert str(bins.shape[1]) == "(time)//2 + 1"
    back = gn.irfft(bins, x.shape[1], norm="ortho")
    assert back.shape == x.shape
    loss = gn.sum(gn.square(gn.abs(bins))) + gn.sum(gn.abs(gn.fftshift(gn.ifft(x, axis=0), 1)))
    program = gn.compile(x, [back, gn.grad(loss, x)])
    for shape in ((2, 6), (3, 7), (1, 1)):
        array = random(*shape, real=True)
        fixed = gn.input("fixed", shape, "float64")
        same = gn.sum(gn.square(gn.abs(gn.rfft(fixed, norm="ortho"))))
        same = same + gn.sum(gn.abs(gn.ifft(fixed, axis=0)))
        found, gradient = program(array)
        np.testing.assert_allclose(found, array, atol=1e-14)
        wanted = gn.evaluate(gn.grad(same, fixed), {fixed: array})
        np.testing.assert_allclose(gradient, wanted, atol=1e-13)
    with pytest.raises(ShapeError, match="is longer than 8 is not known"):
        gn.fft(x, 8)


def test_frequencies() -> None:
    for n in (1, 4, 5):
        for name in ("fftfreq", "rfftfreq"):
            node = getattr(gn, name)(n, 0.5)
            assert node.dtype == "float32"
            np.testing.assert_allclose(gn.evaluate(node, {}), getattr(np.fft, name)(n, 0.5))


def test_scipy_agrees_about_irfftn_of_what_is_no_transform_of_real_numbers() -> None:
    from scipy import fft

    z = random(4, 5, 3)
    node = gn.input("z", z.shape, "complex128")
    found = gn.evaluate(gn.irfftn(node, (4, 6), (0, 2)), {node: z})
    np.testing.assert_allclose(found, fft.irfftn(z, (4, 6), (0, 2)), atol=1e-13)
