"""Which values of a graph carry a gradient, and which of them are parts of a weight's gradient.

Of the nodes that derivative rules have built, some carry the gradient on its way back and some are
local derivatives, such as ``1 - tanh(z)**2``, which know nothing of the loss.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphnn.compiler.autodiff.derivatives import grad
from graphnn.compiler.scans.rewriting import is_scan
from graphnn.core.graph import Graph, topological_order
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.ops.control import PROJECT
from graphnn.viz.observe import Path, is_measurable, weights_of

__all__ = ["carrying", "parts_of_gradients"]


def carrying(graph: Graph, loss: Node) -> set[Path]:
    """The values of a graph, also in its scans, that carry the gradient of a loss."""
    gradients = set(_gradients_of(loss).values())
    found: set[Path] = set()
    _follow(graph.nodes, gradients, (), found)
    return found


def _gradients_of(loss: Node) -> dict[Node, Node]:
    """By node what is its gradient; the same nodes as those that the user has asked for."""
    order = topological_order([loss])
    wanted = [node for node in order if is_measurable(node)]
    found: list[Node] = grad(loss, wanted, allow_unused=True)
    return dict(zip(wanted, found, strict=True))


def _follow(order: Iterable[Node], sources: set[Node], around: Path, found: set[Path]) -> set[Node]:
    """Which of some nodes carry a gradient, or, of several results, one that does.

    Parameters
    ----------
    order : iterable of Node
        Inputs before users.
    sources : set of Node
        Of which it is known.
    around : tuple of Node
        The scans around them.
    found : set of Path
        Added to.
    """
    carried: set[Node] = set()
    results: dict[Node, set[int]] = {}
    for node in order:
        if node.op.name == "constant" or provenance(node).role != "backward":
            continue
        if is_scan(node):
            results[node] = _follow_scan(node, carried, (*around, node), found)
            continue
        if node.op is PROJECT and node.inputs[0] in results:
            does = node.attrs["index"] in results[node.inputs[0]]
        else:
            does = node in sources or not carried.isdisjoint(node.inputs)
        if does:
            carried.add(node)
            found.add((*around, node))
    return carried


def _follow_scan(scan: Node, carried: set[Node], path: Path, found: set[Path]) -> set[int]:
    """Which results of a scan carry a gradient, given which nodes outside do."""
    body, n_carry, n_xs = (scan.attrs[name] for name in ("body", "n_carry", "n_xs"))
    first = len(scan.inputs) - n_xs - n_carry
    pairs = zip(body.inputs, scan.inputs, strict=True)
    sources = {argument for argument, given in pairs if given in carried}
    while True:
        within = _follow(body.nodes, sources, path, found)
        carries = zip(body.inputs[first : first + n_carry], body.outputs, strict=False)
        late = {symbol for symbol, after in carries if after in within} - sources
        if not late:
            return {number for number, node in enumerate(body.outputs) if node in within}
        sources |= late


def parts_of_gradients(graph: Graph, loss: Node) -> dict[Path, Path]:
    """By part of a weight's gradient the whole: what one time step adds, and the sum of all."""
    nodes = set(graph.nodes)
    whole = _gradients_of(loss)
    found: dict[Path, Path] = {}
    for weight in weights_of(topological_order([loss])):
        total = whole.get(weight)
        if total in nodes:
            found |= {(part,): (total,) for part in _summands(total, weight)}
    for node in graph.nodes:
        if is_scan(node) and provenance(node).role == "backward":
            found |= _added_up(node, graph)
    return found


def _summands(total: Node, weight: Node) -> list[Node]:
    """What is added up to a gradient; nothing if it is no sum."""
    parts, waiting = [], [total]
    while waiting:
        node = waiting.pop()
        if node.op.name == "add" and provenance(node).origin is weight:
            waiting += node.inputs
        elif node is not total:
            parts.append(node)
    return parts


def _added_up(scan: Node, graph: Graph) -> dict[Path, Path]:
    """What every step adds to carries that are sums, and the nodes that are the sums of all."""
    body, n_carry, n_xs = (scan.attrs[name] for name in ("body", "n_carry", "n_xs"))
    first = len(scan.inputs) - n_xs - n_carry
    sums = {each.attrs["index"]: each for each in graph.users[scan] if each.op is PROJECT}
    found: dict[Path, Path] = {}
    for number, argument in enumerate(body.inputs[first : first + n_carry]):
        after = body.outputs[number]
        if number in sums and after.op.name == "add" and after.inputs.count(argument) == 1:
            (part,) = (each for each in after.inputs if each is not argument)
            found[(scan, part)] = (sums[number],)
    return found
