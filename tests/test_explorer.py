"""The explorer's page: what is in the file, and what it does in a real browser."""

import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.viz.explorer import PageStage, explorer_page
from graphnn.viz.picture import Picture
from graphnn.viz.route import grid_layout
from graphnn.viz.scene import Frame, Overlay, Scene, SceneEdge, SceneGroup, SceneNode, Strip

CHROMIUM = shutil.which("chromium")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Pages that Chromium takes for hidden get no frames.
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
]
HOSTILE = '</script><img src=x onerror="window.harm=1"><!--\u2028"\'`${window.harm=1}'

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("GRAPHNN_CHROMIUM") != "required",
    reason="no chromium here",
)


# ------------------------------------------------------------------------------------- the graphs


def weight(name: str, *shape: int) -> gn.Parameter:
    return gn.parameter(np.full(shape, 0.1, np.float32), name=name)


@cache
def recurrent(steps: int = 3) -> Scene:
    """A simple recurrent net in a name scope, its loss and its gradients."""
    Wx, Wh, b = weight("Wx", 3, 8), weight("Wh", 8, 8), weight("b", 8)
    h = gn.input("h0", shape=(4, 8))
    inputs = [h]
    for t in range(steps):
        with gn.time_step(t), gn.name_scope("cell"):
            inputs.append(gn.input(f"x{t}", shape=(4, 3)))
            h = gn.tanh(inputs[-1] @ Wx + h @ Wh + b).named("h")
    loss = gn.mean(gn.square(h)).named("loss")
    graph = gn.Graph(tuple(inputs), (loss, *gn.grad(loss, [Wx, Wh, b])))
    return picture_of(graph, steps="all").scene


def picture_of(thing: Any, **options: Any) -> Picture:
    made = gn.render(thing, **options)
    assert isinstance(made, Picture)
    return made


def measured(scene: Scene) -> Scene:
    """The scene with two overlays, groups and a strip."""
    count = len(scene.nodes)
    frames = tuple(
        Frame(
            f"training step {100 * moment}",
            tuple(math.nan if i == 5 and moment == 3 else 10.0 ** -(i % 6) for i in range(count)),
        )
        for moment in range(4)
    )
    return replace(
        scene,
        overlays=(
            Overlay("norm of the gradient", "", frames, 1e-5, 1.0, is_log=True),
            Overlay("time", "ms", (Frame("", (None, *map(float, range(1, count)))),), 0.0, 40.0),
        ),
        groups=(SceneGroup("outer", "loop"), SceneGroup("kernel", "fusion", "one loop", 0)),
        nodes=tuple(
            replace(node, group=1, badges=("× 2",)) if number in (4, 5) else node
            for number, node in enumerate(scene.nodes)
        ),
        strip=Strip("live memory", "B", tuple(float(1000 * (i % 9)) for i in range(count))),
    )


def hostile() -> Scene:
    nodes = (
        SceneNode(HOSTILE, HOSTILE, "input", "forward", HOSTILE, tooltip=HOSTILE),
        SceneNode("n" * 10**5, "d" * 10**5, "operation", "forward", tooltip="t" * 10**5),
        SceneNode("\ud800\x00\n", "&lt;b&gt;", "operation", "forward", lane=HOSTILE, group=0),
    )
    edges = (SceneEdge(0, 1, "data", HOSTILE), SceneEdge(1, 2, "data"))
    values: tuple[float | None, ...] = (math.inf, -math.inf, None)
    overlay = Overlay(HOSTILE, HOSTILE, (Frame(HOSTILE, values), Frame("", values)), 0.0, 1.0)
    return Scene(HOSTILE, nodes, edges, (SceneGroup(HOSTILE, "fusion", HOSTILE),), None, (overlay,))


def page_of(*scenes: Scene) -> str:
    return explorer_page(
        [PageStage(f"stage {i}", (), s, grid_layout(s)) for i, s in enumerate(scenes)]
    )


def data_of(page: str) -> Any:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


# --------------------------------------------------------------------------------------- the file


def test_the_page_is_one_file_that_asks_for_nothing() -> None:
    page = page_of(recurrent())
    assert "default-src 'none'" in page
    assert not re.search(
        r"https?://|//cdn|\bimport\s*\(|\bfetch\s*\(|XMLHttpRequest|WebSocket", page
    )
    assert "unsafe" not in page
    assert page == page_of(recurrent())


