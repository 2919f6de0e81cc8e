"""The native backend as a whole: random graphs and training steps against the oracle."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from checks import LAYOUTS
from native_oracle import check_training, convolutional, perceptron, some_recipes, train
from random_graphs import build, check_compilation

import graphnn as gn

HARNESS = Path(__file__).parent / "harness"
NETS = pytest.mark.parametrize("make", [perceptron, convolutional])


@pytest.fixture
def threads() -> Iterator[None]:
    """The number of threads as it was."""
    before = gn.get_num_threads()
    yield
    gn.set_num_threads(before)


@NETS
def test_training_steps_are_as_exact_as_unfused_ones(make):
    check_training(make)


def compiled(recipe):
    """A program of a random graph, and its feeds."""
    built = build(recipe, "float32", "float32")
    return gn.compile(built.inputs, built.outputs, built.updates), built.feeds


def results_of(recipe, arrange=lambda array: array):
    """All bits that a random graph gives in two calls, and of the state that it leaves."""
    program, feeds = compiled(recipe)
    given = [arrange(each) for each in feeds]
    found = [each.tobytes() for _ in range(2) for each in program(*given)]
    for fed, array in zip(given, feeds, strict=True):
        np.testing.assert_array_equal(fed, array)
    return found + [state.value.tobytes() for state in program.updates]


def test_bits_do_not_depend_on_threads_layouts_or_the_run(threads):
    for recipe in some_recipes(40):
        expected = results_of(recipe)
        for n_threads in (1, 2, 3):
            gn.set_num_threads(n_threads)
            assert results_of(recipe) == expected, (n_threads, recipe)
        for name in ("strided", "reversed", "read-only"):
            assert results_of(recipe, LAYOUTS[name]) == expected, (name, recipe)


@NETS
def test_training_gives_the_same_bits_for_any_number_of_threads(make, threads):
    expected = None
    for n_threads in (1, 2, 3, 2):
        gn.set_num_threads(n_threads)
        found = [each.tobytes() for each in train(make("float32"))]
        expected = expected or found
        assert found == expected, n_threads


def test_programs_called_at_once_give_the_bits_that_they_give_alone(threads):
    gn.set_num_threads(2)
    makers = (perceptron, convolutional)
    alone = [[each.tobytes() for each in train(make("float32"), 20)] for make in makers]
    programs = [make("float32") for make in makers]
    together: list[list[bytes]] = [[], []]
    barrier = threading.Barrier(2)

    def work(number: int) -> None:
        barrier.wait()
        together[number] = [each.tobytes() for each in train(programs[number], 20)]

    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert together == alone


def test_a_parameter_may_be_fed_its_own_memory():
    """It is read as it was before the update."""
    x, p = gn.input("x", (4,)), gn.parameter([1.0, 2.0, 3.0, 4.0])
    program = gn.compile(x, (), {p: p * 2.0 + gn.flip(x, 0)})
    program(p.array)
    assert p.value.tolist() == [6.0, 7.0, 8.0, 9.0]
    program(p.array)
    assert p.value.tolist() == [21.0, 22.0, 23.0, 24.0]


FORKING = """
import os, sys
sys.path[:0] = [{harness!r}]
import graphnn as gn
from native_oracle import convolutional, train
gn.set_num_threads(2)
expected = [each.tobytes() for each in train(convolutional("float32"))]
child = os.fork()
found = [each.tobytes() for each in train(convolutional("float32"))]
if child == 0:
    os._exit(0 if found == expected else 3)
assert found == expected
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_computes_the_same():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING.format(harness=str(HARNESS))],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_a_processor_without_wide_vectors_computes_the_same():
    done = subprocess.run(
        [sys.executable, str(HARNESS / "native_oracle.py")],
        env={**os.environ, "GRAPHNN_CPU": "x86-64"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.endswith("x86-64 is right\n")


# ------------------------------------------------------------------------------------- refusals


def refusing(what, backend):
    """A step of training that meets an index out of range behind much other work."""
    x, index = gn.input("x", (64, 8)), gn.input("index", (64,), "int64")
    w, table = (gn.parameter(np.full((8, 8), 0.1, "float32")) for _ in range(2))
    hidden = gn.tanh(x @ w)
    if what == "label":
        loss = gn.losses.cross_entropy(hidden @ table, index)
    elif what == "embedding":
        loss = gn.mean(gn.square(hidden + gn.embedding(index, table)))
    else:
        loss = gn.mean(gn.square(gn.take(hidden @ table, index, 1)))
    updates = gn.optim.Adam(0.1).minimize(loss, [w, table])
    return gn.compile([x, index], loss, updates, backend=backend)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("what", ["label", "embedding", "gather"])
def test_an_index_out_of_range_changes_nothing(what, n_threads, threads):
    gn.set_num_threads(n_threads)
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    good, bad = np.arange(64) % 8, np.arange(64) % 8
    bad[50] = 8
    words = []
    for backend in ("reference", "numpy"):
        step = refusing(what, backend)
        step(x, good)
        before = [each.value.tobytes() for each in step.updates]
        with pytest.raises(gn.FeedError, match="8 is out of range") as refused:
            step(x, bad)
        words.append(str(refused.value).splitlines()[0])
        assert [each.value.tobytes() for each in step.updates] == before
        step(x, good)
        assert [each.value.tobytes() for each in step.updates] != before
    assert words[0] == words[1]


def test_the_oracle_finds_a_wrong_program(monkeypatch):
    """A check that cannot fail would be none."""
    recipe = next(each for each in some_recipes(40) if not each.with_gradient)
    check_compilation(recipe, "float32")
    monkeypatch.setattr(gn.Program, "__call__", _wrong(gn.Program.__call__))
    with pytest.raises(AssertionError):
        check_compilation(recipe, "float32")


def _wrong(call):
    def called(program, *feeds):
        results = call(program, *feeds)
        if program.options.backend == "numpy":
            return [each + np.asarray(1e-2, each.dtype) for each in results]
        return results

    return called
