"""What can be drawn: one way from anything to the graph or program that is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphnn.compiler.garbage import without_collections
from graphnn.compiler.program import Program
from graphnn.core.errors import RenderError
from graphnn.core.graph import Graph, as_graph
from graphnn.core.node import Node
from graphnn.core.structure import flatten
from graphnn.core.text import counted
from graphnn.functions import Function
from graphnn.nn.calls import call_of
from graphnn.nn.module import Module
from graphnn.viz.convolutions import with_whole_convolutions
from graphnn.viz.program_scene import scene_of_program
from graphnn.viz.scene import Scene
from graphnn.viz.scopes import parameter_count, scoped
from graphnn.viz.steps import Steps, check_steps, scene_in_steps, scene_of_kept
from graphnn.viz.style import MOST_CHARACTERS
from graphnn.viz.tree import tree_text

__all__ = ["Drawable", "as_drawable"]


@dataclass(frozen=True)
class Drawable:
    """What a thing is drawn as.

    Attributes
    ----------
    content : Graph or Program
    layers : mapping of str to str
        For a model: by path, which layer it is, such as ``"Dense(64, 32)"``.
    title : str
        What stands above the picture if the user gives nothing else; may be empty.
    """

    content: Graph | Program
    layers: Mapping[str, str] = field(default_factory=dict)
    title: str = ""

    @without_collections()
    def scene(self, title: str, steps: Steps = "auto") -> Scene:
        """Everything there is to draw of some time steps, with nothing collapsed."""
        check_steps(steps)
        if isinstance(self.content, Program):
            if steps != "auto":
                return scene_of_kept(self.content, steps, title or self.title)
            return scene_of_program(self.content, title or self.title)
        scene = scene_in_steps(self.content, steps, title or self.title)
        return scene.changed(lambda each: with_whole_convolutions(scoped(each, self.layers)))

    def text(self, scene: Scene) -> str:
        """The thing as text; a model as the tree of what is drawn of it."""
        if self.layers:
            return tree_text(scene)
        return str(self.content) if isinstance(self.content, Program) else self.content.text()


def as_drawable(thing: Any, inputs: Any = None) -> Drawable:
    """What to draw for a thing that a user gives.

    Parameters
    ----------
    thing : Graph, Program, Module, gn.function, Node, or nested list, tuple or dict of Node
    inputs : optional
        What a model or a function is called with; see :func:`graphnn.viz.render`.

    Raises
    ------
    RenderError
        If nothing can be drawn for it; the message says what is missing.
    """
    if isinstance(thing, Module):
        return _model(thing, inputs)
    if isinstance(thing, Function):
        return _function(thing, inputs)
    if inputs is not None:
        raise RenderError(
            f"inputs= is for models and functions: a {type(thing).__name__} has its own",
            hint="leave inputs= out",
            where="",
        )
    if isinstance(thing, Program | Graph):
        return Drawable(thing)
    if callable(thing) and not isinstance(thing, Node):
        name = getattr(thing, "__name__", type(thing).__name__)
        raise RenderError(
            f"cannot draw {name}: it is a function of Python, and no graph yet",
            hint=f"gn.render(gn.trace({name}, spec, ...)), or make it a gn.function",
            where="",
        )
    nodes = flatten(thing)
    if not nodes or not all(isinstance(node, Node) for node in nodes):
        raise RenderError(_unknown(thing, nodes), hint=HINT, where="")
    return Drawable(as_graph(nodes))


HINT = "give a graph, nodes or a program; a model or a gn.function with inputs="


def _unknown(thing: Any, leaves: list[Any]) -> str:
    """What is wrong with a thing: itself, or what lies in it."""
    kind = type(thing).__name__
    if not leaves:
        return (
            f"cannot draw an empty {kind}"
            if isinstance(thing, list | tuple | dict)
            else (f"cannot draw {kind}")
        )
    wrong = next(leaf for leaf in leaves if not isinstance(leaf, Node))
    return f"cannot draw {kind}" + (
        "" if wrong is thing else f": it holds a {type(wrong).__name__}, which is no node"
    )


def _model(model: Module, inputs: Any) -> Drawable:
    name = type(model).__name__
    if inputs is None:
        raise RenderError(
            f"a model is drawn for what it is called with, and {name} was given no inputs",
            hint='gn.render(model, inputs=("batch", 64)), a shape or a spec for each input',
            where="",
        )
    graph = call_of(model, inputs).graph
    layers = {path: _described(module) for path, module in model.named_modules() if path}
    count = counted(parameter_count(graph.nodes), "parameter")
    return Drawable(graph, layers, f"{name}: {count}")


def _described(module: Module) -> str:
    """A layer with its sizes; of one that holds many others, the class."""
    text = repr(module)
    return text if len(text) <= MOST_CHARACTERS else type(module).__name__


def _function(function: Function, inputs: Any) -> Drawable:
    name = function.__name__
    if inputs is not None:
        given = inputs if isinstance(inputs, tuple | list) else (inputs,)
        traced = function.trace(**inputs) if isinstance(inputs, dict) else function.trace(*given)
        return Drawable(traced, title=name)
    programs = function.programs
    if not programs:
        raise RenderError(
            f"{name} has not been called yet, so there is no program of it to draw",
            hint="call it first, or give inputs=, what it is called with, for its graph",
            where="",
        )
    return Drawable(programs[-1], title=name)
