"""Profiles: every instruction measured, limits, and state as before."""

import json
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.native import limits
from graphnn.compiler.native.limits import Limits, copy_bandwidth, multiply_add_peak
from graphnn.compiler.profile_report import InstructionProfile, Profile

LIMITS = Limits(2, 100e9, ((1000, 80e9), (100_000, 40e9), (10_000_000, 10e9)))


@pytest.fixture(autouse=True)
def known_limits(monkeypatch):
    """Measuring the machine takes a second; one test does."""
    monkeypatch.setattr(limits, "measured_limits", lambda n: replace(LIMITS, n_threads=n))


def step_with_host():
    """A training step with a sort, which the host does, and dropout."""
    x = gn.input("x", shape=("n", 6))
    w = gn.parameter(np.ones((6, 4), "float32"), name="w")
    v = gn.parameter(np.ones((4,), "float32"), name="v")
    hidden = gn.sort(gn.tanh(x @ w), axis=1) * gn.random.normal(None, (4,))
    loss = gn.mean(hidden * v)
    updates = gn.optim.SGD(0.1, momentum=0.9).minimize(loss, [w, v])
    return gn.compile(x, [loss, hidden], updates), np.ones((8, 6), "float32")


@pytest.mark.parametrize("native", ["now", "background", "never"])
def test_profile_tells_of_every_instruction(native):
    x = gn.input("x", shape=(16, 16))
    program = gn.compile(x, [gn.sort(x @ x), gn.sum(gn.exp(x))], native=native)
    profile = program.profile(np.ones((16, 16), "float32"), repeat=3)
    assert len(profile.instructions) == len(program.instructions)
    for number, (row, each) in enumerate(
        zip(profile.instructions, program.instructions, strict=True)
    ):
        assert (row.number, row.kind, row.label) == (number, each.kind, each.label)
        assert (row.flops, row.nbytes) == (each.flops, each.nbytes)
        assert row.ns > 0
        assert "test_profile.py:" in row.where
    assert any(each.kind == "host" for each in profile.instructions)
    assert profile.call_ns > 0
    assert profile.ns == sum(each.ns for each in profile.instructions)


def test_profile_leaves_the_state_as_it_was():
    program, x = step_with_host()
    program(x)
    before = [each.value.copy() for each in program.updates]
    program.profile(x, repeat=2)
    for parameter, value in zip(program.updates, before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)
    program(x)  # and a real run changes it
    for parameter, value in zip(program.updates, before, strict=True):
        assert not np.array_equal(parameter.value, value)


def test_profile_restores_state_when_a_run_fails():
    x = gn.input("x", shape=(3,), dtype="int64")
    w = gn.parameter(np.ones(4, "float32"), name="w")
    program = gn.compile(x, gn.take(w, x), {w: w + 1.0})
    with pytest.raises(gn.FeedError, match="out of range"):
        program.profile([0, 1, 9])
    assert w.value.tolist() == [1.0] * 4
    assert program.profile([0, 1, 2], repeat=1).instructions


def test_profile_of_every_number_of_threads():
    """A program keeps the number that it was made with."""
    x = gn.input("x", shape=(300, 300))
    before = gn.get_num_threads()
    try:
        for n_threads in (1, 2):
            gn.set_num_threads(n_threads)
            program = gn.compile(x, gn.tanh(x @ x))
            program(np.ones((300, 300), "float32"))
            gn.set_num_threads(3 - n_threads)
            profile = program.profile(np.ones((300, 300), "float32"), repeat=1)
            assert profile.limits.n_threads == n_threads
            assert profile.instructions[0].ns > 0
    finally:
        gn.set_num_threads(before)


def test_profile_refuses_what_has_no_instructions():
    x = gn.input("x", shape=())
    with pytest.raises(gn.ArgumentError, match="cannot be measured with backend='reference'"):
        gn.compile(x, -x, backend="reference").profile(1.0)
    with pytest.raises(gn.ArgumentError, match="repeat must be at least 1"):
        gn.compile(x, -x).profile(1.0, repeat=0)


