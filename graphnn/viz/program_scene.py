"""The scene of a program: what really runs, instruction by instruction, with its memory."""

from __future__ import annotations

from dataclasses import replace

from graphnn.compiler.program import Program
from graphnn.compiler.unit import Buffer, Instruction, Storage, Unit, View
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.spec import TensorSpec
from graphnn.core.state import Parameter
from graphnn.viz.graph_scene import bytes_text, edge_kind, label_of, tooltip_of
from graphnn.viz.scene import Scene, SceneEdge, SceneNode, Subject
from graphnn.viz.style import shorten

__all__ = ["scene_of_program"]


def scene_of_program(program: Program, title: str = "") -> Scene:
    """One box an instruction, feed, parameter and update; edges are reads of buffers."""
    summary = (
        f"Program: {len(program.instructions)} instructions, "
        f"arena {program.arena_nbytes:,} bytes, {program.flops:,} FLOPs"
    )
    return _Builder(program.unit).scene(title or summary)


class _Builder:
    """Boxes and edges made so far, and which box wrote each buffer last."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._nodes: list[SceneNode] = []
        self._made: list[Node] = []
        self._edges: dict[tuple[int, int], SceneEdge] = {}
        self._writer: dict[Buffer, int] = {}
        self._shown: dict[Node, int] = {}
        self._saved: set[int] = set()
        self._of_gradients: set[int] = set()  # boxes that compute gradients, and maybe more

    def scene(self, title: str) -> Scene:
        """Everything, in the order of execution."""
        unit = self._unit
        for node, view in zip(unit.graph.inputs, unit.feeds, strict=True):
            self._writer[view.buffer] = self._add(node, "input", view, node.name or "input", "feed")
        for number, instruction in enumerate(unit.instructions):
            self._instruction(number, instruction)
        results = {
            self._writer[view.buffer] for view in unit.results if view.buffer in self._writer
        }
        written = {self._writer[b] for b in self._writer if self._is_written(b)}
        nodes = list(self._nodes)
        fused = self._of_gradients & written - results
        for index in self._updating(results) | fused:
            nodes[index] = replace(nodes[index], role="update")
        for index in results | written:
            nodes[index] = replace(nodes[index], is_output=True)
        edges = [
            replace(edge, kind="update") if nodes[edge.target].role == "update" else edge
            for edge in self._edges.values()
        ]
        return Scene(title, tuple(nodes), tuple(edges))

    def _updating(self, results: set[int]) -> set[int]:
        """What is computed from gradients, and for the new values of parameters alone."""
        needed, derived = set(results), set()
        for source, target in sorted(self._edges, key=lambda pair: -pair[1]):
            if target in needed:
                needed.add(source)
        for source, target in sorted(self._edges, key=lambda pair: pair[1]):
            if source in derived or self._nodes[source].role == "backward":
                derived.add(target)
        return {i for i in derived - needed if self._nodes[i].role == "forward"}

    def _is_written(self, buffer: Buffer) -> bool:
        """Whether a buffer is a parameter's and an instruction has written it."""
        if buffer.storage is not Storage.STATE:
            return False
        return self._nodes[self._writer[buffer]].kind == "operation"

    def _add(self, node: Node, kind: str, view: View, label: str, what: str) -> int:
        known = provenance(node)
        origin = known.origin
        spec = TensorSpec(view.shape, view.dtype)
        lines = [tooltip_of(node), f"{what} {view.buffer}{self._place(view)}, {bytes_text(spec)}"]
        weights = tuple(
            self._shown[each]
            for each in node.inputs
            if isinstance(each, Parameter) and each in self._shown
        )
        self._nodes.append(
            SceneNode(
                label=shorten(label),
                detail=shorten(f"{what}  {spec}" if what and what != "feed" else str(spec)),
                kind=kind,
                role=known.role,
                scope=known.scope,
                step=known.step,
                origin=self._shown.get(origin) if origin is not None else None,
                tooltip="\n".join(lines),
                signature=(kind, what, node.op.name, known.scope, known.sources[:1], weights),
                subject=Subject(node),
            )
        )
        self._made.append(node)
        return len(self._nodes) - 1

    def _place(self, view: View) -> str:
        plan = self._unit.plan
        if plan is None or view.buffer.storage is not Storage.ARENA:
            return ""
        return f" at byte {plan.offsets[view.buffer.index] + view.offset:,} of the arena"

    def _instruction(self, number: int, instruction: Instruction) -> None:
        sources = [self._source(view) for view in instruction.sources]
        node, output = instruction.node, instruction.outputs[0]
        word = (
            label_of(instruction.label, node) if len(instruction.nodes) < 2 else instruction.label
        )
        written = output.buffer.storage is Storage.STATE
        name = self._unit.states[output.buffer.index].name if written else node.name
        label = f"{name} ← {word}" if written and name else name or word
        what = word if name and not written else instruction.kind
        index = self._add(node, "operation", output, label, what)
        self._nodes[index] = replace(self._nodes[index], subject=Subject(node, instruction=number))
        self._shown.setdefault(node, index)
        if any(provenance(each).role == "backward" for each in instruction.nodes):
            self._of_gradients.add(index)
        for view, source in zip(instruction.sources, sources, strict=True):
            if source is not None:
                self._connect(source, index, view)
        for view in instruction.outputs:
            self._writer[view.buffer] = index

    def _source(self, view: View) -> int | None:
        """The box that a view is read from; None for scalar constants, which labels show."""
        buffer = view.buffer
        if buffer in self._writer:
            return self._writer[buffer]
        if buffer.storage is Storage.STATE:
            node: Node = self._unit.states[buffer.index]
            kind = "parameter"
        elif buffer.storage is Storage.CONSTANT:
            node, kind = self._unit.constants[buffer.index], "constant"
            if node.attrs["value"].array.size == 1:
                return None
        else:
            return None
        label = node.name or (repr(node.attrs["value"]) if kind == "constant" else kind)
        index = self._add(node, kind, view, label, "")
        self._shown[node] = self._writer[buffer] = index
        return index

    def _connect(self, source: int, target: int, view: View) -> None:
        kind, label = edge_kind(self._made[source], self._made[target]), ""
        if kind == "saved" and source not in self._saved:
            self._saved.add(source)
            label = bytes_text(TensorSpec(view.shape, view.dtype))
        self._edges.setdefault((source, target), SceneEdge(source, target, kind, label))
