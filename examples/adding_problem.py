"""The adding problem: two numbers far apart in a long sequence are to be remembered and added.

Every step gives a random number and a mark; two steps of 100 are marked, one in each half, and
the target is the sum of their numbers. Who always says the mean, 1, has a mean squared error of
1/6 = 0.167. Source: S. Hochreiter and J. Schmidhuber, Long short-term memory (1997), in the form of
Q. Le, N. Jaitly and G. Hinton, arXiv:1504.00941.

Run it: python examples/adding_problem.py [--quick]
"""

import argparse
import time

import numpy as np

import graphnn as gn

STEPS, HIDDEN, BATCH, SEED = 100, 32, 64, 0
ALWAYS_MEAN = 1 / 6
NETS = {"simple RNN": gn.nn.SimpleRNN, "LSTM": gn.nn.LSTM, "GRU": gn.nn.GRU}
RATES = {"simple RNN": (1e-2, 1e-3, 1e-4), "LSTM": (1e-2,), "GRU": (1e-2,)}


def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of shape (STEPS, count, 2), and their targets."""
    numbers, marks = rng.random((STEPS, count), np.float32), np.zeros((STEPS, count), np.float32)
    rows, half = np.arange(count), STEPS // 2
    marks[rng.integers(0, half, count), rows] = 1
    marks[rng.integers(half, STEPS, count), rows] = 1
    return np.stack([numbers, marks], axis=-1), np.sum(numbers * marks, axis=0)


class Adder(gn.nn.Module):
    """A recurrent net that reads the sequence, and a neuron that says the sum."""

    def __init__(self, net: type[gn.nn.RecurrentNet]) -> None:
        self.net = net(2, HIDDEN)
        self.head = gn.nn.Dense(HIDDEN, 1)

    def forward(self, x: gn.Node) -> gn.Node:
        return gn.squeeze(self.head(self.net(x)), axis=1)


def train(name: str, rate: float, steps: int) -> float:
    """The mean squared error of a trained net on sequences that it has not seen."""
    gn.seed(SEED)
    x, target = gn.input("x", shape=(STEPS, "batch", 2)), gn.input("target", shape=("batch",))
    model = Adder(NETS[name])
    loss = gn.losses.mse(model(x), target)
    parameters = model.parameters()
    gradients = gn.optim.clip_by_global_norm(gn.grad(loss, parameters), 1.0)
    updates = gn.optim.Adam(rate).apply(dict(zip(parameters, gradients, strict=True)))
    step = gn.compile([x, target], loss, updates)
    started = time.process_time()
    rng = np.random.default_rng(SEED)
    gn.train.fit(step, [draw(rng, BATCH) for _ in range(steps)])
    error = float(gn.compile([x, target], loss)(*draw(np.random.default_rng(SEED + 1), 2000)))
    seconds = time.process_time() - started
    print(f"{name:12} learning rate {rate:6g}: {error:.4f}  ({seconds:.0f} s of CPU)", flush=True)
    return error


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="50 steps of training, not 1,500")
    gn.set_num_threads(1)  # steps this small are not worth dividing
    quick = parser.parse_args().quick
    steps = 50 if quick else 1500
    print(f"mean squared error after {steps} steps; always the mean: {ALWAYS_MEAN:.4f}")
    errors = {name: min(train(name, rate, steps) for rate in RATES[name]) for name in NETS}
    if not quick:
        assert errors["simple RNN"] > 0.8 * ALWAYS_MEAN
        assert max(errors["LSTM"], errors["GRU"]) < 0.05 * ALWAYS_MEAN
    return {"MSE, always the mean": ALWAYS_MEAN} | {f"MSE, {k}": v for k, v in errors.items()}


if __name__ == "__main__":
    main()
