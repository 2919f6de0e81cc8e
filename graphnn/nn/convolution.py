"""Convolutional layers: plain, transposed and depthwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

import graphnn.init as initializers
from graphnn.core.arguments import options_of, require_positive
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.core.state import parameter
from graphnn.nn.module import Module
from graphnn.ops.convolution import conv
from graphnn.ops.operands import as_node
from graphnn.ops.transposed_convolution import conv_transpose

__all__ = [
    "Conv",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "DepthwiseConv2d",
]

Sizes = int | Sequence[int]


class Convolutional(Module):
    """What the layers share: a weight with a window, a bias, and a look at the input's axes."""

    n_spatial: ClassVar[int]
    """Spatial axes."""
    options: ClassVar[tuple[str, ...]]
    """Names of what is told in the repr where it is not the default; they are attributes."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        shape: tuple[int, ...],
        bias: bool,
        init: initializers.Initializer,
        bias_init: initializers.Initializer,
        rng: np.random.Generator | None,
        dtype: DTypeLike,
    ) -> None:
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = shape[2:]
        self.weight = parameter(init(shape, rng), dtype=dtype)
        self.bias = parameter(bias_init((out_channels,), rng), dtype=dtype) if bias else None

    def along_axes(self, name: str, given: Sizes) -> tuple[int, ...]:
        """Positive sizes along all spatial axes."""
        what = type(self).__name__
        sizes = tuple(given) if isinstance(given, Sequence) else (given,) * self.n_spatial
        if len(sizes) != self.n_spatial:
            raise ShapeError(f"{what}: {name} has {self.n_spatial} sizes, not {given}")
        for each in sizes:
            require_positive(what, **{name: each})
        return sizes

    def checked(self, x: Any) -> Node:
        """The input, if it has the channels and axes that the layer is made for."""
        given = as_node(x)
        if given.ndim != self.n_spatial + 2 or given.shape[1] != self.in_channels:
            spatial = ("length", "height, width", "depth, height, width")[self.n_spatial - 1]
            raise ShapeError(
                f"{self!r}: the input must be (batch, {self.in_channels}, {spatial}), its shape "
                f"is {shape_text(given.shape)}",
                hint="channels come before space; gn.expand_dims(x, 1) makes one channel",
            )
        return given

    def extra_repr(self) -> str:
        """Channels, window, and what is not the default."""
        window = self.kernel_size
        size = window[0] if len(set(window)) == 1 else window
        parts = [f"{self.in_channels}, {self.out_channels}, {size}"]
        usual = options_of(type(self))
        given = {name: getattr(self, name) for name in self.options}
        parts += [f"{name}={each!r}" for name, each in given.items() if each != usual[name]]
        return ", ".join(parts + (["bias=False"] if self.bias is None else []))


class _Sliding(Convolutional):
    """A layer of one kernel for all places: its operator takes the weight and all options."""

    operator: ClassVar[Callable[..., Node]]

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(batch, in_channels, *spatial)``."""
        options = {name: getattr(self, name) for name in self.options}
        return self.operator(self.checked(x), self.weight, self.bias, **options)


