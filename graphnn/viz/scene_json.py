"""Scene and layout as JSON, for other programs and for the explorer."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any

from graphnn.viz.layout import Layout
from graphnn.viz.scene import Scene

__all__ = ["INTERNAL", "json_text", "plain"]

INTERNAL = ("signature", "subject", "zooms")
"""Attributes that mean nothing outside of this process, and zooms, which are other pictures."""


def json_text(scene: Scene, layout: Layout) -> str:
    """All that there is to draw, and where: lines of JSON with every field by name."""
    return json.dumps({"scene": plain(scene), "layout": plain(layout)}, indent=1) + "\n"


def plain(value: Any) -> Any:
    """Dataclasses as dicts, tuples as lists; NaN and infinities as words, which JSON lacks."""
    if is_dataclass(value):
        names = (field.name for field in fields(value))
        return {name: plain(getattr(value, name)) for name in names if name not in INTERNAL}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
