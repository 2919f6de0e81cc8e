"""The history of a program: what every pass made of it, and why.

The program is compiled once more, and the unit is kept after every pass: ordinary compilation
forgets what it rewrites.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import overload

from graphnn.compiler.domain import ANCHOR_OPS
from graphnn.compiler.driver import Driver, Snapshot, lines_of
from graphnn.compiler.memory_report import MemoryReport
from graphnn.compiler.memory_size import size_text
from graphnn.compiler.pipeline import LEVELS
from graphnn.compiler.program import Program
from graphnn.compiler.unit import Options, Unit
from graphnn.core.dims import is_known
from graphnn.core.errors import RenderError
from graphnn.core.graph import Graph
from graphnn.core.provenance import without_lines
from graphnn.core.text import word_of
from graphnn.viz.body_frames import scene_with_bodies
from graphnn.viz.matching import matched
from graphnn.viz.program_scene import scene_of_unit
from graphnn.viz.remarks import Remark, add_decisions, badge_of, with_remarks
from graphnn.viz.scene import Scene

__all__ = ["History", "Stage", "history", "with_decisions"]

GIVEN = "graph"
"""The stage before all passes."""

MERGES_LOOPS = ("reroll", "merge_scans")
"""Passes that make one loop of several, or of steps that were written out."""

MOST_NODES_TO_FOLLOW = 1000
"""Nodes of a program that is compiled once more for the sake of its picture."""
MOST_NOTES = 100
"""Sentences of one stage."""


@dataclass(frozen=True)
class Stage:
    """What there was after a pass.

    Attributes
    ----------
    name : str
        The pass; ``"graph"`` for what was given.
    notes : tuple of str
        What it did and decided, in sentences.
    scene : Scene
        Tooltips of boxes have the decisions on them, and those of earlier passes.
    same : tuple of int or None
        By node: its number in the stage before, if it was there.
    changes : tuple of {"", "added", "merged"}
        By node. What was merged does the work of several that were removed.
    removed : tuple of int
        Numbers in the stage before.
    leaves : tuple of int
        Numbers in this stage of what the next one removes.
    """

    name: str
    notes: tuple[str, ...]
    scene: Scene
    same: tuple[int | None, ...]
    changes: tuple[str, ...]
    removed: tuple[int, ...]
    leaves: tuple[int, ...] = ()

    @property
    def summary(self) -> str:
        """What changed, in numbers."""
        if self.name == GIVEN:
            return f"{GIVEN}: as it was given"
        counts = Counter(filter(None, self.changes))
        words = [f"{counts[change]} {change}" for change in ("added", "merged") if counts[change]]
        words += [f"{len(self.removed)} removed"] if self.removed else []
        return f"{self.name}: {', '.join(words) or 'nothing added or removed'}"

    def __str__(self) -> str:
        return "\n".join([self.summary, *(f"  {note}" for note in self.notes)])

    def __repr__(self) -> str:
        return f"<Stage {self.summary}>"


@dataclass(frozen=True)
class History(Sequence[Stage]):
    """What every pass made of a graph that changed or decided something.

    A sequence of stages; :func:`graphnn.render` draws all of them, or one: ``history[3]``.

    Attributes
    ----------
    stages : tuple of Stage
        The first one is what was given.
    """

    stages: tuple[Stage, ...]

    @overload
    def __getitem__(self, index: int) -> Stage: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Stage, ...]: ...

    def __getitem__(self, index: int | slice) -> Stage | tuple[Stage, ...]:
        return self.stages[index]

    def __len__(self) -> int:
        return len(self.stages)

    def __str__(self) -> str:
        return "\n".join(map(str, self.stages))

    def __repr__(self) -> str:
        return f"<History of {len(self)} stages: {', '.join(each.name for each in self.stages)}>"


def history(thing: Program | Graph) -> History:
    """What every pass of the compiler made of a program or a graph, and why.

    It is compiled once more, which takes as long as the first time; nothing is run.

    Parameters
    ----------
    thing : Program or Graph
        A program for the sizes of its latest call. A graph is compiled with ``gn.compile``'s
        defaults; all its outputs are results.

    Returns
    -------
    History

    Raises
    ------
    RenderError
        If it is neither, or a graph with named dimensions.

    Examples
    --------
    >>> import graphnn as gn
    >>> x = gn.input("x", shape=(3,))
    >>> past = gn.viz.history(gn.compile(x, gn.tanh(x * 1.0) + 2.0))
    >>> [stage.name for stage in past]
    ['graph', 'simplify', 'fuse', 'lower', 'plan_memory']
    >>> past[1]
    <Stage simplify: 1 removed>
    """
    return _followed(thing)[0]


def with_decisions(scene: Scene, program: Program) -> Scene:
    """The scene of a program with what passes decided told at its boxes.

    The program is compiled once more if they decided anything that pictures have a word for, and
    it is small.
    """
    decisions = (each for record in program.passes.passes for each in record.decisions)
    is_small = len(program.graph.nodes) <= MOST_NODES_TO_FOLLOW
    if not is_small or not any(map(badge_of, decisions)):
        return scene
    past, remarks = _followed(program)
    ours, theirs = scene_of_unit(program.unit, "", "all").nodes, past[-1].scene.nodes
    if [each.label for each in ours] != [each.label for each in theirs]:
        return scene
    subjects = ((ours[number].subject, remark) for number, remark in remarks.items())
    by_node = {id(subject.node): remark for subject, remark in subjects if subject is not None}
    found = {
        number: by_node[id(each.subject.node)]
        for number, each in enumerate(scene.nodes)
        if each.subject is not None and id(each.subject.node) in by_node
    }
    return with_remarks(scene, found)


def _followed(thing: Program | Graph) -> tuple[History, dict[int, Remark]]:
    """The history of a thing, and the remarks on the boxes of its last scene."""
    unit, snapshots = _recorded(thing)
    scene = scene_with_bodies(unit, GIVEN)
    stages = [Stage(GIVEN, (), scene, (None,) * len(scene.nodes), ("",) * len(scene.nodes), ())]
    remarks: dict[int, Remark] = {}
    for snapshot in snapshots:
        if _is_idle(snapshot, unit):
            continue
        stage, told = _stage(snapshot, stages[-1], remarks)
        unit = snapshot.unit
        if stage.notes or stage.removed or any(stage.changes):
            stages.append(stage)
            remarks = told
    followed = zip(stages, [*(each.removed for each in stages[1:]), ()], strict=True)
    past = History(tuple(replace(stage, leaves=leaves) for stage, leaves in followed))
    return past, remarks


def _recorded(thing: Program | Graph) -> tuple[Unit, list[Snapshot]]:
    """What is compiled, and what every pass leaves of it."""
    if isinstance(thing, Program):
        options, sizes = thing.options, thing.unit.sizes
        unit = Unit(thing.graph, tuple(thing.updates), options, sizes)
    elif isinstance(thing, Graph):
        _require_known_sizes(thing)
        options, unit = Options(), Unit(thing)
    else:
        raise RenderError(
            f"a {type(thing).__name__} has no history of passes",
            hint="give a program, or a graph",
            where="",
        )
    driver = Driver(options.fuel, snapshots=[])
    with without_lines():  # who looks at a program is not who built it
        driver.run(unit, LEVELS[options.optimize])
    return unit, driver.snapshots or []


def _require_known_sizes(graph: Graph) -> None:
    for node in graph.inputs:
        if not is_known(node.tensor.shape):
            raise RenderError(
                f"history: {node!r} has named dimensions, which passes need sizes for",
                hint="compile the graph, call the program once, and give that",
                where="",
            )


# ------------------------------------------------------------------------------------- one stage


def _is_idle(snapshot: Snapshot, before: Unit) -> bool:
    """Whether a pass has left everything as it was, and has nothing to tell."""
    unit = snapshot.unit
    is_same = (
        unit.graph is before.graph
        and unit.groups is before.groups
        and unit.instructions is before.instructions
        and unit.plan is before.plan
    )
    return is_same and not snapshot.record.decisions and not snapshot.record.rewrites


def _stage(
    snapshot: Snapshot, before: Stage, remarks: Mapping[int, Remark]
) -> tuple[Stage, dict[int, Remark]]:
    """The stage after a pass, and what is told of its boxes from then on."""
    unit, name = snapshot.unit, snapshot.record.name
    if unit.instructions:
        scene = scene_of_unit(unit, name, "all")
    else:
        scene = scene_with_bodies(unit, name)
    same = matched(before.scene, scene)
    kept = set(same)
    removed = tuple(n for n in range(len(before.scene.nodes)) if n not in kept)
    changes = tuple(
        "" if each is not None else "merged" if _is_merged(name, scene, at) else "added"
        for at, each in enumerate(same)
    )
    told = add_decisions(remarks, snapshot, before.scene, scene, same)
    notes = tuple(_notes(snapshot))
    return Stage(name, notes, with_remarks(scene, told), same, changes, removed), told


def _is_merged(name: str, scene: Scene, number: int) -> bool:
    """Whether a box that a pass has added does the work of several that were there before."""
    node = scene.nodes[number]
    if name == "merge_products":
        return node.subject is not None and node.subject.node.op.name in ANCHOR_OPS
    group = node.group
    while group is not None and scene.groups[group].kind != "loop":
        group = scene.groups[group].parent
    return name in MERGES_LOOPS and group is not None


def _notes(snapshot: Snapshot) -> Iterator[str]:
    """What a pass did and decided, in sentences."""
    unit, record = snapshot.unit, snapshot.record
    for rule, count in Counter(each.rule for each in record.rewrites).most_common():
        yield f"{rule} × {count} ({lines_of(rule, record.rewrites)})"
    told = list(map(str, record.decisions))
    if record.name == "fuse":
        several = sum(len(each.nodes) > 1 for each in unit.groups)
        yield f"kernels of several operators: {several} of {len(unit.groups)}"
        told += [
            f"not fused: {word_of(each.producer)} with {word_of(each.consumer)}: {each.reason}"
            for each in unit.notes
        ]
    elif record.name == "lower":
        yield f"instructions: {len(unit.instructions)}, buffers: {len(unit.buffers)}"
    elif record.name == "plan_memory":
        report = MemoryReport.of(unit)
        in_place = sum(each.in_place_of is not None for each in report.buffers)
        yield (
            f"arena {size_text(report.arena_nbytes)} for {len(report.buffers)} buffers, "
            f"{in_place} of them written in place; at most {size_text(report.peak_live)} live, "
            f"at instruction {report.peak_instruction}"
        )
    told = list(dict.fromkeys(told))
    yield from told[:MOST_NOTES]
    if len(told) > MOST_NOTES:
        yield f"and {len(told) - MOST_NOTES} more"
