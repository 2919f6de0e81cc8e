"""Convolution and transposed convolution in one to three dimensions."""

from __future__ import annotations

__all__: list[str] = []
