"""Names of any kind are harmless in every form: text stays text, and structure stays structure."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import graphnn as gn
from graphnn.core.errors import RenderError
from graphnn.viz import read_picture
from graphnn.viz.graphviz_tool import find_graphviz, run_graphviz
from graphnn.viz.picture import FORMATS, Picture

HOSTILE = {
    "markup": '<script>alert("x")</script><img src=x onerror=alert(1)>',
    "end of a script": "</script></style></title><!--",
    "quotes": '"it\'s" `so` \\" \\\' \\',
    "escapes of Graphviz": "\\N \\G \\L \\n \\l \\r %s {0} $x^2$",
    "records of Graphviz": "a|{b|<c> d}|e;f",
    "lines": "two\nlines\r\nand\ttabs\x0b\x0c\x85\u2028\u2029end",
    "controls": "null \x00 bell \x07 escape \x1b[31m delete \x7f",
    "surrogate": "lone \ud800 and \udfff",
    "no characters": "\ufffe\uffff\ufdd0",
    "right to left": "\u202eevil\u202c \u200f \u2066 שלום",
    "emoji": "名前 é e\u0301 🙂 👩\u200d👩\u200d👧 🏳️\u200d🌈",
    "CDATA": "]]> <![CDATA[ <?xml ?> &amp; &#0; &nbsp;",
    "statements of Graphviz": 'graph { a -> b; } "]; x [label="y',
    "a statement of Mermaid": '"] --> x["y"]; end; click x href "javascript:alert(1)"',
    "a comment of Mermaid": "%%{init: {}}%% #quot; #35;",
    "key words": "graph",
    "an end": "end",
    "a node": "node",
    "an arrow": "-->",
    "a number of ours": "n0",
    "JSON": '","label":"x"}],"nodes":[{"',
    "a prototype": "__proto__",
    "spaces": "   ",
    "long": "n" * 100_000,
    "long markup": "<&\"'\\\n" * 20_000,
}

PLAIN = "plain"


def graph_with(name: str) -> gn.Graph:
    """A name wherever a user can give one: inputs, weights, results, scopes, source files."""
    scope = {"gn": gn}
    file = name.replace("/", "|").replace("\x00", " ")[:200] + ".py"
    exec(compile("def built(x): return gn.tanh(x)", file, "exec", dont_inherit=True), scope)
    built: Callable[[gn.Node], gn.Node] = scope["built"]
    x = gn.input(name, shape=(3,))
    w = gn.parameter([1.0, 2.0, 3.0], name=name)
    with gn.name_scope(name.replace("/", "|")), gn.name_scope("inner"):
        y = (built(x) * w).named(name)
    loss = gn.sum(y).named(name)
    return gn.Graph((x,), (loss, gn.grad(loss, w)))


def recurrence_with(name: str) -> gn.Graph:
    """The same in time steps, which have a layout of their own."""
    h = x = gn.input(name, shape=(3,))
    w = gn.parameter([1.0, 2.0, 3.0], name=name)
    for step in range(2):
        with gn.time_step(step), gn.name_scope(name.replace("/", "|")):
            h = gn.tanh(h * w).named(name)
    loss = gn.sum(h)
    return gn.Graph((x,), (loss, gn.grad(loss, w)))


GRAPHS = {"graph": graph_with, "recurrence": recurrence_with}


def written(name: str, make: Callable[[str], gn.Graph], ending: str, folder: Path) -> Path:
    made = gn.render(make(name), folder / f"picture.{ending}", title=name)
    assert isinstance(made, Path)
    return made


# ------------------------------------------------------------------- what a file is made of


def elements(root: ET.Element) -> list[tuple[str, list[str]]]:
    return [(each.tag, sorted(each.attrib)) for each in root.iter()]


def svg_structure(file: Path) -> Any:
    return elements(ET.fromstring(file.read_bytes()))


def dot_structure(file: Path) -> Any:
    """What Graphviz makes of it; without Graphviz, that no text leaves its quotes."""
    text = file.read_text(encoding="utf-8")
    if find_graphviz() is None:
        return len(text.splitlines())
    arguments = ["-Kneato", "-n2", "-Tjson"] if "pos=" in text else ["-Kdot", "-Tjson"]
    answer = json.loads(run_graphviz(arguments, text))
    painted = run_graphviz([*arguments[:-1], "-Tsvg"], text)
    tags = [tag for tag, _ in elements(ET.fromstring(painted))]
    objects = [each["name"] for each in answer["objects"]]
    edges = [(each["tail"], each["head"]) for each in answer["edges"]]
    # Spaces alone are no text to Graphviz.
    return objects, edges, sorted(set(tags)), tags.count("{http://www.w3.org/2000/svg}g")


def json_structure(file: Path) -> Any:
    assert read_picture(file).json == file.read_text(encoding="utf-8")

    def outline(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: outline(each) for key, each in value.items()}
        return [outline(each) for each in value] if isinstance(value, list) else None

    scene = json.loads(file.read_bytes())["scene"]
    return outline(scene)


def lines_structure(file: Path) -> Any:
    """Texts are read by line: none may be added, and nothing may steer a terminal."""
    text = file.read_bytes().decode("utf-8")
    assert all(line.isprintable() for line in text.split("\n"))
    return len(text.split("\n"))


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, sorted(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}", []))


def html_structure(file: Path) -> Any:
    parser = _Tags()
    parser.feed(file.read_bytes().decode("utf-8"))
    parser.close()
    return parser.found


def mmd_structure(file: Path) -> Any:
    """Mermaid without its quoted texts: arrows, brackets and key words are ours alone."""
    text = file.read_bytes().decode("utf-8")
    assert all(line.isprintable() for line in text.split("\n"))
    assert "%%" not in text
    assert not any(re.search(r"#(?!\w+;)", words) for words in re.findall(r'"[^"\n]*"', text))
    return re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text)


def begins(start: bytes) -> Callable[[Path], Any]:
    return lambda file: file.read_bytes()[: len(start)] == start


STRUCTURES: dict[str, Callable[[Path], Any]] = {
    "svg": svg_structure,
    "dot": dot_structure,
    "json": json_structure,
    "txt": lines_structure,
    "html": html_structure,
    "mmd": mmd_structure,
    "png": begins(b"\x89PNG"),
    "pdf": begins(b"%PDF"),
}
PAINTED = ("markup", "controls", "surrogate", "emoji", "long markup")
"""Names for the forms that take long and are only looked at by their beginning."""
SMALL = 200_000
"""Bytes: a name of 100,000 characters stands nowhere in full."""


def test_every_form_is_looked_at() -> None:
    assert set(FORMATS) <= STRUCTURES.keys()


@pytest.mark.filterwarnings("ignore:Glyph")  # matplotlib's font lacks some
@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_names_do_not_change_what_a_file_is_made_of(
    make: Callable[[str], gn.Graph], ending: str, tmp_path: Path
) -> None:
    structure = STRUCTURES[ending]
    plain = written(PLAIN, make, ending, tmp_path)
    wanted, most = structure(plain), plain.stat().st_size + SMALL
    for what in PAINTED if ending in ("png", "pdf") else HOSTILE:
        name = HOSTILE[what]
        file = written(name, make, ending, tmp_path)
        assert structure(file) == wanted, what
        assert file.stat().st_size < most, what
        first = file.read_bytes()
        second = written(name, make, ending, tmp_path).read_bytes()
        assert second == first, what


def test_names_of_parts_of_models_are_harmless(tmp_path: Path) -> None:
    class Net(gn.nn.Module):
        def __init__(self, name: str) -> None:
            self.parts = {name: gn.nn.Dense(3, 2)}

        def forward(self, x: gn.Node) -> gn.Node:
            (part,) = self.parts.values()
            return part(x)

    def make(name: str) -> gn.Graph:
        x = gn.input("x", shape=(4, 3))
        return gn.Graph((x,), (Net(name)(x),))

    for ending in ("svg", "dot", "json", "txt"):
        wanted = STRUCTURES[ending](written(PLAIN, make, ending, tmp_path))
        for what, name in HOSTILE.items():
            file = written(name.replace("/", "|"), make, ending, tmp_path)
            assert STRUCTURES[ending](file) == wanted, (ending, what)


def test_programs_of_hostile_names(tmp_path: Path) -> None:
    for what, name in HOSTILE.items():
        step = gn.compile((), gn.tanh(gn.parameter([1.0], name=name)), native="never")
        for ending in ("svg", "dot", "txt"):
            wanted = STRUCTURES[ending]
            assert wanted(Path(str(gn.render(step, tmp_path / f"a.{ending}")))), what


# ------------------------------------------------------------------------- where it is written


@pytest.mark.parametrize("name", ["a b", "名前 🙂", "-o", "quote'\"", "%s", "a\nb", ".hidden"])
def test_files_and_folders_of_odd_names(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for ending in FORMATS:
        target = folder / f"{name}.{ending}"
        assert gn.render(gn.input("x", shape=()), target) == target
        assert target.stat().st_size > 0


@pytest.mark.parametrize("name", ["a\x00b.svg", "n" * 1000 + ".svg", "lone \ud800.svg"])
def test_paths_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="cannot write"):
        gn.render(gn.input("x", shape=()), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_where_a_folder_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RenderError, match=r"cannot write[\s\S]*folder"):
        gn.render(gn.input("x", shape=()), tmp_path / "file" / "a.svg")


def test_what_is_there_stays_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.svg"
    target.write_text("precious")

    def broken(_: Picture) -> str:
        raise RenderError("no", where="")

    monkeypatch.setattr(Picture, "svg", property(broken))
    with pytest.raises(RenderError):
        gn.render(gn.input("x", shape=()), target)
    assert target.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [target]
