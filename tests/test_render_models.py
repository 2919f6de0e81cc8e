"""Pictures of models and ordinary graphs: what is drawn, frames, folded chains, Mermaid, text."""

import re
from typing import Any

import numpy as np
import pytest
from drawn_models import LeNet, frames, is_in_order, labels, picture_of, residual, scene_of

import graphnn as gn
from graphnn.core.errors import ArgumentError, RenderError
from graphnn.viz import render
from graphnn.viz.clusters import cluster_tree
from graphnn.viz.fold import folded
from graphnn.viz.graphviz_tool import find_graphviz
from graphnn.viz.layout import Box, Layout, Route
from graphnn.viz.scene import Scene
from graphnn.viz.things import as_drawable

needs_graphviz = pytest.mark.skipif(find_graphviz() is None, reason="no Graphviz here")


# ------------------------------------------------------------------------------------- dispatch


def test_a_model_is_drawn_for_what_it_is_called_with() -> None:
    model = gn.nn.Sequential(gn.nn.Dense(4, 3), gn.nn.ReLU())
    x = gn.input("rows", shape=("batch", 4))
    specs = (
        ("batch", 4),
        gn.TensorSpec(("batch", 4)),
        [gn.TensorSpec(("batch", 4))],
        {"x": ("batch", 4)},
        np.zeros((5, 4), np.float32),
        x,
    )
    for inputs in specs:
        scene = picture_of(model, inputs=inputs).scene
        assert {"matmul", "relu", "weight", "bias"} <= set(labels(scene))
        assert scene.title == "Sequential: 15 parameters"
    assert labels(picture_of(model, inputs=x).scene)[0] == "rows"


def test_a_model_with_several_inputs_takes_them_by_position_and_by_name() -> None:
    attention = gn.nn.DotAttention(8)
    specs = {"query": ("batch", 8), "keys": ("time", "batch", 8)}
    by_name = picture_of(attention, inputs=specs).scene
    by_position = picture_of(attention, inputs=tuple(specs.values())).scene
    assert labels(by_name) == labels(by_position)
    assert {"query", "keys"} <= set(labels(by_name))


def test_a_function_is_drawn_as_its_latest_program_or_its_graph() -> None:
    @gn.function
    def f(x: Any) -> Any:
        return gn.tanh(x) * 2

    with pytest.raises(RenderError, match="f has not been called yet"):
        render(f)
    assert "tanh" in labels(picture_of(f, inputs=gn.TensorSpec((3,))).scene)
    f(np.ones(3, np.float32))
    assert as_drawable(f).content is f.programs[-1]
    traced = gn.trace(f, gn.TensorSpec((3,)))
    assert "tanh" in labels(picture_of(traced).scene)


@pytest.mark.parametrize(
    ("thing", "options", "message"),
    [
        (gn.nn.Dense(2, 3), {}, "Dense was given no inputs"),
        (gn.input("x"), {"inputs": (2,)}, "inputs= is for models and functions"),
        ([], {}, "cannot draw an empty list"),
        ({"a": 3}, {}, "cannot draw dict: it holds a int, which is no node"),
        ("graph", {}, "cannot draw str"),
        (len, {}, "cannot draw len: it is a function of Python"),
        (gn.input("x"), {"depth": -1}, "cannot draw depth=-1"),
        (gn.input("x"), {"depth": True}, "cannot draw depth=True"),
    ],
)
def test_what_cannot_be_drawn_says_why(thing: Any, options: Any, message: str) -> None:
    with pytest.raises(RenderError, match=re.escape(message)) as caught:
        render(thing, **options)
    assert caught.value.hint


def test_inputs_that_do_not_fit_say_what_forward_takes() -> None:
    with pytest.raises(ArgumentError, match="forward takes"):
        render(gn.nn.Dense(2, 3), inputs=[(1, 2), (3, 4)])
    with pytest.raises(gn.ShapeError, match="must have size 2") as caught:
        render(gn.nn.Dense(2, 3), inputs=("batch", 5))
    assert "while Dense was called with x: f32[batch, 5]" in str(caught.value.__notes__)


# --------------------------------------------------------------------------------------- frames


