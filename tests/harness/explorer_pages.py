"""Scenes that the explorer's pages show, and pages of them."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
from drawn_models import picture_of

import graphnn as gn
from graphnn.viz.explorer import PageStage, explorer_page
from graphnn.viz.route import grid_layout
from graphnn.viz.scene import Frame, Overlay, Scene, SceneEdge, SceneGroup, SceneNode, Strip

HOSTILE = '</script><img src=x onerror="window.harm=1"><!--\u2028"\'`${window.harm=1}'


def weight(name: str, *shape: int) -> gn.Parameter:
    return gn.parameter(np.full(shape, 0.1, np.float32), name=name)


@cache
def recurrent(steps: int = 3) -> Scene:
    """A simple recurrent net in a name scope, its loss and its gradients."""
    Wx, Wh, b = weight("Wx", 3, 8), weight("Wh", 8, 8), weight("b", 8)
    h = gn.input("h0", shape=(4, 8))
    inputs = [h]
    for t in range(steps):
        with gn.time_step(t), gn.name_scope("cell"):
            inputs.append(gn.input(f"x{t}", shape=(4, 3)))
            h = gn.tanh(inputs[-1] @ Wx + h @ Wh + b).named("h")
    loss = gn.mean(gn.square(h)).named("loss")
    graph = gn.Graph(tuple(inputs), (loss, *gn.grad(loss, [Wx, Wh, b])))
    return picture_of(graph, steps="all").scene


def measured(scene: Scene) -> Scene:
    """The scene with two overlays, groups and a strip."""
    count = len(scene.nodes)
    frames = tuple(
        Frame(
            f"training step {100 * moment}",
            tuple(math.nan if i == 5 and moment == 3 else 10.0 ** -(i % 6) for i in range(count)),
        )
        for moment in range(4)
    )
    return replace(
        scene,
        overlays=(
            Overlay("norm of the gradient", "", frames, 1e-5, 1.0, is_log=True),
            Overlay("time", "ms", (Frame("", (None, *map(float, range(1, count)))),), 0.0, 40.0),
        ),
        groups=(SceneGroup("outer", "loop"), SceneGroup("kernel", "fusion", "one loop", 0)),
        nodes=tuple(
            replace(node, group=1, badges=("× 2",)) if number in (4, 5) else node
            for number, node in enumerate(scene.nodes)
        ),
        strip=Strip("live memory", "B", tuple(float(1000 * (i % 9)) for i in range(count))),
    )


def hostile() -> Scene:
    nodes = (
        SceneNode(HOSTILE, HOSTILE, "input", "forward", HOSTILE, tooltip=HOSTILE),
        SceneNode("n" * 10**5, "d" * 10**5, "operation", "forward", tooltip="t" * 10**5),
        SceneNode("\ud800\x00\n", "&lt;b&gt;", "operation", "forward", lane=HOSTILE, group=0),
    )
    edges = (SceneEdge(0, 1, "data", HOSTILE), SceneEdge(1, 2, "data"))
    values: tuple[float | None, ...] = (math.inf, -math.inf, None)
    overlay = Overlay(HOSTILE, HOSTILE, (Frame(HOSTILE, values), Frame("", values)), 0.0, 1.0)
    return Scene(HOSTILE, nodes, edges, (SceneGroup(HOSTILE, "fusion", HOSTILE),), None, (overlay,))


def page_of(*scenes: Scene) -> str:
    return explorer_page(
        [PageStage(f"stage {i}", (), s, grid_layout(s)) for i, s in enumerate(scenes)]
    )
