"""A backward pass beside its forward pass: what holds for every scene, and for nets one knows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import nothing_overlaps

import graphnn as gn
from graphnn.viz import Picture, render
from graphnn.viz.mirror import has_mirror, rows_of
from graphnn.viz.mirrored import mirrored_layout
from graphnn.viz.scene import Scene, SceneEdge, SceneNode

WORDS = ("add", "matmul", "broadcast_to", "• ^ 2")
KINDS = ("input", "parameter", "constant")


@st.composite
def passes(draw: st.DrawFn) -> Scene:
    """Any forward pass, and for every operation some boxes that read what they like."""
    count = draw(st.integers(1, 8))
    nodes: list[SceneNode] = []
    edges: dict[tuple[int, int], SceneEdge] = {}

    def read(sources: list[int], most: int) -> None:
        for source in draw(st.lists(st.sampled_from(sources), max_size=most)) if sources else ():
            roles = nodes[source].role, nodes[-1].role
            kind = {"forward": "data", "backward": "gradient"}[roles[0]]
            kind = "saved" if roles[0] != roles[1] else kind
            kind = "weight" if nodes[source].kind == "parameter" else kind
            label = "1.25 KiB" if kind == "saved" else ""
            edges[source, len(nodes) - 1] = SceneEdge(source, len(nodes) - 1, kind, label)

    for number in range(count):
        is_leaf = draw(st.booleans())
        kind = draw(st.sampled_from(KINDS)) if is_leaf else "operation"
        scope = draw(st.sampled_from(["", "a", "a/b", "c"]))
        label = "weight" if kind == "parameter" else draw(st.sampled_from(WORDS))
        nodes.append(SceneNode(label, f"f32[{number}]", kind, "forward", scope))
        if not is_leaf:
            read(list(range(number)), 3)
    for origin in reversed(range(count)):
        for _ in range(draw(st.integers(0, 3))):
            scope, label = nodes[origin].scope, draw(st.sampled_from(WORDS))
            detail = f"f32[{len(nodes)}]"
            nodes.append(SceneNode(label, detail, "operation", "backward", scope, origin=origin))
            read(list(range(len(nodes) - 1)), 3)
    return Scene("", tuple(nodes), tuple(edges.values()))


def picture_of(thing: Any, **options: Any) -> Picture:
    made = render(thing, **options)
    assert isinstance(made, Picture)
    return made


def with_gradient(model: gn.nn.Module, *shape: int) -> gn.Graph:
    x = gn.input("x", shape)
    loss = gn.mean(model(x) ** 2).named("loss")
    return gn.Graph((x,), (loss, *gn.grad(loss, model.parameters())))


@given(passes())
@settings(max_examples=40, deadline=None)
def test_nothing_overlaps(scene: Scene) -> None:
    nothing_overlaps(scene, mirrored_layout(scene))


@given(passes())
@settings(max_examples=30, deadline=None)
def test_every_box_has_one_place_in_the_row_of_its_operation(scene: Scene) -> None:
    placed: list[int] = []
    for row in rows_of(scene):
        boxes = [row.forward, row.backward, *row.side, *row.local, *row.branch]
        here = [each for each in boxes if each is not None]
        assert here
        placed += here
        assert row.side == [] or scene.nodes[row.side[0]].role == "forward"
    assert sorted(placed) == list(range(len(scene.nodes)))


def test_layers_have_their_gradients_beside_them() -> None:
    model = gn.nn.Sequential(gn.nn.Dense(4, 3), gn.nn.Tanh(), gn.nn.Dense(3, 2))
    picture = picture_of(with_gradient(model, 5, 4))
    scene, layout = picture.scene, picture.layout
    assert has_mirror(scene)
    assert [band.label for band in layout.bands] == [
        "forward ↓", "backward ↑",
        "layers.0  15 parameters  → (5, 3)", "layers.2  8 parameters  → (5, 2)",
    ]  # fmt: skip
    forward, backward = (band.box for band in layout.bands[:2])
    assert forward.x + forward.width == backward.x
    for node, box in zip(scene.nodes, layout.boxes, strict=True):
        lane = forward if node.role == "forward" else backward
        assert lane.x < box.x < box.x + box.width < lane.x + lane.width
    for name in ("layers.0", "layers.2"):
        (frame,) = (band.box for band in layout.bands if band.label.startswith(name))
        inside = {
            node.scope
            for node, box in zip(scene.nodes, layout.boxes, strict=True)
            if frame.y < box.center[1] < frame.y + frame.height
        }
        assert inside == {name}
    nothing_overlaps(scene, layout)


def test_derivatives_of_what_is_made_of_simpler_operations_belong_to_itself() -> None:
    model = gn.nn.Sequential(gn.nn.Dense(4, 3), gn.nn.LayerNorm(3), gn.nn.BatchNorm(3))
    scene = picture_of(with_gradient(model, 5, 4)).scene
    assert has_mirror(scene)
    for scope, word in (("layers.1", "layer_norm"), ("layers.2", "batch_norm_train")):
        derived = [node for node in scene.nodes if node.role == "backward" and node.scope == scope]
        origins = {scene.nodes[node.origin].label for node in derived if node.origin is not None}
        assert len(derived) > 10
        assert all(node.origin is not None for node in derived)
        assert word in origins <= {word, "project"}


def test_lines_touch_a_circle_where_many_arrive_beside_a_straight_one() -> None:
    origins = (None, None, None, None, 3, 3, 3, 2, 2, 0)
    nodes = [
        SceneNode("add", f"f32[{index}]", "operation", role, origin=origin)
        for index, origin in enumerate(origins)
        for role in ["forward" if origin is None else "backward"]
    ]
    pairs = ((4, 8), (5, 8), (7, 8), (7, 9))
    scene = Scene("", tuple(nodes), tuple(SceneEdge(*pair, "gradient") for pair in pairs))
    layout = mirrored_layout(scene)
    for edge, route in zip(scene.edges, layout.routes, strict=True):
        box, (x, y) = layout.boxes[edge.target], route.points[-1]
        assert box.width == box.height
        away = math.dist((x, y), box.center)  # refuses complex numbers
        assert abs(away - box.width / 2) < 1e-6


def test_values_go_down_and_gradients_up() -> None:
    model = gn.nn.Sequential(gn.nn.Dense(4, 3), gn.nn.Sigmoid(), gn.nn.Dense(3, 2))
    picture = picture_of(with_gradient(model, 5, 4))
    for edge in picture.scene.edges:
        before, after = (picture.layout.boxes[each] for each in (edge.source, edge.target))
        down = after.center[1] - before.center[1]
        assert down >= 0 or edge.kind != "data"
        assert down <= 0 or edge.kind != "gradient"


def test_what_is_saved_says_its_bytes_beside_its_operation() -> None:
    x = gn.input("x", (5, 4))
    loss = gn.sum(gn.tanh(x)).named("loss")
    picture = picture_of(gn.Graph((x,), (loss, gn.grad(loss, x))))
    (saved,) = (i for i, edge in enumerate(picture.scene.edges) if edge.kind == "saved")
    assert picture.scene.edges[saved].label == "80 B"
    route, box = picture.layout.routes[saved], picture.layout.boxes[1]
    assert route.label_at is not None
    assert route.label_at[1] == box.center[1]
    assert len(route.points) == 2  # straight across


def test_weights_that_the_backward_pass_reads_are_badges() -> None:
    model = gn.nn.Sequential(gn.nn.Dense(4, 3), gn.nn.Dense(3, 2))
    layout = picture_of(with_gradient(model, 5, 4)).layout
    assert [ghost.text for ghost in layout.ghosts] == ["weight"]


class Block(gn.nn.Module):
    def __init__(self) -> None:
        self.up, self.down = gn.nn.Dense(4, 8), gn.nn.Dense(8, 4)

    def forward(self, x: Any) -> gn.Node:
        return gn.tanh(x + self.down(gn.tanh(self.up(x))))


class Stage(gn.nn.Module):
    def __init__(self) -> None:
        self.first, self.second = Block(), Block()
        self.scale = gn.parameter(np.ones(4, np.float32))

    def forward(self, x: Any) -> gn.Node:
        return self.second(self.first(x) * self.scale)


def test_blocks_that_are_drawn_once_have_their_gradient_in_their_frame() -> None:
    model = gn.nn.Sequential(*(Block() for _ in range(5)))
    picture = picture_of(with_gradient(model, 3, 4))
    labels = [group.label for group in picture.scene.groups]
    assert labels == ["layers.1 … layers.3  × 3", "layers.3 … layers.1 backward  × 3"]
    for node in picture.scene.nodes:
        if node.group == 1:
            assert node.origin is not None
            assert picture.scene.nodes[node.origin].group == 0
    nothing_overlaps(picture.scene, picture.layout)


def test_a_picture_of_many_screens_has_boxes_for_scopes_and_says_so() -> None:
    model = gn.nn.Sequential(Stage(), gn.nn.Dense(4, 4), Stage(), gn.nn.ReLU(), Stage())
    graph = with_gradient(model, 3, 4)
    whole, scene = picture_of(graph, depth="all").scene, picture_of(graph).scene
    assert len(whole.nodes) > 150 >= len(scene.nodes)
    assert scene.title == f'{whole.title}, depth=2: depth=3 or depth="all" shows more'
    assert "depth" not in picture_of(graph, depth=1).scene.title


def test_boxes_for_scopes_say_how_much_is_saved_of_them() -> None:
    graph = with_gradient(gn.nn.Sequential(Block(), Block()), 3, 4)
    scene = picture_of(graph, depth=0).scene
    labels = [node.label for node in scene.nodes]
    (told,) = (
        edge.label
        for edge in scene.edges
        if edge.kind == "saved"
        and (labels[edge.source], labels[edge.target]) == ("layers.0", "layers.0 backward")
    )
    assert told == f"{4 * (3 * 8 + 3 * 4)} B"  # both results of tanh


def test_what_is_no_gradient_of_a_net_is_left_to_graphviz() -> None:
    x = gn.input("x", (3,))
    y = gn.sum(gn.sin(x) * x)
    (g,) = gn.grad(y, [x])
    scene = picture_of(g).scene
    assert has_mirror(scene)
    back = tuple(SceneEdge(edge.target, edge.source, edge.kind) for edge in scene.edges)
    assert not has_mirror(Scene("", scene.nodes, back))  # as where a pass of the compiler left off
    assert not has_mirror(picture_of(y).scene)
    assert not has_mirror(picture_of(gn.grad(gn.sum(g), [x])).scene)
