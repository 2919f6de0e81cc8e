"""Drawings and scenes in Graphviz's language, and positions that ``dot`` finds for a scene.

Two forms: *flowing*, where Graphviz is to find the positions, with name scopes as clusters; and
*pinned*, where every position is ours and ``neato -n2`` only paints.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape as escape_html
from itertools import pairwise
from typing import Any

from graphviz import Digraph, escape

from graphnn.viz.clusters import Cluster, cluster_tree
from graphnn.viz.drawing import Drawing, Mark, Pill, Stroke
from graphnn.viz.fold import folded
from graphnn.viz.graphviz_tool import run_graphviz
from graphnn.viz.layout import Band, Box, Layout, Route, box_size
from graphnn.viz.painting import Look, looks, scale_text
from graphnn.viz.scene import Scene
from graphnn.viz.style import (
    BANDS,
    CLEAR_BANDS,
    DETAIL_SIZE,
    EDGES,
    LABEL_SIZE,
    NODES,
    PALE_INK,
    SMALL_SIZE,
)

__all__ = ["dot_layout", "flowing_dot", "pinned_dot"]

INCH = 72.0
MARGIN = 12.0
FONT = "Helvetica"
TITLE_SIZE = 11.5
"""Points of a frame's title: more than it is drawn with, for fonts wider than Graphviz's."""
CUT_SIZE = 19.0
"""Points of the two bars, so that they are as high as in other formats."""
MAIN_WAY = ("data", "recurrent", "gradient", "bptt")
"""Edges that are to be short and straight."""

Point = tuple[float, float]


def flowing_dot(scene: Scene) -> str:
    """The scene for ``dot``: name scopes are clusters, forward and backward apart."""
    graph = Digraph(
        graph_attr={"rankdir": "TB", "nodesep": "0.2", "ranksep": "0.3", "fontname": FONT},
        node_attr={"shape": "box", "fontname": FONT},
        edge_attr={"fontname": FONT, "fontsize": f"{SMALL_SIZE:g}", "arrowsize": "0.6"},
    )
    found = looks(scene.overlays[0]) if scene.overlays else []
    if scene.overlays:
        graph.attr(label=escape(scale_text(scene.overlays[0])), labeljust="l")
    _write_cluster(graph, scene, cluster_tree(scene), "cluster", found)
    for edge in scene.edges:
        label = {"label": escape(f" {edge.label} ")} if edge.label else {}
        weight = {"weight": "8"} if edge.kind in MAIN_WAY else {}
        graph.edge(
            f"n{edge.source}", f"n{edge.target}", **_edge_attrs(edge.kind), **label, **weight
        )
    return str(graph.source)


def _write_cluster(
    graph: Digraph, scene: Scene, cluster: Cluster, name: str, found: Sequence[Look]
) -> None:
    # As deep as the user's scopes are nested, not as the graph is.
    for index in cluster.members:
        node = scene.nodes[index]
        width, height = box_size(node)
        look = found[index] if found else Look("", "", "")
        graph.node(
            f"n{index}",
            label=_two_lines(node.label, look.text or node.detail, look.ink),
            tooltip=escape(node.tooltip),
            **_node_attrs(
                node.style, width, height, node.is_output, node.is_recomputed, look.fill, look.ink
            ),
        )
    for number, inside in enumerate(cluster.inside):
        with graph.subgraph(name=f"{name}_{number}") as subgraph:
            subgraph.attr(
                label=escape(inside.title),
                comment=inside.tone,
                fontsize=f"{TITLE_SIZE:g}",
                labeljust="l",
                style="rounded",
            )
            _write_cluster(subgraph, scene, inside, f"{name}_{number}", found)


def _two_lines(label: str, detail: str, ink: str = "") -> str:
    first, second = (escape_html(text).replace("\\", "&#92;") for text in (label, detail))
    if not detail:
        return f'<<FONT POINT-SIZE="{LABEL_SIZE:g}">{first}</FONT>>'
    return (
        f'<<FONT POINT-SIZE="{LABEL_SIZE:g}">{first}</FONT><BR/><FONT POINT-SIZE="2"> </FONT><BR/>'
        f'<FONT POINT-SIZE="{DETAIL_SIZE:g}" COLOR="{ink or PALE_INK}">{second}</FONT>>'
    )


def _node_attrs(
    style: str,
    width: float,
    height: float,
    is_output: bool,
    is_dashed: bool,
    fill: str = "",
    ink: str = "",
) -> dict[str, str]:
    look = NODES[style]
    styles = ["filled"]
    if look.radius > 3 and width != height:
        styles.append("rounded")
    if is_dashed or style == "elision":
        styles.append("dashed")
    return {
        "shape": "circle" if width == height else "box",
        "width": f"{width / INCH:.4f}",
        "height": f"{height / INCH:.4f}",
        "fixedsize": "true",
        "style": ",".join(styles),
        "fillcolor": fill or look.fill,
        "color": look.line,
        "penwidth": "2.6" if is_output else "1.2",
        **({"fontcolor": ink} if ink else {}),
    }


def _edge_attrs(kind: str) -> dict[str, str]:
    look = EDGES[kind]
    return {
        "color": look.line,
        "fontcolor": look.line,
        "penwidth": f"{look.width:g}",
        "style": "dashed" if look.dashes else "solid",
    }


# ------------------------------------------------------------------------- positions from dot


def dot_layout(scene: Scene, seconds: float) -> Layout:
    """Positions for a scene by Graphviz's ``dot``."""
    answer = json.loads(
        run_graphviz(["-Kdot", "-Tjson"], flowing_dot(replace(scene, overlays=())), seconds)
    )
    _, _, right, top = map(float, answer["bb"].split(","))
    boxes: dict[str, Box] = {}
    bands = []
    for each in answer.get("objects", ()):
        if each["name"].startswith("cluster"):
            x, y, x_end, y_end = map(float, each["bb"].split(","))
            box = Box(x + MARGIN, top - y_end + MARGIN, x_end - x, y_end - y)
            bands.append(Band(box, each["comment"], each["label"]))
        else:
            x, y = map(float, each["pos"].split(","))
            width, height = float(each["width"]) * INCH, float(each["height"]) * INCH
            boxes[each["name"]] = Box(
                x - width / 2 + MARGIN, top - y - height / 2 + MARGIN, width, height
            )
    names = {each["_gvid"]: each["name"] for each in answer.get("objects", ())}
    routes = {
        (names[each["tail"]], names[each["head"]]): _route(each, top)
        for each in answer.get("edges", ())
    }
    layout = Layout(
        tuple(boxes[f"n{index}"] for index in range(len(scene.nodes))),
        tuple(routes[f"n{edge.source}", f"n{edge.target}"] for edge in scene.edges),
        tuple(bands),
        right + 2 * MARGIN,
        top + 2 * MARGIN,
    )
    return folded(scene, layout)


