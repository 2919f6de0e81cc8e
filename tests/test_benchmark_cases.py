"""The rows of the comparison with other libraries compute the same in all of them."""

import importlib.util
import random
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from cases import Case, all_cases
from harness import (
    Plan,
    Worker,
    WorkerError,
    alternate,
    largest_error,
    step_slack,
    summary,
)
from libraries import LIBRARIES, Prepared
from report import plot, ratios, table, time_text

TINY = all_cases(tiny=True)
PAIRS = [
    pytest.param(name, library, id=f"{name}, {library}")
    for name, case in TINY.items()
    for library in LIBRARIES
    # It compiles C++ for many seconds, from the function that PyTorch eager runs here.
    if library != "torch.compile" and LIBRARIES[library].functions in case.functions
]


def results(case: Case, library: str, precision: str) -> tuple[Prepared, dict[str, np.ndarray]]:
    parameters, data = (
        {
            name: each.astype(precision) if each.dtype.kind == "f" else each
            for name, each in group.items()
        }
        for group in case.arrays()
    )
    prepared = LIBRARIES[library].prepare(case, parameters, data)
    return prepared, prepared.arrays(prepared.run())


@cache
def reference(name: str) -> dict[str, np.ndarray]:
    """What PyTorch gives in float64, for all libraries that are compared with it."""
    return results(TINY[name], "torch", "float64")[1]


@pytest.mark.parametrize(("name", "library"), PAIRS)
def test_same_loss_and_gradients(name: str, library: str) -> None:
    pytest.importorskip("torch", reason="the reference is PyTorch in float64")
    module = LIBRARIES[library].module
    if module == "pytensor" and importlib.util.find_spec("numba") is None:
        pytest.skip("PyTensor needs numba, which needs another llvmlite")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other libraries' own
        pytest.importorskip(module)
        case = TINY[name]
        expected = reference(name)
        prepared, found = results(case, library, "float32")
        slack = step_slack(case.arrays()[0], case.learning_rate) if case.mode == "step" else None
        assert largest_error(found, expected, slack) <= case.tolerance
        prepared.run()  # again: nothing was used up


@pytest.mark.parametrize("case", TINY.values(), ids=TINY)
def test_gradients_are_not_trivial(case: Case) -> None:
    """A comparison of zeros would say nothing."""
    _, found = results(case, "graphnn", "float32")
    assert all(np.any(each != 0) for each in found.values())


def test_full_sizes_have_the_cases_of_tiny_ones() -> None:
    families = {case.family for case in all_cases().values()}
    assert families == {case.family for case in TINY.values()}


def test_arrays_are_the_same_at_every_call() -> None:
    for case in TINY.values():
        for first, second in zip(case.arrays(), case.arrays(), strict=True):
            for name in first:
                np.testing.assert_array_equal(first[name], second[name])


# ----------------------------------------------------------------------------------- the harness


def worker(cache: Path, *, case: str = "gemm-5", library: str = "numpy") -> Worker:
    return Worker([case, library, "--tiny", "--cache", str(cache)])


def test_workers_take_turns(tmp_path: Path) -> None:
    plan = Plan(rounds=3, turn_seconds=0.0, most_runs=1)
    with worker(tmp_path) as first, worker(tmp_path, case="chain-6-7") as second:
        workers = {"first": first, "second": second}
        for each in workers.values():
            assert each.answer(60)["version"] == np.__version__
            each.stop()
        durations, failures = alternate(workers, plan, random.Random(0))
        assert not failures
        assert {name: len(each) for name, each in durations.items()} == {"first": 3, "second": 3}
        assert all(second > 0 for each in durations.values() for second in each)


def test_a_stopped_worker_does_not_answer_until_it_is_resumed(tmp_path: Path) -> None:
    with worker(tmp_path) as stopped:
        stopped.answer(60)
        stopped.stop()
        with pytest.raises(WorkerError, match="took more than"):
            stopped.ask(0.2, do="memory")
        stopped.resume()
        assert stopped.answer(60)["planned_bytes"] == 0


def test_what_a_worker_saves(tmp_path: Path) -> None:
    with worker(tmp_path) as saving:
        saving.answer(60)
        saving.ask(60, do="save", path=str(tmp_path / "results.npz"))
    _, data = TINY["gemm-5"].arrays()
    saved = dict(np.load(tmp_path / "results.npz"))
    assert largest_error(saved, {"result": data["a"] @ data["b"]}) < 1e-6


