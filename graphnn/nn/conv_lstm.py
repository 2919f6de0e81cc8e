"""The LSTM whose products are convolutions, for sequences of signals, pictures or volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import graphnn.init as initializers
from graphnn.core.arguments import require_positive
from graphnn.core.dims import Shape, Size, as_size, is_known
from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.core.state import Parameter, parameter
from graphnn.nn.gated_cells import LSTMCell
from graphnn.ops.broadcasting import to_shape
from graphnn.ops.convolution import conv
from graphnn.ops.creation import zeros

__all__ = ["ConvLSTMCell"]


class ConvLSTMCell(LSTMCell):
    """One step of the convolutional LSTM of X. Shi et al., arXiv:1506.04214.

    The equations are those of `LSTMCell` with convolutions, padded to the same size, in place of
    the products with weights. Inputs of a step are ``(batch, in_features, *spatial_shape)``.

    Parameters
    ----------
    in_features, hidden_features : int
        Channels.
    spatial_shape : sequence of int or str
        One to three sizes. A size that is not known until a program is called has a name, the
        same as in the input: the zeros that a sequence begins with are made of it.
    kernel_size : int or sequence of int
        Of the window, along all axes or along each.
    **options
        Those of `LSTMCell` but ``projection``. Weights of peepholes have a value for every place,
        as in the paper; layer normalisation is over channels.

    Attributes
    ----------
    input_weight : Parameter of shape (4 * hidden_features, in_features, window...)
    recurrent_weight : Parameter of shape (4 * hidden_features, hidden_features, window...)
    peephole_weight : Parameter of shape (3, hidden_features, spatial_shape...), or None

    Examples
    --------
    >>> import graphnn as gn
    >>> cell = gn.nn.ConvLSTMCell(1, 8, ("height", "width"), 3)
    >>> x = gn.input("x", shape=("time", "batch", 1, "height", "width"))
    >>> gn.nn.Recurrent(cell)(x).shape
    (Dim(batch), 8, Dim(height), Dim(width))
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        spatial_shape: Sequence[Any],
        kernel_size: int | Sequence[int],
        **options: Any,
    ) -> None:
        try:
            self.spatial_shape: Shape = tuple(map(as_size, spatial_shape))
        except TypeError:
            raise ShapeError(
                f"ConvLSTMCell: spatial_shape is a sequence of sizes, not {spatial_shape!r}",
                hint="of pictures, (height, width); the size of the kernel comes after it",
            ) from None
        axes = len(self.spatial_shape)
        if not 1 <= axes <= 3:
            raise ShapeError(
                f"ConvLSTMCell: spatial_shape has one to three sizes, not "
                f"{shape_text(self.spatial_shape)}"
            )
        sizes = [kernel_size] * axes if isinstance(kernel_size, int) else list(kernel_size)
        if len(sizes) != axes:
            raise ShapeError(
                f"ConvLSTMCell: {len(sizes)} sizes of the kernel for {axes} spatial axes"
            )
        for size in sizes:
            require_positive("ConvLSTMCell", kernel_size=size)
        if options.get("projection") is not None:
            raise ArgumentError("ConvLSTMCell: it has no projection")
        self.window = tuple(sizes)
        super().__init__(in_features, hidden_features, **options)

    @property
    def element_shape(self) -> Shape:
        """Shape of the input of a step without the batch."""
        return (self.in_features, *self.spatial_shape)

    def _weight(self, init: initializers.Initializer, rows: int) -> Parameter:
        """Filters of all gates one after the other, initialised as the matrices they are."""
        shape = (rows * math.prod(self.window), self.hidden_features)
        blocks = [init(shape, self._rng).T for _ in range(self.gates)]
        filters = np.concatenate(blocks).reshape(-1, rows, *self.window)
        return parameter(filters, dtype=self._dtype)

    def _peepholes(self) -> Parameter:
        if not is_known(self.spatial_shape):
            raise ShapeError(
                "ConvLSTMCell: peepholes have a weight for every place, and spatial_shape is "
                f"{shape_text(self.spatial_shape)}",
                hint="give numbers",
            )
        rows = 2 if self.coupled else 3
        shape = (rows, self.hidden_features, *self.spatial_shape)
        return self._parameter(initializers.zeros, shape)

    def _zeros(self, batch: Size | str, features: int) -> Node:
        return zeros((batch, features, *self.spatial_shape), self.input_weight.dtype)

    def _product(self, x: Node, weight: Node) -> Node:
        return conv(x, weight, padding="same")

    def _gates_of(self, weight: Node, part: slice) -> Node:
        return weight[part]

    def _shifted(self, y: Node, bias: Node) -> Node:
        return y + to_shape(bias, (bias.shape[0], *[1] * len(self.spatial_shape)))

    def _sizes(self) -> list[Any]:
        return [*super()._sizes(), shape_text(self.spatial_shape), shape_text(self.window)]
