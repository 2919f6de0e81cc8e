"""A Hopfield network recalls handwritten digits from pictures in which pixels were turned over.

Three digits of 8 x 8 pixels are stored, corrupted and recalled. Then more and more digits are
stored, beside as many random patterns: digits resemble each other and overload the network early.
Beside the network stands what finds the nearest stored pattern by comparing all of them.

Run it: python examples/hopfield_digits.py [--quick] [--out folder]
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import graphnn as gn

SEED = 0
UNITS = 64
SHOWN = (5, 6, 7)  # which are least alike
SHARES = (0.1, 0.2, 0.3, 0.4)  # of the pixels, turned over
COUNTS = (2, 3, 4, 6, 8, 10)  # patterns stored
NAMES = ("hopfield", "nearest")


def digit_patterns() -> np.ndarray:
    """The first picture of each digit, of -1 and 1."""
    pixels, labels = gn.data.load_digits()
    first = np.stack([pixels[labels == digit][0] for digit in range(10)])
    return np.where(first > 0.5, 1.0, -1.0).astype(np.float32)


def corrupt(patterns: np.ndarray, share: float, copies: int) -> tuple[np.ndarray, np.ndarray]:
    """Copies of patterns, and the same with a share of the pixels turned over."""
    rng = np.random.default_rng([SEED, round(100 * share)])
    right = np.repeat(patterns, copies, axis=0)
    order = rng.permuted(np.tile(np.arange(UNITS), (len(right), 1)), axis=1)
    turned = order < round(share * UNITS)
    return right, np.where(turned, -right, right)


def nearest(patterns: np.ndarray, states: np.ndarray) -> np.ndarray:
    """For every state the stored pattern with which it agrees in most pixels."""
    return patterns[np.argmax(states @ patterns.T, axis=1)]


class Memory:
    """A network and the program that recalls with it, whatever is stored."""

    def __init__(self) -> None:
        self.net = gn.nn.Hopfield(UNITS)
        state = gn.input("state", shape=("batch", UNITS))
        last = self.net.recall(state, sweeps=10, key=gn.random.key(SEED))
        energies = self.net.energy(gn.stack([state, last]))
        self.program = gn.compile(state, [last, energies])

    def recall(self, states: np.ndarray) -> list[np.ndarray]:
        """What is recalled, and the energies before and after."""
        return gn.to_host(self.program(states))

    def measure(self, patterns: np.ndarray, share: float, copies: int) -> dict[str, float]:
        """Shares of pixels that are right, of copies that are recalled whole."""
        self.net.learn(patterns)
        right, states = corrupt(patterns, share, copies)
        found, (before, after) = self.recall(states)
        assert (after <= before + 1e-4).all(), "the energy rose"
        beside = nearest(patterns, states)
        return {
            "pixels before": float(np.mean(states == right)),
            "pixels hopfield": float(np.mean(found == right)),
            "pixels nearest": float(np.mean(beside == right)),
            "whole hopfield": float(np.mean((found == right).all(axis=1))),
            "whole nearest": float(np.mean((beside == right).all(axis=1))),
        }


def recall_three(memory: Memory, patterns: np.ndarray, copies: int) -> dict[str, float]:
    """Three digits, with more and more pixels turned over."""
    print(f"digits {', '.join(map(str, SHOWN))} stored; shares of pixels that are right")
    print("turned over  before   hopfield   nearest pattern   recalled whole")
    found = {}
    for share in SHARES:
        m = memory.measure(patterns[list(SHOWN)], share, copies)
        print(
            f"{share:11.0%} {m['pixels before']:7.1%} {m['pixels hopfield']:10.1%} "
            f"{m['pixels nearest']:17.1%} {m['whole hopfield']:16.1%}",
            flush=True,
        )
        for name in NAMES:
            found[f"pixels right, {share:.0%} turned over, {name}"] = m[f"pixels {name}"]
    return found


def overload(memory: Memory, patterns: np.ndarray, copies: int) -> dict[str, float]:
    """More and more patterns, one pixel in ten turned over."""
    rng = np.random.default_rng(SEED)
    random = rng.choice(np.float32([-1.0, 1.0]), patterns.shape)
    order = [*SHOWN, *(digit for digit in range(10) if digit not in SHOWN)]
    print("\n10 % turned over; shares of pixels that are right")
    print("stored   digits   random patterns")
    found = {}
    for count in COUNTS:
        kinds = {"digits": patterns[order[:count]], "random patterns": random[:count]}
        for name, stored in kinds.items():
            pixels = memory.measure(stored, 0.1, copies)["pixels hopfield"]
            found[f"pixels right, {count} {name} stored"] = pixels
        digits, others = list(found.values())[-2:]
        print(f"{count:6} {digits:8.1%} {others:17.1%}", flush=True)
    return found


def draw(memory: Memory, patterns: np.ndarray, path: Path) -> None:
    """Stored, corrupted and recalled digits."""
    stored = patterns[list(SHOWN)]
    memory.net.learn(stored)
    _, states = corrupt(stored, 0.2, 1)
    rows = {"stored": stored, "20 % turned over": states, "recalled": memory.recall(states)[0]}
    figure = Figure(figsize=(4.4, 4.6), layout="constrained")
    grid = figure.subplots(len(rows), len(SHOWN))
    for line, (name, pictures) in zip(grid, rows.items(), strict=True):
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(picture.reshape(8, 8), cmap="gray_r", vmin=-1, vmax=1)
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    figure.savefig(path, dpi=90)


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer copies")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="for the picture")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    patterns, memory, copies = digit_patterns(), Memory(), 20 if chosen.quick else 500
    found = recall_three(memory, patterns, copies) | overload(memory, patterns, copies)
    draw(memory, patterns, chosen.out / "hopfield_digits.png")
    assert found["pixels right, 10% turned over, hopfield"] > 0.97
    return found


if __name__ == "__main__":
    main()
