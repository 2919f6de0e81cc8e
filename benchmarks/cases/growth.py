"""How the cost of compiling grows with the graph, and peak memory with the number of steps."""

from __future__ import annotations

from functools import partial

import numpy as np

from cases.case import Arrays, Case, Function, drawn
from cases.recurrent import LSTM_PEERS, Shape, lstm_with_jax, model_flops
from cases.recurrent import arrays as recurrent_arrays

__all__ = ["cases"]


def arrays() -> tuple[Arrays, Arrays]:
    return {"x": drawn(np.random.default_rng(0), 1000, scale=0.5)}, {}


def _chain(tanh, total, length: int) -> Function:
    def loss(p, d):
        x = p["x"]
        for _ in range(length):
            x = tanh(x)
        return total(x)

    return loss


def with_graphnn(length: int) -> Function:
    import graphnn as gn

    return _chain(gn.tanh, gn.sum, length)


def with_torch(length: int) -> Function:
    import torch

    return _chain(torch.tanh, torch.sum, length)


def with_jax(length: int) -> Function:
    import jax.numpy as jnp

    return _chain(jnp.tanh, jnp.sum, length)


def with_pytensor(length: int) -> Function:
    import pytensor.tensor as pt

    return _chain(pt.tanh, pt.sum, length)


def cases(*, tiny: bool) -> list[Case]:
    lengths = (3,) if tiny else (10, 100, 1000)
    scanned = (2,) if tiny else (16, 64, 256)
    remembered = (3,) if tiny else (32, 128, 512)
    transposed = frozenset({"w", "u", "v"})
    growing = [
        Case(
            name=f"compile-chain-{length}",
            title=f"{length} times tanh and its gradient",
            arrays=arrays,
            functions={
                "graphnn": partial(with_graphnn, length),
                "torch": partial(with_torch, length),
                "jax": partial(with_jax, length),
                "pytensor": partial(with_pytensor, length),
            },
            mode="gradient",
            measures=frozenset({"start"}),
        )
        for length in lengths
    ]
    for steps in scanned:
        shape = Shape(steps, 4, 8, 16, 8)
        growing.append(
            Case(
                name=f"compile-lstm-{steps}",
                title=f"small LSTM (batch 4, hidden 16) by scan, T={steps}",
                arrays=partial(recurrent_arrays, shape, 4),
                functions=LSTM_PEERS,
                flops=model_flops(shape, 4),
                transposed=transposed,
                measures=frozenset({"start"}),
            )
        )
    for steps in remembered:
        shape = Shape(steps, 4, 8, 16, 8) if tiny else Shape(steps, 32, 64, 256, 64)
        growing.append(
            Case(
                name=f"memory-lstm-{steps}",
                title=f"LSTM language model (batch {shape.batch}, hidden {shape.hidden}), "
                f"T={steps}",
                arrays=partial(recurrent_arrays, shape, 4),
                functions={
                    **LSTM_PEERS,
                    "jax.checkpoint": partial(lstm_with_jax, checkpoint=True),
                },
                flops=model_flops(shape, 4),
                transposed=transposed,
                measures=frozenset({"memory"}),
            )
        )
    return growing
