"""Functions of square matrices: powers, the exponential, Kronecker products."""

from __future__ import annotations

__all__: list[str] = []
