"""Tests that need a GPU; without one they are skipped, and say why."""

import pytest
from on_host import bring_results_home
from sanitizers import find_sanitizer

from graphnn.compiler.cuda.cupy_device import current_device
from graphnn.core.errors import DeviceError, MissingPackageError


@pytest.fixture(scope="session")
def gpu():
    """The GPU."""
    try:
        return current_device()
    except (MissingPackageError, DeviceError) as error:
        pytest.skip(error.what)


@pytest.fixture
def results_on_host(gpu, monkeypatch):
    """``backend="cupy"`` gives NumPy arrays."""
    bring_results_home(monkeypatch)


@pytest.fixture(scope="session")
def sanitizer():
    """Where NVIDIA's compute-sanitizer is."""
    found = find_sanitizer()
    if found is None:
        pytest.skip("compute-sanitizer is neither on PATH, nor in CUDA_HOME, nor a wheel of pip's")
    return found
