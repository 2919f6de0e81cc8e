"""``graphnn demo``: two networks on real data, from the symbolic graph to the picture of it.

1. A multilayer perceptron 64-32-10 learns handwritten digits.
2. A simple recurrent network forecasts the yearly number of sunspots one year ahead.

Both are declared as graphs, differentiated, compiled and trained. Curves and the graphs
themselves, the unrolled one of backpropagation through time among them, are written as pictures.
"""

from __future__ import annotations

import time
from argparse import Namespace, RawDescriptionHelpFormatter
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import graphnn as gn
from graphnn.compiler.backends import BACKENDS
from graphnn.core.op import Array

__all__ = ["add_to", "run"]

DESCRIPTION = """\
Train two small networks on real data, and draw what they learn and the graphs themselves:
a multilayer perceptron that reads handwritten digits, and a recurrent network that forecasts
the number of sunspots one year ahead. About ten seconds.

exit status: 0 if both networks reach their targets, else 1
"""

PACKAGES = {"scikit-learn": "sklearn", "statsmodels": "statsmodels", "matplotlib": "matplotlib"}
"""What the data and the pictures need, and what it is imported as."""

DIGITS_TARGET = 0.96
SEED = 0

# Chosen by the error on the last fifth of the training years; the test years had no say.
WINDOW = 20  # years that the recurrent net looks back: about two cycles of the sun
HIDDEN = 8
WEIGHT_DECAY = 0.3


def train_digits(epochs: int, backend: str, out: Path) -> float:
    """Train the perceptron, draw its loss and its graph; give its accuracy on the test part."""
    gn.seed(SEED)
    pixels, labels = gn.data.load_digits()
    (x_train, t_train), (x_test, t_test) = gn.data.split(pixels, labels, test=0.25, seed=SEED)

    x = gn.input("x", shape=("batch", 64))
    t = gn.input("t", shape=("batch",), dtype="int64")
    model = gn.nn.Sequential(gn.nn.Dense(64, 32), gn.nn.ReLU(), gn.nn.Dense(32, 10))
    logits = model(x).named("logits")
    loss = gn.losses.cross_entropy(logits, t).named("loss")
    measures = {"loss": loss, "accuracy": gn.metrics.accuracy(logits, t)}

    updates = gn.optim.Adam(3e-3).minimize(loss, model.parameters())
    step = gn.compile([x, t], measures, updates, backend=backend)
    test = gn.compile([x, t], measures, backend=backend)
    batches = gn.data.Batches(x_train, t_train, batch_size=32, shuffle=True, seed=SEED)
    test_batches = gn.data.Batches(x_test, t_test, batch_size=len(x_test))

    print(f"digits: {model}, {len(x_train)} images for training, {len(x_test)} for testing")
    history = gn.train.fit(step, batches, epochs, validation=(test, test_batches))
    history.plot(out / "loss_curve.png", title="Digits: multilayer perceptron 64-32-10")
    draw(gn.Graph((x, t), (loss,)), out / "model")
    return gn.train.evaluate(test, test_batches)["accuracy"]


@dataclass
class Forecast:
    """Root mean square errors on the test years, in sunspots."""

    rmse: float
    persistence_rmse: float


class SunspotNet(gn.nn.Module):
    """A recurrent layer that reads the past, and a neuron that says the next value."""

    def __init__(self, unroll: bool = False) -> None:
        self.rnn = gn.nn.SimpleRNN(1, HIDDEN, batch_first=True, unroll=unroll)
        self.head = gn.nn.Dense(HIDDEN, 1)

    def forward(self, past: gn.Node) -> gn.Node:
        """The value that follows each stretch of the past."""
        following: gn.Node = self.head(self.rnn(past))
        return following


