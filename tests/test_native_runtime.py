"""Segments: calls run in an order that their memory allows, on any number of threads."""

import itertools
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from native_calls import COUNT, FAIL, MIX, address_of, interval, mixed

import graphnn as gn
from graphnn.compiler.native import runtime
from graphnn.compiler.native.partition import Share, partition
from graphnn.compiler.native.runtime import Call, Segment, Slot, slot_interval

HARNESS = os.path.join(os.path.dirname(__file__), "harness")


def count(numbers, cost_ns=10_000.0, **rest):
    return Call(
        address_of(COUNT),
        64,
        (numbers.ctypes.data,),
        (interval(numbers),),
        (interval(numbers),),
        cost_ns,
        **rest,
    )


def fail(status, cost_ns=10_000.0):
    watched = (interval(status),)
    return Call(address_of(FAIL), 64, (status.ctypes.data,), watched, watched, cost_ns)


def random_mixes(rng, buffers, n_calls):
    """Calls that mix a buffer into another, and which."""
    calls, pairs = [], []
    for _ in range(n_calls):
        to, source = rng.choice(len(buffers), 2, replace=False)
        cost = float(rng.choice([100.0, 1000.0, 5_000.0, 50_000.0]))
        pairs.append((to, source))
        calls.append(
            Call(
                address_of(MIX),
                64,
                (buffers[to].ctypes.data, buffers[source].ctypes.data),
                (interval(buffers[source]), interval(buffers[to])),
                (interval(buffers[to]),),
                cost,
            )
        )
    return calls, pairs


# ------------------------------------------------------------------------------- partition


def rounds_of(programs):
    """For every call the threads that have a share, and how many barriers they met before."""
    seen = {}
    for thread, program in enumerate(programs):
        n_barriers = 0
        for place, step in enumerate(program):
            if step == "barrier":
                n_barriers += 1
            elif isinstance(step, Share):
                seen.setdefault(step.call, []).append((thread, n_barriers, place, step))
    return seen


def conflict(one, other):
    def meet(left, right):
        return any(a < d and c < b for a, b in left for c, d in right)

    return (
        meet(one.writes, other.reads)
        or meet(one.reads, other.writes)
        or meet(one.writes, other.writes)
    )


@pytest.mark.parametrize("n_threads", [2, 3, 8])
@pytest.mark.parametrize("seed", range(4))
def test_conflicting_calls_keep_their_order(n_threads, seed):
    rng = np.random.default_rng(seed)
    calls = []
    for _ in range(150):
        reads, writes = (
            tuple((int(a), int(a + rng.integers(1, 30))) for a in rng.integers(0, 600, n))
            for n in rng.integers(0, 3, 2)
        )
        cost = float(rng.choice([100.0, 3_000.0, 20_000.0]))
        calls.append(Call(1, int(rng.integers(1, 40)), (), reads, writes, cost))
    programs = partition(calls, n_threads)
    assert len(programs) == n_threads
    assert len({program.count("barrier") for program in programs}) == 1
    seen = rounds_of(programs)
    for number, call in enumerate(calls):
        chunks = sorted((step.begin, step.end) for *_, step in seen[number])
        assert chunks[0][0] == 0
        assert chunks[-1][1] == call.n_chunks
        assert all(a[1] == b[0] for a, b in itertools.pairwise(chunks))
        for earlier in range(number):
            if not conflict(calls[earlier], call):
                continue
            for thread, n_barriers, place, _ in seen[number]:
                for other, n_before, place_before, _ in seen[earlier]:
                    in_order = thread == other and place_before < place
                    assert in_order or n_before < n_barriers


def test_independent_small_calls_run_side_by_side():
    calls = [Call(1, 1, (), (), ((10 * n, 10 * n + 10),), 4_000.0) for n in range(4)]
    assert partition(calls, 2) == [
        [Share(0, 0, 1), Share(2, 0, 1)],
        [Share(1, 0, 1), Share(3, 0, 1)],
    ]


def test_a_chain_of_small_calls_needs_no_barrier():
    chain = [Call(1, 8, (), ((0, 8),), ((0, 8),), 1_000.0) for _ in range(50)]
    others = [Call(1, 8, (), (), ((at, at + 8),), 1_500.0) for at in range(100, 300, 10)]
    programs = partition([*chain, *others], 2)
    assert programs == [
        [Share(n, 0, 8) for n in range(50)],
        [Share(50 + n, 0, 8) for n in range(20)],
    ]


def test_a_second_thread_that_would_save_little_is_left_alone():
    chain = [Call(1, 8, (), ((0, 8),), ((0, 8),), 1_000.0) for _ in range(50)]
    other = Call(1, 8, (), (), ((100, 108),), 1_500.0)
    assert partition([*chain, other], 2) == [[Share(n, 0, 8) for n in range(51)]]


