"""The training loop: what it records, how it stops, and that it is the same every time."""

import os
import signal
import sys
import threading

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import (
    ArgumentError,
    MissingPackageError,
    NonFiniteError,
    RenderError,
    ShapeError,
)

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
T = (X[:, 0] * X[:, 1] > 0).astype(np.int64)


class Learner:
    """A small classifier with dropout, its training step, and its evaluation."""

    def __init__(self, backend="numpy", seed=0):
        gn.seed(seed)
        x = gn.input("x", shape=("batch", 3))
        t = gn.input("t", shape=("batch",), dtype="int64")
        self.model = gn.nn.Sequential(
            gn.nn.Dense(3, 8), gn.nn.Tanh(), gn.nn.Dropout(0.1), gn.nn.Dense(8, 2)
        )
        loss = gn.losses.cross_entropy(self.model(x), t)
        updates = gn.optim.Adam(0.05).minimize(loss, self.model.parameters())
        self.step = gn.compile([x, t], loss, updates, backend=backend)
        tested = self.model.eval()(x)
        right = gn.mean(gn.equal(gn.argmax(tested, axis=-1), t))
        measures = {"loss": gn.losses.cross_entropy(tested, t), "accuracy": right}
        self.test = gn.compile([x, t], measures, backend=backend)
        self.batches = gn.data.Batches(X, T, batch_size=8, shuffle=True)

    def fit(self, epochs, **options):
        return gn.train.fit(self.step, self.batches, epochs, verbose=0, **options)


def test_the_first_program(tmp_path):
    """A classifier from declaration to picture, in as few lines as the introduction has."""
    x = gn.input("x", shape=("batch", 64))
    t = gn.input("t", shape=("batch",), dtype="int64")
    model = gn.nn.Sequential(gn.nn.Dense(64, 32), gn.nn.ReLU(), gn.nn.Dense(32, 10))
    loss = gn.losses.cross_entropy(model(x), t)
    step = gn.compile(
        inputs=[x, t],
        outputs=loss,
        updates=gn.optim.Adam(1e-3).minimize(loss, model.parameters()),
        backend="numpy",
    )
    rng = np.random.default_rng(0)
    xb, tb = rng.random((32, 64), dtype=np.float32), rng.integers(0, 10, 32)
    values = [step(xb, tb) for _ in range(200)]
    assert values[-1] < 0.2 * values[0]
    gn.render(step, tmp_path / "step.svg")
    assert "<svg" in (tmp_path / "step.svg").read_text(encoding="utf-8")[:200]


def test_training_learns_and_is_recorded():
    learner = Learner()
    history = learner.fit(60, validation=(learner.test, [(X, T)]))
    assert history.epochs == len(history["loss"]) == len(history["val_accuracy"]) == 60
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    assert history.latest["val_accuracy"] > 0.9
    assert not history.interrupted
    assert repr(history).startswith("<History 60 epochs: loss ")


def test_the_same_seed_gives_the_same_bits():
    runs = []
    for _ in range(2):
        learner = Learner()
        history = learner.fit(5)
        runs.append((history["loss"], learner.model.state_dict()))
    assert runs[0][0] == runs[1][0]
    for name, value in runs[0][1].items():
        assert value.tobytes() == runs[1][1][name].tobytes()
    assert Learner(seed=1).fit(5)["loss"] != runs[0][0]


def test_backends_train_alike():
    losses, states = [], []
    for backend in ("reference", "numpy"):
        learner = Learner(backend)
        losses.append(learner.fit(5)["loss"])
        states.append(learner.model.state_dict())
    np.testing.assert_allclose(*losses, rtol=1e-4)
    for name in states[0]:
        np.testing.assert_allclose(states[0][name], states[1][name], rtol=1e-3, atol=1e-4)


def test_a_recurrent_net_trains_alike_on_both_backends():
    found = []
    for backend in ("reference", "numpy"):
        gn.seed(0)
        x = gn.input("x", shape=(6, "batch", 1), dtype="float64")
        t = gn.input("t", shape=("batch", 1), dtype="float64")
        rnn = gn.nn.SimpleRNN(1, 4, dtype="float64")
        head = gn.nn.Dense(4, 1, dtype="float64")
        loss = gn.losses.mse(head(rnn(x)), t)
        updates = gn.optim.SGD(0.1, momentum=0.9).minimize(
            loss, [*rnn.parameters(), *head.parameters()]
        )
        step = gn.compile([x, t], loss, updates, backend=backend)
        sequence = np.sin(np.arange(7)[:, None] + np.arange(5.0))[..., None]
        found.append([step(sequence[:6], sequence[6]) for _ in range(10)])
    np.testing.assert_allclose(*found, rtol=1e-9)


