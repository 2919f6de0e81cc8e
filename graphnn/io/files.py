"""Files that appear whole or not at all, whatever ends the process, and that keep the one before.

Used by checkpoints, weights, and the folders and predictions of the command line.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphnn.core.errors import CheckpointError

__all__ = ["DamagedError", "previous_of", "read", "write"]

_SUFFIX = ".partial"
_SECONDS_TO_LIVE = 3600.0
"""A partial file that nobody has touched for so long was left by a process that was killed."""


class DamagedError(CheckpointError):
    """A file is not as it was once written, or not there."""

    def __init__(self, what: str) -> None:
        super().__init__(what, where="")


def previous_of(path: Path) -> Path:
    """Where the file is kept that ``path`` has replaced."""
    return path.with_name(f"{path.name}.previous")


def read(path: Path) -> bytes:
    """All bytes of a file, into memory: what is mapped may change under one's hands.

    Raises
    ------
    DamagedError
        If it cannot be read.
    """
    if not path.is_file():
        raise DamagedError(f"{path} is {'no file' if path.exists() else 'not there'}")
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise DamagedError(f"{path} is larger than the memory of this machine") from None


def write(path: Path, content: bytes, *, keep_previous: bool) -> None:
    """Replace a file by another one.

    At every moment ``path`` is either the old file or the new one, complete and on the disk; and
    so is the previous one, which the old file replaces after the new one is in its place.

    Parameters
    ----------
    path : Path
        A symbolic link is followed.
    content : bytes
    keep_previous : bool
        Whether the old file stays as ``path.previous``.

    Raises
    ------
    CheckpointError
        If it cannot be written; then all is as it was.
    """
    target = Path(os.path.realpath(path))
    try:
        _remove_leftovers(target)
        with _partial(target) as new, _partial(target) as old:
            _write(new, content)
            keeps = keep_previous and target.exists()
            if keeps:
                _link(target, old)
            os.replace(new, target)
            _sync_folder(target.parent)
            if keeps:
                os.replace(old, previous_of(target))
                _sync_folder(target.parent)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="is the folder there, yours to write, and the disk not full? "
            "What was saved before is as it was",
            where="",
        ) from None


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """A name beside the target that nothing has yet; in the end there is nothing under it."""
    path = target.with_name(f".{target.name}.{secrets.token_hex(8)}{_SUFFIX}")
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    # os.open lets the system apply the umask, which cannot be asked for safely.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with open(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _link(existing: Path, path: Path) -> None:
    """A second name of a file; a copy where the file system has no links."""
    try:
        os.link(existing, path)
    except OSError:
        shutil.copyfile(existing, path)
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Let the names in a folder reach the disk; Windows does that by itself."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_leftovers(target: Path) -> None:
    """Remove what processes have left that were killed while they wrote."""
    oldest = time.time() - _SECONDS_TO_LIVE
    prefix = f".{target.name}."
    with os.scandir(target.parent) as listing:
        for each in listing:
            if each.name.startswith(prefix) and each.name.endswith(_SUFFIX):
                with contextlib.suppress(OSError):
                    # Not when it was last written to: a link is as old as what it leads to.
                    if each.stat(follow_symlinks=False).st_ctime < oldest:
                        os.unlink(each.path)