def _route(edge: dict[str, Any], top: float) -> Route:
    """A spline as Graphviz tells it: ``e,x,y`` is the tip of the arrow, then 3n + 1 points."""
    tip, points = None, []
    for word in edge["pos"].split():
        x, y = map(float, word.split(",")[-2:])
        point = (x + MARGIN, top - y + MARGIN)
        if word.startswith("e,"):
            tip = point
        else:
            points.append(point)
    if tip is not None:
        points += [points[-1], tip, tip]
    label_at = None
    if "lp" in edge:
        x, y = map(float, edge["lp"].split(","))
        label_at = (x + MARGIN, top - y + MARGIN)
    return Route(tuple(points), True, label_at)


# --------------------------------------------------------------------------- pinned positions


def pinned_dot(drawing: Drawing) -> str:
    """The drawing with every position pinned; ``neato -n2`` paints it."""
    corner = f"{drawing.width:g},{drawing.height:g}"
    graph = Digraph(
        comment="positions are pinned: neato -n2 -Tsvg",
        graph_attr={
            "layout": "neato",
            "pad": "0",
            "outputorder": "edgesfirst",
            "bb": f"0,0,{corner}",
            "_background": " ".join(_background(drawing)),
        },
        node_attr={"shape": "box", "fontname": FONT},
        edge_attr={"arrowsize": "0.6"},
    )
    for name, position in (("corner0", "0,0"), ("corner1", corner)):
        graph.node(name, label="", pos=position, style="invis", width="0", height="0")
    for number, mark in enumerate(drawing.marks):
        _pin_mark(graph, f"n{number}", mark, drawing.bottom)
    for number, stroke in enumerate(drawing.strokes):
        _pin_stroke(graph, f"l{number}", stroke, drawing.bottom)
    for number, pill in enumerate(drawing.pills):
        _pin_pill(graph, f"p{number}", pill, drawing.bottom)
    return str(graph.source)


def _pin_mark(graph: Digraph, name: str, mark: Mark, bottom: float) -> None:
    x, y = mark.box.center
    graph.node(
        name,
        label=_two_lines(mark.label, mark.detail, mark.ink) if mark.label else "",
        tooltip=escape(mark.tooltip),
        pos=f"{x:.2f},{bottom - y:.2f}",
        **_node_attrs(
            mark.style,
            mark.box.width,
            mark.box.height,
            mark.is_output,
            mark.is_dashed,
            mark.fill,
            mark.ink,
        ),
    )


