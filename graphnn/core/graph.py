"""A graph: frozen lists of inputs and outputs, and what can be asked of everything between."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from graphnn.core.node import Node, make_node
from graphnn.core.provenance import carry, made_by, provenance
from graphnn.core.text import counted, graph_text

if TYPE_CHECKING:
    import networkx

__all__ = [
    "Graph",
    "as_graph",
    "depending_on",
    "rebuild",
    "remade",
    "substitute",
    "topological_order",
    "with_inputs",
]


def inputs_of(node: Node) -> tuple[Node, ...]:
    """What a node reads; the default of :func:`topological_order`."""
    return node.inputs


def topological_order(
    outputs: Iterable[Node],
    boundary: Container[Node] = (),
    follow: Callable[[Node], Sequence[Node]] = inputs_of,
) -> list[Node]:
    """All nodes that ``outputs`` depend on, inputs before users; the order is deterministic.

    Depth first, so that what is used soon is computed late. Iterative: a chain of a million
    nodes is no deeper than one of ten.

    Parameters
    ----------
    outputs : iterable of Node
    boundary : container of Node
        Neither these nor what they alone depend on are listed.
    follow : callable
        From a node to the inputs that count.
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, Iterator[Node]]] = []
    for output in outputs:
        if output in seen or output in boundary:
            continue
        seen.add(output)
        stack.append((output, iter(follow(output))))
        while stack:
            node, remaining = stack[-1]
            for each in remaining:
                if each not in seen and each not in boundary:
                    seen.add(each)
                    stack.append((each, iter(follow(each))))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


def rebuild(
    order: Iterable[Node],
    replace: Callable[[Node, tuple[Node, ...]], Node],
    known: Mapping[Node, Node] | None = None,
) -> dict[Node, Node]:
    """Map every node to ``replace(node, new_inputs)``, inputs first, keeping provenance.

    A ``replace`` that changes nothing should return the node itself; see :meth:`Graph.map`.
    ``known`` holds what is mapped already: the boundary of ``order``.
    """
    new: dict[Node, Node] = dict(known or {})
    for node in order:
        made = replace(node, tuple([new[each] for each in node.inputs]))
        if made is not node:
            carry(node, made)
        new[node] = made
    return new


