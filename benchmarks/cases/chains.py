"""Chains of elementwise operations: what fusion saves, and what a call costs."""

from __future__ import annotations

from functools import partial

import numpy as np

from cases.case import Arrays, Case, Function, drawn

__all__ = ["cases"]

FACTOR, TERM = np.float32(1.25), np.float32(0.5)


def arrays(size: int) -> tuple[Arrays, Arrays]:
    return {}, {"x": drawn(np.random.default_rng(0), size)}


def chained(x, length, tanh, absolute):
    """Multiply, add, absolute value, tanh, and again."""
    operations = (lambda y: y * FACTOR, lambda y: y + TERM, absolute, tanh)
    for number in range(length):
        x = operations[number % 4](x)
    return x


def with_graphnn(length: int) -> Function:
    import graphnn as gn

    return lambda p, d: chained(d["x"], length, gn.tanh, gn.abs)


def with_torch(length: int) -> Function:
    import torch

    factor, term = float(FACTOR), float(TERM)

    def result(p, d):
        x = d["x"]
        for number in range(length):
            if number % 4 == 0:
                x = x * factor
            elif number % 4 == 1:
                x = x + term
            elif number % 4 == 2:
                x = torch.abs(x)
            else:
                x = torch.tanh(x)
        return x

    return result


def with_jax(length: int) -> Function:
    import jax.numpy as jnp

    return lambda p, d: chained(d["x"], length, jnp.tanh, jnp.abs)


def with_pytensor(length: int) -> Function:
    import pytensor.tensor as pt

    return lambda p, d: chained(d["x"], length, pt.tanh, pt.abs)


def with_numpy(length: int) -> Function:
    return lambda p, d: chained(d["x"], length, np.tanh, np.abs)


def cases(*, tiny: bool) -> list[Case]:
    sizes = (7,) if tiny else (1_000, 30_000, 1_000_000, 10_000_000)
    lengths = (1, 6) if tiny else (1, 4, 16, 64)
    return [
        Case(
            name=f"chain-{length}-{size}",
            title=f"{length} elementwise operations on {size:,} numbers",
            arrays=partial(arrays, size),
            functions={
                "graphnn": partial(with_graphnn, length),
                "torch": partial(with_torch, length),
                "jax": partial(with_jax, length),
                "pytensor": partial(with_pytensor, length),
                "numpy": partial(with_numpy, length),
            },
            mode="value",
            nbytes=2.0 * 4 * size,
        )
        for length in lengths
        for size in sizes
    ]
