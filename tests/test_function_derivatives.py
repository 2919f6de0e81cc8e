"""Derivatives of compiled functions, and functions of many examples.

A function of operators alone also runs on NumPy arrays: that is the oracle.
"""

from typing import Any

import numpy as np
import pytest
from traced import array, expect, on_each_backend

import graphnn as gn
from graphnn.core.structure import flatten

# -------------------------------------------------------------- derivatives and many examples


def squares(params: dict[str, Any], x: Any, t: Any) -> Any:
    """The loss of one example."""
    return gn.sum((gn.tanh(x @ params["w"]) + params["b"] - t) ** 2)


def example() -> tuple[dict[str, Any], Any, Any]:
    return {"w": array(3, 2), "b": array(2)}, array(5, 3), array(5, 2)


@on_each_backend
def test_gradients_of_each_example(backend):
    torch = pytest.importorskip("torch")
    params, x, t = example()

    def in_torch(params, x, t):
        return ((torch.tanh(x @ params["w"]) + params["b"] - t) ** 2).sum()

    tensors = {name: torch.tensor(each) for name, each in params.items()}
    expected = torch.func.vmap(torch.func.grad(in_torch), (None, 0, 0))(
        tensors, torch.tensor(x), torch.tensor(t)
    )
    each = gn.function(gn.vmap(gn.grad(squares), in_axes=(None, 0, 0)), backend=backend)
    found = each(params, x, t)
    assert list(found) == ["w", "b"]
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, expected[name].numpy(), rtol=2e-5, atol=1e-6)
    assert each.cache_size == 1
    # The same with the compiled function inside, and with parameters instead of arguments.
    inside = gn.vmap(gn.grad(gn.function(squares)), (None, 0, 0))
    stored = {name: gn.parameter(value) for name, value in params.items()}
    own = gn.vmap(lambda x, t: gn.grad(squares(stored, x, t), stored))
    for f, args in ((inside, (params, x, t)), (own, (x, t))):
        again = gn.function(f, backend=backend)(*args)
        for name in params:
            np.testing.assert_allclose(again[name], found[name], rtol=1e-6, atol=1e-7)


def test_gradients_of_each_example_of_a_model():
    model = gn.nn.Sequential(gn.nn.Dense(3, 4), gn.nn.Tanh(), gn.nn.Dense(4, 2))
    weights = list(model.parameters())
    x, t = array(6, 3), np.array([0, 1, 1, 0, 1, 0])

    def loss(x, t):
        return gn.losses.cross_entropy(model(x), t)

    each = gn.function(gn.vmap(lambda x, t: gn.grad(loss(x, t), weights)))(x, t)
    single = gn.function(lambda x, t: gn.grad(loss(x, t), weights))
    for i in range(6):
        for one, many in zip(single(x[i], t[i]), each, strict=True):
            np.testing.assert_allclose(many[i], one, rtol=1e-5, atol=1e-7)


@on_each_backend
def test_functions_of_derivatives_of_functions(backend):
    torch = pytest.importorskip("torch")
    w, x = array(3, 3, dtype="float64"), array(4, 3, dtype="float64")

    def f(x, w):
        return gn.tanh(x @ w) * x[0]

    def total(x, w):
        return gn.sum(f(x, w) ** 2)

    def in_torch(x, w):
        return torch.tanh(x @ w) * x[0]

    def total_in_torch(x, w):
        return (in_torch(x, w) ** 2).sum()

    tw, tx = torch.tensor(w), torch.tensor(x)
    func = torch.func
    for ours, theirs in (
        (gn.jacrev(f), func.jacrev(in_torch)),
        (gn.jacfwd(f), func.jacrev(in_torch)),
        (gn.jacobian(f, 1), func.jacrev(in_torch, 1)),
        (gn.hessian(total), func.jacrev(func.jacrev(total_in_torch))),
        (gn.grad(total, (0, 1)), func.grad(total_in_torch, (0, 1))),
        (gn.grad(total, 1), func.grad(total_in_torch, 1)),
    ):
        one = gn.function(ours, backend=backend)(x[0], w)
        many = gn.function(gn.vmap(ours, (0, None)), backend=backend)(x, w)
        expected = theirs(tx[0], tw)
        loop = func.vmap(theirs, (0, None))(tx, tw)
        assert isinstance(one, tuple) == isinstance(expected, tuple)
        for got, wanted in zip(flatten((one, many)), flatten((expected, loop)), strict=True):
            np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-9, atol=1e-12)
    value, slope = gn.function(gn.value_and_grad(total), backend=backend)(x[0], w)
    np.testing.assert_allclose(value, total_in_torch(tx[0], tw).numpy())
    np.testing.assert_allclose(slope, func.grad(total_in_torch)(tx[0], tw).numpy())
    # The gradient of a mean over examples, and tables of distances by two maps.
    mean = gn.function(gn.grad(lambda w, x: gn.mean(gn.vmap(total, (0, None))(x, w))))
    np.testing.assert_allclose(
        mean(w, x), func.vmap(func.grad(total_in_torch, 1), (0, None))(tx, tw).numpy().mean(0)
    )
    table = gn.function(gn.vmap(gn.vmap(lambda a, b: gn.sum((a - b) ** 2), (None, 0)), (0, None)))
    np.testing.assert_allclose(table(x, w), ((x[:, None] - w[None]) ** 2).sum(-1))


def test_static_arguments_inside_derivatives():
    @gn.function(static_argnames="n")
    def power(x, n):
        assert isinstance(n, int)
        return gn.sum(x**n)

    x = array(3)
    expect(gn.function(gn.grad(power), static_argnames="n")(x, n=3), 3 * x**2)
    many = gn.function(gn.vmap(gn.grad(power), (0, None)), static_argnames="n")
    expect(many(array(2, 3) * 0 + 2, 3), np.full((2, 3), 12, "float32"))
    assert many.cache_size == 1


def test_what_is_handed_on_beside_a_derivative():
    def loss(w, x):
        y = x @ w
        return gn.sum(y**2), {"y": y, "n": None, "rate": 2}

    w, x = array(2, dtype="float64"), array(3, 2, dtype="float64")
    expected = 2 * x.T @ (x @ w)
    gradient, aux = gn.function(gn.grad(loss, has_aux=True))(w, x)
    np.testing.assert_allclose(gradient, expected)
    np.testing.assert_allclose(aux["y"], x @ w)
    assert (aux["n"], aux["rate"]) == (None, 2)
    (value, aux), gradient = gn.function(gn.value_and_grad(loss, has_aux=True))(w, x)
    np.testing.assert_allclose(value, ((x @ w) ** 2).sum())
    np.testing.assert_allclose(gradient, expected)
    np.testing.assert_allclose(aux["y"], x @ w)
    rows, aux = gn.function(gn.vmap(gn.grad(loss, has_aux=True), (None, 0)))(w, x[:, None])
    np.testing.assert_allclose(rows.sum(0), expected)
    assert aux["y"].shape == (3, 1)
    with pytest.raises(gn.ArgumentError, match="<lambda> gives a pair, not <Node"):
        gn.grad(lambda w: gn.sum(w), has_aux=True)(w)
    with pytest.raises(gn.ArgumentError, match=r"0 arguments[\s\S]*give w, x by position"):
        gn.grad(loss)(w=w, x=x)
    x = gn.input("x", ())
    assert gn.grad(loss=x**2, wrt=x) is gn.grad(x**2, x)  # of nodes, by keyword too
