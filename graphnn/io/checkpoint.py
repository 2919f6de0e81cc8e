"""Checkpoints: all that a training run consists of, in one file that is whole or not there.

See docs/checkpoints.md for what is guaranteed, and ADR 29 for how.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from graphnn.core.errors import ArgumentError, CheckpointError
from graphnn.io.environment import changes, environment
from graphnn.io.files import DamagedError, previous_of, read, write
from graphnn.io.tensors import decode, encode
from graphnn.io.trees import Tree, pack, unpack
from graphnn.nn.module import Module

__all__ = ["Checkpoint", "CheckpointWarning", "Part", "load", "read_checkpoint", "save"]

FORMAT = 1
_MANIFEST = "graphnn"
"""Key of the manifest in the file's metadata."""


class CheckpointWarning(UserWarning):
    """A checkpoint was loaded, but not all is as one would expect."""


@runtime_checkable
class Part(Protocol):
    """What can be saved and loaded: modules, optimizers, batches, ``gn.random``, one's own."""

    def state_dict(self) -> Mapping[str, Any]:
        """All that must not be lost: nested dicts and lists of arrays, numbers, strings, None."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> Any:
        """Take all of a state, or raise :class:`CheckpointError` and change nothing."""
        ...


@dataclass(frozen=True, repr=False)
class Checkpoint:
    """What a checkpoint holds.

    Attributes
    ----------
    path : Path
        The file that it was read from.
    parts : dict
        State of every part: dicts and lists of arrays, numbers, strings and None.
    created : str
        Date and time, UTC.
    environment : dict
        Versions, system, processor and threads of the process that wrote it.
    """

    path: Path
    parts: dict[str, Tree]
    created: str
    environment: dict[str, str | int]

    def __repr__(self) -> str:
        return f"<Checkpoint {self.path.name} of {self.created}: {', '.join(self.parts)}>"


def save(path: str | PathLike[str], /, **parts: Part | Tree) -> None:
    """Write a checkpoint. The one before it is kept beside it, as ``path.previous``.

    Whenever the process is killed, or the machine fails, the file is the old one or the new one,
    and whole. An interrupted or failed call leaves all as it was.

    Parameters
    ----------
    path : path
        Its folder must be there.
    **parts
        By name, what has ``state_dict()`` and ``load_state_dict()``: the model, the optimizer,
        the batches, ``gn.random`` for the default stream, a history, something of one's own.
        Besides, arrays, numbers, strings, None, and lists and dicts of them.

    Raises
    ------
    CheckpointError
        If the file cannot be written.
    ArgumentError
        If a part is, or has, something that cannot be saved.

    Examples
    --------
    >>> import graphnn as gn
    >>> model = gn.nn.Dense(3, 2)
    >>> gn.io.save("run.ckpt", model=model, random=gn.random, epoch=7)
    >>> checkpoint = gn.io.load("run.ckpt", model=model, random=gn.random)
    >>> checkpoint.parts["epoch"]
    7
    """
    tensors: dict[str, Any] = {}
    packed = {}
    for name, part in parts.items():
        state = part.state_dict() if isinstance(part, Part) else part
        packed[name] = pack(state, name, tensors)
    manifest = {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        "parts": packed,
    }
    write(Path(path), encode(tensors, {_MANIFEST: json.dumps(manifest)}), keep_previous=True)


def load(path: str | PathLike[str], /, **parts: Part) -> Checkpoint:
    """Read a checkpoint, and let parts go on from it: all of them, or none if something is wrong.

    If the file is damaged or gone, the one before it is used, with a warning. Where not only
    modules are loaded, which is to train on, a warning says what differs from the machine that the
    file was written on, for then results may differ in their last bits.

    Parameters
    ----------
    path : path
    **parts
        What goes on, under the names that it was saved with. Build programs first: slots of
        optimizers are there once ``minimize`` was called. Parts of the file that are not named
        are passed over.

    Returns
    -------
    Checkpoint
        With the states of all parts, such as numbers that were saved.

    Raises
    ------
    CheckpointError
        If no whole file is there, or if it does not fit: with all that is missing, unexpected or
        of another shape, in all parts.

    Examples
    --------
    >>> import graphnn as gn
    >>> model = gn.nn.Dense(3, 2)
    >>> gn.io.save("run.ckpt", model=model, epoch=7)
    >>> gn.io.load("run.ckpt", model=model).parts["epoch"]
    7
    """
    for name, part in parts.items():
        if not isinstance(part, Part):
            raise ArgumentError(
                f"load: {name} has no load_state_dict, it is {part!r}",
                hint=f'what was saved is in load(...).parts["{name}"]',
            )
    checkpoint, notes = _read(Path(path))
    _restore(checkpoint, parts)
    if not all(isinstance(part, Module) for part in parts.values()):
        found = changes(checkpoint.environment, environment())
        if found:
            notes.append(
                f"{checkpoint.path} was written elsewhere, so last bits may differ: "
                f"{'; '.join(found)}"
            )
    _warn(notes)
    return checkpoint


def read_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """What a checkpoint holds, without a model to put it into; see :func:`load`.

    Raises
    ------
    CheckpointError
        If no whole file is there.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> gn.io.save("run.ckpt", weights={"w": np.float32([1, 2])}, epoch=7)
    >>> checkpoint = gn.io.read_checkpoint("run.ckpt")
    >>> checkpoint.parts
    {'weights': {'w': array([1., 2.], dtype=float32)}, 'epoch': 7}
    """
    checkpoint, notes = _read(Path(path))
    _warn(notes)
    return checkpoint


def _warn(notes: Iterable[str]) -> None:
    for each in notes:
        warnings.warn(each, CheckpointWarning, stacklevel=3)


def _read(path: Path) -> tuple[Checkpoint, list[str]]:
    """The newest checkpoint that is whole, and what there is to say about that."""
    problems: list[str] = []
    for candidate in (path, previous_of(Path(path).resolve())):
        try:
            found = _decoded(candidate, read(candidate))
        except DamagedError as error:
            problems.append(error.what)
            continue
        older = f"; the one before it is used, of {found.created}"
        return found, [each + older for each in problems]
    raise CheckpointError("there is no checkpoint: " + "; ".join(problems), where="")


def _decoded(path: Path, content: bytes) -> Checkpoint:
    decoded = decode(str(path), content)
    if not decoded.is_checked or _MANIFEST not in decoded.texts:
        raise DamagedError(
            f"{path} has no manifest, or no checksums: it is no checkpoint of graphnn"
        )
    manifest = json.loads(decoded.texts[_MANIFEST])
    if manifest["format"] != FORMAT:
        raise CheckpointError(
            f"{path} has format {manifest['format']}, this graphnn reads format {FORMAT}",
            hint=f"it was written by graphnn {manifest['environment']['graphnn']}",
            where="",
        )
    parts = unpack(manifest["parts"], decoded.tensors)
    return Checkpoint(path, parts, manifest["created"], manifest["environment"])


def _restore(checkpoint: Checkpoint, parts: Mapping[str, Part]) -> None:
    """Let all parts take their states; if one does not, none has."""
    before: list[tuple[Part, Mapping[str, Any]]] = []
    lines: list[str] = []
    try:
        for name, part in parts.items():
            # Not earlier: a part before it may have built what it is the state of.
            before.append((part, part.state_dict()))
            lines += _misfits(checkpoint, name, part)
        if lines:
            raise CheckpointError(
                "\n  ".join([f"{checkpoint.path} does not fit", *lines]),
                hint="is it the checkpoint of another model, or of other options?",
                where="",
            )
    except BaseException:
        for part, state in before:
            part.load_state_dict(state)
        raise


def _misfits(checkpoint: Checkpoint, name: str, part: Part) -> list[str]:
    """Let a part take its state; what there is to say if it does not."""
    if name not in checkpoint.parts:
        return [f"{name}: there is no such part, but {', '.join(checkpoint.parts) or 'nothing'}"]
    try:
        part.load_state_dict(checkpoint.parts[name])
    except CheckpointError as error:
        return [f"{name}: {error.what}".replace("\n", "\n  ")]
    return []
