"""Pictures of models and ordinary graphs: scopes, depth, repeats, derivatives, folding, Mermaid."""

import re
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphnn as gn
from graphnn.core.errors import ArgumentError, RenderError
from graphnn.viz import Picture, render
from graphnn.viz.clusters import Cluster, cluster_tree
from graphnn.viz.collapse import collapsed
from graphnn.viz.fold import folded
from graphnn.viz.graphviz_tool import find_graphviz
from graphnn.viz.layout import Box, Layout, Route
from graphnn.viz.nesting import hopeful_levels
from graphnn.viz.quotient import contracted, parts_in_order
from graphnn.viz.repeats import once_each
from graphnn.viz.scene import Frame, Overlay, Scene, SceneEdge, SceneNode, Strip
from graphnn.viz.things import as_drawable

needs_graphviz = pytest.mark.skipif(find_graphviz() is None, reason="no Graphviz here")


class Conv(gn.nn.Module):
    def __init__(self, channels: int, filters: int) -> None:
        self.kernel = gn.parameter(np.ones((filters, channels, 5, 5), np.float32))
        self.bias = gn.parameter(np.zeros(filters, np.float32))

    def forward(self, x: Any) -> gn.Node:
        return gn.conv(x, self.kernel, self.bias)


class LeNet(gn.nn.Module):
    def __init__(self) -> None:
        self.conv1, self.conv2 = Conv(1, 20), Conv(20, 50)
        self.dense1, self.dense2 = gn.nn.Dense(800, 500), gn.nn.Dense(500, 10)

    def forward(self, x: Any) -> gn.Node:
        x = gn.max_pool(gn.relu(self.conv1(x)), 2)
        x = gn.max_pool(gn.relu(self.conv2(x)), 2)
        return self.dense2(gn.relu(self.dense1(gn.flatten(x, 1))))


class Block(gn.nn.Module):
    def __init__(self, features: int, activation: Any = gn.tanh) -> None:
        self.up, self.down = gn.nn.Dense(features, 16), gn.nn.Dense(16, features)
        self.activation = activation

    def forward(self, x: Any) -> gn.Node:
        return x + self.down(self.activation(self.up(x)))


class Residual(gn.nn.Module):
    def __init__(self, *blocks: Block) -> None:
        self.stem, self.head = gn.nn.Dense(3, 8), gn.nn.Dense(8, 2)
        self.blocks = list(blocks)

    def forward(self, x: Any) -> gn.Node:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def residual(count: int) -> Residual:
    return Residual(*(Block(8) for _ in range(count)))


def with_gradient(model: gn.nn.Module, inputs: tuple[Any, ...]) -> gn.Graph:
    x = gn.input("x", inputs)
    loss = gn.sum(model(x)).named("loss")
    return gn.Graph((x,), (loss, *gn.grad(loss, model.parameters())))


def picture_of(thing: Any, **options: Any) -> Picture:
    made = render(thing, **options)
    assert isinstance(made, Picture)
    return made


def labels(scene: Scene) -> list[str]:
    return [node.label for node in scene.nodes]


def frames(cluster: Cluster) -> list[str]:
    return [cluster.title, *(title for each in cluster.inside for title in frames(each))]


def scene_of(count: int, edges: list[tuple[int, int]]) -> Scene:
    nodes = tuple(SceneNode(str(number), "", "operation", "forward") for number in range(count))
    return Scene("", nodes, tuple(SceneEdge(*edge, "data") for edge in edges))


def is_in_order(scene: Scene) -> bool:
    return all(edge.source < edge.target for edge in scene.edges)


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


def test_strides_that_are_not_usual_are_told() -> None:
    x = gn.input("x", (1, 1, 9, 9))
    kernel = gn.parameter(np.ones((2, 1, 3, 3), np.float32), name="k")
    shown = labels(picture_of(gn.max_pool(gn.conv(x, kernel, stride=2), 2, stride=1)).scene)
    assert "conv2d 3×3, stride 2" in shown
    assert "max_pool 2×2, stride 1" in shown


# ---------------------------------------------------------------------------------------- depth


