"""Searching, counting and interpolating among sorted values."""

from __future__ import annotations

__all__: list[str] = []
