"""Graphs in files: what comes back is what was saved, and nothing else is believed."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import main_dtype
from drawing import draw, drawable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import Recipe, build, recipes

import graphnn as gn
from graphnn.cli.main import main
from graphnn.core.dims import as_size
from graphnn.core.errors import CheckpointError, UnsupportedOpError
from graphnn.core.graph import topological_order
from graphnn.core.node import Node, make_node
from graphnn.core.structure import flatten
from graphnn.io import limits
from graphnn.io.graphs import _TABLE
from graphnn.io.tensors import decode, encode
from graphnn.ops.contract import OPERATIONS
from graphnn.viz.picture import Picture

in_ci = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture
def there_and_back(tmp_path: Path) -> Callable[[gn.Graph], gn.Graph]:
    def pass_through(graph: gn.Graph) -> gn.Graph:
        gn.io.save_graph(tmp_path / "a.gng", graph)
        return gn.io.load_graph(tmp_path / "a.gng")

    return pass_through


def assert_same(one: gn.Graph, other: gn.Graph) -> None:
    """Equal operators, attributes, specs, names and records, node by node, in bodies too."""
    pairs = [(one, other)]
    while pairs:
        before, after = pairs.pop()
        numbers = [
            {node: i for i, node in enumerate(topological_order((*g.inputs, *g.outputs)))}
            for g in (before, after)
        ]
        ends = [
            [[number[each] for each in group] for group in (g.inputs, g.outputs)]
            for g, number in zip((before, after), numbers, strict=True)
        ]
        assert ends[0] == ends[1]
        for old, new in zip(*numbers, strict=True):
            reads = [
                [number[each] for each in node.inputs]
                for node, number in zip((old, new), numbers, strict=True)
            ]
            assert reads[0] == reads[1]
            assert (old.op, old.spec, old.spec.weak) == (new.op, new.spec, new.spec.weak)
            assert attributes(old) == attributes(new)
            if old is new:  # what depends on no input is one node for all graphs of a process
                continue
            known, told = gn.provenance(old), gn.provenance(new)
            assert [*map(str, known.sources)] == [*map(str, told.sources)]
            same = ("names", "scope", "step", "role", "made_by")
            assert [getattr(known, each) for each in same] == [getattr(told, each) for each in same]
            origins = [
                number.get(each.origin) if each.origin is not None else None
                for each, number in zip((known, told), numbers, strict=True)
            ]
            assert origins[0] == origins[1]
            pairs += [(old.attrs[body], new.attrs[body]) for body in old.op.body_attrs]


def attributes(node: Node) -> str:
    """All but the number that makes a leaf new, and bodies; arrays with all their elements."""
    skipped = ("number", *node.op.body_attrs) if node.op.is_source else node.op.body_attrs
    return repr({name: _plain(each) for name, each in node.attrs.items() if name not in skipped})


def _plain(value: Any) -> Any:
    array = getattr(value, "array", None)
    return value if array is None else (array.dtype, array.shape, array.tobytes())


# --------------------------------------------------------------------------------- there and back


def test_every_operator_comes_back(there_and_back: Callable[[gn.Graph], gn.Graph]) -> None:
    """The first rows of every operation of the table, as one graph."""
    inputs: list[Node] = []
    outputs: list[Node] = []
    refused = []
    for operation in OPERATIONS.values():
        dtype = main_dtype(operation)
        for case in drawable(operation, dtype)[:3]:
            drawn = draw(case.sample, dtype, case.generator())
            given = drawn.inputs(str(case))
            made = [
                each
                for each in flatten(drawn.call(operation.function, given))
                if isinstance(each, Node)
            ]
            is_code = any(each.op.name == "custom_derivative" for each in topological_order(made))
            if is_code:
                refused.append(made)
                continue
            inputs += given
            outputs += made
    graph = gn.Graph(tuple(inputs), tuple(outputs))
    assert len({node.op for node in graph.nodes}) > 150
    assert_same(graph, there_and_back(graph))
    assert refused
    for each in refused:
        with pytest.raises(UnsupportedOpError, match="is Python code"):
            there_and_back(gn.Graph((), tuple(each)))


def test_random_graphs_come_back(there_and_back: Callable[[gn.Graph], gn.Graph]) -> None:
    @settings(in_ci, max_examples=60)
    @given(recipes)
    def check(recipe: Recipe) -> None:
        made = build(recipe, "float32", "float32")
        graph = gn.Graph(tuple(made.inputs), (*made.outputs, *made.updates.values()))
        loaded = there_and_back(graph)
        assert_same(graph, loaded)

    check()


def recurrent() -> gn.Graph:
    """A truncated LSTM in a name scope, with a cond, a while loop, and its gradients."""
    x = gn.input("x", shape=(5, "batch", 3))
    net = gn.nn.LSTM(3, 4, rng=np.random.default_rng(0))
    with gn.name_scope("all"):
        states = net(x)
        loss = gn.mean(states**2).named("loss")
        large = gn.cond(loss > 1.0, lambda v: v * 2.0, lambda v: v + 1.0, loss)
        halved = gn.while_loop(lambda v: v > 0.5, lambda v: v / 2.0, large)
    return gn.Graph((x,), (loss, halved, *gn.grad(loss, net.parameters())))


def results(graph: gn.Graph, *feeds: Any) -> list[np.ndarray]:
    program = gn.compile(graph.inputs, graph.outputs, native="never")
    return [np.asarray(each) for each in program(*feeds)]


def test_a_loaded_graph_computes_and_looks_the_same(
    there_and_back: Callable[[gn.Graph], gn.Graph],
) -> None:
    graph = recurrent()
    loaded = there_and_back(graph)
    assert_same(graph, loaded)
    assert str(loaded) == str(graph)
    feed = np.random.default_rng(1).normal(size=(5, 2, 3)).astype(np.float32)
    for one, other in zip(results(graph, feed), results(loaded, feed), strict=True):
        np.testing.assert_array_equal(one, other)
    pictures = [gn.render(each, steps=2) for each in (graph, loaded)]
    assert all(isinstance(each, Picture) for each in pictures)
    assert pictures[0].svg == pictures[1].svg


def test_a_loaded_graph_has_parameters_of_its_own(tmp_path: Path) -> None:
    w = gn.parameter(np.float32([1, 2]), "w", trainable=False)
    gn.io.save_graph(tmp_path / "a.gng", gn.Graph((), (w * 2.0,)))
    w.value = [5, 5]
    loaded = gn.io.load_graph(tmp_path / "a.gng")
    (again,) = (node for node in loaded.nodes if isinstance(node, gn.Parameter))
    assert again is not w
    assert again.name == "w"
    assert not again.trainable
    np.testing.assert_array_equal(again.value, np.float32([1, 2]))
    (gradient,) = gn.grad(gn.sum(loaded.outputs[0]), [again])
    np.testing.assert_array_equal(results(gn.Graph((), (gradient,)))[0], [2, 2])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, -0.0, 1e-300, 3 + 4j, True, 2**62])
def test_numbers_come_back_bit_by_bit(
    value: Any, there_and_back: Callable[[gn.Graph], gn.Graph]
) -> None:
    graph = gn.Graph((), (gn.constant(np.asarray(value)),))
    (node,) = there_and_back(graph).outputs
    assert node.attrs["value"].array.tobytes() == np.asarray(value).tobytes()


def test_a_long_chain_comes_back(there_and_back: Callable[[gn.Graph], gn.Graph]) -> None:
    node = x = gn.input("x", shape=(2,))
    for _ in range(10_000):
        node = gn.tanh(node)
    assert len(there_and_back(gn.Graph((x,), (node,))).nodes) == 10_001


def test_sizes_and_names_come_back(there_and_back: Callable[[gn.Graph], gn.Graph]) -> None:
    x = gn.input('"x"\n</script>', shape=("batch", "time", 4))
    y = gn.reshape(x, (x.shape[0] * x.shape[1], 4))
    odd = gn.concatenate([y, y], axis=0)[::3]
    loaded = there_and_back(gn.Graph((x,), (odd,)))
    assert loaded.outputs[0].shape == odd.shape
    assert loaded.inputs[0].name == x.name


# ------------------------------------------------------------------------------------ hostile files


def written(path: Path, graph: gn.Graph, change: Callable[[Any], Any]) -> None:
    """A graph's file with another table, whose checksums are right."""
    gn.io.save_graph(path, graph)
    decoded = decode("", path.read_bytes())
    table = json.loads(decoded.texts[_TABLE])
    table = change(table) or table
    path.write_bytes(encode(decoded.tensors, {_TABLE: json.dumps(table)}))


