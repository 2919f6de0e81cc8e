"""The command line: what is found in a script, what is drawn of it, and what is said otherwise."""

import json
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import graphnn as gn
from graphnn.cli.main import main

ROOT = Path(__file__).resolve().parents[1]

NET = """
import graphnn as gn

x = gn.input("x", shape=("batch", 3))
w = gn.parameter([1.0, 2.0, 3.0], name="w")
y = gn.tanh(x * w)
loss = gn.sum(gn.square(y)).named("loss")
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def script(text: str, name: str = "net.py") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def labels(file: str) -> list[str]:
    """The words in the boxes of a picture written as .json."""
    return [node["label"] for node in json.loads(Path(file).read_text())["scene"]["nodes"]]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said when something cannot be done; nothing may be written then."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    assert main(["render", *arguments]) == 1
    assert sorted(Path().rglob("*")) == before
    return capsys.readouterr().err


# ------------------------------------------------------------------------------ what is drawn


def test_the_nodes_that_no_other_reads_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", script(NET)]) == 0
    assert capsys.readouterr().out == "net.svg\n"
    assert Path("net.svg").read_text().startswith("<svg")
    main(["render", "net.py", "-o", "net.json", "--title", "a <title>"])
    assert labels("net.json")[-1] == "loss"
    assert json.loads(Path("net.json").read_text())["scene"]["title"] == "a <title>"


def test_a_name_chooses() -> None:
    main(["render", script(NET) + ":y", "-o", "y.json"])
    assert labels("y.json") == ["x", "w", "multiply", "tanh"]


@pytest.mark.parametrize(
    ("more", "last"),
    [
        ("other = gn.exp(y)", "exp"),
        ("gradient = gn.grad(loss, w).named('dw')", "dw"),
        ("graph = gn.Graph((x,), (y,))", "tanh"),
        ("step = gn.compile([], gn.exp(w), native='never'); graph = gn.Graph((x,), (y,))", "exp"),
        ("alias = loss", "loss"),
        ("both = [loss, y]", "loss"),
        ("_hidden = gn.exp(loss)", "loss"),
        ("picture = gn.render(y)", "tanh"),
        ("def unused(): return gn.exp(x)", "loss"),
        ("import sys; sys.exit()", "loss"),
    ],
)
def test_the_most_telling_thing_is_drawn(more: str, last: str) -> None:
    assert main(["render", script(NET + more), "-o", "a.json"]) == 0
    assert labels("a.json")[-1] == last


def test_what_a_function_returns_is_drawn() -> None:
    text = NET + "def make(power=3): return {'z': y ** power}"
    assert main(["render", script(text) + ":make", "-o", "a.json"]) == 0
    assert labels("a.json")[-1] == "• ^ 3"


def test_all_candidates_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", script(NET + "graph = gn.Graph((x,), (y,))"), "--list"]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    nodes = [[name, "node"] for name in ("x", "w", "y", "loss")]
    assert rows == [*nodes, ["graph", "graph"]]
    assert sorted(Path().iterdir()) == [Path("net.py")]


def test_a_script_runs_as_if_it_were_started_but_defines_only() -> None:
    Path("folder").mkdir()
    script(NET, "folder/neighbour.py")
    text = """
from dataclasses import dataclass
import sys
from neighbour import y
assert sys.argv == [__file__], sys.argv
@dataclass
class Sizes:
    width: int
if __name__ == "__main__":
    raise AssertionError("training")
"""
    places, arguments = sys.path[:], sys.argv[:]
    assert main(["render", script(text, "folder/net.py"), "-o", "a.svg"]) == 0
    assert (sys.path, sys.argv) == (places, arguments)
    sys.modules.pop("neighbour")


def test_options_reach_the_picture() -> None:
    text = """
import graphnn as gn
model = gn.nn.Sequential(gn.nn.Dense(4, 3), gn.nn.ReLU())
x = gn.input("x", shape=(2, 4))
def recurrence():
    h = x
    for t in range(9):
        with gn.time_step(t):
            h = gn.tanh(h)
    return h
def expression():
    return gn.tanh(gn.input("z", shape=()))
