"""Small expressions with the chain rule to be read off: local derivatives on the edges.

Boxes are equations (``v1 = sin(x)``), every edge says the derivative of its end by its beginning,
and the second line of a box what all of them give: the derivative of the result by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphnn.compiler.autodiff.rules import vjp_of_node
from graphnn.compiler.passes.fold_constants import fold, is_foldable
from graphnn.compiler.pattern import Exactness
from graphnn.compiler.rewrite import rewrite
from graphnn.compiler.rules import RULES
from graphnn.core.dtypes import is_inexact
from graphnn.core.errors import RenderError
from graphnn.core.graph import topological_order
from graphnn.core.node import Node, make_node
from graphnn.core.provenance import provenance
from graphnn.core.spec import TensorSpec
from graphnn.ops.constants import constant
from graphnn.ops.leaves import input_like
from graphnn.viz.expression import formula
from graphnn.viz.scene import Scene, SceneEdge, SceneNode
from graphnn.viz.scopes import value_of
from graphnn.viz.style import shorten

__all__ = ["with_derivatives"]

MOST_BOXES = 60
MOST_TERMS = 4
"""Ways from a box to the result that are written out; beside each other in a sum."""
MOST_IN_A_LINE = 60
ARRIVING = "δ"
"""The gradient that arrives at a box, where its derivative is no factor for each element."""

_BOOK = RULES.only(frozenset([Exactness.EXACT]))


def with_derivatives(scene: Scene) -> Scene:
    """The scene of an expression with equations in its boxes and derivatives on its edges.

    Raises
    ------
    RenderError
        If it is too large to be read, or not the scene of a graph.
    """
    if len(scene.nodes) > MOST_BOXES:
        raise RenderError(
            f"derivatives=True is for small expressions of up to {MOST_BOXES} boxes, "
            f"this one has {len(scene.nodes):,}",
            hint="draw a part of it, or the nodes that gn.grad gives",
            where="",
        )
    values = [value_of(node) for node in scene.nodes]
    names = _names(scene, values)
    edges = [_labelled(edge, scene, values, names) for edge in scene.edges]
    whole = _of_the_result(scene, edges, values, names)
    nodes = [
        _equation(node, value, names, whole.get(index, ""))
        for index, (node, value) in enumerate(zip(scene.nodes, values, strict=True))
    ]
    is_told = any(ARRIVING in edge.label for edge in edges)
    title = f"{scene.title}  ({ARRIVING}: the gradient that arrives)" if is_told else scene.title
    return replace(scene, title=title, nodes=tuple(nodes), edges=tuple(edges))


def _names(scene: Scene, values: Sequence[Node | None]) -> dict[Node, str]:
    """The user's names, and v1, v2, ... for what has none."""
    names: dict[Node, str] = {}
    taken = {provenance(value).name for value in values if value is not None}
    count = 0
    for node, value in zip(scene.nodes, values, strict=True):
        if value is None or node.role != "forward":
            continue
        given = provenance(value).name
        while given is None:
            count += 1
            given = f"v{count}" if f"v{count}" not in taken else None
        names[value] = shorten(given, 16)
    return names


def _equation(
    node: SceneNode, value: Node | None, names: Mapping[Node, str], whole: str
) -> SceneNode:
    if value is None or value not in names:
        return node
    label = names[value]
    if not value.op.is_source:
        label = f"{label} = {formula(value, names, opened=True)}"
    shape = "" if value.tensor.shape == () else f"{value.tensor}"
    detail = "   ".join(word for word in (whole, shape) if word) or str(value.tensor)
    return replace(
        node, label=shorten(label, MOST_IN_A_LINE), detail=shorten(detail, MOST_IN_A_LINE)
    )


# --------------------------------------------------------------------------- local derivatives


def _labelled(
    edge: SceneEdge, scene: Scene, values: Sequence[Node | None], names: Mapping[Node, str]
) -> SceneEdge:
    source, target = values[edge.source], values[edge.target]
    is_forward = scene.nodes[edge.target].role == scene.nodes[edge.source].role == "forward"
    if source is None or target is None or not is_forward:
        return edge
    return replace(edge, label=_local(target, source, names))


