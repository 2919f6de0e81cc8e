"""Graphs in files: every operator with what it reads, names, and the values of parameters.

A file is safetensors with checksums, as checkpoints are: arrays, and a table of all nodes as JSON.
The nodes of bodies (the step of a scan, the branches of a cond) stand in the same table, before
those that hold them. Reading builds nodes, with all checks that they are always built with, and
runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, get_args

from graphnn.core.errors import CheckpointError, UnsupportedOpError
from graphnn.core.graph import Graph, as_graph, topological_order
from graphnn.core.node import Node, make_node
from graphnn.core.op import REGISTRY, Array
from graphnn.core.provenance import (
    Provenance,
    Role,
    provenance,
    recorded,
    set_gradient_of,
    set_name,
    set_origin,
)
from graphnn.core.source import Source
from graphnn.core.state import Parameter, parameter
from graphnn.io.attribute_checks import check_attributes
from graphnn.io.attributes import Reader, Writer
from graphnn.io.files import DamagedError, read, write
from graphnn.io.limits import Opened, check_spec, check_texts
from graphnn.io.tensors import decode, encode
from graphnn.ops.leaves import INPUT, input_like

__all__ = ["load_graph", "save_graph"]

FORMAT = 1
_TABLE = "graph"
"""Key of the table in the file's metadata."""
_PLAIN = Provenance()


def save_graph(path: str | PathLike[str], graph: Graph | Node | Sequence[Node]) -> None:
    """Write a graph, with the values that its parameters have now.

    What comes back from :func:`load_graph` is drawn and compiled like what was saved. Of the lines
    that built it, the names of files are saved, and not the folders that they are in.

    Parameters
    ----------
    path : path
        Such as ``model.gng``; ``graphnn render model.gng`` draws it.
    graph : Graph, Node or sequence of Node
        Nodes with all that they depend on.

    Raises
    ------
    CheckpointError
        If the file cannot be written, or :func:`load_graph` would refuse it: a node with names of
        more than a million characters, or loops within 100 others.
    UnsupportedOpError
        If a part of the graph is Python code: a function with a derivative of its own.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> x, w = gn.input("x", shape=("batch", 2)), gn.parameter(np.float32([[1], [2]]), "w")
    >>> gn.io.save_graph("model.gng", gn.Graph((x,), (gn.tanh(x @ w).named("y"),)))
    >>> print(gn.io.load_graph("model.gng"))
    graph(x: f32[batch, 2]) {
      w: f32[2, 1] = parameter()
      %1: f32[batch, 1] = matmul(x, w)
      y: f32[batch, 1] = tanh(%1)
      return y
    }
    """
    whole = graph if isinstance(graph, Graph) else as_graph(graph)
    order = topological_order((*whole.inputs, *whole.outputs), follow=_needed)
    numbers = {node: number for number, node in enumerate(order)}
    arrays: dict[str, Array] = {}
    writer, opened = Writer(numbers, arrays), Opened()
    table = {
        "format": FORMAT,
        "nodes": [_entry(node, numbers, writer, opened) for node in order],
        "inputs": [numbers[each] for each in whole.inputs],
        "outputs": [numbers[each] for each in whole.outputs],
    }
    text = json.dumps(table, separators=(",", ":"), allow_nan=False)
    write(Path(path), encode(arrays, {_TABLE: text}), keep_previous=False)


def load_graph(path: str | PathLike[str]) -> Graph:
    """The graph in a file, with parameters of its own. Nothing is run.

    Parameters
    ----------
    path : path
        Of a file that :func:`save_graph` has written.

    Returns
    -------
    Graph
        To be drawn, differentiated, compiled: ``gn.compile(graph.inputs, graph.outputs)``.

    Raises
    ------
    CheckpointError
        If there is no such file, if it is damaged, or if it has an operator that is not known.

    Notes
    -----
    A file is data: reading and drawing it is safe, whoever wrote it, and what is larger than any
    graph is refused before anything is computed with it. Running it computes with the operators of
    this package alone: there is no code in a file. It can still take all memory and time there is.
    With ``backend="reference"`` NumPy computes, and no machine code is made for the graph.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(3,))
    >>> gn.io.save_graph("sum.gng", gn.Graph((x,), (gn.sum(x),)))
    >>> graph = gn.io.load_graph("sum.gng")
    >>> gn.compile(graph.inputs, graph.outputs[0])([1.0, 2.0, 3.0])
    array(6., dtype=float32)
    """
    file = Path(path)
    decoded = decode(str(file), read(file))
    if _TABLE not in decoded.texts:
        raise DamagedError(f"{file} has no graph in it; gn.io.save_graph writes one")
    if not decoded.is_checked:
        raise DamagedError(f"{file} has no checksums: it is not as gn.io.save_graph wrote it")
    try:
        return _graph(json.loads(decoded.texts[_TABLE]), decoded.tensors)
    except DamagedError as error:
        raise DamagedError(f"{file}: {error.what}") from None
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise DamagedError(f"{file} has no table of nodes that makes sense: {error!r}") from None


