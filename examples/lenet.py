"""LeNet on handwritten digits, and what it sees: its filters, and the feature maps of a digit.

Two convolutions with pooling and three dense layers, after Y. LeCun et al., Gradient-based learning
applied to document recognition (1998), with rectified units and max pooling in place of scaled tanh
and learned averages, and with dropout. 4,000 digits to learn from, 1,000 to test; rates and epochs
were chosen by a fifth of the 4,000.

Run it: python examples/lenet.py [--quick] [--seed N] [--out folder]
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.neighbors import KNeighborsClassifier

import graphnn as gn

EPOCHS, BATCH, RATE, DROPPED = 15, 32, 3e-3, 0.3
SHOWN = 3  # pictures of the feature maps are of the first test digit that is a 3

Part = tuple[np.ndarray, ...]


class LeNet(gn.nn.Module):
    """28 x 28 pixels, 6 maps of 28 x 28, 16 maps of 10 x 10, 120 and 84 neurons, 10 digits."""

    def __init__(self) -> None:
        he = gn.init.he_normal
        self.first = gn.nn.Conv2d(1, 6, 5, padding="same", init=he)
        self.second = gn.nn.Conv2d(6, 16, 5, init=he)
        self.pool = gn.nn.MaxPool(2)
        self.head = gn.nn.Sequential(
            gn.nn.Flatten(),
            gn.nn.Dropout(DROPPED),
            gn.nn.Dense(400, 120, init=he),
            gn.nn.ReLU(),
            gn.nn.Dropout(DROPPED),
            gn.nn.Dense(120, 84, init=he),
            gn.nn.ReLU(),
            gn.nn.Dropout(DROPPED),
            gn.nn.Dense(84, 10),
        )

    def maps(self, pixels: gn.Node) -> tuple[gn.Node, gn.Node]:
        """The feature maps of both convolutions."""
        x = gn.reshape(pixels, (-1, 1, 28, 28))
        first = gn.relu(self.first(x))
        return first, gn.relu(self.second(self.pool(first)))

    def forward(self, pixels: gn.Node) -> gn.Node:
        return self.head(self.pool(self.maps(pixels)[1]))


def train(model: LeNet, data: tuple[Part, Part], epochs: int, seed: int) -> gn.train.History:
    """Train with Adam, whose rate falls along a cosine, and test after every epoch."""
    train_part, test_part = data
    x = gn.input("x", shape=("batch", 784))
    t = gn.input("t", shape=("batch",), dtype="int64")
    loss = gn.losses.cross_entropy(model.train()(x), t)
    accuracy = gn.metrics.accuracy(model.eval()(x), t)
    batches = gn.data.Batches(*train_part, batch_size=BATCH, shuffle=True, seed=seed)
    rate = gn.optim.Cosine(RATE, steps=epochs * len(batches))
    updates = gn.optim.Adam(rate).minimize(loss, model.parameters())
    step, test = gn.compile([x, t], loss, updates), gn.compile([x, t], {"accuracy": accuracy})
    tests = gn.data.Batches(*test_part, batch_size=250)
    return gn.train.fit(step, batches, epochs, validation=(test, tests))


def grid(figure: Any, title: str, pictures: np.ndarray, columns: int, **look: Any) -> None:
    """Pictures in rows, under one title."""
    figure.suptitle(title, fontsize=10)
    rows = -(-len(pictures) // columns)
    panels = figure.subplots(rows, columns)
    for axes, picture in zip(panels.flat, pictures, strict=True):
        axes.imshow(picture, **look)
        axes.set(xticks=[], yticks=[])


def draw(model: LeNet, pixels: np.ndarray, path: Path) -> None:
    """The filters of the first layer, and the feature maps of a digit in both layers."""
    x = gn.input("x", shape=(784,))
    first, second = gn.to_host(gn.compile(x, list(model.maps(x)))(pixels))
    filters = model.first.weight.value[:, 0]
    largest = float(np.abs(filters).max())
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(2, 2, 4))
    grid(left, "first filters", filters, 2, cmap="RdBu_r", vmin=-largest, vmax=largest)
    grid(middle, "what they find", first[0], 2, cmap="gray_r")
    grid(right, "what the second layer finds", second[0], 4, cmap="gray_r")
    figure.savefig(path, dpi=90)


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one epoch, not fifteen")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="for the picture")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    data = gn.data.split(*gn.data.load_mnist_5k(), test=0.2, seed=chosen.seed)
    (pixels, labels), tests = data
    print(f"accuracy on {len(tests[0])} digits, after {len(pixels)} to learn from")
    neighbours = KNeighborsClassifier(3).fit(pixels, labels)
    found = {"accuracy, three nearest digits": float(neighbours.score(*tests))}
    print(f"  three nearest digits  {found['accuracy, three nearest digits']:.1%}", flush=True)
    gn.seed(chosen.seed)
    model = LeNet()
    history = train(model, data, 1 if chosen.quick else EPOCHS, chosen.seed)
    found["accuracy, LeNet"] = history["val_accuracy"][-1]
    print(f"  LeNet                 {found['accuracy, LeNet']:.1%}")
    draw(model, tests[0][tests[1] == SHOWN][0], chosen.out / "lenet.png")
    assert found["accuracy, LeNet"] > (0.85 if chosen.quick else 0.97)
    return found


if __name__ == "__main__":
    main()
