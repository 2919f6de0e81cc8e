"""Random convolutions beside those of PyTorch: values, gradients and second derivatives."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.node import Node

torch = pytest.importorskip("torch", reason="PyTorch is the second opinion of these tests")

Array = np.ndarray[Any, np.dtype[Any]]

RTOL = 1e-12
"""Both compute in float64 and sum a few dozen products, in different orders."""


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-2.0, 2.0, shape)


CONVOLUTIONS, TRANSPOSED = 72, 48
"""How many configurations of each there are."""


# ------------------------------------------------------------------------- random configurations


@dataclass(frozen=True)
class Configuration:
    """Arguments of a convolution, drawn at random."""

    x: Array
    kernel: Array
    bias: Array
    options: dict[str, Any]

    @property
    def named(self) -> dict[str, Array]:
        return {"x": self.x, "kernel": self.kernel, "bias": self.bias}

    @property
    def ndim(self) -> int:
        return self.x.ndim - 2


PADDINGS = ("valid", "full", "same", "number", "numbers", "pairs")
MODES = ("constant", "reflect", "replicate", "circular")


def draw_groups(generator: np.random.Generator) -> tuple[int, int, int]:
    """Channels, filters and groups: one group, some, or as many as there are channels."""
    kind = generator.integers(3)
    if kind == 0:
        return int(generator.integers(1, 4)), int(generator.integers(1, 4)), 1
    groups = int(generator.integers(2, 4))
    channels = groups * (1 if kind == 1 else int(generator.integers(1, 3)))
    return channels, groups * int(generator.integers(1, 3)), groups


def draw_numbers(generator: np.random.Generator, ndim: int, low: int, high: int) -> Any:
    """One number for all axes or one for each, below ``high``."""
    if generator.random() < 0.3:
        return int(generator.integers(low, high))
    return tuple(int(each) for each in generator.integers(low, high, ndim))


def draw_padding(generator: np.random.Generator, kind: str, ndim: int) -> Any:
    if kind == "number":
        return int(generator.integers(0, 3))
    if kind == "numbers":
        return tuple(int(each) for each in generator.integers(0, 3, ndim))
    if kind == "pairs":
        return tuple((int(a), int(b)) for a, b in generator.integers(0, 4, (ndim, 2)))
    return kind


def configuration(seed: int) -> Configuration:
    """A convolution: dimensions, paddings and modes take turns, the rest is random."""
    generator = np.random.default_rng(seed)
    ndim = 1 + seed % 3
    kind, mode = PADDINGS[seed // 3 % 6], MODES[seed // 18 % 4]
    channels, filters, groups = draw_groups(generator)
    window = [int(each) for each in generator.integers(1, 4, ndim)]
    dilation = draw_numbers(generator, ndim, 1, 3)
    stride = 1 if kind == "same" and mode == "constant" else draw_numbers(generator, ndim, 1, 4)
    extent = np.multiply(dilation, np.subtract(window, 1)) + 1
    # So large that the window fits, and that there is enough to reflect.
    spatial = [int(e + generator.integers(3, 6)) for e in extent]
    return Configuration(
        random(int(generator.integers(1, 3)), channels, *spatial, seed=seed),
        random(filters, channels // groups, *window, seed=seed + 1),
        random(filters, seed=seed + 2),
        {
            "stride": stride,
            "padding": draw_padding(generator, kind, ndim),
            "dilation": dilation,
            "groups": groups,
            "padding_mode": mode,
        },
    )


def transposed_configuration(seed: int) -> Configuration:
    """A transposed convolution whose result is not empty."""
    generator = np.random.default_rng(1000 + seed)
    ndim = 1 + seed % 3
    channels, filters, groups = draw_groups(generator)
    window = [int(each) for each in generator.integers(1, 4, ndim)]
    stride, dilation = (draw_numbers(generator, ndim, 1, 4) for _ in range(2))
    most = np.broadcast_to(np.maximum(stride, dilation), ndim)
    more = tuple(int(generator.integers(0, each)) for each in most)
    extent = np.multiply(dilation, np.subtract(window, 1)) + 1
    spatial = [int(each) for each in generator.integers(2, 5, ndim)]
    sizes = np.multiply(np.subtract(spatial, 1), stride) + extent + more
    padding = tuple(int(min(generator.integers(0, 4), (size - 1) // 2)) for size in sizes)
    return Configuration(
        random(int(generator.integers(1, 3)), channels, *spatial, seed=seed),
        random(channels, filters // groups, *window, seed=seed + 1),
        random(filters, seed=seed + 2),
        {
            "stride": stride,
            "padding": padding,
            "output_padding": more,
            "dilation": dilation,
            "groups": groups,
        },
    )


# ------------------------------------------------------------------------- the same in PyTorch


def torch_widths(given: Configuration) -> list[int]:
    """Elements of padding as PyTorch takes them: the last axis first."""
    ndim, padding = given.ndim, given.options["padding"]
    stride, dilation = (
        np.broadcast_to(given.options[each], ndim) for each in ("stride", "dilation")
    )
    extent = dilation * (np.array(given.kernel.shape[2:]) - 1) + 1
    n = np.array(given.x.shape[2:])
    if padding == "valid":
        pairs = np.zeros((ndim, 2), int)
    elif padding == "full":
        pairs = np.stack([extent - 1, extent - 1], 1)
    elif padding == "same":
        total = np.maximum((-(-n // stride) - 1) * stride + extent - n, 0)
        pairs = np.stack([total // 2, -(-total // 2)], 1)
    elif np.ndim(padding) < 2:
        pairs = np.stack([np.broadcast_to(padding, ndim)] * 2, 1)
    else:
        pairs = np.array(padding)
    return [int(each) for each in pairs[::-1].ravel()]


def torch_conv(given: Configuration) -> Callable[..., Any]:
    """PyTorch's convolution, after PyTorch's padding where its convolution does not take that."""
    plain = getattr(torch.nn.functional, f"conv{given.ndim}d")
    options = dict(given.options)
    mode, padding = options.pop("padding_mode"), options.pop("padding")
    if mode == "constant" and padding != "full" and np.ndim(padding) < 2:
        return lambda *args: plain(*args, padding=padding, **options)
    widths = torch_widths(given)
    pad = torch.nn.functional.pad
    return lambda x, *args: plain(pad(x, widths, mode), *args, **options)


def torch_conv_transpose(given: Configuration) -> Callable[..., Any]:
    plain = getattr(torch.nn.functional, f"conv_transpose{given.ndim}d")
    return lambda *args: plain(*args, **given.options)


def compare(
    ours: Callable[..., Node], theirs: Callable[..., Any], given: Configuration, *, twice: bool
) -> None:
    """The same value and gradients, and if wanted the same derivatives of those."""
    nodes = [gn.input(name, each.shape, each.dtype) for name, each in given.named.items()]
    tensors = [torch.tensor(each, requires_grad=True) for each in given.named.values()]
    node, tensor = ours(*nodes, **given.options), theirs(*tensors)
    assert node.shape == tuple(tensor.shape)
    weights = random(*node.shape, seed=3)
    slopes = gn.vjp(node, nodes, weights)
    wanted = torch.autograd.grad(tensor, tensors, torch.tensor(weights), create_graph=True)
    outputs, expected = [node, *slopes], [tensor, *wanted]
    if twice:
        directions = [random(*each.shape, seed=4) for each in nodes[:2]]
        outputs += gn.vjp(slopes[:2], nodes[:2], directions)
        expected += torch.autograd.grad(wanted[:2], tensors[:2], [*map(torch.tensor, directions)])
    found = gn.compile(nodes, outputs)(*given.named.values())
    for array, each in zip(found, expected, strict=True):
        right = each.detach().numpy()
        scale = max(1.0, float(np.abs(right).max(initial=0.0)))
        np.testing.assert_allclose(array, right, rtol=0.0, atol=RTOL * scale, strict=True)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("seed", range(CONVOLUTIONS))
def test_convolution(seed: int) -> None:
    given = configuration(seed)
    compare(gn.conv, torch_conv(given), given, twice=seed % 6 == 0)


@pytest.mark.parametrize("seed", range(TRANSPOSED))
def test_transposed_convolution(seed: int) -> None:
    given = transposed_configuration(seed)
    compare(gn.conv_transpose, torch_conv_transpose(given), given, twice=seed % 6 == 0)


def padding_kind(padding: Any) -> str:
    return padding if isinstance(padding, str) else ("number", "numbers", "pairs")[np.ndim(padding)]


def test_everything_is_among_the_configurations() -> None:
    convolutions = [configuration(seed) for seed in range(CONVOLUTIONS)]
    assert {
        (each.ndim, padding_kind(each.options["padding"]), each.options["padding_mode"])
        for each in convolutions
    } == set(itertools.product((1, 2, 3), PADDINGS, MODES))
    for drawn in (convolutions, [transposed_configuration(seed) for seed in range(TRANSPOSED)]):
        for ndim in (1, 2, 3):
            some = [each for each in drawn if each.ndim == ndim]
            assert {each.options["groups"] for each in some} == {1, 2, 3}
            assert any(each.options["groups"] == each.x.shape[1] > 1 for each in some)  # depthwise
            for name in ("stride", "dilation"):
                numbers = {int(n) for each in some for n in np.ravel(each.options[name])}
                assert numbers >= {1, 2}, name