def test_frames_of_layers_say_class_parameters_and_shape() -> None:
    model = gn.nn.Sequential(gn.nn.Dense(64, 32), gn.nn.ReLU(), gn.nn.Dense(32, 10))
    titles = frames(cluster_tree(picture_of(model, inputs=("batch", 64)).scene))
    assert titles[1:] == [
        "layers.0  Dense(64, 32)  2,080 parameters  → (batch, 32)",
        "layers.2  Dense(32, 10)  330 parameters  → (batch, 10)",
    ]


def test_weights_stand_in_the_scope_that_reads_them() -> None:
    tied = gn.nn.Dense(3, 3)
    x = gn.input("x", (2, 3))
    with gn.name_scope("a"):
        y = gn.tanh(x @ tied.weight)
    with gn.name_scope("b"):
        z = gn.tanh(y @ tied.weight) + tied.bias
    scene = picture_of(z).scene
    scopes = {node.detail: node.scope for node in scene.nodes if node.kind == "parameter"}
    assert scopes == {"f32[3, 3]": "", "f32[3]": "b"}


def test_lenet_reads_like_the_textbook() -> None:
    scene = picture_of(LeNet(), inputs=("batch", 1, 28, 28)).scene
    shown = {(node.label, node.detail) for node in scene.nodes}
    assert {
        ("x", "1@28×28"),
        ("conv2d 5×5", "20@24×24"),
        ("max_pool 2×2", "20@12×12"),
        ("conv2d 5×5", "50@8×8"),
        ("max_pool 2×2", "50@4×4"),
    } <= shown
    # The reshape left is the one that the model makes; those inside of conv are not drawn.
    assert labels(scene).count("reshape") == 1
    assert is_in_order(scene)


def test_only_images_have_the_size_of_images() -> None:
    x = gn.input("x", (7, 3, 8, 8))
    net = gn.nn.Sequential(gn.nn.Conv2d(3, 4, 3), gn.nn.ReLU())
    loss = gn.sum(net(x) ** 2).named("loss")
    shown = {
        node.label: node.detail
        for node in picture_of(gn.Graph((x,), (loss, *gn.grad(loss, net.parameters())))).scene.nodes
    }
    assert shown["relu"] == "4@6×6"
    assert shown["∂layers.0.weight"].endswith("f32[4, 3, 3, 3]")
    heads = gn.input("heads", (2, 4, 5, 6))
    (box,) = [node for node in picture_of(gn.tanh(heads)).scene.nodes if node.label == "tanh"]
    assert box.detail == "f32[2, 4, 5, 6]"


def test_strides_that_are_not_usual_are_told() -> None:
    x = gn.input("x", (1, 1, 9, 9))
    kernel = gn.parameter(np.ones((2, 1, 3, 3), np.float32), name="k")
    shown = labels(picture_of(gn.max_pool(gn.conv(x, kernel, stride=2), 2, stride=1)).scene)
    assert "conv2d 3×3, stride 2" in shown
    assert "max_pool 2×2, stride 1" in shown


# -------------------------------------------------------------------------------------- folding


def tower(count: int) -> tuple[Scene, Layout]:
    """A chain with an edge from its first to its last box."""
    scene = scene_of(count, [(i, i + 1) for i in range(count - 1)] + [(0, count - 1)])
    boxes = tuple(Box(10, 60.0 * i, 80, 34) for i in range(count))

    def line(a: int, b: int, x: float) -> Route:
        top, bottom = 60.0 * a + 34, 60.0 * b
        return Route(
            tuple((x, top + (bottom - top) * part) for part in (0, 1 / 3, 2 / 3, 1)), True, None
        )

    routes = [line(i, i + 1, 50) for i in range(count - 1)]
    return scene, Layout(boxes, (*routes, line(0, count - 1, 95)), (), 100, 60.0 * count)