def test_depth_0_has_one_box_for_each_layer() -> None:
    scene = picture_of(LeNet(), inputs=("batch", 1, 28, 28), depth=0).scene
    assert labels(scene) == [
        "x", "conv1", "relu", "max_pool 2×2", "conv2", "relu", "max_pool 2×2", "reshape",
        "dense1", "relu", "dense2",
    ]  # fmt: skip
    assert [(edge.source, edge.target) for edge in scene.edges] == [(i, i + 1) for i in range(10)]
    assert "25,050 parameters  → 50@8×8" in scene.nodes[4].detail
    assert scene.nodes[10].is_output


def test_a_layer_that_is_called_twice_has_two_boxes_and_its_weights_stand_apart() -> None:
    class Twice(gn.nn.Module):
        def __init__(self) -> None:
            self.inner = gn.nn.Dense(3, 3)

        def forward(self, x: Any) -> gn.Node:
            return self.inner(gn.tanh(self.inner(x)))

    scene = picture_of(Twice(), inputs=(2, 3), depth=0).scene
    assert is_in_order(scene)
    assert labels(scene).count("inner") == 2
    weights = [index for index, node in enumerate(scene.nodes) if node.kind == "parameter"]
    assert len(weights) == 2
    for weight in weights:
        assert sum(edge.source == weight for edge in scene.edges) == 2


def test_both_passes_of_a_scope_have_boxes_of_their_own() -> None:
    scene = picture_of(with_gradient(residual(1), ("batch", 3)), depth=0).scene
    forward = labels(scene).index("blocks.0")
    backward = labels(scene).index("blocks.0 backward")
    assert scene.nodes[backward].origin == forward
    assert scene.nodes[backward].is_output  # the gradients of its weights are asked for
    assert is_in_order(scene)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_one_box_for_many_never_makes_a_cycle(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 20))
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    drawn = data.draw(st.lists(pairs, max_size=40))
    scene = scene_of(count, sorted({(a, b) for a, b in drawn if a < b}))
    keys = data.draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    parts = parts_in_order(scene, keys)
    assert sorted(each for members in parts for each in members) == list(range(count))
    assert all(len({keys[each] for each in members}) == 1 for members in parts)
    smaller = contracted(scene, [(scene.nodes[members[0]], members) for members in parts])
    assert is_in_order(smaller)
    part = {each: number for number, members in enumerate(parts) for each in members}
    expected = {(part[e.source], part[e.target]) for e in scene.edges}
    assert {(e.source, e.target) for e in smaller.edges} == {(a, b) for a, b in expected if a != b}


def test_parts_without_cycles_are_whole() -> None:
    scene = scene_of(4, [(0, 1), (1, 2), (2, 3)])
    assert parts_in_order(scene, "aabb") == [[0, 1], [2, 3]]
    assert parts_in_order(scene, "abba") == [[0], [1, 2], [3]]


def test_curves_and_overlays_keep_the_largest_value_of_a_part() -> None:
    scene = scene_of(4, [(0, 1), (1, 2), (2, 3)])
    overlay = Overlay("norm", "", (Frame("", (1.0, 3.0, float("nan"), None)),), 0.0, 3.0)
    strip = Strip("memory", "B", (1.0, 2.0, None, None))
    whole = Scene("", scene.nodes, scene.edges, strip=strip, overlays=(overlay,))
    parts = [(scene.nodes[0], [0, 1]), (scene.nodes[2], [2, 3])]
    smaller = contracted(whole, parts)
    assert smaller.strip is not None
    assert smaller.strip.values == (2.0, None)
    first, second = smaller.overlays[0].frames[0].values
    assert first == 3.0
    assert second is not None
    assert np.isnan(second)


# -------------------------------------------------------------------------------------- repeats


def test_24_equal_blocks_are_one_with_a_badge() -> None:
    scene = picture_of(residual(24), inputs=("batch", 3)).scene
    (group,) = scene.groups
    assert (group.label, group.kind) == ("blocks.0 … blocks.23  × 24", "repeat")
    inside = [node for node in scene.nodes if node.group == 0]
    assert len(inside) == 10  # as many as one block has
    assert {node.scope.split("/")[0] for node in inside} == {"blocks.0"}
    titles = frames(cluster_tree(scene))
    assert "blocks.0 … blocks.23  × 24" in titles
    assert not any(title.startswith("blocks.0  ") for title in titles)  # one frame, not two
    head = labels(scene).index("weight", len(scene.nodes) - 5)
    assert scene.nodes[head].scope == "head"
    assert any(
        scene.nodes[edge.source].group == 0 and scene.nodes[edge.target].scope == "head"
        for edge in scene.edges
    )
    assert is_in_order(scene)
    assert "input" not in scene.title


