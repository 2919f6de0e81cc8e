"""Gradients that vanish and explode, measured, predicted, and clipped.

1. How large is the gradient of a loss at the end with respect to the state of every step before?
   In a linear recurrent net it is a product of equal matrices, so that each step multiplies its
   norm by the largest absolute eigenvalue, once the other eigenvalues are forgotten. The tanh of a
   simple net makes that less. In an LSTM there is a path along which the factor is the forget
   gate alone, whatever the weights; it is near 1 if its bias is large, and it is learned.
2. What an exploding gradient does to training, and what clipping it does.

Source: R. Pascanu, T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural
networks (2013).

Run it: python examples/vanishing_gradients.py [--quick] [--out folder]
"""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import graphnn as gn

STEPS, HIDDEN, BATCH, SEED = 100, 32, 16, 0
EIGENVALUES = (0.9, 1.0, 1.1)
FORGET_BIASES = (1.0, 3.0, 5.0)
GAIN, RATE, LIMIT = 1.5, 0.1, 1.0  # of the net that explodes, of its training, of clipping


# -------------------------------------------------------------------------- gradients per step


def norms_per_step(cell: gn.nn.Cell) -> np.ndarray:
    """The norm of the loss's gradient with respect to the state after every step.

    What is added to the state is 0; but the gradient with respect to it is that of the state. Every
    part of the state has an input of its own for that: equal constants would be one node, whose
    gradient is the sum of all.
    """

    def step(carry: Any, element: Any) -> tuple[Any, None]:
        x, nudges = element
        after, _ = cell(carry, x)
        parts = after if isinstance(after, tuple) else (after,)
        moved = tuple(part + nudge for part, nudge in zip(parts, nudges, strict=True))
        return (moved if isinstance(after, tuple) else moved[0]), None

    x = gn.input("x", shape=(STEPS, BATCH, 1), dtype="float64")
    first = cell.zero_state(BATCH)
    count = len(first) if isinstance(first, tuple) else 1
    shape = STEPS, BATCH, HIDDEN
    nudges = [gn.input(f"nudge{n}", shape=shape, dtype="float64") for n in range(count)]
    last, _ = gn.scan(step, first, (x, nudges))
    loss = gn.sum(last[0] if isinstance(last, tuple) else last)
    gradients = gn.grad(loss, nudges)
    norms = gn.norm(gn.concatenate(gradients, axis=2), axis=(1, 2))
    drawn = np.random.default_rng(SEED).normal(size=(STEPS, BATCH, 1))
    return gn.to_host(gn.compile([x, *nudges], norms)(drawn, *[np.zeros(shape)] * count))


def recurrent_weight(eigenvalue: float) -> np.ndarray:
    """A random matrix whose largest absolute eigenvalue is given."""
    drawn = np.random.default_rng(SEED).normal(size=(HIDDEN, HIDDEN))
    return eigenvalue * drawn / np.max(np.abs(np.linalg.eigvals(drawn)))


