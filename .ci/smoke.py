"""Import every module of an installed graphnn: ``smoke.py CHECKOUT (wheel|sdist|editable)``.

Run it outside the checkout, in an environment that has graphnn without its extras. It fails if a
module was not packed, needs an extra to be imported, or exists twice.
"""

import importlib
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

FOLDERS = {"graphnn": "graphnn", "graphnn.ops": "ops", "graphnn.compiler": "compiler"}


def module_names(checkout: Path) -> list[str]:
    """Every module that the checkout holds."""
    names = []
    for package, folder in FOLDERS.items():
        for file in sorted((checkout / folder).rglob("*.py")):
            parts = file.relative_to(checkout / folder).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            if "__main__" not in parts:
                names.append(".".join((package, *parts)))
    return names


def main() -> None:
    """Import, then look at what came in."""
    checkout, kind = Path(sys.argv[1]).resolve(), sys.argv[2]
    names = module_names(checkout)
    for name in names:
        importlib.import_module(name)

    twice = sorted({"ops", "compiler"} & sys.modules.keys())
    assert not twice, f"a second copy was imported: {twice}"
    places = [Path(str(sys.modules[name].__file__)).resolve() for name in names]
    assert len(set(places)) == len(places), "one file was imported under two names"
    inside = [place for place in places if place.is_relative_to(checkout)]
    assert inside == (places if kind == "editable" else []), f"imported from: {inside[:3]}"
    assert files("graphnn").joinpath("py.typed").is_file(), "py.typed was not packed"
    own = importlib.import_module("graphnn._version").__version__
    assert version("graphnn") == own, f"metadata {version('graphnn')}, code {own}"
    print(f"{kind}: {len(names)} modules of graphnn {own} imported")


if __name__ == "__main__":
    main()
