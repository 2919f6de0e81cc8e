"""Pictures: what is in them, where it stands, and what becomes of odd names."""

import errno
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import RenderError
from graphnn.viz import picture as picture_module
from graphnn.viz import render
from graphnn.viz.dot import flowing_dot, pinned_dot
from graphnn.viz.graph_scene import bytes_text, scene_of_graph
from graphnn.viz.graphviz_tool import find_graphviz, run_graphviz
from graphnn.viz.layout import Box, Layout
from graphnn.viz.picture import FORMATS, Picture
from graphnn.viz.route import grid_layout
from graphnn.viz.scene import Scene
from graphnn.viz.style import DETAIL_SIZE, LABEL_SIZE, shorten, text_width

needs_graphviz = pytest.mark.skipif(find_graphviz() is None, reason="no Graphviz here")


def weight(name: str, *shape: int) -> gn.Parameter:
    return gn.parameter(np.full(shape, 0.1, np.float32), name=name)


def recurrent(steps: int) -> gn.Graph:
    """A simple recurrent net over some steps, its loss and the gradients of its weights."""
    Wx, Wh, b, Wy = weight("Wx", 3, 8), weight("Wh", 8, 8), weight("b", 8), weight("Wy", 8, 2)
    h = gn.input("h0", shape=(4, 8))
    inputs = [h]
    for t in range(steps):
        with gn.time_step(t):
            inputs.append(gn.input(f"x{t}", shape=(4, 3)))
            h = gn.tanh(inputs[-1] @ Wx + h @ Wh + b).named(f"h{t + 1}")
    inputs.append(gn.input("y", shape=(4, 2)))
    loss = gn.mean(gn.square(h @ Wy - inputs[-1])).named("loss")
    return gn.Graph(tuple(inputs), (loss, *gn.grad(loss, [Wx, Wh, b, Wy])))


def perceptron() -> gn.Graph:
    x, W, b = gn.input("x", shape=("batch", 3)), weight("W", 3, 2), weight("b", 2)
    with gn.name_scope("dense"):
        y = gn.relu(x @ W + b)
    loss = gn.sum(gn.square(y)).named("loss")
    return gn.Graph((x,), (loss, *gn.grad(loss, [W, b])))


def without_graphviz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphnn.viz.graphviz_tool.find_graphviz", lambda: None)
    monkeypatch.setattr("graphnn.viz.picture.find_graphviz", lambda: None)


def picture_of(thing: Any, **options: Any) -> Picture:
    made = render(thing, **options)
    assert isinstance(made, Picture)
    return made


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in parsed(svg).iter() if each.tag.endswith("}text")]


# -------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("make", [perceptron, lambda: recurrent(2)], ids=["mlp", "rnn"])
def test_every_format_is_written_and_reproducible(format: str, make: Any, tmp_path: Path) -> None:
    graph = make()
    first, second = tmp_path / f"a.{format}", tmp_path / f"b.{format.upper()}"
    assert render(graph, first) == first
    render(graph, str(second))
    content = first.read_bytes()
    assert content
    assert content == second.read_bytes()
    starts = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
    assert content.startswith(starts.get(format, b""))
    assert sorted(os.listdir(tmp_path)) == sorted([first.name, second.name])


