"""The grid of time and operations: what holds for every scene, and pictures as they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import labels_are_apart, nothing_overlaps, overlap

from graphnn.viz.dot import pinned_dot
from graphnn.viz.drawing import drawing_of
from graphnn.viz.layout import Box
from graphnn.viz.route import grid_layout
from graphnn.viz.scene import Scene, SceneEdge, SceneGroup, SceneNode
from graphnn.viz.steps import Steps, in_zooms
from graphnn.viz.svg import svg_text


class Cells:
    """A scene of recurrent cells, one random cell stamped for every step, with its backward pass.

    Parameters
    ----------
    reads : list of tuple of int
        By operation of the cell: which operations before it in the cell it reads.
    carried : set of int
        The operations that the first one, or its copy in the next step, reads.
    skips : list of int
        The operations that the first one of the step after the next reads.
    is_reversed : bool
        Whether the second lane begins at the last step.
    """

    def __init__(
        self,
        reads: list[tuple[int, ...]],
        carried: list[int],
        steps: int,
        lanes: int,
        skips: Sequence[int] = (),
        is_reversed: bool = False,
    ) -> None:
        self.nodes: list[SceneNode] = []
        self.edges: list[SceneEdge] = []
        self.at: dict[tuple[str, int, int, int], int] = {}  # role, lane, step, operation
        weights = [self._add(f"W{lane}", "parameter", "forward") for lane in range(lanes)]
        start = self._add("h[0]", "input", "forward")
        last = len(reads) - 1
        self.way = [-1 if lane and is_reversed else 1 for lane in range(lanes)]
        jumps = [(number, 1) for number in carried] + [(number, 2) for number in skips]
        order = [(step, lane) for step in range(steps) for lane in range(lanes)]
        if is_reversed:
            order.sort(key=lambda each: (each[1], each[0] * self.way[each[1]]))
        for step, lane in order:
            x = self._add(f"x{lane}[{step}]", "input", "forward", step, lane, "x")
            for number, sources in enumerate(reads):
                node = self._operation("forward", lane, step, number)
                for each in sources:
                    self._edge(self.at["forward", lane, step, each], node, "data")
                if not sources:
                    self._edge(x, node, "data")
                    self._edge(weights[lane], node, "weight")
                if lane and number == 0:
                    self._edge(self.at["forward", lane - 1, step, last], node, "data")
            target = self.at["forward", lane, step, 0]
            for number, jump in jumps:
                earlier = ("forward", lane, step - jump * self.way[lane], number)
                if earlier in self.at:
                    self._edge(self.at[earlier], target, "recurrent")
                elif jump == 1:
                    self._edge(start, target, "data")
        loss = self._add("loss", "operation", "forward")
        for lane in range(lanes):
            end = steps - 1 if self.way[lane] > 0 else 0
            self._edge(self.at["forward", lane, end, last], loss, "data")
        seed = self._add("∂loss", "operation", "backward", origin=loss)
        for step, lane in reversed(order):
            for number in reversed(range(len(reads))):
                origin = self.at["forward", lane, step, number]
                node = self._operation("backward", lane, step, number, origin)
                self._edge(origin, node, "saved", "1.50 KiB")
                for later, sources in enumerate(reads):
                    if number in sources:
                        self._edge(self.at["backward", lane, step, later], node, "gradient")
                for each, jump in jumps:
                    following = ("backward", lane, step + jump * self.way[lane], 0)
                    if each == number and following in self.at:
                        self._edge(self.at[following], node, "bptt")
                if number == last and lane + 1 < lanes:
                    self._edge(self.at["backward", lane + 1, step, 0], node, "gradient")
                if number == last and (step, lane) == order[-1]:
                    self._edge(seed, node, "gradient")
        for lane in range(lanes):
            total = self._add(f"∂W{lane}", "sum", "backward", origin=weights[lane])
            for step in range(steps):
                self._edge(self.at["backward", lane, step, 0], total, "gradient")
        self.lanes = lanes

    def _add(
        self,
        label: str,
        kind: str,
        role: str,
        step: int | None = None,
        lane: int | None = None,
        signature: object = None,
        origin: int | None = None,
    ) -> int:
        self.nodes.append(
            SceneNode(
                label,
                "f32[32, 64]",
                kind,
                role,
                step=step,
                lane="" if lane is None else f"layer {lane}",
                signature=(signature, lane),
                origin=origin,
            )
        )
        return len(self.nodes) - 1

    def _operation(
        self, role: str, lane: int, step: int, number: int, origin: int | None = None
    ) -> int:
        label = ("add", "matmul", f"h{number}[{step}]", "1 − •")[number % 4]
        index = self._add(label, "operation", role, step, lane, number, origin)
        self.at[role, lane, step, number] = index
        return index

    def _edge(self, source: int, target: int, kind: str, label: str = "") -> None:
        self.edges.append(SceneEdge(source, target, kind, label))

    @property
    def scene(self) -> Scene:
        """Without its lanes where there is but one."""
        pairs = {(edge.source, edge.target): edge for edge in reversed(self.edges)}
        edges = sorted(pairs.values(), key=lambda edge: (edge.target, edge.source))
        scene = Scene("cells", tuple(self.nodes), tuple(edges))
        if self.lanes > 1:
            return scene
        return replace(scene, nodes=tuple(replace(node, lane="") for node in scene.nodes))


FEW_STEPS = st.integers(1, 4)


@st.composite
def cells(draw: st.DrawFn, steps: st.SearchStrategy[int] = FEW_STEPS) -> Cells:
    """Cells of up to nine operations in one or two layers, or in two directions."""
    size = draw(st.integers(1, 9))
    reads: list[tuple[int, ...]] = []
    for number in range(size):
        earlier = st.integers(0, number - 1) if number else st.nothing()
        reads.append(tuple(sorted(draw(st.sets(earlier, max_size=min(number, 2))))))
    carried = sorted(draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=2)))
    skips = sorted(draw(st.sets(st.integers(0, size - 1), max_size=2)))
    lanes = draw(st.integers(1, 2))
    return Cells(reads, carried, draw(steps), lanes, skips, draw(st.booleans()))


def lstm_cells(steps: int, lanes: int = 1) -> Cells:
    """Four gates: what is carried is the seventh operation and the last."""
    reads = [(), (), (), (), (0,), (1, 2), (4, 5), (6,), (3, 7)]
    return Cells(reads, [6, 8], steps, lanes)


@given(cells())
@settings(max_examples=250, deadline=None)
def test_nothing_overlaps(made: Cells) -> None:
    layout = grid_layout(made.scene)
    nothing_overlaps(made.scene, layout)
    labels_are_apart(made.scene, layout)
    for ghost in layout.ghosts:
        assert ghost.box.y + ghost.box.height < layout.boxes[ghost.reader].y


@given(cells(steps=st.integers(3, 7)))
@settings(max_examples=30, deadline=None)
def test_every_zoom_has_the_same_cell(made: Cells) -> None:
    """One cell, some steps at both ends or all: operations stand alike in frames as wide."""
    widths = set()
    first: dict[tuple[object, ...], tuple[float, float]] = {}
    zooms: list[Steps] = ["rolled", 1, 2, "all"]
    for scene in (in_zooms(made.scene, zoom) for zoom in zooms):
        layout = grid_layout(scene)
        nothing_overlaps(scene, layout)
        frames = [band.box for band in layout.bands if band.tone == "step"]
        widths.update(round(box.width, 6) for box in frames)
        for node, box in zip(scene.nodes, layout.boxes, strict=True):
            if node.step is not None and node.kind == "operation":
                start = max(frame.x for frame in frames if frame.x <= box.x)
                place = first.setdefault((node.role, node.signature), (box.x - start, box.y))
                assert place == pytest.approx((box.x - start, box.y), abs=1e-6)
    assert len(widths) == 1


@given(cells())
@settings(max_examples=40, deadline=None)
def test_time_runs_to_the_right(made: Cells) -> None:
    scene = made.scene
    layout = grid_layout(scene)
    ends = {step: [1e9, 0.0] for step in scene.steps}
    for node, box in zip(scene.nodes, layout.boxes, strict=True):
        if node.step is not None:
            span = ends[node.step]
            span[0], span[1] = min(span[0], box.x), max(span[1], box.x + box.width)
    for step in scene.steps[1:]:
        assert ends[step - 1][1] < ends[step][0]


@given(cells())
@settings(max_examples=40, deadline=None)
def test_the_backward_pass_is_mirrored(made: Cells) -> None:
    """Its lanes are below in reverse order, and values flow to the left in them."""
    scene = made.scene
    layout = grid_layout(scene)
    rows: dict[tuple[str, int], list[float]] = {}
    for (role, lane, _, _), index in made.at.items():
        rows.setdefault((role, lane), []).append(layout.boxes[index].center[1])
    order = [("forward", lane) for lane in range(made.lanes)]
    order += [("backward", lane) for lane in reversed(range(made.lanes))]
    for above, below in pairwise(order):
        assert max(rows[above]) < min(rows[below])
    lanes = [band for band in layout.bands if band.tone != "step"]

    def is_read_out(box: Box) -> bool:  # in a lane of its own, in lines
        return "output" in [lane.label for lane in lanes if lane.box.y < box.y][-1]

    for edge in scene.edges:
        source, target = scene.nodes[edge.source], scene.nodes[edge.target]
        if edge.kind in ("data", "gradient") and source.step == target.step is not None:
            ends = layout.boxes[edge.source], layout.boxes[edge.target]
            way = layout.boxes[edge.target].center[0] - layout.boxes[edge.source].center[0]
            if source.lane == target.lane and not any(map(is_read_out, ends)):
                flow = made.way[int(source.lane[-1]) if source.lane else 0]
                flow = flow if len(scene.steps) > 1 else 1
                assert (way * flow > 0) == (edge.kind == "data")


@given(cells())
@settings(max_examples=40, deadline=None)
def test_every_step_is_the_same_cell(made: Cells) -> None:
    layout = grid_layout(made.scene)
    first: dict[tuple[str, int, int], tuple[float, float]] = {}
    start: dict[int, float] = {}
    for (role, lane, step, number), index in made.at.items():
        box = layout.boxes[index]
        corner = start.setdefault(step, box.x)
        place = first.setdefault((role, lane, number), (box.x - corner, box.y))
        assert place == pytest.approx((box.x - corner, box.y), abs=1e-6)


def test_what_is_carried_runs_straight() -> None:
    made = lstm_cells(4)
    layout = grid_layout(made.scene)
    straight = [
        route.points
        for edge, route in zip(made.scene.edges, layout.routes, strict=True)
        if edge.kind in ("recurrent", "bptt") and len(route.points) == 2
    ]
    assert len(straight) >= 6
    assert all(start[1] == end[1] for start, end in straight)


def test_weights_stand_once_with_a_badge_at_each_step() -> None:
    made = lstm_cells(3)
    layout = grid_layout(made.scene)
    read = [ghost.reader for ghost in layout.ghosts if made.nodes[ghost.node].label == "W0"]
    assert read == [made.at["forward", 0, step, gate] for step in range(3) for gate in range(4)]
    parts = [ghost.reader for ghost in layout.ghosts if made.nodes[ghost.node].label == "∂W0"]
    assert sorted(parts) == sorted(made.at["backward", 0, step, 0] for step in range(3))
    weight, total = (
        next(i for i, node in enumerate(made.nodes) if node.label == label)
        for label in ("W0", "∂W0")
    )
    first = min(layout.boxes[index].x for index in made.at.values())
    assert layout.boxes[weight].x + layout.boxes[weight].width < first
    assert layout.boxes[total].x + layout.boxes[total].width < first
    assert layout.boxes[total].y > layout.boxes[weight].y


Piece = tuple[tuple[float, float], tuple[float, float]]


def runs_along(one: Piece, other: Piece) -> bool:
    """Whether two straight pieces have more than a point in common."""
    for across, along in ((0, 1), (1, 0)):
        if one[0][across] == one[1][across] == other[0][across] == other[1][across]:
            low = max(min(end[along] for end in piece) for piece in (one, other))
            high = min(max(end[along] for end in piece) for piece in (one, other))
            return low < high
    return False


@given(cells())
@settings(max_examples=40, deadline=None)
def test_dashes_of_one_value_are_drawn_once(made: Cells) -> None:
    """Dashes over dashes would look like a full line; all lines still end at their targets."""
    layout = grid_layout(made.scene)
    drawn: dict[int, list[Piece]] = {}
    strokes = drawing_of(made.scene, layout).strokes
    for edge, stroke, whole in zip(made.scene.edges, strokes, layout.routes, strict=False):
        assert stroke.route.points[-1] == whole.points[-1]
        if edge.kind == "saved":
            pieces = list(pairwise(stroke.route.points))
            others = drawn.setdefault(edge.source, [])
            assert not any(runs_along(piece, other) for piece in pieces for other in others)
            others += pieces


def test_what_starts_a_gradient_stands_beside_the_loss() -> None:
    """It would take room in every step, though it is needed once."""
    made = lstm_cells(3)
    seeds = [
        SceneNode(label, "f32[]", "operation", "backward", step=2, signature=label)
        for label in ("reciprocal", "broadcast")
    ]
    last = made.at["backward", 0, 2, 8]
    nodes = list(made.scene.nodes)
    nodes[last:last] = seeds
    edges = [
        replace(
            edge,
            source=edge.source + 2 * (edge.source >= last),
            target=edge.target + 2 * (edge.target >= last),
        )
        for edge in made.scene.edges
    ]
    edges += [SceneEdge(last, last + 1, "gradient"), SceneEdge(last + 1, last + 2, "gradient")]
    scene = Scene("seeds", tuple(nodes), tuple(sorted(edges, key=lambda edge: edge.target)))
    layout = grid_layout(scene)
    end = max(
        box.x + box.width
        for node, box in zip(nodes, layout.boxes, strict=True)
        if node.step == 2 and node not in seeds
    )
    assert all(layout.boxes[index].x > end for index in (last, last + 1))
    without = grid_layout(made.scene)
    second = made.at["forward", 0, 1, 0]
    assert layout.boxes[second].x == without.boxes[second].x
    nothing_overlaps(scene, layout)


# -------------------------------------------------------------------------------------- frames


@given(cells(), st.data())
@settings(max_examples=50, deadline=None)
def test_frames_hold_their_members_and_nothing_else(made: Cells, data: st.DataObject) -> None:
    scene = made.scene
    groups = (SceneGroup("outer", "loop"), SceneGroup("inner", "fusion", parent=0))
    groups = (*groups, SceneGroup("other", "branch"))
    chosen = data.draw(
        st.lists(
            st.sampled_from([None, 0, 1, 2]),
            min_size=len(scene.nodes),
            max_size=len(scene.nodes),
        )
    )
    nodes = tuple(
        replace(node, group=group) for node, group in zip(scene.nodes, chosen, strict=True)
    )
    scene = replace(scene, nodes=nodes, groups=groups)
    layout = grid_layout(scene)
    nothing_overlaps(scene, layout)
    for kind, members in (("loop", {0, 1}), ("fusion", {1}), ("branch", {2})):
        bands = [band for band in layout.bands if band.tone == kind]
        assert any(band.label for band in bands) == any(group in members for group in chosen)
        for group, box in zip(chosen, layout.boxes, strict=True):
            assert sum(overlap(band.box, box) for band in bands) == (group in members)


# ------------------------------------------------------------------------- pictures as they were

GOLDEN = Path(__file__).parent / "golden"


def windowed() -> Scene:
    """One of everything: steps left out, a cut, a value computed once more, a badge."""
    made = lstm_cells(3)
    scene = made.scene
    left_out = {made.at[role, 0, 1, number] for role, _, step, number in made.at if step == 1}
    changed = []
    for index, node in enumerate(scene.nodes):
        if index == made.at["forward", 0, 1, 6]:
            node = replace(node, label="… × 98 …", detail="", kind="elision", signature="…")
            left_out.discard(index)
        if index == made.at["forward", 0, 0, 5]:
            node = replace(node, is_recomputed=True, badges=("× 2",))
        changed.append(node)
    kept = [index for index in range(len(changed)) if index not in left_out]
    number = {index: place for place, index in enumerate(kept)}
    edges = [
        replace(
            edge,
            source=number[edge.source],
            target=number[edge.target],
            is_cut=edge.kind == "recurrent" and scene.nodes[edge.source].step == 1,
        )
        for edge in scene.edges
        if edge.source in number and edge.target in number
    ]
    nodes = [
        replace(changed[index], origin=number.get(changed[index].origin or -1)) for index in kept
    ]
    return Scene("windowed", tuple(nodes), tuple(edges))


def rolled() -> Scene:
    """One cell whose values come back a step later."""
    labels = [("x", "input"), ("matmul", "operation"), ("add", "operation"), ("h", "operation")]
    nodes = tuple(SceneNode(label, "f32[8]", kind, "forward", step=0) for label, kind in labels)
    ways = [(0, 1, "data", 0), (1, 2, "data", 0), (2, 3, "data", 0), (3, 2, "recurrent", 1)]
    return Scene("rolled", nodes, tuple(SceneEdge(a, b, kind, lag=lag) for a, b, kind, lag in ways))


@pytest.mark.parametrize("ending", ["svg", "dot"])
@pytest.mark.parametrize("make", [windowed, rolled, lambda: lstm_cells(2, 2).scene])
def test_pictures_are_as_they_were(
    make: Callable[[], Scene], ending: str, request: pytest.FixtureRequest
) -> None:
    """After a change that is meant: ``pytest tests/test_grid_layout.py --update-golden``."""
    scene = make()
    drawing = drawing_of(scene, grid_layout(scene))
    text = svg_text(drawing) if ending == "svg" else pinned_dot(drawing)
    path = GOLDEN / f"{scene.title}.{ending}"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_cuts_loops_and_recomputation_are_drawn() -> None:
    scene = windowed()
    drawing = drawing_of(scene, grid_layout(scene))
    assert sum(stroke.cut_at is not None for stroke in drawing.strokes) == 2  # and in the legend
    assert [mark.label for mark in drawing.marks if mark.is_dashed] == ["matmul", ""]
    assert [pill.text for pill in drawing.pills].count("× 2") == 1
    (loop,) = (s for s in drawing_of(rolled(), grid_layout(rolled())).strokes if s.label)
    assert loop.label == "t−1"
    nothing_overlaps(scene, grid_layout(scene))
    nothing_overlaps(rolled(), grid_layout(rolled()))
