"""Draw the pictures of the README and the gallery: python docs/make_pictures.py [FOLDER]

Those of the gallery are what the blocks of code on its page draw. Run it again after a change to
the drawing or to what the compiler makes of a program; the files are the same bytes until something
changes, and a test says when they are not.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np

import graphnn as gn

DOCS = Path(__file__).resolve().parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PICTURE = re.compile(r'"([\w-]+)\.svg"')


def weight(name: str, *shape: int) -> gn.Parameter:
    """A float32 parameter of ones: pictures show shapes, not values."""
    return gn.parameter(np.ones(shape, np.float32), name=name)


def bptt(steps: int) -> gn.Graph:
    """A simple recurrent net over some steps, its loss, and the gradients of its weights."""
    batch, features, units, targets = 32, 16, 64, 4
    Wx, Wh, b = weight("Wx", features, units), weight("Wh", units, units), weight("b", units)
    Wy = weight("Wy", units, targets)
    xs = []
    h = gn.input("h[0]", shape=(batch, units))
    start = h
    for t in range(steps):
        with gn.time_step(t):
            xs.append(gn.input(f"x[{t}]", shape=(batch, features)))
            h = gn.tanh(xs[t] @ Wx + h @ Wh + b).named(f"h[{t + 1}]")
    y = gn.input("y", shape=(batch, targets))
    loss = gn.mean(gn.square(h @ Wy - y)).named("loss")
    weights = [Wx, Wh, b, Wy]
    found = zip(gn.grad(loss, weights), weights, strict=True)
    gradients = [gradient.named(f"∂{w.name}") for gradient, w in found]
    return gn.Graph((start, *xs, y), (loss, *gradients))


def examples(page: Path) -> Iterator[tuple[str, str]]:
    """Name and code of every block of a page that draws a picture."""
    for code in BLOCK.findall(page.read_text(encoding="utf-8")):
        name = PICTURE.search(code)
        if name is not None:
            yield name[1], code


def main(folder: Path = DOCS / "pictures") -> None:
    folder.mkdir(exist_ok=True)
    graph = bptt(3)
    title = "Backpropagation through time: h[t+1] = tanh(x[t] Wx + h[t] Wh + b), 3 steps"
    gn.render(graph, folder / "bptt.svg", title=title)
    gn.render(graph, folder / "bptt.png", title=title)
    with chdir(folder):
        for name, code in examples(DOCS / "gallery.md"):
            # Lines are those of the example, not of the page: pictures tell them in tooltips.
            exec(compile(code, f"{name}.py", "exec"), {"__name__": name})
    for file in sorted(folder.iterdir()):
        print(f"{file.name}  {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
