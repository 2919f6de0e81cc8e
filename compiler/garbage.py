"""Garbage collection, and when it is in the way."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["without_collections"]


@contextmanager
def without_collections() -> Iterator[None]:
    """Let nobody look for cycles meanwhile: large graphs are many objects, and next to no cycle.

    The garbage collector would take a fifth of the time of compilation, and a third of that of
    differentiation.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
