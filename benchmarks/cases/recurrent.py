"""Recurrent nets: LSTM, GRU and a simple net, written as users write them.

The gates of the LSTM come in the order input, forget, cell, output and those of the GRU in the
order reset, update, candidate, as in PyTorch. PyTorch runs its own layers, graphnn, JAX and
PyTensor scan, autograd unrolls in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cases.case import Arrays, Case, Function, drawn

__all__ = ["LSTM_PEERS", "Shape", "arrays", "cases", "lstm_with_jax", "model_flops"]


@dataclass(frozen=True)
class Shape:
    """Of a recurrent net whose outputs of all steps go through a dense layer.

    ``targets`` 0 stands for no such layer: the loss is the mean of all states.
    """

    steps: int
    batch: int
    inputs: int
    hidden: int
    targets: int = 0


def arrays(s: Shape, gates: int) -> tuple[Arrays, Arrays]:
    rng = np.random.default_rng(0)
    parameters = {
        "w": drawn(rng, s.inputs, gates * s.hidden, scale=s.inputs**-0.5),
        "u": drawn(rng, s.hidden, gates * s.hidden, scale=s.hidden**-0.5),
        "b": drawn(rng, gates * s.hidden, scale=0.1),
    }
    data: Arrays = {"x": drawn(rng, s.steps, s.batch, s.inputs)}
    if s.targets:
        parameters["v"] = drawn(rng, s.hidden, s.targets, scale=s.hidden**-0.5)
        parameters["c"] = drawn(rng, s.targets, scale=0.1)
        symbols = rng.integers(0, s.inputs, (s.steps, s.batch))
        data["x"] = np.eye(s.inputs, dtype=np.float32)[symbols]
        data["t"] = rng.integers(0, s.targets, (s.steps, s.batch))
    return parameters, data


# ------------------------------------------------------------------------------------- graphnn


def _graphnn_loss(states: Any, p: Any, d: Any) -> Any:
    import graphnn as gn

    if "v" not in p:
        return gn.mean(states)
    return gn.losses.cross_entropy(states @ p["v"] + p["c"], d["t"])


def lstm_with_graphnn() -> Function:
    import graphnn as gn

    def loss(p, d):
        def step(carry, x):
            h, c = carry
            z = x @ p["w"] + h @ p["u"] + p["b"]
            i, f, o = (gn.sigmoid(z[:, k * n : (k + 1) * n]) for k in (0, 1, 3))
            c = f * c + i * gn.tanh(z[:, 2 * n : 3 * n])
            h = o * gn.tanh(c)
            return (h, c), h

        n = p["u"].shape[0]
        zeros = gn.zeros((d["x"].shape[1], n), dtype=d["x"].dtype)
        return _graphnn_loss(gn.scan(step, (zeros, zeros), d["x"])[1], p, d)

    return loss


def gru_with_graphnn() -> Function:
    import graphnn as gn

    def loss(p, d):
        def step(h, x):
            a, z = x @ p["w"] + p["b"], h @ p["u"]
            r, u = (gn.sigmoid((a + z)[:, k * n : (k + 1) * n]) for k in (0, 1))
            h = u * h + (1.0 - u) * gn.tanh(a[:, 2 * n :] + r * z[:, 2 * n :])
            return h, h

        n = p["u"].shape[0]
        zeros = gn.zeros((d["x"].shape[1], n), dtype=d["x"].dtype)
        return _graphnn_loss(gn.scan(step, zeros, d["x"])[1], p, d)

    return loss


# ------------------------------------------------------------------------------------- PyTorch


def _with_torch(layer: str) -> Function:
    import torch
    from torch.nn import functional

    layer_function = getattr(torch, layer)  # what torch.nn.LSTM and GRU call

    @torch.compiler.disable  # as torch.compile does with these modules by default
    def run(*arguments):
        return layer_function(*arguments)

    def loss(p, d):
        batch, n = d["x"].shape[1], p["u"].shape[1]
        zeros = d["x"].new_zeros(1, batch, n)
        weights = [p["w"], p["u"], p["b"], torch.zeros_like(p["b"])]
        first = (zeros, zeros) if layer == "lstm" else zeros
        states = run(d["x"], first, weights, True, 1, 0.0, True, False, False)[0]
        if "v" not in p:
            return states.mean()
        logits = functional.linear(states, p["v"], p["c"])
        return functional.cross_entropy(logits.flatten(0, 1), d["t"].flatten())

    return loss


# ----------------------------------------------------------------------------------------- JAX


def _jax_loss(states: Any, p: Any, d: Any) -> Any:
    import jax
    import jax.numpy as jnp

    if "v" not in p:
        return jnp.mean(states)
    logs = jax.nn.log_softmax(states @ p["v"] + p["c"])
    return -jnp.mean(jnp.take_along_axis(logs, d["t"][..., None], axis=-1))


def lstm_with_jax(*, checkpoint: bool = False) -> Function:
    import jax
    import jax.numpy as jnp

    def loss(p, d):
        def cell(carry, x):
            h, c = carry
            z = x @ p["w"] + h @ p["u"] + p["b"]
            i, f, g, o = jnp.split(z, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((d["x"].shape[1], p["u"].shape[0]), d["x"].dtype)
        body = jax.checkpoint(cell) if checkpoint else cell
        _, states = jax.lax.scan(body, (zeros, zeros), d["x"])
        return _jax_loss(states, p, d)

    return loss


def gru_with_jax() -> Function:
    import jax
    import jax.numpy as jnp

    def loss(p, d):
        n = p["u"].shape[0]

        def cell(h, x):
            a, z = x @ p["w"] + p["b"], h @ p["u"]
            r, u = jnp.split(jax.nn.sigmoid(a[:, : 2 * n] + z[:, : 2 * n]), 2, axis=1)
            h = u * h + (1 - u) * jnp.tanh(a[:, 2 * n :] + r * z[:, 2 * n :])
            return h, h

        zeros = jnp.zeros((d["x"].shape[1], n), d["x"].dtype)
        _, states = jax.lax.scan(cell, zeros, d["x"])
        return _jax_loss(states, p, d)

    return loss


# ------------------------------------------------------------------------------------ PyTensor


def gru_with_pytensor() -> Function:
    import pytensor.tensor as pt
    from pytensor import scan

    def loss(p, d):
        n = p["u"].shape[0]

        def cell(x, h, w, u_, b):
            a, z = pt.dot(x, w) + b, pt.dot(h, u_)
            gate = pt.sigmoid(a[:, : 2 * n] + z[:, : 2 * n])
            r, u = gate[:, :n], gate[:, n:]
            return u * h + (1 - u) * pt.tanh(a[:, 2 * n :] + r * z[:, 2 * n :])

        zeros = pt.zeros((d["x"].shape[1], n), dtype=d["x"].dtype)
        states = scan(
            cell, d["x"], zeros, [p["w"], p["u"], p["b"]], return_updates=False, strict=True
        )
        return pt.mean(states)

    return loss


# ------------------------------------------------------------------ the simple net of autograd


def simple_arrays(batch: int, width: int) -> tuple[Arrays, Arrays]:
    rng = np.random.default_rng(0)
    parameters = {
        "w": drawn(rng, width, width, scale=0.01),
        "b": drawn(rng, width, scale=0.01),
        "v": drawn(rng, width, 1, scale=0.01),
        "c": drawn(rng, 1, scale=0.01),
    }
    label = (rng.random((batch, 1)) > 0.5).astype(np.float32)
    return parameters, {"x": drawn(rng, batch, width, scale=0.01), "t": label}


def _simple(np_: Any, steps: int) -> Function:
    """For every library whose names are NumPy's."""

    def loss(p, d):
        h = d["x"]
        for _ in range(steps):
            h = np_.tanh(h @ p["w"] + p["b"])
        logit = h @ p["v"] + p["c"]
        return -np_.sum(d["t"] * logit - (logit + np_.log(1 + np_.exp(-logit))))

    return loss


