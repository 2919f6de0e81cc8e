"""Recurrent nets as users write them: their losses, and what these are functions of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import graphnn as gn
from graphnn.core.node import Node

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 4, 6


@dataclass(frozen=True)
class Net:
    """A net with weights as inputs, so that arrays can be fed for them.

    Attributes
    ----------
    x : Node
    weights : dict of str to Node
    loss : Node
    """

    x: Node
    weights: dict[str, Node]
    loss: Node

    @property
    def inputs(self) -> list[Node]:
        return [self.x, *self.weights.values()]

    def outputs(self) -> list[Node]:
        """Loss and gradients by all weights."""
        return [self.loss, *gn.grad(self.loss, list(self.weights.values()))]


def net(
    step: Callable[..., Any], shapes: dict[str, Any], *, carries: int = 1, **options: Any
) -> Net:
    """A net of a step ``(carry, x, weights) -> carry`` whose first carry is its state."""
    x = gn.input("x", (STEPS, BATCH, INPUTS), "float64")
    weights = {name: gn.input(name, shape, "float64") for name, shape in shapes.items()}
    zeros = gn.zeros((BATCH, HIDDEN), "float64")
    first = zeros if carries == 1 else (zeros,) * carries

    def whole(carry: Any, x: Node) -> Any:
        after = step(carry, x, weights)
        return after, after if carries == 1 else after[0]

    _, states = gn.scan(whole, first, x, **options)
    return Net(x, weights, gn.mean(states**2))


def by_gate(gates: str) -> dict[str, Any]:
    """Shapes of a weight of inputs, one of the state and a bias for each gate."""
    kinds = {"w": (INPUTS, HIDDEN), "u": (HIDDEN, HIDDEN), "b": (HIDDEN,)}
    return {f"{kind}{gate}": shape for kind, shape in kinds.items() for gate in gates}


def side_by_side(count: int) -> dict[str, Any]:
    """The same with all gates in one weight."""
    return {"w": (INPUTS, count * HIDDEN), "u": (HIDDEN, count * HIDDEN), "b": (count * HIDDEN,)}


def gate_of(z: Node, number: int) -> Node:
    return z[:, number * HIDDEN : (number + 1) * HIDDEN]


def lstm_by_gate(carry, x, p):
    h, c = carry
    i, f, g, o = (x @ p[f"w{k}"] + h @ p[f"u{k}"] + p[f"b{k}"] for k in "ifgo")
    c = gn.sigmoid(f) * c + gn.sigmoid(i) * gn.tanh(g)
    return gn.sigmoid(o) * gn.tanh(c), c


def lstm(carry, x, p):
    h, c = carry
    z = x @ p["w"] + h @ p["u"] + p["b"]
    i, f, g, o = (gate_of(z, number) for number in range(4))
    c = gn.sigmoid(f) * c + gn.sigmoid(i) * gn.tanh(g)
    return gn.sigmoid(o) * gn.tanh(c), c


def peephole(carry, x, p):
    h, c = carry
    i, f, g, o = (x @ p[f"w{k}"] + h @ p[f"u{k}"] + p[f"b{k}"] for k in "ifgo")
    c = gn.sigmoid(f + p["vf"] * c) * c + gn.sigmoid(i + p["vi"] * c) * gn.tanh(g)
    return gn.sigmoid(o + p["vo"] * c) * gn.tanh(c), c


def gru(h, x, p):
    """With a bias of its own for the state's part of the candidate, as PyTorch's."""
    r, z = (gn.sigmoid(x @ p[f"w{k}"] + h @ p[f"u{k}"] + p[f"b{k}"]) for k in "rz")
    n = gn.tanh(x @ p["wn"] + r * (h @ p["un"] + p["bn"]))
    return (1.0 - z) * n + z * h


def concatenated_gru(h, x, p):
    """Of the state and the input side by side."""
    both = gn.concatenate([h, x], 1)
    z, r = (gn.sigmoid(both @ p[k]) for k in "zr")
    n = gn.tanh(gn.concatenate([r * h, x], 1) @ p["n"])
    return (1.0 - z) * h + z * n


def minimal_gated_unit(h, x, p):
    f = gn.sigmoid(x @ p["wf"] + h @ p["uf"] + p["bf"])
    return (1.0 - f) * h + f * gn.tanh(x @ p["wc"] + (f * h) @ p["uc"] + p["bc"])


def elementwise(h, x, p):
    return gn.tanh(h * p["d"] + x[:, :1])


def state_only(h, x, p):
    return gn.tanh(h @ p["u"] + x[:, :1])


PEEPHOLES = dict.fromkeys(("vi", "vf", "vo"), (HIDDEN,))
BOTH = dict.fromkeys("zrn", (HIDDEN + INPUTS, HIDDEN))

NETS: dict[str, Callable[[], Net]] = {
    "LSTM by gate": lambda: net(lstm_by_gate, by_gate("ifgo"), carries=2),
    "LSTM by gate, reversed": lambda: net(lstm_by_gate, by_gate("ifgo"), carries=2, reverse=True),
    "LSTM": lambda: net(lstm, side_by_side(4), carries=2),
    "peephole LSTM": lambda: net(peephole, by_gate("ifgo") | PEEPHOLES, carries=2),
    "GRU by gate": lambda: net(gru, by_gate("rzn")),
    "GRU, concatenated": lambda: net(concatenated_gru, BOTH),
    "minimal gated unit": lambda: net(minimal_gated_unit, by_gate("fc")),
    "elementwise": lambda: net(elementwise, {"d": (HIDDEN,)}),
    "state only": lambda: net(state_only, {"u": (HIDDEN, HIDDEN)}),
}
