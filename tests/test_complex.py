"""Complex numbers: promotion, constants, feeds, the convention of gradients, what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.dtypes import DTYPES, complex_dtype, is_complex, is_inexact, promote, real_dtype
from graphnn.core.errors import ArgumentError, DTypeError, FeedError, GradientError, NonFiniteError
from graphnn.core.node import Node

Array = np.ndarray[Any, np.dtype[Any]]

BACKENDS = ("reference", "numpy")


def random(*shape: int, seed: int = 0) -> Array:
    """Complex numbers around 0."""
    generator = np.random.default_rng(seed)
    return np.asarray(generator.normal(size=shape) + 1j * generator.normal(size=shape))


def vector(dtype: str = "complex128", name: str = "z") -> Node:
    return gn.input(name, (3,), dtype)


# ---------------------------------------------------------------------------------- the dtypes


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("float32", "complex64", "complex64"),
        ("float64", "complex128", "complex128"),
        ("bool", "complex64", "complex64"),
        ("int64", "complex64", "complex64"),
        ("uint8", "complex128", "complex128"),
        ("complex64", "complex64", "complex64"),
    ],
)
def test_promotion(one: str, other: str, expected: str) -> None:
    x, y = vector(one), vector(other)
    assert (x + y).dtype == (y + x).dtype == expected
    assert gn.concatenate([x, y]).dtype == gn.stack([y, x]).dtype == expected


@pytest.mark.parametrize(
    ("one", "other", "cast"),
    [
        ("float32", "complex128", "float64"),
        ("float64", "complex64", "float32"),
        ("float16", "complex64", "float32"),
        ("bfloat16", "complex128", "float64"),
        ("complex64", "complex128", "complex64|complex128"),
    ],
)
def test_precisions_do_not_mix(one: str, other: str, cast: str) -> None:
    words = rf"do not mix silently[\s\S]*gn\.cast\(x, '({cast})'\)"
    for pair in ((one, other), (other, one)):
        with pytest.raises(DTypeError, match=words):
            vector(pair[0]) * vector(pair[1])


def test_precisions_do_not_mix_behind_an_integer() -> None:
    with pytest.raises(DTypeError, match="do not mix"):
        promote("sum", *map(np.dtype, ("int64", "complex64", "float64")))


def test_python_numbers_are_weak() -> None:
    beside = {
        "bool": "complex64",
        "int8": "complex64",
        "float32": "complex64",
        "float64": "complex128",
        "complex64": "complex64",
        "complex128": "complex128",
    }
    for dtype, expected in beside.items():
        assert (vector(dtype) + 1j).dtype == (1j * vector(dtype)).dtype == expected
    assert (vector("complex64") * 2.5).dtype == (vector("complex64") ** 2).dtype == "complex64"
    assert gn.add(1, 2j).dtype == gn.constant(1j).dtype == gn.constant([1.0, 2j]).dtype
    assert gn.constant(1j).dtype == "complex64"
    assert gn.input("c", dtype=complex).dtype == "complex64"
    with pytest.raises(DTypeError, match="no complex numbers of the precision of float16"):
        vector("float16") + 1j


def test_kinds_of_dtypes() -> None:
    names = {dtype.name for dtype in DTYPES if is_complex(dtype)}
    assert names == {"complex64", "complex128"}
    assert all(is_inexact(dtype) == (np.dtype(dtype).kind in "fcV") for dtype in DTYPES)
    assert all(real_dtype(complex_dtype(each)) == each for each in map(np.dtype, ("f4", "f8")))


def test_names_in_dumps() -> None:
    z = vector("complex64")
    text = str(gn.Graph((z,), (gn.abs(z * (1.0 + 2.0j)),)))
    assert "z: c64[3]" in text
    assert "multiply(z, (1+2j))" in text
    assert ": f32[3] = abs(" in text
    assert repr(gn.exp(z)) == "<Node exp (3,) complex64>"


# --------------------------------------------------------------------------- constants and feeds


def test_constants_are_told_apart_by_bits() -> None:
    assert gn.constant(1.0 + 0.0j) is gn.constant(1.0 + 0.0j)
    assert gn.constant(complex(1.0, -0.0)) is not gn.constant(complex(1.0, 0.0))
    assert gn.constant(complex(-0.0, 1.0)) is not gn.constant(complex(0.0, 1.0))
    assert gn.constant(1.0) is not gn.constant(1.0 + 0.0j)
    assert gn.constant(1j, "complex128") is not gn.constant(1j)


def test_real_numbers_fit_complex_dtypes_and_not_the_other_way_round() -> None:
    assert gn.constant(1.5, "complex128").dtype == "complex128"
    assert gn.parameter([1.0, 2.0], dtype="complex64").value.dtype == "complex64"
    for dtype in ("float32", "int64", "bool"):
        with pytest.raises(DTypeError, match=f"complex numbers, but {dtype}"):
            gn.constant(1j, dtype)
        with pytest.raises(DTypeError, match="lose the imaginary part"):
            gn.cast(vector("complex64"), dtype)
    w = gn.parameter([1.0, 2.0])
    with pytest.raises(DTypeError):
        w.value = np.array([1j, 2j])
    with pytest.raises(DTypeError, match="1j is no float32"):
        gn.pad(vector("float32"), 1, "constant", 1j)


@pytest.mark.parametrize("backend", BACKENDS)
def test_feeds(backend: str) -> None:
    z, x = vector("complex64"), gn.input("x", (), "float32")
    f = gn.compile([z, x], z * x, backend=backend)
    expected = np.array([2j, 2.0, 4.0 + 2.0j], np.complex64)
    np.testing.assert_array_equal(f([1j, 1.0, 2 + 1j], 2.0), expected, strict=True)
    np.testing.assert_array_equal(f([1j, 1, 2 + 1j], 2), expected, strict=True)
    with pytest.raises(FeedError, match="must be complex64, not complex128"):
        f(np.ones(3, complex), 2.0)
    with pytest.raises(FeedError, match="must be complex64, not float32"):
        f(np.ones(3, np.float32), 2.0)
    with pytest.raises(FeedError, match="complex numbers, but float32"):
        f([1j, 1, 2], 2j)


@pytest.mark.parametrize("backend", BACKENDS)
def test_parameters_and_updates(backend: str) -> None:
    w = gn.parameter([1.0 + 1.0j, -2.0j], name="w")
    assert w.dtype == "complex64"
    step = gn.compile([], gn.abs(w), updates={w: w * 1j}, backend=backend)
    np.testing.assert_allclose(step(), [np.sqrt(2.0), 2.0], rtol=1e-6)
    np.testing.assert_array_equal(w.value, np.array([-1.0 + 1.0j, 2.0], np.complex64), strict=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_stopping_at_nan(backend: str) -> None:
    z = vector()
    f = gn.compile(z, gn.log(z) * 1j, backend=backend, debug="nan")
    f(np.ones(3, complex))
    with pytest.raises(NonFiniteError, match="log"):
        f(np.array([1.0, 0.0, 1j]))
    with pytest.raises(NonFiniteError, match="NaN"):
        f(np.array([1.0, complex(1.0, np.nan), 1j]))


def test_drawing(tmp_path: Path) -> None:
    z = vector()
    gn.render(gn.grad(gn.sum(gn.abs(gn.fft(z))), z), tmp_path / "gradient.dot")
    text = (tmp_path / "gradient.dot").read_text(encoding="utf-8")
    assert "c128" in text
    assert "conj" in text


# ---------------------------------------------------------------------- what has no complex form


@pytest.mark.parametrize(
    "build",
    [
        lambda z: z < 1.0,
        lambda z: gn.maximum(z, 0.0),
        lambda z: gn.max(z),
        lambda z: gn.argmin(z),
        lambda z: gn.floor(z),
        lambda z: z // 2,
        lambda z: z % 2,
        lambda z: gn.sign(z),
        lambda z: gn.softmax(z),
        lambda z: gn.var(z),
        lambda z: gn.rfft(z),
        lambda z: gn.complex(z, 1.0),
        lambda z: gn.arctan2(z, 1.0),
    ],
)
def test_ordering_and_rounding_are_refused(build: Callable[[Node], Node]) -> None:
    with pytest.raises(DTypeError, match="complex128 is not supported") as caught:
        build(vector())
    assert "gn.real, gn.imag, gn.abs and gn.angle" in str(caught.value)


def test_derivatives_that_are_refused() -> None:
    z = vector()
    with pytest.raises(DTypeError, match="a gradient is that of a real number") as caught:
        gn.grad(gn.sum(z * z), z)
    assert "gn.vjp" in str(caught.value)
    x = vector("float64", "x")
    for output, by in ((z * z, z), (gn.abs(z), z), (x * 1j, x)):
        with pytest.raises(DTypeError, match=r"jacobian: .* not one matrix"):
            gn.jacobian(output, by)
    with pytest.raises(DTypeError, match="not one matrix"):
        gn.hessian(gn.sum(gn.abs(z)), z)
    with pytest.raises(DTypeError, match="complex numbers, but float64"):
        gn.jvp(x * x, x, np.ones(3) * 1j)


# ------------------------------------------------------------------- the convention of gradients


def steepest(loss: Callable[[Array], float], at: Array, step: float = 1e-6) -> Array:
    """``dL/da + 1j * dL/db`` by central differences: what a gradient means."""
    found = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        for unit in (1.0, 1j):
            moved = np.zeros_like(at)
            moved[place] = step * unit
            found[place] += unit * (loss(at + moved) - loss(at - moved)) / (2.0 * step)
    return found


LOSSES: tuple[tuple[Callable[[Node], Node], Callable[[Array], Any]], ...] = (
    (lambda z: gn.sum(gn.real(z)), lambda z: np.sum(z.real)),
    (lambda z: gn.sum(gn.imag(z)), lambda z: np.sum(z.imag)),
    (lambda z: gn.sum(gn.square(gn.abs(z))), lambda z: np.sum(np.abs(z) ** 2)),
    (lambda z: gn.sum(gn.abs(z * z + 1j)), lambda z: np.sum(np.abs(z * z + 1j))),
    (lambda z: gn.sum(gn.angle(z)), lambda z: np.sum(np.angle(z))),
    (lambda z: gn.norm(z), lambda z: np.linalg.norm(z)),
    (lambda z: gn.norm(z, 1), lambda z: np.sum(np.abs(z))),
    (lambda z: gn.norm(z, np.inf), lambda z: np.max(np.abs(z))),
    (lambda z: gn.norm(z, 3), lambda z: np.sum(np.abs(z) ** 3) ** (1 / 3)),
    (
        lambda z: gn.real(gn.sum(gn.conj(z) * gn.exp(z))),
        lambda z: np.sum(z.conj() * np.exp(z)).real,
    ),
    (
        lambda z: gn.imag(gn.mean(gn.log(z) * gn.sqrt(z) / (z + 2.0))),
        lambda z: np.mean(np.log(z) * np.sqrt(z) / (z + 2.0)).imag,
    ),
    (lambda z: gn.real(gn.prod(z)), lambda z: np.prod(z).real),
    (lambda z: gn.imag(gn.sum(z ** (2.0 - 1.0j))), lambda z: np.sum(z ** (2.0 - 1.0j)).imag),
    (
        lambda z: gn.real(gn.sum(gn.complex(gn.abs(z), gn.real(z)) * z)),
        lambda z: np.sum((np.abs(z) + 1j * z.real) * z).real,
    ),
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("ours", "plain"), LOSSES)
def test_gradient_is_the_direction_of_steepest_ascent(
    ours: Callable[[Node], Node], plain: Callable[[Array], Any], backend: str
) -> None:
    z, at = vector(), random(3)
    loss = ours(z)
    assert loss.dtype == "float64"
    value, gradient = gn.compile(z, gn.value_and_grad(loss, z), backend=backend)(at)
    np.testing.assert_allclose(value, plain(at), rtol=1e-12)
    np.testing.assert_allclose(gradient, steepest(plain, at), rtol=1e-7, atol=1e-8)


PAIRS: tuple[tuple[Callable[..., Node], Callable[..., Any]], ...] = (
    (lambda x, y: x * y, lambda t, x, y: x * y),
    (lambda x, y: x / y, lambda t, x, y: x / y),
    (lambda x, y: gn.conj(x) - y, lambda t, x, y: x.conj() - y),
    (lambda x, y: gn.abs(x) * y, lambda t, x, y: x.abs() * y),
    (lambda x, y: gn.angle(x * y), lambda t, x, y: (x * y).angle()),
    (lambda x, y: x**y, lambda t, x, y: x**y),
    (
        lambda x, y: gn.complex(gn.real(x), gn.imag(y)),
        lambda t, x, y: t.complex(x.real, y.imag),
    ),
    (lambda x, y: gn.matmul(x, y.T), lambda t, x, y: x @ y.T),
    (lambda x, y: gn.einsum("ij,kj->ik", x, gn.conj(y)), lambda t, x, y: x @ y.mH),
    (lambda x, y: gn.cumsum(x * y, 1), lambda t, x, y: t.cumsum(x * y, 1)),
    (lambda x, y: gn.cumprod(x, 1) + y, lambda t, x, y: t.cumprod(x, 1) + y),
    (lambda x, y: gn.prod(x, 0) * y[0], lambda t, x, y: t.prod(x, 0) * y[0]),
    (lambda x, y: gn.tanh(x) + gn.sinh(y), lambda t, x, y: t.tanh(x) + t.sinh(y)),
    (lambda x, y: gn.tan(x) * gn.cosh(y), lambda t, x, y: t.tan(x) * t.cosh(y)),
    (lambda x, y: gn.sin(x) * gn.cos(y), lambda t, x, y: t.sin(x) * t.cos(y)),
    (lambda x, y: gn.reciprocal(x) + gn.square(y), lambda t, x, y: x.reciprocal() + y.square()),
    (lambda x, y: gn.where(gn.abs(x) > 1.0, x, y), lambda t, x, y: t.where(x.abs() > 1, x, y)),
    (lambda x, y: gn.norm(x, axis=1), lambda t, x, y: t.linalg.vector_norm(x, dim=1)),
    (
        lambda x, y: gn.fft(x, 5) + gn.ifft(y, 5),
        lambda t, x, y: t.fft.fft(x, 5) + t.fft.ifft(y, 5),
    ),
)
"""The same functions of ours, and of the module ``torch``."""


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_vjp_is_that_of_pytorch(ours: Callable[..., Node], theirs: Callable[..., Any]) -> None:
    torch = pytest.importorskip("torch")
    arrays = [random(2, 3, seed=1), random(2, 3, seed=2)]
    inputs = [gn.input(name, (2, 3), "complex128") for name in "xy"]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    node, tensor = ours(*inputs), theirs(torch, *tensors)
    cotangent = random(*node.shape, seed=3)
    cotangent = cotangent if is_complex(node.dtype) else cotangent.real
    slopes = gn.vjp(node, inputs, cotangent, allow_unused=True)
    value, found = gn.compile(inputs, (node, slopes))(*arrays)
    np.testing.assert_allclose(value, tensor.detach().resolve_conj().numpy(), rtol=1e-12)
    tensor.backward(torch.tensor(cotangent))
    for slope, each in zip(found, tensors, strict=True):
        wanted = np.zeros((2, 3)) if each.grad is None else each.grad.resolve_conj().numpy()
        np.testing.assert_allclose(slope, wanted, rtol=1e-11, atol=1e-12)


def test_a_real_operand_gets_a_real_gradient() -> None:
    x, z = vector("float64", "x"), vector()
    loss = gn.sum(gn.square(gn.abs(x * z + x**2)))
    by_x, by_z = gn.grad(loss, [x, z])
    assert (by_x.dtype, by_z.dtype) == ("float64", "complex128")
    at_x, at_z = random(3).real, random(3, seed=1)
    found = gn.compile([x, z], [by_x, by_z])(at_x, at_z)
    error = at_x * at_z + at_x**2
    np.testing.assert_allclose(found[0], 2.0 * (error.conj() * (at_z + 2.0 * at_x)).real)
    np.testing.assert_allclose(found[1], 2.0 * error * at_x)
    gn.check_grads(loss, {x: at_x, z: at_z})


def test_conventions_at_zero() -> None:
    z = vector()
    at = np.zeros(3, complex)
    for loss in (gn.sum(gn.abs(z)), gn.norm(z), gn.sum(gn.angle(z)), gn.norm(z, 1)):
        np.testing.assert_array_equal(gn.evaluate(gn.grad(loss, z), {z: at}), at)


def test_products_with_second_derivatives_are_those_of_the_real_and_imaginary_parts() -> None:
    a, b, z = vector("float64", "a"), vector("float64", "b"), vector()
    at, along = random(3), random(3, seed=1)

    def model(z: Node) -> Node:
        return gn.exp(z) * gn.conj(z)

    def loss(y: Node) -> Node:
        return gn.sum(gn.square(gn.abs(y * y - 1j)))

    parts = {a: at.real, b: at.imag}
    split = gn.complex(a, b)
    tangents = [along.real, along.imag]
    for whole, halves in (
        (
            gn.hvp(loss(model(z)), z, along),
            gn.hvp(loss(model(split)), [a, b], tangents),
        ),
        (
            gn.gauss_newton_product(loss(y := model(z)), y, z, along),
            gn.gauss_newton_product(loss(y := model(split)), y, [a, b], tangents),
        ),
    ):
        re, im = (gn.evaluate(half, parts) for half in halves)
        np.testing.assert_allclose(gn.evaluate(whole, {z: at}), re + 1j * im, rtol=1e-12)


def test_custom_rules_are_written_in_the_convention_of_vjp() -> None:
    @gn.custom_vjp
    def power(z: Node) -> Node:
        return gn.square(gn.abs(z))

    @power.defvjp
    def _(arguments: Any, result: Node, cotangent: Node) -> Node:
        (z,) = arguments
        return 2.0 * z * cotangent  # the direction of ascent, not its conjugate

    @gn.custom_vjp
    def product(z: Node) -> tuple[Node, Node]:
        return z * z, z * 1j

    @product.defvjp
    def _(arguments: Any, result: Any, cotangents: Any) -> Node:
        (z,), (first, second) = arguments, cotangents
        return 2.0 * gn.conj(z) * first - 1j * second

    z, at = vector(), random(3)
    gn.check_grads(power(z), {z: at})
    gn.check_grads(gn.sum(gn.stack(product(z))), {z: at})


def test_a_rule_in_the_other_convention_is_found() -> None:
    @gn.custom_vjp
    def double(z: Node) -> Node:
        return z * (2.0 + 1.0j)

    @double.defvjp
    def _(arguments: Any, result: Node, cotangent: Node) -> Node:
        return cotangent * (2.0 + 1.0j)  # not conjugated

    z = vector()
    with pytest.raises(GradientError, match="differs from central differences"):
        gn.check_grads(double(z), {z: random(3)})


def test_forward_rules_are_transposed() -> None:
    @gn.custom_jvp
    def squared_size(z: Node) -> Node:
        return gn.square(gn.abs(z))

    @squared_size.defjvp
    def _(arguments: Any, result: Node, tangents: Any) -> Node:
        (z,), (dz,) = arguments, tangents
        return 2.0 * gn.real(gn.conj(z) * dz)

    z, at = vector(), random(3)
    gradient = gn.evaluate(gn.grad(gn.sum(squared_size(z)), z), {z: at})
    np.testing.assert_allclose(gradient, 2.0 * at)
    gn.check_grads(squared_size(z), {z: at})


# -------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_gradient_descent_solves_a_least_squares_problem(backend: str, momentum: float) -> None:
    matrix, target = random(8, 3, seed=1), random(8, seed=2)
    w = gn.parameter(np.zeros(3, complex), name="w")
    loss = gn.mean(gn.square(gn.abs(gn.matmul(matrix, w) - target)))
    updates = gn.optim.SGD(0.1, momentum=momentum).minimize(loss, [w])
    step = gn.compile([], loss, updates, backend=backend)
    for _ in range(2000):
        step()
    best = np.linalg.lstsq(matrix, target, rcond=None)[0]
    np.testing.assert_allclose(w.value, best, rtol=1e-8)


def test_an_optimizer_that_squares_gradients_refuses() -> None:
    w = gn.parameter([1.0j, 2.0], name="w")
    loss = gn.sum(gn.abs(w))
    for optimizer in (gn.optim.Adam(), gn.optim.AdamW()):
        with pytest.raises(ArgumentError, match="is complex") as caught:
            optimizer.minimize(loss, [w])
        assert "gn.complex(re, im)" in str(caught.value)


def test_adam_trains_the_parts() -> None:
    re, im = gn.parameter(np.ones(3), name="re"), gn.parameter(np.ones(3), name="im")
    z = gn.complex(re, im)
    loss = gn.sum(gn.square(gn.abs(z - (0.5 - 0.25j))))
    step = gn.compile([], loss, gn.optim.Adam(0.05).minimize(loss, [re, im]))
    for _ in range(1000):
        step()
    np.testing.assert_allclose(re.value + 1j * im.value, np.full(3, 0.5 - 0.25j), atol=1e-3)


# --------------------------------------------------------------------------------- rewrite rules


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda z: gn.sqrt(z * z), lambda z: np.sqrt(z * z)),
        (lambda z: gn.log(gn.exp(5.0 * z)), lambda z: np.log(np.exp(5.0 * z))),
        (lambda z: gn.square(gn.abs(z)), lambda z: np.abs(z) ** 2),
        (lambda z: gn.abs(gn.square(z)), lambda z: np.abs(z * z)),
        (lambda z: 1.0 / gn.sqrt(z), lambda z: 1.0 / np.sqrt(z)),
        (lambda z: gn.log(1.0 + z), lambda z: np.log(1.0 + z)),
        (lambda z: 1.0 / (1.0 + gn.exp(-z)), lambda z: 1.0 / (1.0 + np.exp(-z))),
    ],
)
def test_rules_for_real_numbers_are_not_applied(build: Any, expected: Any) -> None:
    z, at = vector(), random(3)
    np.testing.assert_allclose(gn.compile(z, build(z))(at), expected(at), rtol=1e-12)


@pytest.mark.parametrize(
    "build",
    [
        lambda z: z * 1.0,
        lambda z: z + 0.0,
        lambda z: gn.negative(-z),
        lambda z: gn.where(gn.constant(True), z, gn.exp(z)),
        lambda z: gn.transpose(gn.transpose(z)),
        lambda z: gn.reciprocal(gn.reciprocal(z)),
    ],
)
def test_rules_for_all_numbers_are_applied(build: Callable[[Node], Node]) -> None:
    z = vector()
    assert gn.compile(z, build(z)).instructions == gn.compile(z, gn.flatten(z)).instructions == ()
