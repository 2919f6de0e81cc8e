"""The scene of a graph with the bodies of its nodes laid open, as passes see it.

A scan is a frame around the nodes of one step, a cond two frames, a while loop one. What is inside
reads what is outside directly, and what is carried from step to step is an edge with a lag. Fusion
groups, once there are some, are frames too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphnn.compiler.memory_size import size_text
from graphnn.compiler.unit import Unit
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.spec import TensorSpec
from graphnn.core.state import Parameter
from graphnn.ops.conditionals import COND
from graphnn.ops.control import PROJECT, TUPLE
from graphnn.ops.while_loops import WHILE
from graphnn.viz.graph_scene import (
    edge_kind,
    gradients_text,
    is_scalar_constant,
    label_of,
    tooltip_of,
)
from graphnn.viz.scene import Scene, SceneEdge, SceneGroup, SceneNode, Subject
from graphnn.viz.style import shorten

__all__ = ["saving_text", "scene_with_bodies"]

Boxes = tuple[int, ...]
"""The boxes that a value may come from; several behind branches."""


def scene_with_bodies(unit: Unit, title: str) -> Scene:
    """The scene of a unit's graph; sources of edges come before their targets, but for lags."""
    return _Builder(unit).scene(title)


def saving_text(inside: Iterable[Node]) -> str:
    """What is gained by computing several operators together: values that no memory sees."""
    specs = [each.spec for each in inside]
    nbytes = sum(each.nbytes for each in specs if isinstance(each, TensorSpec))
    if not specs:
        return "computed in one sweep over what they read"
    values = "1 value stays" if len(specs) == 1 else f"{len(specs)} values stay"
    return f"{values} in registers: {size_text(nbytes)} are neither written nor read"


