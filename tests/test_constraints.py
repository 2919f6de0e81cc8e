"""Constraints: the nearest allowed value, and steps that end there, beside PyTorch's."""

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(4, 3))


def torch_max_norm(torch, w):
    return w * (0.7 / w.norm(dim=0)).clamp(max=1.0)  # torch.renorm is 1e-7 too short


def torch_unit_norm(torch, w):
    return torch.nn.functional.normalize(w, dim=1)


def torch_orthogonal(torch, w):
    u, _, vh = torch.linalg.svd(w, full_matrices=False)
    return u @ vh


CASES = {
    "max norm": (gn.optim.MaxNorm(0.7), torch_max_norm),
    "unit norm of rows": (gn.optim.UnitNorm(axis=1), torch_unit_norm),
    "non-negative": (gn.optim.NonNegative(), lambda torch, w: w.clamp(min=0.0)),
    "orthogonal": (gn.optim.Orthogonal(), torch_orthogonal),
    "a function": (lambda w: gn.clip(w, -0.2, 0.3), lambda torch, w: w.clamp(-0.2, 0.3)),
}


@pytest.mark.parametrize("backend", ["reference", "numpy"])
@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_pytorch_with_a_projection_behind_each(case, backend):
    torch = pytest.importorskip("torch")
    constraint, project = CASES[case]
    target = WEIGHT[::-1] * 1.5 - 0.2
    theirs = torch.tensor(WEIGHT, requires_grad=True)
    peer = torch.optim.SGD([theirs], lr=0.1, momentum=0.9)
    w = gn.parameter(WEIGHT, dtype="float64")
    loss = gn.sum((w - target) ** 2)
    optimizer = gn.optim.Constrained(gn.optim.SGD(0.1, 0.9), (constraint, [w]))
    step = gn.compile([], loss, updates=optimizer.minimize(loss, [w]), backend=backend)
    for _ in range(50):
        peer.zero_grad()
        ((theirs - torch.from_numpy(target)) ** 2).sum().backward()
        peer.step()
        with torch.no_grad():
            theirs.copy_(project(torch, theirs))
        step()
        np.testing.assert_allclose(w.value, theirs.detach().numpy(), rtol=1e-9, atol=1e-12)


# What fulfils each constraint, made without it.
ALLOWED = {
    "max norm": lambda w: w / np.linalg.norm(w, axis=0) * RNG.uniform(0.0, 0.7, 3),
    "unit norm of rows": lambda w: w / np.linalg.norm(w, axis=1, keepdims=True),
    "non-negative": np.abs,
    "orthogonal": lambda w: np.linalg.qr(w)[0],
}


@pytest.mark.parametrize("case", ALLOWED)
def test_nothing_that_is_allowed_is_nearer(case):
    constraint, _ = CASES[case]
    found = gn.evaluate(constraint(gn.constant(WEIGHT)))
    np.testing.assert_allclose(gn.evaluate(constraint(gn.constant(found))), found, atol=1e-12)
    distance = np.linalg.norm(found - WEIGHT)
    for _ in range(50):
        other = ALLOWED[case](WEIGHT + 0.3 * RNG.normal(size=WEIGHT.shape))
        np.testing.assert_allclose(gn.evaluate(constraint(gn.constant(other))), other, atol=1e-12)
        assert np.linalg.norm(other - WEIGHT) >= distance - 1e-12


def test_zeros_stay_zeros_and_kernels_are_measured_by_output():
    zeros = gn.constant(np.zeros((2, 2)))
    for constraint in (gn.optim.MaxNorm(1.0), gn.optim.UnitNorm()):
        np.testing.assert_array_equal(gn.evaluate(constraint(zeros)), np.zeros((2, 2)))
    kernels = gn.nn.Conv2d(2, 3, 5).weight
    unit = gn.evaluate(gn.optim.UnitNorm(axis=(1, 2, 3))(kernels))
    np.testing.assert_allclose(np.linalg.norm(unit.reshape(3, -1), axis=1), 1.0, rtol=1e-6)
    whole = gn.evaluate(gn.optim.MaxNorm(0.5, axis=None)(kernels))
    np.testing.assert_allclose(np.linalg.norm(whole), 0.5, rtol=1e-6)


def test_half_precision_is_measured_in_float32():
    w = gn.constant(np.full((3, 1), 200.0), "float16")  # whose squares float16 cannot hold
    found = gn.evaluate(gn.optim.MaxNorm(1.0)(w))
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, np.full((3, 1), 3**-0.5), rtol=1e-3)


def test_several_apply_in_order_and_what_is_around_applies_too():
    def trained(wrap):
        w, free = gn.parameter(WEIGHT, dtype="float32"), gn.parameter(2.0)
        constrained = gn.optim.Constrained(
            gn.optim.Adam(0.1), (gn.optim.NonNegative(), w), (gn.optim.UnitNorm(), [w])
        )
        loss = gn.sum((w + free) ** 2)
        step = gn.compile([], loss, updates=wrap(constrained).minimize(loss, [w, free]))
        for _ in range(6):
            step()
        return w.value, free.value

    plain, free = trained(lambda optimizer: optimizer)
    assert plain.min() >= 0
    np.testing.assert_allclose(np.linalg.norm(plain, axis=0), 1.0, rtol=1e-6)
    assert free < 1.5
    scaled, _ = trained(gn.optim.LossScale)
    np.testing.assert_allclose(scaled, plain, rtol=1e-5, atol=1e-6)
    slower, _ = trained(lambda optimizer: gn.optim.Accumulated(optimizer, 2))
    np.testing.assert_allclose(np.linalg.norm(slower, axis=0), 1.0, rtol=1e-6)


def test_a_checkpoint_is_that_of_the_optimizer_within():
    w = gn.parameter(WEIGHT, name="w")
    optimizer = gn.optim.Constrained(gn.optim.Adam(0.1), (gn.optim.MaxNorm(2.0), [w]))
    loss = gn.sum(w**2)
    gn.compile([], loss, updates=optimizer.minimize(loss, [w]))()
    state = optimizer.state_dict()
    assert state.keys() == optimizer.optimizer.state_dict().keys()
    assert state["step"] == 1
    assert repr(optimizer) == "Constrained(Adam(0.1), MaxNorm(2, axis=0))"


def test_constraints_refuse():
    w, b = gn.parameter(WEIGHT, name="w"), gn.parameter([1.0], name="b")

    def constrained(constraint, *parameters):
        return gn.optim.Constrained(gn.optim.SGD(0.1), (constraint, parameters))

    for make, error, words in [
        (lambda: gn.optim.MaxNorm(0.0), ArgumentError, "limit is 0.*above 0"),
        (lambda: constrained(gn.optim.MaxNorm(1.0, axis=1), b), ShapeError, "axis 1"),
        (lambda: constrained(gn.optim.Orthogonal(), b), ShapeError, r"matrices, not \(1,\)"),
        (lambda: constrained(lambda p: gn.sum(p, 0), w), ArgumentError, "keeps shape and dtype"),
        (lambda: constrained(lambda p: 1.0, w), ArgumentError, "keeps shape and dtype"),
        (lambda: constrained(gn.optim.NonNegative()), ArgumentError, "no parameters"),
        (
            lambda: constrained(gn.optim.NonNegative(), w).minimize(gn.sum(b), [b]),
            ArgumentError,
            r"w = parameter.*is not updated",
        ),
        (
            lambda: gn.optim.Constrained(gn.optim.LBFGS(), (gn.optim.NonNegative(), [w])),
            ArgumentError,
            "LBFGS learns from whole steps",
        ),
    ]:
        with pytest.raises(error, match=words):
            make()