def forecast_sunspots(epochs: int, backend: str, out: Path) -> Forecast:
    """Train the recurrent net on the first four fifths of the years, and test it on the others."""
    gn.seed(SEED)
    years, numbers = gn.data.load_sunspots()
    (_, known), (test_years, unknown) = gn.data.split_in_time(years, numbers, test=0.2)
    scale = gn.data.Standardizer().fit(known)  # of the training years alone
    past, following = gn.data.windows(scale.transform(numbers)[:, None], WINDOW)
    in_training = len(known) - WINDOW  # windows whose target is a training year come first

    x = gn.input("x", shape=("batch", WINDOW, 1))
    y = gn.input("y", shape=("batch", 1))
    model = SunspotNet()
    prediction = model(x)
    loss = gn.losses.mse(prediction, y)
    updates = gn.optim.AdamW(5e-3, weight_decay=WEIGHT_DECAY).minimize(loss, model.parameters())
    step = gn.compile([x, y], loss, updates, backend=backend)
    batches = gn.data.Batches(
        past[:in_training], following[:in_training], batch_size=32, shuffle=True, seed=SEED
    )

    print(f"sunspots: {model}, {len(known)} years for training, {len(unknown)} for testing")
    gn.train.fit(step, batches, epochs)
    said = gn.compile(x, prediction, backend=backend)(past[in_training:])
    forecast = scale.inverse_transform(gn.to_host(said)[:, 0])
    persistence = numbers[len(known) - 1 : -1]  # next year will be as this year
    plot_forecast(test_years, unknown, forecast, out / "forecast.png")
    draw(unrolled_bptt(steps=3), out / "bptt")
    return Forecast(rmse(forecast, unknown), rmse(persistence, unknown))


def rmse(predictions: Array, targets: Array) -> float:
    """The root of the mean square of the differences."""
    return float(np.sqrt(np.mean((predictions - targets) ** 2)))


def plot_forecast(years: Array, truth: Array, forecast: Array, path: Path) -> None:
    """Draw what was observed and what was forecast."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(years, truth, "k.-", label="observed")
    axes.plot(years, forecast, "C1", label="forecast one year ahead")
    axes.set(xlabel="year", ylabel="sunspots", title="Years that the network has never seen")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def unrolled_bptt(steps: int) -> gn.Graph:
    """The loss of the recurrent net over a few steps, and its gradient through time."""
    x = gn.input("x", shape=("batch", steps, 1))
    y = gn.input("y", shape=("batch", 1))
    model = SunspotNet(unroll=True)
    loss = gn.losses.mse(model(x), y).named("loss")
    gradients = [
        gradient.named(f"d loss / d {name}")
        for (name, _), gradient in zip(
            model.named_parameters(), gn.grad(loss, model.parameters()), strict=True
        )
    ]
    return gn.Graph((x, y), (loss, *gradients))


def draw(graph: gn.Graph, path: Path) -> None:
    """Write a graph as vector and as pixel graphics."""
    for suffix in (".svg", ".png"):
        gn.render(graph, path.with_suffix(suffix))


def report(passed: bool, text: str) -> bool:
    """Say whether a target was reached."""
    print(f"  {'ok' if passed else 'MISSED'}: {text}\n", flush=True)
    return passed


def require_packages() -> None:
    """Say at once, and not after a minute of training, what is not installed."""
    missing = [name for name, module in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise gn.MissingPackageError(
            f"the demo needs {', '.join(missing)}, which are not installed",
            hint="pip install 'graphnn[viz,data]'",
            where="",
        )


def add_to(commands: Any) -> None:
    """Say what the command is called and which arguments it takes."""
    parser = commands.add_parser(
        "demo",
        help="train two small networks on real data and draw them",
        description=DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        default=Path("demo_output"),
        help="where the pictures go (default: demo_output)",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=gn.get_backend(),
        help="default: what GRAPHNN_BACKEND says, else numpy",
    )
    parser.add_argument("--digits-epochs", metavar="N", type=int, default=30, help="default: 30")
    parser.add_argument("--sunspots-epochs", metavar="N", type=int, default=150, help="150")
    parser.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Train both networks; 0 if both reach their targets."""
    require_packages()
    chosen.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()

    accuracy = train_digits(chosen.digits_epochs, chosen.backend, chosen.out)
    digits_passed = report(
        accuracy >= DIGITS_TARGET,
        f"test accuracy {accuracy:.1%} (target: at least {DIGITS_TARGET:.0%})",
    )
    found = forecast_sunspots(chosen.sunspots_epochs, chosen.backend, chosen.out)
    sunspots_passed = report(
        found.rmse < found.persistence_rmse,
        f"test RMSE {found.rmse:.1f} sunspots (target: below persistence, "
        f"{found.persistence_rmse:.1f})",
    )

    print(f"pictures in {chosen.out.resolve()}:")
    for file in sorted(chosen.out.iterdir()):
        print(f"  {file.name}")
    print(f"done in {time.perf_counter() - started:.0f} s")
    return 0 if digits_passed and sunspots_passed else 1
