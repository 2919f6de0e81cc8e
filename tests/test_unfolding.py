"""Convolutions as products by a library: when, how they lie, and what they give on the shim."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cuda_shim
import numpy as np
import pytest
from checks import check_forward, dtypes_of
from cuda_shim import ShimDevice, mistaken_source
from device_oracle import TwiceExecutable
from drawing import Case, cases, is_drawable
from native_oracle import check_training, convolutional
from recording_device import RecordingDevice

import graphnn as gn
from graphnn.compiler.backends import BACKENDS
from graphnn.compiler.backends.on_device import DeviceExecutable
from graphnn.compiler.cuda import unfolding
from graphnn.compiler.cuda.code import Matrices, Part
from graphnn.compiler.cuda.indices import index_type
from graphnn.compiler.cuda.side_by_side import steps_of
from graphnn.compiler.cuda.windows import reaches
from graphnn.compiler.kernel import Contraction

torch = pytest.importorskip("torch", reason="PyTorch is the second opinion of these tests")


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that can be a product becomes one, on the shim."""
    for name in ("LEAST_USES", "LEAST_SUMMED"):
        monkeypatch.setattr(unfolding, name, 1)
    monkeypatch.setattr(unfolding, "LEAST_ROWS", 12)
    device = ShimDevice()
    monkeypatch.setitem(BACKENDS, "cupy", lambda unit: TwiceExecutable(unit, device))


def convolutions(dtype: str) -> list[Case]:
    """Those of the op table."""
    return [
        each
        for each in cases()
        if each.operation.name in ("conv", "conv_transpose")
        and dtype in dtypes_of(each.operation)
        and is_drawable(each.sample, dtype)
    ]


@pytest.mark.parametrize(("dtype", "every"), [("float32", 2), ("bfloat16", 5)])
def test_samples_of_the_table(always: None, dtype: str, every: int) -> None:
    known = convolutions(dtype)
    assert len(known) > 20
    check_forward(known[::every], dtype, "cupy")


def test_training_is_as_exact_as_without_fusion(always: None) -> None:
    check_training(convolutional, "cupy")


# ------------------------------------------------------------------- all three, beside PyTorch

LAYERS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9, 8), (5, 3, 3, 3), {"padding": 1}),
    ((2, 4, 9, 8), (6, 2, 3, 3), {"padding": 1, "stride": 2, "groups": 2}),
    ((2, 4, 5, 6), (6, 4, 1, 1), {}),
    ((3, 4, 5, 6), (7, 4, 1, 1), {"stride": 2}),
    ((2, 3, 12, 9), (5, 3, 3, 2), {"dilation": (2, 1), "padding": (2, 0), "stride": (2, 1)}),
    ((2, 4, 6, 7), (8, 1, 3, 3), {"groups": 4}),
    ((1, 3, 40), (4, 3, 5), {"padding": 2, "stride": 3}),
    ((2, 2, 4, 5, 4), (3, 2, 2, 3, 2), {"padding": (1, 0, 1)}),
]


def with_gradients(x: gn.Node, w: gn.Node, options: dict[str, Any]) -> list[gn.Node]:
    y = gn.conv(x, w, **options)
    return [y, gn.tanh(y) + 1.0, *gn.grad(gn.sum(y**3), [x, w])]


