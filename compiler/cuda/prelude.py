"""The text that all generated functions need before them."""

from __future__ import annotations

from importlib.resources import files

__all__ = ["PRELUDE"]

PRELUDE = (files("graphnn.compiler.cuda") / "prelude.cuh").read_text(encoding="utf-8")
