"""The explorer in a real browser: what a visitor does with its page."""

from typing import Any

import pytest
from browsing import Visitor, needs_chromium
from explorer_pages import measured, page_of, recurrent

import graphnn as gn
from graphnn.viz import Picture
from graphnn.viz.scene import Scene, SceneEdge, SceneNode


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
        "explorer_pages.py",
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


def names_of_areas(seen: Visitor, zoom: float) -> dict[str, float]:
    """The names of lanes, layers and blocks of memory, and the points at which they stand."""
    found = seen.tell(
        "(() => { const found = {};"
        " const canvas = { measureText: (text) => ({ width: 5 * text.length }), strokeText() {},"
        "  fillText: (text, x, y) => { found[text] = explorer.camera.toGraph(x, y)[1]; } };"
        f" explorer.camera.zoom = {zoom}; explorer.camera.x = explorer.camera.graphWidth / 2;"
        " explorer.camera.y = explorer.camera.graphHeight / 2;"
        " paintBandNames(canvas, explorer); return found; })()"
    )
    assert isinstance(found, dict)
    return found


@needs_chromium
@pytest.mark.parametrize("zoom", [0.5, 1.0])
def test_every_layer_of_a_table_is_named(visit: Any, zoom: float) -> None:
    x = gn.input("x", (5, 4))
    model = gn.nn.Sequential(gn.nn.Dense(4, 3), gn.nn.Tanh(), gn.nn.Dense(3, 2))
    loss = gn.mean(model(x) ** 2)
    made = gn.render(gn.Graph((x,), (loss, *gn.grad(loss, model.parameters()))))
    assert isinstance(made, Picture)
    seen = visit(made.html)
    weight = seen.node_named("weight")
    told = hovered(seen, weight).splitlines()
    assert told[:3] == [
        "weight",
        "Node layers.0.weight = parameter (4, 3) float32",
        "12 parameters, 48 B",
    ]
    assert told[-1].startswith("built at test_explorer.py:")
    names = [each.partition(" ")[0] for each in names_of_areas(seen, zoom)]
    assert [each for each in names if each.startswith("layers")] == ["layers.0", "layers.2"]


@needs_chromium
@pytest.mark.parametrize("zoom", [0.7, 1.0])
def test_the_bytes_of_a_moment_stand_in_its_block(visit: Any, zoom: float) -> None:
    x = gn.input("x", (64, 64))
    made = gn.render(gn.compile(x, gn.sum(gn.softmax(x @ x) @ gn.tanh(x) @ x)))
    assert isinstance(made, Picture)
    names = names_of_areas(visit(made.html), zoom)
    blocks = {band.label: band.box for band in made.layout.bands if band.tone in ("live", "peak")}
    told = names.keys() & blocks.keys()
    assert any(each.startswith("peak") for each in told)
    for each in told:
        assert blocks[each].y < names[each] < blocks[each].y + blocks[each].height
