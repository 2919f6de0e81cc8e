"""Rows of a table for integer codes."""

from __future__ import annotations

__all__: list[str] = []
