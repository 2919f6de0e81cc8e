"""Layer norm, GELU and a mean square, forward and backward: memory binds."""

from __future__ import annotations

from functools import partial

import numpy as np

from cases.case import Arrays, Case, Function, drawn

__all__ = ["cases"]


def arrays(rows: int, features: int) -> tuple[Arrays, Arrays]:
    rng = np.random.default_rng(0)
    parameters = {
        "x": drawn(rng, rows, features),
        "weight": 1.0 + drawn(rng, features, scale=0.1),
        "bias": drawn(rng, features, scale=0.1),
    }
    return parameters, {}


def with_graphnn() -> Function:
    import graphnn as gn

    def loss(p, d):
        return gn.mean(gn.square(gn.gelu(gn.layer_norm(p["x"], p["weight"], p["bias"]))))

    return loss


def with_torch() -> Function:
    from torch.nn import functional

    def loss(p, d):
        y = functional.layer_norm(p["x"], p["weight"].shape, p["weight"], p["bias"])
        return functional.gelu(y).square().mean()

    return loss


def with_jax() -> Function:
    import jax
    import jax.numpy as jnp

    def loss(p, d):
        x = p["x"]
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
        y = centred * jax.lax.rsqrt(variance + 1e-5) * p["weight"] + p["bias"]
        return jnp.mean(jnp.square(jax.nn.gelu(y, approximate=False)))

    return loss


def with_pytensor() -> Function:
    import pytensor.tensor as pt

    def loss(p, d):
        x = p["x"]
        centred = x - pt.mean(x, axis=-1, keepdims=True)
        variance = pt.mean(pt.sqr(centred), axis=-1, keepdims=True)
        y = centred / pt.sqrt(variance + np.float32(1e-5)) * p["weight"] + p["bias"]
        half = np.float32(0.5)
        gelu = half * y * (1 + pt.erf(y * np.float32(0.5**0.5)))
        return pt.mean(pt.sqr(gelu))

    return loss


def cases(*, tiny: bool) -> list[Case]:
    rows, features = (4, 6) if tiny else (2048, 512)
    return [
        Case(
            name="norm",
            title=f"layer norm, gelu, mean square, {rows}x{features}",
            arrays=partial(arrays, rows, features),
            functions={
                "graphnn": with_graphnn,
                "torch": with_torch,
                "jax": with_jax,
                "pytensor": with_pytensor,
            },
            mode="gradient",
            nbytes=2.0 * 4 * rows * features,  # x is read once, its gradient written once
            measures=frozenset({"start"}),
        )
    ]
