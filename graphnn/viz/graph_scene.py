"""The scene of a graph: which boxes and lines show its nodes, and the texts on them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from functools import cache

from graphnn.compiler.garbage import without_collections
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.provenance import Provenance, provenance
from graphnn.core.spec import Spec, TupleSpec
from graphnn.core.state import Parameter
from graphnn.core.text import attrs_text, counted, size_text
from graphnn.ops.recomputation import AGAIN
from graphnn.viz.scene import Scene, SceneEdge, SceneNode, Subject
from graphnn.viz.style import shorten

__all__ = [
    "bytes_text",
    "edge_kind",
    "gradients_text",
    "label_of",
    "scene_of_graph",
]

_INFIX = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "power": "^"}
_FILLED = {"0": "zeros", "1": "ones"}


@without_collections()
def scene_of_graph(graph: Graph, title: str = "") -> Scene:
    """The scene of a graph: one box a node, scalar constants inside the boxes that read them."""
    order = [*dict.fromkeys([*graph.inputs, *graph.nodes])]
    outputs = set(graph.outputs)
    order = [
        node
        for node in _leaves_late(order)
        if node in outputs or not is_scalar_constant(node) or not graph.users.get(node)
    ]
    merged = _merged_sums(graph)
    shown = [node for node in order if node not in merged and node.op is not AGAIN]
    number = {node: index for index, node in enumerate(shown)}
    number.update((node, number[total]) for node, total in merged.items())
    number.update((node, number[_seen(node)]) for node in order if node.op is AGAIN)
    members: dict[Node, list[Node]] = {}
    for node, total in merged.items():
        members.setdefault(total, [total]).append(node)
    known = _provenance_here(graph)
    names = {name for each in known.values() for name in each.names}
    nodes = [
        _scene_node(node, known[node], members.get(node, ()), number, outputs, names)
        for node in shown
    ]
    return Scene(
        shorten(title, 200) or repr(graph).strip("<>"),
        tuple(nodes),
        tuple(_edges(order, number, shown)),
    )


def is_scalar_constant(node: Node) -> bool:
    """Whether a node is a constant of one element, which is written where it is read."""
    return node.op.name == "constant" and node.attrs["value"].array.size == 1


def _leaves_late(order: Sequence[Node]) -> list[Node]:
    """The order in which every leaf comes right before its first reader."""
    placed: dict[Node, None] = {}
    for node in order:
        if node.inputs:
            placed.update(dict.fromkeys(each for each in node.inputs if not each.inputs))
            placed[node] = None
    placed.update(dict.fromkeys(order))
    wanted = set(order)
    return [node for node in placed if node in wanted]


def _merged_sums(graph: Graph) -> dict[Node, Node]:
    """Sums inside larger sums of gradients of one forward node, and the largest sum of each.

    What a weight receives from every time step arrives as ``((a + b) + c) + d``.
    """
    largest: dict[Node, Node] = {}
    for node in reversed(graph.nodes):
        known = provenance(node)
        readers = graph.users[node]
        if len(readers) != 1 or known.names or not _is_gradient_sum(node, known):
            continue
        total, about = readers[0], provenance(readers[0])
        is_part = total.inputs.count(node) == 1 and node not in graph.outputs
        if is_part and _is_gradient_sum(total, about) and about.origin is known.origin:
            largest[node] = largest.get(total, total)
    return largest


def _is_gradient_sum(node: Node, known: Provenance) -> bool:
    """Whether a node adds up gradients of one node, or what there is of every step."""
    is_gradient = known.role == "backward" and known.origin is not None
    return node.op.name == "add" and (is_gradient or known.made_by == "unrolled")


def _provenance_here(graph: Graph) -> dict[Node, Provenance]:
    """What is known of every node, as far as it is about this graph.

    A node that depends on no input and no parameter, such as a gradient of ones, is one for all
    graphs of a process, and knows its place in the first of them. Here it belongs to its reader.
    """
    known = {node: provenance(node) for node in (*graph.inputs, *graph.nodes)}
    shared: set[Node] = set()
    for node in graph.nodes:
        is_source = node.op.is_source and node.op.name != "constant"
        if not is_source and shared.issuperset(node.inputs):
            shared.add(node)
    for node in reversed(graph.nodes):
        if node in shared and graph.users[node]:
            reader = known[graph.users[node][0]]
            own = known[node]
            # What a sum for a leaf reads is not that leaf's gradient.
            is_sum = reader.origin is not None and not reader.origin.inputs
            origin = None if is_sum else reader.origin_ref
            known[node] = reader._replace(
                names=own.names, sources=own.sources, origin_ref=origin, gradient_of=()
            )
    return known


@cache
def _scope_text(scope: str) -> str:
    return "/".join(map(shorten, scope.split("/")))


def _scene_node(
    node: Node,
    known: Provenance,
    parts: Sequence[Node],
    number: Mapping[Node, int],
    outputs: set[Node],
    names: Set[str],
) -> SceneNode:
    word = f"Σ {len(parts) + 1} terms" if parts else label_of(node.op.label(node), node)
    detail = str(node.spec)
    origin = known.origin
    name = known.name if known.name is not None else _gradient_name(node, known, outputs, names)
    if name is not None and node.op.name not in ("input", "parameter"):
        detail = f"{word}  {detail}"
    kind = node.op.name if node.op.name in ("input", "parameter", "constant") else "operation"
    return SceneNode(
        shorten(name if name is not None else word),
        shorten(detail),
        "sum" if parts else kind,
        known.role,
        _scope_text(known.scope),
        known.step,
        node in outputs,
        number.get(origin) if origin is not None else None,
        tooltip_of(node, parts),
        _signature(node, known),
        subject=Subject(node),
    )


def gradients_text(known: Provenance, names: Set[str]) -> str | None:
    """``∂w`` for what was asked for as the gradient of ``w``; None of others.

    One node may be the gradient of several, in other graphs too: those in this one are told.
    """
    told = [each for each in known.gradient_of if each in names] or known.gradient_of
    return ", ".join(f"∂{each}" for each in told) or None


def _gradient_name(
    node: Node, known: Provenance, outputs: Set[Node], names: Set[str]
) -> str | None:
    """``∂w`` for the gradient of ``w``, or for what adds up all that reaches it; else None.

    Nobody may have asked for it. What belongs to a leaf can be nothing else. The derivative of
    another node may have additions too, but in them is nothing that was made for the nodes that
    read it. A result that belongs to an operation is the gradient of what it reads: of that which
    is of the same kind.
    """
    asked = gradients_text(known, names)
    if asked is not None:
        return asked
    origin = known.origin
    if origin is not None and origin.inputs and known.role == "backward" and node in outputs:
        alike = {each for each in origin.inputs if each.spec == node.spec}
        read = provenance(alike.pop()).name if len(alike) == 1 else None
        if read is not None:
            return f"∂{read}"
    name = provenance(origin).name if origin is not None else None
    if origin is None or name is None:
        return None
    if not origin.inputs:
        return f"∂{name}"
    addends = map(provenance, node.inputs) if _is_gradient_sum(node, known) else ()
    arrives = any(each.role == "backward" and each.origin is not origin for each in addends)
    return f"∂{name}" if arrives else None


def _signature(node: Node, known: Provenance) -> Hashable:
    weights = tuple(id(each) for each in node.inputs if isinstance(each, Parameter))
    place = known.sources[0] if known.sources else None
    return (node.op.name, known.scope, place, weights)


def label_of(word: str, node: Node) -> str:
    """An operator with the scalar constants it reads: ``• ^ 2``; without any, its name."""
    if node.op.name == "constant":
        return repr(node.attrs["value"])
    if not any(is_scalar_constant(each) for each in node.inputs):
        return word
    arguments = [
        f"{each.attrs['value'].array.item():.6g}" if is_scalar_constant(each) else "•"
        for each in node.inputs
    ]
    if node.op.name == "broadcast_to" and arguments[0] in _FILLED:
        return _FILLED[arguments[0]]
    sign = _INFIX.get(node.op.name)
    return f" {sign} ".join(arguments) if sign else f"{word}({', '.join(arguments)})"


def tooltip_of(node: Node, parts: Sequence[Node] = ()) -> str:
    """All that is known of a node, on several lines."""
    known = provenance(node)
    lines = [repr(node).strip("<>")]
    if parts:
        lines.append(f"sum of {len(parts) + 1} terms: {counted(len(parts), 'addition')} in one box")
    if node.attrs and not node.op.is_source and node.op.name != "constant":
        lines.append(attrs_text(node))
    if isinstance(node, Parameter):
        lines.append(f"{counted(node.array.size, 'parameter')}, {bytes_text(node.spec)}")
    place = [known.scope] if known.scope else []
    place += [f"step {known.step}"] if known.step is not None else []
    lines.append(", ".join([*place, known.role]))
    if where := known.where:
        lines.append(where)
    return "\n".join([shorten(line, 200) for line in lines])


def bytes_text(spec: Spec) -> str:
    """Bytes of a value in words: ``512 B``, ``1.50 MiB``, ``128*batch B``."""
    if isinstance(spec, TupleSpec):
        return size_text(spec.nbytes) if spec.is_known else ""
    return size_text(spec.size * spec.dtype.itemsize)


def edge_kind(source: Node, target: Node) -> str:
    """What a value is for: its key in :data:`graphnn.viz.style.EDGES`."""
    if isinstance(source, Parameter):
        return "weight"
    before, after = provenance(source), provenance(target)
    crosses = None not in (before.step, after.step) and before.step != after.step
    if after.role == "update":
        return "update"
    if before.role == "backward":
        return "bptt" if crosses else "gradient"
    if after.role == "backward":
        return "data" if _is_constant(source) else "saved"
    if crosses:
        return "recurrent"
    return "tangent" if after.role == "tangent" and before.role == "tangent" else "data"


def _is_constant(node: Node) -> bool:
    """Whether a value is written in the graph, such as zeros: nobody has to keep it."""
    return node.op.name == "constant" or (node.op.is_view and all(map(_is_constant, node.inputs)))


def _seen(node: Node) -> Node:
    """What is read through `again`, which computes nothing."""
    while node.op is AGAIN:
        (node,) = node.inputs
    return node


def _edges(
    order: Iterable[Node], number: Mapping[Node, int], shown: Sequence[Node]
) -> list[SceneEdge]:
    """One edge for every pair of boxes; a saved value tells its bytes once."""
    edges: dict[tuple[int, int], SceneEdge] = {}
    told: set[int] = set()
    for node in order:
        for each in node.inputs:
            if each not in number or number[each] == number[node]:
                continue
            pair = (number[each], number[node])
            if pair in edges:
                continue
            # Of a sum in one box, the additions may lie in other steps than their total.
            kind, label = edge_kind(_seen(each), shown[pair[1]]), ""
            if kind == "saved" and pair[0] not in told:
                told.add(pair[0])
                label = bytes_text(each.spec)
            edges[pair] = SceneEdge(*pair, kind, label)
    return list(edges.values())
