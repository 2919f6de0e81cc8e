"""The order of mini-batches, and going on inside of an epoch."""

import gc
import itertools
import json
import subprocess
import sys
import threading
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphnn as gn
from graphnn.core.errors import ArgumentError, CheckpointError, ShapeError

Y = np.arange(10)


def made(**options):
    return gn.data.Batches(Y, **{"batch_size": 3, "shuffle": True, "seed": 1} | options)


def flat(batches, epochs=1):
    return [y.tolist() for _ in range(epochs) for (y,) in batches]


# --------------------------------------------------------------------------- going on in an epoch


@settings(deadline=None, derandomize=True, database=None)
@given(
    samples=st.integers(1, 30),
    size=st.integers(1, 30),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    seed=st.integers(-5, 2**70),
    stop=st.integers(0, 60),
)
def test_what_is_resumed_gives_what_was_left(samples, size, shuffle, drop_last, seed, stop):
    def new(seed):
        return gn.data.Batches(
            np.arange(samples),
            batch_size=min(size, samples),
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
        )

    undisturbed = flat(new(seed), 3)
    before, seen, state = new(seed), [], None
    stop = min(stop, len(undisturbed))
    while len(seen) < stop:
        for (y,) in before:
            seen.append(y.tolist())
            if len(seen) == stop:
                break
    state = json.loads(json.dumps(before.state_dict()))
    resumed = new(0)
    resumed.load_state_dict(state)
    epochs_left = 3 - resumed.epoch
    assert seen + flat(resumed, epochs_left) == undisturbed
    assert (resumed.epoch, resumed.position, resumed.seed) == (3, 0, seed)


def test_the_state_follows_what_was_given():
    batches = made()
    assert (batches.epoch, batches.position) == (0, 0)
    places = [(batches.epoch, batches.position) for _ in batches]
    assert places == [(0, 1), (0, 2), (0, 3), (0, 4)]
    assert (batches.epoch, batches.position) == (1, 0)


def test_between_its_last_batch_and_its_end_an_epoch_has_nothing_left():
    batches = made()
    *_, last = [batches.state_dict() for _ in batches]
    resumed = made()
    resumed.load_state_dict(last)
    assert flat(resumed) == []
    assert flat(resumed) == flat(batches)


def test_an_epoch_that_was_left_is_not_gone_on_with_by_itself():
    batches, whole = made(), made()
    next(iter(batches))
    epochs = [flat(whole), flat(whole)]
    assert flat(batches) == epochs[1]


def test_going_on_happens_once():
    batches = made()
    iteration = iter(batches)
    next(iteration)
    batches.load_state_dict(batches.state_dict())
    rest = flat(batches)
    assert len(rest) == 3
    assert len(flat(batches)) == 4


def test_the_newest_iteration_alone_moves_the_position():
    batches = made()
    old, new = iter(batches), iter(batches)
    next(old)
    next(new)
    list(old)
    assert (batches.epoch, batches.position) == (1, 1)
    list(new)
    assert (batches.epoch, batches.position) == (2, 0)


def test_setting_the_epoch_goes_to_its_beginning():
    batches = made()
    epochs = [flat(batches) for _ in range(3)]
    next(iter(batches))
    batches.epoch = 1
    assert flat(batches) == epochs[1]
    assert flat(batches) == epochs[2]
    with pytest.raises(ArgumentError, match="no epoch -1"):
        batches.epoch = -1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samples": 11}, "samples was 11, here 10"),
        ({"batch_size": 2, "shuffle": False}, "batch_size was 2, here 3; shuffle was False, here"),
        ({"drop_last": None}, "drop_last was None, here False"),
        ({"epoch": "1"}, "epoch is '1', not an integer"),
        ({"seed": True}, "seed is True, not an integer"),
        ({"position": 5}, "no epoch 0 with a position 5"),
        ({"epoch": -1}, "no epoch -1"),
        ({"order": 7}, "shuffles in another order"),
        ({"seed": 2}, "shuffles in another order"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, words):
    batches = made()
    next(iter(batches))
    before = batches.state_dict()
    with pytest.raises(CheckpointError, match=words):
        batches.load_state_dict(before | change)
    assert batches.state_dict() == before