def test_a_picture_is_saved_as_a_page(tmp_path: Path) -> None:
    x = gn.input("x", shape=(3,))
    path = gn.render(gn.tanh(x).named("y"), tmp_path / "a.html", title="title & <more>")
    assert isinstance(path, Path)
    page = path.read_text("utf-8")
    assert "<title>title &amp; &lt;more&gt;</title>" in page
    assert {"x", "y"} <= set(data_of(page)["texts"])


def test_a_page_has_every_block_unless_a_depth_is_asked_for() -> None:
    model = gn.nn.Sequential(*(gn.nn.Dense(4, 4) for _ in range(30)))
    picture = picture_of(model, inputs=("batch", 4))
    assert len(picture.scene.nodes) < 30
    for depth, count in ((None, 121), ("all", 121), (0, 2)):
        page = picture_of(model, inputs=("batch", 4), depth=depth).html
        assert len(data_of(page)["stages"][0]["scene"]["nodes"]["label"]) == count, depth


def test_columns_tell_all_of_a_scene() -> None:
    scene = measured(recurrent())
    data = data_of(page_of(scene))
    columns, texts = data["stages"][0]["scene"], data["texts"]
    nodes, edges = columns["nodes"], columns["edges"]
    assert [texts[i] for i in nodes["label"]] == [node.label for node in scene.nodes]
    assert [texts[i] for i in nodes["scope"]] == [node.scope for node in scene.nodes]
    assert nodes["step"] == [node.step for node in scene.nodes]
    assert nodes["origin"] == [-1 if n.origin is None else n.origin for n in scene.nodes]
    assert edges["source"] == [edge.source for edge in scene.edges]
    assert [texts[i] for i in edges["kind"]] == [edge.kind for edge in scene.edges]
    assert 2 * sum(edges["corners"]) == len(edges["points"])
    layout = grid_layout(scene)
    assert nodes["boxes"][:2] == [round(10 * layout.boxes[0].x), round(10 * layout.boxes[0].y)]
    assert columns["overlays"][0]["frames"][3]["values"][5] == "nan"
    assert columns["overlays"][1]["frames"][0]["values"][0] is None


def test_hostile_names_are_data() -> None:
    page = page_of(hostile())
    assert "\u2028" not in page
    assert "<img" not in page
    assert page.count("</script>") == 3
    assert data_of(page)["texts"][0] == HOSTILE
    page.encode()


# ------------------------------------------------------------------------------------ the browser


class Visitor:
    """A page that is open, and what went wrong on it."""

    def __init__(self, page: Any, troubles: list[str]) -> None:
        self.page = page
        self.troubles = troubles

    def tell(self, code: str) -> Any:
        return self.page.evaluate(code)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def node_named(self, name: str) -> int:
        found = self.tell(
            f"Array.from({{length: explorer.graph.count}}, (_, i) => i)"
            f".find((i) => explorer.graph.name(i) === {json.dumps(name)})"
        )
        assert isinstance(found, int), name
        return found

    def click_node(self, node: int) -> None:
        x, y = self.tell(
            f"(() => {{ const b = explorer.graph.box({node});"
            " return explorer.camera.toScreen(b.x + b.width / 2, b.y + b.height / 2); })()"
        )
        self.page.locator("#canvas").click(position={"x": x, "y": y})

    def colours(self, left: int = 0, top: int = 0, size: int = 0) -> set[tuple[int, int, int]]:
        """The colours of a square of the picture, or of all of it."""
        found = self.tell(
            "(() => { const c = explorer.canvas;"
            " const s = new OffscreenCanvas(c.width, c.height);"
            " const context = s.getContext('2d', {willReadFrequently: true});"
            " context.drawImage(c, 0, 0);"
            f" const [w, h] = [{size} || c.width, {size} || c.height];"
            f" const d = context.getImageData({left}, {top}, w, h);"
            " return [...new Set(new Uint32Array(d.data.buffer))]; })()"
        )
        return {(each & 255, each >> 8 & 255, each >> 16 & 255) for each in found}

    def until(self, condition: str) -> None:
        """Wait. Playwright's own way evaluates texts inside the page, whose policy forbids it."""
        deadline = time.monotonic() + 60
        while not self.tell(condition):
            assert time.monotonic() < deadline, condition
            self.page.wait_for_timeout(20)

    def settle(self) -> None:
        self.page.bring_to_front()
        self.until("!explorer.isWaiting")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield found
        found.close()


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Any]:
    contexts, troubles = [], []
    allowed: list[str] = []

    def trouble(text: str) -> None:
        troubles.append(text)

    def asked(request: Any) -> None:
        if request.url.partition("#")[0] not in allowed and not request.url.startswith("data:"):
            troubles.append(f"asked for {request.url}")

    def open_page(
        content: str, hash: str = "", width: int = 1280, height: int = 800, **look: Any
    ) -> Visitor:
        path = tmp_path / "page.html"
        path.write_text(content, "utf-8")
        allowed.append(path.as_uri())
        context = browser.new_context(
            viewport={"width": width, "height": height}, reduced_motion="reduce", **look
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: trouble(str(error)))
        page.on("request", asked)
        page.goto(path.as_uri() + hash)
        page.wait_for_selector("html[data-painted]", timeout=60_000)
        return Visitor(page, troubles)

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


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
def test_search_leads_from_one_result_to_the_next(visit: Any) -> None:
    seen = visit(page_of(recurrent()))
    seen.page.keyboard.press("/")
    seen.page.keyboard.type("tanh cell")
    assert seen.text("#count") == "3 found"
    assert seen.page.locator("#results [role=option]").count() == 3
    seen.page.keyboard.press("Enter")
    first = seen.tell("explorer.selected")
    seen.page.keyboard.press("Enter")
    assert seen.text("#count") == "2 of 3"
    assert seen.tell("explorer.selected") != first
    seen.page.keyboard.press("Shift+Enter")
    assert seen.tell("explorer.selected") == first
    assert "tanh" in seen.text("#details")
    seen.page.click("#previous")
    assert seen.text("#count") == "3 of 3"
    seen.page.fill("#search", "nothing is called so")
    assert seen.text("#count") == "0 found"


