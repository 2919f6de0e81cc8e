"""Forecast the yearly number of sunspots one year ahead: recurrent nets beside linear models.

Gated recurrent nets read 30 years and say the next; the forecast is the mean of five of them. They
see square roots of the numbers, for cycles that are large vary more. Beside them stand persistence
(next year will be as this year) and linear autoregression on 9 years by least squares, of the
numbers and of their roots.

What was chosen (windows, size, epochs) was chosen by the errors on the validation years, the last
fifth of the training years; the test years had no say. The nets win in the validation years. In the
test years, the largest cycle of all among them, they are about as good as autoregression, and
autoregression of roots is better.

Run it: python examples/sunspots.py [--quick] [--out folder]
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import graphnn as gn

WINDOW, ORDER, HIDDEN, EPOCHS, NETS = 30, 9, 16, 60, 5


class SunspotNet(gn.nn.Module):
    """A gated recurrent net that reads the past, and a neuron that says the next value."""

    def __init__(self) -> None:
        self.net = gn.nn.GRU(1, HIDDEN, batch_first=True)
        self.head = gn.nn.Dense(HIDDEN, 1)

    def forward(self, past: gn.Node) -> gn.Node:
        return gn.squeeze(self.head(self.net(past)), axis=1)


def by_net(roots: np.ndarray, known: int, end: int, epochs: int, seed: int) -> np.ndarray:
    """Forecasts of a net for the years from ``known`` to ``end``, trained on those before."""
    gn.seed(seed)
    scale = gn.data.Standardizer().fit(roots[:known])
    scaled = scale.transform(roots[:end])
    past, following = gn.data.windows(scaled, WINDOW)
    past, in_training = past[..., None], known - WINDOW
    x, y = gn.input("x", shape=("batch", WINDOW, 1)), gn.input("y", shape=("batch",))
    model = SunspotNet()
    prediction = model(x)
    loss = gn.losses.mse(prediction, y)
    updates = gn.optim.AdamW(5e-3, weight_decay=0.3).minimize(loss, model.parameters())
    step = gn.compile([x, y], loss, updates)
    seen = (past[:in_training], following[:in_training])
    gn.train.fit(step, gn.data.Batches(*seen, batch_size=32, shuffle=True, seed=seed), epochs)
    return scale.inverse_transform(gn.to_host(gn.compile(x, prediction)(past[in_training:])))


def autoregression(series: np.ndarray, known: int, end: int) -> np.ndarray:
    """Forecasts of the linear function of ``ORDER`` years that fits the years before best."""
    past, following = gn.data.windows(series[:end].astype(np.float64), ORDER)
    past, in_training = np.c_[past, np.ones(len(past))], known - ORDER
    weights, *_ = np.linalg.lstsq(past[:in_training], following[:in_training], rcond=None)
    return past[in_training:] @ weights


def forecasts(numbers: np.ndarray, known: int, end: int, quick: bool) -> dict[str, np.ndarray]:
    """One year ahead, from the year ``known`` up to ``end``, by every method."""
    roots = np.sqrt(numbers)
    epochs, nets = (5, 1) if quick else (EPOCHS, NETS)
    said = [np.square(by_net(roots, known, end, epochs, seed)) for seed in range(nets)]
    return {
        "persistence": numbers[known - 1 : end - 1],
        "autoregression": autoregression(numbers, known, end),
        "autoregression of roots": np.square(autoregression(roots, known, end)),
        "recurrent nets": np.mean(said, axis=0),
    }


def plot(years: np.ndarray, truth: np.ndarray, said: dict[str, np.ndarray], path: Path) -> None:
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(years, truth, "k.-", label="observed")
    for name, color in (("autoregression of roots", "C0"), ("recurrent nets", "C1")):
        axes.plot(years, said[name], color, label=name)
    axes.set(xlabel="year", ylabel="sunspots", title="Forecasts one year ahead, of the test years")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=80)


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one net, 5 epochs")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="for the picture")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    years, numbers = gn.data.load_sunspots()
    tested = round(0.8 * len(numbers))
    validated = round(0.8 * tested)
    found: dict[str, float] = {}
    print("root mean square error, in sunspots")
    for part, known, end in (("validation", validated, tested), ("test", tested, len(numbers))):
        said, truth = forecasts(numbers, known, end, chosen.quick), numbers[known:end]
        print(f"{part} years, {years[known]} to {years[end - 1]}:")
        for name, values in said.items():
            error = float(np.sqrt(np.mean((values - truth) ** 2)))
            found[f"RMSE in {part} years, {name}"] = error
            print(f"  {name:24} {error:5.1f}", flush=True)
    plot(years[tested:], truth, said, chosen.out / "sunspots.png")
    if not chosen.quick:
        assert found["RMSE in test years, recurrent nets"] < 20.0
        assert found["RMSE in validation years, recurrent nets"] < 11.5
    return found


if __name__ == "__main__":
    main()