def test_an_empty_state_names_all_that_is_missing():
    with pytest.raises(CheckpointError, match=r"seed.*epoch.*position.*order.*samples"):
        made().load_state_dict({})


# ----------------------------------------------------------------------------------- in a thread


def test_batches_that_are_made_ahead_are_the_same_ones():
    plain, ahead = made(), made(prefetch=3)
    assert flat(ahead, 3) == flat(plain, 3)
    assert threads() == 0
    state = [ahead.state_dict() for _ in ahead][1]
    assert state["position"] == 2  # those that were made ahead do not count
    resumed = made(prefetch=2)
    resumed.load_state_dict(state)
    plain.epoch = 3
    assert flat(resumed, 2) == flat(plain, 2)[2:]


def threads():
    return sum(each.name.startswith("graphnn-prefetch") for each in threading.enumerate())


def test_no_more_is_made_ahead_than_was_asked_for():
    taken, more = [], threading.Semaphore(0)

    def source():
        for number in range(10):
            taken.append(number)
            more.release()
            yield number

    with closing(gn.data.prefetch(source(), depth=3)) as batches:
        assert next(batches) == 0
        for _ in range(4):
            more.acquire()  # until the thread has made all that it may
        assert not more.acquire(timeout=0.05)
        assert taken == [0, 1, 2, 3]
    assert threads() == 0


def test_it_is_another_thread_that_makes_them():
    def source():
        yield threading.current_thread()

    (maker,) = gn.data.prefetch(source())
    assert maker is not threading.current_thread()


def test_an_error_comes_through_where_its_batch_would_have_come():
    def source():
        yield 1
        yield 2
        raise OSError("disk")

    given = []
    with pytest.raises(OSError, match="disk") as caught:
        given.extend(gn.data.prefetch(source(), depth=5))
    assert given == [1, 2]
    assert "source" in [entry.name for entry in caught.traceback]
    assert threads() == 0


@pytest.mark.parametrize("leave", ["break", "error", "forgotten"])
def test_an_iteration_that_is_left_ends_its_thread(leave):
    closed = threading.Event()

    def source():
        try:
            yield from range(1000)
        finally:
            closed.set()

    def train():
        for number in gn.data.prefetch(source()):
            if leave == "break":
                break
            if leave == "error":
                raise ZeroDivisionError
            return number  # and the iteration is forgotten
        return None

    if leave == "error":
        with pytest.raises(ZeroDivisionError):
            train()
    else:
        train()
    gc.collect()
    assert threads() == 0
    assert closed.wait(5)


def test_left_batches_can_be_gone_on_with():
    ahead, plain = made(prefetch=2), made()
    iteration = iter(ahead)
    first = [next(iteration)[0].tolist()]
    iteration.close()
    ahead.load_state_dict(ahead.state_dict())
    assert first + flat(ahead) == flat(plain)


INTERRUPTED = """
import signal, sys, threading, time
import graphnn as gn

taken = threading.Event()

def is_waiting(thread):
    # In threading.Condition.wait, behind the point from which it puts things in order again.
    frame = sys._current_frames()[thread.ident]
    return frame.f_code.co_name == "wait" and "gotit" in frame.f_locals

def slow():
    yield 1
    taken.wait()
    # On a busy machine the main thread may not be there yet; and Python itself may keep a lock for
    # ever that is interrupted while it is taken.
    while not is_waiting(threading.main_thread()):
        time.sleep(0.01)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    for _ in range(100):  # no longer: a signal that comes just before a thread waits wakes nobody
        if not is_waiting(threading.main_thread()):
            break
        time.sleep(0.01)
    yield 2

try:
    for batch in gn.data.prefetch(slow()):
        print("batch", batch)
        taken.set()
except KeyboardInterrupt:
    print("interrupted", threading.active_count())
kept = gn.data.prefetch(iter(range(100)))  # not closed when the process ends
print(next(kept))
"""


