"""``fit(resume=)`` and the callback that saves: runs that are resumed end in the same bits."""

import json
import os
import signal
import time

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, CheckpointError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("float32")
T = (X.sum(axis=1) > 0).astype("int64")
EPOCHS = 5


class KilledError(Exception):
    """What ends a process in these tests."""


class Kill(gn.train.Callback):
    """Ends the process at the so-manieth point at which it may be saved."""

    def __init__(self, at):
        self.left = at

    def on_save_point(self, run):
        self.left -= 1
        if self.left == 0:
            raise KilledError


class Process:
    """All that one training process makes, in the same way every time."""

    def __init__(self, folder, **saving):
        gn.seed(0)
        self.folder = folder
        self.batches = gn.data.Batches(X[:50], T[:50], batch_size=16, shuffle=True, seed=1)
        self.held_out = gn.data.Batches(X[50:], T[50:], batch_size=4, shuffle=True)
        self.model = gn.nn.Sequential(
            gn.nn.Dense(4, 8), gn.nn.BatchNorm(8), gn.nn.Dropout(0.3), gn.nn.Dense(8, 2)
        )
        plateau = gn.optim.ReduceOnPlateau(0.05, factor=0.5, patience=0)
        self.trainer = gn.train.Trainer(
            self.model,
            gn.losses.cross_entropy,
            gn.optim.Adam(plateau.rate),
            backend="reference",
            optimize="O0",
        )
        self.watching = gn.train.GradientStatistics(every=3)
        self.stopping = gn.train.EarlyStopping(self.model, patience=9)
        self.saving = gn.train.Checkpoint(folder, monitor="val_loss", **saving)
        self.callbacks = [
            self.saving,  # is called last nevertheless
            self.watching,
            gn.train.OnPlateau(plateau),
            self.stopping,
            gn.train.CSVLogger(folder / "log.csv"),
            gn.train.JSONLinesLogger(folder / "log.jsonl"),
        ]

    def fit(self, *more, epochs=EPOCHS):
        return self.trainer.fit(
            self.batches,
            epochs,
            validation=self.held_out,
            callbacks=[*self.callbacks, *more],
            resume=self.folder,
            verbose=0,
        )

    def ends(self):
        """All bits that it ends with."""
        parts = (self.model, self.trainer.optimizer, self.batches, self.trainer.history, gn.random)
        parts += (self.stopping, self.watching)
        best = gn.io.read_checkpoint(self.saving.best).parts["model"]
        logs = [(self.folder / name).read_text() for name in ("log.csv", "log.jsonl")]
        return repr([_bits(part.state_dict()) for part in parts]), _bits(best), logs


def _bits(state):
    if isinstance(state, np.ndarray):
        return state.tobytes()
    if isinstance(state, dict):
        return {name: _bits(value) for name, value in state.items()}
    return [_bits(value) for value in state] if isinstance(state, list) else state


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    process = Process(tmp_path_factory.mktemp("undisturbed"))
    process.fit()
    return process.ends()


@pytest.mark.parametrize(
    ("at", "saving"),
    [
        (1, {}),
        (4, {"every_steps": 1}),
        (9, {"every_steps": 3, "every_epochs": None}),
        (14, {"every_epochs": 2}),
    ],
)
def test_runs_end_where_undisturbed_ones_end(tmp_path, undisturbed, at, saving):
    with pytest.raises(KilledError):
        Process(tmp_path, **saving).fit(Kill(at))
    gn.seed(9)  # what the process did besides is of no consequence
    process = Process(tmp_path, **saving)
    process.fit()
    assert process.ends() == undisturbed


def test_ctrl_c_saves_what_is_not_yet_restored(tmp_path, undisturbed):
    class Interrupt(gn.train.Callback):
        steps = 0

        def on_step_end(self, batch, measured):
            self.steps += 1
            if self.steps == 10:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = Process(tmp_path)
    try:
        history = process.fit(Interrupt())
    finally:
        signal.signal(signal.SIGINT, before)
    assert history.interrupted
    assert history.epochs == 2
    assert "interrupted, after step 2 of epoch 3" in history.report
    assert f"resume={str(tmp_path)!r} goes on" in history.report
    history = process.fit()  # in the same session
    assert not history.interrupted
    assert process.ends() == undisturbed


