"""How fast the explorer's page is: seconds to the first picture, frames a second of panning.

An LSTM forward and backward, in headless Chromium without a graphics card. Every page is panned for
some seconds from near, where boxes have texts, and from afar, where all that fits is seen.

    .venv/bin/python benchmarks/explorer.py [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright
from written import write

import graphnn as gn
from graphnn.viz.explorer import PageStage, explorer_page

STEPS = {"1k": 15, "10k": 154, "100k": 1530}
"""Time steps that make about as many nodes."""
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
REPEATS = 2
ZOOMS = {"near": 1.0, "middle": 0.4, "far": 0.1, "farthest": 0.01}
"""Pixels for a point."""
PAN = """
(zoom) => new Promise((done) => {
  const { camera, graph } = explorer;
  camera.moveTo(graph.width / 3, graph.height / 2, zoom);
  const began = performance.now();
  let frames = 0;
  const frame = (now) => {
    frames++;
    if (now - began > 3000) return done((1000 * frames) / (now - began));
    camera.panBy(frames % 200 < 100 ? -17 : 17, 0);
    explorer.redraw();
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})
"""


def lstm(steps: int) -> gn.Graph:
    """An LSTM written out, its loss and the gradients of its weights."""

    def weight(name: str, *shape: int) -> gn.Parameter:
        return gn.parameter(np.full(shape, 0.1, np.float32), name=name)

    weights = {
        g: (weight(f"W{g}", 3, 8), weight(f"U{g}", 8, 8), weight(f"b{g}", 8)) for g in "ifgo"
    }
    h, c = gn.input("h0", shape=(4, 8)), gn.input("c0", shape=(4, 8))
    inputs = [h, c]
    for t in range(steps):
        with gn.time_step(t), gn.name_scope("lstm"):
            x = gn.input(f"x{t}", shape=(4, 3))
            inputs.append(x)
            i, f, g, o = (x @ W + h @ U + b for W, U, b in weights.values())
            c = gn.sigmoid(f) * c + gn.sigmoid(i) * gn.tanh(g)
            h = gn.sigmoid(o) * gn.tanh(c)
    loss = gn.mean(gn.square(h))
    parameters = [each for group in weights.values() for each in group]
    return gn.Graph(tuple(inputs), (loss, *gn.grad(loss, parameters)))


def measure(browser: Browser, name: str, steps: int, folder: Path) -> dict[str, Any]:
    """What one page takes: the fastest of several visits."""
    picture = gn.render(lstm(steps), steps="all")
    scene, layout = picture.scene, picture.layout
    start = time.process_time()
    content = explorer_page([PageStage(name, (), scene, layout)])
    row: dict[str, Any] = {
        "size": name,
        "nodes": len(scene.nodes),
        "edges": len(scene.edges),
        "megabytes": len(content) / 1e6,
        "written_s": time.process_time() - start,
    }
    path = folder / f"{name}.html"
    path.write_text(content, "utf-8")
    painted, busy = [], []
    frames: dict[str, list[float]] = {each: [] for each in ZOOMS}
    for _ in range(REPEATS):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-painted]", timeout=120_000)
        painted.append(float(page.get_attribute("html", "data-painted")) / 1e3)
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        busy.append(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))
        for each, zoom in ZOOMS.items():
            frames[each].append(page.evaluate(PAN, zoom))
        page.close()
    row["first_paint_s"], row["first_paint_cpu_s"] = min(painted), min(busy)
    row["frames_per_s"] = {each: max(found) for each, found in frames.items()}
    return row


def main() -> None:
    """Measure all sizes and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    out = parser.parse_args().out
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        rows = [measure(browser, *each, Path(folder)) for each in STEPS.items()]
        version = browser.version
        browser.close()
    cells = [
        {
            "nodes": f"{row['nodes']:,}",
            "edges": f"{row['edges']:,}",
            "file [MB]": f"{row['megabytes']:.1f}",
            "written in [s]": f"{row['written_s']:.2f}",
            "first paint [s]": f"{row['first_paint_s']:.2f}",
            "its CPU time [s]": f"{row['first_paint_cpu_s']:.2f}",
            **{f"frames/s {each}": f"{row['frames_per_s'][each]:.0f}" for each in ZOOMS},
        }
        for row in rows
    ]
    note = (
        f"LSTM, forward and backward, in headless Chromium {version} without a graphics card, "
        f"1440 x 900 pixels; the best of {REPEATS} visits, on a machine that others kept "
        "busy. CPU time is that of the page's main thread. Frames while panning, at "
        + ", ".join(f"{zoom:g} ({each})" for each, zoom in ZOOMS.items())
        + " pixels a point; a screen shows 60."
    )
    write(out, "explorer", rows, cells, note)


if __name__ == "__main__":
    main()
