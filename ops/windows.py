"""Windows that slide over an array, as a view; patches (im2col) and their transpose."""

from __future__ import annotations

__all__: list[str] = []