def test_runs_that_have_ended_are_at_their_end(tmp_path, undisturbed):
    Process(tmp_path).fit()
    again = Process(tmp_path)
    history = again.fit()
    assert again.ends() == undisturbed
    assert "0 steps" in history.report
    assert again.fit(epochs=EPOCHS + 1).epochs == EPOCHS + 1
    # Early stopping ends a run for good, too.
    calls = []

    def trained(folder):
        losses = iter([1.0, 0.5, 0.7, 0.6])
        w = gn.parameter(0.0)
        step = gn.compile([], w, updates={w: w + 1.0}, backend="reference")
        stopping = gn.train.EarlyStopping([w], monitor="loss")
        history = gn.train.fit(
            lambda: (step(), calls.append(1), next(losses))[2],
            [()],
            9,
            callbacks=[stopping, gn.train.Checkpoint(folder)],
            parts={"w": Weight(w)},
            resume=folder,
            verbose=0,
        )
        return history.stopped, float(w.value)

    ended = trained(tmp_path / "stopped")
    assert ended == ("loss has not improved for 1 epoch", 2.0)
    assert trained(tmp_path / "stopped") == ended
    assert len(calls) == 3


class Weight:
    """A part of one's own."""

    def __init__(self, parameter):
        self.parameter = parameter

    def state_dict(self):
        return {"value": self.parameter.value}

    def load_state_dict(self, state):
        self.parameter.value = state["value"]


def test_plain_loops_go_on_and_skip_what_was_seen(tmp_path):
    """Over a list, which does not know where it is."""

    def trained(folder, *more):
        seen = []
        total = gn.parameter(0.0)
        x = gn.input("x", shape=(1,))
        add = gn.compile(x, total, updates={total: total + gn.sum(x)}, backend="reference")

        def step(x):
            seen.append(float(x[0]))
            return add(x)

        history = gn.train.fit(
            step,
            [(np.full(1, i, "float32"),) for i in range(4)],
            3,
            callbacks=[gn.train.Checkpoint(folder, every_steps=1), *more],
            parts={"total": Weight(total)},
            resume=folder,
            verbose=0,
        )
        return seen, history["loss"], float(total.value)

    whole = trained(tmp_path / "whole")
    with pytest.raises(KilledError):
        trained(tmp_path / "cut", Kill(8))  # 4 steps, an epoch, 3 steps
    seen, *ended = trained(tmp_path / "cut")
    assert seen == [3.0, 0.0, 1.0, 2.0, 3.0]
    assert ended == [*whole[1:]]


# -------------------------------------------------------------------------- when and what it saves


def saved_at(steps, tmp_path, **saving):
    """After which steps and epochs a checkpoint was written: (epochs, steps of the next one)."""
    found = []

    class Look(gn.train.Callback):
        def on_save_point(self, run):
            if checkpoint.last.exists():
                found.append(gn.io.read_checkpoint(checkpoint.last).parts)

    checkpoint = gn.train.Checkpoint(tmp_path, **saving)

    def step():
        steps.append(1)
        return 1.0

    gn.train.fit(step, [()] * 3, 4, callbacks=[checkpoint, Look()], verbose=0)
    places = [
        (len(each["history"]["metrics"].get("loss", ())), each["means"]["steps"]) for each in found
    ]
    return list(dict.fromkeys(places))


@pytest.mark.parametrize(
    ("saving", "places"),
    [
        ({}, [(0, 1), (1, 0), (2, 0), (3, 0), (4, 0)]),
        ({"every_epochs": 3}, [(0, 1), (3, 0), (4, 0)]),
        ({"every_epochs": None, "every_steps": 5}, [(0, 1), (1, 2), (3, 1), (4, 0)]),
        ({"every_epochs": None, "every_seconds": 5.0}, [(0, 1), (1, 3), (3, 2), (4, 0)]),
    ],
)
def test_checkpoints_are_written_when_they_are_due(tmp_path, monkeypatch, saving, places):
    monkeypatch.setattr(time, "monotonic", lambda: float(len(steps)))  # a second for each
    steps = []
    assert saved_at(steps, tmp_path, **saving) == places


