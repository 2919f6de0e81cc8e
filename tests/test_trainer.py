"""The trainer, callbacks, loggers, predictions, the search for a learning rate, accumulation."""

import csv
import json
import os
import re
import signal

import numpy as np
import pytest

import graphnn as gn
from graphnn.core.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype("float32")
T = (X.sum(axis=1) > 0).astype("int64")


def model_of(*layers):
    gn.seed(0)
    return gn.nn.Sequential(gn.nn.Dense(4, 8), *layers, gn.nn.Tanh(), gn.nn.Dense(8, 2))


def trainer_of(model, **options):
    metrics = {"accuracy": gn.metrics.accuracy}
    return gn.train.Trainer(
        model, gn.losses.cross_entropy, gn.optim.Adam(0.05), metrics=metrics, **options
    )


def batches_of(n=60):
    return gn.data.Batches(X[:n], T[:n], batch_size=16, shuffle=True, seed=0)


# ------------------------------------------------------------------------------------- Trainer


@pytest.mark.parametrize("backend", ["reference", "numpy"])
def test_a_trainer_does_what_is_written_out_by_hand(backend):
    model = model_of(gn.nn.BatchNorm(8))
    history = trainer_of(model, max_norm=0.5, backend=backend).fit(batches_of(), 3, verbose=0)
    other = model_of(gn.nn.BatchNorm(8))
    x, t = gn.input("x", shape=("batch", 4)), gn.input("t", shape=("batch",), dtype="int64")
    logits = other(x)
    loss = gn.losses.cross_entropy(logits, t)
    updates = gn.optim.Adam(0.05).minimize(loss, other.parameters(), max_norm=0.5)
    updates |= other.state_updates()
    measures = {"loss": loss, "accuracy": gn.metrics.accuracy(logits, t)}
    step = gn.compile([x, t], measures, updates=updates, backend=backend)
    expected = gn.train.fit(step, batches_of(), 3, verbose=0)
    assert history.metrics == expected.metrics
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, model.state_dict()[name])


def test_evaluation_and_prediction_are_in_evaluation_mode():
    model = model_of(gn.nn.Dropout(0.5))
    trainer = trainer_of(model)
    trainer.fit(batches_of(), 20, validation=batches_of(40), verbose=0)
    assert set(trainer.history.metrics) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    whole = gn.data.Batches(X, T, batch_size=60)
    assert trainer.evaluate(whole) == trainer.evaluate(whole)
    logits = trainer.predict([(X[:50],), (X[50:],)])
    np.testing.assert_allclose(
        trainer.evaluate(whole)["accuracy"], gn.metrics.accuracy(logits, T), rtol=1e-6
    )
    assert model.training
    trainer.fit(batches_of(), 2, verbose=0)
    assert trainer.history.epochs == 22


def test_trainers_refuse():
    with pytest.raises(ArgumentError, match="inputs and then targets, not 1 array"):
        trainer_of(model_of()).fit([(X,)], verbose=0)
    with pytest.raises(ArgumentError, match="'loss' is measured already"):
        gn.train.Trainer(model_of(), gn.losses.mse, gn.optim.SGD(), metrics={"loss": abs})
    with pytest.raises(ArgumentError, match="axis of samples first"):
        trainer_of(model_of()).fit([(X, np.int64(3))], verbose=0)
    with pytest.raises(ShapeError, match="there are no batches"):
        trainer_of(model_of()).predict([])
    with pytest.raises(ArgumentError, match=r"2 inputs, which .* does not take: too many"):
        trainer_of(model_of()).predict(batches_of())
    with pytest.raises(DTypeError, match=r"give batches of x.astype\('float32'\)"):
        trainer_of(model_of()).fit([(X.astype("float64"), T)], verbose=0)
    with pytest.raises(ArgumentError, match=r"Adam'> is no optimizer"):
        gn.train.Trainer(model_of(), gn.losses.mse, gn.optim.Adam)
    with pytest.raises(ArgumentError, match="top must be a function of outputs and targets"):
        gn.train.Trainer(model_of(), gn.losses.mse, gn.optim.SGD(), metrics={"top": "accuracy"})
    with pytest.raises(ArgumentError, match=r"no backend 'cuda'(?s:.*)'cupy'"):
        gn.train.Trainer(model_of(), gn.losses.mse, gn.optim.SGD(), backend="cuda")
    with pytest.raises(ArgumentError, match=r"Timing'> is no callback"):
        trainer_of(model_of()).fit(batches_of(), callbacks=[gn.train.Timing], verbose=0)
    with pytest.raises(ArgumentError, match="patience is -1, it must be 0 or more"):
        gn.train.EarlyStopping(model_of(), patience=-1)


