"""Matrix products of square matrices, even and odd sizes."""

from __future__ import annotations

from functools import partial

import numpy as np

from cases.case import Arrays, Case, Function, drawn

__all__ = ["cases"]

SIZES = (32, 33, 64, 100, 127, 128, 256, 257, 512, 1000, 1024)


def arrays(size: int) -> tuple[Arrays, Arrays]:
    rng = np.random.default_rng(0)
    return {}, {"a": drawn(rng, size, size), "b": drawn(rng, size, size)}


def with_graphnn() -> Function:
    return lambda p, d: d["a"] @ d["b"]


def with_pytensor() -> Function:
    import pytensor.tensor as pt

    return lambda p, d: pt.dot(d["a"], d["b"])


def cases(*, tiny: bool) -> list[Case]:
    # Every library but one writes a matrix product as Python does.
    same = dict.fromkeys(("graphnn", "torch", "jax", "numpy"), with_graphnn)
    return [
        Case(
            name=f"gemm-{size}",
            title=f"matrix product {size}x{size} @ {size}x{size}",
            arrays=partial(arrays, size),
            functions={**same, "pytensor": with_pytensor},
            mode="value",
            flops=2.0 * size**3,
        )
        for size in ((5,) if tiny else SIZES)
    ]
