"""Layers without weights that change space: pooling, up-sampling, padding, flattening."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphnn.core.node import Node
from graphnn.nn.module import Module
from graphnn.ops.adaptive_pooling import (
    adaptive_avg_pool,
    adaptive_max_pool,
    global_avg_pool,
    global_max_pool,
)
from graphnn.ops.mean_pooling import avg_pool, lp_pool
from graphnn.ops.movement import flatten
from graphnn.ops.operands import as_node
from graphnn.ops.padding import pad
from graphnn.ops.pooling import max_pool, max_unpool
from graphnn.ops.resampling import resize

__all__ = [
    "AdaptiveAvgPool",
    "AdaptiveMaxPool",
    "AvgPool",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "LPPool",
    "MaxPool",
    "MaxUnpool",
    "Pad",
    "Upsample",
]

Sizes = int | Sequence[int]


class _Options(Module):
    """A layer that hands its options to one function."""

    def __init__(self, *given: Any, **options: Any) -> None:
        self.given = given
        self.options = options

    def extra_repr(self) -> str:
        """What is not the default."""
        parts = [repr(each) for each in self.given]
        parts += [f"{name}={value!r}" for name, value in self.options.items()]
        return ", ".join(parts)


class MaxPool(_Options):
    """The largest element that a sliding window sees, of any number of spatial axes.

    Parameters
    ----------
    window : int or sequence of int
    **options
        ``stride`` (default: the window), ``padding``, ``dilation``, ``ceil_mode``: those of
        :func:`graphnn.max_pool`.

    Examples
    --------
    >>> import graphnn as gn
    >>> layer = gn.nn.MaxPool(2)
    >>> layer(gn.input("x", shape=("batch", 20, 24, 24))).shape
    (Dim(batch), 20, 12, 12)
    """

    def __init__(self, window: Sizes, **options: Any) -> None:
        super().__init__(window, **options)

    def forward(self, x: Any) -> Any:
        """Apply the layer to nodes of shape ``(batch, channels, *spatial)``."""
        return max_pool(x, *self.given, **self.options)


class AvgPool(_Options):
    """The mean of what a sliding window sees, of any number of spatial axes.

    Parameters
    ----------
    window : int or sequence of int
    **options
        Those of :func:`graphnn.avg_pool`.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.AvgPool(2)(gn.input("x", shape=("batch", 8, 6, 6))).shape
    (Dim(batch), 8, 3, 3)
    """

    def __init__(self, window: Sizes, **options: Any) -> None:
        super().__init__(window, **options)

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(batch, channels, *spatial)``."""
        return avg_pool(x, *self.given, **self.options)


class LPPool(_Options):
    """The norm of what a sliding window sees: ``sum(abs(x)**p) ** (1/p)``; ``p=2`` is L2 pooling.

    Parameters
    ----------
    p : float
    window : int or sequence of int
    **options
        Those of :func:`graphnn.lp_pool`.

    Examples
    --------
    >>> import graphnn as gn
    >>> pool = gn.nn.LPPool(2, 2)
    >>> gn.evaluate(pool(gn.constant([[[3.0, 4.0, 0.0, 1.0]]])))
    array([[[5., 1.]]], dtype=float32)
    """

    def __init__(self, p: float, window: Sizes, **options: Any) -> None:
        super().__init__(p, window, **options)

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(batch, channels, *spatial)``."""
        return lp_pool(x, *self.given, **self.options)


class MaxUnpool(_Options):
    """Largest elements put back to where a `MaxPool` with ``return_indices=True`` found them.

    Parameters
    ----------
    size : int or sequence of int
        Of space in the result.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=("batch", 3, 8, 8))
    >>> pooled, where = gn.nn.MaxPool(2, return_indices=True)(x)
    >>> gn.nn.MaxUnpool((8, 8))(pooled, where).shape
    (Dim(batch), 3, 8, 8)
    """

    def __init__(self, size: Sizes) -> None:
        super().__init__(size)

    def forward(self, x: Any, indices: Any) -> Node:
        """Apply the layer to what a `MaxPool` gave."""
        return max_unpool(x, indices, *self.given)


class AdaptiveAvgPool(_Options):
    """Means over windows that divide space into so many places, whatever its size.

    Parameters
    ----------
    size : int, None, or a tuple of them
        See :func:`graphnn.adaptive_avg_pool`.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.AdaptiveAvgPool((2, 3))(gn.input("x", shape=("batch", 8, 5, 7))).shape
    (Dim(batch), 8, 2, 3)
    """

    def __init__(self, size: Any) -> None:
        super().__init__(size)

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(batch, channels, *spatial)``."""
        return adaptive_avg_pool(x, *self.given)


