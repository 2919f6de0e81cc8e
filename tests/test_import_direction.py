"""Imports go one way: core <- ops <- compiler <- everything else, and never to a second copy.

Every import statement counts: at module level, inside functions and under ``TYPE_CHECKING``, and
so do module names passed to ``import_module`` or ``__import__``.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"graphnn": "graphnn", "ops": "graphnn.ops", "compiler": "graphnn.compiler"}

# What the modules of each layer may import of graphnn. Whatever is not listed may import all.
LAYERS = {
    "graphnn.core": ("graphnn.core",),
    "graphnn.ops": ("graphnn.core", "graphnn.ops"),
    "graphnn.compiler": ("graphnn.core", "graphnn.ops", "graphnn.compiler"),
}


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def module_name(file: Path) -> str:
    """The name that a file of the three folders is imported under."""
    folder, *rest = file.relative_to(ROOT).with_suffix("").parts
    return ".".join([FOLDERS[folder], *rest]).removesuffix(".__init__")


def imported_modules(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of all that ``source``, a module of ``package``, imports.

    ``from a import b`` counts as ``a.b``: the name alone does not tell whether b is a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            origin = base if node.level else []
            for alias in node.names:
                tail = [node.module] if node.module else []
                yield node.lineno, ".".join([*origin, *tail, alias.name])
        elif isinstance(node, ast.Call) and node.args:
            function = node.func
            called = getattr(function, "attr", getattr(function, "id", None))
            argument = node.args[0]
            if (
                called in ("import_module", "__import__")
                and isinstance(argument, ast.Constant)
                and isinstance(argument.value, str)
            ):
                yield node.lineno, argument.value


def wrong_way(source: str, module: str, package: str) -> list[str]:
    """Describe the imports that the layer of ``module`` may not make."""
    allowed = next((LAYERS[layer] for layer in LAYERS if is_within(module, layer)), None)
    if allowed is None:
        return []
    return [
        f"line {line}: {module} imports {name}"
        for line, name in imported_modules(source, package)
        if is_within(name, "graphnn") and not any(is_within(name, layer) for layer in allowed)
    ]


def second_copies(source: str, package: str) -> list[str]:
    """Describe the imports of a top-level ``ops`` or ``compiler``."""
    return [
        f"line {line}: {name}"
        for line, name in imported_modules(source, package)
        if is_within(name, "ops") or is_within(name, "compiler")
    ]


def library_files() -> list[Path]:
    return sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))


def all_files() -> list[Path]:
    others = ("tests", "examples", "benchmarks", "docs")
    return library_files() + sorted(file for name in others for file in (ROOT / name).rglob("*.py"))


def test_the_layers_exist() -> None:
    modules = {module_name(file) for file in library_files()}
    assert modules >= LAYERS.keys()


def test_imports_go_one_way() -> None:
    found = []
    for file in library_files():
        module = module_name(file)
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        found += wrong_way(file.read_text(encoding="utf-8"), module, package)
    assert not found, "core <- ops <- compiler <- the rest:\n" + "\n".join(found)


def test_nothing_imports_a_second_copy() -> None:
    found = [
        f"{file.relative_to(ROOT)}, {copy}"
        for file in all_files()
        for copy in second_copies(file.read_text(encoding="utf-8"), "")
    ]
    assert not found, "import graphnn.ops and graphnn.compiler instead:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("graphnn.core.node", "import graphnn.ops"),
        ("graphnn.core.node", "import graphnn"),
        ("graphnn.core.node", "from graphnn import nn"),
        ("graphnn.core.node", "from graphnn.ops.linear import matmul"),
        ("graphnn.core.node", "from ..ops import add"),
        ("graphnn.core.node", "from .. import compiler"),
        ("graphnn.core.node", "def f():\n    from graphnn.ops import add"),
        ("graphnn.core.node", "if TYPE_CHECKING:\n    from graphnn.compiler import Program"),
        ("graphnn.core.node", "importlib.import_module('graphnn.ops')"),
        ("graphnn.core.node", "__import__('graphnn.viz')"),
        ("graphnn.ops.linear", "import graphnn.compiler.passes"),
        ("graphnn.ops.linear", "from graphnn import losses"),
        ("graphnn.compiler.passes.fuse", "from graphnn.nn import Dense"),
        ("graphnn.compiler.passes.fuse", "from ...optim import Adam"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    assert len(wrong_way(source, module, module.rpartition(".")[0])) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("graphnn.core.node", "from graphnn.core.spec import TensorSpec"),
        ("graphnn.core.node", "from .spec import TensorSpec"),
        ("graphnn.core.node", "import operator, numpy as np"),
        ("graphnn.core.node", "import graphnnx"),
        ("graphnn.ops.linear", "from graphnn import core"),
        ("graphnn.ops.linear", "from graphnn.ops.elementwise import add"),
        ("graphnn.compiler.passes.fuse", "from .. import pipeline"),
        ("graphnn.compiler.passes.fuse", "from graphnn.ops import add"),
        ("graphnn.nn.dense", "import graphnn\nfrom graphnn.compiler import compile"),
    ],
)
def test_a_right_import_is_not_found(module: str, source: str) -> None:
    assert wrong_way(source, module, module.rpartition(".")[0]) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import ops", 1),
        ("import numpy, ops.linear as linear", 1),
        ("from compiler.passes import fuse", 1),
        ("def f():\n    from ops import add, sub", 2),
        ("import_module('ops')", 1),
        ("import graphnn.ops, opsis\nfrom graphnn import ops, compiler", 0),
    ],
)
def test_a_second_copy_is_found(source: str, count: int) -> None:
    assert len(second_copies(source, "")) == count
