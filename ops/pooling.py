"""Pooling: the largest, mean or norm of what a window sees, and its undoing."""

from __future__ import annotations

__all__: list[str] = []