@needs_chromium
def test_a_click_tells_all_of_a_node_and_lights_what_belongs_to_it(visit: Any) -> None:
    seen = visit(page_of(recurrent()))
    h1 = seen.node_named("h · t = 1")
    seen.click_node(h1)
    assert seen.tell("explorer.selected") == h1
    details = seen.text("#details")
    for part in (
        "h",
        "f32[4, 8]",
        "forward",
        "cell",
        "test_explorer.py",
        "Inputs (1)",
        "Derivatives",
    ):
        assert part in details
    relations = seen.tell("Object.fromEntries(explorer.related.nodes)")
    assert {"selected", "input", "output", "derivative"} <= set(relations.values())
    derivative = next(int(node) for node, what in relations.items() if what == "derivative")
    assert seen.tell(f"explorer.graph.text('role', {derivative})") == "backward"
    seen.page.keyboard.press("p")
    assert seen.tell("explorer.graph.origin[explorer.selected]") == h1
    seen.page.keyboard.press("p")
    assert seen.tell("explorer.selected") == h1
    seen.page.click("#details section:has-text('Inputs') button")
    assert seen.text("#details h2") == "add"
    seen.page.keyboard.press("Escape")
    assert seen.tell("explorer.selected") is None
    seen.tell(f"explorer.select({seen.node_named('matmul · t = 1')})")
    assert "saved" in seen.tell("[...explorer.related.nodes.values()]")


@needs_chromium
def test_what_is_recomputed_lights_up_with_its_derivative(visit: Any) -> None:
    def node(label: str, role: str = "forward", **more: Any) -> SceneNode:
        return SceneNode(label, "", "operation", role, **more)

    nodes = (
        node("x"),
        node("a"),
        node("b"),
        node("a again", "backward", is_recomputed=True),
        node("db", "backward", origin=2),
    )
    kinds = ["data", "data", "saved", "gradient", "gradient"]
    pairs = [(0, 1), (1, 2), (0, 3), (3, 4), (2, 4)]
    edges = tuple(SceneEdge(*pair, kind) for pair, kind in zip(pairs, kinds, strict=True))
    seen = visit(page_of(Scene("again", nodes, edges)))
    relations = seen.tell("(explorer.select(2), Object.fromEntries(explorer.related.nodes))")
    assert relations == {
        "2": "selected",
        "4": "output",
        "3": "recomputed",
        "0": "saved",
        "1": "input",
    } | {"4": "derivative"}


