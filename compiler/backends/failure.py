"""Errors while a program runs: they carry the node and the user's line as notes."""

from __future__ import annotations

from graphnn.core.node import Node
from graphnn.core.provenance import provenance

__all__ = ["explain"]


def explain(error: Exception, node: Node) -> None:
    """Let an exception say which node it came from, and which line built that."""
    known = provenance(node)
    step = f", step {known.step}" if known.step is not None else ""
    error.add_note(f"while computing {node!r} ({known.role}{step})")
    if known.where:
        error.add_note(known.where)
