"""Pictures of programs: frames, buffers, the order of execution, and live memory on its axis."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from training_steps import lstm_step

import graphnn as gn
from graphnn.compiler.memory_size import size_text
from graphnn.compiler.program import Program
from graphnn.core.errors import RenderError
from graphnn.viz.layout import Box
from graphnn.viz.listing import listing_layout
from graphnn.viz.picture import Picture
from graphnn.viz.program_scene import scene_of_program
from graphnn.viz.scene import Scene


def weight(name: str, *shape: int) -> gn.Parameter:
    return gn.parameter(np.full(shape, 0.1, np.float32), name=name)


@cache
def mlp() -> Program:
    """A training step of two layers."""
    x, y = gn.input("x", shape=(16, 12)), gn.input("y", shape=(16, 4))
    W, b, V = weight("W", 12, 8), weight("b", 8), weight("V", 8, 4)
    loss = gn.mean(gn.square(gn.relu(x @ W + b) @ V - y)).named("loss")
    updates = gn.optim.SGD(0.1).minimize(loss, [W, b, V])
    return gn.compile([x, y], loss, updates, native="never")


@cache
def lstm() -> Program:
    """A training step of an LSTM by scan."""
    return lstm_step(20, 4, 3, 8)


@cache
def branching() -> Program:
    x, flag = gn.input("x", shape=(4, 6)), gn.input("flag", shape=(), dtype="bool")
    W, V = weight("W", 6, 6), weight("V", 6, 6)
    y = gn.cond(flag, lambda x: gn.tanh(x @ W), lambda x: gn.relu(x @ V) @ W, x)
    loss = gn.mean(gn.square(y)).named("loss")
    updates = gn.optim.SGD(0.1).minimize(loss, [W, V])
    return gn.compile([x, flag], loss, updates, native="never")


PROGRAMS = (mlp, lstm, branching)
everywhere = pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)


def frames(scene: Scene, kind: str) -> list[str]:
    return [each.label for each in scene.groups if each.kind == kind]


def picture_of(thing: Program, **options: object) -> Picture:
    made = gn.render(thing, **options)
    assert isinstance(made, Picture)
    return made


# ------------------------------------------------------------------------------------ the scene


@everywhere
def test_every_operator_of_a_fused_instruction_is_in_its_frame(make) -> None:
    program = make()
    scene = scene_of_program(program)
    members: dict[str, list[str]] = {}
    for node in scene.nodes:
        if node.group is not None and scene.groups[node.group].kind == "fusion":
            members.setdefault(scene.groups[node.group].label, []).append(node.subject.node.op.name)
    for number, each in enumerate(program.instructions):
        if len(each.nodes) > 1:
            found = members.pop(f"{number} {each.kind}")
            assert found == [node.op.name for node in each.nodes]
    assert not members


@everywhere
def test_edges_go_forwards_but_for_what_a_loop_carries(make) -> None:
    scene = scene_of_program(make())
    for edge in scene.edges:
        assert (edge.source > edge.target) == bool(edge.lag)
        assert edge.source != edge.target


def test_a_member_that_is_stored_tells_its_spec_and_others_stay_in_registers() -> None:
    program = mlp()
    scene = scene_of_program(program)
    stored = {id(node) for each in program.instructions for node in each.stored}
    seen = set()
    for node in scene.nodes:
        if node.group is not None:
            is_stored = id(node.subject.node) in stored
            assert bool(node.detail) == is_stored
            assert ("stays in a register" in node.tooltip) != is_stored
            seen.add(is_stored)
    assert seen == {True, False}


def test_loops_and_what_they_carry() -> None:
    program = lstm()
    scene = scene_of_program(program)
    assert frames(scene, "loop") == ["loop × 20", "loop × 20"]
    lags = [edge for edge in scene.edges if edge.lag]
    assert {edge.kind for edge in lags} == {"recurrent", "bptt"}
    for edge in lags:
        around = [_loop_of(scene, n) for n in (edge.source, edge.target)]
        assert around[0] is not None
        assert around[0] == around[1]


def _loop_of(scene: Scene, number: int) -> int | None:
    group = scene.nodes[number].group
    while group is not None and scene.groups[group].kind != "loop":
        group = scene.groups[group].parent
    return group


def test_branches_and_what_both_of_them_give() -> None:
    scene = scene_of_program(branching())
    assert frames(scene, "branch") == ["if flag", "unless flag"] * 2
    loss = next(n for n, each in enumerate(scene.nodes) if each.label == "loss")
    squared = next(e.source for e in scene.edges if e.target == loss)
    first = next(e.source for e in scene.edges if e.target == squared)
    outer = [scene.groups[scene.nodes[e.source].group] for e in scene.edges if e.target == first]
    kinds = {group.label if group.kind == "branch" else scene.groups[group.parent].label
             for group in outer}  # fmt: skip
    assert kinds == {"if flag", "unless flag"}


def test_what_one_branch_writes_is_not_read_in_the_other() -> None:
    scene = scene_of_program(branching())
    for edge in scene.edges:
        arms = [_branch_of(scene, n) for n in (edge.source, edge.target)]
        if None not in arms:
            assert arms[0] == arms[1]


def _branch_of(scene: Scene, number: int) -> str | None:
    group = scene.nodes[number].group
    while group is not None and scene.groups[group].kind != "branch":
        group = scene.groups[group].parent
    return scene.groups[group].label if group is not None else None


def test_badges_say_what_the_plan_does() -> None:
    program = lstm()
    scene = scene_of_program(program)
    report = program.memory
    told = [node for node in scene.nodes if node.kind == "operation"]
    assert any("in place" in node.badges and "←" in node.label for node in told)  # of parameters
    reused = {f"arena{each.number} lies where" for each in report.buffers
              if each.reuses and each.in_place_of is None and each.node is not None}  # fmt: skip
    assert reused
    for words in reused:
        assert any(words in node.tooltip and "reused" in node.badges for node in told)
    offsets = [int(found.replace(",", "")) for node in told
               for found in re.findall(r"at byte ([\d,]+) of the arena", node.tooltip)]  # fmt: skip
    assert offsets
    assert max(offsets) < program.arena_nbytes


def test_frames_fold() -> None:
    program = lstm()
    n_instructions = len(program.instructions)
    inside = sum(each.end - each.begin for each in program.loops)
    computed = {
        depth: [n for n in scene_of_program(program, depth=depth).nodes if n.kind == "operation"]
        for depth in (0, 1, "all")
    }
    assert len(computed[0]) == n_instructions - inside + 2
    fused = sum(
        len(each.nodes) or 1
        for number, each in enumerate(program.instructions)
        if not program.unit.loops_around(number)
    )
    assert len(computed[1]) == fused + inside
    assert len(computed["all"]) == sum(len(each.nodes) or 1 for each in program.instructions)
    assert {"loop × 20"} <= {node.label for node in computed[0]}
    with pytest.raises(RenderError, match="depth=-1"):
        gn.render(program, depth=-1)


# ----------------------------------------------------------------------------------- the picture


@everywhere
@pytest.mark.parametrize("depth", [0, 1, "all"])
def test_the_strip_is_the_memory_report(make, depth) -> None:
    program = make()
    report = program.memory
    scene = scene_of_program(program, depth=depth)
    values = [each for each in scene.strip.values if each is not None]
    assert max(values) == report.peak_live
    assert len(scene.strip.blocks) == sum(each.last >= each.first for each in report.buffers)
    drawing = picture_of(program, depth=depth).drawing
    peaks = [band for band in drawing.bands if band.tone == "peak"]
    assert len(peaks) == 1
    labels = [band.label for band in drawing.bands]
    assert f"peak {size_text(report.peak_live)}" in labels
    title = f"peak {size_text(report.peak_live)} at instruction {report.peak_instruction}"
    assert any(title in label for label in labels)


@everywhere
def test_blocks_are_numbered_as_the_instructions_that_write_them(make) -> None:
    program = make()
    scene = scene_of_program(program, depth="all")
    told = {}  # by the number at a box, or at the frame of what is computed together
    for box in scene.nodes:
        frame = None if box.group is None else scene.groups[box.group]
        words = frame.label if frame is not None and frame.kind == "fusion" else box.detail
        told[words.split(" ")[0]] = told.get(words.split(" ")[0], "") + box.tooltip
    kept = [each for each in program.memory.buffers if each.last >= each.first]
    found = {}
    for buffer, block in zip(kept, scene.strip.blocks, strict=True):
        if buffer.node is not None:
            found[buffer.number] = f"arena{buffer.number} at byte" in told[block.label.split()[0]]
    assert len(found) > 1
    assert all(found.values()), found


def test_live_bytes_stand_beside_their_instruction() -> None:
    program = mlp()
    scene = scene_of_program(program)
    layout = listing_layout(scene)
    live = program.memory.live_nbytes
    bars = sorted((b for b in layout.bands if b.tone in ("live", "peak") and b.box.height),
                  key=lambda band: band.box.y)  # fmt: skip
    assert len(bars) == len(program.instructions)
    widest = max(bar.box.width for bar in bars)
    for number, bar in enumerate(bars):
        assert bar.box.width == pytest.approx(widest * live[number + 1] / max(live))
        fused = f"{number} {program.instructions[number].kind}"
        for node, box in zip(scene.nodes, layout.boxes, strict=True):
            if node.group is not None and scene.groups[node.group].label == fused:
                assert bar.box.y <= box.y
                assert box.y + box.height <= bar.box.y + bar.box.height


@everywhere
def test_lines_come_in_order_and_boxes_do_not_overlap(make) -> None:
    scene = scene_of_program(make())
    layout = listing_layout(scene)
    assert not [pair for pair in _pairs(layout.boxes) if _overlap(*pair)]
    computed = [n for n, each in enumerate(scene.strip.values) if each is not None]
    tops: dict[object, list[Box]] = {}
    for number in computed:
        group = scene.nodes[number].group
        is_fused = group is not None and scene.groups[group].kind == "fusion"
        tops.setdefault(("frame", group) if is_fused else number, []).append(layout.boxes[number])
    lines = list(tops.values())
    for above, below in pairwise(lines):
        assert max(b.y + b.height for b in above) < min(b.y for b in below)
    for route, edge in zip(layout.routes, scene.edges, strict=True):
        target = layout.boxes[edge.target]
        x, y = route.points[-1]
        assert x == pytest.approx(target.x)
        assert target.y <= y <= target.y + target.height


@everywhere
def test_frames_hold_what_is_inside_and_nothing_else(make) -> None:
    scene = scene_of_program(make())
    layout = listing_layout(scene)
    bands = [b for b in layout.bands if b.tone in ("fusion", "loop", "branch")]
    assert len(bands) == len(scene.groups)
    for number, group in enumerate(scene.groups):
        label = f"{group.label} · {group.reason}"
        candidates = [band for band in bands if band.label == label]
        inside = {n for n, each in enumerate(scene.nodes) if _is_in(scene, each.group, number)}
        assert any({n for n, box in enumerate(layout.boxes) if _within(box, band.box)} == inside
                   for band in candidates), label  # fmt: skip


def _is_in(scene: Scene, group: int | None, frame: int) -> bool:
    while group is not None and group != frame:
        group = scene.groups[group].parent
    return group == frame


def _within(inner: Box, outer: Box) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


def _pairs(boxes: tuple[Box, ...]):
    return ((a, b) for n, a in enumerate(boxes) for b in boxes[:n])


def _overlap(a: Box, b: Box) -> bool:
    return (
        a.x < b.x + b.width
        and b.x < a.x + a.width
        and a.y < b.y + b.height
        and b.y < a.y + a.height
    )


def test_a_long_program_is_listed_in_linear_time_and_folded() -> None:
    """Chains of hundreds of instructions neither recurse nor show their members."""
    x = gn.input("x", shape=(2, 2))
    y = x
    for _ in range(500):
        y = gn.tanh(y @ y)
    scene = scene_of_program(gn.compile(x, y, native="never", skip="reroll"))
    assert len(scene.nodes) == 501
    assert not scene.groups
    assert len(listing_layout(scene).boxes) == 501


def test_a_program_without_instructions_can_be_drawn() -> None:
    x = gn.input("x", shape=(3,))
    assert picture_of(gn.compile(x, x, native="never")).svg


# -------------------------------------------------------------------------------- equal updates


def adam_step(*sizes: int) -> Program:
    layers = [gn.nn.Dense(a, b) for a, b in pairwise(sizes)]
    x = gn.input("x", (4, sizes[0]))
    loss = gn.mean(gn.nn.Sequential(*layers)(x) ** 2)
    updates = gn.optim.Adam(1e-3).minimize(loss, [w for each in layers for w in each.parameters()])
    return gn.compile(x, loss, updates)


def test_the_update_of_every_parameter_by_one_rule_is_drawn_once() -> None:
    program = adam_step(5, 4, 3)
    whole, scene = picture_of(program, depth="all").scene, picture_of(program).scene
    labels = [node.label for node in scene.nodes]
    same = [label for label in labels if label.endswith("← the same")]
    assert len(same) == 3
    slots = [label for label in labels if label.endswith("moment")]
    assert len(slots) == 2  # of the first parameter
    assert [node.badges[-1] for node in scene.nodes if "× 4 parameters" in node.badges] != []
    assert len(scene.nodes) < len(whole.nodes) - 30
    told = [node for node in scene.nodes if node.label.endswith("← the same")]
    assert all(node.detail.endswith("2 slots") and "sqrt" in node.tooltip for node in told)
    assert all(edge.source < edge.target for edge in scene.edges)
    assert scene.strip is not None
    assert whole.strip is not None
    assert max(v for v in scene.strip.values if v) == max(v for v in whole.strip.values if v)
    assert [block.low for block in scene.strip.blocks] == [b.low for b in whole.strip.blocks]
    assert all(block.first <= block.last < len(scene.nodes) for block in scene.strip.blocks)


def test_one_parameter_is_updated_in_full() -> None:
    x = gn.input("x", (4,))
    w = gn.parameter(np.ones(4, np.float32), name="w")
    loss = gn.sum((x * w) ** 2)
    program = gn.compile(x, loss, gn.optim.Adam(1e-3).minimize(loss, [w]))
    assert picture_of(program).scene == picture_of(program, depth="all").scene