def test_predictions_keep_structure():
    found = gn.train.predict(
        lambda x: {"twice": 2 * x, "both": (x, -x)}, [(X[:30],), (X[30:],)], verbose=0
    )
    np.testing.assert_array_equal(found["twice"], 2 * X)
    np.testing.assert_array_equal(found["both"][1], -X)


# ----------------------------------------------------------------------------------- callbacks


def losses_of(values):
    """A step that moves a weight by one and measures what is in the list."""
    w = gn.parameter(0.0, name="w")
    moved = gn.compile([], w, updates={w: w + 1.0})
    remaining = iter(values)

    def step():
        moved()
        return next(remaining)

    return w, step


@pytest.mark.parametrize(
    ("options", "best", "epochs"),
    [
        ({}, 1, 3),
        ({"patience": 1}, 3, 6),
        ({"patience": 9}, 7, 9),
        ({"patience": 1, "min_delta": 0.15}, 1, 4),
        ({"patience": 1, "start_from_epoch": 3}, 3, 6),
        ({"patience": 2, "baseline": 0.5}, None, 3),
        ({"patience": 1, "mode": "max"}, 0, 3),
    ],
)
def test_early_stopping_ends_and_restores(options, best, epochs):
    w, step = losses_of([1.0, 0.8, 0.9, 0.7, 0.75, 0.72, 0.71, 0.5, 0.6])
    stopping = gn.train.EarlyStopping([w], monitor="loss", **options)
    history = gn.train.fit(step, [()], 9, callbacks=[stopping], verbose=0)
    assert (stopping.best_epoch, history.epochs) == (best, epochs)
    assert float(w.value) == (epochs if best is None else best + 1)
    assert bool(history.stopped) == (epochs < 9)
    if history.stopped:
        assert history.stopped.startswith("loss has not improved for ")


def test_best_weights_come_back_after_an_error_and_ctrl_c():
    w, step = losses_of([1.0, 0.5, 0.9, float("nan")])
    stopping = gn.train.EarlyStopping([w], monitor="loss", patience=5)
    with pytest.raises(NonFiniteError):
        gn.train.fit(step, [()], 9, callbacks=[stopping], verbose=0)
    assert float(w.value) == 2.0

    class Interrupt(gn.train.Callback):
        def on_epoch_end(self, measured):
            if measured["loss"] == 0.9:
                os.kill(os.getpid(), signal.SIGINT)

    w, step = losses_of([1.0, 0.5, 0.9, 0.8])
    stopping = gn.train.EarlyStopping([w], monitor="loss", patience=5)
    history = gn.train.fit(step, [()], 9, callbacks=[stopping, Interrupt()], verbose=0)
    assert history.interrupted
    assert float(w.value) == 2.0


def test_early_stopping_keeps_buffers_and_the_last_weights_if_told():
    model = model_of(gn.nn.BatchNorm(8))
    stopping = gn.train.EarlyStopping(model, restore_best_weights=False)
    assert len(stopping.state) == len(model.state_dict()) == 8
    w, step = losses_of([1.0, 2.0])
    stopping = gn.train.EarlyStopping([w], monitor="loss", restore_best_weights=False)
    gn.train.fit(step, [()], 9, callbacks=[stopping], verbose=0)
    assert float(w.value) == 2.0