def _set(place: Sequence[Any], value: Any) -> Callable[[Any], None]:
    def change(table: Any) -> None:
        for each in place[:-1]:
            table = table[each]
        table[place[-1]] = value

    return change


def _input_of(shape: list[Any]) -> Callable[[Any], None]:
    return _set(["nodes", 0, "attrs", "spec"], {"spec": [shape, "float32", False]})


HOSTILE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no table": (lambda table: [1], "no table of nodes"),
    "another format": (_set(["format"], 7), "format 7"),
    "an unknown operator": (_set(["nodes", -1, "op"], "system"), "no operator is called 'system'"),
    "an operator that is none": (_set(["nodes", -1, "op"], ["tanh"]), "cannot be built"),
    "reads itself": (_set(["nodes", -1, "reads"], [99]), "cannot be built"),
    "reads from behind": (_set(["nodes", -1, "reads"], [-1]), "cannot be built"),
    "too few operands": (_set(["nodes", -1, "reads"], []), "cannot be built"),
    "unknown attributes": (_set(["nodes", -1, "attrs"], {"rm": 1}), "cannot be built"),
    "another shape": (_set(["nodes", -1, "spec"], "f32[9]"), "is said to be f32"),
    "an unknown kind": (_set(["nodes", -1, "attrs"], {"a": {"code": "1"}}), "cannot be built"),
    "a role": (_set(["nodes", -1, "role"], "root"), "cannot be built"),
    "an array that is not there": (_set(["nodes", 1, "attrs", "value"], "77"), "cannot be built"),
    "a negative size": (
        _set(["nodes", 0, "attrs", "spec"], {"spec": [[-1], "float32", 0]}),
        "no sh",
    ),
    "a dtype": (_set(["nodes", 0, "attrs", "spec"], {"spec": [[1], "object", 0]}), "cannot be"),
    "outputs": (_set(["outputs"], [10**9]), "no table of nodes"),
    "origin": (_set(["nodes", -1, "origin"], "x"), "no table of nodes"),
    "a number of 4,000 digits": (_input_of([10**4000]), "more than 64 bits"),
    "more elements than any memory has": (_input_of([2**31, 2**31]), r"more than 2\*\*60 elements"),
    "very many axes": (_input_of([1] * 100_000), "100,000 axes"),
    "a size of many terms": (
        _input_of([{"dim": [[[f"n{i}"], 1] for i in range(200_000)]}]),
        "more than 100 terms",
    ),
    "a product of very many names": (_input_of([{"dim": [[["n"] * 20_000, 1]]}]), "100 terms"),
    "names without end": (
        _set(["nodes", -1, "names"], [f"n{i}" for i in range(10**6)]),
        "more than 1,000,000 characters",
    ),
    "a long name": (_set(["nodes", -1, "names"], ["n" * 10**7]), "more than 1,000,000 characters"),
    "a long line": (
        _set(["nodes", -1, "lines"], [["a" * 10**7, 1, "f"]]),
        "more than 1,000,000 characters",
    ),
    "very many lines": (_set(["nodes", -1, "lines"], [["a.py", 1, "f"]] * 101), "101 lines"),
    "a deep scope": (_set(["nodes", -1, "scope"], "a/" * 50_000), "scopes of more than 100 levels"),
}
"""Changes of the table of a small graph, and what is said of them."""