@pytest.mark.parametrize("most", [unfolding.MOST_NBYTES, 10_000])
def test_convolutions_and_their_gradients(
    always: None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One program: one call of the compiler. With little memory, copies are made in slices."""
    monkeypatch.setattr(unfolding, "MOST_NBYTES", most)
    rng = np.random.default_rng(0)
    inputs, outputs, feeds, expected = [], [], [], []
    for number, (shape, window, options) in enumerate(LAYERS):
        pair = [
            gn.input(f"x{number}", shape, "float64"),
            gn.input(f"w{number}", window, "float64"),
        ]
        arrays = [rng.normal(size=each.shape) for each in pair]
        inputs += pair
        feeds += arrays
        outputs += with_gradients(*pair, options)
        x, w = (torch.tensor(each, requires_grad=True) for each in arrays)
        function = getattr(torch.nn.functional, f"conv{len(shape) - 2}d")
        y = function(x, w, **options)
        expected += [y, torch.tanh(y) + 1.0, *torch.autograd.grad((y**3).sum(), [x, w])]
    program = gn.compile(inputs, outputs, backend="cupy")
    does = [launch.does for step in steps_of(program.unit)[0] for launch in step.launches]
    sliced = [each for each in does if isinstance(each, Part) and each.name.endswith("left1")]
    if most == 10_000:
        assert len(sliced) > 3
    else:
        assert sum(isinstance(each, Matrices) for each in does) == 3 * len(LAYERS)
    for found, wanted in zip(program(*feeds), expected, strict=True):
        np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-10, atol=1e-10)


MISTAKES = {
    "a wrong tap": ("i5 * 1 - (1)", "i5 * 1 - (0)"),
    "a window looks past the end": ("at1 <= 7", "at1 <= 6"),
    "a wrong place of the copy": ("% 8;", "% 7;"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_makes_results_wrong(
    always: None, mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_shim, "shim_source", mistaken_source(*MISTAKES[mistake]))
    x, w = gn.input("x", (2, 3, 9, 8)), gn.input("w", (5, 3, 3, 3))
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=each.shape).astype("float32") for each in (x, w)]
    y = gn.conv(x, w, padding=1)
    found = gn.compile([x, w], y, backend="cupy")(*feeds)
    expected = gn.compile([x, w], y, backend="reference")(*feeds)
    assert not np.allclose(found, expected, rtol=1e-4)


# ------------------------------------------------------------------------------- what is chosen


def launches(
    shape: tuple[int, ...], window: tuple[int, ...], **options: Any
) -> Iterator[tuple[str, ...]]:
    """Of a convolution, its gradient by the array and that by the filters."""
    x, w = gn.input("x", shape), gn.input("w", window)
    y = gn.conv(x, w, **options)
    for value in (y, *gn.grad(gn.sum(y**2), [x, w])):
        given = gn.compile([x, w], value, backend="cupy", verify=False)
        steps, _ = steps_of(given.unit)
        *_, step = (each for each in steps if isinstance(each.instruction.kernel, Contraction))
        yield tuple(
            "".join(launch.does.name.split("_", 2)[2:]) or "kernel"
            if isinstance(launch.does, Part)
            else "product"
            for launch in step.launches
        )


def test_long_sums_are_products_of_copies() -> None:
    forward, by_array, by_filters = launches((16, 64, 14, 14), (64, 64, 3, 3), padding=1)
    assert forward == ("left", "product")  # one for each example: it lies as the result does
    assert by_array == ("left", "right", "product")  # filters are turned
    assert by_filters == ("left", "right", "product", "kernel")


def test_few_places_are_one_product_for_all_examples() -> None:
    forward, _, _ = launches((16, 64, 7, 7), (64, 64, 3, 3), padding=1)
    assert forward == ("left", "product", "kernel")


def test_large_copies_are_made_in_slices() -> None:
    forward, by_array, by_filters = launches((256, 64, 56, 56), (64, 64, 3, 3), padding=1)
    assert forward == ("left", "product", "left1", "product")  # 1.8 GB, by examples
    assert by_array == ("left", "right", "product", "left1", "product")
    assert by_filters[-3:] == ("left2", "product", "kernel")  # by channels


def test_windows_of_one_element_are_not_copied() -> None:
    forward, by_array, _ = launches((16, 64, 14, 14), (32, 64, 1, 1))
    assert forward == ("product",)
    assert by_array == ("product",)


@pytest.mark.parametrize(
    ("shape", "window", "options"),
    [
        ((16, 64, 14, 14), (31, 64, 3, 3), {"padding": 1}),  # too few filters
        ((16, 3, 14, 14), (64, 3, 3, 3), {"padding": 1}),  # short sums
        ((16, 64, 14, 14), (64, 1, 3, 3), {"padding": 1, "groups": 64}),
        ((1, 64, 4096, 4096), (64, 64, 3, 3), {"padding": 1}),  # a copy of one example: 39 GB
    ],
)
def test_what_does_not_pay_stays_one_kernel(
    shape: tuple[int, ...], window: tuple[int, ...], options: dict[str, Any]
) -> None:
    forward, *_ = launches(shape, window, **options)
    assert forward == ("kernel",)


def contraction_of(shape: tuple[int, ...]) -> Contraction:
    x, w = gn.input("x", shape), gn.input("w", (64, shape[1], 3, 3))
    program = gn.compile([x, w], gn.conv(x, w, padding=1), backend="cupy", verify=False)
    (kernel,) = (each.kernel for each in program.unit.instructions)
    assert isinstance(kernel, Contraction)
    return kernel


def test_windows_have_64_bits_where_they_must() -> None:
    near, many = contraction_of((64, 64, 64, 64)), contraction_of((2048, 64, 64, 64))
    (first, *others) = near.bounds
    far = replace(near, bounds=(replace(first, step=1 << 26), *others))
    found = [index_type(*reaches(each)) for each in (near, many, far)]
    assert found == ["int", "i64", "i64"]


def test_copies_lie_in_scratch_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    device = RecordingDevice()  # which looks at every address of a product
    monkeypatch.setitem(BACKENDS, "cupy", lambda unit: DeviceExecutable(unit, device))
    x, w = gn.input("x", (4, 32, 13, 13)), gn.parameter(np.zeros((33, 32, 3, 3), "float32"))
    loss = gn.sum(gn.tanh(gn.conv(x, w, padding=1)))
    gradients = gn.grad(loss, [x, w])
    program = gn.compile(x, gradients, {w: w - gradients[1]}, backend="cupy")
    program(np.zeros((4, 32, 13, 13), "float32"))
    products = [each for each in device.launched if isinstance(each.does, Matrices)]
    assert len(products) == 3
    assert all(address % 64 == 0 for each in products for address in each.addresses[:2])
