"""Drawings as SVG, written by ourselves: always possible, and fast for any size.

One file without references to anything outside it. Tooltips are ``<title>`` elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape
from itertools import chain

from graphnn.compiler.garbage import without_collections
from graphnn.viz.drawing import Drawing, Mark, Pill, Stroke, Tile, Words
from graphnn.viz.layout import Band, Route
from graphnn.viz.style import (
    BANDS,
    CLEAR_BANDS,
    DETAIL_SIZE,
    EDGES,
    FONTS,
    INK,
    LABEL_SIZE,
    NODES,
    PALE_INK,
    SMALL_SIZE,
    SQUARE_BANDS,
)

__all__ = ["svg_text"]

CORNER = 5.0
"""Radius of the corners of lines."""

Point = tuple[float, float]


@without_collections()
def svg_text(drawing: Drawing) -> str:
    """The drawing as the text of an SVG file."""
    used = {stroke.style for stroke in drawing.strokes}
    width, height, top = f"{drawing.width:.1f}", f"{drawing.height:.1f}", f"{drawing.top:.1f}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 {top} {width} {height}" role="img">',
        f"<title>{escape(drawing.title)}</title>",
        f"<style>{_style_sheet()}</style>",
        f"<defs>{''.join(_arrow_head(name) for name in EDGES if name in used)}</defs>",
        f'<rect y="{top}" width="{width}" height="{height}" fill="#ffffff"/>',
        "<g>",
        *map(_band, drawing.bands),
        *map(_tile, drawing.tiles),
        "</g><g>",
        *map(_stroke, drawing.strokes),
        "</g><g>",
        *(_mark(number, mark) for number, mark in enumerate(drawing.marks)),
        "</g><g>",
        *map(_pill, drawing.pills),
        *_cuts(drawing.strokes),
        *map(_band_label, drawing.bands),
        *_labels(drawing.strokes),
        *map(_words, drawing.words),
        "</g></svg>",
    ]
    return "\n".join(lines) + "\n"


def _style_sheet() -> str:
    rules = [
        f"text{{font-family:{FONTS};font-size:{DETAIL_SIZE:g}px;fill:{INK}}}",
        f".b{{font-size:{LABEL_SIZE:g}px}}",
        ".m{text-anchor:middle}",
        f".h{{font-size:{SMALL_SIZE:g}px;paint-order:stroke;stroke:#ffffff;stroke-width:3px}}",
        f".s{{font-size:{SMALL_SIZE:g}px}}",
        f".d{{fill:{PALE_INK}}}",
        "path{fill:none}",
    ]
    for name, node in NODES.items():
        rules.append(f".n-{name} rect{{fill:{node.fill};stroke:{node.line}}}")
    for name, edge in EDGES.items():
        dashes = f";stroke-dasharray:{edge.dashes.replace(' ', ',')}" if edge.dashes else ""
        rules.append(
            f".e-{name}{{stroke:{edge.line};stroke-width:{edge.width:g}{dashes};"
            f"marker-end:url(#a-{name})}}"
        )
    return "".join(rules)


def _arrow_head(name: str) -> str:
    style = EDGES[name]
    return (
        f'<marker id="a-{name}" viewBox="0 0 10 8" refX="9.5" refY="4" orient="auto" '
        f'markerUnits="userSpaceOnUse" markerWidth="{6 + style.width:g}" '
        f'markerHeight="{4.8 + 0.8 * style.width:g}">'
        f'<path d="M0 0L10 4L0 8z" style="fill:{style.line}"/></marker>'
    )


def _band(band: Band) -> str:
    fill, line = BANDS[band.tone]
    box = band.box
    opacity = ' fill-opacity="0.6"' if band.tone in CLEAR_BANDS else ""
    radius = 1 if band.tone in SQUARE_BANDS else 8
    return (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="{radius}" fill="{fill}"{opacity} stroke="{line}" '
        'stroke-opacity="0.35"/>'
    )


def _band_label(band: Band) -> str:
    fill, line = BANDS[band.tone]
    x, y = f"{band.box.x + 8:.1f}", f"{band.box.y + 14:.1f}"
    style = f"fill:{line};paint-order:stroke;stroke:{fill};stroke-width:3px"
    return f'<text x="{x}" y="{y}" style="{style}">{escape(band.label)}</text>'


def _tile(tile: Tile) -> str:
    box = tile.box
    return (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" fill="{tile.fill}"/>'
    )


def _stroke(stroke: Stroke) -> str:
    return f'<path class="e-{stroke.style}" d="{_path(stroke.route)}"/>'


def _path(route: Route) -> str:
    """The ``d`` of a path; corners of straight lines are rounded."""
    points = route.points
    if route.is_curve:
        return _curve_form(len(points)) % tuple(chain.from_iterable(points))
    numbers = [*points[0]]
    for number in range(1, len(points) - 1):
        corner = points[number]
        numbers += _toward(corner, points[number - 1])
        numbers += corner
        numbers += _toward(corner, points[number + 1])
    numbers += points[-1]
    return _line_form(len(points) - 2) % tuple(numbers)


@lru_cache
def _curve_form(points: int) -> str:
    """The text that takes the points of a curve; tenths of a point are enough."""
    return "M%.1f %.1fC" + " ".join(["%.1f %.1f"] * (points - 1))


@lru_cache
def _line_form(corners: int) -> str:
    """The text that takes the points of a line with rounded corners."""
    return "M%.1f %.1f" + "L%.1f %.1fQ%.1f %.1f %.1f %.1f" * corners + "L%.1f %.1f"


def _toward(corner: Point, other: Point) -> Point:
    """A point near a corner, on the way to the next one, at most half way."""
    x, y = corner
    dx, dy = other[0] - x, other[1] - y
    length = abs(dx) + abs(dy)
    if length == 0:
        return corner
    part = CORNER / length if length > 2 * CORNER else 0.5
    return x + dx * part, y + dy * part


def _mark(number: int, mark: Mark) -> str:
    box, style = mark.box, NODES[mark.style]
    radius = box.height / 2 if box.width == box.height else min(style.radius, box.height / 2)
    width = "2.6" if mark.is_output else "1.2"
    dashes = ' stroke-dasharray="4,2.5"' if mark.is_dashed or mark.style == "elision" else ""
    x = f"{box.x + box.width / 2:.1f}"
    parts = [f'<g id="n{number}" class="n-{mark.style}">']
    if mark.tooltip:
        parts.append(f"<title>{escape(mark.tooltip)}</title>")
    parts.append(
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="{radius:.1f}" stroke-width="{width}"'
        f"{dashes}{_styled(mark.fill)}/>"
    )
    ink = _styled(mark.ink)
    if mark.label:
        y = box.y + (15 if mark.detail else box.height / 2 + 4)
        parts.append(f'<text class="b m" x="{x}" y="{y:.1f}"{ink}>{escape(mark.label)}</text>')
    if mark.detail:
        y = box.y + box.height - 7
        parts.append(f'<text class="m d" x="{x}" y="{y:.1f}"{ink}>{escape(mark.detail)}</text>')
    parts.append("</g>")
    return "".join(parts)


def _styled(color: str) -> str:
    """A colour that goes before that of the style sheet, if there is one."""
    return f' style="fill:{color}"' if color else ""


def _pill(pill: Pill) -> str:
    box = pill.box
    x, y = box.center
    return (
        f'<g class="n-{pill.style}"><rect x="{box.x:.1f}" y="{box.y:.1f}" '
        f'width="{box.width:.1f}" height="{box.height:.1f}" rx="4" stroke-width="0.8"/>'
        f'<text class="m s" x="{x:.1f}" y="{y + 2.7:.1f}">{escape(pill.text)}</text></g>'
    )


def _cuts(strokes: Iterable[Stroke]) -> Iterable[str]:
    """Two bars across a line, over a white gap."""
    for stroke in strokes:
        if stroke.cut_at is not None:
            x, y = stroke.cut_at
            at = f"{x:.1f} {y:.1f}"
            color = EDGES[stroke.style].line
            yield (
                f'<g transform="translate({at})"><path d="M0 -5V5" stroke="#ffffff" '
                f'stroke-width="6"/><path d="M-5 7L-1 -7M1 7L5 -7" stroke="{color}" '
                'stroke-width="1.8"/></g>'
            )


def _labels(strokes: Sequence[Stroke]) -> Iterable[str]:
    for stroke in strokes:
        if stroke.label and stroke.route.label_at is not None:
            x, y = stroke.route.label_at
            yield (
                f'<text class="m h" x="{x:.1f}" y="{y + 2.5:.1f}" '
                f'style="fill:{EDGES[stroke.style].line}">{escape(stroke.label)}</text>'
            )


def _words(words: Words) -> str:
    style = ' class="b"' if words.size == LABEL_SIZE else ""
    return f'<text{style} x="{words.x:.1f}" y="{words.y:.1f}">{escape(words.text)}</text>'
