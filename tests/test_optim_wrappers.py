"""L-BFGS, parameter groups, running averages, loss scaling and the other ways of clipping."""

from itertools import pairwise

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError

BACKENDS = ("reference", "numpy")
START = np.array([-1.2, 1.0, 0.3, -0.7])


def valley(p):
    """Rosenbrock's function of several variables, of nodes, arrays and tensors."""
    return (100.0 * (p[1:] - p[:-1] ** 2) ** 2 + (1.0 - p[:-1]) ** 2).sum()


# -------------------------------------------------------------------------------------- L-BFGS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("history", [1, 3, 10])
def test_lbfgs_without_line_search_agrees_with_pytorch(history, backend):
    torch = pytest.importorskip("torch")
    matrix = np.diag([1.0, 2.0, 5.0, 0.5]) + 0.1

    def loss_of(p, m):
        return 0.5 * (p @ m @ p) + (p**4).sum() * 0.1

    theirs = torch.tensor(START, requires_grad=True)
    peer = torch.optim.LBFGS(
        [theirs], lr=0.8, max_iter=1, history_size=history, tolerance_grad=0, tolerance_change=0
    )

    def closure():
        peer.zero_grad()
        loss = loss_of(theirs, torch.from_numpy(matrix))
        loss.backward()
        return loss

    p = gn.parameter(START, dtype="float64")
    optimizer = gn.optim.LBFGS(0.8, history, line_search=False)
    updates = optimizer.minimize(loss_of(p, gn.constant(matrix)), [p])
    step = gn.compile([], (), updates=updates, backend=backend)
    for _ in range(25):
        peer.step(closure)
        step()
        # Both end at 0, where quotients of tiny numbers differ.
        np.testing.assert_allclose(p.value, theirs.detach().numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_lbfgs_goes_down_the_valley_and_never_up(backend):
    a, b = gn.parameter([1.3, 0.7], dtype="float64"), gn.parameter([0.8, 1.9], dtype="float64")
    loss = valley(gn.concatenate([a, b]))
    optimizer = gn.optim.LBFGS()
    step = gn.compile([], loss, updates=optimizer.minimize(loss, [a, b]), backend=backend)
    losses = [float(step()) for _ in range(100)]
    assert all(after <= before for before, after in pairwise(losses))
    np.testing.assert_allclose([*a.value, *b.value], np.ones(4), rtol=1e-6)
    assert optimizer.step.value == 100


def test_lbfgs_stays_where_the_gradient_is_zero_and_where_no_step_helps():
    p = gn.parameter(np.zeros(3), dtype="float64")
    step = gn.compile([], (), updates=gn.optim.LBFGS().minimize(gn.sum(p**2), [p]))
    step(), step()
    assert p.value.tolist() == [0.0, 0.0, 0.0]
    p = gn.parameter([1.0], dtype="float64")
    # Its gradient promises a fall that no step gives.
    loss = gn.sum(gn.stop_gradient(2.0 * p) - p)
    gn.compile([], (), updates=gn.optim.LBFGS().minimize(loss, [p]))()
    assert p.value.tolist() == [1.0]


def test_lbfgs_refuses():
    p, q = gn.parameter([1.0]), gn.parameter([1.0], dtype="float64")
    loss = gn.sum(p**2)
    optimizer = gn.optim.LBFGS()
    with pytest.raises(ArgumentError, match="max_norm changes gradients"):
        optimizer.minimize(loss, [p], max_norm=1.0)
    with pytest.raises(ArgumentError, match="needs the loss"):
        optimizer.apply({p: p})
    with pytest.raises(ArgumentError, match="the same dtype"):
        optimizer.minimize(loss * gn.cast(q[0], "float32"), [p, q])
    optimizer.minimize(loss, [p])
    other = gn.parameter([1.0])
    with pytest.raises(ArgumentError, match="history is that of other parameters"):
        optimizer.minimize(gn.sum(other**2), [other])
    with pytest.raises(ArgumentError, match="history must be"):
        gn.optim.LBFGS(history=0)


# -------------------------------------------------------------------------------------- groups


def test_groups_take_the_steps_of_their_own_optimizers():
    def updates_of(make):
        a, b = gn.parameter([1.0, 2.0], name="a"), gn.parameter([3.0], name="b")
        loss = gn.sum(a**2) * gn.sum(b**2)
        step = gn.compile([], loss, updates=make(loss, a, b))
        for _ in range(5):
            step()
        return a.value, b.value

    def grouped(loss, a, b):
        optimizer = gn.optim.Grouped(
            (gn.optim.Adam(0.1), [a]), (gn.optim.SGD(0.01, weight_decay=0.1), b)
        )
        return optimizer.minimize(loss, [a, b])

    def apart(loss, a, b):
        one = gn.optim.Adam(0.1).minimize(loss, [a])
        return one | gn.optim.SGD(0.01, weight_decay=0.1).minimize(loss, [b])

    for found, expected in zip(updates_of(grouped), updates_of(apart), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_groups_are_clipped_together():
    a, b = gn.parameter([30.0]), gn.parameter([40.0])
    optimizer = gn.optim.Grouped((gn.optim.SGD(10.0), [a]), (gn.optim.SGD(20.0), [b]))
    loss = gn.sum(a**2 + b**2) / 2.0
    gn.compile([], loss, optimizer.minimize(loss, [a, b], max_norm=1.0))()
    np.testing.assert_allclose([a.value[0], b.value[0]], [24.0, 24.0], rtol=1e-6)


def test_groups_refuse():
    a, b, sgd = gn.parameter(1.0, name="a"), gn.parameter(1.0, name="b"), gn.optim.SGD(0.1)
    with pytest.raises(ArgumentError, match=r"a = parameter.*in two groups"):
        gn.optim.Grouped((sgd, [a]), (gn.optim.Adam(), [a, b]))
    with pytest.raises(ArgumentError, match="given for two groups"):
        gn.optim.Grouped((sgd, [a]), (sgd, [b]))
    with pytest.raises(ArgumentError, match=r"b = parameter.*in no group"):
        gn.optim.Grouped((sgd, [a])).minimize(a * b, [a, b])
    with pytest.raises(ArgumentError, match="no parameters"):
        gn.optim.Grouped((sgd, []))


# ------------------------------------------------------------------------------------ averages


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_averages_follow_the_formula(dtype):
    w = gn.parameter([1.0, -1.0], dtype=dtype)
    average = gn.optim.Average([w], decay=0.75)
    loss = gn.sum(gn.cast(w, "float32") ** 2)
    step = gn.compile([], (), updates=average.track(gn.optim.SGD(0.1).minimize(loss, [w])))
    expected = w.value.astype("float64")
    for _ in range(10):
        step()
        expected = 0.75 * expected + 0.25 * w.value.astype("float64")
    (kept,) = average.averages.values()
    np.testing.assert_allclose(kept.value, expected, rtol=1e-6)
    before = w.value
    with average.in_place():
        np.testing.assert_array_equal(w.value, kept.value.astype(w.dtype))
    np.testing.assert_array_equal(w.value, before)

    def evaluate_badly():
        with average.in_place():
            raise KeyError

    with pytest.raises(KeyError):  # whatever happens, the weights come back
        evaluate_badly()
    np.testing.assert_array_equal(w.value, before)


def test_averages_of_what_is_not_updated_and_refusals():
    w, still = gn.parameter(0.0), gn.parameter(5.0)
    average = gn.optim.Average([w, still], decay=0.0)
    gn.compile([], (), average.track(gn.optim.SGD(1.0).minimize(-w, [w])))()
    assert [float(each.value) for each in average.averages.values()] == [1.0, 5.0]
    with pytest.raises(ArgumentError, match="no parameters"):
        gn.optim.Average([])
    with pytest.raises(ArgumentError, match="decay is 1"):
        gn.optim.Average([w], decay=1.0)


# -------------------------------------------------------------------------------- loss scaling


def test_scaled_steps_are_those_without_a_scale():
    def trained(wrap):
        w = gn.parameter([1.0, -2.0, 3.0])
        loss = gn.sum(w**4)
        step = gn.compile([], loss, updates=wrap(gn.optim.Adam(0.1)).minimize(loss, [w]))
        for _ in range(10):
            step()
        return w.value

    np.testing.assert_allclose(
        trained(gn.optim.LossScale), trained(lambda optimizer: optimizer), rtol=1e-6
    )


def test_the_scale_falls_when_gradients_overflow_and_grows_again():
    w = gn.parameter([1.0], dtype="float16")
    x = gn.input("x", shape=(), dtype="float16")
    optimizer = gn.optim.SGD(0.125, momentum=0.5)
    scaled = gn.optim.LossScale(optimizer, 2.0**14, every=2)
    loss = gn.sum(w * x)
    step = gn.compile(x, loss, updates=scaled.minimize(loss, [w], max_norm=1e4))
    states = []
    for factor in (8.0, 8.0, 1.0, 1.0, 1.0):
        step(np.float16(factor))
        states.append((float(w.value[0]), float(scaled.scale.value), int(optimizer.step.value)))
    # 2**14 * 8 is too large for float16, 2**13 * 8 too, 2**12 is not; after two steps it doubles.
    assert states[:2] == [(1.0, 2.0**13, 0), (1.0, 2.0**12, 0)]
    assert states[2:] == [(0.875, 2.0**12, 1), (0.6875, 2.0**13, 2), (0.46875, 2.0**13, 3)]
    assert int(scaled.finite_steps.value) == 1


def test_loss_scales_refuse():
    for options, words in [
        ({"initial": 0.0}, "initial is 0"),
        ({"every": 0}, "every must be"),
        ({"shrink": -1.0}, "shrink is -1"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            gn.optim.LossScale(gn.optim.SGD(0.1), **options)


# ------------------------------------------------------------------------------------ clipping


@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clipping_by_tensor_and_by_element(limit):
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(3, 4)) * 5, "b": np.float64(0.2), "c": np.zeros((2, 0))}
    nodes = {name: gn.constant(each, "float64") for name, each in arrays.items()}
    found = gn.evaluate(gn.optim.clip_by_norm(nodes, limit))
    cut = gn.evaluate(gn.optim.clip_by_value(nodes, limit))
    for name, each in arrays.items():
        length = np.linalg.norm(each)
        expected = each * min(1.0, limit / length) if length else each
        np.testing.assert_allclose(found[name], expected, rtol=1e-12)
        np.testing.assert_array_equal(cut[name], np.clip(each, -limit, limit))
    for clip in (gn.optim.clip_by_norm, gn.optim.clip_by_value):
        with pytest.raises(ArgumentError, match="it must be above 0"):
            clip(nodes, 0.0)
