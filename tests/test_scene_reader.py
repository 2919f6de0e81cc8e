"""Picture files that are read back: the same again, and refused where something is wrong."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

import graphnn as gn
from graphnn.core.errors import RenderError
from graphnn.viz import read_picture
from graphnn.viz.layout import Layout
from graphnn.viz.picture import FORMATS, Picture
from graphnn.viz.route import grid_layout
from graphnn.viz.scene import Frame, Overlay, Scene, SceneEdge, SceneGroup, SceneNode, Strip
from graphnn.viz.scene_json import json_text

SCENE = Scene(
    "title",
    (
        SceneNode("a", "f32[2]", "input", "forward", step=0, badges=("× 2",)),
        SceneNode("b", "f32[2]", "operation", "forward", "deep/er", 1, True, tooltip="two\nlines"),
        SceneNode("c", "f32[2]", "operation", "backward", origin=1, group=1, is_recomputed=True),
    ),
    (SceneEdge(0, 1, "data", lag=1), SceneEdge(1, 2, "saved", "8 B", is_cut=True)),
    (SceneGroup("outer", "loop"), SceneGroup("inner", "fusion", "why", 0)),
    Strip("memory", "B", (1.0, None, 3.0)),
    (Overlay("norm", "", (Frame("", (1.0, math.nan, math.inf)),), 0.5, 1.0, True),),
)


def content() -> Any:
    return json.loads(json_text(SCENE, grid_layout(SCENE)))


def read(value: Any, folder: Path) -> Picture:
    file = folder / "picture.json"
    file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return read_picture(file)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    picture = read(content(), tmp_path)
    layout = grid_layout(SCENE)
    assert isinstance(picture.layout, Layout)
    assert picture.layout == layout
    assert repr(picture.scene) == repr(SCENE)  # equal but for NaN, which equals nothing
    assert picture.json == json_text(SCENE, layout)
    for format in FORMATS:
        assert picture.save(tmp_path / f"a.{format}").stat().st_size > 0
    assert "%2 = c(%1)  f32[2]" in picture.txt


def changed(path: str, value: Any) -> Any:
    """The file with one value replaced; ``...`` takes it away."""
    made = copy.deepcopy(content())
    place = made
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    for part in way:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("scene", ..., "no 'scene'"),
        ("layout", ..., "no 'layout'"),
        ("scene", [], "scene: [] is no Scene"),
        ("scene.title", ..., "scene: no field 'title' in a Scene"),
        ("scene.title", 3, "scene.title: 3 is no str"),
        ("scene.nodes", "abc", "scene.nodes: 'abc' is no list"),
        ("scene.nodes.1.step", True, "scene.nodes[1].step: True is no int"),
        ("scene.nodes.1.is_output", 1, "scene.nodes[1].is_output: 1 is no bool"),
        ("scene.nodes.1.colour", "red", "scene.nodes[1]: unknown field 'colour'"),
        ("scene.nodes.1.role", 'x" onload="alert(1)', "nodes[1]: no style"),
        ("scene.nodes.2.origin", 3, "scene.nodes[2]"),
        ("scene.nodes.2.group", -1, "scene.nodes[2]"),
        ("scene.edges.0.target", 3, "scene.edges[0]: there are 3 nodes"),
        ("scene.edges.0.source", -1, "scene.edges[0]: there are 3 nodes"),
        ("scene.edges.0.kind", "__class__", "edges[0]: no style"),
        ("scene.groups.0.parent", 0, "scene.groups[0]: groups around others"),
        ("scene.strip.values", [1.0], "scene: an overlay or strip"),
        ("scene.overlays.0.frames.0.values.0", "1e3", "'1e3' is no number"),
        ("scene.overlays.0.low", 0.0, "scene.overlays[0]: from 0 to 1 is no scale"),
        ("scene.overlays.0.high", "inf", "scene.overlays[0]: from 0.5 to inf is no scale"),
        ("layout.boxes.0.x", "nan", "layout: a place is not finite"),
        ("layout.boxes.0.x", 10**400, "the number is too large"),
        ("layout.boxes.2", ..., "layout: not one box for each node"),
        ("layout.routes.0.points", [[0, 0]], "layout.routes[0]: points are missing"),
        ("layout.routes.0.points.1", [0, 0, 0], "points[1]: 3 values instead of 2"),
        ("layout.bands.0.tone", "url(x)", "bands[0]: no style"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    path: str, value: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(RenderError) as caught:
        read(changed(path, value), tmp_path)
    assert said in str(caught.value)
    assert "hint: pictures are written by gn.render" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 100_000, "\x00", '"\\ud800"'])
def test_files_that_are_no_pictures(text: str, tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="holds no picture"):
        read(text, tmp_path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="No such file"):
        read_picture(tmp_path / "missing.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(RenderError, match="holds no picture"):
        read_picture(tmp_path / "bytes.json")


def test_markup_and_control_characters_in_a_file_stay_text(tmp_path: Path) -> None:
    hostile = "<script>\x00\x1b ]]> &\ud800"
    made = changed("scene.nodes.0.label", hostile)
    made["scene"]["nodes"][0]["tooltip"] = hostile
    made["scene"]["title"] = hostile
    picture = read(made, tmp_path)
    assert picture.scene.nodes[0].label == "<script>   ]]> & "
    assert "<script>" not in picture.svg


def test_lines_of_tooltips_are_kept(tmp_path: Path) -> None:
    assert read(content(), tmp_path).scene.nodes[1].tooltip == "two\nlines"


def test_reading_needs_no_graph(tmp_path: Path) -> None:
    x = gn.input("x", shape=(3,))
    picture = read(gn.render(gn.tanh(x)).json, tmp_path)
    assert all(node.subject is None for node in picture.scene.nodes)
