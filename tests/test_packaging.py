"""What is shipped, and what ``import graphnn`` costs and brings in."""

import importlib
import json
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from graphnn._version import __version__
from graphnn.ops import LAZY
from graphnn.viz.explorer import SCRIPTS

ROOT = Path(__file__).resolve().parents[1]

# Wanted by some features only: they are loaded where those features are used.
NOT_AT_IMPORT = {
    "aeon",
    "cupy",
    "graphviz",
    "jax",
    "matplotlib",
    "mlxtend",
    "networkx",
    "pandas",
    "scipy",
    "sklearn",
    "statsmodels",
    "torch",
    "tqdm",
}


def setuptools_table() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)["tool"]["setuptools"]
    return table


def packages_on_disk() -> dict[str, Path]:
    """Package name -> folder, for all folders that hold Python files."""
    found = {}
    for package, name in setuptools_table()["package-dir"].items():
        folders = {file.parent for file in (ROOT / name).rglob("*.py")}
        for folder in folders:
            found[".".join((package, *folder.relative_to(ROOT / name).parts))] = folder
    return found


def files_of(folder: Path, packages: set[Path]) -> list[Path]:
    """Files of one package: in its folder, and in folders inside it that are no packages."""
    return [
        file
        for file in folder.rglob("*")
        if file.is_file()
        and "__pycache__" not in file.parts
        and next(parent for parent in file.parents if parent in packages) == folder
    ]


def in_fresh_interpreter(code: str, cwd: Path) -> Any:
    """What ``code``, run outside the repository, prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_listed_packages_are_those_on_disk() -> None:
    listed = setuptools_table()["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == packages_on_disk().keys(), "update [tool.setuptools] packages"


def test_every_package_has_an_init() -> None:
    missing = [
        name
        for name, folder in packages_on_disk().items()
        if not (folder / "__init__.py").is_file()
    ]
    assert missing == []


def test_every_data_file_is_shipped() -> None:
    patterns, packages = setuptools_table()["package-data"], packages_on_disk()
    left_out = [
        str(file.relative_to(ROOT))
        for name, folder in packages.items()
        for file in files_of(folder, set(packages.values()))
        if file.suffix not in (".py", ".md")
        and not any(file.match(pattern) for pattern in patterns.get(name, []))
    ]
    assert left_out == [], "update [tool.setuptools.package-data]"


def test_the_explorer_is_made_of_all_files_of_its_page() -> None:
    scripts = {file.name for file in (ROOT / "graphnn" / "viz" / "page").glob("*.js")}
    assert set(SCRIPTS) == scripts
    assert len(SCRIPTS) == len(scripts)


def test_ops_and_compiler_are_not_inside_graphnn_on_disk() -> None:
    # There they would be imported instead of the folders beside graphnn/.
    assert not (ROOT / "graphnn" / "ops").exists()
    assert not (ROOT / "graphnn" / "compiler").exists()


def test_installed_version_is_the_one_in_the_code() -> None:
    assert version("graphnn") == __version__


@pytest.mark.parametrize("cwd", [ROOT, None], ids=["in the repository", "elsewhere"])
def test_no_file_is_imported_twice(cwd: Path | None, tmp_path: Path) -> None:
    code = """
import json, sys
import graphnn, graphnn.ops, graphnn.compiler
print(json.dumps({n: m.__file__ for n, m in sys.modules.items() if getattr(m, "__file__", None)}))
"""
    modules = in_fresh_interpreter(code, cwd or tmp_path)
    own = {name: file for name, file in modules.items() if name.split(".")[0] == "graphnn"}
    assert {"graphnn", "graphnn.ops", "graphnn.compiler"} <= own.keys()
    assert len(set(own.values())) == len(own)
    assert not {"ops", "compiler"} & modules.keys()


def test_import_brings_in_nothing_heavy(tmp_path: Path) -> None:
    code = "import json, sys, graphnn; print(json.dumps(sorted(sys.modules)))"
    modules = {name.split(".")[0] for name in in_fresh_interpreter(code, tmp_path)}
    assert not modules & NOT_AT_IMPORT


def test_programs_for_processors_bring_in_nothing_of_gpus(tmp_path: Path) -> None:
    code = """
import json, sys, graphnn as gn
x = gn.input("x", (2,))
gn.compile(x, gn.cumsum(x), native="never", backend="numpy")([1.0, 2.0])
print(json.dumps([name for name in sys.modules if name.startswith("graphnn.compiler.cuda.")]))
"""
    assert in_fresh_interpreter(code, tmp_path) == ["graphnn.compiler.cuda.interchange"]


def test_families_of_operators_export_what_the_table_says() -> None:
    for family, names in LAZY.items():
        module = importlib.import_module(f"graphnn.ops.{family}")
        assert tuple(module.__all__) == names, family


def test_families_of_operators_are_imported_when_they_are_used(tmp_path: Path) -> None:
    code = """
import json, sys, graphnn
before = [name for name in graphnn.ops.LAZY if f"graphnn.ops.{name}" in sys.modules]
listed = set(dir(graphnn))
graphnn.ops.load_all()
names = [name for names in graphnn.ops.LAZY.values() for name in names]
missing = [name for name in names if name not in listed or not hasattr(graphnn, name)]
print(json.dumps([before, missing]))
"""
    assert in_fresh_interpreter(code, tmp_path) == [[], []]


def test_everything_public_is_listed_and_imported_by_a_star(tmp_path: Path) -> None:
    code = """
import json, graphnn
listed = {name for name in dir(graphnn) if not name.startswith("__")}
star = {}
exec("from graphnn import *", star)
star.pop("__builtins__")
modules = sorted(name for name, value in star.items() if type(value).__name__ == "module")
print(json.dumps([sorted(listed ^ star.keys()), modules, len(star)]))
"""
    differing, modules, count = in_fresh_interpreter(code, tmp_path)
    assert differing == []
    namespaces = ["data", "init", "io", "losses", "metrics", "nn", "optim", "ops", "random"]
    assert modules == sorted([*namespaces, "train", "viz"])
    assert count > 300
