"""A sum over looked-up rows and its gradient: many updates come to computed places."""

from __future__ import annotations

import numpy as np

from cases.case import Arrays, Function, drawn

__all__ = ["arrays", "with_graphnn", "with_jax", "with_torch"]


def arrays(count: int, rows: int, features: int) -> tuple[Arrays, Arrays]:
    """Rows come as often as words do: the first one again and again, many never."""
    rng = np.random.default_rng(0)
    shares = 1.0 / np.arange(1, rows + 1)
    words = rng.choice(rows, size=count, p=shares / shares.sum())
    return {"table": drawn(rng, rows, features)}, {
        "words": words,
        "factors": drawn(rng, count, features),
    }


def with_graphnn() -> Function:
    import graphnn as gn

    return lambda p, d: gn.sum(gn.embedding(d["words"], p["table"]) * d["factors"])


def with_torch() -> Function:
    from torch.nn import functional

    return lambda p, d: (functional.embedding(d["words"], p["table"]) * d["factors"]).sum()


def with_jax() -> Function:
    import jax.numpy as jnp

    return lambda p, d: jnp.sum(p["table"][d["words"]] * d["factors"])