class _Builder:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._nodes: list[SceneNode] = []
        self._made: list[Node] = []
        self._edges: dict[tuple[int, int], SceneEdge] = {}
        self._groups: list[SceneGroup] = []
        self._shown: dict[Node, int] = {}
        self._carried: dict[Node, list[int]] = {}  # by symbol: the boxes that read it
        self._outputs: frozenset[Node] = frozenset()

    def scene(self, title: str) -> Scene:
        """Everything, in the order of computation as far as there is one."""
        graph = self._unit.graph
        self._outputs = frozenset(graph.outputs)
        self._names = {name for each in graph.nodes for name in provenance(each).names}
        values: dict[Node, Boxes] = {}
        for node in graph.inputs:
            values[node] = (self._box(node, {}, None),)
        self._inside(graph, self._unit, values, None)
        return Scene(title, tuple(self._nodes), tuple(self._edges.values()), tuple(self._groups))

    def _inside(
        self, graph: Graph, unit: Unit | None, values: dict[Node, Boxes], group: int | None
    ) -> None:
        """The boxes of a graph, given those of its inputs. As deep as bodies are nested."""
        frames = self._fusion_frames(unit, group) if unit is not None else {}
        results: dict[Node, Sequence[Boxes]] = {}
        for node in _order(graph, unit):
            if node in values:
                continue
            if not node.inputs:
                if node in self._outputs:
                    self._value(node, values, group)
            elif node.op is TUPLE:
                results[node] = [self._value(each, values, group) for each in node.inputs]
            elif node.op is PROJECT and node.inputs[0] in results:
                values[node] = results[node.inputs[0]][node.attrs["index"]]
            elif node.op.body_attrs:
                given = [self._value(each, values, group) for each in node.inputs]
                results[node] = self._structured(node, given, unit, group)
                values[node] = tuple(dict.fromkeys(box for each in results[node] for box in each))
            else:
                values[node] = (self._box(node, values, frames.get(node, group)),)
        for node in graph.outputs:
            self._value(node, values, group)

    def _fusion_frames(self, unit: Unit, group: int | None) -> dict[Node, int]:
        """The frame of every node that is computed together with others."""
        frames: dict[Node, int] = {}
        written = {
            each
            for one in unit.groups
            for node in one.nodes
            for each in node.inputs
            if each not in one.dims
        }
        written.update(unit.graph.outputs)
        for one in unit.groups:
            if len(one.nodes) > 1:
                frames.update(dict.fromkeys(one.nodes, len(self._groups)))
                reason = saving_text(each for each in one.nodes if each not in written)
                self._groups.append(SceneGroup("fused", "fusion", reason, group))
        return frames

    # --------------------------------------------------------------------------------- structures

    def _structured(
        self, node: Node, given: Sequence[Boxes], unit: Unit | None, group: int | None
    ) -> Sequence[Boxes]:
        """The boxes of the results of a node with bodies."""
        bodies: dict[str, Graph] = {name: node.attrs[name] for name in node.op.body_attrs}
        if node.op is COND:
            flag = self._nodes[given[0][-1]].label if given[0] else "flag"
            true = self._body(
                bodies["if_true"], node, 1, given, f"if {flag}", "branch", unit, group
            )
            false = self._body(
                bodies["if_false"], node, 1, given, f"unless {flag}", "branch", unit, group
            )
            return [
                tuple(dict.fromkeys((*one, *other))) for one, other in zip(true, false, strict=True)
            ]
        n_carry: int = node.attrs["n_carry"]
        if node.op is WHILE:
            around = self._frame("while", "loop", group)
            first = len(given) - n_carry
            carried = self._note_carries((bodies["condition"], bodies["body"]), first, n_carry)
            self._body(bodies["condition"], node, 0, given, "as long as", "branch", unit, around)
        else:
            words = f"loop × {node.attrs['length']}"
            words += " reversed" if node.attrs["reverse"] else ""
            around = self._frame(words, "loop", group)
            first = len(given) - n_carry - node.attrs["n_xs"]
            carried = self._note_carries((bodies["body"],), first, n_carry)
        body = bodies["body"]
        values = self._given(body, node.inputs, given)
        self._inside(body, unit.bodies.get(body) if unit is not None else None, values, around)
        results = [values[each] for each in body.outputs]
        self._add_lags(results, carried)
        return results

    def _note_carries(
        self, bodies: Sequence[Graph], first: int, n_carry: int
    ) -> Sequence[list[int]]:
        """Lists of the boxes that will read each carry in any of the bodies."""
        carried: list[list[int]] = [[] for _ in range(n_carry)]
        for body in bodies:
            symbols = body.inputs[first : first + n_carry]
            self._carried.update(zip(symbols, carried, strict=True))
        return carried

    def _add_lags(self, results: Sequence[Boxes], carried: Sequence[list[int]]) -> None:
        """Edges from what gives the next carries to what reads them one step later."""
        for after, targets in zip(results, carried, strict=False):
            for target in targets:
                for source in after:
                    kind = "bptt" if self._nodes[source].role == "backward" else "recurrent"
                    if source >= target:  # else it comes from outside, and stays as it is
                        edge = SceneEdge(source, target, kind, lag=1)
                        self._edges.setdefault((source, target), edge)

    def _body(
        self,
        body: Graph,
        node: Node,
        skipped: int,
        given: Sequence[Boxes],
        words: str,
        kind: str,
        unit: Unit | None,
        group: int | None,
    ) -> Sequence[Boxes]:
        """The boxes of a body that is carried out once, in a frame."""
        values = self._given(body, node.inputs[skipped:], given[skipped:])
        inner = unit.bodies.get(body) if unit is not None else None
        self._inside(body, inner, values, self._frame(words, kind, group))
        return [values[each] for each in body.outputs]

    def _given(
        self, body: Graph, nodes: Sequence[Node], given: Sequence[Boxes]
    ) -> dict[Node, Boxes]:
        """The boxes behind the inputs of a body."""
        for node, symbol in zip(nodes, body.inputs, strict=True):
            if node in self._carried:  # a step of an inner loop reads the outer one's carry
                self._carried.setdefault(symbol, self._carried[node])
        return dict(zip(body.inputs, given, strict=True))

    def _frame(self, words: str, kind: str, parent: int | None) -> int:
        self._groups.append(SceneGroup(shorten(words), kind, "", parent))
        return len(self._groups) - 1

    # -------------------------------------------------------------------------------------- boxes

    def _value(self, node: Node, values: dict[Node, Boxes], group: int | None) -> Boxes:
        """The boxes that a value comes from; leaves get theirs when they are first read."""
        if node not in values:
            is_outside = isinstance(node, Parameter) or group is None
            if node in self._shown:
                values[node] = (self._shown[node],)
            else:
                values[node] = (self._box(node, values, None if is_outside else group),)
        return values[node]

    def _box(self, node: Node, values: dict[Node, Boxes], group: int | None) -> int:
        read = [
            each
            for each in node.inputs
            if not (is_scalar_constant(each) and each not in self._outputs)
        ]
        sources = [(each, self._value(each, values, group)) for each in read]
        known = provenance(node)
        origin = known.origin
        word = label_of(node.op.label(node), node)
        kind = node.op.name if node.op.name in ("input", "parameter", "constant") else "operation"
        name = known.name or gradients_text(known, self._names)
        detail = f"{word}  {node.spec}" if name and kind == "operation" else str(node.spec)
        index = len(self._nodes)
        self._nodes.append(
            SceneNode(
                label=shorten(name or word),
                detail=shorten(detail),
                kind=kind,
                role=known.role,
                scope=known.scope,
                step=known.step,
                is_output=node in self._outputs,
                origin=self._shown.get(origin) if origin is not None else None,
                tooltip=tooltip_of(node),
                group=group,
                subject=Subject(node),
            )
        )
        self._made.append(node)
        self._shown.setdefault(node, index)
        for each, boxes in sources:
            for source in boxes:
                pair = (source, index)
                kind = edge_kind(self._made[source], node)
                self._edges.setdefault(pair, SceneEdge(*pair, kind))
            if each in self._carried:
                self._carried[each].append(index)
        return index


def _order(graph: Graph, unit: Unit | None) -> Iterable[Node]:
    """The nodes in the order in which they are computed, as soon as there is one."""
    if unit is None or not unit.schedule:
        return graph.nodes
    return dict.fromkeys((*unit.schedule, *graph.nodes))
