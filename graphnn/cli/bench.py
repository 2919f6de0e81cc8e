"""``graphnn bench``: how fast this machine trains three networks, and what it could do at most."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import numpy as np

import graphnn as gn
from graphnn.cli.arguments import count, positive
from graphnn.cli.networks import NETWORKS
from graphnn.cli.torch_networks import torch_step
from graphnn.compiler.native.limits import measured_limits
from graphnn.core.arguments import require_known
from graphnn.core.op import Array
from graphnn.core.text import counted
from graphnn.io.environment import environment

__all__ = ["CASES", "Case", "Row", "add_to", "measured", "run"]

CLASSES = 10
RATE = 0.01
LEAST_STEPS = 5
"""That are timed, however long they take."""

BUSY = 0.5
"""A load for each processor from which on figures are disturbed."""

DESCRIPTION = """\
Train three networks for a moment on made-up data, and print how many samples a second they learn
from: forward, backward and update, in float32. Beside it stand the arithmetic that this takes, its
share of what this machine was measured to do at most, and the same network in PyTorch if it is
installed. Times are medians; for figures to rely on, let nothing else run.

  mlp    784-128-10, batches of 128
  lenet  pictures of 28 x 28, batches of 64
  lstm   28 steps of 28 channels, 128 hidden, batches of 64

exit status: 0 measured, 1 it cannot be done, 2 arguments not understood, 130 Ctrl-C
"""


@dataclass(frozen=True)
class Case:
    """A network by name, and what it is fed."""

    title: str
    batch: int
    shape: tuple[int, ...]
    options: Mapping[str, Any]


CASES: Mapping[str, Case] = {
    "mlp": Case("MLP 784-128-10", 128, (784,), {"hidden": (128,)}),
    "lenet": Case("LeNet, 28 x 28", 64, (1, 28, 28), {}),
    "lstm": Case("LSTM 28-128-10, 28 steps", 64, (28, 28), {"hidden": 128}),
}


@dataclass(frozen=True)
class Row:
    """What was measured of one network.

    Attributes
    ----------
    network : str
    batch : int
    step_seconds : float
        The median.
    flops : int
        Of one step.
    loss : float
        Before the first step.
    torch_step_seconds, torch_loss : float, optional
        The same of PyTorch.
    """

    network: str
    batch: int
    step_seconds: float
    flops: int
    loss: float
    torch_step_seconds: float | None = None
    torch_loss: float | None = None


def add_to(commands: Any) -> None:
    """Say what the command is called and which arguments it takes."""
    parser = commands.add_parser(
        "bench",
        help="how fast this machine trains three networks",
        description=DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "networks",
        metavar="NETWORK",
        nargs="*",
        help=f"{', '.join(CASES)}; default: all of them",
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=positive,
        default=1.0,
        help="for each network and library; default: 1",
    )
    parser.add_argument("--threads", metavar="N", type=count, help="default: all processors")
    parser.add_argument("--no-torch", action="store_true", help="without PyTorch")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    parser.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Measure and print; returns the exit status."""
    names = list(dict.fromkeys(chosen.networks)) or [*CASES]
    for name in names:
        require_known("bench", "network", name, CASES)
    _warn_if_busy()
    with_torch = not chosen.no_torch and find_spec("torch") is not None
    with _threads(chosen.threads or gn.get_num_threads()) as threads:
        rows = measured(names, chosen.seconds, threads if with_torch else 0)
        limit = measured_limits(threads).flops
        versions = environment() | ({"PyTorch": metadata.version("torch")} if with_torch else {})
    if chosen.json:
        content = {"environment": versions, "limit_flops_per_second": limit}
        print(json.dumps(content | {"networks": [asdict(row) for row in rows]}, indent=1))
    else:
        print("\n".join(_table(rows, limit, versions)))
    return 0