def test_a_long_chain_is_no_sliver() -> None:
    scene, layout = tower(100)
    result = folded(scene, layout)
    assert result.height < layout.height / 4
    assert 0.5 < result.width / result.height < 4
    boxes = list(result.boxes)
    for index, box in enumerate(boxes):
        for other in boxes[:index]:
            apart = (
                box.x >= other.x + other.width
                or other.x >= box.x + box.width
                or box.y >= other.y + other.height
                or other.y >= box.y + box.height
            )
            assert apart
    for edge, route in zip(scene.edges, result.routes, strict=True):
        assert len(route.points) % 3 == 1
        (x, y), (x_end, y_end) = route.points[0], route.points[-1]
        if edge.target == edge.source + 1:
            assert np.allclose((x, y), (boxes[edge.source].center[0], boxes[edge.source].y + 34))
            assert np.allclose((x_end, y_end), (boxes[edge.target].center[0], boxes[edge.target].y))
        for px, py in route.points:
            assert -1e-6 <= px <= result.width
            assert -1e-6 <= py <= result.height


def test_lines_between_columns_keep_away_from_boxes() -> None:
    scene, layout = tower(100)
    result = folded(scene, layout)
    for edge, route in zip(scene.edges, result.routes, strict=True):
        ends = {edge.source, edge.target}
        others = [box for number, box in enumerate(result.boxes) if number not in ends]
        for x, y in route.points:
            assert not any(
                box.x < x < box.x + box.width and box.y < y < box.y + box.height for box in others
            )


def test_what_is_no_sliver_is_left_alone() -> None:
    scene, layout = tower(4)
    assert folded(scene, layout) is layout
    nothing = Layout((), (), (), 1, 5000)
    assert folded(Scene("", (), ()), nothing) is nothing


@needs_graphviz
def test_chains_are_folded_in_pictures() -> None:
    h = gn.input("x", (4,))
    for number in range(60):
        h = (gn.sin, gn.exp, gn.cos)[number * number % 7 % 3](h)
    drawing = picture_of(h, depth="all").drawing
    assert drawing.height < 2 * drawing.width


# ------------------------------------------------------------------------------ Mermaid and text


def test_mermaid_holds_every_box_edge_and_frame() -> None:
    picture = picture_of(residual(2), inputs=("batch", 3))
    lines = picture.mmd.splitlines()
    assert lines[:4] == ["---", f'title: "{picture.scene.title}"', "---", "flowchart TD"]
    assert sum(bool(re.match(r"n\d+ (-->|-.->|==>)", line)) for line in lines) == len(
        picture.scene.edges
    )
    boxes = [line for line in lines if re.match(r'n\d+[(\[]+"', line)]
    assert len(boxes) == len(picture.scene.nodes)
    opened = sum(line.startswith("subgraph ") for line in lines)
    assert opened == lines.count("end") == len(frames(cluster_tree(picture.scene))) - 1


HOSTILE = [
    'a"b',
    "<b>x</b>",
    "new\nline",
    "`code`",
    "#quot;",
    "end",
    'x"]',
    "a|b",
    "%%",
    "\\",
    "é🙂",
]


def test_mermaid_names_cannot_break_out_of_their_labels() -> None:
    h = gn.input("x", (3,))
    for name in HOSTILE:
        with gn.name_scope(name.replace("/", "")):
            h = gn.sin(gn.tanh(h)).named(name)
    text = picture_of(h, title='t"\n---\n').mmd
    for line in text.splitlines()[3:]:
        quoted = re.findall(r'"([^"]*)"', line)
        assert line.count('"') == 2 * len(quoted)
        for label in quoted:
            plain = label.replace("<br/>", "")
            assert not set("<>`\\") & set(plain)
            assert not re.search(r"#(?!\d+;)", plain)
    assert text.splitlines()[1] == 'title: "t\\" --- "'


def test_a_model_as_text_is_a_tree() -> None:
    model = gn.nn.Sequential(gn.nn.Dense(2, 3), gn.nn.ReLU())
    assert picture_of(model, inputs=("batch", 2)).txt == (
        "Sequential: 9 parameters\n"
        "├─ x  f32[batch, 2]\n"
        "├─ layers.0  Dense(2, 3)  9 parameters  → (batch, 3)\n"
        "│  ├─ weight  f32[2, 3]\n"
        "│  ├─ matmul  f32[batch, 3]\n"
        "│  ├─ bias  f32[3]\n"
        "│  └─ add  f32[batch, 3]\n"
        "└─ relu  f32[batch, 3]  → result\n"
    )