def _needed(node: Node) -> tuple[Node, ...]:
    """What stands in a file before a node: what it reads, and the nodes of its bodies."""
    bodies = (node.attrs[name] for name in node.op.body_attrs)
    return (*node.inputs, *(each for body in bodies for each in (*body.inputs, *body.outputs)))


# ----------------------------------------------------------------------------------- writing


def _entry(
    node: Node, numbers: Mapping[Node, int], writer: Writer, opened: Opened
) -> dict[str, Any]:
    """What the table says of a node; what is usual is left out."""
    known = provenance(node)
    lines = [(str(each).rpartition(":")[0], each.line, each.function) for each in known.sources]
    entry: dict[str, Any] = {
        "op": node.op.name,
        "reads": [numbers[each] for each in node.inputs],
        "attrs": {},
        "names": list(known.names),
        "scope": known.scope,
        "step": known.step,
        "role": known.role,
        "by": known.made_by,
        "lines": lines,
        "gradient_of": list(known.gradient_of),
        "origin": numbers.get(known.origin) if known.origin is not None else None,
        "spec": str(node.spec),
    }
    try:
        entry["attrs"] = _attributes(node, writer)
        check_texts(entry)
        check_spec(node.spec)
        opened.note(node)
    except DamagedError as error:
        raise CheckpointError(
            f"{node!r} cannot be saved: {error.what}",
            hint="a file may be a stranger's, so what can be in it is bounded: use shorter names, "
            "fewer scopes and smaller bodies, or save a part of the graph",
            where=known.where,
        ) from None
    return {key: value for key, value in entry.items() if value != USUAL.get(key)}


USUAL: Mapping[str, Any] = {
    "reads": [],
    "attrs": {},
    "names": [],
    "scope": _PLAIN.scope,
    "step": _PLAIN.step,
    "role": _PLAIN.role,
    "by": _PLAIN.made_by,
    "lines": [],
    "gradient_of": [],
    "origin": None,
}
"""What is not said of a node in a file."""


def _attributes(node: Node, writer: Writer) -> dict[str, Any]:
    if isinstance(node, Parameter):
        return {"value": writer.added(node.value), "trainable": node.trainable}
    if node.op is INPUT:
        return {"spec": writer.written(node.spec)}
    try:
        return {name: writer.written(value) for name, value in node.attrs.items()}
    except TypeError as error:
        raise UnsupportedOpError(
            f"{node!r} cannot be saved: {error} is Python code",
            hint="save the graph without it: what has a derivative of its own is built by its code",
            where=provenance(node).where,
        ) from None


# ----------------------------------------------------------------------------------- reading


def _graph(table: Any, arrays: Mapping[str, Array]) -> Graph:
    if table["format"] != FORMAT:
        raise DamagedError(f"it has format {table['format']}, this graphnn reads format {FORMAT}")
    made: list[Node] = []
    reader, opened = Reader(made, arrays), Opened()
    for number, said in enumerate(table["nodes"]):
        try:
            made.append(_node({**USUAL, **said}, reader, arrays))
            opened.note(made[-1])
        except DamagedError as error:
            raise DamagedError(f"node {number} cannot be built: {error.what}") from None
        # An operator that is told nonsense may fail in any way.
        except Exception as error:
            raise DamagedError(f"node {number} cannot be built: {error!r}") from None
    for node, said in zip(made, table["nodes"], strict=True):
        if said.get("origin") is not None:  # which may stand further down
            set_origin(node, *reader.nodes([said["origin"]]))
    return Graph(reader.nodes(table["inputs"]), reader.nodes(table["outputs"]))


def _node(said: Mapping[str, Any], reader: Reader, arrays: Mapping[str, Array]) -> Node:
    check_texts(said)
    with recorded(_provenance(said), None):
        node = _made(said, reader, arrays)
    check_spec(node.spec)
    check_attributes(node)
    set_name(node, *map(_text, said["names"]))
    set_gradient_of(node, *map(_text, said["gradient_of"]))
    if str(node.spec) != said["spec"]:
        raise DamagedError(f"{node!r} is said to be {said['spec']}")
    node.op.label(node)  # which asks for attributes that pictures will need
    return node


def _made(said: Mapping[str, Any], reader: Reader, arrays: Mapping[str, Array]) -> Node:
    name, attrs = _text(said["op"]), said["attrs"]
    if name == "parameter":
        return parameter(arrays[attrs["value"]], trainable=bool(attrs["trainable"]))
    if name == "input":
        return input_like(_text(said["names"][0]), reader.spec(attrs["spec"]["spec"]))
    try:
        op = REGISTRY[name]
    except KeyError:
        raise DamagedError(f"no operator is called {name!r}: import what defines it") from None
    given = {key: reader.read(value) for key, value in attrs.items()}
    return make_node(op, reader.nodes(said["reads"]), given)


def _provenance(said: Mapping[str, Any]) -> Provenance:
    step, role = said["step"], said["role"]
    if role not in get_args(Role) or not (step is None or isinstance(step, int)):
        raise ValueError(f"no role {role!r}, or no time step {step!r}")
    lines = tuple(Source(_text(path), int(line), _text(of)) for path, line, of in said["lines"])
    return Provenance((), _text(said["scope"]), lines, step, role, _text(said["by"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