def test_a_measure_of_success_grows_and_one_that_is_missing_is_named():
    assert gn.train.Monitor("val_accuracy").mode == "max"
    assert gn.train.Monitor("val_loss").mode == "min"
    w, step = losses_of([1.0])
    with pytest.raises(ArgumentError, match="no measure 'val_loss', only 'loss'"):
        gn.train.fit(step, [()], callbacks=[gn.train.EarlyStopping([w])], verbose=0)


def test_a_plateau_hears_of_every_epoch():
    plateau = gn.optim.ReduceOnPlateau(0.5, 0.5, 0)
    _, step = losses_of([1.0, 2.0, 3.0, 0.5])
    on_plateau = gn.train.OnPlateau(plateau, "loss")
    gn.train.fit(step, [()], 4, callbacks=[on_plateau], verbose=0)
    assert float(plateau.rate.value) == 0.125


# ------------------------------------------------------------------------------------- loggers


def test_loggers_append_and_go_on_counting(tmp_path):
    table, lines = tmp_path / "logs" / "log.csv", tmp_path / "log.jsonl"
    for _ in range(2):
        callbacks = [gn.train.CSVLogger(table), gn.train.JSONLinesLogger(lines)]
        _, step = losses_of([0.5, 0.25])
        gn.train.fit(step, [()], 2, callbacks=callbacks, verbose=0)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    expected = [{"epoch": n, "loss": (0.5, 0.25)[n % 2]} for n in range(4)]
    assert [{"epoch": int(r["epoch"]), "loss": float(r["loss"])} for r in rows] == expected
    assert [json.loads(line) for line in lines.read_text().splitlines()] == expected


def test_what_loggers_cannot_write_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "log.csv"):
        with pytest.raises(ArgumentError, match="cannot write"):
            gn.train.fit(lambda: 1.0, [()], callbacks=[gn.train.CSVLogger(path)], verbose=0)
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss,accuracy\n0,1.0,0.5\n")
    with pytest.raises(ArgumentError, match="columns epoch, loss, accuracy, the epoch has"):
        gn.train.fit(lambda: 1.0, [()], callbacks=[gn.train.CSVLogger(path)], verbose=0)


def test_tensorboard_gets_events(tmp_path):
    pytest.importorskip("tensorboardX")
    callback = gn.train.TensorBoard(tmp_path / "events", every=2)
    gn.train.fit(lambda: 1.0, [()] * 4, 2, callbacks=[callback], verbose=0)
    (file,) = (tmp_path / "events").iterdir()
    assert file.read_bytes().count(b"step/loss") == 4
    assert file.read_bytes().count(b"loss") == 6


def test_timing_counts_epochs_and_steps():
    timing = gn.train.Timing()
    gn.train.fit(lambda: 1.0, [()] * 3, 2, callbacks=[timing], verbose=0)
    assert len(timing.epochs) == 2
    assert len(timing.steps) == 4
    assert 0 < sum(timing.steps) <= sum(timing.epochs)


# ----------------------------------------------------------------------------- watched gradients


def watched(watching=None, log=None, **options):
    quick = {"backend": "reference", "optimize": "O0"}
    trainer = trainer_of(model_of(gn.nn.Dropout(0.2)), **quick, **options)
    callbacks = [each for each in (watching, log) if each is not None]
    trainer.fit(batches_of(), 3, callbacks=callbacks, verbose=0)  # of 4 steps each
    return trainer


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_gradients_are_watched_in_the_step_itself(precision, tmp_path):
    watching = gn.train.GradientStatistics(every=5)
    log = gn.train.CSVLogger(tmp_path / "log.csv")
    trainer = watched(watching, log, precision=precision)
    assert watching.steps == [1, 5, 10]
    # It is the same training, with the same random numbers ...
    alone = watched(precision=precision)
    np.testing.assert_allclose(trainer.history["loss"], alone.history["loss"], rtol=1e-4)
    # ... and no product is computed twice.
    step, observed = (trainer._programs[each].graph for each in ("step", "watched step"))
    products = [sum(n.op.name == "dot_general" for n in g.nodes) for g in (step, observed)]
    assert products[0] == products[1] == 5
    assert set(trainer.history.metrics) == {"loss", "accuracy"}
    rows = list(csv.DictReader(log.path.read_text().splitlines()))
    norms = watching.of("layers.0.weight", "norm")
    logged = [float(row["gradient/layers.0.weight/norm"]) for row in rows]
    np.testing.assert_allclose(logged, norms, rtol=1e-6)  # steps 1, 5 and 10: one in each epoch


