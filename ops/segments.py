"""Reductions over segments: rows that carry the same number."""

from __future__ import annotations

__all__: list[str] = []
