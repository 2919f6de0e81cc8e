"""Layers one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphnn.core.errors import ArgumentError
from graphnn.nn.module import Module, shortened

__all__ = ["Sequential"]


class Sequential(Module):
    """Modules, each applied to the result of the one before.

    Parameters
    ----------
    *layers : callable
        Modules, or functions from node to node such as ``gn.relu``.

    Attributes
    ----------
    layers : list

    Examples
    --------
    >>> import graphnn as gn
    >>> model = gn.nn.Sequential(gn.nn.Dense(64, 32), gn.nn.ReLU(), gn.nn.Dense(32, 10))
    >>> model
    Sequential(Dense(64, 32), ReLU(), Dense(32, 10))
    >>> model(gn.input("x", shape=("batch", 64))).shape
    (Dim(batch), 10)
    """

    def __init__(self, *layers: Any) -> None:
        for layer in layers:
            if not callable(layer) or isinstance(layer, type):
                raise ArgumentError(
                    f"Sequential: {layer!r} is not a layer",
                    hint="layers one by one: Sequential(Dense(2, 3), ReLU())",
                )
        self.layers = list(layers)

    def forward(self, x: Any, **options: Any) -> Any:
        """Apply the layers in order."""
        if options:
            raise ArgumentError(
                f"Sequential: its layers are given one input, no {', '.join(options)}",
                hint="apply them one by one: dense(lstm(x, lengths=n))",
            )
        for layer in self.layers:
            x = layer(x)
        return x

    def extra_repr(self) -> str:
        """The layers in order."""
        return shortened([repr(layer) for layer in self.layers])

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Any:
        return self.layers[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)
