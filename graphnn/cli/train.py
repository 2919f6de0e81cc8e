"""``graphnn train``: train a network by name on data by name or in files, in a resumable folder."""

from __future__ import annotations

import shlex
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import graphnn as gn
from graphnn.cli.arguments import count, delimiter, positive, shape, share
from graphnn.cli.networks import (
    NETWORKS,
    OPTIMIZERS,
    SCHEDULES,
    optimizer_named,
    option_text,
    options_from,
)
from graphnn.cli.preparation import Preparation
from graphnn.cli.results import reached, write_plot, write_summary
from graphnn.cli.run_folder import RunFolder, Settings, chosen_folder
from graphnn.cli.sample_files import Source, read_samples
from graphnn.cli.samples import DATA_SETS, Samples, held_out
from graphnn.compiler.backends import BACKENDS
from graphnn.core.text import counted

__all__ = ["INTERRUPTED", "add_to", "run"]

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it: 128 and the number of the signal."""

EPOCHS, BATCH_SIZE, OPTIMIZER, VALIDATION = 20, 32, "adam", 0.2
MOST_AT_ONCE = 256
"""Samples in a batch when nothing is learned from it."""


def _listing(entries: dict[str, str]) -> str:
    width = max(map(len, entries))
    return "\n".join(f"  {name:{width}}  {about}" for name, about in entries.items())


DESCRIPTION = f"""\
Train a network. It learns from one part of the data, and is tested on the part that is held out
after every epoch. All that belongs to the run lies in one folder:

  run.json       network, options, data, versions
  checkpoints/   last.ckpt, to go on from, and best.ckpt, of the best epoch on the held-out part
  history.csv    what was measured, epoch by epoch; history.png is its picture
  summary.txt    the network, layer by layer, and what was reached

Ctrl-C loses nothing, a crash or a power cut a minute at most: graphnn train --resume FOLDER goes
on, and ends with the same numbers, to the last bit, as a run that nothing has stopped.

MODEL is one of
{_listing({name: each.about for name, each in NETWORKS.items()})}

DATA is one of
{_listing({name: about for name, (about, _) in DATA_SETS.items()})}
or files:
  TABLE.csv      a row for each sample; the last column, or --target, is what is to be predicted:
                 integers and words are classes, other numbers are values
  ARRAYS.npz     x: the samples; y: their classes or values; lengths: of padded sequences
  SERIES.ts      sequences and their classes
  IMAGES LABELS  two IDX files, compressed or not, such as those of MNIST
"""

EXAMPLES = """\
examples:
  graphnn train mlp --data digits
  graphnn train mlp --data houses.csv --target price --drop id --epochs 100
  graphnn train lenet --data mnist_5k --out runs/first --option dropout=0.3
  graphnn train lstm --data japanese_vowels --option hidden=32 --option bidirectional=true
  graphnn train --resume runs/first --epochs 40

