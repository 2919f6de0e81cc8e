"""What is measured inside of graphs: against NumPy's own backpropagation through time."""

from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, FeedError, RenderError
from graphnn.core.node import Node
from graphnn.viz import Measurement, measure
from graphnn.viz.scene import Scene, SceneNode, Subject

Array = np.ndarray[Any, Any]
STEPS, BATCH, FEATURES, HIDDEN = 20, 4, 3, 8


def drawn(*shape: int, scale: float = 1.0, seed: int = 0) -> Array:
    return scale * np.random.default_rng(seed).normal(size=shape)


def norm(x: Array) -> float:
    return float(np.sqrt(np.sum(x**2)))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


# --------------------------------------------------- the oracle: loops in NumPy, derived by hand


def rnn_by_hand(x: Array, W: Array, U: Array, b: Array) -> dict[str, Array]:
    """Of mean(h**2) at the end: norms of the gradients by z and h, of what steps add to dW."""
    hs = [np.zeros((x.shape[1], len(U)))]
    for each in x:
        hs.append(np.tanh(each @ W + hs[-1] @ U + b))
    dh = 2 * hs[-1] / hs[-1].size
    rows: dict[str, list[Array]] = {name: [] for name in ("h", "z", "dW", "dU")}
    for t in reversed(range(len(x))):
        dz = dh * (1 - hs[t + 1] ** 2)
        for name, value in (("h", dh), ("z", dz), ("dW", x[t].T @ dz), ("dU", hs[t].T @ dz)):
            rows[name].insert(0, value)
        dh = dz @ U.T
    found = {name: np.array([norm(each) for each in row]) for name, row in rows.items()}
    for name in ("dW", "dU"):
        found[name] = 100 * found[name] / norm(sum(rows[name]))
    return found


def lstm_by_hand(x: Array, W: Array, U: Array, b: Array) -> dict[str, Array]:
    """The same for an LSTM, with the gates in the order i, f, g, o; and how saturated they are."""
    size = len(U)
    h = c = np.zeros((x.shape[1], size))
    kept = []
    for each in x:
        z = each @ W + h @ U + b
        i, f, g, o = (z[:, n * size : (n + 1) * size] for n in range(4))
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        kept.append((each, h, c, i, f, g, o))
        c = f * c + i * g
        h = o * np.tanh(c)
    dh, dc = 2 * h / h.size, np.zeros_like(c)
    rows: dict[str, list[float]] = {name: [] for name in ("c", "i", "f", "g", "o", "sat f")}
    dW, total = [], np.zeros_like(W)
    for each, _, before, i, f, g, o in reversed(kept):
        after = f * before + i * g
        dc = dc + dh * o * (1 - np.tanh(after) ** 2)
        di, df, dg, do = dc * g, dc * before, dc * i, dh * np.tanh(after)
        for name, value in (("c", dc), ("i", di), ("f", df), ("g", dg), ("o", do)):
            rows[name].insert(0, norm(value))
        rows["sat f"].insert(0, 100 * np.mean((f < 0.05) | (f > 0.95)))
        dz = np.concatenate(
            [di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)], axis=1
        )
        dW.insert(0, norm(each.T @ dz))
        total += each.T @ dz
        dh, dc = dz @ U.T, dc * f
    found = {name: np.array(row) for name, row in rows.items()}
    return {**found, "dW": 100 * np.array(dW) / norm(total)}


# ---------------------------------------------------------------------------------- the same nets


class Net:
    """A net over 20 steps with its loss and gradients, as a scan or written out, and feeds."""

    def __init__(self, kind: str, *, unroll: bool, **options: Any) -> None:
        gn.seed(0)
        self.x = gn.input("x", shape=(STEPS, BATCH, FEATURES), dtype="float64")
        net = {"rnn": gn.nn.SimpleRNN, "lstm": gn.nn.LSTM}[kind](
            FEATURES, HIDDEN, unroll=unroll, dtype="float64", **options
        )
        self.parameters = net.parameters()
        self.loss = gn.mean(net(self.x) ** 2).named("loss")
        gradients = gn.grad(self.loss, self.parameters)
        self.graph = gn.Graph((self.x,), (self.loss, *gradients))
        self.feed = drawn(STEPS, BATCH, FEATURES)
        by_hand = {"rnn": rnn_by_hand, "lstm": lstm_by_hand}[kind]
        named = {path.rpartition(".")[2]: each for path, each in net.named_parameters()}
        weights = (named[name].value for name in ("input_weight", "recurrent_weight", "bias"))
        self.expected = by_hand(self.feed, *weights)

    def measured(self, what: str) -> tuple[Measurement, Scene, list[float | None]]:
        """It, the picture of all steps, and the numbers in the picture."""
        (found,) = measure(self.graph, [self.feed], what)
        picture = gn.render(self.graph, overlay=found, steps="all")
        scene = picture.scene
        return found, scene, list(scene.overlays[0].frames[0].values)


