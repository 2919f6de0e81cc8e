"""Making the next mini-batches in a thread while the current one is trained on."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from graphnn.core.arguments import require_positive

__all__ = ["prefetch"]

Batch = TypeVar("Batch")

_END: Any = object()


def prefetch(batches: Iterable[Batch], depth: int = 2) -> Generator[Batch, None, None]:
    """What an iterable gives, made ahead of time by one thread, in the same order.

    It pays where making a batch takes long, such as where files are read: while a program
    computes, Python is free for the thread. :class:`graphnn.data.Batches` has it as an option.

    An error in the thread is raised where its batch would have come. When the iteration ends, is
    left or is interrupted, the thread finishes the batch it is at, and ends.

    Parameters
    ----------
    batches : iterable
        It is gone through once, in the thread alone.
    depth : int, default 2
        How many batches are made ahead, and so held in memory.

    Returns
    -------
    generator

    Raises
    ------
    ArgumentError
        If the depth is no positive integer.

    Examples
    --------
    >>> import graphnn as gn
    >>> def read():
    ...     for number in range(4):  # files, say
    ...         yield [number, number]
    >>> list(gn.data.prefetch(read()))
    [[0, 0], [1, 1], [2, 2], [3, 3]]
    """
    require_positive("prefetch", depth=depth)
    return _prefetched(iter(batches), depth)


def _prefetched(source: Iterator[Batch], depth: int) -> Generator[Batch, None, None]:
    pool = ThreadPoolExecutor(1, thread_name_prefix="graphnn-prefetch")
    try:
        ahead = deque(pool.submit(next, source, _END) for _ in range(depth))
        while (batch := ahead.popleft().result()) is not _END:
            ahead.append(pool.submit(next, source, _END))
            yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