"""
    assert main(["render", script(text) + ":model", "-o", "a.json", "--inputs", "f32[7, 4]"]) == 0
    assert "f32[7, 4]" in Path("a.json").read_text()
    main(["render", "net.py:model", "-o", "b.json", "--inputs", "x", "--depth", "0"])
    assert "f32[2, 4]" in Path("b.json").read_text()
    assert len(labels("b.json")) < len(labels("a.json"))
    main(["render", "net.py:recurrence", "-o", "c.json", "--steps", "2", "--layout", "grid"])
    main(["render", "net.py:recurrence", "-o", "d.json", "--steps", "all"])
    assert len(labels("c.json")) < len(labels("d.json")) == 10
    main(["render", "net.py:expression", "-o", "e.json", "--derivatives"])
    edges = json.loads(Path("e.json").read_text())["scene"]["edges"]
    assert all(edge["label"] for edge in edges)


# ----------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("more", "name", "said"),
    [
        ("alone = gn.Graph((), ()); a = gn.Graph((), (y,))", "", ["2 things", "alone "]),
        ("a, b = gn.Graph((), (y,)), gn.Graph((), (x,))", "", ["a      ", "b      ", "graph"]),
        ("", ":missing", ["there is no 'missing'", "loss "]),
        ("text = 'hello'", ":text", ["'text' is of type str", "SCRIPT:NAME"]),
        ("def f(x): return x", ":f", ["'f' is of type function"]),
        ("def f(): return 3", ":f", ["'f' is of type int"]),
    ],
)
def test_candidates_are_told(
    more: str, name: str, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(capsys, script(NET + more) + name)
    for words in said:
        assert words in told


def test_scripts_that_fail_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, script("def f():\n    return 1 / 0\nf()\n"))
    assert "ZeroDivisionError" in told
    assert 'net.py", line 2, in f' in told
    assert "script.py" not in told
    assert "SyntaxError" in refused(capsys, script("x = = 3"))
    assert "exit status 3" in refused(capsys, script("raise SystemExit(3)"))
    assert "defines nothing" in refused(capsys, script("x = 3"))
    assert "No such file" in refused(capsys, "missing.py")
    assert "cannot tell the format" in refused(capsys, script(NET), "-o", "a.gif")
    assert "inputs" in refused(capsys, script("import graphnn as gn; m = gn.nn.Dense(2, 3)"))
    told = refused(capsys, "net.py", "--inputs", "2x3")
    assert "'2x3' is no variable" in told
    assert "bool, i8" in told
    assert "its folder" in refused(capsys, script(NET), "-o", "nowhere/a.svg")


def test_functions_that_fail_are_shown_and_run_as_if_started(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = """
import sys
import graphnn as gn
def fails():
    return 1 / 0
def make():
    assert sys.argv == [__file__], sys.argv
    return gn.tanh(gn.input("x", shape=(3,)))
