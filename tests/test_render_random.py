"""Random numbers in pictures: one box, whatever they are made of."""

from typing import Any

import graphnn as gn
from graphnn.viz import Picture, render
from graphnn.viz.scene import SceneNode


def boxes(thing: Any, **options: Any) -> dict[str, list[SceneNode]]:
    made = render(thing, **options)
    assert isinstance(made, Picture)
    found: dict[str, list[SceneNode]] = {}
    for node in made.scene.nodes:
        found.setdefault(node.label, []).append(node)
    return found


def test_a_dropout_is_a_product_with_one_random_box() -> None:
    x = gn.input("x", (4, 3))
    made = render(gn.nn.Dropout(0.1)(x))
    assert isinstance(made, Picture)
    assert [node.label for node in made.scene.nodes] == ["random", "x", "multiply"]
    assert {(edge.source, edge.target) for edge in made.scene.edges} == {(0, 2), (1, 2)}
    random = made.scene.nodes[0]
    assert random.detail == "f32[4, 3]"
    assert "operations in one box" in random.tooltip
    assert "bitwise_xor" in random.tooltip


def test_each_use_of_the_stream_has_a_box_that_reads_no_other() -> None:
    x = gn.input("x", (4, 3))
    drop = gn.nn.Dropout(0.1)
    made = render(drop(gn.tanh(drop(x))))
    assert isinstance(made, Picture)
    labels = [node.label for node in made.scene.nodes]
    assert sorted(labels) == ["multiply", "multiply", "random", "random", "tanh", "x"]
    assert not any(labels[edge.target] == "random" for edge in made.scene.edges)


def test_all_of_it_is_drawn_where_all_is_asked_for() -> None:
    x = gn.input("x", (4, 3))
    found = boxes(gn.nn.Dropout(0.1)(x), depth="all")
    assert "random" not in found
    assert {"rng_seed", "rng_counter", "random_bits"} <= set(found)


def test_results_and_what_has_a_name_keep_their_boxes() -> None:
    x = gn.input("x", (3,))
    noise = gn.random.normal(gn.random.key(0), (3,)).named("noise")
    assert {"random", "noise", "add"} <= set(boxes(x + noise))
    made = gn.random.uniform(gn.random.key(0), (3,))
    found = boxes([made])
    (result,) = (node for nodes in found.values() for node in nodes if node.is_output)
    assert result.label != "random"


def test_what_is_constant_and_not_random_is_left_alone() -> None:
    x = gn.input("x", (3,))
    ramp = gn.arange(3, dtype="float32") * gn.arange(3, dtype="float32") + 1.0
    assert "random" not in boxes(x * ramp)


def test_the_counter_that_a_graph_updates_is_still_drawn() -> None:
    x = gn.input("x", (4, 3))
    found = boxes([gn.nn.Dropout(0.1)(x), gn.random.RNG_COUNTER + 1])
    assert {"random", "rng_counter"} <= set(found)


def test_the_state_of_the_stream_is_no_parameter_of_a_layer() -> None:
    model = gn.nn.Sequential(gn.nn.Dense(4, 3), gn.nn.Dropout(0.1))
    made = render(model, inputs=(2, 4))
    assert isinstance(made, Picture)
    assert made.scene.title == "Sequential: 15 parameters"
    said = dict(made.scene.scopes)
    assert "parameter" in said["layers.0"]
    assert "parameter" not in said["layers.1"]
