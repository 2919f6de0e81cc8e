"""Objectives of GradBench and ADBench, loss and gradient, in float32.

- ``gmm``: the log-likelihood of a Gaussian mixture with a Wishart prior (F. Srajer, Z. Kukelova,
  A. Fitzgibbon, A benchmark of selected algorithmic differentiation tools, 2018).
- ``lstm``: ADBench's: all weight matrices are diagonal, one sequence, no batch.
- ``ode``: Runge-Kutta on ``y[0]' = x[0]``, ``y[i]' = x[i] * y[i-1]``. GradBench asks for the
  gradient of the last element, which is exactly 0 where there are more than four elements for each
  step; here it is that of the sum.
- ``lse``: log-sum-exp from its primitives.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from cases.case import Arrays, Case, Function, drawn

__all__ = ["cases"]

# ----------------------------------------------------------------------------------------- gmm

WISHART_GAMMA, WISHART_M = 1.0, 0


def gmm_arrays(points: int, clusters: int, size: int) -> tuple[Arrays, Arrays]:
    rng = np.random.default_rng(0)
    parameters = {
        "alpha": drawn(rng, clusters),
        "mu": rng.random((clusters, size), dtype=np.float32),
        "q": drawn(rng, clusters, size),
        "l": drawn(rng, clusters, size * (size - 1) // 2),
    }
    return parameters, {"x": drawn(rng, points, size)}


def below_diagonal(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns in the order of ADBench: column by column."""
    columns, rows = np.triu_indices(size, 1)
    return rows, columns


def gmm_constant(points: int, clusters: int, size: int) -> float:
    """What does not depend on the parameters."""
    n = size + WISHART_M + 1
    log_gamma = 0.25 * size * (size - 1) * math.log(math.pi)
    log_gamma += sum(math.lgamma(0.5 * n - 0.5 * i) for i in range(size))
    prior = n * size * math.log(WISHART_GAMMA / math.sqrt(2.0)) - log_gamma
    return clusters * prior - 0.5 * points * size * math.log(2.0 * math.pi)


def _gmm(np_: Any, lower: Any, logsumexp: Any, p: Any, d: Any) -> Any:
    """The objective, from NumPy's names and what libraries spell differently."""
    (points, size), clusters = d["x"].shape, p["q"].shape[0]
    diagonal, sums = np_.exp(p["q"]), np_.sum(p["q"], 1)
    centred = d["x"][:, None, :] - p["mu"][None]
    transformed = diagonal * centred + np_.einsum("kij,nkj->nki", lower, centred)
    inner = p["alpha"] + sums - 0.5 * np_.sum(transformed * transformed, 2)
    likelihood = np_.sum(logsumexp(inner, 1)) - points * logsumexp(p["alpha"], 0)
    squares = np_.sum(diagonal * diagonal) + np_.sum(p["l"] * p["l"])
    prior = 0.5 * WISHART_GAMMA**2 * squares - WISHART_M * np_.sum(sums)
    return likelihood - prior + gmm_constant(points, clusters, size)


def gmm_with_graphnn() -> Function:
    import graphnn as gn

    def loss(p, d):
        clusters, size = p["q"].shape
        rows, columns = below_diagonal(size)
        zeros = gn.zeros((clusters, size, size), dtype=p["l"].dtype)
        lower = gn.scatter_set(zeros, (rows, columns), p["l"], axis=1)
        return _gmm(gn, lower, gn.logsumexp, p, d)

    return loss


def gmm_with_torch() -> Function:
    import torch

    def loss(p, d):
        clusters, size = p["q"].shape
        rows, columns = (torch.from_numpy(each) for each in below_diagonal(size))
        lower = p["l"].new_zeros(clusters, size, size)
        lower[:, rows, columns] = p["l"]
        return _gmm(torch, lower, torch.logsumexp, p, d)

    return loss


def gmm_with_jax() -> Function:
    import jax
    import jax.numpy as jnp

    def loss(p, d):
        clusters, size = p["q"].shape
        rows, columns = below_diagonal(size)
        lower = jnp.zeros((clusters, size, size), p["l"].dtype).at[:, rows, columns].set(p["l"])
        return _gmm(jnp, lower, jax.scipy.special.logsumexp, p, d)

    return loss


