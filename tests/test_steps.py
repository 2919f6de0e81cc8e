"""Pictures of time steps: scans written out, windows, rolled cells, lanes and cuts."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from layouts import labels_are_apart, nothing_overlaps

import graphnn as gn
from graphnn.core.errors import RenderError
from graphnn.core.graph import depending_on
from graphnn.core.provenance import provenance
from graphnn.viz import render
from graphnn.viz.picture import Picture
from graphnn.viz.rows import Window
from graphnn.viz.scene import Scene
from graphnn.viz.steps import scene_in_steps
from graphnn.viz.unrolled import unrolled

RNG = np.random.default_rng(0)
Made = tuple[gn.Graph, dict[gn.Node, Any]]


def weight(name: str, *shape: int) -> gn.Parameter:
    return gn.parameter(RNG.normal(size=shape).astype("float32") / 3, name=name)


def rnn(steps: Any = 6, **options: Any) -> Made:
    """A simple recurrent net with a loss of every step, by a scan, and its gradients."""
    return _rnn(gn.scan, steps, **options)


def _rnn(loop: Callable[..., Any], steps: Any, **options: Any) -> Made:
    x = gn.input("x", shape=(steps, 2, 3))
    Wx, Wh = weight("Wx", 3, 4), weight("Wh", 4, 4)

    def step(h: gn.Node, x: gn.Node) -> tuple[gn.Node, gn.Node]:
        h = gn.tanh(x @ Wx + h @ Wh).named("h")
        return h, h

    _, states = loop(step, gn.zeros((2, 4)), x, **options)
    loss = gn.mean(states**2).named("loss")
    graph = gn.Graph((x,), (loss, *gn.grad(loss, [Wx, Wh])))
    return graph, {x: RNG.normal(size=(6, 2, 3)).astype("float32")}


def stacked(steps: Any = 6) -> Made:
    """Two layers in both directions, an output layer and a loss of every step."""
    x = gn.input("x", shape=(steps, 2, 3))
    labels = gn.input("labels", shape=(steps, 2), dtype="int64")
    net = gn.nn.GRU(3, 4, num_layers=2, bidirectional=True, return_sequences=True)
    model = gn.nn.Sequential(net, gn.nn.Dense(8, 5))
    loss = gn.losses.cross_entropy(model(x), labels)
    graph = gn.Graph((x, labels), (loss, *gn.grad(loss, model.parameters())))
    feeds = {x: RNG.normal(size=(6, 2, 3)).astype("float32"), labels: RNG.integers(0, 5, (6, 2))}
    return graph, feeds


def encoder_decoder() -> Made:
    """A decoder that begins with the last state of an encoder; both take six steps."""
    x, y = gn.input("x", shape=(6, 2, 4)), gn.input("y", shape=(6, 2, 4))
    We, Wd = weight("We", 4, 4), weight("Wd", 4, 4)
    state, _ = gn.scan(lambda h, x: (gn.tanh(x + h @ We), None), gn.zeros((2, 4)), x)
    _, out = gn.scan(lambda h, y: (gn.tanh(y + h @ Wd),) * 2, state, y)
    loss = gn.sum(out * out)
    graph = gn.Graph((x, y), (loss, *gn.grad(loss, [We, Wd])))
    return graph, {each: RNG.normal(size=(6, 2, 4)).astype("float32") for each in (x, y)}


def second_order() -> Made:
    """The gradient of a norm of a gradient, and a tangent."""
    graph, feeds = rnn()
    loss, _, of_state = graph.outputs
    (x,) = graph.inputs
    (again,) = gn.grad(gn.sum(of_state**2), [x])
    tangent = gn.jvp(loss, [x], [x])
    return gn.Graph((x,), (again, tangent)), feeds


def random_numbers() -> Made:
    """Dropout, which is another one in every step."""
    x = gn.input("x", shape=(6, 2, 4))
    key = gn.random.key(3)

    def step(carry: Any, x: gn.Node) -> Any:
        h, number = carry
        noise = gn.random.uniform(gn.random.fold_in(key, number), (2, 4))
        h = h * 0.5 + x * noise
        return (h, number + 1), h

    _, out = gn.scan(step, (gn.zeros((2, 4)), gn.zeros((), "int64")), x)
    (gradient,) = gn.grad(gn.sum(out**2), [x])
    return gn.Graph((x,), (out, gradient)), {x: np.ones((6, 2, 4), np.float32)}


def last_state(steps: int, batch: int) -> Made:
    """A loss of the last state alone."""
    x = gn.input("x", shape=(steps, batch, 3))
    net = gn.nn.SimpleRNN(3, 4, num_layers=2)
    loss = gn.mean(net(x) ** 2)
    graph = gn.Graph((x,), (loss, *gn.grad(loss, net.parameters())))
    return graph, {x: RNG.normal(size=x.shape).astype("float32")}


def losses_of_steps(steps: int, batch: int) -> Made:
    """Of every step a weighted loss of its labels: half of it comes from what is given."""
    x, labels = (gn.input(name, shape=(steps, batch, 3)) for name in ("x", "labels"))
    net = gn.nn.SimpleRNN(3, 3, return_sequences=True)
    targets = labels * 0.9 + gn.full(labels.shape, 1 / 30)
    loss = gn.sum(gn.log_softmax(net(x)) * targets) / (steps * batch)
    graph = gn.Graph((x, labels), (loss, *gn.grad(loss, net.parameters())))
    return graph, {each: RNG.normal(size=each.shape).astype("float32") for each in (x, labels)}


MADE = {
    "rnn": rnn,
    "reversed": lambda: rnn(reverse=True),
    "truncated": lambda: rnn(truncate=2),
    "truncated further": lambda: rnn(truncate=(2, 4)),
    "truncated nearer": lambda: rnn(truncate=(3, 2)),
    "unrolled and truncated": lambda: _rnn(gn.unroll, 6, truncate=(2, 3)),
    "stacked": stacked,
    "encoder and decoder": encoder_decoder,
    "second order": second_order,
    "random numbers": random_numbers,
    "batch as long as time": lambda: losses_of_steps(3, 3),
}


def assert_same_values(graph: gn.Graph, written: gn.Graph, feeds: dict[gn.Node, Any]) -> None:
    found = [
        gn.evaluate(each.outputs, feeds, backend="reference", optimize="O0")
        for each in (graph, written)
    ]
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
@pytest.mark.parametrize("window", [None, Window(1, 1), Window(2, 1)], ids=str)
def test_what_is_written_out_has_the_same_values(
    make: Callable[[], Made], window: Window | None
) -> None:
    graph, feeds = make()
    written = unrolled(graph, window).graph
    assert_same_values(graph, written, feeds)
    assert window is not None or not any(node.op.name == "scan" for node in written.nodes)


@pytest.mark.parametrize("make", [last_state, losses_of_steps])
@pytest.mark.parametrize("steps", ["all", 1])
def test_a_batch_as_long_as_time_is_not_time(make: Callable[..., Made], steps: Any) -> None:
    def drawn(batch: int) -> list[tuple[str, int | None]]:
        scene = scene_in_steps(make(4, batch)[0], steps)
        return [(re.sub(r"\d+(?![\d\]])", "", node.label), node.step) for node in scene.nodes]

    assert drawn(4) == drawn(5)


def test_gradients_have_the_names_of_their_weights() -> None:
    """Also where the bodies of two scans are equal."""
    graph, _ = last_state(4, 5)
    names = [node.label for node in scene_in_steps(graph, 1).nodes if node.is_output]
    parts = ("input_weight", "recurrent_weight", "bias")
    assert names[1:] == [f"∂layers.{layer}.cell.{part}" for layer in (0, 1) for part in parts]


@pytest.mark.parametrize("make", [rnn, stacked], ids=["rnn", "stacked"])
def test_an_unknown_number_of_steps(make: Callable[[Any], Made]) -> None:
    graph, feeds = make("T")
    written = unrolled(graph, Window(1, 2)).graph
    assert_same_values(graph, written, feeds)
    labels = [text for _, text in scene_in_steps(graph, 2).step_labels]
    assert labels == ["t = T − 2", "t = T − 1", "… × T − 4 …"]
    with pytest.raises(RenderError, match=r"not known[\s\S]*steps=2"):
        render(graph, steps="all")


def test_a_copy_of_the_way_back_belongs_to_the_copy_of_its_step() -> None:
    x = gn.input("x", shape=(6, 2, 3))
    net = gn.nn.LSTM(3, 4, return_sequences=True)
    loss = gn.mean(net(x) ** 2)
    graph = gn.Graph((x,), (loss, *gn.grad(loss, net.parameters())))
    made = unrolled(graph)  # holds the nodes that records know by weak references
    known = [provenance(node) for node in made.graph.nodes]
    origins = [(each.step, each.origin) for each in known if each.role == "backward"]
    # What depends on constants alone is one node for all graphs, and knows its place in the first.
    own = depending_on(made.graph.outputs, [x, *net.parameters()])
    of_steps = [
        (step, origin)
        for step, origin in origins
        if step is not None and (origin is None or origin in own)
    ]
    assert len(of_steps) > 200
    for step, origin in of_steps:
        assert origin is not None
        assert provenance(origin).step == step
    of_weights = {origin.name for _, origin in origins if isinstance(origin, gn.Parameter)}
    assert of_weights == {name for name, _ in net.named_parameters()}


def test_subjects_tell_scan_and_step() -> None:
    graph, _ = rnn(reverse=True)
    made = unrolled(graph)
    states = [node for node in made.graph.nodes if (node.name or "").startswith("h[")]
    assert {node.name for node in states} == {f"h[{step}]" for step in range(6)}
    for node in states:
        subject = made.subjects[node]
        ((scan, step),) = subject.steps
        assert node.name == f"h[{step}]"
        assert subject.node in scan.attrs["body"].nodes


def labels_of(scene: Scene, step: int) -> list[tuple[str, str, str]]:
    return sorted(
        (node.role, node.lane, node.label.replace(f"[{step}]", "[t]").replace("[t]", ""))
        for node in scene.nodes
        if node.step == step
    )


def test_a_scan_looks_like_a_loop_in_python() -> None:
    scenes = [scene_in_steps(_rnn(loop, 6)[0], "all") for loop in (gn.scan, gn.unroll)]
    by_scan, by_hand = ({each[2] for each in labels_of(scene, 3)} for scene in scenes)
    assert {"x", "h", "matmul", "add", "matmul_tn", "matmul_nt"} <= by_scan & by_hand
    assert {"• ^ 2", "sum"} <= by_scan  # the loss of every step, which is one node otherwise
    for scene in scenes:
        crossing = [edge.kind for edge in scene.edges if edge.kind in ("recurrent", "bptt")]
        assert (crossing.count("recurrent"), crossing.count("bptt")) == (5, 5)


@pytest.mark.parametrize("loop", [gn.scan, gn.unroll], ids=["scan", "unroll"])
def test_a_window_keeps_the_ends(loop: Callable[..., Any]) -> None:
    graph, _ = _rnn(loop, 6)
    whole, window = (scene_in_steps(graph, steps) for steps in ("all", 1))
    assert window.steps == (0, 1, 5)
    assert (1, "… × 4 …") in window.step_labels
    for step in (0, 5):
        assert labels_of(window, step) == labels_of(whole, step)
    elided = [node for node in window.nodes if node.step == 1]
    assert [node.kind for node in elided] == ["elision"] * 2
    assert {node.role for node in elided} == {"forward", "backward"}
    joined = {
        (window.nodes[edge.source].step, window.nodes[edge.target].step, edge.kind)
        for edge in window.edges
    }
    assert {(0, 1, "recurrent"), (1, 5, "recurrent"), (5, 1, "bptt"), (1, 0, "bptt")} <= joined


@pytest.mark.parametrize("loop", [gn.scan, gn.unroll], ids=["scan", "unroll"])
def test_rolled_is_one_cell_with_lags(loop: Callable[..., Any]) -> None:
    graph, _ = _rnn(loop, 6)
    whole, one = (scene_in_steps(graph, steps) for steps in ("all", "rolled"))
    (step,) = one.steps
    assert one.step_labels == ((step, "t"),)
    middle = [label for label in labels_of(whole, 3) if label[2] != "reshape"]
    assert set(labels_of(one, step)) == set(middle) | set(labels_of(one, step))
    lags = {(edge.kind, edge.lag) for edge in one.edges if edge.lag}
    assert {("recurrent", 1), ("bptt", -1)} <= lags
    sums = [node.detail for node in one.nodes if node.label in ("∂Wx", "∂Wh")]
    assert all(detail.startswith("Σ 6 terms") for detail in sums)


def test_a_cell_counts_from_its_own_step() -> None:
    x = gn.input("x", shape=(6, 2, 3))
    net = gn.nn.GRU(3, 4)
    graph = gn.Graph((x,), gn.grad(gn.mean(net(x) ** 2), net.parameters()))
    labels = {node.label for node in scene_in_steps(graph, "rolled").nodes}
    assert {"x[t]", "h[t]", "∂z[t]", "∂h[t−1]"} <= labels
    numbered = {label for label in labels if re.search(r"\[\d+\]", label)}
    assert numbered == set()


def test_an_index_that_is_the_same_in_all_steps_is_no_time() -> None:
    h = start = gn.input("h[0]", shape=(2, 4))
    for t in range(4):
        with gn.time_step(t):
            gate = gn.sigmoid(h).named("gate[1]")
            h = gn.tanh(h * gate).named(f"h[{t + 1}]")
    labels = {node.label for node in scene_in_steps(gn.Graph((start,), (h,)), "rolled").nodes}
    assert {"gate[1]", "h[t+1]"} <= labels


def test_lanes_are_layers_and_directions() -> None:
    scene = scene_in_steps(stacked()[0], "all")
    lanes = {node.lane for node in scene.nodes if node.step is not None}
    assert lanes == {f"layers.{n}/{way}_layer" for n in (0, 1) for way in ("forward", "backward")}
    flows = {
        (
            scene.nodes[edge.source].lane,
            np.sign((scene.nodes[edge.target].step or 0) - (scene.nodes[edge.source].step or 0)),
        )
        for edge in scene.edges
        if edge.kind == "recurrent"
    }
    assert flows == {(lane, 1 if "forward" in lane else -1) for lane in lanes}
    assert not any(node.lane for node in scene_in_steps(rnn()[0], "all").nodes)


def test_what_reads_both_directions_flows_forward() -> None:
    x = gn.input("x", shape=(3, 2, 3))
    net = gn.nn.SimpleRNN(3, 4, bidirectional=True, return_sequences=True)
    y = net(x).named("y")
    scene = scene_in_steps(gn.Graph((x,), (y,)), "all")
    lanes = {node.label: node.lane for node in scene.nodes if node.label[0] in "xy"}
    assert lanes == {
        **{f"{name}[{step}]": "forward_layer" for name in "xy" for step in range(3)},
        "y": "",  # of no step: all of them, put together in one box
    }


def test_a_decoder_stands_after_its_encoder() -> None:
    graph, _ = encoder_decoder()
    scene = scene_in_steps(graph, "all")
    assert scene.steps == tuple(range(12))
    assert dict(scene.step_labels)[6] == "t = 0"
    window = scene_in_steps(graph, 1)
    assert [node.kind for node in window.nodes].count("elision") == 4


@pytest.mark.parametrize("loop", [gn.scan, gn.unroll], ids=["scan", "unroll"])
def test_truncations_are_cuts(loop: Callable[..., Any]) -> None:
    scene = scene_in_steps(_rnn(loop, 6, truncate=2)[0], "all")
    cut = {
        (scene.nodes[edge.source].step, scene.nodes[edge.target].step)
        for edge in scene.edges
        if edge.is_cut
    }
    assert cut == {(1, 2), (3, 4)}
    back = {
        (scene.nodes[edge.source].step, scene.nodes[edge.target].step)
        for edge in scene.edges
        if edge.kind == "bptt"
    }
    assert back == {(1, 0), (3, 2), (5, 4)}


@pytest.mark.parametrize("steps", ["all", "rolled", 1])
@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_scenes_are_in_order(make: Callable[[], Made], steps: Any) -> None:
    scene = scene_in_steps(make()[0], steps)
    for edge in scene.edges:
        assert edge.lag or edge.source < edge.target
    for number, node in enumerate(scene.nodes):
        assert node.origin is None or node.origin != number


def test_the_number_of_steps_that_are_not_drawn_costs_nothing() -> None:
    sizes = [len(unrolled(rnn(steps)[0], Window(2, 2)).graph.nodes) for steps in (50, 5000)]
    assert sizes[0] == sizes[1]


def test_auto_draws_few_steps_in_full() -> None:
    for steps, drawn in ((6, 6), (100, 5)):
        for graph in (rnn(steps)[0], _rnn(gn.unroll, steps)[0]):
            picture = render(graph)
            assert isinstance(picture, Picture)
            assert len(picture.scene.steps) == drawn


@pytest.mark.parametrize("steps", [0, -1, True, "some", 1.5, None])
def test_other_numbers_of_steps_are_refused(steps: Any) -> None:
    with pytest.raises(RenderError, match=r"cannot draw steps=[\s\S]*rolled"):
        render(rnn()[0], steps=steps)


def test_both_carries_of_an_lstm_are_cut() -> None:
    x = gn.input("x", shape=(6, 2, 3))
    net = gn.nn.LSTM(3, 4, return_sequences=True, truncate=3)
    loss = gn.mean(net(x) ** 2)
    scene = scene_in_steps(gn.Graph((x,), (loss, *gn.grad(loss, net.parameters()))), "all")
    cut = {(scene.nodes[e.source].label, e.kind) for e in scene.edges if e.is_cut}
    assert cut == {("h[2]", "recurrent"), ("c[2]", "recurrent")}


def test_rolled_lanes_flow_as_unrolled_ones_and_lags_are_told_once() -> None:
    gn.seed(0)
    net = gn.nn.GRU(3, 4, num_layers=2, bidirectional=True)
    loss = gn.sum(net(gn.input("x", shape=(9, 2, 3))))
    pictures = [
        gn.render([loss, *gn.grad(loss, net.parameters())], steps=steps) for steps in ("rolled", 1)
    ]
    lanes = [
        [band.label for band in picture.layout.bands if "layers." in band.label]
        for picture in pictures
    ]
    assert lanes[0] == lanes[1]
    assert lanes[0][:4] == [
        "layers.0/forward_layer  forward →",
        "← layers.0/backward_layer  forward",
        "layers.1/forward_layer  forward →",
        "← layers.1/backward_layer  forward",
    ]
    rolled = pictures[0].drawing
    told = {(stroke.style, stroke.label) for stroke in rolled.strokes if stroke.label[:1] == "t"}
    assert told == {
        *(("recurrent", word) for word in ("t−1", "t+1")),
        *(("bptt", word) for word in ("t−1", "t+1")),
        *(("saved", word) for word in ("t−1", "t+1")),
    }


@pytest.mark.parametrize("cell", ["SimpleRNN", "LSTM", "GRU"])
def test_labels_of_a_rolled_cell_can_be_read(cell: str) -> None:
    x = gn.input("x", shape=(9, 2, 3))
    net = getattr(gn.nn, cell)(3, 4, bidirectional=cell == "GRU")
    graph = gn.Graph((x,), gn.grad(gn.mean(net(x) ** 2), net.parameters()))
    picture = gn.render(graph, steps="rolled")
    scene = picture.scene
    nothing_overlaps(scene, picture.layout)
    labels_are_apart(scene, picture.layout)
    saved = {edge.source for edge in scene.edges if edge.kind == "saved"}
    told = [edge.source for edge in scene.edges if edge.label]
    assert sorted(told) == sorted(saved)
    states = {edge.told for edge in scene.edges if scene.nodes[edge.source].label == "h[t]"}
    assert "32 B, t−1" in states


def test_bodies_of_conds_and_while_loops_are_frames() -> None:
    x, w = gn.input("x", shape=()), gn.parameter(2.0, name="w")
    is_large = (x > 1.0).named("is_large")
    y = gn.cond(is_large, lambda: gn.log(x) * w, lambda: gn.square(x) - w)
    count, _ = gn.while_loop(lambda c: c[1] < 100.0, lambda c: (c[0] + 1, c[1] * w), (0, y))
    scene = gn.render(count).scene
    kinds = [(group.kind, group.label) for group in scene.groups]
    assert kinds == [
        ("branch", "if is_large"),
        ("branch", "unless is_large"),
        ("loop", "while"),
        ("branch", "as long as"),
    ]
    inside = {
        scene.groups[node.group].label: node.label for node in scene.nodes if node.group is not None
    }
    assert inside.keys() == {label for _, label in kinds}
    assert [edge.lag for edge in scene.edges if edge.kind == "recurrent"] == [1] * 3


def test_a_scan_inside_of_a_step_stays_one_box() -> None:
    w = gn.parameter(0.5, name="w")

    def row(h: gn.Node, elements: gn.Node) -> tuple[gn.Node, gn.Node]:
        last, _ = gn.scan(lambda c, x: (gn.tanh(c * w + x), ()), h, elements)
        return last, last

    h, _ = gn.scan(row, gn.zeros((2,)), gn.input("x", shape=(3, 4, 2)))
    nodes = gn.render([h, gn.grad(gn.sum(h), w)], steps="all").scene.nodes
    for role, word in (("forward", "scan × 4"), ("backward", "scan × 4 reversed")):
        steps = [each.step for each in nodes if each.role == role and word in each.label]
        assert sorted(steps) == [0, 1, 2]
