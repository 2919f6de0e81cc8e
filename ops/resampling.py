"""Pictures in another resolution: resizing and shuffling of pixels."""

from __future__ import annotations

__all__: list[str] = []
