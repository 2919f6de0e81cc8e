"""What the explorer's page shows in a real browser: of any graph, at every size, at every stage."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import needs_chromium
from explorer_pages import hostile, measured, page_of, recurrent

import graphnn as gn
from graphnn.viz.explorer import PageStage, explorer_page
from graphnn.viz.route import grid_layout
from graphnn.viz.scene import Scene, SceneNode


@needs_chromium
@pytest.mark.parametrize(
    ("width", "height", "scheme"),
    [(360, 640, "light"), (1280, 800, "dark"), (1920, 1080, "light")],
)
def test_it_is_painted_and_fits_at_every_size(
    visit: Any, width: int, height: int, scheme: str
) -> None:
    seen = visit(page_of(measured(recurrent())), width=width, height=height, color_scheme=scheme)
    assert len(seen.colours()) > 20
    assert seen.tell("document.documentElement.dataset.theme") == scheme
    seen.tell("explorer.select(7, true)")
    seen.settle()
    edges = seen.tell(
        "['header', '#canvas', '#panel', 'footer'].map((each) => {"
        " const r = document.querySelector(each).getBoundingClientRect();"
        " return [r.left, r.top, r.right, r.bottom, r.width * r.height]; })"
    )
    for left, top, right, bottom, area in edges:
        assert left >= 0
        assert top >= 0
        assert right <= width
        assert bottom <= height
        assert area > 10_000
    assert seen.tell("document.documentElement.scrollWidth") <= width
    assert len(seen.page.screenshot()) > 10_000


@needs_chromium
def test_light_and_dark(visit: Any) -> None:
    seen = visit(page_of(recurrent()), color_scheme="light")
    assert min(seen.colours(2, 2, 1)) > (200, 200, 200)
    seen.page.click("#theme")
    seen.settle()
    assert max(seen.colours(2, 2, 1)) < (60, 60, 60)
    assert seen.page.get_attribute("#theme", "aria-label") == "Light colours"
    # Each is waited for: of two changes right after each other, the page may see none.
    seen.page.click("#theme")
    for scheme in ("dark", "light"):
        seen.page.emulate_media(color_scheme=scheme)
        seen.until(f"document.documentElement.dataset.theme === '{scheme}'")


@needs_chromium
def test_the_list_tells_in_text_what_the_picture_shows(visit: Any) -> None:
    scene = recurrent(40)
    seen = visit(page_of(scene))
    assert f"Graph of {len(scene.nodes)} nodes" in seen.page.get_attribute("#canvas", "aria-label")
    seen.page.click("#panel-button")
    seen.page.click("#tab-list")
    rows = seen.page.locator("#list [role=option]")
    assert 0 < rows.count() < 100 < len(scene.nodes)
    assert rows.first.get_attribute("aria-setsize") == str(len(scene.nodes))
    seen.page.locator("#list").focus()
    seen.page.keyboard.press("End")
    assert (
        seen.page.get_attribute("#list", "aria-activedescendant") == f"list-{len(scene.nodes) - 1}"
    )
    seen.page.keyboard.press("Home")
    seen.page.keyboard.press("ArrowDown")
    seen.page.keyboard.press("Enter")
    assert seen.tell("explorer.selected") == 1
    unnamed = seen.tell(
        "[...document.querySelectorAll('button, input, select, canvas, [role=listbox]')]"
        ".filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')"
        " || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML)"
    )
    assert unnamed == []


@needs_chromium
def test_hostile_names_do_nothing(visit: Any) -> None:
    seen = visit(page_of(hostile(), hostile()))
    for node in range(3):
        seen.tell(f"explorer.select({node}, true)")
        seen.settle()
    for tab in ("outline", "list", "notes", "details"):
        seen.page.click(f"#tab-{tab}")
    seen.page.fill("#search", "onerror")
    seen.page.fill("#search", "nnnn")
    seen.tell("explorer.hover(1, {x: 30, y: 30})")
    seen.page.click("#later")
    assert seen.tell("window.harm") is None
    assert seen.page.locator("img").count() == 0
    assert seen.tell("document.documentElement.scrollWidth") <= 1280


@needs_chromium
@pytest.mark.parametrize(
    "scene", [Scene("", (), ()), Scene("one", (SceneNode("x", "", "input", "forward"),), ())]
)
def test_empty_and_tiny_graphs(visit: Any, scene: Scene) -> None:
    seen = visit(page_of(scene))
    seen.page.keyboard.press("0")
    seen.page.keyboard.press("C")
    seen.page.fill("#search", "x")
    assert f"{len(scene.nodes)} node" in seen.page.get_attribute("#canvas", "aria-label")


@needs_chromium
def test_from_afar_a_long_recurrence_is_painted_on_tiles(visit: Any) -> None:
    seen = visit(page_of(recurrent(200)))
    seen.tell("(explorer.camera.moveTo(explorer.graph.width / 2, 300, 0.02), explorer.redraw())")
    seen.settle()
    assert seen.tell("explorer.tiles.kept.size") > 0
    assert len(seen.colours()) > 5
    assert not seen.page.locator("#overview").is_hidden()
    box = seen.page.locator("#overview").bounding_box()
    seen.page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)
    assert seen.tell("explorer.camera.x / explorer.graph.width") == pytest.approx(0.75, abs=0.01)


@needs_chromium
def test_a_slider_leads_through_stages(visit: Any) -> None:
    before = recurrent(2)
    count = len(before.nodes)
    # The first node is gone; all others have moved one down.
    after = replace(
        before,
        nodes=tuple(
            replace(n, origin=None if not n.origin else n.origin - 1) for n in before.nodes[1:]
        ),
        edges=tuple(
            replace(e, source=e.source - 1, target=e.target - 1)
            for e in before.edges
            if e.source > 0 and e.target > 0
        ),
    )
    changes = tuple("added" if i == 3 else "" for i in range(count - 1))
    stages = [
        PageStage("graph", ("as built",), before, grid_layout(before)),
        PageStage(
            "simplify",
            ("x + 0 → x",),
            after,
            grid_layout(after),
            tuple(range(1, count)),
            changes,
            (0,),
        ),
    ]
    seen = visit(explorer_page(stages))
    assert seen.tell("explorer.graph.count") == count - 1
    assert seen.text("#stage-name") == "2/2 simplify"
    seen.page.click("#panel-button")
    seen.page.click("#tab-notes")
    notes = seen.text("#notes")
    for part in ("x + 0 → x", "added (1)", "removed (1)", before.nodes[0].label):
        assert part in notes
    seen.tell("explorer.select(6)")
    seen.page.locator("#stage").focus()
    seen.page.keyboard.press("ArrowLeft")
    assert seen.tell("[explorer.graph.count, explorer.selected]") == [count, 7]
    seen.page.click("#later")
    assert seen.tell("[explorer.graph.count, explorer.selected]") == [count - 1, 6]


def lstm_step() -> gn.compiler.program.Program:
    x = gn.input("x", shape=(5, 2, 3))
    net = gn.nn.LSTM(3, 4, rng=np.random.default_rng(0))
    loss = gn.sum(gn.square(net(x))).named("loss")
    updates = gn.optim.SGD(0.1).minimize(loss, net.parameters())
    return gn.compile(x, loss, updates, native="never")


def mlp_step() -> gn.compiler.program.Program:
    x, y = gn.input("x", shape=(8, 5)), gn.input("y", shape=(8,), dtype="int64")
    net = gn.nn.Sequential(gn.nn.Dense(5, 6), gn.nn.ReLU(), gn.nn.Dense(6, 3))
    loss = gn.losses.cross_entropy(net(x), y)
    updates = gn.optim.Adam(1e-3).minimize(loss, net.parameters())
    return gn.compile([x, y], loss, updates, native="never")


@needs_chromium
@pytest.mark.parametrize("make", [lstm_step, mlp_step])
def test_a_slider_leads_through_the_passes_of_a_program(
    visit: Any, tmp_path: Path, make: Any
) -> None:
    past = gn.viz.history(make())
    path = gn.render(past, tmp_path / "history.html")
    assert isinstance(path, Path)
    seen = visit(path.read_text("utf-8"))
    assert seen.tell("explorer.stages.now") == len(past) - 1
    at = next(i for i, each in enumerate(past) if any(each.changes) and each.leaves)
    stage = past[at]
    seen.page.locator("#stage").focus()
    seen.page.keyboard.press("Home")
    for _ in range(at):
        seen.page.keyboard.press("ArrowRight")
    assert seen.text("#stage-name") == f"{at + 1}/{len(past)}  {stage.summary}".replace("  ", " ")
    assert seen.tell("explorer.graph.count") == len(stage.scene.nodes)
    assert seen.text("#stage-key").split("\n") == [
        *dict.fromkeys(filter(None, stage.changes)),
        "removed by the next",
    ]
    added = next(number for number, change in enumerate(stage.changes) if change)
    seen.tell(f"explorer.select({stage.leaves[0]}, true)")
    seen.settle()
    colours = seen.tell("[explorer.theme.changes.removed, explorer.changeColour('added')]")
    removed, new = (tuple(bytes.fromhex(each[1:])) for each in colours)
    assert removed in seen.colours()
    seen.tell(f"explorer.select({added}, true)")
    seen.settle()
    assert new in seen.colours()
    assert f"{stage.changes[added]} by this pass" in seen.text("#details")
    seen.page.click("#tab-notes")
    notes = seen.text("#notes")
    for note in stage.notes:
        assert " ".join(note.split()) in notes
    seen.page.click(f"#notes h3:has-text('removed ({len(stage.removed)})') + ul button >> nth=0")
    assert seen.tell("[explorer.stages.now, explorer.selected]") == [at - 1, stage.removed[0]]


@needs_chromium
def test_the_view_follows_what_stays(visit: Any) -> None:
    seen = visit(gn.render(gn.viz.history(mlp_step()), None).html)
    assert seen.tell("explorer.camera.isHome")
    seen.page.click("#earlier")
    assert seen.tell("explorer.camera.isHome")
    seen.tell("(explorer.showStage(1), explorer.select(9, true))")
    place = "(() => { const { camera, graph, selected } = explorer, { x, y } = graph.box(selected);"
    place += " return camera.toScreen(x, y).map(Math.round); })()"
    before = seen.tell(place)
    seen.page.click("#later")
    assert seen.tell(place) == pytest.approx(before, abs=40)
