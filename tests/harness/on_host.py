"""Programs for a GPU whose results are brought to the host, for whom looks at them with NumPy."""

from collections.abc import Sequence
from typing import Any

import pytest

import graphnn as gn
from graphnn.compiler.backends import BACKENDS
from graphnn.core.op import Array

__all__ = ["bring_results_home"]


class OnHost:
    """An executable whose results are arrays of NumPy."""

    def __init__(self, executable: Any) -> None:
        self._executable = executable

    def run(self, feeds: Sequence[Any]) -> list[Array]:
        return [gn.to_host(each) for each in self._executable.run(feeds)]


def bring_results_home(patch: pytest.MonkeyPatch) -> None:
    """``backend="cupy"`` gives NumPy arrays until the patch is undone."""
    emit = BACKENDS["cupy"]
    patch.setitem(BACKENDS, "cupy", lambda unit: OnHost(emit(unit)))