@needs_chromium
def test_the_keyboard_walks_along_edges_and_moves_the_view(visit: Any) -> None:
    seen = visit(page_of(recurrent()))
    seen.click_node(seen.node_named("h · t = 0"))
    seen.page.keyboard.press("Shift+ArrowUp")
    assert seen.text("#details h2") == "add"
    seen.page.keyboard.press("Shift+ArrowDown")
    assert seen.text("#details h2") == "h"
    seen.page.keyboard.press("Shift+ArrowDown")
    below = seen.tell("explorer.selected")
    seen.page.keyboard.press("Shift+ArrowRight")
    assert seen.tell("explorer.selected") != below
    x, zoom = seen.tell("[explorer.camera.x, explorer.camera.zoom]")
    seen.page.keyboard.press("ArrowRight")
    seen.page.keyboard.press("+")
    assert seen.tell("explorer.camera.x") > x
    assert seen.tell("explorer.camera.zoom") > zoom
    seen.page.keyboard.press("0")
    assert seen.tell("explorer.camera.zoom") == pytest.approx(
        seen.tell("explorer.camera.overall.zoom")
    )
    assert "input" in seen.text("#said")


@needs_chromium
def test_mouse_and_fingers_drag_and_zoom(visit: Any) -> None:
    seen = visit(page_of(recurrent()))
    before = seen.tell("[explorer.camera.x, explorer.camera.y]")
    mouse = seen.page.mouse
    mouse.move(500, 120)
    mouse.down()
    mouse.move(400, 90, steps=4)
    mouse.up()
    after = seen.tell("[explorer.camera.x, explorer.camera.y]")
    zoom = seen.tell("explorer.camera.zoom")
    assert after[0] - before[0] == pytest.approx(100 / zoom, rel=0.15)
    assert seen.tell("explorer.selected") is None
    under = seen.tell("explorer.camera.toGraph(300, 200)")
    mouse.move(300, 200 + seen.tell("explorer.canvas.getBoundingClientRect().top"))
    mouse.wheel(0, -300)
    seen.until(f"explorer.camera.zoom > {zoom}")
    assert seen.tell("explorer.camera.toGraph(300, 200)") == pytest.approx(under, abs=1)
    pinch = """(() => {
      const at = (type, pointerId, clientX) => explorer.canvas.dispatchEvent(
        new PointerEvent(type, { pointerId, clientX, clientY: 300, bubbles: true, buttons: 1 }));
      explorer.canvas.setPointerCapture = () => {};
      at('pointerdown', 11, 400); at('pointerdown', 12, 500); at('pointermove', 12, 600);
      at('pointerup', 11, 400); at('pointerup', 12, 600);
    })()"""
    zoom = seen.tell("explorer.camera.zoom")
    seen.tell(pinch)
    assert seen.tell("explorer.camera.zoom") == pytest.approx(2 * zoom, rel=0.05)


@needs_chromium
def test_scopes_and_steps_fold_in_their_places(visit: Any) -> None:
    scene = recurrent()
    seen = visit(page_of(scene))
    seen.page.click("#panel-button")
    seen.page.click("#tab-outline")
    seen.page.uncheck("[data-key='scope:cell']")
    cards = seen.tell("explorer.folding.cards")
    assert {card["label"] for card in cards} == {f"cell · t = {t}" for t in range(3)}
    assert len(cards) == 6  # forward and backward of three steps
    inside = {member for card in cards for member in card["members"]}
    assert inside == {i for i, node in enumerate(scene.nodes) if node.scope == "cell"}
    for card in cards:
        for member in card["members"]:
            box = seen.tell(f"explorer.graph.box({member})")
            assert card["x"] <= box["x"]
            assert box["x"] + box["width"] <= card["x"] + card["width"]
    shown = seen.tell("explorer.list.nodes.length")
    assert shown == len(scene.nodes) - len(inside)
    seen.tell("(explorer.selectedCard = 0, explorer.canvas.focus())")
    seen.page.keyboard.press("Enter")
    assert seen.tell("explorer.folding.cards.length") == 0
    seen.page.fill("#first-step", "1")
    seen.page.click("#fold-steps")
    assert {card["label"] for card in seen.tell("explorer.folding.cards")} == {"t = 1", "t = 2"}
    hidden = seen.node_named("h · t = 2")
    seen.tell(f"explorer.select({hidden}, true)")
    assert seen.tell(f"explorer.folding.cardOf[{hidden}]") == -1
    seen.page.click("#tab-outline")
    seen.page.click("#unfold-all")
    assert seen.tell("explorer.folding.cards.length") == 0


