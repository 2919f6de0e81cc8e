"""Batch normalisation and dropout, with and without, on 8 x 8 digits.

A network with three wide hidden layers learns from 300 digits only and is tested on the 1,497
others: plain, with batch normalisation, with dropout, and with both, each from three seeds. Beside
them stand the three nearest digits. At last batch normalisation learns from four fifths of all.

Run it: python examples/batch_norm_and_dropout.py [--quick] [--out folder]
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.neighbors import KNeighborsClassifier

import graphnn as gn

SEEDS, EPOCHS, BATCH = 3, 60, 20
LAYERS, WIDTH, RATE = 3, 256, 0.1
FEW, MOST = 1497 / 1797, 0.2  # shares held out: 300 digits are left to learn from, or 1,437

VARIANTS = {
    "plain": (False, False),
    "batch norm": (True, False),
    "dropout": (False, True),
    "both": (True, True),
}

Part = tuple[np.ndarray, ...]


def network(normalizes: bool, drops: bool) -> gn.nn.Module:
    layers: list[gn.nn.Module] = [gn.nn.Dropout(0.1)] if drops else []
    for depth in range(LAYERS):
        layers.append(gn.nn.Dense(WIDTH if depth else 64, WIDTH))
        layers += [gn.nn.BatchNorm(WIDTH)] if normalizes else []
        layers.append(gn.nn.ReLU())
        layers += [gn.nn.Dropout(0.5)] if drops else []
    return gn.nn.Sequential(*layers, gn.nn.Dense(WIDTH, 10))


def train(model: gn.nn.Module, data: tuple[Part, Part], epochs: int, seed: int) -> gn.train.History:
    """Plain gradient descent; the test is in evaluation mode, with running statistics."""
    train_part, test_part = data
    x = gn.input("x", shape=("batch", 64))
    t = gn.input("t", shape=("batch",), dtype="int64")
    loss = gn.losses.cross_entropy(model.train()(x), t)
    updates = gn.optim.SGD(RATE).minimize(loss, model.parameters()) | model.state_updates()
    step = gn.compile([x, t], loss, updates)
    logits = model.eval()(x)
    measures = {
        "loss": gn.losses.cross_entropy(logits, t),
        "accuracy": gn.metrics.accuracy(logits, t),
    }
    test = gn.compile([x, t], measures)
    batches = gn.data.Batches(*train_part, batch_size=BATCH, shuffle=True, seed=seed)
    return gn.train.fit(step, batches, epochs, validation=(test, [test_part]))


def runs(variant: str, held_out: float, seeds: int, epochs: int) -> dict[str, np.ndarray]:
    """Test loss and accuracy after every epoch, for every seed: (seeds, epochs)."""
    histories = []
    for seed in range(seeds):
        gn.seed(seed)
        data = gn.data.split(*gn.data.load_digits(), test=held_out, seed=seed)
        histories.append(train(network(*VARIANTS[variant]), data, epochs, seed))
    return {name: np.array([h[f"val_{name}"] for h in histories]) for name in ("loss", "accuracy")}


def nearest(seeds: int) -> float:
    """Mean accuracy of the three nearest of 300 digits."""
    scores = []
    for seed in range(seeds):
        known, tests = gn.data.split(*gn.data.load_digits(), test=FEW, seed=seed)
        scores.append(KNeighborsClassifier(3).fit(*known).score(*tests))
    return float(np.mean(scores))


def draw(curves: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Means over seeds, and bands from the worst to the best."""
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for name, curve in curves.items():
            values = curve[measure]
            epochs = np.arange(1, values.shape[1] + 1)
            axes.plot(epochs, values.mean(0), label=name)
            axes.fill_between(epochs, values.min(0), values.max(0), alpha=0.2, linewidth=0)
        axes.set(xlabel="epoch", ylabel=f"{measure} on 1,497 digits not seen")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylim(0.1, 0.6)
    figure.axes[1].set_ylim(0.8, 0.98)
    figure.axes[1].legend(loc="lower right")
    figure.savefig(path, dpi=90)


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed and a few epochs")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="for the picture")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    seeds, epochs = (1, 3) if chosen.quick else (SEEDS, EPOCHS)
    found = {"accuracy, three nearest digits": nearest(seeds)}
    print("300 digits to learn from      accuracy   loss on test digits")
    print(f"  three nearest digits {found['accuracy, three nearest digits']:15.1%}")
    curves = {}
    for name in VARIANTS:
        curves[name] = runs(name, FEW, seeds, epochs)
        last = {measure: float(values[:, -1].mean()) for measure, values in curves[name].items()}
        print(f"  {name:20} {last['accuracy']:15.1%} {last['loss']:11.3f}", flush=True)
        found |= {f"{measure}, {name}": value for measure, value in last.items()}
    draw(curves, chosen.out / "batch_norm_and_dropout.png")
    accuracies = runs("batch norm", MOST, seeds, epochs // 3)["accuracy"][:, -1]
    found["accuracy, batch norm, 1,437 digits to learn from"] = float(accuracies.mean())
    print(f"1,437 digits to learn from, batch norm: {', '.join(f'{a:.1%}' for a in accuracies)}")
    if not chosen.quick:
        assert found["accuracy, batch norm"] > found["accuracy, plain"]
        assert found["loss, dropout"] < found["loss, plain"]
        assert accuracies.mean() > 0.98
    return found


if __name__ == "__main__":
    main()