def test_large_calls_are_split_and_loads_are_levelled():
    small = Call(1, 8, (), (), ((0, 8),), 20_000.0 / 16)
    large = Call(1, 100, (), (), ((100, 108),), 100_000.0)
    assert partition([large], 2) == [[Share(0, 0, 50)], [Share(0, 50, 100)]]
    first, second = partition([small, large], 2)
    assert first == [Share(0, 0, 8), Share(1, 0, 49)]
    assert second == [Share(1, 49, 100)]


def test_too_little_work_stays_on_one_thread():
    calls = [Call(1, 8, (), (), ((8 * n, 8 * n + 8),), 100.0) for n in range(10)]
    assert len(partition(calls, 8)) == 1


def test_slots_do_not_overlap():
    assert slot_interval(0, 1 << 40)[1] <= 0
    assert slot_interval(1, 1 << 47)[1] <= slot_interval(0, 1)[0]


# ----------------------------------------------------------------------------------- running


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_thousands_of_dependent_calls(n_threads):
    rng = np.random.default_rng(n_threads)
    memory = rng.integers(0, 1 << 40, (6, 64))
    expected = memory.copy()
    calls, pairs = random_mixes(rng, memory, 3000)
    segment = Segment(calls, n_threads)
    assert segment.n_threads == n_threads
    assert (segment.n_barriers > 1000) == (n_threads > 1)
    for _ in range(3):
        assert segment.run() == 0
        for to, source in pairs:
            mixed(expected[to], expected[source])
        np.testing.assert_array_equal(memory, expected)


def test_an_empty_segment():
    assert Segment([], 4).run() == 0
    assert Segment([], 4).profile() == []


@pytest.mark.parametrize("n_threads", [1, 3])
def test_slots_are_given_anew_in_every_run(n_threads):
    fixed = np.zeros(64, "int64")
    segment = Segment(
        [
            Call(
                address_of(MIX),
                64,
                (Slot(2), Slot(0)),
                (slot_interval(0, 512), slot_interval(2, 512)),
                (slot_interval(2, 512),),
                20_000.0,
            ),
            Call(
                address_of(MIX),
                64,
                (fixed.ctypes.data, Slot(2)),
                (interval(fixed), slot_interval(2, 512)),
                (interval(fixed),),
                20_000.0,
            ),
        ],
        n_threads,
        n_slots=4,
    )
    assert segment.n_threads == n_threads
    expected = np.zeros(64, "int64")
    for n in range(20):
        source, result = np.arange(64) * n, np.full(64, n)
        unused = np.zeros(1)
        segment.run([each.ctypes.data for each in (source, unused, result, unused)])
        wanted = np.full(64, n)
        mixed(wanted, np.arange(64) * n)
        np.testing.assert_array_equal(result, wanted)
        mixed(expected, wanted)
        np.testing.assert_array_equal(fixed, expected)


@pytest.mark.parametrize("n_threads", [1, 4])
@pytest.mark.parametrize("cost_ns", [10.0, 20_000.0])
def test_nothing_is_committed_after_an_error(n_threads, cost_ns):
    status, before, state, after, late = (np.zeros(64, "int64") for _ in range(5))
    bad = status[:1]
    address = bad.ctypes.data
    good = Segment([count(before), count(state, is_commit=True)], n_threads, status=address)
    segment = Segment(
        [
            count(before, cost_ns),
            count(state, cost_ns, is_commit=True),
            fail(bad, cost_ns),
            count(late, cost_ns, is_commit=True),
            count(after, cost_ns),
        ],
        n_threads,
        status=address,
    )
    for turn in range(1, 100):
        status[:] = 0
        assert segment.run() == 77
        np.testing.assert_array_equal(before, turn)
        np.testing.assert_array_equal(state, turn)
        assert not late.any()
        assert not after.any()
    assert good.run() == 77  # the status stays until its owner clears it
    np.testing.assert_array_equal(state, 99)
    status[:] = 0
    assert good.run() == 0
    np.testing.assert_array_equal(state, 100)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_profile(n_threads):
    numbers, little = np.zeros((2, 64), "int64")
    calls = [count(numbers), count(little, 10.0), count(numbers)]
    segment = Segment(calls, n_threads)
    segment.run()
    times = segment.profile()
    assert len(times) == 3
    assert all(each > 0 for each in times)
    np.testing.assert_array_equal(numbers, 4)
    segment.run()
    np.testing.assert_array_equal(little, 3)


