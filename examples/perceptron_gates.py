"""Logic gates: what a perceptron learns, what circuits of it compute, and what needs more layers.

A perceptron learns AND, OR and NAND by Rosenblatt's rule, and never XOR, because no line separates
its classes. Four NANDs make an XOR, and nine add three bits; a multilayer perceptron learns XOR by
gradient descent.

Run it: python examples/perceptron_gates.py [--out folder]
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import graphnn as gn

SEED, EPOCHS, BITS = 0, 50, 4
INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
GATES = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "NAND": [1, 1, 1, 0], "XOR": [0, 1, 1, 0]}


# ------------------------------------------------------------------- circuits of given perceptrons

NAND = gn.nn.Perceptron(2, weight=[-2, -2], bias=3)


def nand(a: gn.Node, b: gn.Node) -> gn.Node:
    return NAND(gn.stack([a, b], axis=-1))


def half_adder(a: gn.Node, b: gn.Node) -> tuple[gn.Node, gn.Node]:
    """The XOR of two bits, of four NANDs, and the NAND of them, which is made on the way."""
    not_both = nand(a, b)
    return nand(nand(a, not_both), nand(b, not_both)), not_both


def adder(a: gn.Node, b: gn.Node) -> gn.Node:
    """Two numbers of shape (batch, bits), the lowest bit first; the sum has one bit more."""
    digits, carry = [], gn.zeros_like(a[:, 0])
    for bit in range(a.shape[1]):
        partial, first = half_adder(a[:, bit], b[:, bit])
        digit, second = half_adder(partial, carry)
        digits.append(digit)
        carry = nand(first, second)  # of two NANDs: one of both carries
    return gn.stack([*digits, carry], axis=-1)


def sums_that_are_right() -> float:
    """Share of all pairs of numbers that the adder adds rightly."""
    a, b = gn.input("a", shape=("batch", BITS)), gn.input("b", shape=("batch", BITS))
    add = gn.compile([a, b], adder(a, b))
    numbers = np.stack(np.meshgrid(*[np.arange(2**BITS)] * 2), -1).reshape(-1, 2)
    bits = (numbers[..., None] >> np.arange(BITS) & 1).astype(np.float32)
    sums = gn.to_host(add(bits[:, 0], bits[:, 1])) @ 2 ** np.arange(BITS + 1)
    print(f"{len(numbers)} sums of two numbers of {BITS} bits, by {9 * BITS} NANDs")
    return float(np.mean(sums == numbers.sum(axis=1)))


# -------------------------------------------------------------------------------- what is learned


def multilayer_perceptron(labels: list[int]) -> Any:
    """A program from inputs to probabilities, trained on all four samples."""
    gn.seed(SEED)
    x, t = gn.input("x", shape=("batch", 2)), gn.input("t", shape=("batch",))
    model = gn.nn.Sequential(gn.nn.Dense(2, 4), gn.nn.Tanh(), gn.nn.Dense(4, 1))
    logits = gn.squeeze(model(x), axis=1)
    loss = gn.losses.binary_cross_entropy_with_logits(logits, t)
    step = gn.compile([x, t], loss, gn.optim.Adam(0.05).minimize(loss, model.parameters()))
    gn.train.fit(step, [(INPUTS, np.float32(labels))], epochs=300)
    return gn.compile(x, gn.sigmoid(logits))


def draw(programs: dict[str, Any], path: Path) -> None:
    """What every program says of the plane, and what it should say at the four inputs."""
    along = np.linspace(-0.5, 1.5, 101, dtype=np.float32)
    plane = np.stack(np.meshgrid(along, along), -1).reshape(-1, 2)
    figure = Figure(figsize=(2.1 * len(programs), 2.4), layout="constrained")
    panels = figure.subplots(1, len(programs))
    for axes, (name, program) in zip(panels, programs.items(), strict=True):
        said, around = gn.to_host(program(plane)).reshape(101, 101), (-0.5, 1.5)
        axes.imshow(said, "RdBu_r", origin="lower", extent=around * 2, vmin=-0.5, vmax=1.5)
        labels = GATES[name.partition(",")[0]]
        axes.scatter(*INPUTS.T, c=labels, cmap="gray", edgecolors="black", s=60)
        axes.set(title=name, xticks=[0, 1], yticks=[0, 1])
    figure.savefig(path, dpi=90)


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="for the picture")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    x = gn.input("x", shape=("batch", 2))
    found: dict[str, float] = {}
    programs = {}
    print("mistakes of four that are left; 1 or 2 by always saying the same")
    for gate, labels in GATES.items():
        perceptron = gn.nn.Perceptron(2)
        epochs = len(perceptron.learn(INPUTS, labels, epochs=EPOCHS))
        programs[gate] = gn.compile(x, perceptron(x))
        mistakes = int(np.sum(gn.to_host(programs[gate](INPUTS)) != labels))
        found[f"mistakes of four, {gate}, perceptron"] = mistakes
        print(f"  {gate:5} perceptron, {epochs:2} epochs    {mistakes}")

    circuit = half_adder(x[:, 0], x[:, 1])[0]
    programs["XOR, four NANDs"] = gn.compile(x, circuit)
    programs["XOR, hidden layer"] = multilayer_perceptron(GATES["XOR"])
    for name in ("XOR, four NANDs", "XOR, hidden layer"):
        said = gn.to_host(programs[name](INPUTS))
        found[f"mistakes of four, {name}"] = int(np.sum((said > 0.5) != GATES["XOR"]))
        print(f"  {name:26} {found[f'mistakes of four, {name}']}   says {said.round(3)}")
    found["sums right, NANDs"] = sums_that_are_right()
    print(f"  right: {found['sums right, NANDs']:.0%}")
    draw(programs, chosen.out / "perceptron_gates.png")

    xor = found["mistakes of four, XOR, perceptron"]
    assert xor > 0
    assert sum(value for name, value in found.items() if name.startswith("mistakes")) == xor
    assert found["sums right, NANDs"] == 1.0
    return found


if __name__ == "__main__":
    main()
