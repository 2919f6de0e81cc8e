"""The history of passes: stages, what changed between them, and why."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from training_steps import lstm_step

import graphnn as gn
from graphnn.compiler.driver import Driver
from graphnn.compiler.memory_size import size_text
from graphnn.compiler.pipeline import LEVELS
from graphnn.compiler.program import Program
from graphnn.compiler.unit import Unit
from graphnn.core.errors import RenderError
from graphnn.viz.alike_changes import changes_of
from graphnn.viz.body_frames import scene_with_bodies
from graphnn.viz.common_layout import common_layouts
from graphnn.viz.excerpt import excerpts
from graphnn.viz.history import History, Stage
from graphnn.viz.matching import matched
from graphnn.viz.picture import Picture
from graphnn.viz.route import grid_layout
from graphnn.viz.scene import Scene


def lstm() -> Program:
    return lstm_step(20, 16, 12, 32)


@pytest.fixture(scope="module")
def step() -> Program:
    return lstm()


@pytest.fixture(scope="module")
def past(step: Program) -> History:
    return gn.viz.history(step)


def stage_of(past: History, name: str) -> tuple[Stage, Stage]:
    """The stage before a pass, and after it."""
    number = [stage.name for stage in past].index(name)
    return past[number - 1], past[number]


def words(stage: Stage, numbers) -> list[str]:
    return [stage.scene.nodes[number].label for number in numbers]


def test_stages_tell_of_the_one_before(past: History) -> None:
    assert past[0].name == "graph"
    for before, after in pairwise(past):
        count = len(after.scene.nodes)
        assert len(after.same) == len(after.changes) == count
        kept = [each for each in after.same if each is not None]
        assert len(set(kept)) == len(kept)
        assert sorted([*kept, *after.removed]) == list(range(len(before.scene.nodes)))
        assert before.leaves == after.removed
        for was, change in zip(after.same, after.changes, strict=True):
            assert (was is None) == (change in ("added", "merged"))
        for number, was in enumerate(after.same):
            if was is not None:
                ops = [s.scene.nodes[n].subject.node.op.name
                       for s, n in ((before, was), (after, number))]  # fmt: skip
                assert ops[0] == ops[1]
    assert past[-1].leaves == ()


def test_what_stays_reads_the_same_unless_a_pass_rewired_it(past: History) -> None:
    """Trimming a result off a scan makes a new body; only what was cut off is a change."""
    before, after = stage_of(past, "trim_scans")
    assert words(before, after.removed) == ["matmul_nt"]
    assert not any(after.changes)
    now = {was: number for number, was in enumerate(after.same)}
    gone = set(after.removed)
    stay = {(e.source, e.target) for e in before.scene.edges} - {
        (s, t) for s, t in ((e.source, e.target) for e in before.scene.edges) if {s, t} & gone
    }
    assert {(now[s], now[t]) for s, t in stay} == {(e.source, e.target) for e in after.scene.edges}


def test_merged_products(past: History) -> None:
    before, after = stage_of(past, "merge_products")
    merged = [number for number, change in enumerate(after.changes) if change == "merged"]
    assert words(after, merged) == ["matmul_tn"]
    assert words(before, after.removed) == ["matmul_tn", "matmul_tn"]
    node = after.scene.nodes[merged[0]]
    assert "merged" in node.badges
    assert "become one product" in node.tooltip
    assert any("become one product" in note for note in after.notes)


def test_hoisted_products_and_why_others_stay(past: History) -> None:
    _, after = stage_of(past, "hoist")
    hoisted = [node for node in after.scene.nodes if "hoisted" in node.badges]
    assert [node.label for node in hoisted] == ["matmul", "dot_general"]
    assert all(node.group is None for node in hoisted)
    assert "it reads no carry" in hoisted[0].tooltip
    assert "its sum alone is asked for" in hoisted[1].tooltip
    assert hoisted[1].badges == ("merged", "hoisted")  # the product that was merged before
    staying = [node for node in after.scene.nodes if "stays in the loop" in node.tooltip]
    assert [after.scene.groups[node.group].kind for node in staying] == ["loop", "loop"]


def test_decisions_stay_with_their_boxes_to_the_end(step: Program, past: History) -> None:
    def told(nodes) -> list[tuple[str, tuple[str, ...]]]:
        return [(n.label, n.badges[:2]) for n in nodes if {"hoisted", "merged"} & set(n.badges)]

    last = told(past[-1].scene.nodes)
    assert [label for label, _ in last] == ["matmul", "dot_general"]
    picture = gn.render(step)
    assert isinstance(picture, Picture)
    assert told(picture.scene.nodes) == last
    assert "hoist: " in next(n.tooltip for n in picture.scene.nodes if "hoisted" in n.badges)


def test_why_not_fused_is_told_in_notes_and_at_the_boxes(past: History) -> None:
    _, fused = stage_of(past, "fuse")
    assert any(note.startswith("not fused: ") for note in fused.notes)
    assert any("not fused with" in node.tooltip for node in past[-1].scene.nodes)
    assert {"fusion", "loop"} == {group.kind for group in fused.scene.groups}


def test_the_last_stage_is_the_program(step: Program, past: History) -> None:
    scene = gn.render(step, depth="all").scene
    assert [n.label for n in past[-1].scene.nodes] == [n.label for n in scene.nodes]
    assert past[-1].scene.strip == scene.strip
    assert f"arena {size_text(step.memory.arena_nbytes)} for" in past[-1].notes[0]


def test_a_fused_graph_has_the_frames_of_its_groups() -> None:
    x = gn.input("x", shape=(4, 4))
    past = gn.viz.history(gn.Graph((x,), (gn.tanh(x @ x) * 2.0,)))
    _, fused = stage_of(past, "fuse")
    (group,) = fused.scene.groups
    assert group.kind == "fusion"
    assert "2 values stay in registers: 128 B" in group.reason
    inside = {node.label for node in fused.scene.nodes if node.group is not None}
    assert inside == {"matmul", "tanh", "• × 2"}


def test_rewrites_are_told_with_lines() -> None:
    x, w = gn.input("x", shape=(3,)), gn.input("w", shape=(3,))
    past = gn.viz.history(gn.compile([x, w], x * 1.0 + -w, native="never"))
    before, after = stage_of(past, "simplify")
    assert sorted(words(before, after.removed)) == ["add", "negative", "• × 1"]
    assert [c for c in after.changes if c] == ["added"]
    assert any(note.startswith("plus_negative × 1 (test_history.py:") for note in after.notes)


def test_nothing_is_kept_unless_asked_for(step: Program) -> None:
    driver = Driver()
    unit = Unit(step.graph, tuple(step.updates), step.options)
    driver.run(unit, LEVELS["O2"])
    assert driver.snapshots is None
    assert not driver._decided
    watched = Driver(snapshots=[])
    made, report = watched.run(unit, LEVELS["O2"])
    assert watched.snapshots is not None
    assert [each.record.name for each in watched.snapshots] == [r.name for r in report.passes]
    assert watched.snapshots[-1].unit is made


def test_a_history_is_the_same_every_time(past: History) -> None:
    again = gn.viz.history(lstm())
    first, second = gn.render(past), gn.render(again)
    assert first.svg == second.svg
    assert "training_steps.py" in first.svg


def test_excerpts_show_changes_with_their_surroundings(past: History) -> None:
    before, after = stage_of(past, "merge_products")
    left, right = excerpts(before, after, changes_of(before, after))
    assert sorted(left.tones.values()) == ["leaves", "leaves"]
    assert sorted(right.tones.values()) == ["added", "added", "added", "merged"]
    assert len(left.scene.nodes) < len(before.scene.nodes) / 4
    assert {node.label for node in left.scene.nodes} >= {"x", "matmul_tn", "add"}
    for part in (left.scene, right.scene):
        assert all(0 <= edge.source < len(part.nodes) for edge in part.edges)
        assert all(n.group is None or n.group < len(part.groups) for n in part.nodes)


def test_changes_that_are_alike_are_shown_once(past: History) -> None:
    before, after = stage_of(past, "expand")  # the gates of two cells
    changes = changes_of(before, after)
    assert sum(each.times * len(each.removed) for each in changes) == len(after.removed)
    assert sum(each.times * len(each.added) for each in changes) == sum(map(bool, after.changes))
    assert max(each.times for each in changes) >= 3  # sigmoids
    left, right = excerpts(before, after, changes)
    assert len(left.tones) == sum(len(each.removed) for each in changes) < len(after.removed)
    assert len(right.tones) == sum(len(each.added) for each in changes) <= 24  # of 35
    title = f"before, and the same in {sum(each.times - 1 for each in changes)} other places"
    assert title in gn.render(past).svg


def test_changes_of_the_same_operations_are_alike_if_they_hang_together_alike() -> None:
    x, others = gn.input("x", shape=(3,)), [gn.input(f"x{i}", shape=(3,)) for i in range(3)]
    one, same = (gn.tanh(gn.exp(gn.exp(each))) for each in (x, others[0]))
    order = gn.exp(gn.tanh(gn.exp(others[1])))
    twice = [gn.cumsum(gn.input("m", shape=(3, 3)), axis) for axis in (0, 1)]

    def added(*outputs: gn.Node) -> list[int]:
        """How often each change is made by a pass that makes nothing but all of these."""
        scene = gn.render(gn.Graph((), outputs)).scene
        changes = tuple("added" if n.kind == "operation" else "" for n in scene.nodes)
        nothing = Stage("before", (), Scene("", (), ()), (), (), ())
        made = Stage("after", (), scene, (None,) * len(scene.nodes), changes, ())
        return [each.times for each in changes_of(nothing, made)]

    assert added(one, same) == [2]
    assert added(one, order) == [1, 1]
    assert added(*twice) == [1, 1]


def test_factors_that_change_sides_are_no_change() -> None:
    x = gn.input("x", shape=(3,))
    past = gn.viz.history(gn.Graph((x,), (gn.tanh(2.0 * x),)))
    assert [stage.name for stage in past][:2] == ["graph", "fuse"]
    assert past[0].summary == "graph: as it was given"


def test_a_box_keeps_its_place_until_there_are_kernels() -> None:
    x = gn.input("x", (5, 4))
    net = gn.nn.Sequential(gn.nn.Dense(4, 8), gn.nn.LayerNorm(8), gn.nn.ReLU(), gn.nn.Dense(8, 2))
    loss = gn.mean(net(x) ** 2)
    step = gn.compile(x, loss, gn.optim.SGD(0.1).minimize(loss, net.parameters()), native="never")
    stages = gn.viz.history(step).stages
    layouts = common_layouts(stages, grid_layout)
    names = [stage.name for stage in stages[: len(layouts)]]
    assert names == ["graph", "fold_constants", "simplify", "expand"]
    kept = moved = 0
    for number, (stage, layout) in enumerate(zip(stages[1:], layouts[1:], strict=False), start=1):
        assert len(layout.boxes) == len(stage.scene.nodes)
        assert len(layout.routes) == len(stage.scene.edges)
        alone = grid_layout(stage.scene)
        for now, was in enumerate(stage.same):
            if was is not None:
                assert layout.boxes[now] == layouts[number - 1].boxes[was]
                kept += 1
                moved += alone.boxes[now].center != layout.boxes[now].center
        for one, other in combinations(layout.boxes, 2):
            apart = abs(one.center[0] - other.center[0]), abs(one.center[1] - other.center[1])
            assert (
                apart[0] >= (one.width + other.width) / 2
                or apart[1] >= (one.height + other.height) / 2
            )
    assert kept > 100 < moved
    assert common_layouts(stages[len(layouts) :], grid_layout) == []


def test_pictures_of_histories_and_stages(past: History, tmp_path) -> None:
    target = gn.render(past, tmp_path / "past.svg")
    text = target.read_text()
    for number, stage in enumerate(past):
        assert f"{number}  {stage.summary}" in text
    listing = gn.render(past, tmp_path / "past.txt").read_text()
    assert all(note in listing for stage in past for note in stage.notes)
    picture = gn.render(stage_of(past, "hoist")[1])
    tones = [band.tone for band in picture.layout.bands]
    assert tones.count("added") == 7
    assert tones.count("leaves") == len(stage_of(past, "join_pads")[1].removed)
    with pytest.raises(RenderError, match=r"a history is written as \.svg, \.html or \.txt"):
        gn.render(past, tmp_path / "past.png")


def test_what_has_no_history() -> None:
    with pytest.raises(RenderError, match="a Node has no history"):
        gn.viz.history(gn.input("x", shape=(3,)))
    x = gn.input("x", shape=("n",))
    with pytest.raises(RenderError, match="named dimensions"):
        gn.viz.history(gn.Graph((x,), (gn.tanh(x),)))


def test_bodies_are_laid_open() -> None:
    x = gn.input("x", shape=(3,))
    y = gn.while_loop(lambda v: gn.sum(v) < 100.0, lambda v: gn.tanh(v) * 3.0, x)
    flag = gn.sum(x) > 0.0
    z = gn.cond(flag, lambda v: gn.sin(v), lambda v: v, y)
    scene = scene_with_bodies(Unit(gn.Graph((x,), (z,))), "")
    assert [group.label for group in scene.groups][:1] == ["while"]
    assert [(g.label.split(" ")[0], g.kind) for g in scene.groups if g.kind == "branch"] == [
        ("as", "branch"),
        ("if", "branch"),
        ("unless", "branch"),
    ]
    lags = [(scene.nodes[e.source].label, scene.nodes[e.target].label)
            for e in scene.edges if e.lag]  # fmt: skip
    assert sorted(lags) == [("• × 3", "sum"), ("• × 3", "tanh")]
    sine = next(n for n, node in enumerate(scene.nodes) if node.label == "sin")
    assert [scene.nodes[e.source].label for e in scene.edges if e.target == sine] == ["• × 3"]


def test_matching_follows_what_is_rebuilt() -> None:
    """A new leaf far below makes new nodes of all that read it; they are still the same boxes."""
    x, w = gn.input("x", shape=(3,)), gn.input("w", shape=(3,))

    def scene_of(first):
        y = gn.tanh(first) * w
        return scene_with_bodies(Unit(gn.Graph((x, w), (gn.sin(y) + gn.cos(y),))), "")

    before, after = scene_of(gn.exp(x)), scene_of(gn.abs(gn.exp(x)))
    same = matched(before, after)
    added = [after.nodes[n].label for n, was in enumerate(same) if was is None]
    assert added == ["abs"]
    for number, was in enumerate(same):
        if was is not None:
            assert before.nodes[was].label == after.nodes[number].label
    assert matched(after, after) == tuple(range(len(after.nodes)))
