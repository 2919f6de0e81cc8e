"""Matrix decompositions: Cholesky, QR, eigenvalues, singular values."""

from __future__ import annotations

__all__: list[str] = []