def small() -> gn.Graph:
    x, w = gn.input("x", shape=(2, 3)), gn.parameter(np.ones((3, 2), np.float32), "w")
    return gn.Graph((x,), (gn.tanh(x @ w),))


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_tables_are_refused(tmp_path: Path, what: str) -> None:
    change, words = HOSTILE[what]
    written(tmp_path / "a.gng", small(), change)
    with pytest.raises(CheckpointError, match=words):
        gn.io.load_graph(tmp_path / "a.gng")


def loops_in_loops(levels: int) -> gn.Graph:
    """A scan whose body runs two scans whose bodies do, and so on."""
    h = gn.input("h", shape=(2,))
    carry, _ = gn.scan(lambda c, _: (gn.tanh(c), c), h, length=3)
    (scan,) = (node for node in gn.Graph((h,), (carry,)).nodes if node.op.name == "scan")
    attrs = dict(scan.attrs)
    for _ in range(levels):
        c = given = gn.input("c", shape=(2,))
        for _ in range(2):
            c = gn.project(make_node(scan.op, (c,), attrs), 0)
        results = (c,) * len(attrs["body"].outputs)
        attrs["body"] = gn.Graph((given,), results)
    return gn.Graph((h,), (gn.project(make_node(scan.op, (h,), attrs), 0),))


