"""The text-book's network on handwritten digits: 784-30-10 sigmoids, and what improves it.

M. Nielsen, Neural networks and deep learning (2015), trains it by stochastic gradient descent with
the quadratic cost, batches of 10 and a learning rate of 3, and reaches 95 % with 50,000 digits.
Here are 4,000 to learn from, and 1,000 to test. Then his third chapter is followed: cross-entropy
of a softmax, 100 hidden neurons, and dropout. What was chosen was chosen by a fifth of the 4,000.

Run it: python examples/textbook_digits.py [--quick] [--seed N] [--out folder]
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression

import graphnn as gn

EPOCHS, BATCH = 30, 10

Part = tuple[np.ndarray, ...]


def dense(inputs: int, outputs: int) -> gn.nn.Dense:
    """Weights of standard deviation 1 / sqrt(inputs), so that no sigmoid begins saturated."""
    return gn.nn.Dense(inputs, outputs, init=gn.init.lecun_normal)


def textbook_net() -> gn.nn.Module:
    return gn.nn.Sequential(dense(784, 30), gn.nn.Sigmoid(), dense(30, 10), gn.nn.Sigmoid())


def improved_net() -> gn.nn.Module:
    return gn.nn.Sequential(
        gn.nn.Dropout(0.2), dense(784, 100), gn.nn.Sigmoid(), gn.nn.Dropout(0.5), dense(100, 10)
    )


def quadratic_cost(outputs: gn.Node, labels: gn.Node) -> gn.Node:
    return gn.losses.quadratic(outputs, gn.one_hot(labels, 10))


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained."""

    net: Callable[[], gn.nn.Module]
    cost: Callable[[gn.Node, gn.Node], gn.Node]
    rate: float


RECIPES = {
    "784-30-10, quadratic cost": Recipe(textbook_net, quadratic_cost, 3.0),
    "784-100-10, cross-entropy, dropout": Recipe(improved_net, gn.losses.cross_entropy, 0.5),
}


def digits(seed: int) -> tuple[Part, Part]:
    """Pixels and labels for training and for testing."""
    return gn.data.split(*gn.data.load_mnist_5k(), test=0.2, seed=seed)


def train(
    model: gn.nn.Module, recipe: Recipe, data: tuple[Part, Part], epochs: int, seed: int
) -> gn.train.History:
    """Train a network, and test it after every epoch."""
    train_part, test_part = data
    x = gn.input("x", shape=("batch", 784))
    t = gn.input("t", shape=("batch",), dtype="int64")
    loss = recipe.cost(model.train()(x), t)
    updates = gn.optim.SGD(recipe.rate).minimize(loss, model.parameters())
    step = gn.compile([x, t], loss, updates)
    test = gn.compile([x, t], {"accuracy": gn.metrics.accuracy(model.eval()(x), t)})
    batches = gn.data.Batches(*train_part, batch_size=BATCH, shuffle=True, seed=seed)
    return gn.train.fit(step, batches, epochs, validation=(test, [test_part]))


def draw(
    histories: dict[str, gn.train.History], model: gn.nn.Module, tests: Part, path: Path
) -> None:
    """Accuracy over epochs, and some of the digits that the last network mistakes."""
    pixels, labels = tests
    x = gn.input("x", shape=("batch", 784))
    guesses = gn.to_host(gn.compile(x, gn.argmax(model.eval()(x), -1))(pixels))
    wrong = np.flatnonzero(guesses != labels)
    figure = Figure(figsize=(9.0, 3.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.2, 1.0))
    axes = left.subplots()
    for name, history in histories.items():
        axes.plot(range(1, history.epochs + 1), history["val_accuracy"], label=name)
    axes.set(xlabel="epoch", ylabel="accuracy on 1,000 digits not seen", ylim=(0.85, 0.97))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    right.suptitle("some mistakes of the better one", fontsize=10)
    for axes, mistake in zip(right.subplots(3, 6).flat, wrong, strict=False):
        axes.imshow(pixels[mistake].reshape(28, 28), cmap="gray_r")
        axes.set_title(f"{labels[mistake]}, not {guesses[mistake]}", fontsize=7)
    for axes in right.axes:
        axes.set_axis_off()
    figure.savefig(path, dpi=90)


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="three epochs, not thirty")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="for the picture")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    data = digits(chosen.seed)
    (pixels, labels), tests = data
    print(f"accuracy on {len(tests[0])} digits, after {len(pixels)} to learn from")
    linear = LogisticRegression(C=0.05, max_iter=300).fit(pixels, labels)
    found = {"accuracy, logistic regression": float(linear.score(*tests))}
    histories = {}
    for name, recipe in RECIPES.items():
        gn.seed(chosen.seed)
        model = recipe.net()
        epochs = 3 if chosen.quick else EPOCHS
        histories[name] = train(model, recipe, data, epochs, chosen.seed)
        found[f"accuracy, {name}"] = histories[name]["val_accuracy"][-1]
    for name, value in found.items():
        print(f"  {name.removeprefix('accuracy, '):36} {value:.1%}")
    draw(histories, model, tests, chosen.out / "textbook_digits.png")
    if not chosen.quick:
        assert min(list(found.values())[1:]) > 0.91
        assert found["accuracy, 784-100-10, cross-entropy, dropout"] >= 0.93
    return found


if __name__ == "__main__":
    main()
