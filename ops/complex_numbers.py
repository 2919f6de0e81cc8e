"""Complex numbers: their parts, conjugates and angles."""

from __future__ import annotations

__all__: list[str] = []
