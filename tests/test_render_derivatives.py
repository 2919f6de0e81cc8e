"""Local derivatives, written beside the gradients in pictures of small expressions."""

import numpy as np
import pytest
from drawn_models import labels, picture_of

import graphnn as gn
from graphnn.core.errors import RenderError
from graphnn.viz import render
from graphnn.viz.scene import Scene

# ---------------------------------------------------------------------------------- derivatives


def derivatives(y: gn.Node) -> tuple[Scene, dict[tuple[str, str], str]]:
    scene = picture_of(y, derivatives=True).scene
    named = [node.label.split(" = ")[0] for node in scene.nodes]
    return scene, {(named[e.source], named[e.target]): e.label for e in scene.edges}


def test_the_chain_rule_can_be_read() -> None:
    x = gn.input("x")
    scene, edges = derivatives(gn.exp(gn.sin(x)).named("y"))
    assert labels(scene) == ["x", "v1 = sin(x)", "y = exp(v1)"]
    assert edges == {("x", "v1"): "cos(x)", ("v1", "y"): "exp(v1)"}
    assert scene.nodes[0].detail == "∂y/∂x = exp(v1) · cos(x)"


X, U = gn.input("x"), gn.input("u")


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (gn.sigmoid(X), "y · (1 − y)"),
        (gn.tanh(X), "1 − y²"),
        (gn.relu(X), "[y > 0]"),
        (X * U, "u"),
        (X - 3, "1"),
        (U - X, "-1"),
        (X**3, "3 · x²"),
        (X * X, "x + x"),
        (gn.log(X), "1 / x"),
        (X / U, "1 / u"),
        (gn.square(X), "2 · x"),
        (gn.greater(X, 0), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_local_derivatives(y: gn.Node, expected: str) -> None:
    _, edges = derivatives(y.named("y"))
    assert edges["x", "y"] == expected


def test_several_ways_to_the_result_are_a_sum() -> None:
    x = gn.input("x")
    scene, _ = derivatives((gn.sin(x) * gn.cos(x)).named("y"))
    shown = scene.nodes[0].detail
    assert shown in (
        "∂y/∂x = v1 · (−sin(x)) + v2 · cos(x)",
        "∂y/∂x = v2 · cos(x) + v1 · (−sin(x))",
    )


def test_products_of_matrices_show_what_becomes_of_the_arriving_gradient() -> None:
    x, W = gn.input("x", (4, 3)), gn.parameter(np.ones((3, 2), np.float32), name="W")
    scene, edges = derivatives(gn.sum(x @ W).named("loss"))
    assert edges["x", "v1"] == "δ @ Wᵀ"
    assert edges["W", "v1"] == "xᵀ @ δ"
    assert edges["v1", "loss"] == "1"
    assert "v1 = x @ W" in labels(scene)


def test_local_derivatives_agree_with_gradients() -> None:
    x = gn.input("x", dtype="float64")
    y = gn.exp(gn.sin(x) * gn.tanh(x)).named("y")
    scene, _ = derivatives(y)
    names = {"sin": np.sin, "cos": np.cos, "exp": np.exp, "tanh": np.tanh, "x": 0.7}
    for node in scene.nodes:
        if " = " in node.label:
            name, text = node.label.split(" = ")
            names[name] = eval(text.replace("·", "*"), {}, names)
    text = scene.nodes[0].detail.split(" = ")[1]
    for before, after in (("·", "*"), ("−", "-"), ("²", "**2")):
        text = text.replace(before, after)
    expected = gn.compile(x, gn.grad(y, x))(np.float64(0.7))
    assert np.isclose(eval(text, {}, names), expected)


def test_derivatives_are_for_small_expressions() -> None:
    h = gn.input("x")
    for _ in range(80):
        h = gn.sin(h)
    with pytest.raises(RenderError, match="up to 60 boxes, this one has 81"):
        render(h, derivatives=True)


def test_long_formulas_are_shortened_and_long_products_left_out() -> None:
    x = gn.input("an input with quite a long name indeed")
    h = x
    for _ in range(12):
        h = gn.sin(h)
    scene = picture_of(h, derivatives=True).scene
    assert max(map(len, labels(scene))) <= 60
    assert max(len(node.detail) for node in scene.nodes) <= 80


def test_other_products_of_arrays_are_told_as_products_too() -> None:
    x, y = gn.input("x", (3,)), gn.input("y", (4,))
    A, B = gn.input("A", (2, 3, 4)), gn.input("B", (4, 5))
    W = gn.input("W", (3, 4))
    scene, edges = derivatives((W @ y).named("v"))
    assert (edges["W", "v"], edges["y", "v"]) == ("δ @ yᵀ", "Wᵀ @ δ")
    assert scene.title.endswith("(δ: the gradient that arrives)")
    assert labels(derivatives(gn.einsum("i,j->ij", x, y).named("v"))[0])[-1] == "v = x @ yᵀ"
    assert derivatives((A @ B).named("v"))[1]["B", "v"] == "Σ Aᵀ @ δ"
    product = gn.dot_general(A, gn.input("C", (4, 3, 6)), contract=((1,), (1,)))
    assert labels(derivatives(product.named("v"))[0])[-1] == "v = einsum(abc,dbe→acde; A, C)"


def test_factors_have_parentheses_where_a_reader_needs_them() -> None:
    a, b, c = (gn.input(name) for name in "abc")
    scene, _ = derivatives(gn.exp(gn.sin(a + b) / (b - c)).named("y"))
    told = {node.label.split(" = ")[0]: node.detail for node in scene.nodes}
    assert told["c"] == "∂y/∂c = exp(v4) · (−v4 / v3) · (-1)"
    assert told["a"] == "∂y/∂a = exp(v4) · (1 / v3) · cos(v1)"


def test_what_is_read_by_many_elements_adds_up_their_derivatives() -> None:
    x, b = gn.input("x", (5, 3)), gn.input("b", (3,))
    scene, _ = derivatives(gn.sum(gn.tanh(x + b)).named("y"))
    details = {node.label.split(" = ")[0]: node.detail for node in scene.nodes}
    assert details["x"].startswith("∂y/∂x = 1 − v2²")
    assert details["b"].startswith("∂y/∂b = Σ(1 − v2²)")