def test_small_graphs_and_depth_all_show_every_block() -> None:
    assert not picture_of(residual(3), inputs=("batch", 3)).scene.groups
    every = picture_of(residual(24), inputs=("batch", 3), depth="all").scene
    assert not every.groups
    assert len(every.nodes) > 24 * 10


def test_what_differs_is_no_repeat() -> None:
    activations = [gn.tanh, gn.relu, gn.sin]
    mixed = Residual(*(Block(8, activations[number % 3]) for number in range(6)))
    (group,) = once_each(as_drawable(mixed, ("batch", 3)).scene("")).groups or (None,)
    assert group is None  # two times three blocks: too few
    nine = Residual(*(Block(8, activations[number % 3]) for number in range(9)))
    (group,) = once_each(as_drawable(nine, ("batch", 3)).scene("")).groups
    assert group is not None
    assert group.label.endswith("× 3")
    odd = Residual(*(Block(8, gn.exp if number == 4 else gn.tanh) for number in range(9)))
    found = [each.label for each in once_each(as_drawable(odd, ("batch", 3)).scene("")).groups]
    assert found == ["blocks.0 … blocks.3  × 4", "blocks.5 … blocks.8  × 4"]


def test_blocks_that_read_other_things_are_no_repeat() -> None:
    x = gn.input("x", (3,))
    h = [gn.tanh(x)]
    for number in range(8):
        with gn.name_scope(f"block.{number}"):
            # Each reads what is two blocks back, but one the block three back.
            back = 3 if number == 5 else 2
            h.append(gn.sin(gn.exp(h[-1]) + gn.cos(h[max(0, len(h) - back)])))
    scene = once_each(as_drawable(h[-1]).scene(""))
    assert not any("× 8" in group.label for group in scene.groups)
    assert is_in_order(scene)


def test_the_backward_pass_repeats_too() -> None:
    scene = picture_of(with_gradient(residual(24), ("batch", 3))).scene
    found = [group.label for group in scene.groups]
    assert found == ["blocks.0 … blocks.22  × 23", "blocks.22 … blocks.0 backward  × 23"]
    forward = {index for index, node in enumerate(scene.nodes) if node.group == 0}
    origins = {node.origin for node in scene.nodes if node.group == 1}
    assert origins <= forward | {None}
    assert origins & forward
    assert len(scene.nodes) < 100


def test_operations_without_scopes_repeat() -> None:
    h = gn.input("x", (4,))
    weight = gn.parameter(np.ones(4, np.float32), name="w")
    for _ in range(50):
        h = gn.tanh(h * weight) + h
    scene = picture_of(h).scene
    assert [group.label for group in scene.groups] == ["× 50"]
    assert labels(scene) == ["x", "w", "multiply", "tanh", "add"]


def test_time_steps_are_not_repeats() -> None:
    h = gn.input("h", (4,))
    for step in range(40):
        with gn.time_step(step):
            h = gn.tanh(gn.sin(h))
    assert len(picture_of(h, steps="all").scene.nodes) == 81


def test_repeats_after_collapsing_name_the_first_and_the_last() -> None:
    scene = picture_of(residual(24), inputs=("batch", 3), depth=0).scene
    assert labels(scene) == ["x", "stem", "blocks.0", "head"]
    assert [group.label for group in scene.groups] == ["blocks.0 … blocks.23  × 24"]


# ---------------------------------------------------------------------------------- derivatives


def derivatives(y: gn.Node) -> tuple[Scene, dict[tuple[str, str], str]]:
    scene = picture_of(y, derivatives=True).scene
    named = [node.label.split(" = ")[0] for node in scene.nodes]
    return scene, {(named[e.source], named[e.target]): e.label for e in scene.edges}


def test_the_chain_rule_can_be_read() -> None:
    x = gn.input("x")
    scene, edges = derivatives(gn.exp(gn.sin(x)).named("y"))
    assert labels(scene) == ["x", "v1 = sin(x)", "y = exp(v1)"]
    assert edges == {("x", "v1"): "cos(x)", ("v1", "y"): "exp(v1)"}
    assert scene.nodes[0].detail == "∂y/∂x = exp(v1) · cos(x)"


