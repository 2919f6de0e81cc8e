"""Pictures with an overlay: every box in the colour of its number, and the scale below."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from graphnn.viz.drawing import PADDING, Drawing, Mark, Tile, Words
from graphnn.viz.heat import (
    INK_OF_NOTHING,
    NOT_FINITE,
    NOTHING,
    Scale,
    heat_color,
    ink_on,
    value_text,
)
from graphnn.viz.layout import Box
from graphnn.viz.scene import Overlay, Scene
from graphnn.viz.style import DETAIL_SIZE, LABEL_SIZE, shorten, text_width

__all__ = ["Look", "heading", "looks", "overlaid", "scale_text"]

BAR = 280.0, 14.0
"""Width and height of the scale in points."""
PIECES = 70
"""Tiles that the scale is made of."""
ROW = 22.0
GAP = 18.0


@dataclass(frozen=True, slots=True)
class Look:
    """How one box shows its number; an empty text where there is none."""

    fill: str
    ink: str
    text: str


def looks(overlay: Overlay) -> list[Look]:
    """How every box of a scene looks at the latest moment of an overlay."""
    scale = Scale.of(overlay)
    return [_look(value, scale, overlay.unit) for value in overlay.frames[-1].values]


def _look(value: float | None, scale: Scale, unit: str) -> Look:
    if value is None:
        return Look(NOTHING, INK_OF_NOTHING, "")
    fill = heat_color(scale.part(value)) if math.isfinite(value) else NOT_FINITE
    # A unit of several letters would not fit, and stands beside the scale.
    return Look(fill, ink_on(fill), value_text(value, unit if unit == "%" else ""))


def heading(overlay: Overlay) -> str:
    """What is shown, in which unit and of which moment."""
    unit = f" [{overlay.unit}]" if overlay.unit else ""
    moment = overlay.frames[-1].label
    return shorten(f"{overlay.title}{unit}{f': {moment}' if moment else ''}", 100)


def scale_text(overlay: Overlay) -> str:
    """The scale in words, where it cannot be drawn."""
    low, high = value_text(overlay.low), value_text(overlay.high)
    kind = ", logarithmic" if overlay.is_log else ""
    return f"{heading(overlay)}, from {low} (dark blue) to {high} (yellow){kind}"


def overlaid(drawing: Drawing, scene: Scene) -> Drawing:
    """The drawing of a scene with the scene's first overlay on it; as it is without any."""
    if not scene.overlays:
        return drawing
    overlay = scene.overlays[0]
    found = looks(overlay)
    title = f"{overlay.title}{f' [{overlay.unit}]' if overlay.unit else ''}"
    marks = [_painted(mark, look, title) for mark, look in zip(drawing.marks, found, strict=False)]
    # In the legend the line alone tells what a box is: its area does not any more.
    marks += [replace(mark, fill="#ffffff") for mark in drawing.marks[len(found) :]]
    tiles, words, bottom = _scale(overlay, found, drawing.bottom)
    right = max(each.x + text_width(each.text, each.size) + PADDING for each in words)
    return replace(
        drawing,
        marks=tuple(marks),
        tiles=(*drawing.tiles, *tiles),
        words=(*drawing.words, *words),
        width=max(drawing.width, right),
        bottom=bottom,
    )


def _painted(mark: Mark, look: Look, title: str) -> Mark:
    if not look.text:
        return replace(mark, fill=look.fill, ink=look.ink)
    tooltip = f"{mark.tooltip}\n{title}: {look.text}".lstrip("\n")
    made = replace(mark, fill=look.fill, ink=look.ink, tooltip=tooltip)
    has_room = bool(mark.detail) and text_width(look.text, DETAIL_SIZE) < mark.box.width
    return replace(made, detail=look.text) if has_room else made


def _scale(
    overlay: Overlay, found: list[Look], top: float
) -> tuple[list[Tile], list[Words], float]:
    """The bar with its ends and its middle, what else is coloured, and where all of it ends."""
    width, height = BAR
    scale = Scale.of(overlay)
    words = [Words(PADDING, top + 14, heading(overlay), LABEL_SIZE)]
    y = top + ROW
    piece = width / PIECES
    tiles = [
        # A little wider than their distance, so that no line is seen between them.
        Tile(
            Box(PADDING + n * piece, y, piece + (0.4 if n < PIECES - 1 else 0), height),
            heat_color((n + 0.5) / PIECES),
        )
        for n in range(PIECES)
    ]
    for part in (0.0, 0.5, 1.0):
        text = value_text(scale.at(part), overlay.unit)
        x = PADDING + part * (width - text_width(text, DETAIL_SIZE))
        words.append(Words(x, y + height + 11, text))
    x = PADDING + width + GAP
    others = [(NOT_FINITE, "NaN or infinite"), (NOTHING, "no number")]
    used = {look.fill for look in found}
    notes = [(fill, meaning) for fill, meaning in others if fill in used]
    for fill, meaning in notes:
        tiles.append(Tile(Box(x, y, 2 * height, height), fill))
        words.append(Words(x + 2 * height + 6, y + height - 3, meaning))
        x += 2 * height + 6 + text_width(meaning, DETAIL_SIZE) + GAP
    if overlay.is_log:
        words.append(Words(x, y + height - 3, "logarithmic scale"))
    return tiles, words, y + height + 11 + PADDING
