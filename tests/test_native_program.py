"""Programs as native code: how they are built and called, whatever they compute."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.backends.background import BackgroundExecutable
from graphnn.compiler.backends.interpreted import InterpretedExecutable
from graphnn.compiler.backends.native import NativeExecutable
from graphnn.compiler.native.pointers import address_of


def network():
    """A training step with labels that are looked up."""
    generator = np.random.default_rng(0)
    x, t = gn.input("x", (6, 5)), gn.input("t", (6,), "int64")
    w = gn.parameter(generator.normal(size=(5, 3)).astype("float32"))
    b = gn.parameter(np.zeros(3, "float32"))
    loss = gn.losses.cross_entropy(gn.tanh(x) @ w + b, t)
    return [x, t], loss, gn.optim.SGD(0.1).minimize(loss, [w, b]), (w, b)


def feeds():
    generator = np.random.default_rng(1)
    return generator.normal(size=(6, 5)).astype("float32"), np.array([0, 2, 1, 1, 0, 2])


def executable_of(program):
    return program.specialize({}).executable


@pytest.mark.parametrize(
    ("native", "kind"),
    [
        ("now", NativeExecutable),
        ("never", InterpretedExecutable),
        ("background", BackgroundExecutable),
    ],
)
def test_native_code_is_built_when_it_is_asked_for(native, kind):
    inputs, loss, updates, parameters = network()
    start = [each.value for each in parameters]
    program = gn.compile(inputs, loss, updates, native=native)
    reference = gn.compile(inputs, loss, updates, backend="reference")
    losses = [float(program(*feeds())) for _ in range(20)]
    assert isinstance(executable_of(program), kind)
    for parameter, value in zip(parameters, start, strict=True):
        parameter.value = value
    np.testing.assert_allclose(losses, [reference(*feeds()) for _ in range(20)], rtol=1e-5)


def test_what_is_built_in_the_background_takes_over():
    x = gn.input("x", (4,))
    program = gn.compile(x, gn.exp(x), native="background")
    executable = executable_of(program)
    executable._native.result()
    assert program(np.zeros(4, "float32")).tolist() == [1.0] * 4
    assert executable._interpreted is None


def test_no_such_way_to_build():
    with pytest.raises(gn.ArgumentError, match="no way to build native code 'soon'"):
        gn.compile([], gn.constant(1.0), native="soon")


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda array: array[:, ::-1][:, ::-1],  # backwards twice
        lambda array: np.asfortranarray(array),
        lambda array: np.repeat(array, 2, axis=1)[:, ::2],
        lambda array: np.frombuffer(b"." + array.tobytes(), "u1")[1:].view("f4").reshape(3, 4),
    ],
)
def test_feeds_may_lie_in_memory_as_they_like(spoiled):
    x = gn.input("x", (3, 4))
    program = gn.compile(x, (gn.sum(x * x, axis=1), gn.transpose(x), x))
    array = np.arange(12, dtype="float32").reshape(3, 4)
    for expected, seen in zip(program(array), program(spoiled(array)), strict=True):
        np.testing.assert_array_equal(expected, seen)


def test_read_only_feeds_are_read():
    x = gn.input("x", (3,))
    array = np.arange(3, dtype="float32")
    array.flags.writeable = False
    assert gn.compile(x, x * 2.0)(array).tolist() == [0.0, 2.0, 4.0]


def test_results_belong_to_the_caller():
    x = gn.input("x", (3,))
    program = gn.compile(x, (x, x + 1.0))
    array = np.zeros(3, "float32")
    same, more = program(array)
    same[:], more[:] = 7.0, 7.0
    assert array.tolist() == [0.0] * 3
    assert program(array)[1].tolist() == [1.0] * 3


LARGE = (192, 192)
"""What is not copied: 144 KiB."""


def straight(program):
    """The results that native code writes into new arrays, by number."""
    return [n for n, place in enumerate(executable_of(program)._places) if place is not None]


def test_large_results_are_written_where_they_are_returned():
    x = gn.input("x", LARGE)
    program = gn.compile(x, (gn.exp(x), gn.sum(x)))
    array = np.random.default_rng(0).normal(size=LARGE).astype("float32")
    first = program(array)[0]
    kept = first.copy()
    second = program(array + 1.0)[0]
    assert straight(program) == [0]
    arena = executable_of(program)._memory.arena
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, arena)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_allclose(second, np.exp(array + 1.0), rtol=1e-6)
    assert len(program.profile(array, repeat=2).instructions) == len(program.instructions)


def test_straight_results_are_read_by_later_instructions_and_by_later_calls():
    x, w = gn.input("x", LARGE), gn.parameter(np.ones(LARGE, "float32"))
    y = gn.tanh(x @ gn.transpose(x))
    z = y @ x
    program = gn.compile(x, (y, z), {w: w + z})
    reference = gn.compile(x, (y, z), backend="reference")
    array = np.random.default_rng(0).normal(size=LARGE).astype("float32") / 16
    for _ in range(3):
        results, expected = program(array), reference(array)
        for result, want in zip(results, expected, strict=True):
            np.testing.assert_allclose(result, want, rtol=2e-5, atol=2e-5)
        array = results[1]
    assert straight(program) == [0, 1]


def test_results_that_others_look_at_are_copied():
    x, w = gn.input("x", LARGE), gn.parameter(np.ones(LARGE, "float32"))
    shared, sorted_on_host, new = gn.exp(x), gn.sin(x), w + x
    results = (shared, shared, gn.transpose(gn.cos(x)), sorted_on_host, new, w)
    program = gn.compile(x, (*results, gn.argsort(sorted_on_host)), {w: new})
    array = np.random.default_rng(0).normal(size=LARGE).astype("float32")
    made = program(array)
    assert straight(program) == [4, 5]
    made[0][:] = 0.0
    np.testing.assert_allclose(made[1], np.exp(array), rtol=1e-6)
    np.testing.assert_allclose(made[2], np.cos(array).T, atol=1e-6)
    np.testing.assert_array_equal(made[6], np.argsort(made[3], kind="stable"))
    np.testing.assert_array_equal(made[4], 1.0 + array)
    made[4][:] = 0.0
    np.testing.assert_array_equal(w.value, 1.0 + array)
    np.testing.assert_array_equal(made[5], 1.0)


def test_an_index_out_of_range_leaves_the_parameters_alone():
    inputs, loss, updates, parameters = network()
    program = gn.compile(inputs, loss, updates)
    x, t = feeds()
    before = [each.value for each in parameters]
    with pytest.raises(gn.FeedError, match="3 is out of range"):
        program(x, np.array([0, 2, 3, 1, 0, 2]))
    for parameter, value in zip(parameters, before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)
    assert np.isfinite(program(x, t))


def test_threads_change_no_bit():
    x, w = gn.input("x", (96, 200)), gn.input("w", (200, 160))
    y = gn.tanh(x @ w)
    outputs = (y, gn.softmax(y), gn.sum(y), gn.sum(y, axis=0), gn.grad(gn.sum(y), [x, w]))
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=s).astype("float32") for s in ((96, 200), (200, 160))]
    before = gn.get_num_threads()
    found = []
    try:
        for n_threads in (1, 2, 3, 5):
            gn.set_num_threads(n_threads)
            program = gn.compile([x, w], outputs)
            y, p, total, columns, gradients = program(*arrays)
            found.append([each.tobytes() for each in (y, p, total, columns, *gradients)])
    finally:
        gn.set_num_threads(before)
    assert all(each == found[0] for each in found)


def test_two_threads_run_two_programs():
    x = gn.input("x", (64, 64))
    programs = [gn.compile(x, gn.tanh(x @ x) * float(k)) for k in (1, 2)]
    array = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    expected = [program(array).tobytes() for program in programs]
    wrong = []

    def work(number):
        seen = (programs[number](array).tobytes() for _ in range(200))
        wrong.extend(number for each in seen if each != expected[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_addresses_of_arrays():
    whole = np.arange(20.0)
    for array in (whole, whole[3:], whole[::-2], np.empty(0), np.array(1.0), whole.reshape(4, 5).T):
        assert address_of(array) == array.ctypes.data


FORKING = """
import os, signal, sys, threading
import numpy as np
import graphnn as gn

