"""Graphs as text that reads like code: one line a node, names where the user gave them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from graphnn.core.dims import Size
from graphnn.core.dtypes import short_name
from graphnn.core.provenance import provenance

if TYPE_CHECKING:
    from graphnn.core.node import Node

__all__ = ["attrs_text", "counted", "graph_text", "node_names", "size_text", "word_of"]

MOST_CHARACTERS = 80
"""Of a name; what is longer is shortened in the middle."""


def word_of(node: Node) -> str:
    """A node in a sentence: its name, or what its operator does."""
    return node.name or node.op.label(node)


def node_names(nodes: Iterable[Node]) -> dict[Node, str]:
    """A unique short name for every node: the user's where there is one, else ``%7``."""
    names: dict[Node, str] = {}
    taken: set[str] = set()
    copies: Counter[str] = Counter()
    counter = 0
    for node in nodes:
        given = provenance(node).name
        if given is None:
            if node.op.name == "constant" and node.attrs["value"].array.size == 1:
                names[node] = f"{node.attrs['value']!r}"
                continue
            counter += 1
            given = f"%{counter}"
        stem = name = _name_text(given)
        while name in taken:
            copies[stem] += 1  # not from the start: a loop may give one name to thousands
            name = f"{stem}#{copies[stem] + 1}"
        taken.add(name)
        names[node] = name
    return names


def _name_text(name: str) -> str:
    """A name on one line, without characters that would steer a terminal."""
    if len(name) > MOST_CHARACTERS:
        half = MOST_CHARACTERS // 2
        name = f"{name[:half]}…{name[len(name) + 1 - half :]}"
    if name.isprintable():
        return name
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in name)


def attr_text(value: Any) -> str:
    """An attribute's value, short."""
    import numpy as np

    if isinstance(value, np.dtype):
        return short_name(value)
    if isinstance(value, tuple):
        inner = ", ".join(map(attr_text, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return str(value) if not isinstance(value, str) else repr(value)


def attrs_text(node: Node) -> str:
    """The attributes that its label does not tell, as keyword arguments."""
    shown = node.op.shown_attrs(node)
    return ", ".join(f"{name}={attr_text(value)}" for name, value in shown.items())


def size_text(nbytes: Size) -> str:
    """Bytes with three digits and a binary unit: ``512 B``, ``1.50 MiB``, ``128*batch B``."""
    if not isinstance(nbytes, int) or nbytes < 1024:
        return f"{nbytes} B"
    size, unit = nbytes / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.{2 if size < 10 else 1 if size < 100 else 0}f} {unit}"


def counted(count: int, word: str) -> str:
    """A number with what it counts: ``1 input``, ``2 inputs``."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def graph_text(
    inputs: Sequence[Node], outputs: Sequence[Node], nodes: Sequence[Node], *, sources: bool
) -> str:
    """See :meth:`graphnn.Graph.text`."""
    fed = set(inputs)
    names = node_names([*inputs, *(node for node in nodes if node not in fed)])
    head = ", ".join(f"{names[node]}: {node.spec}" for node in inputs)
    lines = [f"graph({head}) {{"]
    for node in nodes:
        if node in fed or (node.op.name == "constant" and not names[node].startswith("%")):
            continue
        arguments = [names[each] for each in node.inputs]
        if not node.op.is_source or node.op.name == "constant":
            arguments += [text for text in [attrs_text(node)] if text]
        line = f"  {names[node]}: {node.spec} = {node.op.label(node)}({', '.join(arguments)})"
        known = provenance(node)
        if sources and known.sources:
            line += "  # " + ", ".join(map(str, known.sources))
        lines.append(line)
    lines += [f"  return {', '.join(names[node] for node in outputs)}", "}"]
    return "\n".join(lines)
