"""What examples print, draw and leave behind.

That all of them run, and that the demo reaches its targets, `.ci/run` sees.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphnn as gn

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SECONDS = 120
"""Far above what an example takes, so that a busy machine fails no test."""

PICTURES = {
    "loss_curve.png",
    "forecast.png",
    "model.svg",
    "model.png",
    "bptt.svg",
    "bptt.png",
}


def run(name, folder, *arguments):
    """Run an example in a folder; warnings are errors, and no display is there."""
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def check_pictures(folder):
    assert {file.name for file in folder.iterdir()} == PICTURES
    for file in folder.iterdir():
        start = file.read_bytes()[:200]
        assert start.startswith(b"\x89PNG") if file.suffix == ".png" else b"<svg" in start
    bptt = (folder / "bptt.svg").read_text(encoding="utf-8")
    for text in ("h[0]", "h[2]", "d loss / d rnn.layers.0.cell.recurrent_weight"):
        assert text in bptt
    assert "layers.0.weight" in (folder / "model.svg").read_text(encoding="utf-8")


@pytest.fixture
def demo_packages():
    for package in ("sklearn", "statsmodels", "matplotlib"):
        pytest.importorskip(package)


@pytest.mark.usefixtures("demo_packages")
def test_a_short_demo_draws_everything_and_says_that_it_missed(tmp_path):
    short = ("--out", "pictures", "--digits-epochs", "1", "--sunspots-epochs", "1")
    done = run("demo.py", tmp_path, *short)
    assert done.returncode == 1, done.stderr
    assert "MISSED: test accuracy" in done.stdout
    assert str(tmp_path / "pictures") in done.stdout
    assert not done.stderr  # no progress bar where there is no terminal
    check_pictures(tmp_path / "pictures")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("expression.py", "all equal the derivatives computed by hand"),
        ("custom_rule.py", "derivative by a rule of one's own"),
    ],
)
def test_small_examples_say_what_they_show_and_write_nothing(name, words, tmp_path):
    done = run(name, tmp_path)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("demo_packages")
@pytest.mark.parametrize(
    ("name", "words", "pictures"),
    [
        ("perceptron_gates.py", "XOR   perceptron, 50 epochs", {"perceptron_gates.png"}),
        ("image_filters.py", "identity       0.0e+00", {"image_filters.png"}),
    ],
)
def test_examples_with_pictures_say_what_they_show(name, words, pictures, tmp_path):
    done = run(name, tmp_path, "--out", "pictures")
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert {file.name for file in (tmp_path / "pictures").iterdir()} == pictures


@pytest.mark.skipif(importlib.util.find_spec("aeon") is not None, reason="aeon is installed")
def test_vowels_ask_for_their_package(tmp_path):
    done = run("japanese_vowels.py", tmp_path, "--quick")
    assert done.returncode == 1
    assert "pip install --no-deps aeon" in done.stderr


def test_the_example_of_vanishing_gradients_measures_those_of_the_state(
    monkeypatch,
):
    """Beside the gradient, with respect to the state after a step, of the steps that follow."""
    pytest.importorskip("matplotlib")
    path = EXAMPLES / "vanishing_gradients.py"
    spec = importlib.util.spec_from_file_location("vanishing_gradients", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    for name, size in (("STEPS", 4), ("BATCH", 2), ("HIDDEN", 3)):
        monkeypatch.setattr(example, name, size)
    cell = gn.nn.LSTMCell(1, 3, dtype="float64")
    xs = np.random.default_rng(example.SEED).normal(size=(4, 2, 1))
    state, wanted = (np.zeros((2, 3)), np.zeros((2, 3))), []
    for number, x in enumerate(xs):
        state = gn.evaluate(cell(state, x)[0])
        inputs = last = tuple(gn.input(name, (2, 3), "float64") for name in "hc")
        for later in xs[number + 1 :]:
            last, _ = cell(last, later)
        slopes = gn.grad(gn.sum(last[0]), inputs, allow_unused=True)
        found = gn.evaluate(list(slopes), dict(zip(inputs, state, strict=True)))
        wanted.append(np.sqrt(np.sum(np.square(found))))
    np.testing.assert_allclose(example.norms_per_step(cell), wanted, rtol=1e-12)
