"""Pictures of models that show less: one box for many, and one block for all that are like it."""

from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from drawn_models import (
    Block,
    LeNet,
    Residual,
    frames,
    is_in_order,
    labels,
    picture_of,
    residual,
    scene_of,
    with_gradient,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import graphnn as gn
from graphnn.viz.clusters import cluster_tree
from graphnn.viz.collapse import collapsed
from graphnn.viz.nesting import hopeful_levels
from graphnn.viz.quotient import contracted, parts_in_order
from graphnn.viz.repeats import once_each
from graphnn.viz.scene import Frame, Overlay, Scene, Strip
from graphnn.viz.things import as_drawable

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