class Conv(_Sliding):
    """Cross-correlation with learned kernels: what networks call convolution.

    It is used as `Conv1d`, `Conv2d` or `Conv3d`.

    ``y[n, f, i] = sum_cj(x[n, c, stride*i + dilation*j - before] * weight[f, c, j]) + bias[f]``;
    see :func:`graphnn.conv`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or sequence of int
        Of the window, along all axes or along each.
    stride : int or sequence of int, default 1
    padding : {"valid", "same", "full"}, int or sequence, default "valid"
    dilation : int or sequence of int, default 1
        Distance of the elements that a window sees (atrous convolution).
    groups : int, default 1
        Channels and filters are divided into so many groups.
    padding_mode : {"constant", "reflect", "edge", "wrap"}, default "constant"
        What is padded: zeros, the reflection, the nearest element, or what comes round the other
        side; as in :func:`graphnn.pad`.
    flip : bool, default False
        True convolution, in which kernels are turned round.
    bias : bool, default True
    init : initialiser, default :func:`graphnn.init.glorot_uniform`
    bias_init : initialiser, default :func:`graphnn.init.zeros`
    rng : numpy.random.Generator, optional
        For the initialisers; default: the stream that ``gn.seed`` starts.
    dtype : optional
        Default float32.

    Attributes
    ----------
    weight : Parameter of shape (out_channels, in_channels // groups, window...)
    bias : Parameter of shape (out_channels,), or None
    """

    operator = staticmethod(conv)
    options = ("stride", "padding", "dilation", "groups", "padding_mode", "flip")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        *,
        stride: Sizes = 1,
        padding: Any = "valid",
        dilation: Sizes = 1,
        groups: int = 1,
        padding_mode: str = "constant",
        flip: bool = False,
        bias: bool = True,
        init: initializers.Initializer = initializers.glorot_uniform,
        bias_init: initializers.Initializer = initializers.zeros,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        _require_groups(type(self).__name__, in_channels, out_channels, groups)
        shape = (out_channels, in_channels // groups, *self.along_axes("kernel_size", kernel_size))
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups, self.padding_mode, self.flip = groups, padding_mode, flip
        super().__init__(in_channels, out_channels, shape, bias, init, bias_init, rng, dtype)


class Conv1d(Conv):
    """`Conv` of signals: ``(batch, channels, length)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.Conv1d(3, 8, 5, padding="same")(gn.input("x", shape=("batch", 3, "time"))).shape
    (Dim(batch), 8, Dim(time))
    """

    n_spatial = 1


class Conv2d(Conv):
    """`Conv` of pictures: ``(batch, channels, height, width)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.Conv2d(1, 20, 5)
    >>> layer
    Conv2d(1, 20, 5)
    >>> layer(gn.input("x", shape=("batch", 1, 28, 28))).shape
    (Dim(batch), 20, 24, 24)
    """

    n_spatial = 2


class Conv3d(Conv):
    """`Conv` of volumes, or of pictures over time: ``(batch, channels, depth, height, width)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.Conv3d(1, 4, 3, padding="same")(gn.input("x", shape=("batch", 1, 8, 8, 8))).shape
    (Dim(batch), 4, 8, 8, 8)
    """

    n_spatial = 3


class DepthwiseConv2d(Conv2d):
    """A convolution of pictures in which every channel has kernels of its own.

    A `Conv2d` with as many groups as channels. Source: F. Chollet, arXiv:1610.02357.

    Parameters
    ----------
    channels : int
    kernel_size : int or sequence of int
    multiplier : int, default 1
        Filters for each channel.
    **options
        Those of `Conv` but ``groups``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.DepthwiseConv2d(8, 3)(gn.input("x", shape=("batch", 8, 10, 10))).shape
    (Dim(batch), 8, 8, 8)
    """

    def __init__(
        self, channels: int, kernel_size: Sizes, multiplier: int = 1, **options: Any
    ) -> None:
        require_positive("DepthwiseConv2d", channels=channels, multiplier=multiplier)
        super().__init__(channels, channels * multiplier, kernel_size, groups=channels, **options)


class ConvTranspose(_Sliding):
    """The transpose of a convolution, which makes signals, pictures and volumes larger.

    It is used as `ConvTranspose1d`, `ConvTranspose2d` or `ConvTranspose3d`; see
    :func:`graphnn.conv_transpose`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or sequence of int
    stride : int or sequence of int, default 1
        Distance of the elements of the input in the result.
    padding : {"valid", "full"}, int or sequence, default "valid"
        What the convolution of which this is the transpose pads; here it is cut off.
    output_padding : int or sequence of int, default 0
        How many elements the result is longer behind.
    dilation : int or sequence of int, default 1
    groups : int, default 1
    bias, init, bias_init, rng, dtype
        See `Conv`.

    Attributes
    ----------
    weight : Parameter of shape (in_channels, out_channels // groups, window...)
    bias : Parameter of shape (out_channels,), or None
    """

    operator = staticmethod(conv_transpose)
    options = ("stride", "padding", "output_padding", "dilation", "groups")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        *,
        stride: Sizes = 1,
        padding: Any = "valid",
        output_padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        init: initializers.Initializer = initializers.glorot_uniform,
        bias_init: initializers.Initializer = initializers.zeros,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        _require_groups(type(self).__name__, in_channels, out_channels, groups)
        shape = (in_channels, out_channels // groups, *self.along_axes("kernel_size", kernel_size))
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups, self.output_padding = groups, output_padding
        super().__init__(in_channels, out_channels, shape, bias, init, bias_init, rng, dtype)


class ConvTranspose1d(ConvTranspose):
    """`ConvTranspose` of signals: ``(batch, channels, length)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.ConvTranspose1d(4, 2, 3, stride=2)(gn.input("x", shape=("batch", 4, 10))).shape
    (Dim(batch), 2, 21)
    """

    n_spatial = 1


class ConvTranspose2d(ConvTranspose):
    """`ConvTranspose` of pictures: ``(batch, channels, height, width)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)
    >>> layer(gn.input("x", shape=("batch", 8, 16, 16))).shape
    (Dim(batch), 3, 32, 32)
    """

    n_spatial = 2


class ConvTranspose3d(ConvTranspose):
    """`ConvTranspose` of volumes: ``(batch, channels, depth, height, width)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.ConvTranspose3d(4, 2, 2, stride=2)(gn.input("x", shape=("batch", 4, 3, 3, 3))).shape
    (Dim(batch), 2, 6, 6, 6)
    """

    n_spatial = 3


def _require_groups(what: str, in_channels: int, out_channels: int, groups: int) -> None:
    require_positive(what, in_channels=in_channels, out_channels=out_channels, groups=groups)
    if in_channels % groups or out_channels % groups:
        raise ArgumentError(
            f"{what}: {in_channels} channels and {out_channels} filters do not divide into "
            f"{groups} groups"
        )