@needs_chromium
def test_double_clicks_fold_and_unfold(visit: Any) -> None:
    seen = visit(page_of(recurrent()))
    x, y = seen.tell(
        f"(() => {{ const b = explorer.graph.box({seen.node_named('h · t = 1')});"
        " return explorer.camera.toScreen(b.x + b.width / 2, b.y + b.height / 2); })()"
    )
    seen.page.locator("#canvas").dblclick(position={"x": x, "y": y})
    assert seen.tell("explorer.folding.keys.size") == 1
    assert "folded" in seen.text("#details")
    card = seen.tell("explorer.folding.cards[explorer.selectedCard]")
    middle = card["x"] + card["width"] / 2, card["y"] + card["height"] / 2
    x, y = seen.tell(f"explorer.camera.toScreen({middle[0]}, {middle[1]})")
    seen.page.locator("#canvas").dblclick(position={"x": x, "y": y})
    assert seen.tell("explorer.folding.keys.size") == 0


@needs_chromium
def test_overlays_have_a_menu_a_scale_and_a_slider(visit: Any) -> None:
    seen = visit(page_of(measured(recurrent())))
    assert seen.page.locator("#overlay option").all_inner_texts() == [
        "no overlay",
        "norm of the gradient",
        "time",
    ]
    assert seen.text("#frame-label") == "training step 300"
    assert seen.text("#invalid") == "not finite"
    last = seen.tell("explorer.fillOf(5)")
    seen.page.locator("#frame").focus()
    seen.page.keyboard.press("ArrowLeft")
    assert seen.text("#frame-label") == "training step 200"
    assert seen.tell("explorer.fillOf(5)") != last
    seen.page.keyboard.press("Home")
    seen.page.click("#play")
    seen.until("explorer.overlays.frame === 3")
    seen.page.select_option("#overlay", label="time")
    assert seen.page.locator("#moments").is_hidden()
    assert seen.text("#high") == "40 ms"
    assert seen.tell("explorer.valueText(4)") == "4 ms"
    assert "4 ms" in hovered(seen, 4)
    seen.page.select_option("#overlay", label="no overlay")
    assert seen.tell("explorer.fillOf(5)") is None
    assert seen.text("#curve-text") == "live memory"
    seen.tell("explorer.select(5)")
    assert "fusion kernel: one loop" in seen.text("#details")
    assert "here 4.88 KiB" in (seen.settle() or seen.text("#curve-text"))


def hovered(seen: Visitor, node: int) -> str:
    seen.tell(f"explorer.hover({node}, {{x: 30, y: 30}})")
    return seen.text("#tip") if seen.page.locator("#tip").is_visible() else ""


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


@needs_chromium
def test_deep_links_are_written_and_read(visit: Any) -> None:
    page = page_of(measured(recurrent()))
    seen = visit(page, "#node=9&x=700&y=300&zoom=1.5&overlay=0&frame=1&folded=step:2")
    assert seen.tell("[explorer.selected, explorer.overlays.frame]") == [9, 1]
    assert seen.tell("['x', 'y', 'zoom'].map((i) => explorer.camera[i])") == [700, 300, 1.5]
    assert seen.tell("explorer.folding.keys.has('step:2')")
    seen.tell("(explorer.overlays.seek(2), explorer.select(8))")
    seen.until("location.hash.includes('node=8') && location.hash.includes('frame=2')")
    copied = seen.tell("location.hash")
    again = visit(page, copied)
    assert again.tell("[explorer.selected, explorer.overlays.frame]") == [8, 2]
    again.tell("location.hash = '#node=loss'")
    again.until("explorer.graph.name(explorer.selected ?? 0) === 'loss'")
    again.tell("location.hash = '#node=99999&x=nonsense&stage=7&folded=what:ever'")
    again.until("explorer.folding.keys.has('what:ever')")


@needs_chromium
def test_light_and_dark(visit: Any) -> None:
    seen = visit(page_of(recurrent()), color_scheme="light")
    assert min(seen.colours(2, 2, 1)) > (200, 200, 200)
    seen.page.click("#theme")
    seen.settle()
    assert max(seen.colours(2, 2, 1)) < (60, 60, 60)
    assert seen.page.get_attribute("#theme", "aria-label") == "Light colours"
    seen.page.emulate_media(color_scheme="dark")
    seen.page.emulate_media(color_scheme="light")
    seen.until("document.documentElement.dataset.theme === 'light'")


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