def simple_with_graphnn(steps: int) -> Function:
    import graphnn as gn

    def loss(p, d):
        def step(h, _):
            return gn.tanh(h @ p["w"] + p["b"]), None

        h, _ = gn.scan(step, d["x"], length=steps)
        logit = h @ p["v"] + p["c"]
        return -gn.sum(d["t"] * logit - (logit + gn.log(1 + gn.exp(-logit))))

    return loss


def simple_with_torch(steps: int) -> Function:
    import torch

    return _simple(torch, steps)


def simple_with_autograd(steps: int) -> Function:
    import autograd.numpy as anp

    return _simple(anp, steps)


def simple_with_jax(steps: int) -> Function:
    import jax
    import jax.numpy as jnp

    def loss(p, d):
        def cell(h, _):
            return jnp.tanh(h @ p["w"] + p["b"]), None

        h, _ = jax.lax.scan(cell, d["x"], length=steps)
        logit = h @ p["v"] + p["c"]
        return -jnp.sum(d["t"] * logit - (logit + jnp.log(1 + jnp.exp(-logit))))

    return loss


# --------------------------------------------------------------------------------------- cases


LSTM_PEERS = {
    "graphnn": lstm_with_graphnn,
    "torch": partial(_with_torch, "lstm"),
    "jax": lstm_with_jax,
}
GRU_PEERS = {
    "graphnn": gru_with_graphnn,
    "torch": partial(_with_torch, "gru"),
    "jax": gru_with_jax,
    "pytensor": gru_with_pytensor,
}