x = gn.input("x", shape=(64, 64))
program = gn.compile(x, gn.tanh(x @ x), native=sys.argv[1])
fed = np.ones((64, 64), "float32")
expected = program(fed)
stop = threading.Event()

def run():
    while not stop.is_set():
        program(fed)

thread = threading.Thread(target=run)
thread.start()
try:
    for _ in range(5):
        child = os.fork()
        if child == 0:
            signal.alarm(30)  # whoever waits for the lock forever
            os._exit(0 if np.allclose(program(fed), expected) else 1)
        assert os.waitpid(child, 0)[1] == 0
finally:
    stop.set()
    thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("native", ["now", "background"])
def test_a_forked_child_runs_what_its_parent_is_running(native):
    """The child has a copy of the lock that another thread of its parent holds.

    In a process of its own: what the tests import, such as JAX, may not bear forking.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, native],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_a_refusal_leaves_a_parameter_alone_that_is_made_by_what_refuses():
    p = gn.parameter(np.arange(27, dtype="float32"))
    i = gn.input("i", shape=(2,), dtype="int64")
    updates = [
        gn.scatter_add(gn.zeros(27), i, gn.ones(2)),
        gn.concatenate([gn.exp(p[:25]), gn.take(p, i)]),
    ]
    for update in updates:
        with pytest.raises(gn.FeedError, match="out of range"):
            gn.compile(i, [], {p: update})([0, 99])
        np.testing.assert_array_equal(p.value, np.arange(27))


def test_a_parameter_that_is_made_of_parts_of_itself():
    p = gn.parameter(np.arange(27, dtype="float32"))
    x = gn.input("x", shape=(5,))
    made = gn.concatenate([gn.tanh(p[5:15]), p[0:12] * 2, x])
    gn.compile(x, [], {p: made})(np.ones(5, "float32"))
    expected = np.concatenate([np.tanh(np.arange(5.0, 15.0)), 2.0 * np.arange(12), np.ones(5)])
    np.testing.assert_allclose(p.value, expected, rtol=1e-6)