def row(number, ns, flops, nbytes, label="add"):
    limits = (LIMITS.arithmetic_ns(flops), LIMITS.memory_ns(nbytes))
    return InstructionProfile(number, "kernel", label, "a.py:1", ns, flops, nbytes, *limits)


def test_numbers_of_an_instruction():
    each = row(0, 2000.0, 100_000, 1000)
    assert (each.gflops, each.gbytes, each.intensity) == (50.0, 0.5, 100.0)
    assert each.bound == "arithmetic"
    assert each.percent == pytest.approx(50.0)
    slow = row(1, 2000.0, 100, 10_000)  # between 80 and 40 GB/s: 60
    assert slow.bound == "memory"
    assert slow.percent == pytest.approx(100 * 10_000 / 60 / 2000)


def test_limits_are_those_of_the_cache_that_fits():
    assert LIMITS.bandwidth(10) == 80e9
    assert LIMITS.bandwidth(10_000) == pytest.approx(60e9)
    assert LIMITS.bandwidth(1 << 40) == LIMITS.memory_bandwidth == 10e9
    assert LIMITS.cache_bandwidth == 80e9
    assert LIMITS.arithmetic_ns(1000, 8) == 2 * LIMITS.arithmetic_ns(1000, 2)


def test_limits_are_measured():
    # No machine that runs this does less, or a thousand times more.
    assert 1e8 < multiply_add_peak(1) < 1e12
    assert 1e8 < copy_bandwidth(1, 1 << 14) < 1e13


def test_table_has_the_slowest_first_and_totals():
    rows = [row(0, 1000.0, 10, 100), row(1, 3_000_000.0, 20, 200, "exp")]
    text = str(Profile((*rows,), 3_500_000.0, 5, LIMITS))
    lines = text.splitlines()
    assert lines[0].startswith("one call takes 3.50 ms: 2 instructions, 3.00 ms together")
    assert lines[3].split()[0] == "1"
    assert lines[3].endswith("kernel exp  # a.py:1")
    assert lines[4].split()[:3] == ["0", "1.00", "us"]
    assert lines[5].split()[:4] == ["all", "3.00", "ms", "30"]


def test_profile_as_numbers():
    profile = Profile((row(0, 1000.0, 10, 100),), 1500.0, 5, LIMITS)
    made = json.loads(json.dumps(profile.to_dict()))
    assert made["ns"] == 1000.0
    assert made["instructions"][0]["bound"] == "memory"
    assert made["limits"]["n_threads"] == 2


def test_roofline_picture(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [row(0, 1000.0, 10_000, 100), row(1, 3000.0, 20, 200, "exp"), row(2, 5.0, 0, 8)]
    path = tmp_path / "roofline.svg"
    Profile(tuple(rows), 4100.0, 5, LIMITS).plot(path)
    assert ElementTree.parse(path).getroot().tag.endswith("svg")
    Profile((row(0, 5.0, 0, 8),), 6.0, 5, LIMITS).plot(tmp_path / "empty.png")
    assert (tmp_path / "empty.png").stat().st_size > 1000


def test_a_picture_without_matplotlib_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(gn.MissingPackageError, match=r"a Profile needs matplotlib(.|\n)*\[viz\]"):
        Profile((row(0, 5.0, 0, 8),), 6.0, 5, LIMITS).plot(tmp_path / "roofline.svg")


def test_a_picture_that_cannot_be_written_is_refused(tmp_path):
    pytest.importorskip("matplotlib")
    profile = Profile((row(0, 5.0, 0, 8),), 6.0, 5, LIMITS)
    for name in ("no/such/folder.svg", "roofline.nonsense"):
        with pytest.raises(gn.RenderError, match="cannot be written"):
            profile.plot(tmp_path / name)