X, U = gn.input("x"), gn.input("u")


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (gn.sigmoid(X), "y · (1 − y)"),
        (gn.tanh(X), "1 − y²"),
        (gn.relu(X), "[x > 0]"),
        (X * U, "u"),
        (X - 3, "1"),
        (U - X, "-1"),
        (X**3, "3 · x²"),
        (X * X, "x + x"),
        (gn.log(X), "1 / x"),
        (X / U, "1 / u"),
        (gn.square(X), "2 · x"),
        (gn.greater(X, 0), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_local_derivatives(y: gn.Node, expected: str) -> None:
    _, edges = derivatives(y.named("y"))
    assert edges["x", "y"] == expected


def test_several_ways_to_the_result_are_a_sum() -> None:
    x = gn.input("x")
    scene, _ = derivatives((gn.sin(x) * gn.cos(x)).named("y"))
    shown = scene.nodes[0].detail
    assert shown in (
        "∂y/∂x = v1 · (−sin(x)) + v2 · cos(x)",
        "∂y/∂x = v2 · cos(x) + v1 · (−sin(x))",
    )


def test_products_of_matrices_show_what_becomes_of_the_arriving_gradient() -> None:
    x, W = gn.input("x", (4, 3)), gn.parameter(np.ones((3, 2), np.float32), name="W")
    scene, edges = derivatives(gn.sum(x @ W).named("loss"))
    assert edges["x", "v1"] == "δ @ Wᵀ"
    assert edges["W", "v1"] == "xᵀ @ δ"
    assert edges["v1", "loss"] == "1"
    assert "v1 = x @ W" in labels(scene)


def test_other_products_of_arrays_are_told_as_products_too() -> None:
    x, y = gn.input("x", (3,)), gn.input("y", (4,))
    A, B = gn.input("A", (2, 3, 4)), gn.input("B", (4, 5))
    W = gn.input("W", (3, 4))
    scene, edges = derivatives((W @ y).named("v"))
    assert (edges["W", "v"], edges["y", "v"]) == ("δ @ yᵀ", "Wᵀ @ δ")
    assert scene.title.endswith("(δ: the gradient that arrives)")
    assert labels(derivatives(gn.einsum("i,j->ij", x, y).named("v"))[0])[-1] == "v = x @ yᵀ"
    assert derivatives((A @ B).named("v"))[1]["B", "v"] == "Σ Aᵀ @ δ"
    product = gn.dot_general(A, gn.input("C", (4, 3, 6)), contract=((1,), (1,)))
    assert labels(derivatives(product.named("v"))[0])[-1] == "v = einsum(abc,dbe→acde; A, C)"


def test_factors_have_parentheses_where_a_reader_needs_them() -> None:
    a, b, c = (gn.input(name) for name in "abc")
    scene, _ = derivatives(gn.exp(gn.sin(a + b) / (b - c)).named("y"))
    told = {node.label.split(" = ")[0]: node.detail for node in scene.nodes}
    assert told["c"] == "∂y/∂c = exp(v4) · (−v4 / v3) · (-1)"
    assert told["a"] == "∂y/∂a = exp(v4) · (1 / v3) · cos(v1)"


def test_what_is_read_by_many_elements_adds_up_their_derivatives() -> None:
    x, b = gn.input("x", (5, 3)), gn.input("b", (3,))
    scene, _ = derivatives(gn.sum(gn.tanh(x + b)).named("y"))
    details = {node.label.split(" = ")[0]: node.detail for node in scene.nodes}
    assert details["x"].startswith("∂y/∂x = 1 − v2²")
    assert details["b"].startswith("∂y/∂b = Σ(1 − v2²)")


def test_local_derivatives_agree_with_gradients() -> None:
    x = gn.input("x", dtype="float64")
    y = gn.exp(gn.sin(x) * gn.tanh(x)).named("y")
    scene, _ = derivatives(y)
    names = {"sin": np.sin, "cos": np.cos, "exp": np.exp, "tanh": np.tanh, "x": 0.7}
    for node in scene.nodes:
        if " = " in node.label:
            name, text = node.label.split(" = ")
            names[name] = eval(text.replace("·", "*"), {}, names)
    text = scene.nodes[0].detail.split(" = ")[1]
    for before, after in (("·", "*"), ("−", "-"), ("²", "**2")):
        text = text.replace(before, after)
    expected = gn.compile(x, gn.grad(y, x))(np.float64(0.7))
    assert np.isclose(eval(text, {}, names), expected)


def test_derivatives_are_for_small_expressions() -> None:
    h = gn.input("x")
    for _ in range(80):
        h = gn.sin(h)
    with pytest.raises(RenderError, match="up to 60 boxes, this one has 81"):
        render(h, derivatives=True)


def test_long_formulas_are_shortened_and_long_products_left_out() -> None:
    x = gn.input("an input with quite a long name indeed")
    h = x
    for _ in range(12):
        h = gn.sin(h)
    scene = picture_of(h, derivatives=True).scene
    assert max(map(len, labels(scene))) <= 60
    assert max(len(node.detail) for node in scene.nodes) <= 80


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


def test_scopes_within_scopes_collapse_where_they_are_asked_to() -> None:
    scene = as_drawable(residual(1), ("batch", 3)).scene("")
    assert "blocks.0" in labels(collapsed(scene, 0))
    inner = labels(collapsed(scene, 1))
    assert {"up", "down"} <= set(inner)
    assert labels(collapsed(scene, 9)) == labels(scene)


@pytest.mark.parametrize("with_gradient", [False, True])
def test_deeply_nested_scopes_take_no_pass_for_each(with_gradient: bool) -> None:
    x = h = gn.input("x", (2, 3))
    weights = []
    with ExitStack() as stack:
        for level in range(60):
            stack.enter_context(gn.name_scope(f"s{level}"))
            weights.append(gn.parameter(np.ones((3, 3), np.float32)))
            h = gn.tanh(h @ weights[-1])
    graph = gn.Graph((x,), (h, *gn.grad(gn.sum(h), weights)) if with_gradient else (h,))
    scene = as_drawable(graph).scene("")
    assert hopeful_levels(scene) == []
    assert once_each(scene) == scene
    assert dict(scene.scopes)["s0/s1"] == f"{59 * 9} parameters  → (2, 3)"


def test_levels_with_blocks_are_looked_at() -> None:
    h = gn.input("x", (3,))
    with gn.name_scope("outer"):
        for number in range(5):
            with gn.name_scope(f"block{number}"):
                h = gn.exp(gn.tanh(h))
    scene = as_drawable(h).scene("")
    assert hopeful_levels(scene) == [1]
    assert [group.label for group in once_each(scene).groups] == ["block0 … block4  × 5"]


# ------------------------------------------------------------------------ recurrent nets as boxes


def test_layers_of_a_recurrent_net_are_boxes_in_one_row_that_say_what_they_hand_on() -> None:
    class Net(gn.nn.Module):
        def __init__(self) -> None:
            self.rnn = gn.nn.LSTM(3, 4, num_layers=2)

        def forward(self, x: Any) -> gn.Node:
            return self.rnn(x)

    picture = picture_of(with_gradient(Net(), (3, 2, 3)), depth=0)
    scene, boxes = picture.scene, picture.layout.boxes
    for layer in ("rnn.layers.0", "rnn.layers.1"):
        for label in (layer, f"{layer} backward"):
            heights = {
                boxes[index].center[1]
                for index, node in enumerate(scene.nodes)
                if node.label == label
            }
            assert labels(scene).count(label) == 3
            assert len(heights) == 1  # what is carried runs straight
    (first, *_) = (node for node in scene.nodes if node.label == "rnn.layers.0")
    assert first.detail == "→ c, h  f32[2, 4]"
    (total,) = (node for node in scene.nodes if node.label == "∂rnn")
    assert total.detail == "6 gradients"


def test_cells_of_two_sequences_stand_above_each_other_when_rolled() -> None:
    source, target = (gn.input(name, (2, n), "int64") for name, n in (("source", 3), ("target", 4)))
    encoder, decoder = gn.nn.Encoder(5, 3, 4), gn.nn.Decoder(5, 3, 4)
    scene = picture_of(gn.nn.EncoderDecoder(encoder, decoder)(source, target), steps="rolled").scene
    assert len(scene.steps) == 1
    assert [label for _, label in scene.step_labels] == ["t"]
    assert len({node.lane for node in scene.nodes if node.step is not None}) == 2
    assert {edge.lag for edge in scene.edges} == {0, 1}
    assert not any("[4]" in label for label in labels(scene))
