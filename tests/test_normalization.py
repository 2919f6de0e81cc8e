"""Normalization beside PyTorch's, in half floats, far from 0, and at the corners."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from beside_torch import compare
from drawing import Array

import graphnn as gn
from graphnn.core.errors import DTypeError, ShapeError
from graphnn.core.graph import topological_order
from graphnn.core.node import Node

SEEDS = range(12)


@pytest.fixture
def functional() -> Any:
    """The second opinion."""
    return pytest.importorskip("torch.nn.functional", reason="PyTorch is not installed")


def draw(rng: np.random.Generator, least: int, most: int = 5) -> tuple[int, ...]:
    """A shape of that many axes."""
    return tuple(int(size) for size in rng.integers(2, 6, rng.integers(least, most)))


def parameters(rng: np.random.Generator, shape: tuple[int, ...], number: int) -> list[Array]:
    return [rng.uniform(-2.0, 2.0, shape) for _ in range(number)]


# ------------------------------------------------------------------------------ beside PyTorch


@pytest.mark.parametrize("seed", SEEDS)
def test_norms_over_features(functional: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = draw(rng, 1)
    last = int(rng.integers(1, len(shape) + 1))
    axes, sizes = tuple(range(-last, 0)), shape[-last:]
    x, eps = rng.normal(size=shape), float(rng.choice([1e-5, 1e-2, 1.0]))
    compare(
        lambda x, *p: gn.layer_norm(x, *p, axis=axes, eps=eps),
        lambda x, *p: functional.layer_norm(x, sizes, *p, eps=eps),
        x,
        *parameters(rng, sizes, seed % 3),
    )
    compare(
        lambda x, *p: gn.rms_norm(x, *p, axis=axes, eps=eps),
        lambda x, *p: functional.rms_norm(x, sizes, *p, eps=eps),
        x,
        *parameters(rng, sizes, seed % 2),
    )


def last_to_second(x: Any) -> Any:
    return x.movedim(-1, 1)


def second_to_last(x: Any) -> Any:
    return x.movedim(1, -1)


@pytest.mark.parametrize("seed", SEEDS)
def test_norms_of_channels(functional: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, each = (int(number) for number in rng.integers(1, 4, 2))
    channels = groups * each
    places = draw(rng, 1, 3)
    x, p = rng.normal(size=(3, channels, *places)), parameters(rng, (channels,), seed % 3)
    compare(
        lambda x, *p: gn.group_norm(x, groups, *p),
        lambda x, *p: functional.group_norm(x, groups, *p),
        x,
        *p,
    )
    compare(gn.instance_norm, lambda x, *p: functional.instance_norm(x, None, None, *p), x, *p)
    last = np.moveaxis(x, 1, -1)
    compare(
        lambda x, *p: gn.group_norm(x, groups, *p, axis=-1),
        lambda x, *p: second_to_last(functional.group_norm(last_to_second(x), groups, *p)),
        last,
        *p,
    )
    size = int(rng.integers(1, 7))
    compare(
        lambda x: gn.local_response_norm(x, size, 0.5, 0.6, 2.0),
        lambda x: functional.local_response_norm(x, size, 0.5, 0.6, 2.0),
        x,
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_batch_norm_of_known_statistics(functional: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (*draw(rng, 2, 3), *draw(rng, 1, 3))[: int(rng.integers(2, 5))]
    channels = shape[1]
    statistics = [rng.normal(size=channels), rng.uniform(0.5, 2.0, channels)]
    # Derivatives by the statistics are not in PyTorch: there they are no inputs of the graph.
    mean, var = (gn.constant(each) for each in statistics)
    tensors = [functional.torch.tensor(each) for each in statistics]
    compare(
        lambda x, *p: gn.batch_norm(x, mean, var, *p, eps=0.1),
        lambda x, *p: functional.batch_norm(x, *tensors, *p, eps=0.1),
        rng.normal(size=shape),
        *parameters(rng, (channels,), seed % 3),
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_batch_norm_of_a_batch(functional: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (*draw(rng, 2, 3), *draw(rng, 1, 3))[: int(rng.integers(2, 5))]
    channels = shape[1]
    zeros, ones = gn.zeros(channels, "float64"), gn.ones(channels, "float64")
    compare(
        lambda x, *p: gn.batch_norm_train(x, zeros, ones, *p)[0],
        lambda x, *p: functional.batch_norm(x, None, None, *p, training=True),
        rng.normal(size=shape),
        *parameters(rng, (channels,), seed % 3),
    )


@pytest.mark.parametrize("momentum", [0.0, 0.1, 0.5, 1.0])
def test_running_statistics_over_many_batches(functional: Any, momentum: float) -> None:
    torch, rng = functional.torch, np.random.default_rng(0)
    x = gn.input("x", ("batch", 3, "length"), "float64")
    mean, var = gn.parameter(np.zeros(3)), gn.parameter(np.ones(3))
    y, new_mean, new_var = gn.batch_norm_train(x, mean, var, momentum=momentum)
    step = gn.compile(x, y, updates={mean: new_mean, var: new_var})
    predict = gn.compile(x, gn.batch_norm(x, mean, var))
    theirs = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for number in range(8):
        batch = rng.normal(number, 1.0 + number, (2 + number % 3, 3, 1 + number % 2))
        tensor = torch.tensor(batch)
        wanted = functional.batch_norm(tensor, *theirs, training=True, momentum=momentum)
        np.testing.assert_allclose(step(batch), wanted.numpy(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(mean.value, theirs[0].numpy(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(var.value, theirs[1].numpy(), rtol=1e-12, atol=1e-12)
        wanted = functional.batch_norm(tensor, *theirs)
        np.testing.assert_allclose(predict(batch), wanted.numpy(), rtol=1e-12, atol=1e-12)


# --------------------------------------------------------------------------------- every norm

Build = Callable[..., Node]

NORMS: dict[str, tuple[tuple[int, ...], int, Build]] = {
    # The shape of x, the number of parameters of shape (6,), and the function of all of them.
    "standardize": ((4, 6), 0, gn.standardize),
    "layer_norm": ((4, 6), 2, lambda x, *p: gn.layer_norm(x, *p)),
    "rms_norm": ((4, 6), 1, lambda x, *p: gn.rms_norm(x, *p)),
    "group_norm": ((4, 6, 5), 2, lambda x, *p: gn.group_norm(x, 2, *p)),
    "instance_norm": ((4, 6, 5), 2, gn.instance_norm),
    "batch_norm_train": (
        (8, 6),
        2,
        lambda x, *p: gn.batch_norm_train(x, gn.zeros(6, x.dtype), gn.ones(6, x.dtype), *p)[0],
    ),
    "local_response_norm": ((4, 6), 0, lambda x: gn.local_response_norm(x, 3, 1.0)),
}
OFFSET_FREE = sorted(NORMS.keys() - {"rms_norm", "local_response_norm"})

every_norm = pytest.mark.parametrize("name", NORMS)


def values_and_gradients(name: str, arrays: list[Array], cotangent: Array) -> list[Array]:
    """The value of a norm, and its gradient by every array."""
    inputs = [gn.input(f"x{i}", each.shape, each.dtype) for i, each in enumerate(arrays)]
    result = NORMS[name][2](*inputs)
    slopes = gn.vjp(result, inputs, cotangent.astype(result.dtype))
    found: list[Array] = gn.compile(inputs, [result, *slopes])(*arrays)
    return found


def feeds(name: str, seed: int = 0) -> tuple[list[Array], Array]:
    """Values for x and the parameters, and a cotangent."""
    rng, (shape, number, _) = np.random.default_rng(seed), NORMS[name]
    arrays = [rng.normal(size=shape), *(rng.uniform(0.5, 2.0, 6) for _ in range(number))]
    return arrays, rng.normal(size=shape)


@every_norm
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_floats_are_rounded_once(name: str, dtype: str) -> None:
    arrays, cotangent = feeds(name)
    halves = [each.astype(dtype) for each in arrays]
    cotangent = cotangent.astype(dtype)
    wide = [each.astype(np.float64) for each in halves]
    found = values_and_gradients(name, halves, cotangent)
    wanted = values_and_gradients(name, wide, cotangent.astype(np.float64))
    eps = float(ml_dtypes.finfo(dtype).eps)
    for given, exact in zip(found, wanted, strict=True):
        assert given.dtype == np.dtype(dtype)
        # Half a unit in the last place, and float32's own error where terms cancel.
        error = np.abs(given.astype(np.float64) - exact)
        assert np.all(error <= 0.51 * eps * np.abs(exact) + 1e-6), name


@every_norm
def test_parameters_may_be_wider_than_half_floats(name: str) -> None:
    arrays, cotangent = feeds(name)
    x, *others = (each.astype(np.float32) for each in arrays)
    value, slope, *slopes = values_and_gradients(name, [x.astype(np.float16), *others], cotangent)
    assert value.dtype == slope.dtype == np.float16
    assert [each.dtype for each in slopes] == [np.float32] * len(others)
    if others:
        with pytest.raises(DTypeError, match="do not mix"):
            values_and_gradients(name, [x, *(each.astype(np.float16) for each in others)], x)


@pytest.mark.parametrize("name", OFFSET_FREE)
@pytest.mark.parametrize(("offset", "noise"), [(1e4, 1.0), (1e4, 0.01), (-1e6, 1.0), (0.0, 1e-3)])
def test_an_offset_costs_no_digits(name: str, offset: float, noise: float) -> None:
    arrays, cotangent = feeds(name)
    arrays[0] = offset + noise * arrays[0]
    narrow = [each.astype(np.float32) for each in [*arrays, cotangent]]
    wide = [each.astype(np.float64) for each in narrow]
    found = values_and_gradients(name, narrow[:-1], narrow[-1])
    wanted = values_and_gradients(name, wide[:-1], wide[-1])
    for given, exact in zip(found, wanted, strict=True):
        assert np.abs(given - exact).max() <= 2e-6 * np.abs(exact).max()


@pytest.mark.parametrize("name", OFFSET_FREE)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4 + 0.1, -3e7])
def test_equal_elements_give_the_bias(name: str, value: float) -> None:
    arrays, cotangent = feeds(name)
    arrays[0] = np.full(arrays[0].shape, value)
    bias = arrays[2] if len(arrays) > 2 else np.zeros(6)
    narrow = [each.astype(np.float32) for each in arrays]
    found, *slopes = values_and_gradients(name, narrow, cotangent)
    wanted = bias[:, None] if found.ndim == 3 else bias
    np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), rtol=0, atol=1e-6)
    assert all(np.isfinite(each).all() for each in slopes)


@every_norm
def test_named_and_empty_batches(name: str) -> None:
    arrays, cotangent = feeds(name)
    x = gn.input("x", ("batch", *arrays[0].shape[1:]), "float64")
    parameters = [gn.constant(each) for each in arrays[1:]]
    result = NORMS[name][2](x, *parameters)
    assert result.shape == x.shape
    program = gn.compile(x, [result, gn.grad(gn.sum(result * result), x)])
    value, _ = program(arrays[0])
    np.testing.assert_array_equal(value, values_and_gradients(name, arrays, cotangent)[0])
    assert [each.shape for each in program(arrays[0][:0])] == [(0, *arrays[0].shape[1:])] * 2


@every_norm
def test_a_norm_is_one_node(name: str) -> None:
    arrays, _ = feeds(name)
    inputs = [gn.input(f"x{i}", each.shape) for i, each in enumerate(arrays)]
    made = topological_order([NORMS[name][2](*inputs)], boundary=inputs)
    assert [node.op.name for node in made if node.inputs and node.op.name == name] == [name]


@pytest.mark.parametrize("name", OFFSET_FREE)
def test_gradients_reuse_the_statistics(name: str) -> None:
    arrays, _ = feeds(name)
    inputs = [gn.input(f"x{i}", each.shape, "float64") for i, each in enumerate(arrays)]
    result = NORMS[name][2](*inputs)
    cotangent = gn.input("cotangent", result.shape, "float64")
    program = gn.compile([*inputs, cotangent], [result, *gn.vjp(result, inputs, cotangent)])
    names = [node.op.name for each in program.instructions for node in each.nodes]
    assert names.count("sqrt") == 1
    # Three for the value, two for the gradient by x, and one for that by each parameter.
    assert names.count("sum") == 4 + len(arrays)


# ------------------------------------------------------------------------------------- corners


def test_batch_norm_of_one_value_is_refused_when_the_size_is_known() -> None:
    x = gn.input("x", ("batch", 3))
    y, mean, var = gn.batch_norm_train(x, gn.zeros(3), gn.ones(3))
    step = gn.compile(x, [y, mean, var])
    with pytest.raises(ShapeError, match="one value per channel"):
        step(np.ones((1, 3), np.float32))
    assert step(np.ones((2, 3), np.float32))[0].shape == (2, 3)


def test_an_empty_batch_leaves_the_statistics() -> None:
    x = gn.input("x", ("batch", 2))
    step = gn.compile(x, gn.batch_norm_train(x, gn.constant([1.0, 2.0]), gn.constant([3.0, 4.0])))
    y, mean, var = step(np.ones((0, 2), np.float32))
    assert y.shape == (0, 2)
    np.testing.assert_array_equal(mean, [1.0, 2.0])
    np.testing.assert_array_equal(var, [3.0, 4.0])


def test_groups_in_a_channel_axis_of_named_size() -> None:
    x = gn.input("x", ("batch", "channels", 3), "float64")
    both = gn.concatenate([x, 2.0 * x], axis=1)
    array = np.random.default_rng(0).normal(size=(2, 4, 3))
    result = gn.evaluate(gn.group_norm(both, 2, eps=0), {x: array})
    one = gn.evaluate(gn.group_norm(array, 1, eps=0), {})
    np.testing.assert_allclose(result, np.concatenate([one, one], 1), rtol=0, atol=1e-14)
    with pytest.raises(ShapeError, match="do not divide into 3 groups"):
        gn.group_norm(both, 3)


def test_third_derivatives() -> None:
    x = gn.input("x", (4,), "float64")
    slope = gn.grad(gn.sum(gn.layer_norm(x) ** 3), x)
    gn.check_grads(slope, {x: [0.5, -1.0, 2.0, 0.1]})
