"""Training steps of a perceptron with one hidden layer."""

from __future__ import annotations

from functools import partial

import numpy as np

from cases.case import Arrays, Case, Function, drawn

__all__ = ["cases"]


def arrays(batch: int, inputs: int, hidden: int, classes: int) -> tuple[Arrays, Arrays]:
    rng = np.random.default_rng(0)
    parameters = {
        "w1": drawn(rng, inputs, hidden, scale=(2 / inputs) ** 0.5),
        "b1": drawn(rng, hidden, scale=0.1),
        "w2": drawn(rng, hidden, classes, scale=(2 / hidden) ** 0.5),
        "b2": drawn(rng, classes, scale=0.1),
    }
    data = {"x": drawn(rng, batch, inputs), "t": rng.integers(0, classes, batch)}
    return parameters, data


def with_graphnn() -> Function:
    import graphnn as gn

    def loss(p, d):
        hidden = gn.relu(d["x"] @ p["w1"] + p["b1"])
        return gn.losses.cross_entropy(hidden @ p["w2"] + p["b2"], d["t"])

    return loss


def with_torch() -> Function:
    from torch.nn import functional

    def loss(p, d):
        hidden = functional.relu(functional.linear(d["x"], p["w1"], p["b1"]))
        return functional.cross_entropy(functional.linear(hidden, p["w2"], p["b2"]), d["t"])

    return loss


def with_jax() -> Function:
    import jax
    import jax.numpy as jnp

    def loss(p, d):
        hidden = jax.nn.relu(d["x"] @ p["w1"] + p["b1"])
        logs = jax.nn.log_softmax(hidden @ p["w2"] + p["b2"])
        return -jnp.mean(jnp.take_along_axis(logs, d["t"][:, None], axis=1))

    return loss


def with_pytensor() -> Function:
    import pytensor.tensor as pt

    def loss(p, d):
        hidden = pt.maximum(pt.dot(d["x"], p["w1"]) + p["b1"], 0.0)
        logs = pt.special.log_softmax(pt.dot(hidden, p["w2"]) + p["b2"], axis=1)
        return -pt.mean(logs[pt.arange(d["t"].shape[0]), d["t"]])

    return loss


FUNCTIONS = {
    "graphnn": with_graphnn,
    "torch": with_torch,
    "jax": with_jax,
    "pytensor": with_pytensor,
}


def cases(*, tiny: bool) -> list[Case]:
    inputs, hidden, classes = (12, 8, 5) if tiny else (784, 128, 10)
    return [
        Case(
            name=f"mlp-{batch}",
            title=f"MLP {inputs}-{hidden}-{classes}, batch {batch}",
            arrays=partial(arrays, batch, inputs, hidden, classes),
            functions=FUNCTIONS,
            # The gradient by the input is not needed.
            flops=2.0 * batch * (2 * inputs * hidden + 3 * hidden * classes),
            transposed=frozenset({"w1", "w2"}),
            measures=frozenset({"start"}),
        )
        for batch in ((3, 5) if tiny else (32, 128))
    ]
