"""What a network does not know: Monte-Carlo dropout in a regression with a gap in its data.

A network with dropout is trained on a curve of which the middle and the ends are missing. Dropout
stays at work while it predicts; where its samples differ, it is unsure. Their spread should be
larger where there were no data, and should tell large errors from small ones. It does; far outside
it is too small all the same, for nothing tells the network how the curve goes on.

Run it: python examples/monte_carlo_dropout.py [--quick] [--out folder]
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import graphnn as gn

SEED, STEPS, SAMPLES = 0, 4000, 200
NOISE, RATE, WEIGHT_DECAY = 0.1, 0.1, 1e-4


def curve(x: np.ndarray) -> np.ndarray:
    return np.sin(2.0 * x) + 0.3 * x


def observations() -> tuple[np.ndarray, np.ndarray]:
    """Noisy values from -3 to -1 and from 1 to 3."""
    rng = np.random.default_rng(SEED)
    x = rng.choice([-1.0, 1.0], 200) * rng.uniform(1.0, 3.0, 200)
    y = curve(x) + rng.normal(0.0, NOISE, 200)
    return np.float32(x[:, None]), np.float32(y[:, None])


def network() -> gn.nn.Module:
    def hidden(inputs: int) -> list[gn.nn.Module]:
        dense = gn.nn.Dense(inputs, 128, init=gn.init.he_normal)
        return [dense, gn.nn.ReLU(), gn.nn.Dropout(RATE)]

    return gn.nn.Sequential(*hidden(1), *hidden(128), *hidden(128), gn.nn.Dense(128, 1))


def train(model: gn.nn.Module, data: tuple[np.ndarray, np.ndarray], steps: int) -> None:
    x, y = gn.input("x", shape=("batch", 1)), gn.input("y", shape=("batch", 1))
    loss = gn.losses.mse(model.train()(x), y)
    optimizer = gn.optim.AdamW(gn.optim.Cosine(2e-3, steps), weight_decay=WEIGHT_DECAY)
    step = gn.compile([x, y], loss, optimizer.minimize(loss, model.parameters()))
    gn.train.fit(step, [data], steps)


def draw(
    data: tuple[np.ndarray, np.ndarray],
    x: np.ndarray,
    mean: np.ndarray,
    spread: np.ndarray,
    path: Path,
) -> None:
    figure = Figure(figsize=(8.0, 3.6), layout="constrained")
    axes = figure.subplots()
    for width, alpha in ((2, 0.2), (1, 0.35)):
        low, high = mean - width * spread, mean + width * spread
        words = f"± {width} standard deviation{'s' if width > 1 else ''} of the samples"
        axes.fill_between(x, low, high, color="C0", alpha=alpha, linewidth=0, label=words)
    axes.plot(x, mean, "C0", label="mean of the samples")
    axes.plot(x, curve(x), "k--", linewidth=1, label="the curve")
    axes.plot(*data, "k.", markersize=3, label="what is known")
    axes.set(xlabel="x", ylabel="y", xlim=(x[0], x[-1]), ylim=(-4.0, 4.0))
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(path, dpi=90)


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps of training")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="for the picture")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    gn.seed(SEED)
    data, model = observations(), network()
    train(model, data, 300 if chosen.quick else STEPS)

    x = gn.input("x", shape=("batch", 1))
    predict = gn.compile(x, [*gn.nn.monte_carlo(model, x, samples=SAMPLES), model.eval()(x)])
    points = np.linspace(-4.5, 4.5, 361, dtype=np.float32)
    mean, variance, plain = (each[:, 0] for each in gn.to_host(predict(points[:, None])))
    spread, distance = np.sqrt(variance), np.abs(points)
    known = (distance >= 1.0) & (distance <= 3.0)
    places = {"where data are": known, "in the gap": distance < 1.0, "outside": distance > 3.0}
    found: dict[str, float] = {}
    print("                 spread of samples   error of their mean   of one pass without dropout")
    for name, there in places.items():
        error, usual = (
            np.sqrt(np.mean((each - curve(points))[there] ** 2)) for each in (mean, plain)
        )
        found[f"spread {name}"] = float(np.mean(spread[there]))
        found[f"RMSE {name}"] = float(error)
        print(f"  {name:14} {found[f'spread {name}']:17.3f} {error:21.3f} {usual:29.3f}")
    agreement = rank_correlation(spread, np.abs(mean - curve(points)))
    found["rank correlation of spread and error"] = agreement
    print(f"rank correlation of spread and error: {agreement:.2f} (0: the spread tells nothing)")
    draw(data, points, mean, spread, chosen.out / "monte_carlo_dropout.png")
    if not chosen.quick:
        unknown = found["spread in the gap"], found["spread outside"]
        assert min(unknown) > 1.5 * found["spread where data are"]
        assert agreement > 0.5
    return found


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's: the correlation of the orders."""
    orders = [np.argsort(np.argsort(each)) for each in (a, b)]
    return float(np.corrcoef(*orders)[0, 1])


if __name__ == "__main__":
    main()
