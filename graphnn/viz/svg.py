"""Drawings as SVG, written by ourselves: always possible, and fast for any size.

One file without references to anything outside it. Tooltips are ``<title>`` elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from graphnn.viz.drawing import Drawing, Mark, Pill, Stroke, Tile, Words
from graphnn.viz.layout import Band, Route
from graphnn.viz.style import (
    BANDS,
    DETAIL_SIZE,
    EDGES,
    FONTS,
    LABEL_SIZE,
    NODES,
    SMALL_SIZE,
    SQUARE_BANDS,
)

__all__ = ["svg_text"]

CORNER = 5.0
"""Radius of the corners of lines."""

Point = tuple[float, float]


def svg_text(drawing: Drawing) -> str:
    """The drawing as the text of an SVG file."""
    used = {stroke.style for stroke in drawing.strokes}
    width, height = _number(drawing.width), _number(drawing.height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">',
        f"<title>{_escaped(drawing.title)}</title>",
        f"<style>{_style_sheet()}</style>",
        f"<defs>{''.join(_arrow_head(name) for name in EDGES if name in used)}</defs>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
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
        f"text{{font-family:{FONTS};font-size:{DETAIL_SIZE:g}px;fill:#222222}}",
        f".b{{font-size:{LABEL_SIZE:g}px}}",
        ".m{text-anchor:middle}",
        f".h{{font-size:{SMALL_SIZE:g}px;paint-order:stroke;stroke:#ffffff;stroke-width:3px}}",
        f".s{{font-size:{SMALL_SIZE:g}px}}",
        ".d{fill:#5f6b76}",
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
    opacity = ' fill-opacity="0.6"' if band.tone == "step" else ""
    radius = 1 if band.tone in SQUARE_BANDS else 8
    return (
        f'<rect x="{_number(box.x)}" y="{_number(box.y)}" width="{_number(box.width)}" '
        f'height="{_number(box.height)}" rx="{radius}" fill="{fill}"{opacity} stroke="{line}" '
        'stroke-opacity="0.35"/>'
    )


def _band_label(band: Band) -> str:
    fill, line = BANDS[band.tone]
    x, y = _number(band.box.x + 8), _number(band.box.y + 14)
    style = f"fill:{line};paint-order:stroke;stroke:{fill};stroke-width:3px"
    return f'<text x="{x}" y="{y}" style="{style}">{_escaped(band.label)}</text>'


def _tile(tile: Tile) -> str:
    box = tile.box
    return (
        f'<rect x="{_number(box.x)}" y="{_number(box.y)}" width="{_number(box.width)}" '
        f'height="{_number(box.height)}" fill="{tile.fill}"/>'
    )


def _stroke(stroke: Stroke) -> str:
    return f'<path class="e-{stroke.style}" d="{_path(stroke.route)}"/>'


def _path(route: Route) -> str:
    """The ``d`` of a path; corners of straight lines are rounded."""
    points = route.points
    if route.is_curve:
        start, *rest = points
        return f"M{_pair(start)}C{' '.join(map(_pair, rest))}"
    text = [f"M{_pair(points[0])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        near, far = _toward(corner, before), _toward(corner, after)
        text.append(f"L{_pair(near)}Q{_pair(corner)} {_pair(far)}")
    text.append(f"L{_pair(points[-1])}")
    return "".join(text)


def _toward(corner: Point, other: Point) -> Point:
    """A point near a corner, on the way to the next one, at most half way."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)
    if length == 0:
        return corner
    part = CORNER / length if length > 2 * CORNER else 0.5
    return corner[0] + dx * part, corner[1] + dy * part


def _mark(number: int, mark: Mark) -> str:
    box, style = mark.box, NODES[mark.style]
    radius = box.height / 2 if box.width == box.height else min(style.radius, box.height / 2)
    width = "2.6" if mark.is_output else "1.2"
    dashes = ' stroke-dasharray="4,2.5"' if mark.is_dashed or mark.style == "elision" else ""
    x = _number(box.x + box.width / 2)
    parts = [f'<g id="n{number}" class="n-{mark.style}">']
    if mark.tooltip:
        parts.append(f"<title>{_escaped(mark.tooltip)}</title>")
    parts.append(
        f'<rect x="{_number(box.x)}" y="{_number(box.y)}" width="{_number(box.width)}" '
        f'height="{_number(box.height)}" rx="{_number(radius)}" stroke-width="{width}"'
        f"{dashes}{_styled(mark.fill)}/>"
    )
    ink = _styled(mark.ink)
    if mark.label:
        y = box.y + (15 if mark.detail else box.height / 2 + 4)
        parts.append(
            f'<text class="b m" x="{x}" y="{_number(y)}"{ink}>{_escaped(mark.label)}</text>'
        )
    if mark.detail:
        y = box.y + box.height - 7
        parts.append(
            f'<text class="m d" x="{x}" y="{_number(y)}"{ink}>{_escaped(mark.detail)}</text>'
        )
    parts.append("</g>")
    return "".join(parts)


def _styled(color: str) -> str:
    """A colour that goes before that of the style sheet, if there is one."""
    return f' style="fill:{color}"' if color else ""


def _pill(pill: Pill) -> str:
    box = pill.box
    x, y = _number(box.x + box.width / 2), _number(box.y + box.height / 2 + 2.7)
    return (
        f'<g class="n-{pill.style}"><rect x="{_number(box.x)}" y="{_number(box.y)}" '
        f'width="{_number(box.width)}" height="{_number(box.height)}" rx="4" stroke-width="0.8"/>'
        f'<text class="m s" x="{x}" y="{y}">{_escaped(pill.text)}</text></g>'
    )


def _cuts(strokes: Iterable[Stroke]) -> Iterable[str]:
    """Two bars across a line, over a white gap."""
    for stroke in strokes:
        if stroke.cut_at is not None:
            x, y = stroke.cut_at
            at = f"{_number(x)} {_number(y)}"
            color = EDGES[stroke.style].line
            yield (
                f'<g transform="translate({at})"><path d="M0 -5V5" stroke="#ffffff" '
                f'stroke-width="6"/><path d="M-5 7L-1 -7M1 7L5 -7" stroke="{color}" '
                'stroke-width="1.8"/></g>'
            )


def _labels(strokes: Sequence[Stroke]) -> Iterable[str]:
    for stroke in strokes:
        if stroke.label and stroke.route.label_at is not None:
            x, y = _number(stroke.route.label_at[0]), _number(stroke.route.label_at[1] + 2.5)
            yield (
                f'<text class="m h" x="{x}" y="{y}" style="fill:{EDGES[stroke.style].line}">'
                f"{_escaped(stroke.label)}</text>"
            )


def _words(words: Words) -> str:
    style = ' class="b"' if words.size == LABEL_SIZE else ""
    return (
        f'<text{style} x="{_number(words.x)}" y="{_number(words.y)}">{_escaped(words.text)}</text>'
    )


def _pair(point: Point) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"


def _number(value: float) -> str:
    """Tenths of a point are enough."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def _escaped(text: str) -> str:
    return escape(text, {'"': "&quot;"})