def test_the_picture_is_the_same_in_another_process(tmp_path: Path) -> None:
    code = (
        "import graphnn as gn; from graphnn.viz import render\n"
        "x = gn.input('x', shape=(3,)); w = gn.parameter([1.0, 2.0, 3.0], name='w')\n"
        "h = x\n"
        "for t in range(3):\n"
        "    with gn.time_step(t): h = gn.tanh(h * w)\n"
        "loss = gn.sum(h)\n"
        "print(render(gn.Graph((x,), (loss, *gn.grad(loss, [w])))).svg)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=tmp_path,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]


def test_importing_loads_no_drawing_library(tmp_path: Path) -> None:
    code = (
        "import sys, graphnn.viz; "
        "print([name for name in ('graphviz', 'matplotlib', 'networkx') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_without_a_path_there_is_a_picture_for_notebooks() -> None:
    picture = picture_of(perceptron())
    assert picture._repr_mimebundle_() == {
        "image/svg+xml": picture.svg,
        "text/plain": repr(picture),
    }
    assert repr(picture) == f"<Picture of {len(picture.scene.nodes)} nodes, " + (
        f"{len(picture.scene.edges)} edges>"
    )


def test_json_holds_scene_and_layout() -> None:
    content = json.loads(picture_of(recurrent(2)).json)
    assert len(content["scene"]["nodes"]) == len(content["layout"]["boxes"])
    assert len(content["scene"]["edges"]) == len(content["layout"]["routes"])


def test_things_that_can_be_drawn() -> None:
    x = gn.input("x", shape=(3,))
    y = gn.tanh(x).named("y")
    for thing in (y, [y], {"a": y, "b": (y, x)}, gn.Graph((x,), (y,)), gn.compile(x, y)):
        assert "y" in texts(picture_of(thing).svg)
    assert "my title" in texts(picture_of(y, title="my title").svg)
    assert picture_of(gn.Graph((), ())).svg


# ----------------------------------------------------------------------------------- the contents


def test_kinds_of_edges_and_bytes() -> None:
    scene = scene_of_graph(recurrent(3))
    name = [node.label for node in scene.nodes]
    kinds = {(name[edge.source], name[edge.target]): edge.kind for edge in scene.edges}
    assert kinds["Wx", "matmul"] == "weight"
    assert kinds["x0", "matmul"] == "data"
    assert kinds["h1", "matmul"] == "recurrent"
    assert kinds["h1", "square"] == "saved"
    assert sum(edge.kind == "recurrent" for edge in scene.edges) == 2
    assert sum(edge.kind == "bptt" for edge in scene.edges) == 2
    labels = [edge.label for edge in scene.edges if name[edge.source] == "h1" and edge.label]
    assert labels == ["128 B"]


def test_scalar_constants_stand_in_the_boxes_that_read_them() -> None:
    x = gn.input("x", shape=(3,))
    svg = picture_of([gn.exp(x) * 2, 1 - x, gn.maximum(x, 0.5)]).svg
    assert {"• × 2", "1 − •", "maximum(•, 0.5)"} <= set(texts(svg))
    assert "constant" not in texts(svg)


def test_the_fan_in_of_a_weight_gradient_is_one_box() -> None:
    scene = scene_of_graph(recurrent(5))
    (total,) = (i for i, node in enumerate(scene.nodes) if node.label == "∂Wh")
    assert scene.nodes[total].kind == "sum"
    assert scene.nodes[total].detail.startswith("Σ 5 terms")
    arriving = [edge for edge in scene.edges if edge.target == total]
    assert sorted(scene.nodes[edge.source].step for edge in arriving) == [0, 1, 2, 3, 4]


def test_named_dimensions_in_bytes() -> None:
    x = gn.input("x", shape=("batch", 8))
    assert bytes_text(x.spec) == "32*batch B"
    assert bytes_text(gn.input("x", shape=(1000, 250)).spec) == "977 KiB"


def test_a_program_shows_what_runs() -> None:
    graph = perceptron()
    loss, *gradients = graph.outputs
    parameters = [node for node in graph.nodes if isinstance(node, gn.Parameter)]
    updates = {w: w - 0.1 * g for w, g in zip(parameters, gradients, strict=True)}
    step = gn.compile(graph.inputs, loss, updates=updates)
    step(np.ones((5, 3), np.float32))
    scene = picture_of(step, depth=0).scene
    boxes = [node for node in scene.nodes if node.kind == "operation"]
    assert len(boxes) == len(step.instructions)
    updated = {node.label.split(" ")[0] for node in scene.nodes if node.role == "update"}
    assert {"W", "b"} <= updated
    assert all("[batch" not in node.detail for node in scene.nodes)
    assert "arena" in picture_of(step).scene.title
    assert "of the arena" in boxes[0].tooltip


def test_what_a_pass_shares_between_both_directions_stays_forward() -> None:
    x, y, W = gn.input("x", shape=(4, 3)), gn.input("y", shape=(4, 2)), weight("W", 3, 2)
    loss = gn.mean((x @ W - y) ** 2)  # the derivative of the power is simplified to the difference
    step = gn.compile([x, y], (loss, *gn.grad(loss, [W])))
    (difference,) = (n for n in picture_of(step).scene.nodes if "subtract" in n.label)
    assert difference.role == "forward"


def test_a_program_of_time_steps_is_a_grid() -> None:
    graph = recurrent(3)
    picture = picture_of(gn.compile(graph.inputs, graph.outputs))
    assert picture.scene.steps == (0, 1, 2)
    assert any(band.label == "t = 2" for band in picture.layout.bands)


# --------------------------------------------------------------------------------------- positions


@pytest.fixture(scope="module")
def unrolled() -> tuple[Scene, Layout]:
    scene = scene_of_graph(recurrent(5))
    return scene, grid_layout(scene)


def test_time_runs_right_and_backward_stands_below(unrolled: tuple[Scene, Layout]) -> None:
    scene, layout = unrolled
    for before, after in zip(scene.steps, scene.steps[1:], strict=False):
        left = [b for n, b in zip(scene.nodes, layout.boxes, strict=True) if n.step == before]
        right = [b for n, b in zip(scene.nodes, layout.boxes, strict=True) if n.step == after]
        assert max(box.x + box.width for box in left) < min(box.x for box in right)
    rows = {
        role: [b.y for n, b in zip(scene.nodes, layout.boxes, strict=True) if n.role == role]
        for role in ("forward", "backward")
    }
    assert max(rows["forward"]) < min(rows["backward"])


def test_every_step_is_the_same_cell(unrolled: tuple[Scene, Layout]) -> None:
    scene, layout = unrolled
    cells = []
    for step in (1, 2, 3):
        members = [i for i, node in enumerate(scene.nodes) if node.step == step]
        corner = min(layout.boxes[i].x for i in members)
        cells.append(
            sorted(
                (
                    scene.nodes[i].label.rstrip("0123456789"),
                    layout.boxes[i].x - corner,
                    layout.boxes[i].y,
                )
                for i in members
            )
        )
    for other in cells[1:]:
        assert [cell[0] for cell in other] == [cell[0] for cell in cells[0]]
        assert np.allclose([c[1:] for c in other], [c[1:] for c in cells[0]])


def test_weights_stand_left_and_their_gradients_below(unrolled: tuple[Scene, Layout]) -> None:
    scene, layout = unrolled
    start = min(b.x for n, b in zip(scene.nodes, layout.boxes, strict=True) if n.step is not None)
    box = {n.label: b for n, b in zip(scene.nodes, layout.boxes, strict=True)}
    for name in ("Wx", "Wh", "b"):
        assert box[name].x + box[name].width < start
        assert box[f"∂{name}"].x + box[f"∂{name}"].width < start
        assert box[f"∂{name}"].y > box[name].y
    assert box["Wy"].x > box["h5"].x


def crosses(box: Box, start: tuple[float, float], end: tuple[float, float]) -> bool:
    low_x, high_x = sorted((start[0], end[0]))
    low_y, high_y = sorted((start[1], end[1]))
    return (
        low_x < box.x + box.width - 0.5
        and high_x > box.x + 0.5
        and low_y < box.y + box.height - 0.5
        and high_y > box.y + 0.5
    )


@pytest.mark.parametrize("make", [perceptron, lambda: recurrent(4)], ids=["mlp", "rnn"])
def test_no_line_crosses_a_box_and_no_box_another(make: Any) -> None:
    scene = scene_of_graph(make())
    layout = grid_layout(scene)
    for edge, route in zip(scene.edges, layout.routes, strict=True):
        for start, end in zip(route.points, route.points[1:], strict=False):
            for number, box in enumerate(layout.boxes):
                # A line to a circle ends at its rim, inside of the square around it.
                if number not in (edge.source, edge.target) or box.width != box.height:
                    assert not crosses(box, start, end)
    for index, box in enumerate(layout.boxes):
        end = (box.x + box.width, box.y + box.height)
        assert not any(crosses(other, (box.x, box.y), end) for other in layout.boxes[:index])
        assert 0 < box.x < end[0] < layout.width
        assert 0 < box.y < end[1] < layout.height


def test_ends_of_lines_touch_their_boxes(unrolled: tuple[Scene, Layout]) -> None:
    scene, layout = unrolled
    ghosts = {(ghost.node, ghost.reader): ghost.box for ghost in layout.ghosts}
    for edge, route in zip(scene.edges, layout.routes, strict=True):
        source, target = layout.boxes[edge.source], layout.boxes[edge.target]
        if edge.kind == "weight" and (edge.source, edge.target) in ghosts:
            source = ghosts[edge.source, edge.target]
        for (x, y), box in ((route.points[0], source), (route.points[-1], target)):
            assert box.x - 0.1 < x < box.x + box.width + 0.1
            assert box.y - 0.1 < y < box.y + box.height + 0.1
            if box.width != box.height:
                at_side = min(abs(x - box.x), abs(x - box.x - box.width))
                assert min(at_side, abs(y - box.y)) == pytest.approx(0, abs=0.1)


def test_text_fits_in_any_usual_font() -> None:
    font_manager = pytest.importorskip("matplotlib.font_manager")
    font = pytest.importorskip("matplotlib.ft2font").FT2Font(
        font_manager.findfont("DejaVu Sans")  # the widest one
    )
    font.set_size(100, 72)
    for text in (
        "broadcast_to(•, 0.5)",
        "f32[batch, 64]",
        "WWWWmmmm@@%%",
        "∂Wh Σ 12 terms → ←",
        "".join(map(chr, range(32, 127))),
    ):
        font.set_text(text, 0.0)
        needed = font.get_width_height()[0] / 64
        assert text_width(text, 100.0) >= needed, text


@pytest.mark.parametrize("layout", [pytest.param("dot", marks=needs_graphviz), "grid"])
def test_boxes_hold_their_texts(layout: Any) -> None:
    picture = picture_of(perceptron(), layout=layout)
    for mark, box in zip(picture.drawing.marks, picture.layout.boxes, strict=False):
        assert mark.label
        assert text_width(mark.label, LABEL_SIZE) < box.width
        assert text_width(mark.detail, DETAIL_SIZE) < box.width


# --------------------------------------------------------------------------------------- odd names

ODD_NAMES = [
    '<script>alert("x")</script>',
    'quote " and \\ backslash \\n \\N',
    "two\nlines\r\tand tabs",
    "null \x00 bell \x07 lone \ud800 surrogate",
    "&amp; ]]> -- <!--",
    "graph { a -> b; }",
    "名前 и émoji 🙂",
    "<b>html</b>",
    "n" * 100_000,
    "$x^2$",
    "%s {0} \\",
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_odd_names_are_escaped(name: str) -> None:
    with gn.name_scope(name.replace("/", "|")):
        x = gn.input(name, shape=(3,))
        y = gn.tanh(x)
    with gn.time_step(0):
        z = gn.exp(y)
    for thing in (y, z):
        picture = picture_of(thing, title=name)
        assert len(picture.svg) < 20_000
        root = parsed(picture.svg)
        assert not any(each.tag.endswith("script") for each in root.iter())
        assert shorten(name) in texts(picture.svg)
        if find_graphviz() is not None:
            for arguments, source in (
                (["-Kneato", "-n2", "-Tsvg"], pinned_dot(picture.drawing)),
                (["-Kdot", "-Tsvg"], flowing_dot(picture.scene)),
            ):
                painted = run_graphviz(arguments, source).decode()
                assert "<script" not in painted
                parsed(painted)
        assert picture.png.startswith(b"\x89PNG")


@needs_graphviz
def test_graphviz_paints_the_pinned_positions() -> None:
    picture = picture_of(recurrent(3))
    answer = json.loads(run_graphviz(["-Kneato", "-n2", "-Tjson"], picture.dot))
    bottom = picture.drawing.bottom
    found = {each["name"]: each for each in answer["objects"]}
    for index, mark in enumerate(picture.drawing.marks):
        x, y = map(float, found[f"n{index}"]["pos"].split(","))
        assert (x, bottom - y) == pytest.approx(mark.box.center, abs=0.1)
    names = {each["_gvid"]: each["name"] for each in answer["objects"]}
    ways = {(names[e["tail"]], names[e["head"]]): e["pos"] for e in answer["edges"]}
    for stroke in picture.drawing.strokes:
        if stroke.ends is not None:
            way = ways[f"n{stroke.ends[0]}", f"n{stroke.ends[1]}"].split()
            assert len(way) == 3 * len(stroke.route.points) - 1
            x, y = map(float, way[1].split(","))
            assert (x, bottom - y) == pytest.approx(stroke.route.points[0], abs=0.1)


# -------------------------------------------------------------------------------------- what fails


def test_pictures_without_graphviz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_graphviz(monkeypatch)
    for format in FORMATS:
        assert render(perceptron(), tmp_path / f"a.{format}") == tmp_path / f"a.{format}"
    with pytest.raises(RenderError, match=r"there is no Graphviz[\s\S]*pip install"):
        render(perceptron(), tmp_path / "a.svg", layout="dot")


def test_png_without_any_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_graphviz(monkeypatch)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RenderError, match="needs matplotlib or Graphviz"):
        render(perceptron(), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_mistakes_are_explained(tmp_path: Path) -> None:
    x = gn.input("x", shape=(3,))
    with pytest.raises(RenderError, match=r"cannot tell the format from 'a.gif'[\s\S]*\.svg"):
        render(x, tmp_path / "a.gif")
    with pytest.raises(RenderError, match="cannot tell the format from 'picture'"):
        render(x, tmp_path / "picture")
    with pytest.raises(RenderError, match=r"cannot write[\s\S]*folder"):
        render(x, tmp_path / "missing" / "a.svg")
    with pytest.raises(RenderError, match="cannot draw int"):
        render(3)
    with pytest.raises(RenderError, match="no layout 'circle'"):
        render(x, layout="circle")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(RenderError, match="cannot write"):
        render(x, tmp_path / "folder.svg")
    assert [each.name for each in tmp_path.iterdir()] == ["folder.svg"]


@needs_graphviz
def test_what_graphviz_says_is_told() -> None:
    with pytest.raises(RenderError, match="failed"):
        run_graphviz(["-Tsvg"], "this is no graph {")
    with pytest.raises(RenderError, match="longer than 0 s"):
        run_graphviz(["-Tsvg"], "graph { a }", seconds=0.0)


def test_dot_that_takes_too_long_gives_way_to_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_module, "DOT_SECONDS", 0.0)
    assert picture_of(perceptron()).svg


def test_a_png_that_nobody_could_read_is_refused() -> None:
    with pytest.raises(RenderError, match=r"write \.svg"):
        _ = picture_of(recurrent(300), steps="all").png


# ------------------------------------------------------------------------------------------- size


def chain(length: int) -> gn.Graph:
    x = node = gn.input("x", shape=(3,))
    for _ in range(length):
        node = gn.tanh(node)
    return gn.Graph((x,), (node,))


def wide(width: int) -> gn.Graph:
    x = gn.input("x", shape=(3,))
    return gn.Graph((x,), tuple(x * float(i) for i in range(2, width)))


@pytest.mark.parametrize("make", [chain, wide])
def test_flat_graphs_stay_in_shape(make: Any) -> None:
    layout = picture_of(make(4000)).layout
    assert 0.1 < layout.width / layout.height < 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "graph",
    [lambda: chain(20_000), lambda: wide(5_000), lambda: recurrent(600)],
    ids=["chain of 20,000", "5,000 side by side", "600 steps"],
)
def test_large_graphs_are_drawn(graph: Any) -> None:
    assert picture_of(graph(), steps="all").svg.endswith("</svg>\n")


def test_arguments_that_do_not_apply_are_refused() -> None:
    x = gn.input("x", shape=(3,))
    y = gn.tanh(x)
    program = gn.compile(x, y, native="never")
    with pytest.raises(RenderError, match="takes no derivatives="):
        render(program, derivatives=True)
    history = gn.viz.history(gn.Graph((x,), (y,)))
    wrong: dict[str, Any] = {"steps": 2, "depth": 1, "derivatives": True, "inputs": (3,)}
    for thing in (history, history[-1]):
        for name, value in {**wrong, "overlay": 3}.items():
            with pytest.raises(RenderError, match=f"takes no {name}="):
                render(thing, **{name: value})
    with pytest.raises(RenderError, match="takes no depth="):
        render(y, derivatives=True, depth=0)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"steps": "some"},
        {"depth": -1},
        {"depth": "none"},
        {"depth": True},
        {"derivatives": 1},
        {"derivatives": "yes"},
        {"overlay": 3},
        {"title": 3},
        {"path": 3},
    ],
    ids=str,
)
def test_values_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    x = gn.input("x", shape=(3,))
    graph = gn.Graph((x,), (gn.tanh(x),))
    program = gn.compile(x, gn.tanh(x), native="never")
    for thing in (graph, program, gn.viz.history(graph)):
        with pytest.raises(RenderError) as caught:
            render(thing, **options)
        assert "hint: " in str(caught.value)


