"""Convolutions, pooling and normalisations against PyTorch's layers: values and all gradients."""

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, ShapeError

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)


def signals(*shape):
    return RNG.normal(size=shape).astype("float32")


CASES = {
    "conv1d": (lambda: gn.nn.Conv1d(4, 6, 3), lambda t: t.Conv1d(4, 6, 3), (2, 4, 11)),
    "conv2d": (
        lambda: gn.nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, dilation=(1, 2), groups=2),
        lambda t: t.Conv2d(4, 6, (3, 2), stride=2, padding=1, dilation=(1, 2), groups=2),
        (2, 4, 9, 8),
    ),
    "conv3d": (
        lambda: gn.nn.Conv3d(2, 3, 2, bias=False),
        lambda t: t.Conv3d(2, 3, 2, bias=False),
        (2, 2, 4, 5, 4),
    ),
    "circular": (
        lambda: gn.nn.Conv2d(2, 3, 3, padding=1, padding_mode="wrap"),
        lambda t: t.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
        (2, 2, 5, 6),
    ),
    "depthwise": (
        lambda: gn.nn.DepthwiseConv2d(3, 3, 2),
        lambda t: t.Conv2d(3, 6, 3, groups=3),
        (2, 3, 6, 6),
    ),
    "transposed 1d": (
        lambda: gn.nn.ConvTranspose1d(3, 4, 3, stride=2),
        lambda t: t.ConvTranspose1d(3, 4, 3, stride=2),
        (2, 3, 5),
    ),
    "transposed 2d": (
        lambda: gn.nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        lambda t: t.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        (2, 4, 5, 4),
    ),
    "transposed 3d": (
        lambda: gn.nn.ConvTranspose3d(2, 3, 2),
        lambda t: t.ConvTranspose3d(2, 3, 2),
        (1, 2, 3, 3, 3),
    ),
    "max pool": (lambda: gn.nn.MaxPool(2), lambda t: t.MaxPool2d(2), (2, 3, 6, 7)),
    "max pool, other options": (
        lambda: gn.nn.MaxPool(3, stride=2, padding=1, dilation=2),
        lambda t: t.MaxPool2d(3, stride=2, padding=1, dilation=2),
        (2, 3, 9, 8),
    ),
    "average pool": (
        lambda: gn.nn.AvgPool(3, stride=2, padding=1),
        lambda t: t.AvgPool1d(3, stride=2, padding=1),
        (2, 3, 9),
    ),
    "L2 pool": (lambda: gn.nn.LPPool(2, 2), lambda t: t.LPPool2d(2, 2), (2, 3, 6, 6)),
    "adaptive average": (
        lambda: gn.nn.AdaptiveAvgPool((2, 3)),
        lambda t: t.AdaptiveAvgPool2d((2, 3)),
        (2, 3, 5, 7),
    ),
    "adaptive max": (
        lambda: gn.nn.AdaptiveMaxPool(3),
        lambda t: t.AdaptiveMaxPool2d(3),
        (2, 3, 5, 7),
    ),
    "global average": (
        lambda: gn.nn.GlobalAvgPool(),
        lambda t: t.Sequential(t.AdaptiveAvgPool2d(1), t.Flatten()),
        (2, 3, 5, 7),
    ),
    "global max": (
        lambda: gn.nn.GlobalMaxPool(),
        lambda t: t.Sequential(t.AdaptiveMaxPool2d(1), t.Flatten()),
        (2, 3, 5, 7),
    ),
    "nearest": (lambda: gn.nn.Upsample(2), lambda t: t.Upsample(scale_factor=2), (2, 3, 4, 5)),
    "bilinear": (
        lambda: gn.nn.Upsample(size=(9, 7), method="linear", align_corners=True),
        lambda t: t.Upsample(size=(9, 7), mode="bilinear", align_corners=True),
        (2, 3, 4, 5),
    ),
    "zeros around": (lambda: gn.nn.Pad(2), lambda t: t.ZeroPad2d(2), (2, 3, 4, 5)),
    "reflection": (
        lambda: gn.nn.Pad([1, (2, 1)], "reflect"),
        lambda t: t.ReflectionPad2d((2, 1, 1, 1)),
        (2, 3, 4, 5),
    ),
    "flatten": (lambda: gn.nn.Flatten(), lambda t: t.Flatten(), (2, 3, 4)),
    "flatten later": (lambda: gn.nn.Flatten(2), lambda t: t.Flatten(2), (2, 3, 4, 2)),
    "batch norm": (
        lambda: gn.nn.BatchNorm(3, momentum=0.3),
        lambda t: t.BatchNorm2d(3, momentum=0.3),
        (4, 3, 5, 2),
    ),
    "batch norm of rows": (
        lambda: gn.nn.BatchNorm(5, affine=False),
        lambda t: t.BatchNorm1d(5, affine=False),
        (6, 5),
    ),
    "layer norm": (lambda: gn.nn.LayerNorm(5), lambda t: t.LayerNorm(5), (2, 3, 5)),
    "RMS norm": (lambda: gn.nn.RMSNorm(5), lambda t: t.RMSNorm(5, eps=1e-6), (2, 3, 5)),
    "instance norm": (
        lambda: gn.nn.InstanceNorm(3, affine=True),
        lambda t: t.InstanceNorm2d(3, affine=True),
        (2, 3, 4, 5),
    ),
    "group norm": (lambda: gn.nn.GroupNorm(2, 4), lambda t: t.GroupNorm(2, 4), (2, 4, 5)),
    "local response": (
        lambda: gn.nn.LocalResponseNorm(3, 0.1),
        lambda t: t.LocalResponseNorm(3, 0.1),
        (2, 5, 4, 4),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layers_and_gradients_agree_with_pytorch(case):
    make, make_theirs, shape = CASES[case]
    layer, theirs = make(), make_theirs(torch.nn)
    for parameter in theirs.parameters():  # scales that are 1 would hide mistakes
        parameter.data = torch.from_numpy(signals(*parameter.shape))
    own = dict(layer.named_parameters())
    names = dict(theirs.named_parameters())
    assert list(own) == list(names)
    for name, parameter in own.items():
        parameter.value = names[name].detach().numpy()
    array = signals(*shape)
    x = gn.input("x", shape=shape)
    y = layer(x)
    expected = theirs(given := torch.from_numpy(array).requires_grad_())
    weights = signals(*expected.shape)
    wanted = [x, *own.values()]
    gradients = gn.grad(gn.sum(y * gn.constant(weights)), wanted)
    step = gn.compile(x, [y, *gradients], updates=layer.state_updates())
    value, *found = step(array)
    (expected * torch.from_numpy(weights)).sum().backward()
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-5, atol=2e-6)
    peers = [given.grad, *(names[name].grad for name in own)]
    for gradient, peer in zip(found, peers, strict=True):
        np.testing.assert_allclose(gradient, peer.numpy(), rtol=2e-5, atol=1e-5)
    if "batch norm" in case:
        compare_in_evaluation(layer, theirs, array)


