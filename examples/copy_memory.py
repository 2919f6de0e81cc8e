"""Copy memory: ten symbols are shown, and are to be repeated after a long pause.

A sequence is ten symbols of eight kinds, blanks, a sign to begin, and blanks while the net answers.
Who remembers nothing knows when to answer, and guesses: a cross-entropy of 10 ln 8 / (pause + 20) a
step, one answer of eight right. Source: S. Hochreiter and J. Schmidhuber (1997), in the form of
M. Arjovsky, A. Shah and Y. Bengio, arXiv:1511.06464.

Run it: python examples/copy_memory.py [--quick]
"""

import argparse
import math
import time
from typing import Any

import numpy as np

import graphnn as gn

PAUSE, SYMBOLS, KINDS = 20, 10, 8
STEPS = PAUSE + 2 * SYMBOLS
BLANK, BEGIN = KINDS, KINDS + 1
MEMORYLESS = SYMBOLS * math.log(KINDS) / STEPS
HIDDEN, BATCH, SEED = 96, 32, 0

NETS: dict[str, tuple[type[gn.nn.RecurrentNet], dict[str, Any]]] = {
    "simple RNN": (gn.nn.SimpleRNN, {}),
    "LSTM": (gn.nn.LSTM, {"forget_bias": 3.0}),  # f = 0.95: it forgets half in 14 steps
    "GRU": (gn.nn.GRU, {}),
}
RATES = {"simple RNN": (3e-3, 1e-3, 1e-4), "LSTM": (1e-2,), "GRU": (1e-2,)}


def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """What is shown and what is to be said, both of shape (STEPS, count)."""
    symbols = rng.integers(0, KINDS, (SYMBOLS, count))
    shown, said = np.full((2, STEPS, count), BLANK)
    shown[:SYMBOLS] = symbols
    shown[SYMBOLS + PAUSE - 1] = BEGIN
    said[-SYMBOLS:] = symbols
    return shown, said


class Copier(gn.nn.Module):
    """A recurrent net whose every state says a symbol or nothing."""

    def __init__(self, name: str) -> None:
        net, options = NETS[name]
        self.net = net(KINDS + 2, HIDDEN, return_sequences=True, **options)
        self.head = gn.nn.Dense(HIDDEN, KINDS + 1)

    def forward(self, shown: gn.Node) -> gn.Node:
        return self.head(self.net(gn.one_hot(shown, KINDS + 2)))


def train(name: str, rate: float, steps: int) -> tuple[float, float]:
    """Cross-entropy, and share of the symbols that are right, on sequences not seen before."""
    gn.seed(SEED)
    shown, said = (gn.input(each, shape=(STEPS, "batch"), dtype="int64") for each in ("x", "y"))
    model = Copier(name)
    logits = model(shown)
    loss = gn.losses.cross_entropy(logits, said)
    answers = gn.argmax(logits[-SYMBOLS:], axis=-1)
    right = gn.mean(gn.equal(answers, said[-SYMBOLS:]))

    parameters = model.parameters()
    gradients = gn.optim.clip_by_global_norm(gn.grad(loss, parameters), 1.0)
    now = gn.parameter(rate, name="rate", trainable=False)
    updates = gn.optim.Adam(now).apply(dict(zip(parameters, gradients, strict=True)))
    updates[now] = now - rate / steps  # down to 0 along a line
    step = gn.compile([shown, said], loss, updates)
    started = time.process_time()
    rng = np.random.default_rng(SEED)
    gn.train.fit(step, [draw(rng, BATCH) for _ in range(steps)])
    test = gn.compile([shown, said], [loss, right])
    entropy, share = map(float, test(*draw(np.random.default_rng(SEED + 1), 1000)))
    seconds = time.process_time() - started
    print(
        f"{name:12} learning rate {rate:6g}: {entropy:.3f}, {share:.1%} right  "
        f"({seconds:.0f} s of CPU)",
        flush=True,
    )
    return entropy, share


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="25 steps of training, not thousands")
    quick = parser.parse_args().quick
    gn.set_num_threads(1)  # steps this small are not worth dividing
    print(f"a pause of {PAUSE} steps; without memory: {MEMORYLESS:.3f}, {1 / KINDS:.1%} right")
    found = {"cross-entropy, no memory": MEMORYLESS, "right, no memory": 1 / KINDS}
    for name in NETS:
        # The simple net is quick and gets three chances.
        steps = 25 if quick else 2000 if name == "simple RNN" else 4000
        entropy, share = min(train(name, rate, steps) for rate in RATES[name])
        found |= {f"cross-entropy, {name}": entropy, f"right, {name}": share}
    if not quick:
        assert found["right, simple RNN"] < 0.3
        assert min(found["right, LSTM"], found["right, GRU"]) > 0.8
    return found


if __name__ == "__main__":
    main()