def test_ctrl_c_ends_the_thread_and_the_process_ends():
    done = subprocess.run(
        [sys.executable, "-P", "-c", INTERRUPTED], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split("\n") == ["batch 1", "interrupted 1", "0", ""]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("depth", [0, -1, 1.5, True])
def test_a_depth_that_is_none_is_refused(depth):
    with pytest.raises(ArgumentError, match="depth must be a positive integer"):
        gn.data.prefetch([1], depth)
    if depth != 0:
        with pytest.raises(ArgumentError, match="prefetch must be a positive integer"):
            made(prefetch=depth)


# ---------------------------------------------------------------------------- sequences by length


def ragged(lengths, features=()):
    """Sequences whose elements tell the sequence and the step."""
    return [
        np.broadcast_to(
            100 * (number + 1) + np.arange(length).reshape(-1, *[1] * len(features)),
            (length, *features),
        )
        for number, length in enumerate(lengths)
    ]


@settings(deadline=None, derandomize=True, database=None)
@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=25),
    size=st.integers(1, 5),
    buckets=st.integers(1, 6),
    shuffle=st.booleans(),
    batch_first=st.booleans(),
    seed=st.integers(0, 3),
)
def test_every_sequence_comes_once_and_padded(lengths, size, buckets, shuffle, batch_first, seed):
    sequences, labels = ragged(lengths, (2,)), np.arange(len(lengths))
    batches = gn.data.SequenceBatches(
        sequences,
        labels,
        batch_size=min(size, len(lengths)),
        buckets=buckets,
        shuffle=shuffle,
        batch_first=batch_first,
        seed=seed,
    )
    seen = []
    epoch = list(batches)
    assert len(epoch) == len(batches)
    for x, batch_lengths, chosen in epoch:
        rows = x if batch_first else x.swapaxes(0, 1)
        assert rows.shape[1] in batches.steps
        assert rows.shape[1] >= batch_lengths.max()
        for row, length, number in zip(rows, batch_lengths, chosen, strict=True):
            np.testing.assert_array_equal(row[:length], sequences[number])
            assert not row[length:].any()
        seen += chosen.tolist()
    assert sorted(seen) == list(range(len(lengths)))
    assert len(batches.steps) <= buckets
    # A sequence is in the first bucket that it fits into.
    assert all(
        x.shape[1 if batch_first else 0] == min(s for s in batches.steps if s >= longest)
        for x, batch_lengths, _ in epoch
        for longest in batch_lengths
    )


@settings(deadline=None, derandomize=True, database=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=20),
    buckets=st.integers(1, 4),
    size=st.integers(1, 4),
)
def test_buckets_are_those_of_least_padding(lengths, buckets, size):
    size = min(size, len(lengths))
    found = gn.data.SequenceBatches(ragged(lengths), batch_size=size, buckets=buckets).steps

    def padded(steps):
        bucket = np.searchsorted(steps, lengths)
        counts = np.bincount(bucket, minlength=len(steps))
        return np.array(steps)[bucket].sum() if counts.min() >= size else np.inf

    inner = sorted(set(lengths) - {max(lengths)})
    possible = [
        (*some, max(lengths))
        for count in range(buckets)
        for some in itertools.combinations(inner, count)
    ]
    assert found in possible
    assert padded(found) == min(map(padded, possible))


def test_buckets_of_many_lengths_are_good_too():
    lengths = np.random.default_rng(0).integers(1, 20_000, size=2_000)
    batches = gn.data.SequenceBatches(
        [np.zeros(length, np.int8) for length in lengths], batch_size=10, buckets=10
    )
    padded = np.array(batches.steps)[np.searchsorted(batches.steps, lengths)]
    assert len(batches.steps) == 10
    assert lengths.sum() / padded.sum() > 0.9  # equal lengths: 10 / 11


def test_steps_of_buckets_can_be_given():
    batches = gn.data.SequenceBatches(ragged([1, 8, 9, 3]), batch_size=2, buckets=[4, 8, 16])
    assert [(x.shape, lengths.tolist()) for x, lengths in batches] == [
        ((4, 2), [1, 3]),
        ((8, 1), [8]),
        ((16, 1), [9]),
    ]