def compare_in_evaluation(layer, theirs, array):
    np.testing.assert_allclose(layer.running_mean.value, theirs.running_mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(layer.running_variance.value, theirs.running_var, rtol=1e-5)
    x = gn.input("x", shape=array.shape)
    program = gn.compile(x, layer.eval()(x))
    expected = theirs.eval()(torch.from_numpy(array)).detach().numpy()
    np.testing.assert_allclose(program(array), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("axes", "stride"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_locally_connected_layers_are_convolutions_place_by_place(axes, stride):
    make = {1: gn.nn.LocallyConnected1d, 2: gn.nn.LocallyConnected2d}[axes]
    layer = make(2, 3, (6, 5)[:axes], 2, stride=stride)
    array = signals(4, 2, *(6, 5)[:axes])
    found = gn.evaluate(layer(gn.constant(array)))
    places = layer.weight.shape[2 + axes :]
    assert found.shape == (4, 3, *places)
    for place in np.ndindex(*places):
        window = array[
            (slice(None), slice(None), *(slice(stride * i, stride * i + 2) for i in place))
        ]
        kernel = layer.weight.value[(slice(None), slice(None), *[slice(None)] * axes, *place)]
        expected = np.tensordot(window, kernel, (range(1, 2 + axes), range(1, 2 + axes)))
        np.testing.assert_allclose(found[(..., *place)], expected, rtol=1e-5, atol=1e-6)


def test_unpooling_puts_back():
    array = signals(2, 3, 6, 4)
    x = gn.input("x", shape=array.shape)
    found = gn.evaluate(
        gn.nn.MaxUnpool((6, 4))(*gn.nn.MaxPool(2, return_indices=True)(x)), {x: array}
    )
    pooled, places = torch.nn.MaxPool2d(2, return_indices=True)(torch.from_numpy(array))
    np.testing.assert_array_equal(found, torch.nn.MaxUnpool2d(2)(pooled, places).numpy())


def test_true_convolution_turns_kernels_round():
    layer = gn.nn.Conv1d(1, 1, 3, padding="full", flip=True, bias=False)
    layer.weight.value = [[[1.0, 2.0, 3.0]]]
    found = gn.evaluate(layer(gn.constant([[[1.0, 0.0, -1.0]]])))
    np.testing.assert_array_equal(found[0, 0], np.convolve([1, 0, -1], [1, 2, 3]))


def test_batch_statistics_are_saved_and_written_by_programs_alone():
    layer = gn.nn.Sequential(gn.nn.Dense(3, 4), gn.nn.BatchNorm(4))
    x = gn.input("x", shape=("batch", 3))
    y = layer(x)
    array = signals(5, 3)
    gn.compile(x, y)(array)
    before = layer.state_dict()
    assert before["layers.1.running_mean"].tolist() == [0.0] * 4
    gn.compile(x, y, updates=layer.state_updates())(array)
    after = layer.state_dict()
    assert after["layers.1.running_mean"].any()
    assert len(layer.parameters()) == 4
    layer.eval()(x)
    assert layer.state_updates() == {}


def test_how_layers_look():
    assert repr(gn.nn.Conv2d(4, 8, (3, 5), stride=2, groups=2, bias=False)) == (
        "Conv2d(4, 8, (3, 5), stride=2, groups=2, bias=False)"
    )
    assert repr(gn.nn.ConvTranspose1d(4, 8, 3)) == "ConvTranspose1d(4, 8, 3)"
    assert repr(gn.nn.LocallyConnected1d(1, 4, 8, 3)) == "LocallyConnected1d(1, 4, 3, size=(8,))"
    assert repr(gn.nn.MaxPool(2, stride=1)) == "MaxPool(2, stride=1)"
    assert repr(gn.nn.GroupNorm(2, 4, affine=False)) == "GroupNorm(2, 4, affine=False)"
    assert repr(gn.nn.Flatten()) == "Flatten()"
    assert repr(gn.nn.BatchNorm(4)) == "BatchNorm(4)"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: gn.nn.Conv2d(3, 4, 5)(x), ShapeError, r"must be \(batch, 3, height, width\)"),
        (lambda x: gn.nn.Conv1d(1, 4, 5)(x), ShapeError, r"must be \(batch, 1, length\)"),
        (lambda x: gn.nn.Conv2d(3, 4, 5, groups=2), ArgumentError, "do not divide into 2 groups"),
        (lambda x: gn.nn.Conv2d(3, 4, (5, 5, 5)), ShapeError, "kernel_size has 2 sizes"),
        (lambda x: gn.nn.Conv2d(3, 4, 0), ArgumentError, "kernel_size must be"),
        (lambda x: gn.nn.LocallyConnected2d(1, 2, (4, 4), 5), ShapeError, "does not fit"),
        (lambda x: gn.nn.LocallyConnected2d(1, 2, (4, 4), 2)(x), ShapeError, "space must have"),
        (lambda x: gn.nn.BatchNorm(0), ArgumentError, "features must be"),
    ],
)
def test_layers_refuse(call, error, words):
    with pytest.raises(error, match=words):
        call(gn.input("x", shape=("batch", 1, 8, 8)))
