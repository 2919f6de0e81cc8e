"""Loops on several threads, under a memory budget, in profiles and counts."""

from contextlib import contextmanager

import numpy as np
import pytest
from looping import drawn, scans_of

import graphnn as gn
from graphnn.compiler.native.partition import Begin, Share, partition

STEPS = 3


@contextmanager
def threads(count):
    before = gn.get_num_threads()
    gn.set_num_threads(count)
    try:
        yield
    finally:
        gn.set_num_threads(before)


def rnn(batch, width):
    """A recurrent net with all of its gradients, and its inputs."""
    x = gn.input("x", (STEPS, batch, width))
    w, u = gn.input("w", (width, width)), gn.input("u", (width, width))
    last, ys = gn.scan(
        lambda h, x: (gn.tanh((x @ w + h @ u) * 0.05),) * 2, gn.zeros((batch, width)), x
    )
    loss = gn.mean(ys**2)
    return [x, w, u], [loss, *gn.grad(loss, [x, w, u]), last, ys]


def nested(batch, width):
    """Large inner steps, in a loop together with small ones, and an index that is looked at."""
    x = gn.input("x", (STEPS, 2, batch, width))
    u = gn.input("u", (width, width))

    def step(h, rows):
        total = gn.sum(h[:2, :2])
        h, ys = gn.scan(lambda g, row: (gn.tanh(g @ u * 0.05 + row * total),) * 2, h, rows)
        return h * 0.9, (ys, gn.take(h, [1, 0], axis=0))

    return [x, u], gn.core.structure.flatten(gn.scan(step, gn.ones((batch, width)), x))


def elementwise(batch, width):
    """Nothing but memory to divide."""
    x = gn.input("x", (STEPS, batch, width))
    return [x], list(gn.scan(lambda h, x: (gn.tanh(h * 0.5 + x), h), gn.ones((batch, width)), x))


@pytest.mark.parametrize("make", [rnn, nested, elementwise])
@pytest.mark.parametrize("size", [(64, 256), (300, 40), (2, 6)])
def test_results_with_any_number_of_threads(make, size):
    """The same bits from run to run, and with any number; the same values as the reference."""
    inputs, outputs = make(*size)
    arrays = drawn(inputs)
    expected = gn.compile(inputs, outputs, backend="reference")(*arrays)
    interpreted = gn.compile(inputs, outputs, native="never")(*arrays)
    made = []
    for count in (1, 2, 4):
        with threads(count):
            program = gn.compile(inputs, outputs, verify=True)
            runs = [[each.tobytes() for each in program(*arrays)] for _ in range(4)]
        assert all(run == runs[0] for run in runs)
        made.append(runs[0])
        for got, other, wanted in zip(program(*arrays), interpreted, expected, strict=True):
            scale = np.abs(wanted).max() * 3e-5
            np.testing.assert_allclose(got, wanted, rtol=3e-4, atol=scale)
            np.testing.assert_allclose(other, wanted, rtol=3e-4, atol=scale)
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("make", [rnn, elementwise])
def test_large_steps_are_divided_and_small_ones_belong_to_one_thread(make, monkeypatch):
    """Seen in what the threads are told to do."""
    seen = []

    def watched(*arguments):
        made = partition(*arguments)
        seen.append(made)
        return made

    monkeypatch.setattr("graphnn.compiler.native.runtime.partition", watched)
    for size, is_divided in (((300, 256), True), ((2, 6), False)):
        seen.clear()
        inputs, outputs = make(*size)
        with threads(2):
            gn.compile(inputs, outputs)(*drawn(inputs))
        rounds = [sum(isinstance(each, Begin) for each in each_thread) for each_thread in seen[0]]
        assert (len(seen[0]) > 1 and min(rounds) > 0) == is_divided
        if is_divided:
            assert all(any(isinstance(each, Share) for each in thread) for thread in seen[0])


def test_a_scan_under_a_memory_budget():
    """What lies around it is computed again, and what its steps keep, in segments."""
    x, w = gn.input("x", (8, 32, 16)), gn.input("w", (16, 16))
    seen = x
    for _ in range(6):
        seen = gn.tanh(seen @ w)
    last, ys = gn.scan(lambda h, x: (gn.tanh(h @ w + x),) * 2, gn.zeros((32, 16)), seen)
    loss = gn.mean(ys**2) + gn.mean(last)
    outputs = [loss, *gn.grad(loss, [x, w])]
    plain = gn.compile([x, w], outputs)
    program = gn.compile([x, w], outputs, memory_budget=int(plain.arena_nbytes * 0.6), verify=True)
    assert program.arena_nbytes <= 0.6 * plain.arena_nbytes
    assert program.memory.recomputed
    assert len(scans_of(program)) > len(scans_of(plain)) == 2
    arrays = drawn([x, w])
    for got, wanted in zip(program(*arrays), plain(*arrays), strict=True):
        # Sums over time are taken segment by segment.
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_too_small_a_budget_is_told():
    inputs, outputs = rnn(8, 8)
    with pytest.raises(gn.ArgumentError, match="is too little"):
        gn.compile(inputs, outputs, memory_budget=64)


def test_work_is_counted_for_every_round():
    x, w = gn.input("x", (STEPS, 2, 4, 5)), gn.input("w", (5, 5))

    def step(h, rows):
        return gn.scan(lambda g, row: (gn.tanh(g @ w + row), None), h, rows)[0], None

    last, _ = gn.scan(step, gn.ones((4, 5)), x)
    program = gn.compile([x, w], last, optimize="O0")
    rounds = program.unit.runs
    assert set(rounds) == {1, STEPS, 2 * STEPS}
    assert program.flops == sum(
        n * each.flops for n, each in zip(rounds, program.instructions, strict=True)
    )
    once = gn.compile([x, w], gn.tanh(x[0, 0] @ w + x[0, 1]), optimize="O0")
    assert program.flops == STEPS * 2 * once.flops
    assert program.nbytes_moved == sum(
        n * each.nbytes for n, each in zip(rounds, program.instructions, strict=True)
    )
    scan = last.inputs[0]
    assert scan.op.flops(scan) == program.flops
    for native in ("now", "never"):
        profile = gn.compile([x, w], last, optimize="O0", native=native).profile(
            *drawn([x, w]), repeat=2
        )
        for row, each, n in zip(profile.instructions, program.instructions, rounds, strict=True):
            assert (row.flops, row.nbytes) == (n * each.flops, n * each.nbytes)
            assert row.ns > 0
