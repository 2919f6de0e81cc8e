"""Examples run, wherever they stand: in docstrings, on the pages, in the table of operations."""

import doctest
import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import graphnn.compiler
import graphnn.ops
from graphnn.compiler import batching, compilation, program
from graphnn.compiler.autodiff import check, derivatives
from graphnn.compiler.domain import NATIVE_OPS
from graphnn.compiler.native.moves import LOWERINGS
from graphnn.compiler.native.scalars import is_native
from graphnn.core.op import REGISTRY, Op
from graphnn.ops.contract import OPERATIONS
from graphnn.ops.control import PROJECT, TUPLE

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "generate_op_table.py"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]

BLOCK = re.compile(r"^```(?:\{code-cell\} )?(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
graphnn.ops.load_all()  # before the registries are looked at

FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Examples may write files and define operators: both are gone afterwards."""
    monkeypatch.chdir(tmp_path)
    kept = [(registry, dict(registry)) for registry in (REGISTRY, OPERATIONS)]
    yield
    for registry, before in kept:
        registry.clear()
        registry.update(before)


# ------------------------------------------------------------------------------------- examples


def modules() -> list[str]:
    """Every module of graphnn, under the name by which users import it."""
    found = {"graphnn"}
    for package in (graphnn, graphnn.ops, graphnn.compiler):
        walked = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        found |= {package.__name__, *(each.name for each in walked)}
    return sorted(found)


def run_examples(test: doctest.DocTest) -> str:
    """What went wrong in some examples; nothing if all is well."""
    complaints: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=complaints.append, clear_globs=False)
    return "".join(complaints)


@pytest.mark.parametrize("name", modules())
def test_examples_of_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)
    tests = doctest.DocTestFinder(exclude_empty=True).find(module, name)
    failed = [run_examples(test) for test in tests]
    assert not any(failed), "".join(failed)


BASES_AND_RESULTS = {
    *("nn.Conv", "nn.ConvTranspose", "nn.LocallyConnected", "nn.WeightedCell"),
    *("nn.RecurrentNet", "nn.SequenceLayer", "nn.Decoded", "nn.PassingState"),
    *("train.LearningRates", "io.Checkpoint", "io.CheckpointWarning", "io.Part", "train.Run"),
    "train.TensorBoard",  # it needs a package of its own
    "data.load_cmudict",  # it takes a second, and docs/data.md has it
}
"""What others are made of, and what functions give: it has no example of its own."""


def test_all_that_users_call_has_an_example() -> None:
    without = set()
    for name in ("nn", "init", "losses", "metrics", "optim", "train", "data", "io"):
        for word, thing in vars(getattr(graphnn, name)).items():
            is_ours = callable(thing) and str(thing.__module__).startswith(f"graphnn.{name}")
            if is_ours and not word.startswith("_") and ">>>" not in (thing.__doc__ or ""):
                without.add(f"{name}.{word}")
    assert without == BASES_AND_RESULTS


def test_examples_of_operators_are_found() -> None:
    # Elementwise operators are objects, not functions: doctest must see them all the same.
    found = doctest.DocTestFinder().find(graphnn.ops.activation, "graphnn.ops.activation")
    assert "graphnn.ops.activation.relu" in [test.name for test in found]


def test_a_wrong_example_is_found() -> None:
    parser = doctest.DocTestParser()
    assert not run_examples(parser.get_doctest(">>> 1 + 1\n2\n", {}, "right", None, 0))
    assert run_examples(parser.get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0))


# ---------------------------------------------------------------------------------------- pages


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    ``kind`` is the word behind the fence, ``line`` the one that the fence stands on.
    """

    kind: str
    code: str
    line: int


def blocks(text: str) -> list[Block]:
    return [
        Block(*found.groups(), line=text.count("\n", 0, found.start()) + 1)
        for found in BLOCK.finditer(text)
    ]


def run_block(block: Block, page: Path, names: dict[str, Any]) -> None:
    """Run Python code, a cell of a notebook, or an interactive session."""
    if block.kind == "pycon":
        test = doctest.DocTestParser().get_doctest(block.code, {}, page.name, str(page), block.line)
        test.globs = names
        complaints = run_examples(test)
        assert not complaints, complaints
    elif block.kind in ("python", "ipython3"):
        code = compile("\n" * block.line + block.code, str(page), "exec")
        exec(code, names)


@each_page
def test_code_of_pages_runs(page: Path) -> None:
    names = {"__name__": page.stem}
    for block in blocks(page.read_text(encoding="utf-8")):
        run_block(block, page, names)


def test_wrong_code_on_a_page_is_found() -> None:
    page, names = Path("page.md"), {"__name__": "page"}
    text = "```python\nx = 1\n```\n\n```pycon\n>>> x\n1\n```\n\n```pycon\n>>> x\n2\n```\n"
    first, second, third = blocks(text)
    run_block(first, page, names)
    run_block(second, page, names)
    with pytest.raises(AssertionError, match=r'page\.md", line 11'):
        run_block(third, page, names)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and Sphinx give to the headings of a page."""
    headings = HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for target in LINK.findall(prose(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


def test_reference_is_complete() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\.\. auto\w+:: (?:[\w.]+\.)?(\w+)$", text, re.MULTILINE))
    wanted = {
        *derivatives.__all__,
        *compilation.__all__,
        *program.__all__,
        *check.__all__,
        *batching.__all__,
        *graphnn.viz.__all__,
    }
    for name, operation in OPERATIONS.items():
        if "\n    Parameters\n" in (operation.function.__doc__ or ""):
            wanted.add(name.rpartition(".")[2])
    assert wanted - listed == set()


def has_native_code(op: Op) -> bool:
    """Whether there is native code for an operator on numbers of some dtype that is not complex."""
    if op.is_elementwise:
        return any(is_native(op.name, [kind] * 3) for kind in ("bool", "int64", "float32"))
    return op.name in NATIVE_OPS or op.name in LOWERINGS or bool(op.body_attrs)


def test_operators_of_the_host_are_listed() -> None:
    text = (ROOT / "docs" / "native.md").read_text(encoding="utf-8")
    section = text.split("## What the host computes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*`) \|", section, re.MULTILINE)
    computed = (op for op in REGISTRY.values() if op.has_kernel and op not in (TUPLE, PROJECT))
    wanted = {op.name for op in computed if not (op.is_source or op.is_view or has_native_code(op))}
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == wanted


# ------------------------------------------------------------------------------------ pictures


def test_pictures_are_up_to_date(tmp_path: Path) -> None:
    script = ROOT / "docs" / "make_pictures.py"
    subprocess.run([sys.executable, "-P", str(script), str(tmp_path)], check=True, timeout=300)
    drawn = {file.name: file.read_bytes() for file in tmp_path.glob("*.svg")}
    kept = {file.name: file.read_bytes() for file in (ROOT / "docs" / "pictures").glob("*.svg")}
    stale = [name for name in drawn.keys() | kept.keys() if drawn.get(name) != kept.get(name)]
    assert not stale, f"python docs/make_pictures.py draws {', '.join(sorted(stale))} differently"


def test_every_example_of_the_gallery_stands_above_its_picture() -> None:
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    drawn = [
        re.findall(r'"([\w-]+\.svg)"', block.code)
        for block in blocks(text)
        if block.kind == "python"
    ]
    shown = re.findall(r"^```\n\n!\[[^]]+\]\(pictures/([\w-]+\.svg)\)$", text, re.MULTILINE)
    assert [[name] for name in shown] == drawn
    sizes = [(ROOT / "docs" / "pictures" / name).stat().st_size for name in shown]
    assert max(sizes) < 100_000


# -------------------------------------------------------------------------- table of operations


def check_table(script: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_table_of_operations_is_up_to_date() -> None:
    done = check_table(TABLE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_outdated_table_is_found(tmp_path: Path) -> None:
    script = Path(shutil.copy(TABLE, tmp_path))
    text = TABLE.with_name("ops.md").read_text(encoding="utf-8")
    (tmp_path / "ops.md").write_text(text.replace("| Square root. |", "| A root. |"), "utf-8")
    done = check_table(script)
    assert done.returncode == 1
    assert "-| `sqrt(x)` | A root." in done.stdout
    assert "+| `sqrt(x)` | Square root." in done.stdout