def factor_per_step(norms: np.ndarray) -> float:
    """By how much a step backwards multiplies the norm, far from the end."""
    far = norms[: 3 * STEPS // 4]
    return math.exp(-np.polyfit(np.arange(len(far)), np.log(far), 1)[0])


def measure() -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Norms per step of every net, and its largest eigenvalue or its forget gate."""
    norms, expected = {}, {}
    for eigenvalue in EIGENVALUES:
        for name, activation in (("linear net", gn.linear), ("simple RNN", gn.tanh)):
            gn.seed(SEED)
            cell = gn.nn.SimpleRNNCell(1, HIDDEN, activation=activation, dtype="float64")
            cell.recurrent_weight.value = recurrent_weight(eigenvalue)
            label = f"{name}, eigenvalue {eigenvalue}"
            norms[label], expected[label] = norms_per_step(cell), eigenvalue
    for bias in FORGET_BIASES:
        gn.seed(SEED)
        label = f"LSTM, forget bias {bias:g}"
        norms[label] = norms_per_step(gn.nn.LSTMCell(1, HIDDEN, forget_bias=bias, dtype="float64"))
        expected[label] = 1 / (1 + math.exp(-bias))
    return norms, expected


# ------------------------------------------------------------------------------------ clipping


def train(limit: float | None, seed: int, steps: int) -> np.ndarray:
    """Losses of a net with exploding gradients that learns the mean of the last five inputs."""
    gn.seed(seed)
    cell = gn.nn.SimpleRNNCell(
        1, HIDDEN, recurrent_init=lambda shape, rng: GAIN * gn.init.orthogonal(shape, rng)
    )
    net, head = gn.nn.Recurrent(cell), gn.nn.Dense(HIDDEN, 1)
    x, y = gn.input("x", shape=(STEPS // 2, "batch", 1)), gn.input("y", shape=("batch",))
    loss = gn.losses.mse(gn.squeeze(head(net(x)), axis=1), y)
    parameters = [*net.parameters(), *head.parameters()]
    gradients = gn.grad(loss, parameters)
    if limit is not None:
        gradients = gn.optim.clip_by_global_norm(gradients, limit)
    updates = gn.optim.SGD(RATE).apply(dict(zip(parameters, gradients, strict=True)))
    step = gn.compile([x, y], loss, updates)
    rng, losses = np.random.default_rng(seed), []
    for _ in range(steps):
        drawn = rng.normal(size=(STEPS // 2, 2 * BATCH, 1)).astype(np.float32)
        losses.append(float(step(drawn, math.sqrt(5) * drawn[-5:, :, 0].mean(axis=0))))
    return np.array(losses)


def plot(norms: dict[str, np.ndarray], losses: dict[str, np.ndarray], path: Path) -> None:
    figure = Figure(figsize=(11.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    assert isinstance(left, Axes)
    assert isinstance(right, Axes)
    styles = {"linear net": ":", "simple RNN": "-", "LSTM": "--"}
    for number, (label, values) in enumerate(norms.items()):
        kind = label.partition(",")[0]
        color = number // 2 if kind != "LSTM" else number - len(EIGENVALUES)
        left.semilogy(values / values[-1], styles[kind], color=f"C{color}", label=label)
        if kind == "linear net":
            predicted = EIGENVALUES[color] ** -np.arange(STEPS) * values[0] / values[-1]
            told = "eigenvalue to the power of steps" if number == 0 else None
            left.semilogy(predicted, color="0.7", lw=3, zorder=0, label=told)
    left.set(xlabel="time step", ylabel="norm, relative to the last step")
    left.set_title("Gradient of the loss with respect to the state")
    left.legend(fontsize=7, ncols=1)
    for label, values in losses.items():
        right.semilogy(np.clip(np.nan_to_num(values, nan=1e6), None, 1e6), label=label, lw=0.8)
    right.set(xlabel="training step", ylabel="loss (from 1e6, and NaN: 1e6)")
    right.set_title(f"Training with eigenvalues of {GAIN}")
    right.legend()
    figure.savefig(path, dpi=80)


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, 100 steps of training")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="for the picture")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, float] = {}
    norms, expected = measure()
    print(f"{'factor per step backwards':30} eigenvalue    measured   norm, first")
    print(f"{'':30} or gate                  to last step")
    for label, values in norms.items():
        factor = factor_per_step(values)
        share = values[0] / values[-1]
        print(f"{label:30} {expected[label]:10.3f} {factor:11.3f} {share:13.1e}", flush=True)
        found[f"eigenvalue or gate, {label}"] = expected[label]
        found[f"measured factor, {label}"] = factor
        if label.startswith("linear net"):
            assert abs(factor / expected[label] - 1) < 0.01, "not as the eigenvalue predicts"

    seeds, steps = (1, 100) if chosen.quick else (5, 500)
    print(f"\nloss at the end of {steps} steps of SGD, for {seeds} seeds (to say 0: 1.0)")
    curves = {}
    for label, limit in (("not clipped", None), (f"clipped to norm {LIMIT:g}", LIMIT)):
        losses = [train(limit, seed, steps) for seed in range(seeds)]
        ends = [float(np.mean(each[-50:])) for each in losses]
        print(f"{label:18}", "  ".join(f"{end:8.3g}" for end in ends), flush=True)
        found[f"median loss, {label}"] = float(np.median(np.nan_to_num(ends, nan=np.inf)))
        curves[label] = losses[0]
    plot(norms, curves, chosen.out / "vanishing_gradients.png")
    if not chosen.quick:
        assert found[f"median loss, clipped to norm {LIMIT:g}"] < 0.2
        assert found["median loss, not clipped"] > 0.5
    return found


if __name__ == "__main__":
    main()
