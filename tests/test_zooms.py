"""Rolled, some steps, all steps: an operation of a net stands at the same place in its step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

import graphnn as gn
from graphnn.viz.picture import Picture
from graphnn.viz.steps import Steps

MIDDLE = 4
"""A step that is neither the first nor the last of nine."""
Place = tuple[float, float]
Operation = tuple[str, str, str]


def net(kind: str, layers: int, *, has_gradient: bool) -> list[gn.Node]:
    """A net over nine steps; with a loss of every step, and its gradient."""
    gn.seed(0)
    x = gn.input("x", shape=(9, 2, 3))
    model = getattr(gn.nn, kind)(3, 4, num_layers=layers, return_sequences=True)
    y = model(x)
    if not has_gradient:
        return [y]
    loss = gn.mean(y**2)
    return [loss, *gn.grad(loss, model.parameters())]


def written_loop(steps: int = 9) -> list[gn.Node]:
    """A loop in Python with a loss after the last step, and its gradient."""
    w = gn.parameter([[0.5, 0.1], [0.2, 0.3]], name="w")
    h = gn.input("h", shape=(2, 2))
    for t in range(steps):
        with gn.time_step(t):
            h = gn.tanh(h @ w + gn.input(f"x[{t}]", shape=(2, 2))).named(f"h[{t}]")
    loss = gn.sum(h**2)
    return [loss, gn.grad(loss, w)]


def drawn(thing: Sequence[gn.Node], steps: Steps) -> Picture:
    picture = gn.render(thing, steps=steps)
    assert isinstance(picture, Picture)
    return picture


def places(picture: Picture) -> dict[int, dict[Operation, list[Place]]]:
    """By step and operation, the places in the step's frame."""
    frames = sorted(band.box.x for band in picture.layout.bands if band.tone == "step")
    found: dict[int, dict[Operation, list[Place]]] = {}
    for node, box in zip(picture.scene.nodes, picture.layout.boxes, strict=True):
        if node.step is None or node.subject is None or not frames[0] <= box.x:
            continue
        x, y = box.center
        start = max(frame for frame in frames if frame <= x)
        what = (node.role, node.lane, node.subject.node.op.name)
        found.setdefault(node.step, {}).setdefault(what, []).append((x - start, y))
    return found


def assert_alike(
    one: dict[Operation, list[Place]], other: dict[Operation, list[Place]]
) -> Counter[str]:
    """What both have stands alike; returns what one of them has and the other has not."""
    apart: Counter[str] = Counter()
    for what in {**one, **other}:
        first, second = sorted(one.get(what, [])), sorted(other.get(what, []))
        if len(first) == len(second):
            assert [x for place in first for x in place] == pytest.approx(
                [x for place in second for x in place], abs=0.01
            ), what
        else:
            apart[what[2]] += abs(len(first) - len(second))
    return apart


NETS: dict[str, Callable[[], list[gn.Node]]] = {
    "SimpleRNN": lambda: net("SimpleRNN", 1, has_gradient=True),
    "LSTM": lambda: net("LSTM", 1, has_gradient=True),
    "GRU": lambda: net("GRU", 1, has_gradient=True),
    "SimpleRNN forward": lambda: net("SimpleRNN", 1, has_gradient=False),
    "LSTM forward": lambda: net("LSTM", 1, has_gradient=False),
    "GRU forward": lambda: net("GRU", 1, has_gradient=False),
    "two layers of LSTM": lambda: net("LSTM", 2, has_gradient=True),
    "two layers of GRU": lambda: net("GRU", 2, has_gradient=True),
    "written loop": written_loop,
}


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_an_operation_stands_alike_in_all_zooms(make: Callable[[], list[gn.Node]]) -> None:
    thing = make()
    whole = drawn(thing, "all")
    of_whole = places(whole)
    widths = {round(band.box.width, 3) for band in whole.layout.bands if band.tone == "step"}
    for steps in (1, 2):
        picture = drawn(thing, steps)
        of_picture = places(picture)
        last = 9 - steps
        for step in (*range(steps), *range(last, 9)):
            apart = assert_alike(of_picture[step], of_whole[step])
            # Beside what is not drawn, what steps hand on is added up one by one.
            beside_gap = step in (steps - 1, last)
            assert not apart or (beside_gap and set(apart) <= {"add"}), apart
        widths |= {round(band.box.width, 3) for band in picture.layout.bands if band.tone == "step"}
    rolled = drawn(thing, "rolled")
    (of_cell,) = places(rolled).values()
    assert_alike(of_cell, of_whole[MIDDLE])
    widths |= {round(band.box.width, 3) for band in rolled.layout.bands if band.tone == "step"}
    assert len(widths) == 1
