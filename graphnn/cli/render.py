"""``graphnn render``: a picture of what a script defines, or of what a file holds."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphnn.cli.script import Candidate, candidates, chosen, named, run_script
from graphnn.core.dtypes import DTYPES, short_name
from graphnn.core.errors import ArgumentError
from graphnn.core.spec import TensorSpec
from graphnn.io.graphs import load_graph
from graphnn.io.tensors import holds_tensors
from graphnn.ops.axes import as_shape
from graphnn.viz.overlays import Measurement
from graphnn.viz.picture import FORMATS, Picture, checked_target
from graphnn.viz.rendering import render
from graphnn.viz.scene import Overlay
from graphnn.viz.scene_reader import read_picture

__all__ = ["add_to", "run"]

_DTYPES = {short_name(dtype): dtype for dtype in DTYPES}

DESCRIPTION = f"""\
Draw what a script defines: a graph, a node with all it depends on, a program, a model, a history.

The script runs as a module: what stands behind `if __name__ == "__main__":` does not run. Without
a NAME, the only program in it is drawn, else the only history of a program, else the only graph,
else all nodes that no other reads.
A NAME may also be that of a function without arguments, which returns what to draw.

A file that gn.io.save_graph has written is drawn. A .json file that was written by graphnn is
turned into any other form.

Forms, by the ending of FILE: .{", .".join(FORMATS)}
"""

EXAMPLES = """\
examples:
  graphnn render lstm.py                        draw it as lstm.svg
  graphnn render lstm.py:step -o step.html      the program `step`, to explore in a browser
  graphnn render lstm.py --steps 3              the first and the last three time steps
  graphnn render net.py:model --inputs "f32[batch, 64]"
  graphnn render train.py:loss --overlay norms  what the script measured, as colours
  graphnn render model.gng                      the graph that gn.io.save_graph has saved there
  graphnn render step.json -o step.pdf          another form of the same picture
"""


def add_to(commands: Any) -> None:
    """Say what the command is called and which arguments it takes."""
    parser = commands.add_parser(
        "render",
        help="draw what a script defines",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", metavar="SCRIPT[:NAME]", help="or a saved graph or .json picture")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="by default the script's name with .svg"
    )
    parser.add_argument("--list", action="store_true", help="say what could be drawn, and stop")
    parser.add_argument("--title", help="above the picture")
    parser.add_argument(
        "--layout",
        choices=("auto", "dot", "grid"),
        default="auto",
        help="who finds the positions: Graphviz, or graphnn's grid of time and operations",
    )
    parser.add_argument(
        "--steps",
        metavar="all|rolled|K",
        type=_steps,
        help="time steps that are shown: all, one cell with loops, or the first and last K",
    )
    parser.add_argument(
        "--depth", metavar="N|all", type=_depth, help="name scopes that are deeper become one box"
    )
    parser.add_argument(
        "--derivatives", action="store_true", default=None, help="local derivatives on the edges"
    )
    parser.add_argument(
        "--inputs",
        metavar="INPUT",
        nargs="+",
        help='what a model is called with: names of the script\'s nodes, or "f32[batch, 64]"',
    )
    parser.add_argument(
        "--overlay",
        metavar="NAME",
        help="the script's variable with what gn.viz.measure gave, or one like it",
    )
    parser.set_defaults(run=run)


def _steps(text: str) -> str | int:
    """The argument ``steps`` of :func:`graphnn.render`; argparse words what is wrong."""
    if text not in ("auto", "all", "rolled") and not (text.isdecimal() and int(text) > 0):
        raise ArgumentTypeError(
            f"{text!r} is none of auto, all and rolled, and no number of steps, from 1 on"
        )
    return int(text) if text.isdecimal() else text


def _depth(text: str) -> str | int:
    """The argument ``depth`` of :func:`graphnn.render`."""
    if text != "all" and not text.isdecimal():
        raise ArgumentTypeError(
            f"{text!r} is neither all nor a number of levels, which are counted from 0: 0 leaves "
            "the outermost scopes, such as the layers of a model"
        )
    return int(text) if text.isdecimal() else text


def run(arguments: Namespace) -> int:
    """Draw what was asked for, and say where the picture is."""
    script, name = _parted(arguments.what)
    if arguments.output is not None:
        checked_target(arguments.output)  # before a script runs for nothing
    options = _options(arguments)
    if script.suffix.lower() == ".json":
        picture = _read(script, name, arguments, options)
        if picture is None:
            return 0
    else:
        variables = _variables(script)
        if arguments.list:
            print("\n".join(map(str, candidates(variables))))
            return 0
        found = named(name, variables, script) if name else chosen(candidates(variables), script)
        if arguments.inputs:
            options["inputs"] = tuple(_input(each, variables) for each in arguments.inputs)
        if arguments.overlay:
            options["overlay"] = _overlay(arguments.overlay, variables, script)
        picture = _drawn(found, options)
    target = arguments.output
    if target is None:
        target = Path(f"{script.stem}.svg")
    print(picture.save(target))
    return 0


def _variables(file: Path) -> dict[str, Any]:
    """What a script defines; a file with a graph defines that."""
    return {"graph": load_graph(file)} if holds_tensors(file) else run_script(file)


def _overlay(name: str, variables: Mapping[str, Any], script: Path) -> Any:
    """The script's variable with a measurement, an overlay, or several of them."""
    value = variables.get(name)
    several = value if isinstance(value, list | tuple) and value else [value]
    if all(isinstance(each, Measurement | Overlay) for each in several):
        return value
    about = f"is of type {type(value).__name__}" if name in variables else "is not there"
    raise ArgumentError(
        f"--overlay: {name!r} {about} in {script}",
        hint=f"let the script measure: {name} = gn.viz.measure(graph, feeds)",
        where="",
    )


