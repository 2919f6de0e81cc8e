"""The strip beside a listing: bytes that are live at every instruction, and where they lie."""

from __future__ import annotations

from collections.abc import Sequence

from graphnn.compiler.memory_size import size_text
from graphnn.viz.layout import Band, Box
from graphnn.viz.scene import Strip
from graphnn.viz.style import DETAIL_SIZE, text_width

__all__ = ["strip_bands"]

CURVE = 130.0
"""Points for the most that is live."""
MAP = 300.0
"""Points for all of the arena."""
GAP = 16.0
HEAD = 20.0
LEAST = 12.0
"""Points of height and width below which a block has no label."""

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
    values = [strip.values[members[0]] or 0.0 for members, _, _ in rows]
    peak = max(values)
    top, bottom = edges[0], edges[-1]
    right = left + CURVE + GAP + (MAP if strip.blocks else 0.0)
    right = max(right, left + text_width(strip.title, DETAIL_SIZE) + 2 * GAP)
    bands = [Band(Box(left - 6, top - HEAD, right - left + 12, bottom - top + HEAD + 6), "strip", strip.title)]
    is_marked = False
    for value, low, high in zip(values, edges, edges[1:], strict=False):
        is_peak = value == peak and not is_marked
        is_marked = is_marked or is_peak
        width = CURVE * value / max(peak, 1.0)
        label = ""
        if is_peak:
            label = f"peak {size_text(round(value))}"
        elif high - low >= LEAST and width >= text_width(size_text(round(value)), DETAIL_SIZE) + 16:
            label = size_text(round(value))
        if width > 0:
            bands.append(Band(Box(left, low, width, high - low), "peak" if is_peak else "live", label))
    bands += _blocks(strip, rows, edges, left + CURVE + GAP)
    return bands, right


def _edges(rows: Sequence[Row]) -> list[float]:
    """Where one line ends and the next one begins: in the middle of what is between them."""
    middles = [
        (above[2] + below[1]) / 2 for above, below in zip(rows, rows[1:], strict=False)
    ]
    return [rows[0][1], *middles, rows[-1][2]]


def _blocks(
    strip: Strip, rows: Sequence[Row], edges: Sequence[float], left: float
) -> list[Band]:
    place = {index: number for number, (members, _, _) in enumerate(rows) for index in members}
    height = max((each.high for each in strip.blocks), default=1.0)
    bands = []
    for each in strip.blocks:
        low, high = left + MAP * each.low / height, left + MAP * each.high / height
        top, bottom = edges[place[each.first]], edges[place[each.last] + 1]
        fits = high - low >= text_width(each.label, DETAIL_SIZE) + 14 and bottom - top >= LEAST
        tone = each.role if each.role != "scratch" else "scope"
        bands.append(Band(Box(low, top + 1, high - low, bottom - top - 2), tone, each.label if fits else ""))
    return bands
