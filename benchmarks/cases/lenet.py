"""Training steps of LeNet: two convolutions with pooling, two dense layers."""

from __future__ import annotations

from functools import partial

import numpy as np

from cases.case import Arrays, Case, Function, drawn

__all__ = ["cases"]


def arrays(batch: int, side: int, filters: tuple[int, int], hidden: int) -> tuple[Arrays, Arrays]:
    rng = np.random.default_rng(0)
    first, second = filters
    flat = second * (((side - 4) // 2 - 4) // 2) ** 2
    parameters = {
        "k1": drawn(rng, first, 1, 5, 5, scale=(2 / 25) ** 0.5),
        "b1": drawn(rng, first, scale=0.1),
        "k2": drawn(rng, second, first, 5, 5, scale=(2 / (25 * first)) ** 0.5),
        "b2": drawn(rng, second, scale=0.1),
        "w3": drawn(rng, flat, hidden, scale=(2 / flat) ** 0.5),
        "b3": drawn(rng, hidden, scale=0.1),
        "w4": drawn(rng, hidden, 10, scale=(2 / hidden) ** 0.5),
        "b4": drawn(rng, 10, scale=0.1),
    }
    data = {"x": drawn(rng, batch, 1, side, side), "t": rng.integers(0, 10, batch)}
    return parameters, data


def with_graphnn() -> Function:
    import graphnn as gn

    def loss(p, d):
        x = gn.max_pool(gn.relu(gn.conv(d["x"], p["k1"], p["b1"])), 2)
        x = gn.max_pool(gn.relu(gn.conv(x, p["k2"], p["b2"])), 2)
        x = gn.relu(gn.flatten(x, 1) @ p["w3"] + p["b3"])
        return gn.losses.cross_entropy(x @ p["w4"] + p["b4"], d["t"])

    return loss


def with_torch() -> Function:
    from torch.nn import functional

    def loss(p, d):
        x = functional.max_pool2d(functional.relu(functional.conv2d(d["x"], p["k1"], p["b1"])), 2)
        x = functional.max_pool2d(functional.relu(functional.conv2d(x, p["k2"], p["b2"])), 2)
        x = functional.relu(functional.linear(x.flatten(1), p["w3"], p["b3"]))
        return functional.cross_entropy(functional.linear(x, p["w4"], p["b4"]), d["t"])

    return loss


def with_jax() -> Function:
    import jax
    import jax.numpy as jnp

    def convolved(x, kernel, bias):
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID")
        return jax.nn.relu(y + bias[:, None, None])

    def pooled(x):
        window = (1, 1, 2, 2)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")

    def loss(p, d):
        x = pooled(convolved(d["x"], p["k1"], p["b1"]))
        x = pooled(convolved(x, p["k2"], p["b2"]))
        x = jax.nn.relu(x.reshape(x.shape[0], -1) @ p["w3"] + p["b3"])
        logs = jax.nn.log_softmax(x @ p["w4"] + p["b4"])
        return -jnp.mean(jnp.take_along_axis(logs, d["t"][:, None], axis=1))

    return loss


def cases(*, tiny: bool) -> list[Case]:
    batch, side, filters, hidden = (3, 16, (2, 3), 6) if tiny else (64, 28, (20, 50), 500)
    first, second = filters
    one, two = side - 4, (side - 4) // 2 - 4
    flat = second * (two // 2) ** 2
    products = (
        2 * first * 25 * one**2  # the gradient by the input is not needed
        + 3 * second * first * 25 * two**2
        + 3 * flat * hidden
        + 3 * hidden * 10
    )
    return [
        Case(
            name="lenet",
            title=f"LeNet {first}-{second}-{hidden}-10, {side}x{side}, batch {batch}",
            arrays=partial(arrays, batch, side, filters, hidden),
            functions={"graphnn": with_graphnn, "torch": with_torch, "jax": with_jax},
            flops=2.0 * batch * products,
            transposed=frozenset({"w3", "w4"}),
            measures=frozenset({"start"}),
        )
    ]
