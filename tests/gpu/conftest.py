"""Tests that need a GPU; without one they are skipped, and say why."""

import pytest

from graphnn.compiler import backends
from graphnn.compiler.cuda.cupy_device import current_device
from graphnn.core.arrays import to_host
from graphnn.core.errors import DeviceError, MissingPackageError


@pytest.fixture(scope="session")
def gpu():
    """The GPU."""
    try:
        return current_device()
    except (MissingPackageError, DeviceError) as error:
        pytest.skip(error.what)


class _OnHost:
    """An executable whose results are brought to the host, for checks that look at them."""

    def __init__(self, executable):
        self._executable = executable

    def run(self, feeds):
        return [to_host(each) for each in self._executable.run(feeds)]


@pytest.fixture
def results_on_host(gpu, monkeypatch):
    """``backend="cupy"`` gives NumPy arrays."""
    emit = backends.BACKENDS["cupy"]
    monkeypatch.setitem(backends.BACKENDS, "cupy", lambda unit: _OnHost(emit(unit)))
