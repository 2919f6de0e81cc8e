"""Layers with windows that slide like those of convolutions, and weights for every place."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

import graphnn.init as initializers
from graphnn.core.arguments import require_positive
from graphnn.core.dtypes import FLOAT32, DTypeLike
from graphnn.core.errors import ShapeError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.spec import shape_text
from graphnn.nn.convolution import Convolutional, Sizes
from graphnn.ops.local import locally_connected

__all__ = ["LocallyConnected", "LocallyConnected1d", "LocallyConnected2d"]


class LocallyConnected(Convolutional):
    """A convolution that does not share its weights: every place has a kernel of its own.

    It is used as `LocallyConnected1d` or `LocallyConnected2d`; see
    :func:`graphnn.locally_connected`.

    Parameters
    ----------
    in_channels, out_channels : int
    size : int or sequence of int
        Of the input along its spatial axes, which the weights depend on.
    kernel_size : int or sequence of int
    stride : int or sequence of int, default 1
    bias, init, bias_init, rng, dtype
        See `Conv`; the bias belongs to a filter, not to its places.

    Attributes
    ----------
    weight : Parameter of shape (out_channels, in_channels, window..., places...)
    bias : Parameter of shape (out_channels,), or None
    """

    options = ("size", "stride")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: Sizes,
        kernel_size: Sizes,
        *,
        stride: Sizes = 1,
        bias: bool = True,
        init: initializers.Initializer = initializers.glorot_uniform,
        bias_init: initializers.Initializer = initializers.zeros,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = FLOAT32,
    ) -> None:
        what = type(self).__name__
        require_positive(what, in_channels=in_channels, out_channels=out_channels)
        self.size = self.along_axes("size", size)
        window, steps = (
            self.along_axes("kernel_size", kernel_size),
            self.along_axes("stride", stride),
        )
        if any(n < w for n, w in zip(self.size, window, strict=True)):
            raise ShapeError(f"{what}: a window of {window} does not fit into {self.size}")
        places = tuple(
            (n - w) // step + 1 for n, w, step in zip(self.size, window, steps, strict=True)
        )
        self.stride = stride

        def at_every_place(shape: tuple[int, ...], rng: np.random.Generator | None) -> Array:
            kernels = [init(shape, rng) for _ in range(prod(places))]
            return np.stack(kernels, axis=-1).reshape(*shape, *places)

        shape = (out_channels, in_channels, *window)
        super().__init__(
            in_channels, out_channels, shape, bias, at_every_place, bias_init, rng, dtype
        )

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(batch, in_channels, *size)``."""
        x = self.checked(x)
        if x.shape[2:] != self.size:
            raise ShapeError(
                f"{self!r}: space must have size {shape_text(self.size)}, not "
                f"{shape_text(x.shape[2:])}",
                hint="every place has weights of its own",
            )
        return locally_connected(x, self.weight, self.bias, stride=self.stride)


class LocallyConnected1d(LocallyConnected):
    """`LocallyConnected` for signals: ``(batch, channels, length)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.LocallyConnected1d(2, 4, (10,), 3)(gn.input("x", shape=("batch", 2, 10))).shape
    (Dim(batch), 4, 8)
    """

    n_spatial = 1


class LocallyConnected2d(LocallyConnected):
    """`LocallyConnected` for pictures: ``(batch, channels, height, width)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.LocallyConnected2d(1, 4, (8, 8), 3)
    >>> layer(gn.input("x", shape=("batch", 1, 8, 8))).shape
    (Dim(batch), 4, 6, 6)
    """

    n_spatial = 2