def test_statistics_need_a_step_that_hands_gradients():
    watching = gn.train.GradientStatistics(every=2)
    with pytest.raises(ArgumentError, match=r"step 1 gave no gradients.*\n.*\n.*gradient_table"):
        gn.train.fit(lambda: 1.0, [()], callbacks=[watching], verbose=0)

    def step():
        if watching.is_due:
            watching.observe(["w"], np.ones((1, 4)))
        return 1.0

    watching = gn.train.GradientStatistics(every=2)
    gn.train.fit(step, [()] * 5, callbacks=[watching], verbose=0)
    assert watching.steps == [1, 2, 4]


def test_statistics_of_gradients_are_right():
    gradients = [RNG.normal(size=(3, 4)), np.array([0.0, -2.0, 0.0, 1.0]), np.array(3.0)]
    table = gn.evaluate(gn.train.gradient_table([gn.constant(each) for each in gradients]))
    expected = [
        [np.sqrt((g**2).sum()), g.mean(), np.abs(g).max(), (g == 0).mean()] for g in gradients
    ]
    np.testing.assert_allclose(table, expected, rtol=1e-6)
    halves = gn.constant(np.full(100, 300.0), dtype="float16")  # squares are beyond float16
    assert gn.evaluate(gn.train.gradient_table([halves]))[0, 0] == 3000.0


def test_an_epoch_that_was_not_watched_has_the_latest_statistics():
    watching = gn.train.GradientStatistics(every=100)
    watching.observe(["w"], np.array([[5.0, 1.0, 3.0, 0.5]]))
    for _ in range(2):
        measured = {"loss": 1.0}
        watching.on_epoch_end(measured)
        assert measured["gradient/w/max"] == 3.0
    with pytest.raises(ArgumentError, match="other parameters"):
        watching.observe(["v"], np.zeros((1, 4)))
    with pytest.raises(ArgumentError, match="statistic"):
        watching.of("w", "median")
    with pytest.raises(ArgumentError, match="parameter"):
        watching.of("v", "norm")


# --------------------------------------------------------------------------- the report at the end


def test_a_report_says_how_it_went(monkeypatch):
    trainer = trainer_of(model_of())
    stopping = gn.train.EarlyStopping(trainer.model, monitor="val_accuracy", patience=2)
    history = trainer.fit(
        batches_of(), 50, validation=batches_of(40), callbacks=[stopping], verbose=0
    )
    first, best, last, ended = history.report.splitlines()
    assert re.fullmatch(rf"{history.epochs} epochs; [\d,]+ steps in \S+ s, [\d,]+ samples/s", first)
    assert best.startswith(f"best val_accuracy: epoch {stopping.best_epoch + 1}: loss ")
    assert last.startswith(f"last: epoch {history.epochs}: loss ")
    assert ended == "ended: val_accuracy has not improved for 3 epochs"
    ticks = iter([0.0, 7384.0])
    monkeypatch.setattr("graphnn.train.loop.time.perf_counter", lambda: next(ticks))
    history = gn.train.fit(lambda: 0.25, [()] * 2, verbose=0)
    assert history.report == (
        "1 epoch; 2 steps in 2 h 3 min, 0 samples/s\n"
        "best loss: epoch 1: loss 0.25\n"
        "ended: all epochs are made"
    )


