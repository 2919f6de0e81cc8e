"""What goes wrong while a program runs, told in terms of the user's graph."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphnn.core.dtypes import is_inexact
from graphnn.core.errors import NonFiniteError
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.provenance import provenance

__all__ = ["explain", "require_finite"]


def describe(node: Node) -> str:
    """A node in words: what it computes, in which role, time step and scope."""
    known = provenance(node)
    words = [repr(node)]
    origin = known.origin
    if known.role != "forward":
        words.append(
            f"{known.role} of {origin.op.label(origin)}" if origin is not None else known.role
        )
    if known.step is not None:
        words.append(f"t={known.step}")
    if known.scope:
        words.append(known.scope)
    return ", ".join(words)


def explain(error: Exception, node: Node) -> None:
    """Let an exception say which node it came from, and which line built that."""
    error.add_note(f"while computing {describe(node)}")
    where = provenance(node).where
    if where:
        error.add_note(where)


def require_finite(node: Node, arrays: Iterable[Array]) -> None:
    """Stop at NaN and infinity.

    Raises
    ------
    NonFiniteError
        Naming the node and the user's line.
    """
    for array in arrays:
        if is_inexact(array.dtype) and not np.isfinite(array).all():
            kind = "NaN" if np.isnan(array).any() else "infinity"
            raise NonFiniteError(
                f"first non-finite value ({kind}): {describe(node)}",
                where=provenance(node).where,
                hint="look at what this operation was given: a logarithm of 0, a division by 0, "
                "an exponential that overflows, or NaN in what is fed",
            )
