"""Draw the pictures of the README and the tutorials: python docs/make_pictures.py [FOLDER]

Run it again after a change to the drawing or to what the compiler makes of a program; the files are
the same bytes until something changes, and a test says when they are not.
"""

import sys
from pathlib import Path

import numpy as np

import graphnn as gn
from graphnn.viz import render

PICTURES = Path(__file__).resolve().parent / "pictures"


def weight(name: str, *shape: int) -> gn.Parameter:
    """A float32 parameter of ones: pictures show shapes, not values."""
    return gn.parameter(np.ones(shape, np.float32), name=name)


def gradients(loss: gn.Node, weights: list[gn.Parameter]) -> list[gn.Node]:
    """The gradients of a loss, named after the weights."""
    return [g.named(f"∂{w.name}") for g, w in zip(gn.grad(loss, weights), weights, strict=True)]


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
    return gn.Graph((start, *xs, y), (loss, *gradients(loss, [Wx, Wh, b, Wy])))


def lstm(steps: int) -> gn.Graph:
    """The forward pass of an LSTM cell, unrolled."""
    batch, features, units = 32, 16, 64
    weights = {}
    for gate in "ifgo":
        shapes = {"W": (features, units), "U": (units, units), "b": (units,)}
        weights[gate] = [weight(kind + gate, *shape) for kind, shape in shapes.items()]
    h = gn.input("h[0]", shape=(batch, units))
    c = gn.input("c[0]", shape=(batch, units))
    inputs = [h, c]
    for t in range(steps):
        with gn.time_step(t):
            x = gn.input(f"x[{t}]", shape=(batch, features))
            inputs.append(x)
            gates = {}
            for gate, (W, U, b) in weights.items():
                squash = gn.tanh if gate == "g" else gn.sigmoid
                gates[gate] = squash(x @ W + h @ U + b).named(f"{gate}[{t}]")
            c = (gates["f"] * c + gates["i"] * gates["g"]).named(f"c[{t + 1}]")
            h = (gates["o"] * gn.tanh(c)).named(f"h[{t + 1}]")
    return gn.Graph(tuple(inputs), (h, c))


def mlp() -> tuple[gn.Graph, list[gn.Parameter]]:
    """Two dense layers, a loss, and the gradients of the weights."""
    x, y = gn.input("x", shape=(32, 64)), gn.input("y", shape=(32, 10))
    weights: list[gn.Parameter] = []
    h = x
    for layer, (n, m) in enumerate([(64, 32), (32, 10)]):
        with gn.name_scope(f"dense{layer}"):
            W, b = weight("W", n, m), weight("b", m)
            weights += [W, b]
            h = h @ W + b
            if layer == 0:
                h = gn.relu(h)
    with gn.name_scope("loss"):
        loss = gn.mean(gn.square(h - y)).named("loss")
    return gn.Graph((x, y), (loss, *gradients(loss, weights))), weights


def both_ways(steps: int) -> gn.Graph:
    """The layer of a bidirectional net, unrolled."""
    x = gn.input("x", shape=(steps, 32, 16))
    net = gn.nn.SimpleRNN(16, 64, bidirectional=True, unroll=True, rng=np.random.default_rng(0))
    return gn.Graph((x,), (net(x).named("y"),))


def main(folder: Path = PICTURES) -> None:
    folder.mkdir(exist_ok=True)
    unrolled = bptt(3)
    title = "Backpropagation through time: h[t+1] = tanh(x[t] Wx + h[t] Wh + b), 3 steps"
    render(unrolled, folder / "bptt.svg", title=title)
    render(unrolled, folder / "bptt.png", title=title)
    render(lstm(2), folder / "lstm.svg", title="An LSTM over two steps")

    graph, weights = mlp()
    loss, *by_weight = graph.outputs
    render(loss, folder / "mlp.svg", title="A multilayer perceptron and its loss")
    render(graph, folder / "mlp-gradients.svg", title="The same with the gradients of its weights")
    updates = {w: w - 0.1 * g for w, g in zip(weights, by_weight, strict=True)}
    step = gn.compile(graph.inputs, loss, updates=updates)
    render(step, folder / "mlp-step.svg", title="What a training step runs")

    title = "A bidirectional net over three steps"
    render(both_ways(3), folder / "bidirectional.svg", title=title)
    for file in sorted(folder.iterdir()):
        print(f"{file.name}  {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
