"""Pictures of an encoder with its decoder, of attention, and of losses of every step."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import pytest
from layouts import nothing_overlaps

import graphnn as gn
from graphnn.viz.layout import Band, Box
from graphnn.viz.picture import Picture
from graphnn.viz.steps import Steps

SOURCE, TARGET = 6, 7
ENCODER, DECODER = "encoder/net/layers.0/cell", "decoder/cells.0"
ATTENTION = f"{DECODER}: attention, combine, output"


@cache
def translation(*, bridge: bool) -> gn.Graph:
    """Attention of seven steps to six others, a loss, and its gradient."""
    gn.seed(0)
    source, target, labels = (
        gn.input(name, shape=(3, steps), dtype="int64")
        for name, steps in [("source", SOURCE), ("target", TARGET), ("labels", TARGET)]
    )
    encoder = gn.nn.Encoder(5, 3, 8, net=gn.nn.SimpleRNN)
    attention = gn.nn.DotAttention(8)
    decoder = gn.nn.Decoder(5, 3, 8, net=gn.nn.SimpleRNN, attention=attention)
    model = gn.nn.EncoderDecoder(encoder, decoder, bridge=bridge)
    loss = gn.losses.cross_entropy(model(source, target), labels).named("loss")
    gradients = gn.grad(loss, model.parameters())
    return gn.Graph((source, target, labels), (loss, *gradients))


@cache
def translated(steps: Steps, *, bridge: bool = True) -> Picture:
    picture = gn.render(translation(bridge=bridge), steps=steps)
    assert isinstance(picture, Picture)
    return picture


def written_loop(*, has_losses: bool, steps: int = 4) -> Picture:
    """A loop in Python that adds up what it gets wrong at every step, or is wrong at the last."""
    shapes = {"Wx": (3, 4), "Wh": (4, 4), "b": (4,), "Wy": (4, 2)}
    weights = {name: gn.parameter(np.zeros(s, np.float32), name=name) for name, s in shapes.items()}
    h = gn.input("h[0]", shape=(2, 4))
    losses = []
    for t in range(steps):
        with gn.time_step(t):
            x = gn.input(f"x[{t}]", shape=(2, 3))
            h = gn.tanh(x @ weights["Wx"] + h @ weights["Wh"] + weights["b"]).named(f"h[{t}]")
            if has_losses or t == steps - 1:
                wrong = h @ weights["Wy"] - gn.input(f"y[{t}]", shape=(2, 2))
                each = gn.mean(gn.square(wrong)).named(f"loss[{t}]")
                losses = [losses[0] + each] if losses else [each]
    (loss,) = losses
    picture = gn.render([loss, *gn.grad(loss, list(weights.values()))], steps="all")
    assert isinstance(picture, Picture)
    return picture


def lanes(picture: Picture) -> dict[str, Box]:
    """By name and direction."""
    bands = (band for band in picture.layout.bands if band.tone != "step")
    return {band.label.strip("← →"): band.box for band in bands}


def frames(picture: Picture) -> list[Band]:
    return [band for band in picture.layout.bands if band.tone == "step"]


def boxes(picture: Picture, label: str) -> list[Box]:
    pairs = zip(picture.scene.nodes, picture.layout.boxes, strict=True)
    return [box for node, box in pairs if node.label == label]


def are_within(found: Iterable[Box], lane: Box) -> bool:
    return all(lane.y < box.y and box.y + box.height < lane.y + lane.height for box in found)


@pytest.mark.parametrize("steps", ["rolled", 1])
@pytest.mark.parametrize("bridge", [True, False])
def test_nothing_overlaps(steps: Steps, bridge: bool) -> None:
    picture = translated(steps, bridge=bridge)
    nothing_overlaps(picture.scene, picture.layout)


@pytest.mark.parametrize("bridge", [True, False])
def test_the_encoder_is_above_its_decoder_and_both_are_mirrored(bridge: bool) -> None:
    found = list(lanes(translated("rolled", bridge=bridge)))
    there = [ENCODER, DECODER, ATTENTION]
    back = [f"{name}  backward" for name in reversed(there)]
    assert found == [*(f"{name}  forward" for name in there), *back]


def test_sequences_share_columns() -> None:
    labels = {steps: [band.label for band in frames(translated(steps))] for steps in ("all", 1)}
    assert labels["all"] == [f"t = {t}" for t in range(TARGET)]
    assert labels[1] == ["t = 0", "t = 5 · t = 6"]
    assert [band.label for band in frames(translated("rolled"))] == ["t"]
    last = boxes(translated("all"), "h[5]")
    assert frames(translated("all"))[5].box.x < last[0].x < frames(translated("all"))[6].box.x


def test_zooms_have_cells_of_one_width() -> None:
    zooms: list[Steps] = ["rolled", 1, 2, "all"]
    widths = {round(band.box.width, 3) for steps in zooms for band in frames(translated(steps))}
    assert len(widths) == 1


def test_attention_reads_all_states_as_one_box() -> None:
    for steps in ("rolled", 1, "all"):
        picture = translated(steps)
        (states,) = [node for node in picture.scene.nodes if node.label == "all h"]
        assert states.detail == "stack  f32[6, 3, 8]"
        index = picture.scene.nodes.index(states)
        pairs = zip(picture.scene.edges, picture.layout.routes, strict=True)
        read = [
            (edge, route)
            for edge, route in pairs
            if edge.source == index and picture.scene.nodes[edge.target].kind != "elision"
        ]
        data = [route for edge, route in read if edge.kind == "data"]
        levels = {route.points[2][1] for route in data if len(route.points) == 6}
        assert len(data) >= 2
        assert len(levels) == 1, "one line leads along all steps"
        assert [edge.label for edge, _ in read if edge.label] == ["576 B"]


def test_attention_has_a_lane_with_the_words_of_its_papers() -> None:
    picture = translated(1)
    lane = lanes(picture)[f"{ATTENTION}  forward"]
    for word in ("scores", "weights", "context"):
        found = [*boxes(picture, f"{word}[0]"), *boxes(picture, f"{word}[6]")]
        assert len(found) == 2
        assert are_within(found, lane)


def test_a_loss_of_every_step_does_not_make_cells_longer() -> None:
    with_losses, without = (written_loop(has_losses=each) for each in (True, False))
    there, back = ["forward", "output  forward"], ["output  backward", "backward"]
    assert list(lanes(with_losses)) == [*there, *back]
    (wide,), (narrow,) = (
        {round(band.box.width, 3) for band in frames(each)} for each in (with_losses, without)
    )
    assert wide < 1.25 * narrow
    lane = lanes(with_losses)["output  forward"]
    assert are_within(boxes(with_losses, "loss[2]") + boxes(with_losses, "y[2]"), lane)
    nothing_overlaps(with_losses.scene, with_losses.layout)


def test_two_operations_stand_beside_their_cell() -> None:
    x = gn.input("x", shape=(4, 2, 3))
    net, head = gn.nn.SimpleRNN(3, 4, return_sequences=True), gn.nn.Dense(4, 2)
    picture = gn.render(head(net(x)), steps="all")
    assert isinstance(picture, Picture)
    assert list(lanes(picture)) == ["forward"]


def test_gradients_of_all_steps_stand_at_the_left() -> None:
    x, y = gn.input("x", shape=(4, 7, 3)), gn.input("y", shape=(4, 7), dtype="int64")
    net, head = gn.nn.LSTM(3, 5, return_sequences=True), gn.nn.Dense(5, 2)
    loss = gn.losses.cross_entropy(head(net(x)), y)
    weights = [*net.parameters(), *head.parameters()]
    picture = gn.render([loss, *gn.grad(loss, weights)], steps="all")
    assert isinstance(picture, Picture)
    left = frames(picture)[0].box.x
    pairs = zip(picture.scene.nodes, picture.layout.boxes, strict=True)
    sums = [(node.label, box) for node, box in pairs if node.is_output and node.role == "backward"]
    assert len(sums) == len(weights)
    for label, box in sums:
        assert label.startswith("∂")
        assert box.x + box.width < left
