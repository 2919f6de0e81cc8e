"""The residual block: layers that learn what is to be added to their input."""

from __future__ import annotations

from typing import Any

from graphnn.core.errors import ArgumentError, ShapeError
from graphnn.core.node import Node
from graphnn.core.spec import shape_text
from graphnn.nn.activations import Identity
from graphnn.nn.sequential import Sequential
from graphnn.ops.operands import as_node

__all__ = ["ResidualBlock"]


class ResidualBlock(Sequential):
    """``shortcut(x) + layers(x)``: layers one after another, whose result is added to their input.

    Layers over sequences, which take lengths and states, have `Residual`. Source: K. He et al.,
    Deep residual learning for image recognition, arXiv:1512.03385.

    Parameters
    ----------
    *layers : callable
        Modules, or functions from node to node; the last one gives the shape of the input, or of
        the shortcut.
    shortcut : callable, default :class:`Identity`
        What the input goes through where the shape changes: a convolution of 1 x 1, say.

    Attributes
    ----------
    layers : list
    shortcut : Module or callable

    Examples
    --------
    >>> import graphnn as gn
    >>> def conv(before, after, size, **options):
    ...     return gn.nn.Conv2d(before, after, size, bias=False, **options)
    >>> block = gn.nn.ResidualBlock(
    ...     conv(16, 32, 3, stride=2, padding=1), gn.nn.BatchNorm(32), gn.nn.ReLU(),
    ...     conv(32, 32, 3, padding=1), gn.nn.BatchNorm(32),
    ...     shortcut=gn.nn.Sequential(conv(16, 32, 1, stride=2), gn.nn.BatchNorm(32)),
    ... )
    >>> gn.nn.Sequential(block, gn.nn.ReLU())(gn.input("x", ("batch", 16, 8, 8))).shape
    (Dim(batch), 32, 4, 4)
    """

    def __init__(self, *layers: Any, shortcut: Any = None) -> None:
        if not layers:
            raise ArgumentError("ResidualBlock: there are no layers")
        super().__init__(*layers)
        self.shortcut = Identity() if shortcut is None else shortcut

    def forward(self, x: Any, **options: Any) -> Node:
        """Apply the layers, and add."""
        x = as_node(x)
        change: Node = super().forward(x, **options)
        kept: Node = self.shortcut(x)
        if change.shape != kept.shape:
            raise ShapeError(
                f"{self!r}: the layers make {shape_text(change.shape)} of {shape_text(x.shape)}, "
                f"which is not added to {shape_text(kept.shape)}",
                hint="shortcut= takes a layer that makes the same shape",
            )
        return kept + change

    def extra_repr(self) -> str:
        """The layers, and the shortcut if it does something."""
        shortcut = "" if isinstance(self.shortcut, Identity) else f", shortcut={self.shortcut!r}"
        return super().extra_repr() + shortcut
