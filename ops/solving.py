"""Linear systems: solve, least squares, inverses."""

from __future__ import annotations

__all__: list[str] = []
