"""Overlays in pictures: colours, scales, costs of programs, recordings, two runs in one picture."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, RenderError
from graphnn.viz.heat import NOT_FINITE, NOTHING, Scale, heat_color, ink_on, value_text
from graphnn.viz.painting import overlaid
from graphnn.viz.picture import Picture
from graphnn.viz.scene import Frame, Overlay


def light(color: str) -> float:
    """Relative luminance of ``#rrggbb``, as the guidelines for accessible pages define it."""
    parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


def picture_of(thing: Any, **options: Any) -> Picture:
    made = gn.render(thing, **options)
    assert isinstance(made, Picture)
    return made


def chain() -> gn.Node:
    x = gn.input("x", shape=(3,))
    return gn.tanh(gn.exp(x))


def colored(values: tuple[float | None, ...] = (1.0, None, 100.0), **options: Any) -> Picture:
    """A picture of three boxes with these numbers."""
    low, high = options.pop("low", 1.0), options.pop("high", 100.0)
    overlay = Overlay("norm of <it>", "µs", (Frame("", values),), low, high, **options)
    return picture_of(chain(), overlay=overlay)


# --------------------------------------------------------------------------------------- colours


def test_colours_grow_lighter_evenly() -> None:
    lights = [light(heat_color(part)) for part in np.linspace(0, 1, 101)]
    assert all(before < after for before, after in pairwise(lights))
    perceived = [116 * each ** (1 / 3) - 16 for each in lights if each > 0.0089]
    steps = np.diff(perceived)
    assert steps.max() < 2.5 * steps.mean()