# ---------------------------------------------------------------------------------------- lstm


def lstm_arrays(layers: int, characters: int, bits: int) -> tuple[Arrays, Arrays]:
    rng = np.random.default_rng(0)
    parameters = {
        "main": rng.random((2 * layers, 4 * bits), dtype=np.float32),
        "extra": rng.random((3, bits), dtype=np.float32),
    }
    data = {
        "state": rng.random((2 * layers, bits), dtype=np.float32),
        "sequence": rng.integers(0, 2, (characters, bits)).astype(np.float32),
    }
    return parameters, data


def _lstm_step(np_: Any, concatenate: Any, sigmoid: Any, p: Any, state: Any, x: Any) -> Any:
    """The next state and the prediction of the next character."""
    n = x.shape[0]
    x = x * p["extra"][0]
    new = []
    for layer in range(0, len(state), 2):
        hidden, cell = state[layer], state[layer + 1]
        gates = concatenate([x, hidden, x, hidden]) * p["main"][layer] + p["main"][layer + 1]
        forget, ingate, outgate = (sigmoid(gates[k * n : (k + 1) * n]) for k in range(3))
        cell = cell * forget + ingate * np_.tanh(gates[3 * n :])
        x = outgate * np_.tanh(cell)
        new += [x, cell]
    return new, x * p["extra"][1] + p["extra"][2]


def _lstm_unrolled(np_: Any, concatenate: Any, sigmoid: Any, p: Any, d: Any) -> Any:
    n_characters, bits = d["sequence"].shape
    state = [d["state"][i] for i in range(d["state"].shape[0])]
    total = 0.0
    for t in range(n_characters - 1):
        state, guess = _lstm_step(np_, concatenate, sigmoid, p, state, d["sequence"][t])
        logs = guess - np_.log(np_.sum(np_.exp(guess)) + 2.0)
        total = total + np_.sum(d["sequence"][t + 1] * logs)
    return -total / ((n_characters - 1) * bits)


def lstm_with_graphnn() -> Function:
    import graphnn as gn

    def loss(p, d):
        def step(state, pair):
            x, following = pair
            new, guess = _lstm_step(gn, gn.concatenate, gn.sigmoid, p, state, x)
            logs = guess - gn.log(gn.sum(gn.exp(guess)) + 2.0)
            return new, gn.sum(following * logs)

        state = [d["state"][i] for i in range(d["state"].shape[0])]
        pairs = (d["sequence"][:-1], d["sequence"][1:])
        _, totals = gn.scan(step, state, pairs)
        return -gn.sum(totals) / (totals.shape[0] * d["sequence"].shape[1])

    return loss


def lstm_with_torch() -> Function:
    import torch

    return lambda p, d: _lstm_unrolled(torch, torch.cat, torch.sigmoid, p, d)


def lstm_with_jax() -> Function:
    import jax
    import jax.numpy as jnp

    def loss(p, d):
        def step(state, pair):
            x, following = pair
            new, guess = _lstm_step(jnp, jnp.concatenate, jax.nn.sigmoid, p, state, x)
            logs = guess - jnp.log(jnp.sum(jnp.exp(guess)) + 2.0)
            return new, jnp.sum(following * logs)

        pairs = (d["sequence"][:-1], d["sequence"][1:])
        _, totals = jax.lax.scan(step, list(d["state"]), pairs)
        return -jnp.sum(totals) / (totals.shape[0] * d["sequence"].shape[1])

    return loss


# ----------------------------------------------------------------------------------------- ode

END = 2.0


def ode_arrays(size: int) -> tuple[Arrays, Arrays]:
    return {"x": np.random.default_rng(0).random(size, dtype=np.float32)}, {}


def _runge_kutta(slope: Any, y: Any, step: float) -> Any:
    """One step of the classical method of fourth order."""
    k1 = slope(y)
    k2 = slope(y + 0.5 * step * k1)
    k3 = slope(y + 0.5 * step * k2)
    k4 = slope(y + step * k3)
    return y + step / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)