class AdaptiveMaxPool(_Options):
    """Largest elements of windows that divide space into so many places, whatever its size.

    Parameters
    ----------
    size : int, None, or a tuple of them
        See :func:`graphnn.adaptive_max_pool`.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.AdaptiveMaxPool(3)(gn.input("x", shape=("batch", 8, 5, 7))).shape
    (Dim(batch), 8, 3, 3)
    """

    def __init__(self, size: Any) -> None:
        super().__init__(size)

    def forward(self, x: Any) -> Any:
        """Apply the layer to nodes of shape ``(batch, channels, *spatial)``."""
        return adaptive_max_pool(x, *self.given)


class GlobalAvgPool(_Options):
    """The mean of every channel over all of space: ``(batch, channels)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.GlobalAvgPool()(gn.input("x", shape=("batch", 8, 5, 7))).shape
    (Dim(batch), 8)
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(batch, channels, *spatial)``."""
        return global_avg_pool(x)


class GlobalMaxPool(_Options):
    """The largest element of every channel: ``(batch, channels)``.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.GlobalMaxPool()(gn.input("x", shape=("batch", 8, 5, 7))).shape
    (Dim(batch), 8)
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(batch, channels, *spatial)``."""
        return global_max_pool(x)


class Upsample(_Options):
    """Space of another size: of the nearest elements, or interpolated linearly.

    Parameters
    ----------
    scale : float or sequence of float, optional
    **options
        ``size`` in place of ``scale``, ``method`` ("nearest", "nearest-exact" or "linear") and
        ``align_corners``: those of :func:`graphnn.resize`.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.Upsample(2, method="linear")(gn.input("x", shape=("batch", 3, 8, 8))).shape
    (Dim(batch), 3, 16, 16)
    """

    def __init__(self, scale: Any = None, **options: Any) -> None:
        super().__init__(**({} if scale is None else {"scale": scale}), **options)

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(batch, channels, *spatial)``."""
        return resize(x, **self.options)


class Pad(_Options):
    """Elements around space: zeros, a reflection, the nearest ones, or those of the other side.

    Parameters
    ----------
    width : int, or sequence of int or pair of int
        How many: on all sides, along each axis, or before and behind along each axis.
    mode : {"constant", "reflect", "symmetric", "edge", "wrap"}, default "constant"
        See :func:`graphnn.pad`.

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.Pad(2, "reflect")(gn.input("x", shape=("batch", 3, 8, 8))).shape
    (Dim(batch), 3, 12, 12)
    """

    def __init__(self, width: Any, mode: str = "constant") -> None:
        super().__init__(width, mode)

    def forward(self, x: Any) -> Node:
        """Apply the layer to nodes of shape ``(batch, channels, *spatial)``."""
        x = as_node(x)
        width, mode = self.given
        widths = [width] * (x.ndim - 2) if isinstance(width, int) else list(width)
        return pad(x, [(0, 0), (0, 0), *_pairs(widths)], mode)


def _pairs(widths: Sequence[Any]) -> list[tuple[int, int]]:
    return [(each, each) if isinstance(each, int) else tuple(each) for each in widths]


class Flatten(Module):
    """All axes from one on as one, by default all but the batch's.

    Parameters
    ----------
    start_axis : int, default 1

    Examples
    --------
    >>> import graphnn as gn
    >>> gn.nn.Flatten()(gn.input("x", shape=("batch", 20, 4, 4))).shape
    (Dim(batch), 320)
    """

    def __init__(self, start_axis: int = 1) -> None:
        self.start_axis = start_axis

    def forward(self, x: Any) -> Node:
        """Apply the layer."""
        return flatten(x, self.start_axis)

    def extra_repr(self) -> str:
        """The first axis, if it is not 1."""
        return "" if self.start_axis == 1 else str(self.start_axis)
