"""The explorer's first sight, its way from stage to stage, and what it reads when asked."""

import json
import re
from typing import Any

import numpy as np
import pytest
from browsing import Visitor, needs_chromium
from explorer_pages import page_of, recurrent

import graphnn as gn
from graphnn.viz.picture import Picture
from graphnn.viz.route import grid_layout


def step_of_lstm(layers: int = 1) -> gn.compiler.program.Program:
    x = gn.input("x", shape=(5, 2, 3))
    net = gn.nn.LSTM(3, 4, num_layers=layers, rng=np.random.default_rng(0))
    loss = gn.sum(gn.square(net(x))).named("loss")
    updates = gn.optim.SGD(0.1).minimize(loss, net.parameters())
    return gn.compile(x, loss, updates, native="never")


def html_of(thing: Any) -> str:
    picture = gn.render(thing)
    assert isinstance(picture, Picture)
    return picture.html


# ------------------------------------------------------------------------------------ what is read


def test_lines_of_tooltips_stand_apart_from_what_is_painted() -> None:
    scene = recurrent()
    page = page_of(scene, scene)
    found = re.search(r'<script id="tips" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    tips = json.loads(found[1])
    for stage in tips["stages"]:
        lines = [tips["texts"][i] for i in stage["numbers"]]
        assert lines == [line for node in scene.nodes for line in node.tooltip.split("\n") if line]
        counts = [sum(map(bool, node.tooltip.split("\n"))) for node in scene.nodes]
        assert stage["lines"] == counts
    painted = page.partition('<script id="tips"')[0]
    assert scene.nodes[-1].tooltip.split("\n")[0] not in painted


@needs_chromium
def test_tooltips_are_read_with_the_first_question(visit: Any) -> None:
    scene = recurrent()
    seen = visit(page_of(scene))
    assert seen.tell("explorer.tips.data") is None
    seen.tell("explorer.hover(4, {x: 30, y: 30})")
    for line in scene.nodes[4].tooltip.split("\n"):
        assert line in seen.text("#tip")
    again = visit(page_of(scene))
    again.page.fill("#search", "backward explorer_pages.py")
    wanted = sum(
        "backward" in each.tooltip and "explorer_pages.py" in each.tooltip for each in scene.nodes
    )
    assert wanted > 0
    assert again.text("#count") == f"{wanted} found"


@needs_chromium
def test_places_are_read_as_they_were_written(visit: Any) -> None:
    layout = grid_layout(recurrent())
    seen = visit(page_of(recurrent()))
    boxes = [[box.x, box.y, box.width, box.height] for box in layout.boxes]
    np.testing.assert_allclose(
        seen.tell("[...explorer.graph.boxes]"), np.ravel(boxes), rtol=0, atol=0.0501
    )
    points = [each for route in layout.routes for point in route.points for each in point]
    np.testing.assert_allclose(seen.tell("[...explorer.graph.points]"), points, rtol=0, atol=0.0501)


# --------------------------------------------------------------------------------- the first sight

RECORD = """(() => {
  const written = window.written = [];
  const { fillText } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
    written.push([text, parseFloat(/([\\d.]+)px/.exec(this.font)[1]) * this.getTransform().a]);
    return fillText.call(this, text, ...rest);
  };
  explorer.repaint();
})()"""
FRAMES = """(() => {
  const { graph, groupFrames, camera } = explorer;
  const bands = graph.bands.filter(({ tone }) => ["fusion", "loop"].includes(tone));
  return [...bands, ...groupFrames].filter(({ x, y, width, height }) => {
    const [left, top] = camera.toScreen(x, y);
    return left > 0 && top > 0 && left + width * camera.zoom < camera.width &&
      top + 40 < camera.height && height * camera.zoom > 27 && width * camera.zoom > 90;
  }).map(({ label }) => label);
})()"""


def written(seen: Visitor) -> dict[str, float]:
    """The texts that are painted, and how large: pixels of the largest."""
    seen.tell(RECORD)
    seen.settle()
    found: dict[str, float] = {}
    for text, pixels in seen.tell("window.written"):
        found[text] = max(pixels, found.get(text, 0.0))
    return found


@needs_chromium
@pytest.mark.parametrize("layers", [1, 3])
def test_frames_and_boxes_are_named_legibly_at_first(visit: Any, layers: int) -> None:
    seen = visit(html_of(step_of_lstm(layers)), width=1440, height=900)
    assert seen.tell("explorer.camera.isHome")
    frames = seen.tell(FRAMES)
    assert len(frames) > 2
    found = written(seen)
    for label in frames:
        begin = label[:7]
        assert max((size for text, size in found.items() if text.startswith(begin)), default=0) > 6
    in_boxes = {"sigmoid", "tanh", "add", "matmul", "multiply", "zeros"} & set(found)
    assert in_boxes
    assert all(found[each] > 6 for each in in_boxes)


@needs_chromium
def test_a_small_picture_is_whole_at_first_and_needs_no_overview(visit: Any) -> None:
    seen = visit(html_of(gn.tanh(gn.input("x", shape=(3,)))))
    assert seen.page.locator("#overview").is_hidden()
    assert seen.tell("explorer.camera.whole >= explorer.camera.zoom")


@needs_chromium
def test_a_large_picture_begins_where_it_begins_and_fits_when_asked(visit: Any) -> None:
    seen = visit(html_of(step_of_lstm()), width=1200, height=800)
    left, top = seen.tell("explorer.camera.toScreen(0, 0)")
    assert left >= -1
    assert 0 <= top <= 60
    assert not seen.page.locator("#overview").is_hidden()
    seen.page.keyboard.press("0")
    width, height = seen.tell("[explorer.graph.width, explorer.graph.height]")
    right, bottom = seen.tell(f"explorer.camera.toScreen({width}, {height})")
    assert right <= seen.tell("explorer.camera.width")
    assert bottom <= seen.tell("explorer.camera.height")


# ------------------------------------------------------------------------------ from stage to stage

PLACES = """(() => {
  const { camera, graph } = explorer;
  return Array.from({ length: graph.count }, (_, node) => {
    const { x, y } = graph.box(node);
    return camera.toScreen(x, y);
  });
})()"""
STARTS = """(() => [...explorer.transition.starts].map(
  ([node, { x, y }]) => [node, ...explorer.camera.toScreen(x, y)]))()"""


@needs_chromium
def test_boxes_that_stay_move_to_their_new_places(visit: Any) -> None:
    past = gn.viz.history(step_of_lstm())
    seen = visit(html_of(past))
    seen.page.emulate_media(reduced_motion="no-preference")
    for to in (len(past) - 2, len(past) - 1):
        before = seen.tell(PLACES)
        now = seen.tell("explorer.stages.now")
        assert now != to
        starts = seen.tell(f"(explorer.showStage({to}), {STARTS})")
        same = past[max(now, to)].same
        pairs = [(later, earlier) for later, earlier in enumerate(same) if earlier is not None]
        old_of = dict(pairs) if to > now else {earlier: later for later, earlier in pairs}
        assert {node for node, _, _ in starts} == set(old_of)
        for node, x, y in starts:
            assert (x, y) == pytest.approx(before[old_of[node]], abs=1e-6)
        seen.until("explorer.transition === null && !explorer.isWaiting")
    seen.page.emulate_media(reduced_motion="reduce")
    assert seen.tell("(explorer.showStage(0), explorer.transition)") is None


@needs_chromium
def test_on_its_way_a_box_is_between_its_places(visit: Any) -> None:
    seen = visit(html_of(gn.viz.history(step_of_lstm())))
    seen.page.emulate_media(reduced_motion="no-preference")
    ways = seen.tell(
        """(() => {
          explorer.showStage(0);
          const { transition, graph } = explorer;
          return [0, 0.5, 1].map((part) => {
            transition.began = performance.now() - part * TRANSITION_TIME;
            const boxes = transition.boxes;
            return [...transition.starts].map(
              ([node, { x }]) => [x, boxes[4 * node], graph.boxes[4 * node]]);
          });
        })()"""
    )
    assert len(ways[0]) > 5
    assert any(abs(start - end) > 10 for start, _, end in ways[0])
    for part, places in zip((0.0, 0.5, 1.0), ways, strict=True):
        for start, now, end in places:
            # Time goes on between two lines of the page.
            assert now == pytest.approx(
                start + part * (end - start), abs=0.1 * abs(end - start) + 0.1
            )
