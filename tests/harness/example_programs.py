"""The programs that an example compiles for a GPU, without one: recorded at their first call."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from duck_arrays import OnDevice

from graphnn.compiler import default_backend
from graphnn.compiler.backends import BACKENDS
from graphnn.compiler.unit import Unit
from graphnn.core.op import Array

__all__ = ["EXAMPLES", "Called", "programs_of"]

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))

DEMO = ("--digits-epochs", "1", "--sunspots-epochs", "1")


@dataclass
class Called:
    """A unit, and what it was fed with first.

    Attributes
    ----------
    unit : Unit
    feeds : list of numpy.ndarray
    """

    unit: Unit
    feeds: list[Array]

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[list[Array]]:
        """The feeds; state is as it was when the work with them is done."""
        before = [each.value for each in self.unit.states]
        yield self.feeds
        for parameter, value in zip(self.unit.states, before, strict=True):
            parameter.value = value


class Recorder:
    """In place of an executable: results are 0, on a device, and state stays what it is."""

    def __init__(self, unit: Unit, calls: list[Called]) -> None:
        self._unit, self._calls, self._is_new = unit, calls, True

    def run(self, feeds: Sequence[Any]) -> list[OnDevice]:
        if self._is_new:
            self._calls.append(Called(self._unit, [np.array(each) for each in feeds]))
            self._is_new = False
        return [OnDevice(np.zeros(view.shape, view.dtype)) for view in self._unit.results]


def programs_of(path: Path, folder: Path) -> list[Called]:
    """All programs that an example compiles and calls, in its short form.

    Nothing is learned, so that its own assertions are left out, as ``python -O`` does, and it may
    end with a complaint; test_example_kernels.py says how many programs there must be.
    """
    calls: list[Called] = []
    text = path.read_text(encoding="utf-8")
    given = ["--quick"] if '"--quick"' in text else []
    given += ["--out", str(folder)] if '"--out"' in text else []
    given += [*DEMO, "--out", str(folder)] if path.stem == "demo" else []
    with pytest.MonkeyPatch.context() as patch, surroundings(patch):
        patch.setitem(BACKENDS, "cupy", lambda unit: Recorder(unit, calls))
        patch.setattr(sys, "argv", [str(path), *given])
        patch.chdir(folder)
        with contextlib.suppress(SystemExit, AssertionError):
            exec(compile(text, path, "exec", optimize=1), {"__name__": "__main__"})
    return calls


@contextlib.contextmanager
def surroundings(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where an example runs: for a GPU, unseen, unheard, and without what takes long beside it."""
    figure, linear = pytest.importorskip("matplotlib.figure"), pytest.importorskip("sklearn")
    from sklearn import linear_model
    from sklearn.dummy import DummyClassifier

    assert linear
    patch.setattr(default_backend, "_chosen", None)
    patch.setitem(os.environ, "GRAPHNN_BACKEND", "cupy")
    patch.setitem(os.environ, "MPLBACKEND", "agg")
    patch.setattr(figure.Figure, "savefig", lambda *_, **__: None)
    patch.setattr(linear_model, "LogisticRegression", lambda **_: DummyClassifier())
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
