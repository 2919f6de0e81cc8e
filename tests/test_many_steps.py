"""Pictures of many time steps: work that grows with them and no faster, and one cell for all."""

import gc
import sys
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphnn as gn
from graphnn.compiler.garbage import without_collections
from graphnn.viz.picture import Picture
from graphnn.viz.place import place
from graphnn.viz.scene import Scene
from graphnn.viz.steps import scene_in_steps


@cache
def net(cell: str, layers: int, steps: int) -> gn.Graph:
    """A recurrent net, its loss and its gradients."""
    x = gn.input("x", shape=(steps, 2, 3))
    model = getattr(gn.nn, cell)(3, 4, num_layers=layers, rng=np.random.default_rng(0))
    loss = gn.mean(model(x) ** 2)
    return gn.Graph((x,), (loss, *gn.grad(loss, model.parameters())))


def calls_for(steps: int) -> int:
    """How many functions are called to draw all steps: the same number every time."""
    graph = net("LSTM", 1, steps)
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        picture = gn.render(graph, steps="all")
        assert isinstance(picture, Picture)
        text = picture.svg
    finally:
        sys.setprofile(None)
    assert text.count("<g id=") > 45 * steps
    return count


def test_work_grows_like_the_number_of_steps() -> None:
    calls_for(8)  # fills what is remembered
    few, more, most = (calls_for(steps) for steps in (12, 24, 36))
    assert most - more == pytest.approx(more - few, rel=0.05)


def test_the_collector_rests_while_a_scene_is_made() -> None:
    collections: list[str] = []

    def note(phase: str, about: dict[str, int]) -> None:
        collections.append(phase)

    graph = net("LSTM", 1, 60)
    gc.callbacks.append(note)
    try:
        scene_in_steps(graph, "all")
        assert collections  # there is something to be spared
        with without_collections():
            collections.clear()
            scene_in_steps(graph, "all")
            meanwhile = list(collections)
        assert not meanwhile
    finally:
        gc.callbacks.remove(note)
    with pytest.raises(KeyError), without_collections():
        raise KeyError
    assert gc.isenabled()


def columns(scene: Scene) -> dict[int, Counter[Any]]:
    """By step, and by what is computed: in which column of their cell boxes stand."""
    found: dict[int, Counter[Any]] = {}
    for node, slot in zip(scene.nodes, place(scene).slots, strict=True):
        if node.step is not None and node.subject is not None and node.kind != "elision":
            key = (node.subject.node, node.role, node.lane, node.kind, slot.place)
            found.setdefault(node.step, Counter())[key] += 1
    return found


def test_boxes_keep_their_columns_when_steps_are_left_out() -> None:
    """Whatever the net is: of every step that is drawn, and that has neighbours, as in all."""
    seen = set()

    @settings(derandomize=True, deadline=None, database=None, max_examples=12)
    @given(st.sampled_from(["SimpleRNN", "LSTM", "GRU"]), st.integers(1, 2), st.integers(6, 9))
    def check(cell: str, layers: int, steps: int) -> None:
        graph = net(cell, layers, steps)
        whole, ends = (columns(scene_in_steps(graph, how)) for how in ("all", 2))
        assert set(ends) < set(whole)
        for step, boxes in ends.items():
            if step in (1, steps - 2):
                assert boxes == whole[step]
                seen.add((cell, layers))

    check()
    assert len(seen) > 4