# ------------------------------------------------------------------- searching a learning rate


def test_the_search_goes_through_the_rates_and_back(tmp_path):
    rate = gn.parameter(0.123, trainable=False)
    w = gn.parameter([3.0, -2.0], dtype="float64")
    loss = gn.sum(gn.square(w))
    updates = gn.optim.Adam(rate).minimize(loss, [w])
    step = gn.compile([], {"loss": loss}, updates=updates)
    before = {each: each.value for each in updates}
    found = gn.train.find_learning_rate(step, rate, [()], updates, low=1e-4, high=100.0, steps=80)
    for each, value in before.items():
        np.testing.assert_array_equal(each.value, value)
    assert float(rate.value) == np.float32(0.123)
    assert len(found.rates) < 80  # it diverged, and ended
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 100.0, 80)[: len(found.rates)])
    np.testing.assert_allclose(found.losses[0], 13.0, rtol=1e-12)
    assert 0.01 < found.suggestion < 10.0
    figure = found.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 1000
    assert figure.axes[0].get_xscale() == "log"


def test_the_search_is_not_misled_by_noise_before_the_loss_falls():
    rates = np.geomspace(1e-4, 10.0, 101)
    falls = np.clip(np.log10(rates) + 2.0, 0.0, 2.0)  # from 1e-2 to 1
    losses = 0.5 - 0.2 * falls
    losses[21:] -= 0.03  # one lucky batch, steeper than the fall
    found = gn.train.LearningRates(rates, losses)
    assert rates[int(np.argmin(np.gradient(losses)))] < 2e-3
    assert 2e-2 < found.suggestion < 0.5
    assert repr(found) == "<LearningRates 101 steps, 0.0001 to 10>"


def test_the_search_refuses():
    rate = gn.parameter(0.1, trainable=False)
    with pytest.raises(ArgumentError, match=r"the rate must be a parameter, not 0\.1"):
        gn.train.find_learning_rate(lambda: 1.0, 0.1, [()], [])
    with pytest.raises(ArgumentError, match="must be above low"):
        gn.train.find_learning_rate(lambda: 1.0, rate, [()], [], low=1.0, high=1.0)
    with pytest.raises(ShapeError, match="no batches"):
        gn.train.find_learning_rate(lambda: 1.0, rate, [], [])
    found = gn.train.find_learning_rate(lambda: float("nan"), rate, [()], [])
    with pytest.raises(ArgumentError, match="fewer than three steps"):
        _ = found.suggestion


# -------------------------------------------------------------------------------- accumulation


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_accumulated_steps_are_those_of_large_batches(max_norm):
    def trained(wrap, size):
        w = gn.parameter(np.ones((4, 1)), dtype="float64")
        x = gn.input("x", shape=("batch", 4), dtype="float64")
        loss = gn.losses.mse(x @ w, gn.sum(x, axis=1, keepdims=True) * 0.3)
        updates = wrap(gn.optim.Adam(0.05)).minimize(loss, [w], max_norm=max_norm)
        step = gn.compile(x, loss, updates=updates)
        values = []
        for start in range(0, 60, size):
            step(X[start : start + size].astype("float64"))
            values.append(w.value)
        return values

    small = trained(lambda optimizer: gn.optim.Accumulated(optimizer, 3), 4)
    large = trained(lambda optimizer: optimizer, 12)
    np.testing.assert_allclose(small[2::3], large, rtol=1e-12)
    np.testing.assert_array_equal(small[0], np.ones((4, 1)))
    np.testing.assert_array_equal(small[3], small[2])
    with pytest.raises(ArgumentError, match="every must be"):
        gn.optim.Accumulated(gn.optim.SGD(), 0)
    for wrap in (gn.optim.LossScale, lambda given: gn.optim.Accumulated(given, 2)):
        with pytest.raises(ArgumentError, match=r"0\.1 is no optimizer\n.*\n.*gn.optim.Adam"):
            wrap(0.1)
