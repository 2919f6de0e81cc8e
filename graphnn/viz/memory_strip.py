"""The strip beside a listing: bytes that are live at every instruction, and where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from graphnn.compiler.memory_size import size_text
from graphnn.viz.layout import Band, Box
from graphnn.viz.scene import Strip
from graphnn.viz.style import DETAIL_SIZE, text_width

__all__ = ["strip_bands"]

CURVE = 130.0
"""Points for the most that is live."""
MAP = 340.0
"""Points for all of the arena."""
GAP = 16.0
HEAD = 20.0
LEAST = 18.0
"""Points of height below which there is no label."""

Row = tuple[Sequence[int], float, float]
"""The nodes of a line, its top and its bottom."""


def strip_bands(strip: Strip, rows: Sequence[Row], left: float) -> tuple[list[Band], float]:
    """Bars beside the lines, and a map of the blocks.

    Parameters
    ----------
    strip : Strip
    rows : sequence of (sequence of int, float, float)
        From top to bottom.
    left : float
        Where it may begin.

    Returns
    -------
    list of Band
    float
        Where it ends.
    """
    edges = _edges(rows)
    top, height = edges[0] - HEAD, edges[-1] - edges[0] + HEAD + 6
    curve_width = max(CURVE, text_width(strip.title, DETAIL_SIZE))
    bands = [Band(Box(left - 8, top, curve_width + 16, height), "strip", strip.title)]
    bands += _bars(strip, rows, edges, left)
    right = left + curve_width + 8
    if strip.blocks:
        left, right = right + GAP, right + GAP + MAP + 16
        size = size_text(round(max(each.high for each in strip.blocks)))
        words = f"where it lies: 0 to {size} of the arena, to the right"
        bands.append(Band(Box(left, top, MAP + 16, height), "strip", words))
        bands += _blocks(strip, rows, edges, left + 8)
    return bands, right


def _edges(rows: Sequence[Row]) -> list[float]:
    """Where one line ends and the next one begins: in the middle of what is between them."""
    middles = [(above[2] + below[1]) / 2 for above, below in pairwise(rows)]
    return [rows[0][1], *middles, rows[-1][2]]


def _bars(strip: Strip, rows: Sequence[Row], edges: Sequence[float], left: float) -> list[Band]:
    """One bar a line; the first of the longest ones is the peak."""
    values = [strip.values[members[0]] or 0.0 for members, _, _ in rows]
    peak = values.index(max(values))
    bands = []
    for number, value in enumerate(values):
        top, height = edges[number], edges[number + 1] - edges[number]
        width = CURVE * value / max(values[peak], 1.0)
        label = size_text(round(value))
        if number == peak:
            tone, label = "peak", f"peak {label}"
        else:
            tone, label = "live", label if height >= LEAST else ""
        fits = text_width(label, DETAIL_SIZE) + 16 <= width
        bands.append(Band(Box(left, top, width, height), tone, label if fits else ""))
        if not fits:  # beside the bar, in a band of its own that is nothing but its label
            bands.append(Band(Box(left + width - 4, top, 0.0, 0.0), "strip", label))
    return bands


def _blocks(strip: Strip, rows: Sequence[Row], edges: Sequence[float], left: float) -> list[Band]:
    """One box a block, as high as it is in use for; its label is as long as there is room."""
    line = {index: number for number, (members, _, _) in enumerate(rows) for index in members}
    scale = MAP / max(each.high for each in strip.blocks)
    bands = []
    for each in strip.blocks:
        width = (each.high - each.low) * scale
        top, bottom = edges[line[each.first]], edges[line[each.last] + 1]
        words = (each.label, each.label.split(" ")[0], "")
        room = width if bottom - top >= LEAST else 0.0
        label = next(
            word for word in words if not word or text_width(word, DETAIL_SIZE) + 10 <= room
        )
        box = Box(left + each.low * scale, top, max(width, 1.0), bottom - top)
        bands.append(Band(box, f"kept {each.role}", label))
    return bands
