"""Schedules against PyTorch's and against formulas, inside compiled steps and to look at."""

import math

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError

N = 60


def of_torch(make):
    """The rates that PyTorch's scheduler gives in the first steps, from an initial rate of 0.5."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(N):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(rates)


PEERS = {
    "constant": (gn.optim.Constant(0.5), lambda s, o: s.ConstantLR(o, factor=1.0)),
    "steps": (
        gn.optim.StepDecay(0.5, every=7, factor=0.3),
        lambda s, o: s.StepLR(o, step_size=7, gamma=0.3),
    ),
    "exponential": (gn.optim.Exponential(0.5, 0.9), lambda s, o: s.ExponentialLR(o, gamma=0.9)),
    "polynomial": (
        gn.optim.Polynomial(0.5, steps=40, power=2.0),
        lambda s, o: s.PolynomialLR(o, total_iters=40, power=2.0),
    ),
    "cosine": (
        gn.optim.Cosine(0.5, steps=60, final=0.01),
        lambda s, o: s.CosineAnnealingLR(o, T_max=60, eta_min=0.01),
    ),
    "restarts": (
        gn.optim.Restarts(gn.optim.Cosine(0.5, steps=9, final=0.1), steps=9),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=9, eta_min=0.1),
    ),
    "longer and longer": (
        gn.optim.Restarts(gn.optim.Cosine(0.5, steps=4), steps=4, multiplier=2),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=4, T_mult=2),
    ),
    "three times": (
        gn.optim.Restarts(gn.optim.Cosine(0.5, steps=2), steps=2, multiplier=3),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=2, T_mult=3),
    ),
}


@pytest.mark.parametrize("case", PEERS)
def test_rates_agree_with_pytorch(case):
    schedule, make = PEERS[case]
    np.testing.assert_allclose(schedule.values(N), of_torch(make), rtol=1e-9, atol=1e-12)


def test_one_cycle_agrees_with_pytorch():
    expected = of_torch(lambda s, o: s.OneCycleLR(o, max_lr=0.5, total_steps=N + 1))
    np.testing.assert_allclose(gn.optim.OneCycle(0.5, N + 1).values(N), expected, rtol=1e-9)


def test_warm_up_and_inverse_time_follow_the_formula():
    t = np.arange(N)
    found = gn.optim.InverseTime(0.5, 0.1, power=0.5).values(N)
    np.testing.assert_allclose(found, 0.5 / np.sqrt(1 + 0.1 * t), rtol=1e-12)
    later = np.where(t < 10, 0.5, 0.5 * 0.9 ** (t - 10.0))
    found = gn.optim.WarmUp(gn.optim.Exponential(0.5, 0.9), 10).values(N)
    np.testing.assert_allclose(found, later * np.minimum((t + 1) / 10, 1), rtol=1e-12)


def test_rates_stay_after_the_end():
    for schedule in (gn.optim.Cosine(0.5, 10, 0.1), gn.optim.Polynomial(0.5, 10, 0.1, 3.0)):
        np.testing.assert_allclose(schedule.values(30)[10:], 0.1)
    assert len(set(gn.optim.OneCycle(0.5, 10).values(30)[9:])) == 1


@pytest.mark.parametrize("backend", ["reference", "numpy"])
def test_the_rate_is_computed_in_the_step(backend):
    schedule = gn.optim.WarmUp(gn.optim.Cosine(0.5, 5), 2)
    p = gn.parameter(0.0, dtype="float64")
    optimizer = gn.optim.SGD(schedule)
    step = gn.compile([], p, updates=optimizer.minimize(-p, [p]), backend=backend)
    places = [float(step()) for _ in range(9)]
    np.testing.assert_allclose(np.diff(places), schedule.values(8), rtol=1e-12)
    optimizer.step.value = 0  # what a checkpoint restores is the schedule's position
    before = p.value
    step()
    np.testing.assert_allclose(p.value - before, schedule.values(1)[0], rtol=1e-9)


def test_schedules_of_half_precision_and_repr():
    p = gn.parameter([1.0], dtype="bfloat16")
    step = gn.compile([], (), gn.optim.Adam(gn.optim.Cosine(0.1, 5)).minimize(gn.sum(p**2), [p]))
    step()
    np.testing.assert_allclose(p.value.astype("float64"), 0.9, atol=4e-3)
    schedule = gn.optim.WarmUp(gn.optim.Constant(0.1), 3)
    assert repr(gn.optim.SGD(schedule)) == "SGD(WarmUp(schedule=Constant(initial=0.1), steps=3))"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gn.optim.Cosine(-1.0, 5), "initial is -1.0"),
        (lambda: gn.optim.Cosine(0.1, 0), "steps must be a positive integer, not 0"),
        (lambda: gn.optim.StepDecay(0.1, 5, factor=0.0), "factor is 0.0"),
        (lambda: gn.optim.WarmUp(0.1, 5), "0.1 is not a schedule"),
        (lambda: gn.optim.OneCycle(0.1, 5, rising=1.0), "rising is 1.0"),
        (lambda: gn.optim.Restarts(gn.optim.Constant(0.1), 5, 0), "multiplier must be"),
        (lambda: gn.optim.Constant(0.1).values(0), "steps must be a positive integer"),
    ],
)
def test_options_out_of_range_are_refused(make, words):
    with pytest.raises(ArgumentError, match=words):
        make()


# ------------------------------------------------------------------------------------ plateaus


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("options", [{}, {"cooldown": 2}, {"least": 0.03}, {"threshold": 0.2}])
def test_plateaus_agree_with_pytorch(mode, options):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    theirs = dict(options)
    if "least" in theirs:
        theirs["min_lr"] = theirs.pop("least")
    peer = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode=mode, factor=0.3, patience=2, eps=0.0, **theirs
    )
    own = gn.optim.ReduceOnPlateau(0.5, 0.3, 2, mode=mode, **options)
    rng = np.random.default_rng(0)
    for number in range(N):
        measure = float(rng.random() + math.exp(-0.1 * number))
        before = float(own.rate.value)
        reduced = own.observe(measure)
        peer.step(measure)
        np.testing.assert_allclose(own.rate.value, optimizer.param_groups[0]["lr"], rtol=1e-6)
        assert reduced == (float(own.rate.value) < before)


def test_a_plateau_moves_the_rate_of_compiled_steps():
    plateau = gn.optim.ReduceOnPlateau(0.5, 0.5, 0)
    p = gn.parameter(0.0)
    step = gn.compile([], p, updates=gn.optim.SGD(plateau.rate).minimize(-p, [p]))
    step()
    assert plateau.observe(1.0) is False
    assert plateau.observe(float("nan")) is True
    step()
    assert float(p.value) == 0.75


def test_plateaus_refuse():
    with pytest.raises(ArgumentError, match="no mode 'less'"):
        gn.optim.ReduceOnPlateau(0.1, mode="less")
    with pytest.raises(ArgumentError, match="factor is 1"):
        gn.optim.ReduceOnPlateau(0.1, factor=1.0)
    with pytest.raises(ArgumentError, match="patience"):
        gn.optim.ReduceOnPlateau(0.1, patience=-1)