def _local(target: Node, source: Node, names: Mapping[Node, str]) -> str:
    """The derivative of a node by one that it reads, as text; a sum where it is read twice."""
    if not isinstance(target.spec, TensorSpec) or not is_inexact(target.dtype):
        return ""
    if not isinstance(source.spec, TensorSpec) or not is_inexact(source.dtype):
        return ""
    apart = TensorSpec((), target.dtype) if target.op.is_elementwise else None
    stand_ins = [_stand_in(each, apart) for each in target.inputs]
    again = make_node(target.op, stand_ins, target.attrs)
    arriving = (
        constant(1.0, target.dtype) if apart is not None else input_like(ARRIVING, target.spec)
    )
    parts = [
        part
        for part, each in zip(vjp_of_node(again, arriving), target.inputs, strict=True)
        if each is source and part is not None
    ]
    called = {
        stand_in: names[each]
        for stand_in, each in zip(stand_ins, target.inputs, strict=True)
        if each in names
    }
    if apart is None:
        called[arriving] = ARRIVING
    texts = [_text_of(part, {**called, again: names[target]}, again) for part in parts]
    text = " + ".join(texts) or "0"
    return "1" if text == ARRIVING else text


def _stand_in(node: Node, apart: TensorSpec | None) -> Node:
    """What a rule is tried on in place of an input; a single number for elementwise rules."""
    if node.op.name == "constant":
        value = node.attrs["value"].array
        return constant(value.reshape(()), node.dtype) if apart and value.size == 1 else node
    if not isinstance(node.spec, TensorSpec):
        return node
    return input_like("x", TensorSpec((), node.dtype) if apart else node.spec)


def _text_of(part: Node, names: Mapping[Node, str], result: Node) -> str:
    """A derivative as text; the result itself is written out where that is all there is."""
    simple = _simplified(part, names)
    return formula(simple, names, opened=simple is result)


def _simplified(node: Node, names: Mapping[Node, str]) -> Node:
    def step(each: Node) -> Node | None:
        if is_foldable(each):
            folded = fold(each)
            if folded is not None:
                return folded
        made = (rule.apply(each, by="simplify") for rule in _BOOK.candidates(each))
        return next((found for found in made if found is not None), None)

    order = topological_order((node,), frozenset(names))
    return rewrite([each for each in order if each not in names], step, "simplify").get(node, node)


# ------------------------------------------------------------------------------- the chain rule


def _of_the_result(
    scene: Scene,
    edges: Sequence[SceneEdge],
    values: Sequence[Node | None],
    names: Mapping[Node, str],
) -> dict[int, str]:
    """By box: the derivative of the one result by it, as a sum of products along the ways there."""
    results = [
        (index, names[value])
        for index, (node, value) in enumerate(zip(scene.nodes, values, strict=True))
        if node.is_output and value is not None and value in names
    ]
    if len(results) != 1:
        return {}
    ((result, top),) = results
    terms: dict[int, list[tuple[str, ...]] | None] = {result: [()]}
    leaving: dict[int, list[SceneEdge]] = {}
    for edge in edges:
        leaving.setdefault(edge.source, []).append(edge)
    for index in reversed(range(len(values))):
        if index != result and index in leaving:
            terms[index] = _along(leaving[index], terms, values)
    found = {}
    for index, products in terms.items():
        value = values[index]
        if index == result or not products or value is None or value not in names:
            continue
        written = " + ".join(_product(factors) for factors in products)
        text = f"∂{top}/∂{names[value]} = {written}"
        if len(text) <= MOST_IN_A_LINE:
            found[index] = text
    return found


def _along(
    edges: Sequence[SceneEdge],
    terms: Mapping[int, list[tuple[str, ...]] | None],
    values: Sequence[Node | None],
) -> list[tuple[str, ...]] | None:
    """Products along all ways; None where they are too many, or not products of numbers."""
    found: list[tuple[str, ...]] = []
    for edge in edges:
        products = terms.get(edge.target, [])
        if products is None or ARRIVING in edge.label:
            return None
        if edge.label in ("", "0"):
            continue
        ways = [(*factors, edge.label) for factors in products]
        source, target = values[edge.source], values[edge.target]
        if _is_repeated(source, target):
            ways = [(f"Σ({_product(factors)})",) for factors in ways]
        found += ways
    return found if len(found) <= MOST_TERMS else None


def _is_repeated(source: Node | None, target: Node | None) -> bool:
    """Whether elements are read several times, so that their gradients are sums."""
    if source is None or target is None or not target.op.is_elementwise:
        return False
    return source.tensor.shape != target.tensor.shape


def _product(factors: Sequence[str]) -> str:
    """Factors with parentheses where there are other signs; ones are left out."""
    kept = [each for each in factors if each != "1"]
    if len(kept) > 1:
        kept = [f"({each})" if _has_signs(each) else each for each in kept]
    return " · ".join(kept) or "1"


def _has_signs(text: str) -> bool:
    """Whether a factor is a sum, a quotient or negative, outside of all parentheses."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and (character in "+−/" or (character == "-" and not place)):
            return True
    return False
