"""Convolutions of several shapes: value and gradients by images and kernel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from cases.case import Arrays, Case, Function, drawn

__all__ = ["Shape", "case_of", "cases"]


@dataclass(frozen=True)
class Shape:
    batch: int
    channels: int
    side: int
    filters: int
    window: int
    stride: int = 1

    @property
    def out(self) -> int:
        return (self.side - self.window) // self.stride + 1


SHAPES = (
    Shape(64, 1, 28, 20, 5),
    Shape(64, 20, 12, 50, 5),
    Shape(32, 32, 28, 64, 3),
    Shape(16, 64, 28, 64, 3, stride=2),
    Shape(16, 64, 28, 128, 1),
    Shape(8, 3, 112, 32, 7, stride=2),
)


def arrays(s: Shape) -> tuple[Arrays, Arrays]:
    rng = np.random.default_rng(0)
    scale = (s.channels * s.window**2) ** -0.5
    parameters = {
        "x": drawn(rng, s.batch, s.channels, s.side, s.side),
        "kernel": drawn(rng, s.filters, s.channels, s.window, s.window, scale=scale),
    }
    return parameters, {}


def with_graphnn(stride: int) -> Function:
    import graphnn as gn

    return lambda p, d: gn.mean(gn.square(gn.conv(p["x"], p["kernel"], stride=stride)))


def with_torch(stride: int) -> Function:
    from torch.nn import functional

    return lambda p, d: functional.conv2d(p["x"], p["kernel"], stride=stride).square().mean()


def with_jax(stride: int) -> Function:
    import jax
    import jax.numpy as jnp

    def loss(p, d):
        y = jax.lax.conv_general_dilated(p["x"], p["kernel"], (stride, stride), "VALID")
        return jnp.mean(jnp.square(y))

    return loss


def case_of(s: Shape) -> Case:
    """The row of a shape."""
    return Case(
        name=f"conv-{s.channels}-{s.filters}-{s.window}-{s.stride}",
        title=f"conv {s.window}x{s.window}, stride {s.stride}, {s.channels} to {s.filters} "
        f"channels, {s.batch}x{s.side}x{s.side}",
        arrays=partial(arrays, s),
        functions={
            "graphnn": partial(with_graphnn, s.stride),
            "torch": partial(with_torch, s.stride),
            "jax": partial(with_jax, s.stride),
        },
        mode="gradient",
        flops=3 * 2.0 * s.batch * s.filters * s.channels * (s.window * s.out) ** 2,
    )


def cases(*, tiny: bool) -> list[Case]:
    shapes = (Shape(2, 3, 7, 4, 3), Shape(2, 2, 7, 3, 3, 2)) if tiny else SHAPES
    return [case_of(each) for each in shapes]