def test_loops_that_hold_too_much_are_refused(tmp_path: Path) -> None:
    gn.io.save_graph(tmp_path / "a.gng", loops_in_loops(3))
    assert gn.io.load_graph(tmp_path / "a.gng").nodes
    too_much = loops_in_loops(20)
    with pytest.raises(CheckpointError, match=r"bodies with .* nodes in .* levels"):
        gn.io.save_graph(tmp_path / "a.gng", too_much)
    with pytest.MonkeyPatch.context() as patch:  # a file of somebody who has no such limits
        patch.setattr(limits, "MOST_OPENED", 10**20)
        gn.io.save_graph(tmp_path / "a.gng", too_much)
    with pytest.raises(CheckpointError, match=r"bodies with .* nodes in .* levels"):
        gn.io.load_graph(tmp_path / "a.gng")


def in_scopes(levels: int) -> Node:
    with ExitStack() as stack:
        for _ in range(levels):
            stack.enter_context(gn.name_scope("s"))
        return gn.input("x", (2,)) * 2.0


def size_of(terms: int) -> Any:
    return sum((as_size(f"n{each}") for each in range(terms)), start=as_size(1))


AT_THE_LIMIT: dict[str, tuple[Callable[[int], Node], int, str]] = {
    "characters": (lambda n: (gn.input("x", (2,)) * 2.0).named("n" * n), 999_000, "characters"),
    "scopes": (in_scopes, 100, "scopes of more than 100 levels"),
    "axes": (lambda n: gn.input("x", (1,) * n), 64, "an array of 65 axes"),
    "elements": (lambda n: gn.input("x", (2**59, n)), 2, "more than 2\\*\\*60 elements"),
    "terms": (lambda n: gn.input("x", (size_of(n),)), 99, "more than 100 terms"),
    "bits": (lambda n: gn.input("x", (as_size("n") * (2**n - 1),)), 64, "more than 64 bits"),
}
"""A graph by the number that is bounded, the most that it may be, and what is said of more."""


@pytest.mark.parametrize("what", AT_THE_LIMIT)
def test_what_is_saved_is_read_and_more_is_refused_before(tmp_path: Path, what: str) -> None:
    build_with, most, words = AT_THE_LIMIT[what]
    path = tmp_path / "a.gng"
    gn.io.save_graph(path, build_with(most))
    assert gn.io.load_graph(path).outputs
    before = path.read_bytes()
    more = most + (1_001 if what == "characters" else 1)
    with pytest.raises(CheckpointError, match=rf"(?s)cannot be saved: .*{words}.*hint: "):
        gn.io.save_graph(path, build_with(more))
    assert path.read_bytes() == before


def test_one_gradient_of_very_many_weights_is_read_again(there_and_back) -> None:
    x = gn.input("x", (2, 4))
    biases = [gn.parameter(np.zeros(4, np.float32), f"b{i}") for i in range(300)]
    y = x
    for each in biases:
        y = y + each
    y = y.named("y")
    for number in range(300):
        y.named(f"also{number}")
    graph = gn.Graph((x,), (y, *gn.grad(gn.sum(y), biases)))
    again = there_and_back(graph)
    assert gn.provenance(again.outputs[0]).names == gn.provenance(y).names
    assert len(gn.provenance(again.outputs[1]).gradient_of) == 300
    assert_same(graph, again)


X = gn.input("x", (6, 6))
IMAGE = gn.input("image", (1, 1, 6, 6))
TOLD: dict[str, tuple[Node, list[Any], Any, str]] = {
    "an axis from behind": (gn.cumsum(X, 0), ["attrs", "axis"], -1, "are no axes"),
    "an axis twice": (gn.sum(X, (0, 1)), ["attrs", "axes"], [1, 1], "are no axes"),
    "a stride": (gn.conv(IMAGE, IMAGE), ["attrs", "stride"], [0, 1], "goes nowhere"),
    "a step": (X[::2], ["attrs", "step"], [-2, 1], "goes nowhere"),
    "a window beyond its array": (
        gn.patches(IMAGE, 2),
        ["attrs", "window", "Window", 4],
        [1000, 0],
        "would leave the array",
    ),
    "rows that end elsewhere": (
        gn.csr_matmul([1.0, 2.0], [0, 5], [0, 2], X, shape=(1, 6)),
        ["attrs", "pattern", "Pattern", 1, "array"],
        "1",  # where the columns are
        "no pattern of a sparse matrix",
    ),
}
"""What an operator is told, another value for it, and what is said of that."""


