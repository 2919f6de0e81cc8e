"""``graphnn predict``: what a trained network says of samples in files."""

from __future__ import annotations

import csv
import io
import sys
from argparse import ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import graphnn as gn
from graphnn.cli.preparation import shaped
from graphnn.cli.run_folder import RunFolder, Settings
from graphnn.cli.sample_files import read_samples
from graphnn.core.op import Array
from graphnn.core.spec import shape_text
from graphnn.io.files import write

__all__ = ["add_to", "run"]

FORMATS = (".csv", ".npz")
BATCH_SIZE = 256

DESCRIPTION = """\
Let a network that `graphnn train` has trained predict: the class of every sample, with the
probability of each class, or its values.

DATA is of the kind that it was trained on: a table with the same columns (others are passed over),
an .npz file with an array x (and lengths), a .ts file, an IDX file, or the name of a data set.
Samples are prepared as in training.

The predictions go to standard output as CSV, or to a file: .csv, or .npz with arrays
`label`, `class` and `probability`, or `value`.
"""

EXAMPLES = """\
examples:
  graphnn predict runs/mlp-digits --data digits | head
  graphnn predict runs/houses --data new_houses.csv --out prices.csv
  graphnn predict runs/first --data t10k-images-idx3-ubyte.gz --out digits.npz

exit status: 0 predicted, 1 it cannot be done, 2 arguments not understood, 130 Ctrl-C
"""


def add_to(commands: Any) -> None:
    """Say what the command is called and which arguments it takes."""
    parser = commands.add_parser(
        "predict",
        help="use a network that was trained",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of the run: runs/mlp-digits")
    parser.add_argument("--data", metavar="DATA", nargs=1, required=True, help="see above")
    parser.add_argument("--out", metavar="FILE", type=_target, help="default: standard output")
    parser.add_argument(
        "--checkpoint",
        choices=("best", "last"),
        default="best",
        help="weights of the best epoch on the held-out part, the default, or the last ones",
    )
    parser.set_defaults(run=run)


def _target(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in FORMATS:
        raise ArgumentTypeError(f"{text!r} ends in none of {', '.join(FORMATS)}")
    return path


def run(chosen: Namespace) -> int:
    """Predict and write; returns the exit status."""
    folder = RunFolder(chosen.folder)
    settings = folder.load()
    outputs = _outputs(folder, settings, chosen)
    if chosen.out is None:
        sys.stdout.write(_csv(settings, outputs))
        return 0
    content = (
        _csv(settings, outputs).encode()
        if chosen.out.suffix.lower() == ".csv"
        else _npz(settings, outputs)
    )
    write(chosen.out, content, keep_previous=False)
    print(f"{chosen.out}: {len(outputs):,} predictions")
    return 0


def _outputs(folder: RunFolder, settings: Settings, chosen: Namespace) -> Array:
    """Probabilities of all classes, or values in their units; of shape (samples, outputs)."""
    checkpoint = folder.checkpoints / f"{chosen.checkpoint}.ckpt"
    scale = folder.load_scale(settings)
    source = replace(settings.source, files=tuple(chosen.data), columns=settings.columns)
    samples = replace(read_samples(source), targets=None)
    x = shaped(samples.x, scale.takes, settings.network)
    first = 1 if scale.takes == "sequences" else 0  # whose lengths may differ
    if x.shape[1 + first :] != settings.input_shape[first:]:
        raise gn.ShapeError(
            f"{chosen.data[0]}: samples of shape {shape_text(x.shape[1:])} do not fit the network, "
            f"which was trained on {shape_text(settings.input_shape)}",
            where="",
        )
    arrays = scale.arrays(samples)
    model = settings.built()
    gn.io.load(checkpoint, model=model)
    inputs = [
        gn.input(name, ("batch", *each.shape[1:]), each.dtype)
        for name, each in zip(("x", "lengths"), arrays, strict=False)
    ]
    result = model.eval()(*inputs)
    if settings.classes:
        result = gn.softmax(result, axis=1)
    program = gn.compile(inputs, result, backend=settings.backend)
    batches = gn.data.Batches(*arrays, batch_size=min(BATCH_SIZE, len(samples)))
    outputs: Array = gn.train.predict(program, batches)
    return outputs if scale.values is None else scale.values.inverse_transform(outputs)


def _csv(settings: Settings, outputs: Array) -> str:
    """A row for each sample: its class and all probabilities, or its values."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not settings.classes:
        writer.writerow(settings.values)
        writer.writerows(outputs)
        return text.getvalue()
    writer.writerow(["class", *(f"p({name})" for name in settings.classes)])
    for row, best in zip(outputs, outputs.argmax(axis=1), strict=True):
        writer.writerow([settings.classes[best], *row])
    return text.getvalue()


def _npz(settings: Settings, outputs: Array) -> bytes:
    """The same as arrays; names are strings, so that nothing has to be unpickled."""
    content = io.BytesIO()
    if settings.classes:
        best = outputs.argmax(axis=1)
        names = np.array(settings.classes)
        np.savez(content, label=best, probability=outputs, **{"class": names[best]})
    else:
        np.savez(content, value=outputs)
    return content.getvalue()
