"""The explorer's page as a file: all that a scene tells is in it, and nothing else is asked for."""

import json
import re
from pathlib import Path
from typing import Any

from drawn_models import picture_of
from explorer_pages import HOSTILE, hostile, measured, page_of, recurrent

import graphnn as gn
from graphnn.viz.route import grid_layout


def data_of(page: str) -> Any:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


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
