"""Files of object code that outlive the process.

A directory is shared by any number of processes without locks: an entry is written under a
temporary name and moved into place, and what is read is trusted only if its checksum is right.
Whatever goes wrong with the file system, the program runs without the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CACHE_VARIABLE", "Cache", "Entry", "default_directory"]

CACHE_VARIABLE = "GRAPHNN_CACHE_DIR"
"""Names the directory of the cache; empty for no cache."""

LIMIT_NBYTES = 512 << 20

_MAGIC = b"graphnn object 2\n"
_CHECKSUM_NBYTES = hashlib.sha256().digest_size
_SECONDS_OF_A_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Entry:
    """Object code of one kernel.

    Attributes
    ----------
    parts : tuple of (str, int)
        As in `graphnn.compiler.native.code.Code`.
    scratch_nbytes : int
    code : bytes
        An object file.
    """

    parts: tuple[tuple[str, int], ...]
    scratch_nbytes: int
    code: bytes


def default_directory() -> Path | None:
    """The directory named by `CACHE_VARIABLE`, else one of the user's; None for no cache."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen is not None:
        return Path(chosen) if chosen else None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "graphnn"


class Cache:
    """Entries in a directory, by name: the hexadecimal digest of all that they depend on.

    Entries lie in 256 shards by their first two digits, and the bound on the total is kept shard
    by shard: digests spread evenly, and a shard is small enough to be listed now and then.

    Parameters
    ----------
    directory : Path
        Made when the first entry is written.
    limit_nbytes : int
        Bound on the total size.
    """

    def __init__(self, directory: Path, limit_nbytes: int = LIMIT_NBYTES) -> None:
        self._directory = directory
        self._shard_limit_nbytes = limit_nbytes >> 8

    def path(self, name: str) -> Path:
        """Where an entry is, if it is there."""
        return self._directory / name[:2] / name[2:]

    def read(self, name: str) -> Entry | None:
        """The entry; None if there is none or it is damaged."""
        path = self.path(name)
        try:
            with open(path, "rb") as file:
                content = file.read()
                age = time.time() - os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        entry = _decode(name, content)
        if entry is not None and age > _SECONDS_OF_A_DAY:
            with contextlib.suppress(OSError):
                os.utime(path)  # the oldest go first; once a day says enough about use
        return entry

    def write(self, name: str, entry: Entry) -> None:
        """Store an entry if that is possible."""
        path = self.path(name)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_atomically(path, _encode(name, entry))
            if name[2] == "0":  # look at a shard once for every 16 entries it gets
                self._evict(path.parent)
        except OSError:
            return

    def _evict(self, shard: Path) -> None:
        """Remove the oldest entries of a shard that has grown too large."""
        with os.scandir(shard) as listing:
            found = []
            for each in listing:
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    status = each.stat()
                    found.append((status.st_mtime, status.st_size, each.path))
        excess = sum(size for _, size, _ in found) - self._shard_limit_nbytes
        for _, size, path in sorted(found):
            if excess <= 0:
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            excess -= size


def _write_atomically(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with open(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _encode(name: str, entry: Entry) -> bytes:
    facts = {"parts": entry.parts, "scratch_nbytes": entry.scratch_nbytes}
    payload = json.dumps(facts).encode() + b"\n" + entry.code
    return _MAGIC + _checksum(name, payload) + payload


def _checksum(name: str, payload: bytes) -> bytes:
    """Of an entry under its name: code of another kernel is as bad as damaged code."""
    return hashlib.sha256(name.encode() + b"\n" + payload).digest()


def _decode(name: str, content: bytes) -> Entry | None:
    start = len(_MAGIC) + _CHECKSUM_NBYTES
    checksum, payload = content[len(_MAGIC) : start], content[start:]
    if not content.startswith(_MAGIC) or _checksum(name, payload) != checksum:
        return None
    facts, _, code = payload.partition(b"\n")
    known = json.loads(facts)
    parts = tuple((name, n_chunks) for name, n_chunks in known["parts"])
    return Entry(parts, known["scratch_nbytes"], code)
