"""Cells of a user's own: an LSTM with a weight for each gate, and one with peepholes.

No library has these as a layer. The step is one function for all of them; graphnn and JAX scan,
PyTorch and autograd go round in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from cases.case import Arrays, Case, Function, drawn
from cases.recurrent import Shape, model_flops

__all__ = ["cases"]

GATES = "ifgo"

Cell = Callable[[Any, Any, Mapping[str, Any]], tuple[Any, Any]]
"""From a step's carry, its input and the parameters to the next carry and the state."""


def gate_arrays(s: Shape) -> tuple[Arrays, Arrays]:
    """Three parameters for each gate."""
    rng = np.random.default_rng(0)
    parameters: Arrays = {}
    for gate in GATES:
        parameters[f"w{gate}"] = drawn(rng, s.inputs, s.hidden, scale=s.inputs**-0.5)
        parameters[f"u{gate}"] = drawn(rng, s.hidden, s.hidden, scale=s.hidden**-0.5)
        parameters[f"b{gate}"] = drawn(rng, s.hidden, scale=0.1)
    return parameters, {"x": drawn(rng, s.steps, s.batch, s.inputs)}


def peephole_arrays(s: Shape) -> tuple[Arrays, Arrays]:
    """The gates side by side, and what each sees of the cell state."""
    rng = np.random.default_rng(0)
    parameters = {
        "w": drawn(rng, s.inputs, 4 * s.hidden, scale=s.inputs**-0.5),
        "u": drawn(rng, s.hidden, 4 * s.hidden, scale=s.hidden**-0.5),
        "b": drawn(rng, 4 * s.hidden, scale=0.1),
        "v": drawn(rng, 3 * s.hidden, scale=0.5),
    }
    return parameters, {"x": drawn(rng, s.steps, s.batch, s.inputs)}


def gate_cell(sigmoid: Any, tanh: Any) -> Cell:
    def cell(carry: Any, x: Any, p: Mapping[str, Any]) -> tuple[Any, Any]:
        h, c = carry
        i, f, g, o = (x @ p[f"w{k}"] + h @ p[f"u{k}"] + p[f"b{k}"] for k in GATES)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return (h, c), h

    return cell


def peephole_cell(sigmoid: Any, tanh: Any) -> Cell:
    """Input and forget gate see the cell state before the step, the output gate that after it."""

    def cell(carry: Any, x: Any, p: Mapping[str, Any]) -> tuple[Any, Any]:
        h, c = carry
        n = c.shape[1]
        z, v = x @ p["w"] + h @ p["u"] + p["b"], p["v"]
        i, f = (sigmoid(z[:, k * n : (k + 1) * n] + v[k * n : (k + 1) * n] * c) for k in (0, 1))
        c = f * c + i * tanh(z[:, 2 * n : 3 * n])
        h = sigmoid(z[:, 3 * n :] + v[2 * n :] * c) * tanh(c)
        return (h, c), h

    return cell


Make = Callable[[Any, Any], Cell]


def with_graphnn(make: Make, hidden: int) -> Function:
    import graphnn as gn

    cell = make(gn.sigmoid, gn.tanh)

    def loss(p, d):
        zeros = gn.zeros((d["x"].shape[1], hidden), dtype=d["x"].dtype)
        _, states = gn.scan(lambda carry, x: cell(carry, x, p), (zeros, zeros), d["x"])
        return gn.mean(states**2)

    return loss


def with_jax(make: Make, hidden: int) -> Function:
    import jax
    import jax.numpy as jnp

    cell = make(jax.nn.sigmoid, jnp.tanh)

    def loss(p, d):
        zeros = jnp.zeros((d["x"].shape[1], hidden), d["x"].dtype)
        _, states = jax.lax.scan(lambda carry, x: cell(carry, x, p), (zeros, zeros), d["x"])
        return jnp.mean(states**2)

    return loss


def with_torch(make: Make, hidden: int) -> Function:
    import torch

    cell = make(torch.sigmoid, torch.tanh)

    def loss(p, d):
        zeros = d["x"].new_zeros(d["x"].shape[1], hidden)
        return (torch.stack(unrolled(cell, zeros, p, d)) ** 2).mean()

    return loss


def with_autograd(make: Make, hidden: int) -> Function:
    import autograd.numpy as anp

    cell = make(lambda z: 0.5 * (1.0 + anp.tanh(0.5 * z)), anp.tanh)

    def loss(p, d):
        zeros = np.zeros((d["x"].shape[1], hidden), d["x"].dtype)
        return anp.mean(anp.stack(unrolled(cell, zeros, p, d)) ** 2)

    return loss


def unrolled(cell: Cell, zeros: Any, p: Mapping[str, Any], d: Mapping[str, Any]) -> list[Any]:
    """The states of all steps."""
    carry, states = (zeros, zeros), []
    for x in d["x"]:
        carry, state = cell(carry, x, p)
        states.append(state)
    return states


LIBRARIES = {
    "graphnn": with_graphnn,
    "torch": with_torch,
    "jax": with_jax,
    "autograd": with_autograd,
}


def cases(*, tiny: bool) -> list[Case]:
    shape = Shape(4, 3, 5, 6) if tiny else Shape(100, 64, 128, 256)
    size = f"T={shape.steps}, batch {shape.batch}, in {shape.inputs}, hidden {shape.hidden}"
    return [
        Case(
            name=name,
            title=f"{title}, {size}",
            arrays=partial(arrays, shape),
            functions={
                library: partial(function, make, shape.hidden)
                for library, function in LIBRARIES.items()
            },
            flops=model_flops(shape, 4),
        )
        for name, title, arrays, make in (
            ("cell-gates", "own LSTM with a weight for each gate", gate_arrays, gate_cell),
            ("cell-peephole", "peephole LSTM", peephole_arrays, peephole_cell),
        )
    ]
