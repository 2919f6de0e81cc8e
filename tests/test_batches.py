"""The order of mini-batches, and going on inside of an epoch."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphnn as gn
from graphnn.core.errors import ArgumentError, CheckpointError

Y = np.arange(10)


def made(**options):
    return gn.data.Batches(Y, **{"batch_size": 3, "shuffle": True, "seed": 1} | options)


def flat(batches, epochs=1):
    return [y.tolist() for _ in range(epochs) for (y,) in batches]


# --------------------------------------------------------------------------- going on in an epoch


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