def test_where_nothing_can_be_written_nothing_is_drawn(tmp_path: Path) -> None:
    for path in (tmp_path / "a.gif", tmp_path / "missing" / "a.svg"):
        with pytest.raises(RenderError, match=r"cannot (tell|write)"):
            render(3, path)  # which cannot be drawn, but that is not asked


def test_files_have_the_mode_of_the_process_and_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    picture = render(gn.input("x", shape=(3,)))
    (tmp_path / "other").write_text("")
    mode = (tmp_path / "other").stat().st_mode
    assert picture.save(tmp_path / "a.svg").stat().st_mode == mode

    def umask(mask: int) -> int:
        raise AssertionError("it belongs to all threads")

    def replace(source: Any, target: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "umask", umask)
    picture.save(tmp_path / "a.svg")
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(RenderError, match="No space left"):
        picture.save(tmp_path / "b.svg")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.svg", "other"]


def test_gradients_are_called_by_what_they_are_of() -> None:
    x = gn.input("x", shape=(3,))
    y = gn.silu(x * x).named("y")  # whose derivative has a sum, which is no gradient
    loss = gn.sum(gn.square(y) + gn.exp(y) + x)
    made = [node.label for node in scene_of_graph(gn.Graph((x,), (gn.grad(loss, x),))).nodes]
    assert (made.count("∂x"), made.count("∂y")) == (1, 1)
    assert repr(gn.Graph((x,), (y,))).startswith("<Graph 1 input, ")


