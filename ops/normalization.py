"""Normalisation over batch, layer, instance, group and channels."""

from __future__ import annotations

__all__: list[str] = []