def ode_with_graphnn(steps: int) -> Function:
    import graphnn as gn

    def loss(p, d):
        x = p["x"]
        one = gn.ones((1,), dtype=x.dtype)
        y = gn.zeros(x.shape, dtype=x.dtype)

        def step(y, _):
            return _runge_kutta(lambda y: x * gn.concatenate([one, y[:-1]]), y, END / steps), None

        return gn.sum(gn.scan(step, y, length=steps)[0])

    return loss


def ode_with_torch(steps: int) -> Function:
    import torch

    def loss(p, d):
        x = p["x"]
        one, y = x.new_ones(1), torch.zeros_like(x)
        for _ in range(steps):
            y = _runge_kutta(lambda y: x * torch.cat([one, y[:-1]]), y, END / steps)
        return y.sum()

    return loss


def ode_with_jax(steps: int) -> Function:
    import jax
    import jax.numpy as jnp

    def loss(p, d):
        x = p["x"]
        one = jnp.ones(1, x.dtype)

        def slope(y):
            return x * jnp.concatenate([one, y[:-1]])

        def body(y, _):
            return _runge_kutta(slope, y, END / steps), None

        return jnp.sum(jax.lax.scan(body, jnp.zeros_like(x), length=steps)[0])

    return loss


# ----------------------------------------------------------------------------------------- lse


def lse_arrays(size: int) -> tuple[Arrays, Arrays]:
    return {"x": drawn(np.random.default_rng(0), size)}, {}


def _lse(np_: Any) -> Function:
    def loss(p, d):
        largest = np_.max(p["x"])
        return largest + np_.log(np_.sum(np_.exp(p["x"] - largest)))

    return loss


def lse_with_graphnn() -> Function:
    import graphnn as gn

    return _lse(gn)


def lse_with_torch() -> Function:
    import torch

    return _lse(torch)


def lse_with_jax() -> Function:
    import jax.numpy as jnp

    return _lse(jnp)


def lse_with_pytensor() -> Function:
    import pytensor.tensor as pt

    return _lse(pt)


# --------------------------------------------------------------------------------------- cases


def cases(*, tiny: bool) -> list[Case]:
    points, clusters, size = (7, 3, 4) if tiny else (1000, 25, 32)
    layers, characters, bits = (2, 5, 3) if tiny else (2, 1024, 14)
    elements, steps = (5, 3) if tiny else (1000, 100)
    terms = 9 if tiny else 1_000_000
    return [
        Case(
            name="gradbench-gmm",
            title=f"GradBench gmm, n={points}, k={clusters}, d={size}",
            arrays=partial(gmm_arrays, points, clusters, size),
            functions={
                "graphnn": gmm_with_graphnn,
                "torch": gmm_with_torch,
                "jax": gmm_with_jax,
            },
            mode="gradient",
            flops=6.0 * points * clusters * size**2,
        ),
        Case(
            name="gradbench-lstm",
            title=f"GradBench lstm, l={layers}, c={characters}",
            arrays=partial(lstm_arrays, layers, characters, bits),
            functions={
                "graphnn": lstm_with_graphnn,
                "torch": lstm_with_torch,
                "jax": lstm_with_jax,
            },
            mode="gradient",
        ),
        Case(
            name="gradbench-ode",
            title=f"GradBench ode, n={elements}, s={steps}",
            arrays=partial(ode_arrays, elements),
            functions={
                "graphnn": partial(ode_with_graphnn, steps),
                "torch": partial(ode_with_torch, steps),
                "jax": partial(ode_with_jax, steps),
            },
            mode="gradient",
        ),
        Case(
            name="gradbench-lse",
            title=f"GradBench lse, n={terms:,}",
            arrays=partial(lse_arrays, terms),
            functions={
                "graphnn": lse_with_graphnn,
                "torch": lse_with_torch,
                "jax": lse_with_jax,
                "pytensor": lse_with_pytensor,
            },
            mode="gradient",
            nbytes=2.0 * 4 * terms,
        ),
    ]
