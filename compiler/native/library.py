"""The library: gives the addresses of kernels, compiling those that nobody compiled before.

A kernel is looked up by its key in this process, then on disk, and is generated only if it is in
neither. Kernels that are equal have equal keys, so they are compiled once.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

import graphnn.compiler.kernel
from graphnn.compiler.native.cache import Cache, Entry, default_directory
from graphnn.compiler.native.code import Code
from graphnn.compiler.native.objects import SETTINGS, compile_object, link_objects
from graphnn.compiler.native.target import Target, host_target
from graphnn.compiler.threads import get_num_threads

__all__ = ["Library", "Loaded", "Request", "host_library"]

_OF_HOST: list[Library] = []
_LOCK = threading.Lock()
if hasattr(os, "register_at_fork"):
    # The child of a process that forks while a thread loads finds the lock free and tables whole.
    os.register_at_fork(
        before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release
    )


@dataclass(frozen=True, slots=True)
class Request:
    """A kernel that is wanted.

    Attributes
    ----------
    key : str
        Says all that its code depends on, besides the target: the text of a frozen kernel.
    generate : callable
        Makes its code; given the prefix that the names of its functions must have. It is called
        only if the code is not there yet.
    is_quick : bool
        Whether it should be compiled quickly rather than well: a kernel that has so little to do
        that nobody would notice.
    """

    key: str
    generate: Callable[[str], Code]
    is_quick: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """A kernel that can be called, for as long as the process lives.

    Attributes
    ----------
    parts : tuple of (int, int)
        Addresses of the functions to call one after the other, and their numbers of chunks.
    scratch_nbytes : int
        Bytes of memory that its last argument points to, if not 0.
    """

    parts: tuple[tuple[int, int], ...]
    scratch_nbytes: int


class Library:
    """Compiled kernels by their keys.

    Safe to use from several threads; one loads at a time.

    Parameters
    ----------
    target : Target
        A processor whose code runs here.
    cache : Cache or None
        Where code is kept from process to process.
    """

    def __init__(self, target: Target, cache: Cache | None) -> None:
        self._target = target
        self._cache = cache
        self._digest = hashlib.sha256(f"{_generator_version()} {target}\0".encode())
        self._loaded: dict[tuple[str, bool], Loaded] = {}
        self._read: dict[tuple[str, bool], Entry] = {}  # from disk, and not asked for yet

    def scratch_nbytes(self, request: Request) -> int | None:
        """What `Loaded.scratch_nbytes` will be, if that is known without generating code.

        It does not wait for a thread that loads.
        """
        identity = _identity(request)
        known = self._loaded.get(identity) or self._read.get(identity)
        if known is None and self._cache:
            known = self._cache.read(self._name(request))
            if known is not None:
                self._read[identity] = known
        return known.scratch_nbytes if known is not None else None

    def load(self, requests: Sequence[Request]) -> list[Loaded]:
        """Kernels ready to be called, in the order they are asked for.

        Raises
        ------
        RuntimeError
            If generated code is not well formed: our fault.
        """
        with _LOCK:
            missing: dict[tuple[str, bool], Request] = {}
            for request in requests:
                if _identity(request) not in self._loaded:
                    missing.setdefault(_identity(request), request)
            if missing:
                self._add(list(missing.values()))
            return [self._loaded[_identity(request)] for request in requests]

    def _add(self, requests: Sequence[Request]) -> None:
        entries = self._entries(requests)
        symbols = [name for entry in entries for name, _ in entry.parts]
        addresses = link_objects([entry.code for entry in entries], symbols)
        for request, entry in zip(requests, entries, strict=True):
            parts = tuple((addresses[name], n_chunks) for name, n_chunks in entry.parts)
            self._loaded[_identity(request)] = Loaded(parts, entry.scratch_nbytes)

    def _entries(self, requests: Sequence[Request]) -> list[Entry]:
        """Read what is on disk; generate, compile and store the rest."""
        names = [self._name(request) for request in requests]
        found = [self._find(*each) for each in zip(requests, names, strict=True)]
        n_threads = min(get_num_threads(), found.count(None))
        if n_threads <= 1:
            return [
                entry or self._compile(name, request.generate(_prefix(name)), request.is_quick)
                for request, name, entry in zip(requests, names, found, strict=True)
            ]
        with ThreadPoolExecutor(n_threads, "graphnn-compile") as executor:
            # This thread generates while others compile.
            entries = [
                entry
                or executor.submit(
                    self._compile, name, request.generate(_prefix(name)), request.is_quick
                )
                for request, name, entry in zip(requests, names, found, strict=True)
            ]
            return [each if isinstance(each, Entry) else each.result() for each in entries]

    def _find(self, request: Request, name: str) -> Entry | None:
        """What is on disk."""
        known = self._read.pop(_identity(request), None)
        return known or (self._cache.read(name) if self._cache else None)

    def _compile(self, name: str, code: Code, is_quick: bool) -> Entry:
        compiled = compile_object(code.ir, self._target, is_quick)
        entry = Entry(code.parts, code.scratch_nbytes, compiled)
        if self._cache:
            self._cache.write(name, entry)
        return entry

    def _name(self, request: Request) -> str:
        """The digest of everything that the object code depends on."""
        digest = self._digest.copy()
        digest.update(f"{request.is_quick} {request.key}".encode())
        return digest.hexdigest()


def _identity(request: Request) -> tuple[str, bool]:
    return request.key, request.is_quick


def _prefix(name: str) -> str:
    """What the names of a kernel's functions begin with: no two kernels share it."""
    return f"k{name[:32]}"


def host_library() -> Library:
    """The library of the processor that this process runs on."""
    if not _OF_HOST:
        with _LOCK:
            if not _OF_HOST:
                directory = default_directory()
                cache = Cache(directory) if directory else None
                _OF_HOST.append(Library(host_target(), cache))
    return _OF_HOST[0]


@cache
def _generator_version() -> str:
    """Changes with whatever may change the code of the same kernel."""
    versions = f"{llvmlite.__version__} {llvm.llvm_version_info} {SETTINGS}"
    digest = hashlib.sha256(versions.encode())
    kernel = Path(graphnn.compiler.kernel.__file__)
    generators = Path(__file__).parent.rglob("*.py*")
    for path in (kernel, *sorted(each for each in generators if _is_source(each))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _is_source(path: Path) -> bool:
    """Whether a file is what Python runs; without sources, that is compiled code beside them."""
    return path.parent.name != "__pycache__" and path.is_file()