exit status: 0 trained, 1 it cannot be done, 2 arguments not understood, 130 stopped by Ctrl-C
"""


def add_to(commands: Any) -> None:
    """Say what the command is called and which arguments it takes."""
    parser = commands.add_parser(
        "train",
        help="train a network by name on data by name or in files",
        description=DESCRIPTION,
        epilog=EXAMPLES + _options_told(),
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", choices=[*NETWORKS], help="see above")
    parser.add_argument("--data", metavar="DATA", nargs="+", help="a name, or one or two files")
    folder = parser.add_mutually_exclusive_group()
    folder.add_argument("--out", metavar="FOLDER", type=Path, help="default: runs/MODEL-DATA")
    folder.add_argument("--resume", metavar="FOLDER", type=Path, help="go on with this run")
    add_option = parser.add_argument
    add_option("--epochs", metavar="N", type=count, help=f"to reach in all; default: {EPOCHS}")
    add_option("--batch-size", metavar="N", type=count, help=f"default: {BATCH_SIZE}")
    add_option("--lr", metavar="RATE", type=positive, help="learning rate; each optimizer has one")
    add_option(
        "--schedule",
        choices=[*SCHEDULES],
        help="of the learning rate, over all epochs; --lr is the highest; default: constant",
    )
    add_option(
        "--patience",
        metavar="N",
        type=count,
        help="end after N epochs in a row that were no better on the held-out part",
    )
    add_option(
        "--optimizer",
        metavar="NAME",
        choices=[*OPTIMIZERS],
        help=f"default: {OPTIMIZER}; there are {', '.join(OPTIMIZERS)}",
    )
    add_option("--seed", metavar="N", type=int, help="of weights, order and division; default: 0")
    add_option("--backend", choices=[*BACKENDS], help="default: numpy")
    add_option(
        "--option", metavar="KEY=VALUE", action="append", help="of the network, again and again"
    )
    add_option(
        "--validation",
        metavar="SHARE",
        type=share,
        help=f"of the samples that is held out; default: {VALIDATION}",
    )
    files = parser.add_argument_group("for data in files")
    files.add_argument("--target", metavar="COLUMN", help="of a table; default: the last one")
    files.add_argument("--drop", metavar="COLUMN", action="append", help="leave out, such as an id")
    files.add_argument(
        "--delimiter",
        metavar="CHARACTER",
        type=delimiter,
        help="between the fields of a table: ';' or tab; default: a comma",
    )
    files.add_argument("--task", choices=("classification", "regression"), help="classes or values")
    files.add_argument(
        "--shape", metavar="N,N", type=shape, help="of one sample: 28,28 for pictures in rows"
    )
    parser.set_defaults(run=run)


def _options_told() -> str:
    told = {
        name: ", ".join(option_text(*option) for option in each.options.items()) or "none"
        for name, each in NETWORKS.items()
    }
    return f"\noptions of the networks, with their defaults:\n{_listing(told)}\n"


# ------------------------------------------------------------------------------ beginning, going on


def run(chosen: Namespace) -> int:
    """Train, or go on; returns the exit status."""
    folder, run, samples = _resumed(chosen) if chosen.resume else _begun(chosen)
    known, unknown = held_out(samples, run.validation, run.seed)
    scale = Preparation.fitted(run.network, NETWORKS[run.network].takes, known)
    folder.save_scale(scale)
    return _trained(folder, run, scale, known, unknown)


def _begun(chosen: Namespace) -> tuple[RunFolder, Settings, Samples]:
    """A new run: its folder, with what it depends on."""
    missing = [name for name in ("model", "data") if not getattr(chosen, name)]
    if missing:
        raise gn.ArgumentError(
            f"train needs a MODEL and --data DATA; {' and '.join(missing)} missing",
            hint="graphnn train mlp --data digits, for example; or --resume FOLDER",
            where="",
        )
    folder = RunFolder(chosen.out or chosen_folder(chosen.model, chosen.data[0]))
    folder.require_free()
    source = Source(
        tuple(chosen.data),
        chosen.target,
        chosen.task,
        tuple(chosen.drop or ()),
        chosen.shape,
        chosen.delimiter or ",",
    )
    samples = read_samples(source)
    run = _settings(chosen, source, samples)
    # What these refuse is said before there is a folder.
    run.built()
    gn.data.Batches(np.empty(run.samples), batch_size=run.batch_size)
    folder.save(run)
    return folder, run, samples


def _settings(chosen: Namespace, source: Source, samples: Samples) -> Settings:
    """What the arguments and the data say, and the defaults of the rest."""
    validation, seed = chosen.validation or VALIDATION, chosen.seed or 0
    known, unknown = held_out(samples, validation, seed)
    scale = Preparation.fitted(chosen.model, NETWORKS[chosen.model].takes, known)
    optimizer = chosen.optimizer or OPTIMIZER
    return Settings(
        network=chosen.model,
        options=options_from(chosen.model, chosen.option or ()),
        input_shape=scale.arrays(known)[0].shape[1:],
        classes=samples.classes,
        values=samples.values,
        data=asdict(source.absolute()),
        columns=samples.columns,
        samples=len(known),
        held_out=len(unknown),
        checksum=samples.checksum(),
        validation=validation,
        epochs=chosen.epochs or EPOCHS,
        batch_size=chosen.batch_size or min(BATCH_SIZE, len(known)),
        optimizer=optimizer,
        learning_rate=chosen.lr or OPTIMIZERS[optimizer][1],
        seed=seed,
        backend=chosen.backend or "numpy",
        schedule=chosen.schedule or "constant",
        patience=chosen.patience,
    )


FIXED = {"MODEL": "model"} | {
    f"--{name.replace('_', '-')}": name
    for name in (
        *("batch_size", "lr", "schedule", "patience", "optimizer", "seed", "backend", "option"),
        *("validation", "target", "drop", "delimiter", "task", "shape"),
    )
}
"""What a run begins with and keeps, and the name that argparse gives it."""


def _resumed(chosen: Namespace) -> tuple[RunFolder, Settings, Samples]:
    """A run to go on with, and its data, which must be the same."""
    folder = RunFolder(chosen.resume)
    run = folder.load()
    given = [option for option, name in FIXED.items() if getattr(chosen, name) is not None]
    if given:
        raise gn.ArgumentError(
            f"a run goes on as it began, so --resume takes no {', '.join(given)}",
            hint=f"--epochs may be another, and --data where the files are now; {folder.run_file} "
            "has the rest",
            where="",
        )
    if chosen.data:
        moved = replace(run.source, files=tuple(chosen.data)).absolute()
        run = replace(run, data=asdict(moved))
    samples = read_samples(run.source)
    if samples.checksum() != run.checksum:
        raise gn.ArgumentError(
            f"{shlex.join(run.source.files)}: the data are not those that the run began with",
            hint="--data says where those are; a new run learns from these",
            where="",
        )
    if chosen.epochs:
        if chosen.epochs < folder.epochs:
            raise gn.ArgumentError(
                f"{folder.path} has made {folder.epochs} epochs already, more than {chosen.epochs}",
                hint="--epochs is the number to reach, in all",
                where="",
            )
        if chosen.epochs != run.epochs and run.schedule != "constant":
            raise gn.ArgumentError(
                f"the learning rate of this run goes by {run.schedule!r} over {run.epochs} epochs, "
                f"and has no values for {chosen.epochs}",
                hint="a new run may have other epochs",
                where="",
            )
        run = replace(run, epochs=chosen.epochs)
    folder.save(run)
    return folder, run, samples


# ---------------------------------------------------------------------------------------- training


def _trained(
    folder: RunFolder, run: Settings, scale: Preparation, known: Samples, unknown: Samples
) -> int:
    """Train to the epoch that is to be reached, from wherever the run is."""
    gn.seed(run.seed)
    model = run.built()
    arrays, tests = scale.arrays(known), scale.arrays(unknown)
    batches = gn.data.Batches(*arrays, batch_size=run.batch_size, shuffle=True, seed=run.seed)
    steps = run.epochs * len(batches)
    trainer = gn.train.Trainer(
        model,
        gn.losses.cross_entropy if run.classes else gn.losses.mse,
        optimizer_named(run.optimizer, run.learning_rate, run.schedule, steps),
        metrics={"accuracy": gn.metrics.accuracy} if run.classes else {"mae": _error_of(scale)},
        backend=run.backend,
    )
    callbacks: list[gn.train.Callback] = [
        gn.train.CSVLogger(folder.history_file),
        gn.train.Checkpoint(folder.checkpoints, every_seconds=60, monitor=run.monitor),
    ]
    if run.patience is not None:  # the best weights are in a checkpoint
        callbacks.append(
            gn.train.EarlyStopping(
                model, run.monitor, patience=run.patience - 1, restore_best_weights=False
            )
        )
    _tell(folder, run, model)
    history = trainer.fit(
        batches,
        run.epochs,
        validation=gn.data.Batches(*tests, batch_size=min(MOST_AT_ONCE, len(unknown))),
        callbacks=callbacks,
        resume=folder.checkpoints,
    )
    told = reached(folder, run, history, known, unknown)
    write_summary(folder, model, arrays[:-1], history, told)
    write_plot(folder, run, history)
    print(told)
    return INTERRUPTED if history.interrupted else 0


def _error_of(scale: Preparation) -> Callable[[Any, Any], gn.Node]:
    """The mean absolute error, in the unit of the values."""
    assert scale.values is not None
    unit = np.float32(scale.values.std)
    return lambda outputs, targets: gn.losses.mae(outputs * unit, targets * unit)


def _tell(folder: RunFolder, run: Settings, model: gn.nn.Module) -> None:
    """What is about to be trained, on what, and where to."""
    parameters = sum(each.array.size for each in model.parameters())
    wanted = f"{len(run.classes)} classes" if run.classes else ", ".join(run.values)
    print(f"network  {run.network}, {counted(parameters, 'parameter')}")
    print(
        f"data     {shlex.join(run.source.files)}: {run.samples:,} samples to learn from, "
        f"{run.held_out:,} held out; {wanted}"
    )
    print(f"folder   {folder.path}", flush=True)
