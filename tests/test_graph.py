"""Graphs: order, text, networkx, replacement."""

import networkx
import pytest

import graphnn as gn
from graphnn.core.graph import as_graph, topological_order


@pytest.fixture
def small():
    """A graph with names, a parameter, a constant and a shared node."""
    x = gn.input("x", shape=("batch", 3))
    w = gn.parameter([[1.0], [2.0], [3.0]], name="w")
    h = gn.tanh(x @ w).named("h")
    return gn.Graph((x,), (gn.sum(h * h + 1.0, axis=0), h))


def test_text_reads_like_code(small):
    assert str(small) == (
        "graph(x: f32[batch, 3]) {\n"
        "  w: f32[3, 1] = parameter()\n"
        "  %1: f32[batch, 1] = matmul(x, w)\n"
        "  h: f32[batch, 1] = tanh(%1)\n"
        "  %2: f32[batch, 1] = multiply(h, h)\n"
        "  %3: f32[batch, 1] = add(%2, 1.0)\n"
        "  %4: f32[1] = sum(%3, axes=(0,))\n"
        "  return %4, h\n"
        "}"
    )
    lines = small.text(sources=True).splitlines()
    assert "test_graph.py:" in lines[2]


def test_names_in_text_are_unique_and_on_one_line():
    x, y = gn.input("a\nb", shape=()), gn.input("a\nb", shape=())
    text = str(gn.Graph((x, y), (x + y,)))
    assert text.splitlines()[0] == "graph(a\\nb: f32[], a\\nb#2: f32[]) {"


def test_a_users_name_may_look_like_a_number_of_ours():
    x = gn.input("x", shape=(2,))
    y = gn.exp(x).named("%1") + gn.tanh(x)
    defined = [line.split(":")[0].strip() for line in str(gn.Graph((x,), (y,))).splitlines()[1:-2]]
    assert len(defined) == len(set(defined)) == 3


def test_order_puts_inputs_first_and_is_deterministic(small):
    position = {node: index for index, node in enumerate(small.nodes)}
    for node in small.nodes:
        assert all(position[each] < position[node] for each in node.inputs)
    assert tuple(topological_order(small.outputs)) == small.nodes
    assert len(set(small.nodes)) == len(small.nodes)


def test_order_stops_at_a_boundary(small):
    h = small.outputs[1]
    order = topological_order(small.outputs, {h})
    assert h not in order
    assert small.inputs[0] not in order
    assert order[-1] is small.outputs[0]


def test_users(small):
    (x,), (_, h) = small.inputs, small.outputs
    assert [node.op.name for node in small.users[h]] == ["multiply"]
    assert [node.op.name for node in small.users[x]] == ["dot_general"]


def test_networkx(small):
    exported = small.to_networkx()
    assert networkx.is_directed_acyclic_graph(exported)
    assert exported.number_of_nodes() == len(small.nodes)
    labels = networkx.get_node_attributes(exported, "label")
    square = next(number for number, label in labels.items() if label == "multiply")
    assert [data["position"] for *_, data in exported.in_edges(square, data=True)] == [0, 1]
    names = set(networkx.get_node_attributes(exported, "name").values())
    assert {"x", "w", "h"} <= names


def test_substitute(small):
    h = small.outputs[1]
    y = gn.input("y", shape=h.shape)
    replaced = small.substitute({h: y})
    assert replaced.outputs[1] is y
    assert replaced.outputs[0] is gn.sum(y * y + 1.0, axis=0)
    assert small.substitute({y: h}) is small


def test_a_map_that_changes_nothing_gives_the_same_object(small):
    assert small.map(lambda node, inputs: node) is small


def test_graphs_are_frozen_and_hold_nodes_alone(small):
    with pytest.raises(AttributeError):
        small.outputs = ()
    with pytest.raises(TypeError, match="holds nodes, not int"):
        gn.Graph((), (1,))
    assert repr(small) == f"<Graph 1 input, {len(small.nodes)} nodes, 2 outputs>"


def test_inputs_are_found(small):
    assert as_graph(small.outputs[0]).inputs == small.inputs
    assert as_graph(small.outputs, small.inputs).inputs == small.inputs
