"""Pictures of many time steps: work that grows with them and no faster."""

import gc
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.garbage import without_collections
from graphnn.viz.picture import Picture
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