@pytest.mark.parametrize("what", TOLD)
def test_operators_are_told_what_public_functions_tell(tmp_path: Path, what: str) -> None:
    node, place, value, words = TOLD[what]

    def change(table: Any) -> None:
        nodes = enumerate(table["nodes"])
        (number,) = (n for n, each in nodes if place[1] in each.get("attrs", {}))
        _set(["nodes", number, *place], value)(table)

    written(tmp_path / "a.gng", gn.Graph((), (node,)), change)
    with pytest.raises(CheckpointError, match=words):
        gn.io.load_graph(tmp_path / "a.gng")


JUNK = st.sampled_from(
    [None, -1, 10**30, 0.5, "", "x", [], [[]], [-1], {}, {"dtype": "x"}, {"array": "0"}, True]
)


def test_random_changes_are_read_or_refused(tmp_path: Path) -> None:
    """Whatever stands in a table, there is a graph that can be drawn, or a word about the file."""
    path, graph = tmp_path / "a.gng", gn.Graph((), recurrent().outputs)
    gn.io.save_graph(path, graph)
    decoded = decode("", path.read_bytes())
    text = decoded.texts[_TABLE]
    counts = {"read": 0, "refused": 0}

    @settings(in_ci, max_examples=80)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        table = json.loads(text)
        place: Any = table
        keys: list[Any] = []
        while isinstance(place, dict | list) and place:
            if len(keys) > 1 and data.draw(st.booleans()):
                break
            options = list(place) if isinstance(place, dict) else range(len(place))
            keys.append(data.draw(st.sampled_from(options)))
            place = place[keys[-1]]
        _set(keys, data.draw(JUNK))(table)
        path.write_bytes(encode(decoded.tensors, {_TABLE: json.dumps(table)}))
        try:
            loaded = gn.io.load_graph(path)
        except CheckpointError:
            counts["refused"] += 1
        else:
            counts["read"] += 1
            str(loaded)

    check()
    assert min(counts.values()) > 3


def test_files_that_are_cut_or_changed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gng"
    gn.io.save_graph(path, small())
    whole = path.read_bytes()
    places = range(0, len(whole), 9)
    flipped = [whole[:n] + bytes([whole[n] ^ 4]) + whole[n + 1 :] for n in places]
    for content in (b"", whole[:50], whole[:-3], whole.replace(b"tanh", b"sinh"), *flipped):
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            gn.io.load_graph(path)
    gn.io.save_weights(path, {"w": np.ones(2)})
    with pytest.raises(CheckpointError, match="no graph in it"):
        gn.io.load_graph(path)
    with pytest.raises(CheckpointError, match="is not there"):
        gn.io.load_graph(tmp_path / "b.gng")


# ------------------------------------------------------------------------------ the command line


def test_the_command_line_draws_a_saved_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    graph = recurrent()
    gn.io.save_graph("net.gng", graph)
    assert main(["render", "net.gng", "--steps", "2", "--title", "a"]) == 0
    picture = gn.render(graph, steps=2, title="a")
    assert isinstance(picture, Picture)
    assert Path("net.svg").read_text("utf-8") == picture.svg
    assert main(["render", "net.gng", "--list"]) == 0
    assert "graph    Graph 1 input" in capsys.readouterr().out
    gn.io.save("run.ckpt", epoch=7)
    assert main(["render", "run.ckpt"]) == 1
    assert "gn.io.save_graph writes one" in capsys.readouterr().err


MEASURED = """
import numpy as np
import graphnn as gn

x = gn.input("x", shape=(3,))
loss = gn.sum(gn.tanh(x))
norms = gn.viz.measure(loss, [np.ones(3, np.float32)], "value norm")
"""


def test_the_command_line_takes_an_overlay_of_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(MEASURED, "utf-8")
    assert main(["render", "net.py:loss", "--overlay", "norms", "-o", "net.json"]) == 0
    (overlay,) = json.loads(Path("net.json").read_text())["scene"]["overlays"]
    assert overlay["title"] == "norm of the value"
    for name, words in (("nothing", "'nothing' is not there"), ("loss", "of type Node")):
        assert main(["render", "net.py:loss", "--overlay", name]) == 1
        assert words in capsys.readouterr().err