def _pin_pill(graph: Digraph, name: str, pill: Pill, bottom: float) -> None:
    x, y = pill.box.center
    look = _node_attrs(pill.style, pill.box.width, pill.box.height, False, False)
    graph.node(
        name,
        label=escape(pill.text),
        pos=f"{x:.2f},{bottom - y:.2f}",
        **{**look, "style": "filled,rounded", "penwidth": "0.8", "fontsize": f"{SMALL_SIZE:g}"},
    )


def _pin_stroke(graph: Digraph, name: str, stroke: Stroke, bottom: float) -> None:
    points = stroke.route.points if stroke.route.is_curve else _as_curve(stroke.route.points)
    if stroke.ends is None:  # a sample in the legend joins nothing: give it two points to join
        ends = (f"{name}a", f"{name}b")
        for end, (x, y) in zip(ends, (points[0], points[-1]), strict=True):
            graph.node(
                end, "", pos=f"{x:.2f},{bottom - y:.2f}", style="invis", width="0", height="0"
            )
    else:
        ends = (f"n{stroke.ends[0]}", f"n{stroke.ends[1]}")
    *way, _, tip = points
    way += [_short_of_tip(points)] * 2
    curve = " ".join(f"{x:.2f},{bottom - y:.2f}" for x, y in way)
    graph.edge(
        *ends, pos=f"e,{tip[0]:.2f},{bottom - tip[1]:.2f} {curve}", **_edge_attrs(stroke.style)
    )
    if stroke.cut_at is not None:
        _pin_text(graph, f"{name}cut", "//", stroke, stroke.cut_at, bottom, CUT_SIZE)
    if stroke.label and stroke.route.label_at is not None:
        at, text = stroke.route.label_at, escape(stroke.label)
        _pin_text(graph, f"{name}label", text, stroke, at, bottom, SMALL_SIZE)


def _pin_text(
    graph: Digraph,
    name: str,
    text: str,
    stroke: Stroke,
    at: tuple[float, float],
    bottom: float,
    size: float,
) -> None:
    """A text on a line: a node of its own, for labels of edges are painted below later edges."""
    x, y = at
    graph.node(
        name,
        text,
        pos=f"{x:.2f},{bottom - y:.2f}",
        shape="plain",
        style="filled",
        fillcolor="#ffffff",
        fontcolor=EDGES[stroke.style].line,
        fontsize=f"{size:g}",
    )


def _as_curve(points: Sequence[Point]) -> Sequence[Point]:
    """Straight lines as cubic Bézier curves."""
    curve = [points[0]]
    for before, after in pairwise(points):
        curve += [before, after, after]
    return curve


def _short_of_tip(points: Sequence[Point]) -> Point:
    """Where the line ends and the arrowhead begins."""
    (x, y) = points[-1]
    before = next((point for point in reversed(points) if point != points[-1]), points[-1])
    dx, dy = x - before[0], y - before[1]
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    part = min(6.0 / length, 1.0)
    return x - dx * part, y - dy * part


def _background(drawing: Drawing) -> Iterator[str]:
    """Bands, then words, in Graphviz's drawing language (xdot)."""
    bottom = drawing.bottom
    for band in drawing.bands:
        fill, line = BANDS[band.tone]
        left, right = band.box.x, band.box.x + band.box.width
        high, low = bottom - band.box.y, bottom - band.box.y - band.box.height
        corners = f"{left:g} {low:g} {left:g} {high:g} {right:g} {high:g} {right:g} {low:g}"
        yield f"{_color('C', fill + ('99' if band.tone in CLEAR_BANDS else 'ff'))} "
        yield f"{_color('c', line + '59')} P 4 {corners}"
        yield _words(band.box.x + 8, bottom - band.box.y - 14, band.label, DETAIL_SIZE, line)
    for tile in drawing.tiles:
        left, right = tile.box.x, tile.box.x + tile.box.width
        high, low = bottom - tile.box.y, bottom - tile.box.y - tile.box.height
        corners = f"{left:g} {low:g} {left:g} {high:g} {right:g} {high:g} {right:g} {low:g}"
        yield f"{_color('C', tile.fill)} {_color('c', tile.fill)} P 4 {corners}"
    for words in drawing.words:
        yield _words(words.x, bottom - words.y, words.text, words.size, "#222222")


def _color(operation: str, color: str) -> str:
    return f"{operation} {len(color)} -{color}"


def _words(x: float, y: float, text: str, size: float, color: str) -> str:
    count = len(text.encode())
    font = f"F {size:g} {len(FONT)} -{FONT}"
    return f"{font} {_color('c', color)} T {x:g} {y:g} -1 {len(text) * size / 2:g} {count} -{text}"
