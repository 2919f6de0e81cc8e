"""How many threads native programs use."""

from __future__ import annotations

import os

from graphnn.core.arguments import require_positive

__all__ = ["get_num_threads", "set_num_threads"]

THREADS_VARIABLE = "GRAPHNN_NUM_THREADS"
"""Says how many threads to use where `set_num_threads` was not called."""

_chosen: int | None = None


def set_num_threads(n: int) -> None:
    """Say how many threads the programs that are compiled from now on may use.

    Results do not depend on it.

    Parameters
    ----------
    n : int
        At least 1: the thread that calls a program works on it too.

    Raises
    ------
    ArgumentError
        If it is no integer, or less than 1.

    Examples
    --------
    >>> import graphnn as gn
    >>> before = gn.get_num_threads()
    >>> gn.set_num_threads(2)
    >>> gn.get_num_threads()
    2
    >>> gn.set_num_threads(before)
    """
    global _chosen
    require_positive("set_num_threads", n=n)
    _chosen = int(n)


def get_num_threads() -> int:
    """How many threads the programs that are compiled from now on may use.

    What `set_num_threads` said, else the environment variable ``GRAPHNN_NUM_THREADS``, else the
    number of processors that this process may run on.

    Raises
    ------
    ValueError
        If the environment variable is not a whole number of at least 1.
    """
    if _chosen is not None:
        return _chosen
    text = os.environ.get(THREADS_VARIABLE, "").strip()
    if not text:
        return _n_processors()
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(
            f"{THREADS_VARIABLE}: expected a whole number of at least 1, got {text!r}\n"
            "  hint: unset it to use every processor that this process may run on"
        )
    return int(text)


def _n_processors() -> int:
    """Those that this process may run on, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
