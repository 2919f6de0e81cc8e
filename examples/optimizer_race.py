"""All optimizers on one surface: their paths down Rosenbrock's valley, and the schedules of rates.

The valley (1 - x)**2 + 10 (y - x**2)**2 is bent: its floor is found quickly, and followed slowly to
the minimum at (1, 1). Each optimizer gets the best of seven learning rates, as the loss after all
steps tells it; plain gradient descent is what the others are measured by.

Run it: python examples/optimizer_race.py [--quick] [--out folder]
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import graphnn as gn

START, STEPS = (-1.5, 1.5), 200
RATES = tuple(10.0**power for power in np.arange(-3.0, 0.5, 0.5))

OPTIMIZERS: dict[str, Callable[[float], gn.optim.Optimizer]] = {
    "gradient descent": gn.optim.SGD,
    "momentum": lambda rate: gn.optim.SGD(rate, momentum=0.9),
    "Nesterov": lambda rate: gn.optim.SGD(rate, momentum=0.9, nesterov=True),
    "Adagrad": gn.optim.Adagrad,
    "Adadelta": lambda rate: gn.optim.Adadelta(100.0 * rate),  # its own unit is tiny at first
    "RMSprop": gn.optim.RMSprop,
    "Rprop": gn.optim.Rprop,
    "Adam": gn.optim.Adam,
    "AdamW": gn.optim.AdamW,
    "AMSGrad": lambda rate: gn.optim.Adam(rate, amsgrad=True),
    "Adamax": gn.optim.Adamax,
    "NAdam": gn.optim.NAdam,
    "Lion": gn.optim.Lion,
    "L-BFGS": gn.optim.LBFGS,
}

SCHEDULES: dict[str, gn.optim.Schedule] = {
    "constant": gn.optim.Constant(1.0),
    "halved every 40": gn.optim.StepDecay(1.0, every=40, factor=0.5),
    "exponential": gn.optim.Exponential(1.0, factor=0.98),
    "inverse time": gn.optim.InverseTime(1.0, decay=0.05),
    "polynomial": gn.optim.Polynomial(1.0, STEPS, power=2.0),
    "cosine": gn.optim.Cosine(1.0, STEPS),
    "with restarts": gn.optim.Restarts(gn.optim.Cosine(1.0, 30), steps=30, multiplier=2),
    "warm-up, cosine": gn.optim.WarmUp(gn.optim.Cosine(1.0, STEPS - 20), steps=20),
    "one cycle": gn.optim.OneCycle(1.0, STEPS),
}


def valley(x: gn.Node, y: gn.Node) -> gn.Node:
    return (1.0 - x) ** 2 + 10.0 * (y - x**2) ** 2


def path_of(optimizer: gn.optim.Optimizer, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Where an optimizer goes, and the losses there: (steps + 1, 2) and (steps + 1,)."""
    place = gn.parameter(START, name="place", dtype="float64")
    loss = valley(place[0], place[1])
    step = gn.compile([], [place, loss], optimizer.minimize(loss, [place]))
    places, losses = zip(*(gn.to_host(step()) for _ in range(steps + 1)), strict=True)
    return np.stack(places), np.stack(losses)


def best_path(make: Callable[[float], gn.optim.Optimizer], steps: int) -> tuple[np.ndarray, ...]:
    """The path with the learning rate that ends lowest."""
    with np.errstate(over="ignore", invalid="ignore"):  # rates that are too large diverge
        paths = [path_of(make(rate), steps) for rate in RATES]
    return min(paths, key=lambda path: np.nan_to_num(path[1][-1], nan=np.inf))


def draw_race(paths: dict[str, tuple[np.ndarray, ...]], file: Path) -> None:
    x, y = np.meshgrid(np.linspace(-2.0, 2.0, 201), np.linspace(-1.0, 3.0, 201))
    height = gn.evaluate(valley(gn.constant(x), gn.constant(y)))
    figure = Figure(figsize=(11.0, 6.0), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(5.4, 3.0))
    for axes, (name, (places, _)) in zip(left.subplots(3, 5).flat, paths.items(), strict=False):
        axes.contourf(x, y, np.log10(height + 1e-3), levels=14, cmap="Greys_r", alpha=0.7)
        axes.plot(*places.T, "C1.-", markersize=2.5, linewidth=0.9)
        axes.plot(1.0, 1.0, "r*", markersize=7)
        axes.set(xlim=(-2, 2), ylim=(-1, 3))
        axes.set_title(name, fontsize=9)
    for axes in left.axes:
        axes.set_axis_off()
    axes = right.subplots()
    for (name, (_, losses)), color in zip(paths.items(), _colors(len(paths)), strict=True):
        axes.semilogy(np.maximum(losses, 1e-16), color=color, label=name, linewidth=1.2)
    axes.set(xlabel="step", title="loss", ylim=(1e-16, 1e3))
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(file, dpi=90)


def _colors(count: int) -> np.ndarray:
    from matplotlib import colormaps

    return colormaps["tab20"](np.arange(count))


def draw_schedules(file: Path) -> None:
    figure = Figure(figsize=(8.0, 4.6), layout="constrained")
    for axes, (name, schedule) in zip(figure.subplots(3, 3).flat, SCHEDULES.items(), strict=True):
        axes.plot(schedule.values(STEPS))
        axes.set(ylim=(-0.05, 1.05))
        axes.set_title(name, fontsize=9)
        axes.grid(alpha=0.3)
    figure.supxlabel("step", fontsize=9)
    figure.supylabel("learning rate", fontsize=9)
    figure.savefig(file, dpi=90)


def main() -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="20 steps, not 200")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="for the pictures")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    steps = 20 if chosen.quick else STEPS
    paths = {name: best_path(make, steps) for name, make in OPTIMIZERS.items()}
    found = {f"loss, {name}": float(losses[-1]) for name, (_, losses) in paths.items()}
    print(f"loss after {steps} steps, at the start {paths['Adam'][1][0]:.3g}")
    for name, loss in sorted(found.items(), key=lambda item: item[1]):
        print(f"  {name.removeprefix('loss, '):18} {loss:.2e}")
    draw_race(paths, chosen.out / "optimizer_race.png")
    draw_schedules(chosen.out / "schedules.png")
    assert all(losses[-1] < losses[0] for _, losses in paths.values())
    if not chosen.quick:
        plain = found["loss, gradient descent"]
        assert min(found, key=lambda name: found[name]) == "loss, L-BFGS"
        assert max(found["loss, Adam"], found["loss, momentum"]) < plain
    return found


if __name__ == "__main__":
    main()
