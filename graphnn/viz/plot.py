"""Drawings painted with matplotlib: PDF always, PNG where there is no Graphviz."""

from __future__ import annotations

import io
from typing import Any

from graphnn.core.errors import RenderError
from graphnn.viz.drawing import Drawing, Mark, Pill, Stroke
from graphnn.viz.graphviz_tool import INSTALL_HINT
from graphnn.viz.style import (
    BANDS,
    CLEAR_BANDS,
    DETAIL_SIZE,
    EDGES,
    INK,
    LABEL_SIZE,
    NODES,
    PALE_INK,
    SMALL_SIZE,
)

__all__ = ["plotted"]

INCH = 72.0
FONT = "DejaVu Sans"  # matplotlib brings it


def plotted(drawing: Drawing, format: str, dpi: float) -> bytes:
    """The drawing as a file's content, ``"png"`` or ``"pdf"``."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise RenderError(
            f"writing .{format} needs matplotlib or Graphviz", hint=INSTALL_HINT, where=""
        ) from None
    figure = Figure(figsize=(drawing.width / INCH, drawing.height / INCH))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, drawing.width)
    axes.set_ylim(drawing.bottom, drawing.top)
    axes.set_axis_off()
    _paint(axes, drawing)
    content = io.BytesIO()
    metadata = {"CreationDate": None} if format == "pdf" else {"Software": None}
    figure.savefig(content, format=format, dpi=dpi, metadata=metadata)
    return content.getvalue()


def _paint(axes: Any, drawing: Drawing) -> None:
    from matplotlib.patches import Rectangle

    for band in drawing.bands:
        fill, line = BANDS[band.tone]
        box = band.box
        alpha = 0.6 if band.tone in CLEAR_BANDS else 1.0
        look: dict[str, Any] = {
            "linewidth": 1.0,
            "facecolor": (fill, alpha),
            "edgecolor": (line, 0.35),
        }
        axes.add_patch(Rectangle((box.x, box.y), box.width, box.height, **look))
        _write(axes, box.x + 8, box.y + 14, band.label, DETAIL_SIZE, color=line)
    for tile in drawing.tiles:
        box = tile.box
        look = {"linewidth": 0, "facecolor": tile.fill}
        axes.add_patch(Rectangle((box.x, box.y), box.width, box.height, **look))
    for stroke in drawing.strokes:
        _paint_stroke(axes, stroke)
    for mark in drawing.marks:
        _paint_mark(axes, mark)
    for pill in drawing.pills:
        _paint_pill(axes, pill)
    for stroke in drawing.strokes:
        if stroke.label and stroke.route.label_at is not None:
            x, y = stroke.route.label_at
            color = EDGES[stroke.style].line
            ground = {"facecolor": "#ffffff", "edgecolor": "none", "pad": 1}
            look = {"ha": "center", "color": color, "bbox": ground}
            _write(axes, x, y + 2.5, stroke.label, SMALL_SIZE, **look)
    for words in drawing.words:
        _write(axes, words.x, words.y, words.text, words.size)


def _write(axes: Any, x: float, y: float, text: str, size: float, **look: Any) -> None:
    # parse_math: a dollar sign in a name is a dollar sign.
    look = {"color": INK, "va": "baseline", "parse_math": False, **look}
    axes.text(x, y, text, fontsize=size, family=FONT, **look)


def _paint_stroke(axes: Any, stroke: Stroke) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    points = stroke.route.points
    step = Path.CURVE4 if stroke.route.is_curve else Path.LINETO
    path = Path(points, [Path.MOVETO, *[step] * (len(points) - 1)])
    style = EDGES[stroke.style]
    dashes = (0, tuple(map(float, style.dashes.split()))) if style.dashes else "solid"
    look: dict[str, Any] = {"color": style.line, "linewidth": style.width, "linestyle": dashes}
    size = 9 + style.width
    axes.add_patch(FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=size, **look))
    if stroke.cut_at is not None:
        x, y = stroke.cut_at
        axes.plot([x - 3, x + 3], [y, y], color="#ffffff", linewidth=6)
        for shift in (-3, 3):
            bar = ([x + shift - 2, x + shift + 2], [y + 7, y - 7])
            axes.plot(*bar, color=style.line, linewidth=1.8)


def _paint_pill(axes: Any, pill: Pill) -> None:
    from matplotlib.patches import FancyBboxPatch

    box, style = pill.box, NODES[pill.style]
    axes.add_patch(
        FancyBboxPatch(
            (box.x, box.y),
            box.width,
            box.height,
            boxstyle="round,pad=0,rounding_size=4",
            facecolor=style.fill,
            edgecolor=style.line,
            linewidth=0.8,
        )
    )
    x, y = box.center
    _write(axes, x, y + 2.7, pill.text, SMALL_SIZE, ha="center")


def _paint_mark(axes: Any, mark: Mark) -> None:
    from matplotlib.patches import Circle, FancyBboxPatch

    box, style = mark.box, NODES[mark.style]
    look: dict[str, Any] = {
        "facecolor": mark.fill or style.fill,
        "edgecolor": style.line,
        "linewidth": 2.6 if mark.is_output else 1.2,
        "linestyle": "dashed" if mark.is_dashed or mark.style == "elision" else "solid",
    }
    if box.width == box.height:
        axes.add_patch(Circle(box.center, box.width / 2, **look))
    else:
        corners = f"round,pad=0,rounding_size={min(style.radius, box.height / 2)}"
        axes.add_patch(
            FancyBboxPatch((box.x, box.y), box.width, box.height, boxstyle=corners, **look)
        )
    x, _ = box.center
    if mark.label:
        y = box.y + (15 if mark.detail else box.height / 2 + 4)
        _write(axes, x, y, mark.label, LABEL_SIZE, ha="center", color=mark.ink or INK)
    if mark.detail:
        look = {"ha": "center", "color": mark.ink or PALE_INK}
        _write(axes, x, box.y + box.height - 7, mark.detail, DETAIL_SIZE, **look)
