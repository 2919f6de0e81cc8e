"""Pictures of programs within a memory budget: which steps are kept, and which computed again."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.program import Program
from graphnn.viz import render
from graphnn.viz.picture import Picture
from graphnn.viz.scene import Scene
from graphnn.viz.segments import kept_by
from graphnn.viz.steps import scene_of_kept
from graphnn.viz.unrolled import unrolled

STEPS = 6
SEQUENCE = np.random.default_rng(0).normal(size=(STEPS, 4, 8)).astype("float32")


@cache
def within(share: float, net: Callable[..., Any] = gn.nn.SimpleRNN, **options: Any) -> Program:
    """The gradient of a net with a loss of every step, in a share of the memory it would take."""
    gn.seed(0)
    x = gn.input("x", shape=(STEPS, 4, 8))
    model = net(8, 8, return_sequences=True, **options)
    loss = gn.mean(model(x) ** 2)
    results = [loss, *gn.grad(loss, model.parameters())]
    whole = gn.compile(x, results, backend="reference")
    budget = int(share * whole.arena_nbytes)
    return gn.compile(x, results, memory_budget=budget, backend="reference")


PROGRAMS = {
    "simple": lambda: within(0.8),
    "reversed": lambda: within(0.8, reverse=True),
    "LSTM": lambda: within(0.6, gn.nn.LSTM),
}


@pytest.mark.parametrize("make", PROGRAMS.values(), ids=PROGRAMS)
def test_segments_written_out_have_the_same_values(make: Any) -> None:
    program = make()
    kept = kept_by(program)
    written = unrolled(kept.graph, in_segments=True).graph
    (x,) = written.inputs
    found = gn.evaluate(written.outputs, {x: SEQUENCE}, backend="reference", optimize="O0")
    for one, other in zip(found, program(SEQUENCE), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert {node.step for node in scene_of_kept(program, "all").nodes} == {None, *range(STEPS)}


def recomputed(scene: Scene) -> set[int | None]:
    return {node.step for node in scene.nodes if node.is_recomputed}


def kept(scene: Scene) -> set[int | None]:
    """The steps whose values are read when others are computed again."""
    return {
        scene.nodes[edge.source].step
        for edge in scene.edges
        if scene.nodes[edge.target].is_recomputed and edge.kind == "saved"
    }


def test_what_is_computed_again_is_marked_and_reads_what_was_kept() -> None:
    program = within(0.8)
    scene = scene_of_kept(program, "all")
    again = recomputed(scene)
    assert again == set(range(len(again)))  # all but those of the last segment
    assert 0 < len(again) < STEPS
    borders = kept(scene)
    assert borders
    assert borders < again
    for edge in scene.edges:  # within a segment the carry goes from one dashed box to the next
        source, target = scene.nodes[edge.source], scene.nodes[edge.target]
        if target.is_recomputed and edge.kind == "recurrent":
            assert source.is_recomputed
            assert source.step not in borders
    lanes = {(node.lane, node.is_recomputed) for node in scene.nodes if node.step is not None}
    assert lanes == {("", False), ("computed again", True)}


def test_derivatives_are_named_after_the_steps_of_their_own_segment() -> None:
    w = gn.parameter(np.eye(8), name="w", dtype="float32")
    x = gn.input("x", shape=(STEPS, 4, 8))

    def step(h: gn.Node, x: gn.Node) -> tuple[gn.Node, gn.Node]:
        h = gn.tanh(x + h @ w).named("h")
        return h, h

    _, states = gn.scan(step, gn.zeros((4, 8)), x)
    loss = gn.mean(states**2)
    program = gn.compile(x, [loss, gn.grad(loss, w)], memory_budget="2000 B", backend="reference")
    scene = scene_of_kept(program, "all")
    assert recomputed(scene) == set(range(4))
    named = {node.label: node.step for node in scene.nodes if node.label.startswith("∂h")}
    assert named == {f"∂h[{number}]": number for number in range(STEPS)}


def test_what_a_loss_reads_is_of_the_way_there() -> None:
    """Also the squares that derivatives need, and that a segment computes for both."""
    scene = scene_of_kept(within(0.8), "all")
    results = [index for index, node in enumerate(scene.nodes) if node.is_output]
    (loss,) = (each for each in results if scene.nodes[each].role == "forward")
    needed = {loss}
    for edge in sorted(scene.edges, key=lambda edge: -edge.target):
        if edge.target in needed:
            needed.add(edge.source)
            assert edge.kind not in ("gradient", "bptt")
    assert {scene.nodes[each].role for each in needed} == {"forward"}
    assert {scene.nodes[each].step for each in needed} == {None, *range(STEPS)}
    assert not scene.nodes[loss].is_recomputed


def test_zeros_are_not_kept_and_derivatives_begin_with_their_own() -> None:
    for scene in (scene_of_kept(within(0.6, gn.nn.LSTM), "all"), scene_of_kept(within(9.0), "all")):
        zeros = {index for index, node in enumerate(scene.nodes) if node.label == "zeros"}
        assert len(zeros) >= 2
        for edge in scene.edges:
            if edge.source in zeros:
                source, target = scene.nodes[edge.source], scene.nodes[edge.target]
                assert edge.kind != "saved"
                assert source.step == target.step


def test_programs_are_drawn_in_steps_if_asked() -> None:
    program = within(0.8)
    picture = render(program, steps=1)
    assert isinstance(picture, Picture)
    assert picture.scene.steps == (0, 1, STEPS - 1)
    assert any(node.is_recomputed and node.kind == "elision" for node in picture.scene.nodes)
    assert "computed once more" in picture.svg
    without = render(program.graph, steps="all")
    assert isinstance(without, Picture)
    assert recomputed(without.scene) == set()


def test_steps_of_a_loop_in_python_are_marked_too() -> None:
    w = gn.parameter(np.eye(64), name="w", dtype="float32")
    xs = [gn.input(f"x[{t}]", shape=(64, 64)) for t in range(5)]
    h = gn.zeros((64, 64))
    for t, x in enumerate(xs):
        with gn.time_step(t):
            h = gn.tanh(x + h @ w).named(f"h[{t + 1}]")
    loss = gn.mean(h**2)
    program = gn.compile(xs, [loss, gn.grad(loss, w)], memory_budget="120 KiB", backend="reference")
    again = recomputed(scene_of_kept(program, "all"))
    assert again
    assert again < set(range(5))
