"""The scene of a program: what really runs, instruction by instruction, with its memory.

What several operators became one instruction of is a frame around them; so are the bodies of loops
and branches. Edges are reads: of registers within a frame, of buffers between frames.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from graphnn.compiler.domain import ANCHOR_OPS
from graphnn.compiler.memory_size import size_text
from graphnn.compiler.program import Program
from graphnn.compiler.regions import Loop, Region
from graphnn.compiler.unit import Buffer, Instruction, Storage, Unit, View
from graphnn.core.dtypes import UINT8
from graphnn.core.node import Node
from graphnn.core.provenance import provenance
from graphnn.core.spec import TensorSpec
from graphnn.core.state import Parameter
from graphnn.viz.body_frames import saving_text
from graphnn.viz.buffer_marks import BufferMarks
from graphnn.viz.depth import Depth, check_depth
from graphnn.viz.graph_scene import bytes_text, edge_kind, is_scalar_constant, label_of, tooltip_of
from graphnn.viz.scene import Scene, SceneEdge, SceneGroup, SceneNode, Subject
from graphnn.viz.style import shorten
from graphnn.viz.writers import Carried, Writers

__all__ = ["scene_of_program", "scene_of_unit"]

MOST_MEMBERS = 160
"""Operators of fused instructions, all together, up to which they are shown by default."""


def scene_of_program(program: Program, title: str = "", depth: Depth = None) -> Scene:
    """One box an instruction, feed, parameter and update; edges are reads of buffers.

    Parameters
    ----------
    program : Program
    title : str
    depth : int or "all", optional
        How many frames deep to look: loops, branches and fused instructions that are nested
        deeper are one box each. By default all loops and branches are open, and small programs
        show what fused instructions are made of.
    """
    check_depth(depth)
    summary = (
        f"Program: {len(program.instructions)} instructions, "
        f"arena {program.arena_nbytes:,} bytes, {program.flops:,} FLOPs"
    )
    return scene_of_unit(program.unit, title or summary, depth)


def scene_of_unit(unit: Unit, title: str, depth: Depth = None) -> Scene:
    """The scene of a program in the making that has instructions; see `scene_of_program`."""
    n_members = sum(len(each.nodes) for each in unit.instructions)
    levels = depth if isinstance(depth, int) else len(unit.regions) + 1
    opens_fused = depth is not None or n_members <= MOST_MEMBERS
    return _Builder(unit, levels, opens_fused=opens_fused).scene(title)


class _Builder:
    """Boxes, frames and edges made so far, and which box wrote what."""

    def __init__(self, unit: Unit, depth: int, *, opens_fused: bool) -> None:
        self._unit = unit
        self._depth = depth
        self._opens_fused = opens_fused
        self._marks = BufferMarks(unit)
        self._nodes: list[SceneNode] = []
        self._made: list[Node] = []
        self._numbers: list[range | None] = []  # the instructions of every box
        self._edges: dict[tuple[int, int], SceneEdge] = {}
        self._groups: list[SceneGroup] = []
        self._open: dict[Region, int] = {}  # frames
        self._closed: dict[Region, int] = {}  # boxes that stand for all inside
        self._writers = Writers()
        self._carried = Carried()
        self._shown: dict[Node, int] = {}
        self._saved: set[int] = set()
        self._of_gradients: set[int] = set()  # boxes that compute gradients, and maybe more
        self._why_apart: dict[Node, list[str]] = {}
        for note in unit.notes:
            line = f"not fused with {_word(note.producer)}: {note.reason}"
            self._why_apart.setdefault(note.consumer, []).append(line)

    def scene(self, title: str) -> Scene:
        """Everything, in the order of execution."""
        unit = self._unit
        for node, view in zip(unit.graph.inputs, unit.feeds, strict=True):
            self._writers.write(view, self._source(node, "input", node.name or "input", view))
        for number, instruction in enumerate(unit.instructions):
            self._instruction(number, instruction)
        for source, target in self._carried.pairs():
            kind = "bptt" if self._nodes[source].role == "backward" else "recurrent"
            self._edges.setdefault((source, target), SceneEdge(source, target, kind, lag=1))
        results = {box for view in unit.results for box in self._writers.read(view)}
        written = {
            box
            for buffer, box in self._writers.last().items()
            if buffer.storage is Storage.STATE and self._nodes[box].kind == "operation"
        }
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
        strip = self._marks.strip(self._numbers)
        return Scene(title, tuple(nodes), tuple(edges), tuple(self._groups), strip)

    def _updating(self, results: set[int]) -> set[int]:
        """What is computed from gradients, and for the new values of parameters alone."""
        pairs = [(edge.source, edge.target) for edge in self._edges.values() if not edge.lag]
        needed, derived = set(results), set()
        for source, target in sorted(pairs, key=lambda pair: -pair[1]):
            if target in needed:
                needed.add(source)
        for source, target in sorted(pairs, key=lambda pair: pair[1]):
            if source in derived or self._nodes[source].role == "backward":
                derived.add(target)
        return {i for i in derived - needed if self._nodes[i].role == "forward"}

    # -------------------------------------------------------------------------------------- boxes

    def _add(
        self,
        node: Node,
        kind: str,
        label: str,
        detail: str,
        lines: Iterable[str],
        *,
        numbers: range | None = None,
        group: int | None = None,
    ) -> int:
        known = provenance(node)
        origin = known.origin
        about = repr(node).strip("<>") if node.op.name == "argument" else tooltip_of(node)
        told = [about, *self._why_apart.get(node, ()), *lines]
        weights = tuple(
            self._shown[each]
            for each in node.inputs
            if isinstance(each, Parameter) and each in self._shown
        )
        what = node.op.name if kind == "operation" else ""
        self._nodes.append(
            SceneNode(
                label=shorten(label),
                detail=shorten(detail),
                kind=kind,
                role=known.role,
                scope=known.scope,
                step=known.step,
                origin=self._shown.get(origin) if origin is not None else None,
                tooltip="\n".join(told),
                signature=(kind, what, known.scope, known.sources[:1], weights),
                group=group,
                subject=Subject(node),
            )
        )
        self._made.append(node)
        self._numbers.append(numbers)
        return len(self._nodes) - 1

    def _source(self, node: Node, kind: str, label: str, view: View) -> int:
        """A box for what is not computed."""
        line = f"{self._marks.place(view)}, {bytes_text(node.spec)}"
        index = self._add(node, kind, label, str(node.spec), [line])
        self._shown[node] = index
        return index

    def _instruction(self, number: int, instruction: Instruction) -> None:
        around = self._unit.regions_around(number)
        group = None
        for region in around[: self._depth]:
            group = self._frame(region, group)
        sources = {view: self._sources(view, around) for view in instruction.sources}
        if len(around) > self._depth:
            boxes = self._closed_region(instruction, around[self._depth], group, sources)
        elif len(instruction.nodes) > 1 and self._opens_fused and len(around) < self._depth:
            boxes = self._fused(number, instruction, group, sources)
        else:
            boxes = self._alone(number, instruction, group, sources)
        for view in instruction.outputs:
            self._writers.write(view, boxes[view], around)
            self._carried.write(number, view, boxes[view], around)

    def _frame(self, region: Region, parent: int | None) -> int:
        """The frame of a region whose inside is shown."""
        if region not in self._open:
            self._open[region] = len(self._groups)
            kind = "loop" if isinstance(region, Loop) else "branch"
            words = shorten(self._words_of(region))
            self._groups.append(SceneGroup(words, kind, self._inside(region), parent))
        return self._open[region]

    def _words_of(self, region: Region) -> str:
        """How often or when a region is entered."""
        if isinstance(region, Loop):
            return f"loop × {region.count}" if region.count is not None else "while"
        flags = self._writers.read(region.flag)
        flag = self._nodes[flags[-1]].label if flags else str(region.flag.buffer)
        word = "as long as" if region.leaves else "if" if region.when else "unless"
        return f"{word} {flag}"

    def _inside(self, region: Region) -> str:
        instructions = self._unit.instructions[region.begin : region.end]
        kinds = Counter(each.kind for each in instructions).items()
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds)
        return f"instructions {region.begin} to {region.end - 1}: {listed}"

    def _closed_region(
        self,
        instruction: Instruction,
        region: Region,
        group: int | None,
        sources: Mapping[View, list[int]],
    ) -> dict[View, int]:
        """An instruction of a region that is one box; which box wrote each of its outputs."""
        if region not in self._closed:
            words, inside = self._words_of(region), self._inside(region)
            node, within = instruction.node, range(region.begin, region.end)
            index = self._add(node, "operation", words, inside, [], numbers=within, group=group)
            self._nodes[index] = replace(self._nodes[index], tooltip=inside)
            self._closed[region] = index
        index = self._closed[region]
        for view, found in sources.items():
            self._connect(found, index, view)
        return dict.fromkeys(instruction.outputs, index)

    def _alone(
        self,
        number: int,
        instruction: Instruction,
        group: int | None,
        sources: Mapping[View, list[int]],
    ) -> dict[View, int]:
        """An instruction that is one box."""
        node = instruction.node
        word = label_of(instruction.label, node)
        if len(instruction.nodes) > 1:
            word = instruction.label
        index = self._computed(
            number, instruction, node, word, instruction.outputs, group, instruction.kind
        )
        for view, found in sources.items():
            self._connect(found, index, view)
            self._carried.read(number, view, index, self._unit.regions_around(number))
        if any(provenance(each).role == "backward" for each in instruction.nodes):
            self._of_gradients.add(index)
        return dict.fromkeys(instruction.outputs, index)

    def _fused(
        self,
        number: int,
        instruction: Instruction,
        parent: int | None,
        sources: Mapping[View, list[int]],
    ) -> dict[View, int]:
        """An instruction that is a frame around its members."""
        group = len(self._groups)
        words = f"{number} {instruction.kind}"
        stays = [each for each in instruction.nodes if each not in instruction.stored]
        self._groups.append(SceneGroup(words, "fusion", saving_text(stays), parent))
        around = self._unit.regions_around(number)
        given = dict(instruction.reads)
        stored: dict[Node, list[View]] = {}
        for node, view in zip(instruction.stored, instruction.outputs, strict=False):
            stored.setdefault(node, []).append(view)
        members: dict[Node, int] = {}
        for node in instruction.nodes:
            word = label_of(node.op.label(node), node)
            views = stored.get(node, ())
            index = self._computed(number, instruction, node, word, views, group, "")
            members[node] = index
            for each in map(_past_views(members, given), node.inputs):
                if each in members:
                    kind = edge_kind(each, node)
                    pair = members[each], index
                    self._edges.setdefault(pair, SceneEdge(*pair, kind))
                elif each in given and not is_scalar_constant(each):
                    self._connect(self._sources(given[each], around), index, given[each])
                    self._carried.read(number, given[each], index, around)
        anchor = next((each for each in members if each.op.name in ANCHOR_OPS), None)
        if anchor is not None:
            for view in instruction.panels:
                self._connect(sources[view], members[anchor], view)
        last = members[instruction.nodes[-1]]
        boxes = {view: members[node] for node, views in stored.items() for view in views}
        return {view: boxes.get(view, last) for view in instruction.outputs}

    def _computed(
        self,
        number: int,
        instruction: Instruction,
        node: Node,
        word: str,
        views: Iterable[View],
        group: int | None,
        kind: str,
    ) -> int:
        """A box for what an instruction computes: its operator, what it writes and where."""
        lines = [
            f"instruction {number}: {instruction.flops:,} FLOPs, "
            f"{size_text(instruction.nbytes)} read and written"
        ]
        view = next(iter(views), None)
        name, label, detail = node.name, node.name or word, ""
        if view is None:
            lines.append("stays in a register")
        else:
            spec = TensorSpec(view.shape, view.dtype)
            if view.buffer.storage is Storage.STATE:
                name = self._unit.states[view.buffer.index].name
                label = f"{name} ← {word}" if name else word
            elif name:
                kind = word
            known = (
                f"{number} {kind}"
                if group is None or self._groups[group].kind != "fusion"
                else kind
            )
            detail = f"{known}  {spec}" if known else str(spec)
            lines += [f"{self._marks.place(each)}, {bytes_text(spec)}" for each in views]
        badges, told = self._marks.of(instruction, views)
        lines += told
        inside = range(number, number + 1)
        index = self._add(node, "operation", label, detail, lines, numbers=inside, group=group)
        box = self._nodes[index]
        again = node in self._marks.recomputed
        self._nodes[index] = replace(
            box,
            badges=(*box.badges, *badges),
            is_recomputed=again,
            subject=Subject(node, instruction=number),
        )
        self._shown.setdefault(node, index)
        return index

    # -------------------------------------------------------------------------------------- edges

    def _sources(self, view: View, around: tuple[Region, ...]) -> list[int]:
        """The boxes a view is read from; none for scalar constants, which labels show."""
        found = self._writers.read(view, around)
        if found or view.buffer.storage not in (Storage.STATE, Storage.CONSTANT):
            return found
        if view.buffer.storage is Storage.STATE:
            node: Node = self._unit.states[view.buffer.index]
            label = node.name or "parameter"
        else:
            node = self._unit.constants[view.buffer.index]
            label = node.name or repr(node.attrs["value"])
            if is_scalar_constant(node):
                return []
        index = self._source(node, node.op.name, label, view)
        self._writers.write(_whole(view.buffer), index)
        return [index]

    def _connect(self, sources: Iterable[int], target: int, view: View) -> None:
        for source in sources:
            if source == target:
                continue
            kind, label = edge_kind(self._made[source], self._made[target]), ""
            if kind == "saved" and source not in self._saved:
                self._saved.add(source)
                label = bytes_text(TensorSpec(view.shape, view.dtype))
            self._edges.setdefault((source, target), SceneEdge(source, target, kind, label))


def _past_views(members: Mapping[Node, int], given: Mapping[Node, View]) -> Callable[[Node], Node]:
    """What finds the value that a member reads, through views that no instruction computes."""

    def found(node: Node) -> Node:
        while node not in members and node not in given and node.op.is_view:
            node = node.inputs[0]
        return node

    return found


def _whole(buffer: Buffer) -> View:
    return View(buffer, 0, (buffer.nbytes,), (1,), UINT8)


def _word(node: Node) -> str:
    return node.name or node.op.label(node)