def test_gradients_that_are_results_are_called_by_what_they_are_of() -> None:
    x, h = gn.input("x", (5, 4)), gn.input("h", (5, 3))
    w, b = weight("w", 4, 3), weight("b", 3)
    loss = gn.sum(gn.tanh(x @ w + b) * h)
    scene = picture_of([loss, *gn.grad(loss, [w, b, x])]).scene
    results = [node for node in scene.nodes if node.role == "backward" and node.is_output]
    assert [node.label for node in results] == ["∂w", "∂b", "∂x"]
    product = gn.sum(h * gn.input("k", (5, 3)))
    scene = picture_of([gn.grad(product, h)]).scene  # of either, if one went by the shape
    assert not any("∂k" in node.label for node in scene.nodes)


def test_gradients_of_weights_of_one_shape_are_told_apart(tmp_path) -> None:
    x, norm = gn.input("x", (5, 4)), gn.nn.LayerNorm(4)  # its rule reads them through reshapes
    loss = gn.mean(norm(x) ** 2)
    graph = gn.Graph((x,), (loss, *gn.grad(loss, [norm.weight, norm.bias])))
    gn.io.save_graph(tmp_path / "norm.gng", graph)
    for each in (graph, gn.io.load_graph(tmp_path / "norm.gng")):
        results = [node.label for node in scene_of_graph(each).nodes if node.is_output]
        assert results[1:] == ["∂weight", "∂bias"]
    a, b = gn.input("a", (3,)), gn.input("b", (3,))
    total = gn.sum(gn.sin(a + b))
    both = gn.grad(total, [a, b])
    assert both[0] is both[1]
    labels = [node.label for node in scene_of_graph(gn.Graph((a, b), tuple(both))).nodes]
    assert labels.count("∂a, ∂b") == 1