def model_flops(s: Shape, gates: int) -> float:
    """Of the cell, whose inputs need no gradient, and of the dense layer behind it."""
    cell = gates * s.hidden * (2 * s.inputs + 3 * s.hidden)
    return 2.0 * s.steps * s.batch * (cell + 3 * s.hidden * s.targets)


def _with_gates(name: str, title: str, shape: Shape, gates: int, **more: Any) -> Case:
    """An LSTM, which has four gates, or a GRU, which has three."""
    return Case(
        name=name,
        title=title,
        arrays=partial(arrays, shape, gates),
        functions=LSTM_PEERS if gates == 4 else GRU_PEERS,
        flops=model_flops(shape, gates),
        transposed=frozenset({"w", "u", "v"}),
        **more,
    )


def cases(*, tiny: bool) -> list[Case]:
    model = Shape(4, 3, 5, 6, 5) if tiny else Shape(64, 32, 64, 256, 64)
    single = Shape(5, 1, 3, 4) if tiny else Shape(100, 1, 32, 32)
    batched = Shape(4, 3, 3, 4) if tiny else Shape(32, 64, 32, 128)
    fast = Shape(4, 3, 4, 4) if tiny else Shape(100, 64, 512, 512)
    steps, batch, width = (3, 3, 8) if tiny else (50, 16, 1024)
    return [
        _with_gates(
            "lstm-model",
            f"LSTM language model, T={model.steps}, batch {model.batch}, "
            f"hidden {model.hidden}, vocabulary {model.targets}",
            model,
            4,
            measures=frozenset({"start"}),
        ),
        _with_gates(
            "gru-single",
            f"GRU, T={single.steps}, batch {single.batch}, hidden {single.hidden}",
            single,
            3,
            measures=frozenset({"start"}),
        ),
        _with_gates(
            "gru-batched",
            f"GRU, T={batched.steps}, batch {batched.batch}, in {batched.inputs}, "
            f"hidden {batched.hidden}",
            batched,
            3,
            measures=frozenset({"start"}),
        ),
        _with_gates(
            "lstm-fastrnns",
            f"fastrnns: LSTM, T={fast.steps}, batch {fast.batch}, hidden {fast.hidden}, gradients",
            fast,
            4,
            mode="gradient",
        ),
        Case(
            name="rnn-autograd",
            title=f"autograd's bench_rnn: T={steps}, batch {batch}, width {width}, gradients",
            arrays=partial(simple_arrays, batch, width),
            functions={
                "graphnn": partial(simple_with_graphnn, steps),
                "torch": partial(simple_with_torch, steps),
                "jax": partial(simple_with_jax, steps),
                "autograd": partial(simple_with_autograd, steps),
            },
            mode="gradient",
            flops=2.0 * batch * ((3 * steps - 1) * width**2 + 3 * width),
        ),
    ]
