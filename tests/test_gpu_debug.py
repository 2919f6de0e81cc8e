"""Programs for GPUs that are looked at as they run, on a fake one: profiles, NaN, wrong kernels."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from fake_cupy import FakeCupy, build, libraries

import graphnn as gn
from graphnn.compiler import backends
from graphnn.compiler.backends.on_device import DeviceExecutable
from graphnn.compiler.backends.on_device_checked import device_executable
from graphnn.compiler.cuda import device_limits, launches
from graphnn.compiler.cuda.cupy_device import CupyDevice
from graphnn.core.errors import NonFiniteError, VerifyError


@pytest.fixture
def device(monkeypatch):
    """A device, on which ``backend="cupy"`` runs; what it can do at most is quickly measured."""
    cupy = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    made = CupyDevice(cupy, build, libraries(cupy).__getitem__, lambda: None)
    monkeypatch.setitem(backends.BACKENDS, "cupy", lambda unit: device_executable(unit, made))
    monkeypatch.setattr(device_limits, "COPIES", (1 << 10, 1 << 12))
    monkeypatch.setattr(device_limits, "BLOCKS", 2)
    monkeypatch.setattr(device_limits, "ROUNDS", 20)
    return made


def step(**options):
    """A training step with a scan, a product and two small updates."""
    x = gn.input("x", (5, 4, 3))
    w = gn.parameter(np.full((3, 3), 0.1, "float32"), name="w")
    n = gn.parameter(0, dtype="int64", trainable=False)
    h, _ = gn.scan(lambda h, x: (gn.tanh(h @ w + x), None), gn.zeros((4, 3)), x)
    loss = gn.mean(h * h)
    updates = {w: w - 0.1 * gn.grad(loss, w), n: n + 1}
    return gn.compile(x, loss, updates, backend="cupy", **options), (w, n)


FED = np.linspace(-1, 1, 60, dtype="float32").reshape(5, 4, 3)


def test_a_profile_has_every_instruction(device, tmp_path):
    program, (w, n) = step()
    program(FED)
    before = w.value, n.value
    profile = program.profile(FED, repeat=2)
    assert [each.label for each in profile.instructions] == [
        each.label for each in program.instructions
    ]
    assert all(each.ns > 0 for each in profile.instructions)
    assert profile.call_ns > 0
    assert (profile.limits.gpu, profile.limits.n_threads) == (device.name, 0)
    assert profile.limits.flops > 0
    assert [nbytes for nbytes, _ in profile.limits.bandwidths] == [1 << 10, 1 << 12]
    assert f"2 runs, {device.name}" in str(profile)
    for value, parameter in zip(before, (w, n), strict=True):
        np.testing.assert_array_equal(parameter.value, value)
    program(FED)
    assert n.value == 2
    events = json.loads(profile.save(tmp_path / "trace.json").read_text())["traceEvents"]
    names = [each["name"] for each in events if each.get("cat") not in ("loop", "call", None)]
    assert len(names) == len(program.instructions)
    assert any(each["args"].get("name") == f"call on {device.name}" for each in events)


def test_time_of_joined_launches_is_divided(device):
    program, _ = step()
    executable = program._latest.executable
    does = [each.does for each in executable._steps if len(each.does) > 1]
    assert does
    times = executable.profile([FED])
    first, second = (program.instructions.index(each) for each in does[0][:2])
    share = (program.instructions[first].nbytes + 1) / (program.instructions[second].nbytes + 1)
    assert times[first] / times[second] == pytest.approx(share)


def test_costs_on_a_gpu_are_drawn_as_those_on_a_processor(device):
    program, _ = step()
    for each in (program.to("numpy"), program):
        time, *_ = gn.viz.costs(each, FED, repeat=1)
        picture = gn.render(each, overlay=time)
        assert "µs" in picture.svg
        assert picture.svg.count("<title>") >= len(each.instructions)


# ------------------------------------------------------------------------------------ values


def test_the_first_nan_is_named(device):
    x = gn.input("x", (4,))
    w = gn.parameter(np.ones(4, "float32"))
    with gn.name_scope("inner"):
        root = gn.sqrt(x - 1.0)
    program = gn.compile(x, gn.sum(root) * 2.0, {w: w * root}, backend="cupy", debug="nan")
    assert float(program([1.0, 2.0, 5.0, 10.0])) == 12.0
    assert w.value.tolist() == [0.0, 1.0, 2.0, 3.0]
    with pytest.raises(NonFiniteError, match=r"value \(NaN\): .*sqrt.*inner") as caught:
        program([1.0, 0.0, 5.0, 10.0])
    assert "test_gpu_debug.py" in str(caught.value)
    assert w.value.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_nan_in_a_round_of_a_loop_is_found(device):
    x = gn.input("x", (3, 2))
    h, _ = gn.scan(lambda h, x: (gn.log(h + x), None), gn.ones((2,)), x)
    program = gn.compile(x, h, backend="cupy", debug="nan")
    program(np.full((3, 2), 9.0, "float32"))
    with pytest.raises(NonFiniteError, match="log"):
        program([[1.0, 1.0], [-9.0, 1.0], [1.0, 1.0]])


def test_right_code_is_verified(device):
    program, (_, n) = step(debug="verify", matmul_precision="tf32")
    expected, _ = step()
    for _ in range(2):
        assert float(program(FED)) == float(expected(FED))
    assert n.value == 2


def test_a_wrong_kernel_is_named(device, monkeypatch):
    right = launches.generate

    def wrong(kernel, name):
        code = right(kernel, name)
        return replace(code, source=code.source.replace("gn_tanh", "gn_sin"))

    monkeypatch.setattr(launches, "generate", wrong)
    x, w = gn.input("x", (3, 3)), gn.parameter(np.ones((3, 3), "float32"))
    updates = {w: w + 1.0}
    program = gn.compile(x, gn.tanh(x @ w) + x, updates, backend="cupy", debug="verify")
    with pytest.raises(VerifyError, match=r"\d \(kernel tanh\+add\) is wrong") as caught:
        program(np.ones((3, 3), "float32"))
    text = str(caught.value)
    assert "test_gpu_debug.py" in text
    assert 'program.source("cuda")' in text
    assert w.value.tolist() == np.ones((3, 3)).tolist()


def test_what_an_operator_refuses_is_told_as_on_a_processor(device):
    x, at = gn.input("x", (3,)), gn.input("at", (1,), "int64")
    for debug in ("nan", "verify"):
        program = gn.compile([x, at], gn.gather(x, at), backend="cupy", debug=debug)
        with pytest.raises(gn.FeedError, match="index 3 is out of range"):
            program([1.0, 2.0, 3.0], [3])


def test_without_a_word_nothing_is_looked_at(device):
    program, _ = step()
    assert type(program._latest.executable) is DeviceExecutable