class _Border:
    """Some nodes, and all that were there before them and so do not depend on them."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = frozenset(nodes)
        self._first = min((node.serial for node in self._nodes), default=0)

    def __contains__(self, node: object) -> bool:
        return isinstance(node, Node) and (node.serial < self._first or node in self._nodes)


def depending_on(outputs: Iterable[Node], symbols: Iterable[Node]) -> set[Node]:
    """The nodes among those that make ``outputs`` that depend on one of some nodes, or are one.

    Nodes that are older than all of these are not looked at.
    """
    found = set(symbols)
    for node in topological_order(outputs, _Border(found)):
        if not found.isdisjoint(node.inputs):
            found.add(node)
    return found


def substitute(outputs: Iterable[Node], replacements: Mapping[Node, Node]) -> tuple[Node, ...]:
    """``outputs`` with given nodes, and so all that read them, replaced."""
    new = dict(replacements)
    listed = tuple(outputs)
    if not new:
        return listed
    for node in topological_order(listed, _Border(replacements)):
        made = with_inputs(node, tuple(new.get(each, each) for each in node.inputs))
        carry(node, made)
        new[node] = made
    return tuple(new.get(each, each) for each in listed)


def remade(outputs: Iterable[Node], replacements: Mapping[Node, Node]) -> tuple[Node, ...]:
    """``outputs`` with given nodes replaced, and all others that make them made once more.

    To bring nodes from one place to another, see :func:`graphnn.core.node.apart`.
    """
    listed = tuple(outputs)
    new = rebuild(topological_order(listed, replacements), _anew, replacements)
    return tuple(new[each] for each in listed)


def _anew(node: Node, inputs: tuple[Node, ...]) -> Node:
    """The same operator on other inputs, interned where it is asked for."""
    if node.op.is_source:
        return node
    with made_by(None, node):
        return make_node(node.op, inputs, node.attrs)


def with_inputs(node: Node, inputs: tuple[Node, ...]) -> Node:
    """The same operator on other inputs; the node itself if they are the same."""
    if inputs == node.inputs:
        return node
    with made_by(None, node):
        return make_node(node.op, inputs, node.attrs)


@dataclass(frozen=True)
class Graph:
    """A computation from inputs to outputs.

    Attributes
    ----------
    inputs : tuple of Node
        What is fed, in order. Parameters and constants are found by themselves.
    outputs : tuple of Node
        What is asked for.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(2, 3))
    >>> print(gn.Graph((x,), (gn.tanh(x).sum(),)))
    graph(x: f32[2, 3]) {
      %1: f32[2, 3] = tanh(x)
      %2: f32[] = sum(%1, axes=(0, 1))
      return %2
    }
    """

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    def __post_init__(self) -> None:
        for group in (self.inputs, self.outputs):
            for node in group:
                if not isinstance(node, Node):
                    raise TypeError(f"a graph holds nodes, not {type(node).__name__}")

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that the outputs depend on, inputs before users."""
        return tuple(topological_order(self.outputs))

    @cached_property
    def users(self) -> Mapping[Node, tuple[Node, ...]]:
        """For every node, the nodes that read it (once per node, in order)."""
        users: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for each in dict.fromkeys(node.inputs):
                users[each].append(node)
        return {node: tuple(readers) for node, readers in users.items()}

    def map(self, replace: Callable[[Node, tuple[Node, ...]], Node]) -> Graph:
        """A graph with every node replaced; the same object if nothing changed.

        Parameters
        ----------
        replace : callable
            From a node and its new inputs to the new node.
        """
        new = rebuild(self.nodes, replace)
        new = rebuild((node for node in self.inputs if node not in new), replace, new)
        outputs = tuple(new[node] for node in self.outputs)
        inputs = tuple(new[node] for node in self.inputs)
        if outputs == self.outputs and inputs == self.inputs:
            return self
        return Graph(inputs, outputs)

    def substitute(self, replacements: Mapping[Node, Node]) -> Graph:
        """A graph in which given nodes, and so all that read them, are replaced."""
        outputs = substitute(self.outputs, replacements)
        inputs = tuple(replacements.get(each, each) for each in self.inputs)
        if outputs == self.outputs and inputs == self.inputs:
            return self
        return Graph(inputs, outputs)

    def to_networkx(self) -> networkx.MultiDiGraph[Any]:
        """The graph for networkx: nodes are numbered in order, edges lead from input to user.

        Node attributes are ``op``, ``label``, ``name``, ``shape``, ``dtype``, ``scope``,
        ``step`` and ``role``; edges carry ``position``, the place among the user's inputs.
        """
        import networkx

        number = {node: index for index, node in enumerate(self.nodes)}
        result: networkx.MultiDiGraph[Any] = networkx.MultiDiGraph()
        for node, index in number.items():
            known = provenance(node)
            tensor = getattr(node.spec, "shape", None)
            result.add_node(
                index,
                op=node.op.name,
                label=node.op.label(node),
                name=known.name,
                shape=tensor,
                dtype=str(getattr(node.spec, "dtype", "tuple")),
                scope=known.scope,
                step=known.step,
                role=known.role,
            )
        for node, index in number.items():
            for position, each in enumerate(node.inputs):
                result.add_edge(number[each], index, position=position)
        return result

    def text(self, *, sources: bool = False) -> str:
        """The graph as text that reads like code, with the user's lines if asked."""
        return graph_text(self.inputs, self.outputs, self.nodes, sources=sources)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return (
            f"<Graph {counted(len(self.inputs), 'input')}, {counted(len(self.nodes), 'node')}, "
            f"{counted(len(self.outputs), 'output')}>"
        )


def as_graph(outputs: Node | Sequence[Node], inputs: Sequence[Node] = ()) -> Graph:
    """A graph of these outputs; inputs not named are found in order of appearance."""
    listed = (outputs,) if isinstance(outputs, Node) else tuple(outputs)
    if inputs:
        return Graph(tuple(inputs), listed)
    found = (node for node in topological_order(listed) if node.op.name == "input")
    return Graph(tuple(found), listed)
