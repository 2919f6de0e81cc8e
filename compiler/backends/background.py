"""Running at once, and faster soon: interpreted until native code has been built beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

from graphnn.compiler.backends.interpreted import InterpretedExecutable
from graphnn.compiler.backends.native import NativeExecutable
from graphnn.compiler.native.limits import Limits
from graphnn.compiler.unit import Unit
from graphnn.core.op import Array

__all__ = ["BackgroundExecutable"]


class BackgroundExecutable:
    """A unit that changes over from NumPy's kernels to native code between two runs."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._interpreted: InterpretedExecutable | None = InterpretedExecutable(unit)
        self._submit()

    def _submit(self) -> None:
        self._process = os.getpid()
        self._native: Future[NativeExecutable] = _builder().submit(NativeExecutable, self._unit)

    def _building(self) -> Future[NativeExecutable]:
        """What is being built; anew in a child process that was forked in the middle of it."""
        if not self._native.done() and self._process != os.getpid():
            self._submit()
        return self._native

    def run(self, feeds: Sequence[Array]) -> list[Array]:
        """See `Executable.run`; an error of the building is raised here."""
        if self._interpreted is not None and self._building().done():
            self._interpreted = None  # its arena is not needed any more
        executable = self._interpreted or self._native.result()
        return executable.run(feeds)

    def limits(self) -> Limits:
        """See `NativeExecutable.limits`."""
        return self._building().result().limits()

    now_ns = staticmethod(time.perf_counter_ns)

    def profile(self, feeds: Sequence[Array]) -> list[int]:
        """Run once; how many nanoseconds each instruction took, natively."""
        return self._building().result().profile(feeds)


@cache
def _builder() -> ThreadPoolExecutor:
    """One thread: programs are built in the order they are made."""
    return ThreadPoolExecutor(1, "graphnn-build")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_builder.cache_clear)  # its thread is not in the child
