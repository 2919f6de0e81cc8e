"""How long pictures of an unrolled LSTM with its gradients take: scene, layout, SVG.

    .venv/bin/python benchmarks/drawing.py [--out benchmarks/results] [--steps 15 150 1500]

The graph is a real one, one layer of 64 units. The last line is a scan with all steps
drawn, so its scene begins with writing them out. Times are CPU seconds, the least of three runs, of
one for the largest. For the smallest, Graphviz's ``dot`` gets the same scene without positions,
as tools get that leave the layout to it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from written import write

import graphnn as gn
from graphnn.core.errors import RenderError
from graphnn.viz.dot import flowing_dot
from graphnn.viz.drawing import drawing_of
from graphnn.viz.graph_scene import scene_of_graph
from graphnn.viz.graphviz_tool import find_graphviz, run_graphviz
from graphnn.viz.route import grid_layout
from graphnn.viz.svg import svg_text
from graphnn.viz.things import as_drawable

DOT_SECONDS = 30.0
"""How long ``dot`` may try."""


def weight(name: str, *shape: int) -> gn.Parameter:
    """A float32 parameter."""
    return gn.parameter(np.full(shape, 0.1, np.float32), name=name)


def lstm(steps: int) -> gn.Graph:
    """An LSTM over some steps, a loss, and the gradients of all weights."""
    gates = {
        gate: [weight(f"W{gate}", 16, 64), weight(f"U{gate}", 64, 64), weight(f"b{gate}", 64)]
        for gate in "ifgo"
    }
    h, c = gn.input("h", shape=(32, 64)), gn.input("c", shape=(32, 64))
    inputs = [h, c]
    for step in range(steps):
        with gn.time_step(step):
            x = gn.input(f"x[{step}]", shape=(32, 16))
            inputs.append(x)
            i, f, g, o = (
                (gn.tanh if gate == "g" else gn.sigmoid)(x @ W + h @ U + b).named(f"{gate}[{step}]")
                for gate, (W, U, b) in gates.items()
            )
            c = (f * c + i * g).named(f"c[{step + 1}]")
            h = (o * gn.tanh(c)).named(f"h[{step + 1}]")
    loss = gn.mean(gn.square(h)).named("loss")
    weights = [each for three in gates.values() for each in three]
    return gn.Graph(tuple(inputs), (loss, *gn.grad(loss, weights)))


def scan(steps: int) -> gn.Graph:
    """The same net as a scan."""
    x = gn.input("x", shape=(steps, 32, 16))
    net = gn.nn.LSTM(16, 64, rng=np.random.default_rng(0))
    loss = gn.mean(gn.square(net(x))).named("loss")
    return gn.Graph((x,), (loss, *gn.grad(loss, net.parameters())))


def least(function: Callable[[], Any], runs: int) -> tuple[float, Any]:
    """CPU seconds of the fastest run, and the result."""
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        result = function()
        seconds.append(time.process_time() - start)
    return min(seconds), result


def by_dot(text: str) -> float | None:
    """Seconds until Graphviz has drawn a flat graph; None where it did not in time."""
    flat = "\n".join(line for line in text.splitlines() if "subgraph" not in line)
    start = time.perf_counter()
    try:
        run_graphviz(["-Kdot", "-Tsvg"], flat, DOT_SECONDS)
    except RenderError:
        return None
    return time.perf_counter() - start


def measure(graph: gn.Graph, steps: int, runs: int) -> dict[str, Any]:
    """Times of one size."""
    row: dict[str, Any] = {"steps": steps}
    row["scene"], scene = least(lambda: as_drawable(graph).scene("", "all"), runs)
    row["layout"], layout = least(lambda: grid_layout(scene), runs)
    row["svg"], text = least(lambda: svg_text(drawing_of(scene, layout)), runs)
    row.update(nodes=len(scene.nodes), edges=len(scene.edges), megabytes=len(text) / 1e6)
    return row


def main() -> None:
    """Measure every size and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--steps", type=int, nargs="+", default=[15, 150, 1500])
    options = parser.parse_args()
    rows = [measure(lstm(steps), steps, 1 if steps > 1000 else 3) for steps in options.steps]
    steps = options.steps[-1]
    rows.append({**measure(scan(steps), steps, 1 if steps > 1000 else 3), "is_scan": True})
    dot: float | str | None = "no Graphviz"
    if find_graphviz() is not None:
        dot = by_dot(flowing_dot(scene_of_graph(lstm(options.steps[0]))))
    rows[0]["dot"] = dot
    told = {None: f"> {DOT_SECONDS:g} s"}
    cells = [
        {
            "steps": f"{row['steps']:,}{', a scan' if row.get('is_scan') else ''}",
            "nodes": f"{row['nodes']:,}",
            "edges": f"{row['edges']:,}",
            "scene (s)": f"{row['scene']:.2f}",
            "layout (s)": f"{row['layout']:.2f}",
            "SVG (s)": f"{row['svg']:.2f}",
            "in whole (s)": f"{row['scene'] + row['layout'] + row['svg']:.2f}",
            "MB": f"{row['megabytes']:.1f}",
            "flat `dot`": f"{row['dot']:.1f} s"
            if isinstance(row.get("dot"), float)
            else told.get(row.get("dot", ""), str(row.get("dot", ""))),
        }
        for row in rows
    ]
    write(options.out, "drawing", rows, cells, (__doc__ or "").split("\n\n")[-1].strip())


if __name__ == "__main__":
    main()
