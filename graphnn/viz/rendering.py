"""``gn.render``: a picture of a graph, of nodes, or of what a program really runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphnn.compiler.program import Program
from graphnn.core.errors import RenderError
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.functions import Function
from graphnn.nn.module import Module
from graphnn.viz.depth import Depth, at_depth, check_depth
from graphnn.viz.equal_updates import updates_once
from graphnn.viz.history import History, Stage, with_decisions
from graphnn.viz.history_picture import HistoryPicture, StagePicture
from graphnn.viz.overlays import Measurement, fits_everywhere, with_overlays
from graphnn.viz.partials import with_derivatives
from graphnn.viz.picture import LayoutName, Picture, checked_target
from graphnn.viz.program_scene import scene_of_program
from graphnn.viz.scene import Overlay
from graphnn.viz.steps import Steps, check_steps
from graphnn.viz.things import as_drawable

__all__ = ["render"]


def render(
    thing: Program
    | Graph
    | Node
    | Module
    | Function
    | History
    | Stage
    | Sequence[Any]
    | dict[str, Any],
    path: str | os.PathLike[str] | None = None,
    *,
    layout: LayoutName = "auto",
    title: str = "",
    steps: Steps = "auto",
    depth: Depth = None,
    derivatives: bool = False,
    inputs: Any = None,
    overlay: Overlay | Measurement | Sequence[Overlay | Measurement] | None = None,
) -> Path | Picture:
    """Draw a graph, nodes with all they depend on, a model, or what a program really runs.

    Graphs with time steps (:func:`graphnn.time_step`) are drawn as a grid: time runs to the
    right, the forward pass is on top and the backward pass mirrored below. In others, name scopes
    (the layers of a model) are frames that say how many parameters are in them.

    Parameters
    ----------
    thing : Program, Graph, Node, Module, gn.function, or nested list, tuple or dict of Node
        A program shows the instructions for the sizes of its latest call; a ``gn.function`` its
        latest program, or with ``inputs`` its graph.
    path : str or path-like, optional
        Its ending names the format: ``.svg``, ``.png``, ``.pdf``, ``.html``, ``.dot``, ``.json``,
        ``.mmd`` (Mermaid) or ``.txt``. The file appears whole or not at all, with the same bytes
        every time.
    layout : {"auto", "dot", "grid"}
        ``"dot"`` lets Graphviz find the positions, which suits up to a few hundred nodes;
        ``"grid"`` is linear in the number of nodes. By default the one that suits.
    title : str, optional
        Above the picture.
    steps : {"auto", "all", "rolled"} or int
        Which time steps of recurrences are drawn, scans or unrolled: all; one cell, with what
        goes from step to step; or so many at the beginning and at the end, and one column for
        those between. By default all if they are few. Of a program: its time steps, those that a
        memory budget makes it compute again dashed; by default its instructions.
    depth : int or "all", optional
        Name scopes deeper than this are drawn as one box each: 0 leaves the outermost scopes, such
        as the layers of a `Sequential`. By default nothing is collapsed, but in large graphs
        without time steps equal blocks in a row are drawn once, in a frame that says ``× 24``;
        with ``"all"``, and in ``.html``, they are not either. Of a program: how many frames
        deep to look into loops, branches and fused instructions.
    derivatives : bool, default False
        For a small expression: boxes are equations, and every edge says the local derivative.
    inputs : spec, or tuple, list or dict of specs, optional
        What a model is called with: a :class:`TensorSpec`, a shape such as ``("batch", 64)``, an
        array or a node for everything that its ``forward`` takes, by position or by name.
    overlay : Measurement, Overlay, or sequence of them, optional
        Numbers that boxes are coloured by: what :func:`graphnn.viz.measure` found in this thing.
        Pictures show the first one, at its latest moment.

    Returns
    -------
    Path or Picture
        The path, or without one a picture that notebooks show.

    Raises
    ------
    RenderError
        If the format or the thing is unknown, an argument is not for this thing, the file cannot
        be written, or a program that is needed is missing; the message says what to do.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(3,))
    >>> gn.render(gn.tanh(x))
    <Picture of 2 nodes, 1 edge>
    >>> model = gn.nn.Sequential(gn.nn.Dense(64, 32), gn.nn.ReLU(), gn.nn.Dense(32, 10))
    >>> gn.render(model, inputs=("batch", 64), depth=0)
    <Picture of 4 nodes, 3 edges>
    """
    _check(layout, title, steps, depth, derivatives)
    target = None if path is None else checked_target(path)
    given = {
        "steps": steps != "auto",
        "depth": depth is not None,
        "derivatives": derivatives,
        "inputs": inputs is not None,
        "overlay": overlay is not None,
    }
    if isinstance(thing, History | Stage):
        _refuse(given, type(thing).__name__, tuple(given))
        past = (
            HistoryPicture(thing, layout, title)
            if isinstance(thing, History)
            else StagePicture.of(thing, layout, title)
        )
        return past if target is None else past.save(target)
    drawable = as_drawable(thing, inputs)
    if isinstance(drawable.content, Program):
        _refuse(given, "program", ("derivatives",))
    if derivatives:
        _refuse(given, "picture with derivatives=True", ("depth",))
        whole = scene = replace(with_derivatives(drawable.scene(title, steps)), zooms=())
    elif isinstance(drawable.content, Program) and steps == "auto":
        whole = with_decisions(
            scene_of_program(drawable.content, title or drawable.title, depth), drawable.content
        )
        scene = updates_once(whole) if depth is None else whole
    else:
        whole = drawable.scene(title, steps)
        scene = whole.changed(lambda each: at_depth(each, depth))
    shown = with_overlays(scene, overlay)
    # Only measurements know the boxes of another picture of the same thing.
    is_folded = depth is None and scene is not whole and fits_everywhere(overlay)
    explored = with_overlays(whole, overlay) if is_folded else shown
    picture = Picture(shown, layout, lambda: drawable.text(shown), explored)
    return picture if target is None else picture.save(target)


def _check(
    layout: object, title: object, steps: object, depth: object, derivatives: object
) -> None:
    """Refuse what makes no sense for anything."""
    if layout not in ("auto", "dot", "grid"):
        raise RenderError(f"no layout {layout!r}", hint='one of "auto", "dot", "grid"', where="")
    if not isinstance(title, str):
        raise RenderError(f"title={title!r}", hint='a title is a text: title="..."', where="")
    check_steps(steps)
    check_depth(depth)
    if not isinstance(derivatives, bool):
        raise RenderError(f"derivatives={derivatives!r}", hint="True or False", where="")


def _refuse(given: Mapping[str, bool], what: str, names: Sequence[str]) -> None:
    """Refuse arguments that are given and change nothing in a picture of this kind."""
    wrong = [f"{name}=" for name in names if given[name]]
    if wrong:
        raise RenderError(
            f"a {what} takes no {' and no '.join(wrong)}",
            hint="leave it out, or draw a graph that it is for",
            where="",
        )
