"""Layers whose weights differ from place to place: locally connected."""

from __future__ import annotations

__all__: list[str] = []