def test_means_weigh_batches_by_their_samples():
    data = gn.data.Batches(np.arange(5.0), batch_size=2)
    assert gn.train.evaluate(lambda x: x.mean(), data) == {"loss": 2.0}
    assert gn.train.fit(lambda x: x.mean(), data, verbose=0)["loss"] == [2.0]


def test_a_history_can_go_on():
    history = gn.train.fit(lambda x: 1.0, [(X,)], 2, verbose=0)
    assert gn.train.fit(lambda x: 0.5, [(X,)], history=history, verbose=0) is history
    assert history["loss"] == [1.0, 1.0, 0.5]


# ------------------------------------------------------------------------------------ stopping


@pytest.fixture
def interruptible():
    """Ctrl-C as a terminal has it: a job in the background may have been started without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_finishes_the_step_and_ends_the_run():
    learner = Learner()
    calls = []

    def step(x, t):
        loss = learner.step(x, t)
        calls.append(loss)
        if len(calls) == 4:  # the first step of the second epoch
            os.kill(os.getpid(), signal.SIGINT)
        return loss

    history = gn.train.fit(step, learner.batches, 10, verbose=0)
    assert history.interrupted
    assert (history.epochs, len(calls)) == (1, 4)
    assert "interrupted" in repr(history)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = learner.fit(1, history=history)
    assert again.epochs == 2
    assert not again.interrupted


@pytest.mark.usefixtures("interruptible")
def test_a_second_ctrl_c_interrupts_at_once():
    def step(x):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        gn.train.fit(step, [(X,)], verbose=0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_may_train():
    found = []
    thread = threading.Thread(
        target=lambda: found.append(gn.train.fit(lambda x: 1.0, [(X,)], verbose=0))
    )
    thread.start()
    thread.join()
    assert found[0]["loss"] == [1.0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_training(value):
    losses = iter([1.0, 1.0, value])
    with pytest.raises(NonFiniteError, match=f"loss is {value} in epoch 2, step 1"):
        gn.train.fit(lambda x: next(losses), [(X,), (X,)], 2, verbose=0)


# ------------------------------------------------------------------------------------- refusing


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gn.train.fit(len, [], verbose=0), ShapeError, "no batches"),
        (lambda: gn.train.fit(len, (b for b in [(X,)]), 2, verbose=0), ShapeError, "used up"),
        (lambda: gn.train.fit(len, [(X,)], 0, verbose=0), ArgumentError, "positive integer"),
        (lambda: gn.train.fit(lambda x: None, [(X,)], verbose=0), ArgumentError, "give a loss"),
        (lambda: gn.train.fit(lambda x: {"a": 1.0}, [(X,)], verbose=0), ArgumentError, "'loss'"),
        (lambda: gn.train.evaluate(lambda x: {}, [(X,)]), ArgumentError, "dict of numbers"),
        (lambda: gn.train.evaluate(len, []), ShapeError, "no batches"),
    ],
)
def test_the_loop_refuses(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ---------------------------------------------------------------------------- what is to be seen


class Terminal:
    """A stream that claims to be a terminal and keeps what is written."""

    def __init__(self, is_terminal):
        self.text = ""
        self.isatty = lambda: is_terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize(
    ("verbose", "is_terminal", "shown"), [(1, True, True), (1, False, False), (0, True, False)]
)
def test_the_progress_bar_is_for_terminals(verbose, is_terminal, shown, monkeypatch):
    stream = Terminal(is_terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    gn.train.fit(lambda x: 0.25, [(X,)] * 3, 2, verbose=verbose)
    words = ("6/6", "loss=0.25", "ended: all epochs are made")
    assert [each in stream.text for each in words] == [shown] * 3
    assert shown or not stream.text


def test_a_history_plots_itself(tmp_path):
    pytest.importorskip("matplotlib")
    history = gn.train.History({"loss": [2.0, 1.0], "val_loss": [2.1, 1.5], "accuracy": [0.1, 0.5]})
    figure = history.plot(tmp_path / "curve.png", title="a run")
    loss, accuracy = figure.axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[2.0, 1.0], [2.1, 1.5]]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_plots_that_cannot_be_made(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    history = gn.train.History({"loss": [1.0]})
    with pytest.raises(RenderError, match="nothing to plot"):
        gn.train.History().plot()
    with pytest.raises(RenderError, match="cannot be written"):
        history.plot(tmp_path / "no" / "such" / "folder.png")
    with pytest.raises(RenderError, match="cannot be written"):
        history.plot(tmp_path / "curve.nonsense")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match=r"graphnn\[viz\]"):
        history.plot()


def test_a_measure_that_is_not_there_is_named():
    with pytest.raises(ArgumentError, match="'acc' was not measured"):
        gn.train.History({"loss": [1.0]})["acc"]