def test_a_worker_that_fails_says_why(tmp_path: Path) -> None:
    with (
        worker(tmp_path, case="no such case") as failing,
        pytest.raises(WorkerError, match="KeyError: 'no such case'"),
    ):
        failing.answer(60)


def test_a_failure_between_turns_leaves_the_others(tmp_path: Path) -> None:
    plan = Plan(rounds=2, turn_seconds=0.0, most_runs=1)
    with worker(tmp_path) as good, worker(tmp_path) as bad:
        good.answer(60)
        bad.answer(60)
        good.stop()
        with pytest.raises(WorkerError, match="AttributeError"):
            bad.ask(60, do="nonsense")
        durations, failures = alternate({"good": good, "bad": bad}, plan, random.Random(0))
    assert durations.keys() == {"good"}
    assert failures.keys() == {"bad"}


def test_summary() -> None:
    timing = summary([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (timing.lower, timing.median, timing.upper, timing.runs) == (2.0, 3.0, 4.0, 5)
    assert summary([2.0]).median == 2.0


def test_largest_error() -> None:
    expected = {"a": np.array([1.0, -4.0]), "b": np.array([100.0])}
    found = {"a": np.array([1.0, -3.0]), "b": np.array([101.0])}
    assert largest_error(found, expected) == pytest.approx(0.25)
    assert largest_error(found, expected, {"a": 0.9}) == pytest.approx(0.025)
    with pytest.raises(ValueError, match="not finite"):
        largest_error({"a": np.array([np.nan, 0.0]), "b": np.ones(1)}, expected)
    with pytest.raises(ValueError, match="shape"):
        largest_error({"a": np.array([1.0]), "b": np.ones(1)}, expected)
    with pytest.raises(ValueError, match="instead of"):
        largest_error({"a": np.ones(2)}, expected)


# ------------------------------------------------------------------------------------ the report

TIMES = {"lower": 0.9e-3, "upper": 1.2e-3, "runs": 5}
RESULT = {
    "machine": {"cpu": "a processor", "system": "an OS", "python": "3.x"},
    "threads": 1,
    "date": "a day",
    "versions": {"graphnn": "0", "jax": "1"},
    "limits": {"flops": 1e11, "bandwidth": 1e10},
    "titles": {"graphnn": "graphnn", "jax": "JAX jit", "torch": "PyTorch eager"},
    "rows": [
        {
            "title": "a row",
            "measures": ["memory", "start"],
            "limit_seconds": 0.5e-3,
            "libraries": {
                "graphnn": {
                    **TIMES,
                    "median": 1e-3,
                    "cold_seconds": 0.5,
                    "warm_seconds": 0.05,
                    "planned_bytes": 3 * 2**19,
                },
                "jax": {
                    **TIMES,
                    "median": 4e-3,
                    "upper": 5e-3,
                    "cold_seconds": 1.0,
                    "peak_bytes": 2**20,
                },
                "torch": {"failure": "failed: because"},
            },
        },
    ],
}


def test_ratios() -> None:
    row = RESULT["rows"][0]
    assert ratios(row) == (pytest.approx(0.25), pytest.approx(2.0))
    assert ratios({**row, "limit_seconds": 0.0}) == (pytest.approx(0.25), None)
    assert ratios({**row, "libraries": {}}) == (None, None)


def test_table() -> None:
    text = table(RESULT)
    assert "| a row | 1.00 ms | 4.00 ms | not run | 500 us | 0.25 | 2.00 |" in text
    assert "| a row | 500 ms / 50.0 ms | 1.00 s / – | not run / not run |" in text
    assert "| a row | – | 1.0 | not run | 1.5 |" in text
    assert "- a row, PyTorch eager: failed: because" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.3456, "12.3 s"), (0.0123456, "12.3 ms"), (1.5e-6, "1.50 us"), (2e-8, "0.0200 us")],
)
def test_time_text(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot(tmp_path / "peers.svg", RESULT, RESULT["rows"])
    drawing = (tmp_path / "peers.svg").read_text()
    assert "<svg" in drawing