def test_sequences_of_other_lengths_go_along():
    sources, targets = ragged([3, 1, 2, 5]), ragged([1, 6, 2, 4])
    batches = gn.data.SequenceBatches(
        sources, targets, [7, 8, 9, 10], batch_size=2, buckets=2, batch_first=True
    )
    (x, m, y, n, label), (*_, y_2, n_2, label_2) = batches
    assert (m.tolist(), n.tolist(), label.tolist()) == ([1, 2], [6, 2], [8, 9])
    assert x.tolist() == [[200, 0], [300, 301]]
    assert y.shape == (2, 6)
    np.testing.assert_array_equal(y[0], targets[1])
    assert (y_2.shape, n_2.tolist(), label_2.tolist()) == ((2, 4), [1, 4], [7, 10])


def test_shuffled_sequences_change_batches_and_their_order():
    batches = gn.data.SequenceBatches(
        ragged(range(1, 41)), np.arange(40), batch_size=5, buckets=2, shuffle=True
    )
    first, second = ([chosen.tolist() for *_, chosen in batches] for _ in range(2))
    assert first != second
    assert {frozenset(each) for each in first} != {frozenset(each) for each in second}
    short = [each[0] < 20 for each in first]
    assert short not in (sorted(short), sorted(short, reverse=True))
    assert all(len({number < 20 for number in each}) == 1 for each in first)


@pytest.mark.parametrize("drop_last", [False, True])
def test_sequences_are_resumed_to_the_same_bits(drop_last):
    def new(seed):
        return gn.data.SequenceBatches(
            ragged([*range(1, 15)] * 2),
            batch_size=4,
            buckets=3,
            shuffle=True,
            drop_last=drop_last,
            seed=seed,
        )

    def told(batches):
        return [(x.tolist(), lengths.tolist()) for x, lengths in batches]

    whole, undisturbed = new(5), []
    for _ in range(2):
        undisturbed += told(whole)
    before = new(5)
    states = [json.loads(json.dumps(before.state_dict())) for _ in before]
    for done, state in enumerate(states, start=1):
        resumed = new(0)
        resumed.load_state_dict(state)
        assert told(resumed) + told(resumed) == undisturbed[done:]
    other = gn.data.SequenceBatches(
        ragged([*range(1, 15)] * 2), batch_size=4, buckets=2, shuffle=True, drop_last=drop_last
    )
    with pytest.raises(CheckpointError, match=r"steps was \[\d+, \d+, 14\], here \[\d+, 14\]"):
        other.load_state_dict(states[0])


def test_other_lengths_in_the_same_buckets_are_recognised():
    def new(lengths):
        return gn.data.SequenceBatches(ragged(lengths), batch_size=1, buckets=[2, 4], shuffle=True)

    state = new([1, 3, 4]).state_dict()
    with pytest.raises(CheckpointError, match="or the lengths differ"):
        new([3, 1, 2]).load_state_dict(state)


@pytest.mark.parametrize(
    ("data", "options", "error", "words"),
    [
        ((), {}, ShapeError, "a list of sequences is needed first"),
        ((Y,), {}, ShapeError, "a list of sequences is needed first"),
        (([1, 2],), {}, ShapeError, "a list of sequences is needed first"),
        (([],), {}, ShapeError, "data set is empty"),
        (([[1], [[2]]],), {}, ShapeError, "do not agree"),
        (([[1], [2]], [0]), {}, ShapeError, "differ in length: 2, 1"),
        (([[1], [2]],), {"batch_size": 3}, ArgumentError, "3 is larger than the data, 2"),
        (([[1], [2]],), {"buckets": 0}, ArgumentError, "buckets must be a positive integer"),
        (([[1], [2]],), {"buckets": [0]}, ArgumentError, "steps must be a positive integer"),
        (([[1], [2]],), {"buckets": []}, ArgumentError, "must ascend"),
        (([[1], [2]],), {"buckets": [3, 2]}, ArgumentError, "must ascend"),
        (([[1], [2, 3]],), {"buckets": [1]}, ShapeError, "of 2 steps is longer than the last"),
        (
            ([[1], [2], [3, 4]],),
            {"batch_size": 2, "buckets": [1, 2], "drop_last": True},
            ArgumentError,
            "only 1 sequences are in the bucket of up to 2 steps",
        ),
    ],
)
def test_sequence_batches_refuse(data, options, error, words):
    with pytest.raises(error, match=words):
        gn.data.SequenceBatches(*data, **{"batch_size": 1} | options)
