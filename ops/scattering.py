"""Writing at indices: adding, setting, largest and smallest."""

from __future__ import annotations

__all__: list[str] = []