def test_workers_that_fell_asleep_wake_up():
    numbers = np.zeros(64, "int64")
    segment = Segment([count(numbers)] * 3, 3)
    assert segment.n_threads == 3
    for pause in (0.0, 0.001, 0.01, 0.05, 0.1):
        time.sleep(pause)
        segment.run()
    np.testing.assert_array_equal(numbers, 15)


def test_two_threads_run_two_segments():
    start = threading.Barrier(3)
    arrays = np.zeros((3, 64), "int64")
    segments = [Segment([count(each)] * 20, 2) for each in arrays]

    def run(segment):
        start.wait()
        for _ in range(100):
            segment.run()

    threads = [threading.Thread(target=run, args=(each,)) for each in segments]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=60)
        assert not each.is_alive()
    np.testing.assert_array_equal(arrays, 2000)


def test_without_threads_the_caller_runs_alone(monkeypatch):
    class Refused:
        n_threads, control = 1, 0

        def grow(self, n_threads):
            return False

    monkeypatch.setattr(runtime, "pool", Refused)
    numbers = np.zeros(64, "int64")
    segment = Segment([count(numbers)] * 3, 2)
    segment.run()
    np.testing.assert_array_equal(numbers, 3)
    assert segment.n_threads == 2


# --------------------------------------------------------------------------------- processes

BEGIN = """
import os, sys, threading, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from native_calls import COUNT, address_of, interval
from graphnn.compiler.native.runtime import Call, Segment

numbers = np.zeros(64, "int64")
def segment_of(n_calls, n_threads):
    at = (interval(numbers),)
    call = Call(address_of(COUNT), 64, (numbers.ctypes.data,), at, at, 50_000.0)
    return Segment([call] * n_calls, n_threads)
segment = segment_of(20, 4)
assert segment.n_threads == 4
"""


def run_process(text, expected=0):
    """The exit code of a process must be as it says, and it must come to its end."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BEGIN + text, HARNESS],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == expected, done.stderr.decode()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("is_running", [False, True])
def test_a_child_has_its_own_workers(is_running):
    run_process(
        f"""
segment.run()
if {is_running}:  # the pool is busy in the parent when it forks
    mine = np.zeros(64, "int64")
    at = (interval(mine),)
    other = Segment([Call(address_of(COUNT), 64, (mine.ctypes.data,), at, at, 5e4)] * 2000, 4)
    threading.Thread(target=lambda: [other.run() for _ in range(10**9)], daemon=True).start()
    time.sleep(0.02)
for turn in range(3):
    child = os.fork()
    if child == 0:
        for _ in range(5):
            segment.run()
        numbers_are = (numbers == 20 * (1 + turn + 5)).all()
        n_threads = len([t for t in threading.enumerate() if t.name.startswith("graphnn-")])
        os._exit(0 if numbers_are and n_threads == 3 else 9)
    assert os.waitpid(child, 0)[1] == 0
    segment.run()
assert (numbers == 20 * 4).all()
"""
    )


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_more_threads_than_processors():
    run_process(
        """
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
for _ in range(20):
    segment.run()
assert (numbers == 400).all()
"""
    )


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("raise ValueError", 1),
        ("os._exit(6)", 6),
        (
            "threading.Thread(target=lambda: [segment.run() for _ in range(10**9)],"
            " daemon=True).start(); time.sleep(0.05); sys.exit(7)",
            7,
        ),
    ],
)
def test_a_process_ends(end, code):
    run_process(f"segment.run()\n{end}", code)


# ----------------------------------------------------------------------------------- threads


def test_number_of_threads(monkeypatch):
    monkeypatch.setattr(gn.compiler.threads, "_chosen", None)
    monkeypatch.delenv("GRAPHNN_NUM_THREADS", raising=False)
    assert 1 <= gn.get_num_threads() <= os.cpu_count()
    monkeypatch.setenv("GRAPHNN_NUM_THREADS", "5")
    assert gn.get_num_threads() == 5
    gn.set_num_threads(3)
    assert gn.get_num_threads() == 3
    with pytest.raises(ValueError, match="must be a positive integer, not 0"):
        gn.set_num_threads(0)
    with pytest.raises(ValueError, match=r"must be a positive integer, not 2\.0"):
        gn.set_num_threads(2.0)
    assert gn.get_num_threads() == 3


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_an_environment_that_makes_no_sense(monkeypatch, text):
    monkeypatch.setattr(gn.compiler.threads, "_chosen", None)
    monkeypatch.setenv("GRAPHNN_NUM_THREADS", text)
    with pytest.raises(ValueError, match="GRAPHNN_NUM_THREADS: expected a whole number"):
        gn.get_num_threads()