def test_the_best_epoch_is_kept(tmp_path):
    accuracies = iter([0.3, 0.9, 0.9, 0.5])
    checkpoint = gn.train.Checkpoint(tmp_path, monitor="accuracy")
    history = gn.train.fit(
        lambda: {"loss": 1.0, "accuracy": next(accuracies)},
        [()],
        4,
        callbacks=[checkpoint],
        verbose=0,
    )
    assert gn.io.read_checkpoint(checkpoint.best).parts["history"]["metrics"]["accuracy"] == [
        0.3,
        0.9,
    ]
    assert "best accuracy: epoch 2: loss 1, accuracy 0.9" in history.report
    assert f"best accuracy in {checkpoint.best}" in history.report


def test_a_damaged_checkpoint_costs_the_time_since_the_one_before(tmp_path, undisturbed):
    with pytest.raises(KilledError):
        Process(tmp_path).fit(Kill(17))
    with open(tmp_path / "last.ckpt", "r+b") as file:
        file.truncate(500)
    process = Process(tmp_path)
    with pytest.warns(gn.io.CheckpointWarning, match="the one before it is used"):
        process.fit()
    assert process.ends() == undisturbed


def test_another_run_is_not_replaced_without_a_word(tmp_path):
    def fit(**options):
        saving = gn.train.Checkpoint(tmp_path)
        return gn.train.fit(lambda: 1.0, [()], 2, callbacks=[saving], verbose=0, **options)

    fit()
    with pytest.warns(
        gn.io.CheckpointWarning, match=r"of another run, and is replaced; fit\(..., "
    ):
        fit()
    assert fit(resume=tmp_path).epochs == 2  # pytest makes warnings errors
    assert fit(resume=tmp_path / "last.ckpt").epochs == 2


def test_logs_are_cut_off_where_the_checkpoint_is(tmp_path):
    def fit(epochs, *more):
        callbacks = [
            gn.train.Checkpoint(tmp_path, every_epochs=2),
            gn.train.CSVLogger(tmp_path / "log.csv"),
            gn.train.JSONLinesLogger(tmp_path / "log.jsonl"),
            *more,
        ]
        gn.train.fit(lambda: 0.5, [()], epochs, callbacks=callbacks, resume=tmp_path, verbose=0)

    with pytest.raises(KilledError):
        fit(9, Kill(6))  # in the third epoch, of which the logs know
    with open(tmp_path / "log.csv", "a") as file:
        file.write("3,0.")
    fit(4)
    assert (tmp_path / "log.csv").read_text() == "epoch,loss\n0,0.5\n1,0.5\n2,0.5\n3,0.5\n"
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(each)["epoch"] for each in lines] == [0, 1, 2, 3]


# ------------------------------------------------------------------------------------- refusing


def test_what_cannot_be_resumed(tmp_path):
    def fit(**options):
        gn.train.fit(lambda: 1.0, [()], verbose=0, **options)

    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        fit(resume=tmp_path / "missing.ckpt")
    gn.io.save(tmp_path / "last.ckpt", epoch=3)
    with pytest.raises(CheckpointError, match="history: there is no such part, but epoch"):
        fit(resume=tmp_path)
    with pytest.raises(ArgumentError, match="the part 'history' is there already"):
        fit(parts={"history": gn.random})
    with pytest.raises(ArgumentError, match="every_steps"):
        gn.train.Checkpoint(tmp_path, every_steps=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be made"):
        fit(callbacks=[gn.train.Checkpoint(tmp_path / "file" / "folder")])

    process = Process(tmp_path / "run")
    process.fit(epochs=1)
    other = Process(tmp_path / "run")
    other.model = gn.nn.Sequential(gn.nn.Dense(4, 2))
    other.trainer.model = other.model
    with pytest.raises(CheckpointError, match=r"model: the state does not fit(.|\n)*unexpected"):
        other.fit()


def test_the_best_weights_have_to_be_of_the_model():
    stopping = gn.train.EarlyStopping([gn.parameter([1.0, 2.0])], monitor="loss")
    stopping.on_epoch_end({"loss": 1.0})
    with pytest.raises(CheckpointError, match="the best weights are 1 arrays"):
        gn.train.EarlyStopping([gn.parameter(1.0)]).load_state_dict(stopping.state_dict())
