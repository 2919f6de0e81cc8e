"""Sparse matrices in compressed rows, times dense ones."""

from __future__ import annotations

__all__: list[str] = []