def test_text_is_legible_on_every_colour() -> None:
    fills = [heat_color(part) for part in np.linspace(0, 1, 201)] + [NOT_FINITE, NOTHING]
    assert min(contrast(fill, ink_on(fill)) for fill in fills) >= 4.5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (12.0, "12"),
        (0.012345, "0.0123"),
        (1234.5, "1234"),
        (4.14e-9, "4.1e−9"),
        (-5.6e7, "−5.6e7"),
        (float("nan"), "NaN"),
        (float("-inf"), "−∞"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert value_text(value) == text
    assert value_text(37.0, "%") == "37 %"


@pytest.mark.parametrize("is_log", [False, True])
def test_scales_begin_and_end_with_the_ends(is_log: bool) -> None:
    scale = Scale(1e-6, 1e2, is_log)
    assert [scale.part(value) for value in (0.0, 1e-9, 1e-6, 1e2, 1e5)] == [0, 0, 0, 1, 1]
    for part in (0.1, 0.5, 0.9):
        assert scale.part(scale.at(part)) == pytest.approx(part)
    assert scale.at(0.5) == pytest.approx(1e-2 if is_log else 50.0, rel=1e-6)
    assert Scale(3.0, 3.0, is_log).part(3.0) == 0.5


def test_the_scale_is_that_of_the_numbers_shown_or_the_one_given() -> None:
    x = gn.input("x", shape=(3,))
    y = gn.exp(x)
    (norms,) = gn.viz.measure(y, [np.zeros(3, "float32")], "value norm")
    overlay = norms.on(picture_of(y).scene)
    assert overlay.frames[0].values == (0.0, pytest.approx(3**0.5))
    assert (overlay.low, overlay.high) == pytest.approx((3**0.5, 3**0.5))  # of 0 is no logarithm
    given = norms.scaled(low=0.01, high=10.0).on(picture_of(y).scene)
    assert (given.low, given.high, given.is_log) == (0.01, 10.0, True)
    assert not norms.scaled(is_log=False).on(picture_of(y).scene).is_log


def test_all_pictures_of_a_measurement_have_one_scale() -> None:
    x, net = gn.input("x", (9, 2, 3)), gn.nn.SimpleRNN(3, 4, rng=np.random.default_rng(0))
    loss = gn.mean(net(x) ** 2)
    graph = gn.Graph((x,), (loss, *gn.grad(loss, net.parameters())))
    batch = np.random.default_rng(0).normal(size=(9, 2, 3)).astype(np.float32)
    (norms,) = gn.viz.measure(graph, [batch], "gradient norm")
    scales = set()
    for steps in ("rolled", 1, "all"):
        (overlay,) = picture_of(graph, overlay=norms, steps=steps).scene.overlays
        scales.add((overlay.low, overlay.high))
        shown = [each for each in overlay.frames[0].values if each]
        assert overlay.low <= min(shown) <= max(shown) <= overlay.high
    assert len(scales) == 1


# --------------------------------------------------------------------------------------- formats


def test_boxes_have_the_colours_of_their_numbers_in_every_format() -> None:
    picture = colored()
    fills = [heat_color(0.0), NOTHING, heat_color(1.0)]
    in_svg = re.compile(r'<g id="n\d+".*?<rect[^>]*style="fill:(#\w+)"', re.DOTALL)
    in_dot = re.compile(r'^\s*n\d+ \[.*?fillcolor="(#\w+)"', re.DOTALL | re.MULTILINE)
    on_grid = picture_of(chain(), layout="grid", overlay=picture.scene.overlays)
    for text, pattern in ((picture.svg, in_svg), (picture.dot, in_dot), (on_grid.dot, in_dot)):
        assert pattern.findall(text)[:3] == fills
    assert picture.png.startswith(b"\x89PNG")
    assert picture.pdf.startswith(b"%PDF")


def test_the_scale_is_explained() -> None:
    svg = colored((1.0, float("nan"), 100.0), is_log=True).svg
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    for expected in ("norm of &lt;it&gt; [µs]", "1 µs", "10 µs", "100 µs", "NaN or infinite"):
        assert expected in words
    assert "logarithmic scale" in words
    assert "no number" not in words
    assert "no number" in colored().svg
    assert NOT_FINITE in svg
    assert "NaN" in words  # on the box itself


def test_a_picture_without_an_overlay_is_as_before() -> None:
    picture = picture_of(chain())
    assert overlaid(picture.drawing, picture.scene) is picture.drawing
    assert not any(mark.fill or mark.ink for mark in picture.drawing.marks)


def test_numbers_replace_shapes_and_tooltips_keep_both() -> None:
    marks = colored((1.0, None, float("inf"))).drawing.marks
    assert [mark.detail for mark in marks[:3]] == ["1", "f32[3]", "∞"]
    assert "norm of <it> [µs]: 1" in marks[0].tooltip
    assert "f32[3]" in marks[0].tooltip or "float32" in marks[0].tooltip


def test_files_with_overlays_are_reproducible(tmp_path: Path) -> None:
    for ending in ("svg", "dot", "pdf", "json"):
        written = [colored().save(tmp_path / f"{n}.{ending}").read_bytes() for n in range(2)]
        assert written[0] == written[1]


# ----------------------------------------------------------------------------------------- costs


def test_costs_are_those_of_the_profile() -> None:
    x, w = gn.input("x", shape=(64, 32)), gn.parameter(np.ones((32, 16), "float32"), name="w")
    program = gn.compile(x, gn.softmax(x @ w))
    time, nbytes, flops, limit = gn.viz.costs(program, np.ones((64, 32), "float32"), repeat=3)
    scene = picture_of(program, overlay=flops).scene
    shown = [value for value in scene.overlays[0].frames[0].values if value is not None]
    assert sum(set(shown)) <= program.flops <= sum(shown)
    numbers = range(len(program.instructions))
    moved = [float(nbytes.moments[0].values[(number,)]) for number in numbers]
    assert moved == [each.nbytes for each in program.instructions]
    assert all(time.moments[0].values[(number,)] > 0 for number in numbers)
    assert (limit.unit, limit.high) == ("%", 100)
    weight = next(i for i, node in enumerate(scene.nodes) if node.kind == "parameter")
    assert scene.overlays[0].frames[0].values[weight] is None


def test_costs_are_of_programs() -> None:
    with pytest.raises(RenderError, match=r"costs of Node(?s:.*)compile it"):
        gn.viz.costs(chain())


# ------------------------------------------------------------------------------------- recording


def training() -> tuple[Any, gn.Node, gn.Parameter, list[Any]]:
    x, y = gn.input("x", shape=("batch", 3)), gn.input("y", shape=("batch",))
    w = gn.parameter(np.zeros((3, 1), "float32"), name="w")
    loss = gn.losses.mse(gn.squeeze(x @ w, axis=1), y)
    step = gn.compile([x, y], loss, updates=gn.optim.SGD(0.1).minimize(loss, [w]))
    drawn = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    batches = [(each[:, :3], each[:, 3]) for each in np.split(drawn, 10)]
    return step, gn.Graph((x, y), (loss,)), w, batches


def test_a_recorder_measures_every_so_many_steps() -> None:
    step, graph, w, batches = training()
    recorder = gn.viz.Recorder(graph, every=4, what="gradient norm")
    expected = []
    for number, batch in enumerate(batches, start=1):
        step(*batch)
        recorder(batch)
        if number in (1, 4, 8):
            expected.append(gn.viz.measure(graph, batch, "gradient norm")[0].of(w)[0])
    (norms,) = recorder.measurements
    assert [each.label for each in norms.moments] == [f"training step {n}" for n in (1, 4, 8)]
    assert list(norms.of(w)) == expected
    assert len(set(expected)) == 3
    overlay = picture_of(graph, overlay=norms).scene.overlays[0]
    shown = [value for frame in overlay.frames for value in frame.values if value]
    assert (overlay.low, overlay.high) == (min(shown), max(shown))
    assert "training step 8" in picture_of(graph, overlay=norms).svg
    assert "training step 4" in picture_of(graph, overlay=norms.at(1)).svg
    for number in range(3):  # equal colours are equal numbers, whichever moment is looked at
        alone = picture_of(graph, overlay=norms.at(number)).scene.overlays[0]
        assert (alone.low, alone.high) == (overlay.low, overlay.high)


def test_fit_calls_a_recorder_and_training_is_the_same_with_it() -> None:
    histories, weights = [], []
    for every in (None, 5):
        step, graph, w, batches = training()
        recorder = gn.viz.Recorder(graph, every=every or 1, what="value norm")
        callbacks = [recorder] if every else []
        histories.append(gn.train.fit(step, batches, 2, callbacks=callbacks, verbose=0))
        weights.append(w.value.copy())
    assert np.array_equal(weights[0], weights[1])
    assert histories[0]["loss"] == histories[1]["loss"]
    assert recorder.step == 20
    steps = [moment.label.split()[-1] for moment in recorder.measurements[0].moments]
    assert steps == ["1", "5", "10", "15", "20"]


def test_callbacks_are_told_of_steps_and_epochs() -> None:
    told: list[Any] = []

    class Listener(gn.train.Callback):
        def on_step_end(self, batch: Any, measured: Any) -> None:
            told.append((batch, dict(measured)))

        def on_epoch_end(self, measured: Any) -> None:
            told.append(dict(measured))

    batches = [(np.array([1.0]),), (np.array([3.0]),)]
    gn.train.fit(lambda x: x.sum(), batches, 1, callbacks=[Listener()], verbose=0)
    assert told == [(batches[0], {"loss": 1.0}), (batches[1], {"loss": 3.0}), {"loss": 2.0}]


def test_recorders_refuse_what_makes_no_sense() -> None:
    with pytest.raises(RenderError, match=r"nothing has been recorded(?s:.*)callbacks"):
        _ = gn.viz.Recorder(chain(), what="value norm").measurements
    with pytest.raises(ArgumentError, match="every"):
        gn.viz.Recorder(chain(), every=0)


# -------------------------------------------------------------------------------- two in one


def test_two_runs_stand_side_by_side_on_one_scale() -> None:
    both = gn.viz.side_by_side(
        colored((1.0, 2.0, 50.0), high=50.0),
        colored((5.0, None, 500.0), low=5.0, high=500.0),
        titles=("one", "other <b>"),
    )
    (overlay,) = both.scene.overlays
    assert (overlay.low, overlay.high) == (1.0, 500.0)
    assert overlay.frames[0].values == (1.0, 2.0, 50.0, 5.0, None, 500.0)
    first, second = both.layout.boxes[:3], both.layout.boxes[3:]
    right = max(box.x + box.width for box in first)
    bottom = max(box.y + box.height for box in first)
    assert all(box.x >= right or box.y >= bottom for box in second)
    assert [(e.source, e.target) for e in both.scene.edges] == [(0, 1), (1, 2), (3, 4), (4, 5)]
    assert "other &lt;b&gt;" in both.svg
    for content in (both.svg, both.dot, both.json, both.txt):
        assert content


def test_what_cannot_be_compared_is_refused() -> None:
    picture = picture_of(chain())
    with pytest.raises(RenderError, match="a picture without an overlay"):
        gn.viz.side_by_side(picture, colored())
    with pytest.raises(RenderError, match="no scale in common: 'norm of <it>', 'norm of <it>'"):
        gn.viz.side_by_side(colored(is_log=True), colored())
    with pytest.raises(RenderError, match="2 pictures and 1 titles"):
        gn.viz.side_by_side(picture, picture, titles=["one"])
    feed = [np.ones(3, "float32")]
    found = gn.viz.measure(chain(), feed, ("value norm", "non-finite"))
    with pytest.raises(RenderError, match="no scale in common"):
        gn.viz.on_one_scale(*found)


def test_measurements_are_put_on_one_scale() -> None:
    y = chain()
    runs = [gn.viz.measure(y, [np.full(3, v, "float32")], "value norm")[0] for v in (0.1, 2.0)]
    one, other = (
        picture_of(y, overlay=each).scene.overlays[0] for each in gn.viz.on_one_scale(*runs)
    )
    assert (one.low, one.high) == (other.low, other.high)
    assert one.low == pytest.approx(0.1 * 3**0.5)
    assert one.high == pytest.approx(np.exp(2.0) * 3**0.5)