def _warn_if_busy() -> None:
    """Say that figures tell little while others compute; Windows does not know."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY * (os.cpu_count() or 1):
        print(
            f"graphnn: warning: other programs compute on this machine (a load of {load:.1f}), so "
            "the figures tell little, above all those of PyTorch, whose threads wait by spinning",
            file=sys.stderr,
        )


@contextmanager
def _threads(n: int) -> Iterator[int]:
    """So many threads for a while."""
    before = gn.get_num_threads()
    gn.set_num_threads(n)
    try:
        yield n
    finally:
        gn.set_num_threads(before)


# ---------------------------------------------------------------------------------------- measuring


def measured(names: Sequence[str], seconds: float, torch_threads: int) -> list[Row]:
    """One row for each network; PyTorch is measured with so many threads, or not if that is 0.

    PyTorch comes last: its threads wait for work by spinning, beside whatever runs then.
    """
    models: dict[str, gn.nn.Module] = {}
    rows: dict[str, Row] = {}
    for name in names:
        gn.seed(0)
        network, case = NETWORKS[name], CASES[name]
        models[name] = network.build(case.shape, CLASSES, {**network.options, **case.options})
    steps = _torch_steps(models, torch_threads) if torch_threads else {}
    for name, model in models.items():
        rows[name] = _row(name, model, seconds)
    for name, step in steps.items():
        loss, step_seconds = step(), _median_seconds(step, seconds)
        rows[name] = replace(rows[name], torch_loss=loss, torch_step_seconds=step_seconds)
    return list(rows.values())


def _torch_steps(
    models: Mapping[str, gn.nn.Module], threads: int
) -> dict[str, Callable[[], float]]:
    """The same networks in PyTorch, with the weights that they begin with."""
    return {
        name: torch_step(model, *_data(CASES[name]), RATE, threads)
        for name, model in models.items()
    }


def _row(name: str, model: gn.nn.Module, seconds: float) -> Row:
    """A step of gradient descent with graphnn."""
    case = CASES[name]
    pixels, labels = _data(case)
    x = gn.input("x", pixels.shape)
    t = gn.input("t", labels.shape, "int64")
    loss = gn.losses.cross_entropy(model(x), t)
    program = gn.compile([x, t], loss, gn.optim.SGD(RATE).minimize(loss, model.parameters()))
    first = float(program(pixels, labels))
    step_seconds = _median_seconds(lambda: program(pixels, labels), seconds)
    return Row(name, case.batch, step_seconds, program.flops, first)


def _data(case: Case) -> tuple[Array, Array]:
    """Made-up inputs and labels, always the same."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(case.batch, *case.shape)).astype(np.float32)
    return x, rng.integers(0, CLASSES, case.batch)


def _median_seconds(step: Callable[[], object], seconds: float) -> float:
    """The median time of a call, of all that so many seconds hold."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < LEAST_STEPS or time.perf_counter() < until:
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


# ------------------------------------------------------------------------------------------ telling


def _table(rows: Sequence[Row], limit: float, versions: Mapping[str, object]) -> Iterator[str]:
    """Lines of text."""
    with_torch = "PyTorch" in versions
    threads = counted(int(str(versions["threads"])), "thread")
    yield (
        f"graphnn {versions['graphnn']}, {threads} on "
        f"{versions['processor']}; at most {limit / 1e9:.0f} GFLOP/s of float32 were measured"
    )
    heads: tuple[str, ...] = (
        "network",
        "batch",
        "ms a step",
        "samples/s",
        "GFLOP/s",
        "of the most",
    )
    heads += (f"PyTorch {versions['PyTorch']}", "graphnn/PyTorch") if with_torch else ()
    cells = [heads, *(_cells(row, limit) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        aligned = (each.rjust(width) for each, width in zip(others, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *aligned])


def _cells(row: Row, limit: float) -> tuple[str, ...]:
    cells: tuple[str, ...] = (
        CASES[row.network].title,
        str(row.batch),
        f"{row.step_seconds * 1e3:.3g}",
        f"{row.batch / row.step_seconds:,.0f}",
        f"{row.flops / row.step_seconds / 1e9:.1f}",
        f"{row.flops / row.step_seconds / limit:.0%}",
    )
    if row.torch_step_seconds is None:
        return cells
    speed = f"{row.batch / row.torch_step_seconds:,.0f} samples/s"
    return (*cells, speed, f"{row.torch_step_seconds / row.step_seconds:.2f} x")
