"""From samples to what a network reads: shapes, and one scale, that of the training part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from graphnn.cli.networks import Takes
from graphnn.cli.samples import Samples
from graphnn.core.errors import ArgumentError
from graphnn.core.op import Array
from graphnn.core.spec import shape_text
from graphnn.data.standardizer import Standardizer

__all__ = ["Preparation", "shaped"]


def shaped(x: Array, takes: Takes, name: str) -> Array:
    """Inputs in the shape that a network takes.

    Raises
    ------
    ArgumentError
        If they cannot have it.
    """
    if takes == "rows":
        return x.reshape(len(x), -1)
    if takes == "pictures" and x.ndim == 3:
        return x[:, None]
    axes = {"pictures": 4, "sequences": 3}[takes]
    if x.ndim != axes:
        needed = {
            "pictures": "(height, width) or (channels, height, width)",
            "sequences": "(time, channels)",
        }[takes]
        raise ArgumentError(
            f"{name} takes {takes}, samples of shape {needed}; these are of shape "
            f"{shape_text(x.shape[1:])}",
            hint="mlp takes samples of any shape; --shape gives the rows of a file another one",
            where="",
        )
    return x


@dataclass(frozen=True)
class Preparation:
    """Inputs, and values to predict, of mean 0 and deviation 1 in the training part.

    Rows have a scale for every column, pictures for every channel, sequences for every channel
    without their padding. Pictures and sequences that are read as rows have one scale for all.

    Attributes
    ----------
    network : str
        The network's name, for errors.
    takes : {"rows", "pictures", "sequences"}
    inputs : Standardizer
    values : Standardizer, optional
    """

    network: str
    takes: Takes
    inputs: Standardizer
    values: Standardizer | None

    @classmethod
    def fitted(cls, network: str, takes: Takes, known: Samples) -> Self:
        """What the training part gives."""
        x = shaped(known.x, takes, network)
        if takes == "sequences":
            scale = Standardizer().fit(x[_steps_there(x, known.lengths)])
        else:
            flattened = takes == "rows" and known.x.ndim > 2
            axes = {"rows": (0, 1) if flattened else (0,), "pictures": (0, 2, 3)}[takes]
            scale = Standardizer(axes).fit(x)
        values = None
        if known.values:
            values = Standardizer().fit(known.targets)
        return cls(network, takes, scale, values)

    def arrays(self, samples: Samples) -> tuple[Array, ...]:
        """What a batch is made of: inputs, lengths if there are any, and targets likewise."""
        if samples.lengths is not None and self.takes != "sequences":
            raise ArgumentError(
                f"{self.network} takes samples of one size, and these sequences differ in length",
                hint="rnn, gru and lstm take them",
                where="",
            )
        x = shaped(samples.x, self.takes, self.network)
        scaled = self.inputs.transform(x)
        if samples.lengths is None:
            found: tuple[Array, ...] = (scaled,)
        else:
            there = _steps_there(x, samples.lengths)[..., None]
            found = np.where(there, scaled, np.float32(0)), samples.lengths
        if samples.targets is None:
            return found
        targets = samples.targets
        return (*found, targets if self.values is None else self.values.transform(targets))

    def state(self) -> dict[str, Array]:
        """All numbers, for a file."""
        parts = {"inputs": self.inputs, "values": self.values}
        return {
            f"{part}.{name}": array
            for part, scale in parts.items()
            if scale is not None
            for name, array in scale.state_dict().items()
        }

    @classmethod
    def from_state(cls, network: str, takes: Takes, state: Mapping[str, Array]) -> Self:
        """What :meth:`state` gave."""
        scales: dict[str, Standardizer] = {}
        for part in {name.partition(".")[0] for name in state}:
            scales[part] = Standardizer()
            scales[part].load_state_dict(
                {
                    name.removeprefix(f"{part}."): array
                    for name, array in state.items()
                    if name.startswith(f"{part}.")
                }
            )
        return cls(network, takes, scales["inputs"], scales.get("values"))


def _steps_there(x: Array, lengths: Array | None) -> Array:
    """Of sequences (samples, time, channels), which steps are no padding."""
    steps = np.arange(x.shape[1])
    if lengths is None:
        return np.ones(x.shape[:2], bool)
    there: Array = steps < lengths[:, None]
    return there