def _parted(what: str) -> tuple[Path, str]:
    """Path and name; a colon that no name follows belongs to the path."""
    path, colon, name = what.rpartition(":")
    return (Path(path), name) if colon and path and name.isidentifier() else (Path(what), "")


def _options(arguments: Namespace) -> dict[str, Any]:
    """The arguments of :func:`graphnn.render` that were given."""
    names = ("title", "steps", "depth", "derivatives")
    given = {name: getattr(arguments, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    return given if arguments.layout == "auto" else {**given, "layout": arguments.layout}


def _drawn(found: Candidate, options: Mapping[str, Any]) -> Picture:
    if found.kind != "picture":
        _check_inputs(found, options)
        made = render(found.thing, **options)
        assert isinstance(made, Picture)  # no path was given
        return made
    _refuse(options, f"{found.name!r} is a picture already")
    picture: Picture = found.thing
    return picture


def _check_inputs(found: Candidate, options: Mapping[str, Any]) -> None:
    """What is drawn for what it is called with is given that."""
    is_called = found.kind == "function" and found.thing.programs
    if found.kind in ("model", "function") and not is_called and "inputs" not in options:
        raise ArgumentError(
            f"{found.name!r} is a {found.kind}, which is drawn for what it is called with",
            hint='say it: --inputs "f32[batch, 64]", or the name of a node, for each input',
            where="",
        )


def _read(
    file: Path, name: str, arguments: Namespace, options: Mapping[str, Any]
) -> Picture | None:
    """The picture in a file; None where its contents were to be listed."""
    picture = read_picture(file)
    if arguments.list:
        print(f"{file.name:<16} picture  {picture.scene.title}")
        return None
    if arguments.inputs:
        options = {**options, "inputs": arguments.inputs}
    if arguments.overlay:
        options = {**options, "overlay": arguments.overlay}
    _refuse({**options, **({"name": name} if name else {})}, f"{file} is a picture already")
    if arguments.output is None:
        raise ArgumentError(
            f"which form shall {file} take?", hint="name it: -o picture.png", where=""
        )
    return picture


def _refuse(options: Mapping[str, Any], why: str) -> None:
    """Say that there is nothing that some options could be about."""
    if options:
        raise ArgumentError(
            f"{why}: it takes no --{', --'.join(options)}",
            hint="leave it out, or give a script, in which there is more to choose from",
            where="",
        )


def _input(text: str, variables: Mapping[str, Any]) -> Any:
    """A variable of the script, or dtype and shape as graphnn writes them: ``f32[batch, 64]``."""
    if text in variables:
        return variables[text]
    written = re.fullmatch(r"(\w+)\[([^][]*)\]", text.strip())
    dtype = _DTYPES.get(written[1]) if written is not None else None
    if written is None or dtype is None:
        raise ArgumentError(
            f"--inputs: {text!r} is no variable of the script, and no dtype with a shape",
            hint=f'write "f32[batch, 64]", with one of {", ".join(_DTYPES)}',
            where="",
        )
    sizes = [size.strip() for size in written[2].split(",") if size.strip()]
    return TensorSpec(
        as_shape("--inputs", [int(size) if size.isdecimal() else size for size in sizes]), dtype
    )
