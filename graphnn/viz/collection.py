"""Python's collector of cycles at rest, while very many small objects are made that stay.

A scene of 100,000 boxes is some million objects, and none of them is garbage. The collector would
look through all of them again and again: a quarter of the time that a large picture takes.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["without_collection"]


@contextmanager
def without_collection() -> Iterator[None]:
    """Let the collector rest; afterwards it is as it was. For ``with``, and as a decorator.

    Examples
    --------
    >>> import gc
    >>> with without_collection():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