"""
    told = refused(capsys, script(text) + ":fails")
    assert "ZeroDivisionError" in told
    assert told.count("File ") == 1
    assert 'net.py", line 5, in fails' in told
    assert main(["render", "net.py:make", "-o", "a.json"]) == 0


def test_histories_are_drawn() -> None:
    text = NET.replace('"batch"', "2") + "past = gn.viz.history(gn.Graph((x,), (y,)))"
    assert main(["render", script(text) + ":past", "-o", "a.svg"]) == 0
    assert Path("a.svg").read_text().startswith("<svg")


def test_the_command_line_speaks_of_its_own_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, script("import graphnn as gn; m = gn.nn.Dense(2, 3)"))
    assert "--inputs" in told
    told = refused(capsys, script("raise AssertionError('it has run')"), "-o", "a.gif")
    assert "cannot tell the format" in told
    with pytest.raises(SystemExit, match="2"):
        main(["render", "net.py", "--steps", "many"])
    assert "'many' is none of auto, all and rolled" in capsys.readouterr().err


def test_arguments_nobody_knows_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["draw"], ["render"], ["render", "a.py", "--steps", "many"]):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
    assert "argument --steps" in capsys.readouterr().err


# -------------------------------------------------------------------------------- picture files


def test_a_picture_file_takes_any_other_form() -> None:
    x = gn.input("x", shape=(3,))
    with gn.time_step(0):
        h = gn.tanh(x)
    gn.render(h, "a.json", title="one step")
    gn.render(h, "a.svg", title="one step")
    assert main(["render", "a.json", "-o", "b.svg"]) == 0
    assert Path("a.svg").read_bytes() == Path("b.svg").read_bytes()
    assert main(["render", "a.json", "-o", "b.json"]) == 0
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()


def test_a_picture_file_is_no_script(capsys: pytest.CaptureFixture[str]) -> None:
    gn.render(gn.input("x", shape=(3,)), "a.json", title="the title")
    assert main(["render", "a.json", "--list"]) == 0
    assert capsys.readouterr().out.split(maxsplit=2) == ["a.json", "picture", "the title\n"]
    assert "which form" in refused(capsys, "a.json")
    assert "takes no --steps" in refused(capsys, "a.json", "-o", "b.svg", "--steps", "3")
    assert "takes no --name" in refused(capsys, "a.json:x", "-o", "b.svg")
    told = refused(capsys, script("x = 3", "b.json"), "-o", "b.svg")
    assert "b.json holds no picture" in told


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("step.html", "of pictures only .json can be read again"),
        ("step.svg", "of pictures only .json can be read again"),
        ("work.ipynb", "is a notebook"),
        ("net.gng", "holds no graph"),
        ("data.csv", "no script, no saved graph and no picture"),
    ],
)
def test_what_is_no_script_does_not_run(
    capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    told = refused(capsys, script("raise SystemExit('it ran')", name))
    assert words in told
    assert "it ran" not in told


def test_numbers_below_zero_are_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    for option, words in (("--depth=-1", "counted from 0"), ("--steps=0", "from 1 on")):
        with pytest.raises(SystemExit):
            main(["render", "a.py", option])
        assert words in capsys.readouterr().err


# -------------------------------------------------------------------------------- the command


def test_the_command_is_installed_and_a_module() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        place = tomllib.load(file)["project"]["scripts"]["graphnn"]
    module, _, name = place.partition(":")
    assert getattr(import_module(module), name) is main
    command = [sys.executable, "-P", "-m", "graphnn"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"graphnn {gn.__version__}\n"
    script(NET)
    done = subprocess.run([*command, "render", "net.py:z"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("graphnn: there is no 'z'")
    assert "Traceback" not in done.stderr


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["render", "--help"]):
        with pytest.raises(SystemExit, match="0"):
            main(arguments)
        told: Any = capsys.readouterr().out
        assert "render" in told


# ------------------------------------------------------------------------------------------ info


def test_info_tells_versions_threads_and_caches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "kernel").write_bytes(b"x" * 1_500_000)
    monkeypatch.setenv("GRAPHNN_CACHE_DIR", str(cache))
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["graphnn"] == gn.__version__
    assert found["threads"] == str(gn.get_num_threads())
    assert found["cache of native code"] == f"{cache}: 1 file, 1.43 MiB"
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == list(found)
    monkeypatch.setenv("GRAPHNN_CACHE_DIR", "")
    assert main(["info", "--json"]) == 0
    assert "GRAPHNN_CACHE_DIR" in json.loads(capsys.readouterr().out)["cache of native code"]


def test_info_says_why_there_is_no_gpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["GPU"] == 'none: backend="cupy" needs CuPy, which is not installed'
    assert found["backend"] == "numpy"


# ------------------------------------------------------------------------------------------ demo


def test_the_demo_says_at_once_what_is_not_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"scikit-learn": "json", "statsmodels": "no_such_module", "matplotlib": "nor_this"}
    monkeypatch.setattr("graphnn.cli.demo.PACKAGES", there)
    assert main(["demo"]) == 1
    told = capsys.readouterr().err
    assert "needs statsmodels, matplotlib, which are not installed" in told
    assert "pip install 'graphnn[viz,data]'" in told
    assert not any(Path().iterdir())