def boxes(scene: Scene, numbers: list[float | None], step: int, op: str) -> list[float | None]:
    """The numbers of the forward boxes of an operator at one step, from left to right."""
    pairs = zip(scene.nodes, numbers, strict=True)
    return [
        number
        for node, number in pairs
        if (node.step, node.role) == (step, "forward") and _op(node) == op
    ]


def _op(node: SceneNode) -> str:
    what = node.subject.node if node.subject is not None else None
    return what.op.label(what) if what is not None else ""


def gates(scene: Scene, numbers: list[float | None], step: int) -> dict[str, float | None]:
    """By gate: a sigmoid or tanh of a part of the sums, told apart by where that part begins."""
    found: dict[str, float | None] = {}
    for node, number in zip(scene.nodes, numbers, strict=True):
        if (node.step, node.role) != (step, "forward") or _op(node) not in ("sigmoid", "tanh"):
            continue
        assert node.subject is not None
        part = node.subject.node.inputs[0]
        if part.op.name == "slice":
            found["ifgo"[part.attrs["start"][1] // HIDDEN]] = number
    return found


@pytest.fixture(params=[False, True], ids=["scan", "unrolled"])
def unroll(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_gradients_of_a_simple_net_are_those_by_hand(unroll: bool) -> None:
    net = Net("rnn", unroll=unroll)
    _, scene, numbers = net.measured("gradient norm")
    for step in range(STEPS):
        assert boxes(scene, numbers, step, "tanh") == pytest.approx([net.expected["h"][step]])
        # What is added up to z has the gradient of z; the state before it, that of h.
        assert set(np.round(boxes(scene, numbers, step, "add"), 12)) == {
            np.round(net.expected["z"][step], 12)
        }


def test_gradients_of_the_gates_of_an_lstm_are_those_by_hand(unroll: bool) -> None:
    net = Net("lstm", unroll=unroll)
    _, scene, numbers = net.measured("gradient norm")
    for step in range(STEPS):
        found = gates(scene, numbers, step)
        assert sorted(found) == ["f", "g", "i", "o"]
        for gate, number in found.items():
            assert number == pytest.approx(net.expected[gate][step], abs=1e-15)


def test_backward_boxes_show_the_gradients_that_they_carry(unroll: bool) -> None:
    net = Net("rnn", unroll=unroll)
    _, scene, numbers = net.measured("gradient norm")
    for step in range(STEPS):
        pairs = zip(scene.nodes, numbers, strict=True)
        at_step = [(n, v) for n, v in pairs if (n.step, n.role) == (step, "backward")]
        dz = [v for n, v in at_step if _op(n) == "multiply"]
        assert dz == pytest.approx([net.expected["z"][step]])
        local = [v for n, v in at_step if _op(n) in ("square", "subtract")]
        assert local == [None, None]  # 1 - h**2 knows nothing of the loss


@pytest.mark.parametrize("kind", ["rnn", "lstm"])
def test_parts_of_the_gradient_of_a_weight_are_those_by_hand(kind: str, unroll: bool) -> None:
    net = Net(kind, unroll=unroll)
    _, scene, numbers = net.measured("share of dW")
    for step in range(STEPS):
        forward = boxes(scene, numbers, step, "matmul")
        assert net.expected["dW"][step] == pytest.approx(forward[0])
        pairs = zip(scene.nodes, numbers, strict=True)
        backward = [v for n, v in pairs if n.step == step and _op(n) == "matmul_tn"]
        assert sorted(forward) == pytest.approx(sorted(backward))
        if kind == "rnn":
            assert forward[1] == pytest.approx(net.expected["dU"][step])


def test_saturation_is_counted(unroll: bool) -> None:
    net = Net("lstm", unroll=unroll, forget_bias=3.0)
    _, scene, numbers = net.measured("saturation")
    found = [gates(scene, numbers, step)["f"] for step in range(STEPS)]
    assert found == pytest.approx(list(net.expected["sat f"]))
    assert 5 < np.mean(net.expected["sat f"]) < 95
    assert scene.overlays[0].high == 100


@pytest.mark.parametrize(
    ("name", "share"), [("relu", 50), ("relu6", 75), ("hard_tanh", 50), ("softsign", 0)]
)
def test_saturation_of_other_activations(name: str, share: float) -> None:
    x = gn.input("x", shape=(4,))
    y = getattr(gn, name)(x)
    (found,) = measure(y, [np.array([-2.0, -0.1, 0.5, 9.0], "float32")], "saturation")
    assert found.of(y) == share


def test_the_gradient_vanishes_in_a_simple_net_and_not_in_an_lstm() -> None:
    ratios = {}
    for kind, options in (("rnn", {}), ("lstm", {"forget_bias": 5.0})):
        net = Net(kind, unroll=False, **options)
        found, _, _ = net.measured("gradient norm")
        (scan,) = (node for node in gn.Graph((), (net.loss,)).nodes if node.op.name == "scan")
        state = scan.attrs["body"].outputs[-2 if kind == "lstm" else 0]
        (norms,) = found.of(state, scan)
        assert norms.shape == (STEPS,)
        ratios[kind] = norms[0] / norms[-1]
    assert ratios["rnn"] < 1e-3
    assert ratios["lstm"] > 0.3


def test_numbers_are_the_same_whichever_steps_are_drawn() -> None:
    net = Net("lstm", unroll=False)
    (found,) = measure(net.graph, [net.feed], "value norm")
    by_box: list[dict[Subject | None, float | None]] = []
    for steps in ("all", 2):
        scene = gn.render(net.graph, overlay=found, steps=steps).scene
        numbers = scene.overlays[0].frames[0].values
        by_box.append(dict(zip((n.subject for n in scene.nodes), numbers, strict=True)))
    whole, window = by_box
    shown = [subject for subject in window if subject is not None and subject.steps]
    assert len(shown) > 100
    for subject in shown:
        assert window[subject] == whole[subject] is not None
    subject = next(each for each in shown if each.steps[0][1] == 19)
    assert window[subject] != whole[Subject(subject.node, ((subject.steps[0][0], 18),))]


def test_values_in_a_scan_within_a_scan() -> None:
    x = gn.input("x", shape=(3, 5, 2), dtype="float64")
    w = gn.parameter(drawn(2, seed=1), name="w", dtype="float64")

    def inner(total: Node, row: Node) -> tuple[Node, Node]:
        after = gn.tanh(total * w + row)
        return after, after

    def outer(total: Node, rows: Node) -> tuple[Node, Node]:
        last, _ = gn.scan(inner, total, rows)
        return last, last

    last, _ = gn.scan(outer, gn.zeros(2, "float64"), x)
    loss = gn.sum(last**2)
    feed = drawn(3, 5, 2)
    values, gradients, shares = measure(
        loss, [feed], ["value norm", "gradient norm", "share of dW"]
    )
    (scan,) = (node for node in gn.Graph((), (loss,)).nodes if node.op.name == "scan")
    (within,) = (node for node in scan.attrs["body"].nodes if node.op.name == "scan")
    (after,) = (node for node in within.attrs["body"].nodes if node.op.name == "tanh")
    (times,) = (node for node in within.attrs["body"].nodes if node.op.name == "multiply")
    states = [np.zeros(2)]
    for row in feed.reshape(15, 2):
        states.append(np.tanh(states[-1] * w.value + row))
    assert values.of(after, scan, within)[0] == pytest.approx(
        np.array([norm(each) for each in states[1:]]).reshape(3, 5)
    )
    dh, norms, parts = 2 * states[-1], [], []
    for number in reversed(range(15)):
        dz = dh * (1 - states[number + 1] ** 2)
        norms.insert(0, norm(dh))
        parts.insert(0, dz * states[number])
        dh = dz * w.value
    assert gradients.of(after, scan, within)[0] == pytest.approx(np.array(norms).reshape(3, 5))
    expected = 100 * np.array([norm(each) for each in parts]) / norm(sum(parts))
    assert shares.of(times, scan, within)[0] == pytest.approx(expected.reshape(3, 5))


def test_gradients_end_where_a_truncation_cuts_them() -> None:
    net = Net("rnn", unroll=False, truncate=5)
    (found,) = measure(net.graph, [net.feed], "gradient norm")
    (scan,) = (node for node in gn.Graph((), (net.loss,)).nodes if node.op.name == "scan")
    (after,) = (node for node in scan.attrs["body"].nodes if node.op.name == "tanh")
    (norms,) = found.of(after, scan)
    assert norms[-5:] == pytest.approx(net.expected["h"][-5:])
    assert not norms[:-5].any()


def test_tiny_gradients_in_single_precision_are_not_zero() -> None:
    x = gn.input("x", shape=(3,))
    (found,) = measure(gn.sum(x * 1e-30), [np.ones(3, "float32")], "gradient norm")
    assert found.of(x)[0] == pytest.approx(np.sqrt(3) * 1e-30)


# ----------------------------------------------------------------------------- NaN and infinities


def test_the_first_nan_is_named() -> None:
    x = gn.input("x", shape=(STEPS, 2))
    last, _ = gn.scan(lambda h, row: (gn.log(h + row), None), gn.ones(2), x)
    feed = np.full((STEPS, 2), 30.0, "float32")
    feed[7, 0] = -50.0
    graph = gn.Graph((x,), (last,))
    (found,) = measure(graph, [feed], "non-finite")
    picture = gn.render(graph, overlay=found, steps="all")
    scene = picture.scene
    numbers = scene.overlays[0].frames[0].values
    assert scene.overlays[0].frames[0].label == "first in log, step 7"
    bad = {node.step for node, number in zip(scene.nodes, numbers, strict=True) if number}
    assert min(step for step in bad if step is not None) == 7
    assert boxes(scene, list(numbers), 7, "log") == [50.0]
    assert boxes(scene, list(numbers), 6, "log") == [None]
    (fine,) = measure(graph, [np.full((STEPS, 2), 30.0, "float32")], "non-finite")
    assert gn.render(graph, overlay=fine).scene.overlays[0].frames[0].label == "none"


# ------------------------------------------------------------------------------- how it is called


def test_feeds_by_position_name_and_node_are_the_same() -> None:
    x, y = gn.input("x", shape=("batch", 2)), gn.input("y", shape=("batch", 2))
    graph = gn.Graph((y, x), (gn.sum(x * y),))
    values = np.ones((5, 2), "float32"), np.full((5, 2), 2.0, "float32")
    forms: list[Any] = [[values[1], values[0]], dict(zip("xy", values, strict=True))]
    forms.append({x: values[0], y: values[1]})
    for feeds in forms:
        (found,) = measure(graph, feeds, "value norm")
        assert found.of(y)[0] == pytest.approx(norm(values[1]))
    with pytest.raises(FeedError):
        measure(graph, {x: values[0]}, "value norm")


def test_measuring_leaves_the_random_stream_alone() -> None:
    x = gn.input("x", shape=(50,))
    y = gn.nn.Dropout(0.5)(x)
    program = gn.compile(x, y)
    feed = np.ones(50, "float32")
    gn.seed(3)
    expected = [program(feed) for _ in range(2)]
    gn.seed(3)
    first = program(feed)
    measure(y, [feed], "value norm")
    assert np.array_equal([first, program(feed)], expected)


def test_a_program_and_a_graph_without_gradients_are_measured() -> None:
    x, w = gn.input("x", shape=(4, 3)), gn.parameter(np.ones((3, 2), "float32"), name="w")
    loss = gn.mean(gn.tanh(x @ w) ** 2)
    program = gn.compile(x, loss, updates={w: w - 0.1 * gn.grad(loss, w)})
    feed = np.ones((4, 3), "float32")
    before = w.value.copy()
    (of_program,) = measure(program, [feed], "gradient norm")
    assert np.array_equal(w.value, before)
    (of_loss,) = measure(loss, [feed], "gradient norm")
    assert of_program.of(w) == of_loss.of(w) > 0


def test_mistakes_say_what_to_do() -> None:
    x = gn.input("x", shape=(3,))
    y = gn.exp(x)
    feed = [np.ones(3, "float32")]
    with pytest.raises(ArgumentError, match=r"no measure 'gradients'(?s:.*)'gradient norm'"):
        measure(y, feed, "gradients")
    with pytest.raises(RenderError, match=r"no output is one real number(?s:.*)loss=loss"):
        measure(y, feed, "gradient norm")
    (found,) = measure(y, feed, "gradient norm", loss=gn.sum(y))
    assert found.of(y)[0] == pytest.approx(np.sqrt(3))
    with pytest.raises(RenderError, match="cannot measure int"):
        measure(3)
    other = gn.cos(gn.input("z", shape=(3,)))
    with pytest.raises(
        RenderError, match=r"nothing in the picture has a number(?s:.*)the same graph"
    ):
        gn.render(other, overlay=found)
    with pytest.raises(RenderError, match="str is no overlay"):
        gn.render(y, overlay=["gradient norm"])
    overlay = found.on(gn.render(y).scene)
    with pytest.raises(RenderError, match="is for 2 boxes, and there are 3"):
        gn.render(gn.sin(y), overlay=overlay)


def test_a_measurement_is_told_in_a_line() -> None:
    (found,) = measure(gn.tanh(gn.input("x", shape=(3,))), [np.ones(3, "float32")], "value norm")
    assert repr(found) == f"<Measurement {found.title!r}: 2 values, 1 moment>"
