"""The thread pool: workers that wait in native code for a job that all of them run together.

A worker is a Python daemon thread that makes one foreign call and stays in it, without the
interpreter's lock. All that workers share lies in one *control block* of int64 words; the code
that works on it is in `graphnn.compiler.native.spmd`. There is one pool in a process. It only
grows: workers that a job does not need sleep and cost nothing.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import cache

import numpy as np

from graphnn.compiler.native import spmd
from graphnn.compiler.native.library import Request, host_library

__all__ = ["MAX_THREADS", "Pool", "Runner", "pool", "runner"]

MAX_THREADS = spmd.MAX_WORKERS
"""How many threads can work on one job, the caller's among them."""


class Runner:
    """The native functions that run jobs; see `graphnn.compiler.native.spmd` for what they do.

    Attributes
    ----------
    run, run_alone : callable
        ``(control block, job)`` to the status word; the interpreter's lock is given up.
    run_held : callable
        Like `run_alone`, with the interpreter's lock held: for jobs shorter than a hand-over.
    work, reset : callable
        ``(control block, worker)`` and ``(control block)``.
    """

    def __init__(self) -> None:
        (loaded,) = host_library().load([Request(spmd.KEY, spmd.generate)])
        run, run_alone, work, reset = (address for address, _ in loaded.parts)
        address, word = ctypes.c_void_p, ctypes.c_int64
        on_job = ctypes.CFUNCTYPE(word, address, address)
        self.run: Callable[[int, int], int] = on_job(run)
        self.run_alone: Callable[[int, int], int] = on_job(run_alone)
        self.run_held: Callable[[int, int], int] = ctypes.PYFUNCTYPE(word, address, address)(
            run_alone
        )
        self.work: Callable[[int, int], None] = ctypes.CFUNCTYPE(None, address, word)(work)
        self.reset: Callable[[int], None] = ctypes.CFUNCTYPE(None, address)(reset)


class Pool:
    """Threads and their control block.

    Attributes
    ----------
    n_threads : int
        Threads that can work on a job, the caller's among them.
    control : int
        Address of the control block.
    """

    def __init__(self) -> None:
        self._runner = runner()
        words = np.zeros(spmd.CONTROL_WORDS + spmd.LINE_WORDS, "int64")
        # Workers still look at the block when the interpreter has taken everything down.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(words))
        line_nbytes = 8 * spmd.LINE_WORDS
        self.control: int = -(-words.ctypes.data // line_nbytes) * line_nbytes
        self.start_afresh()

    def start_afresh(self) -> None:
        """Begin without workers: they are gone, or there are none yet."""
        self._runner.reset(self.control)
        self.n_threads = 1

    def grow(self, n_threads: int) -> bool:
        """Have at least so many threads; False if the system refuses them."""
        with _LOCK:
            while self.n_threads < n_threads:
                thread = threading.Thread(
                    target=self._runner.work,
                    args=(self.control, self.n_threads),
                    name=f"graphnn-{self.n_threads}",
                    daemon=True,
                )
                try:
                    thread.start()
                except RuntimeError:
                    return False
                self.n_threads += 1
        return True


@cache
def runner() -> Runner:
    """The native functions of this process."""
    return Runner()


def pool() -> Pool:
    """The pool of this process."""
    with _LOCK:
        return _pool()


@cache
def _pool() -> Pool:
    return Pool()


def _after_fork() -> None:
    """A child has its own copy of the control block but none of the threads."""
    if _pool.cache_info().currsize:
        _pool().start_afresh()
    _LOCK.release()


_LOCK = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_after_fork
    )
