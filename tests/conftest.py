"""What holds for all tests."""

import gc
import os
from pathlib import Path

import pytest

import graphnn.compiler.compilation
from graphnn.compiler.cuda.nvrtc import Nvrtc
from graphnn.compiler.native.cache import CACHE_VARIABLE
from graphnn.core.errors import MissingPackageError

pytest_plugins = ["browsing"]

CODE = Path(__file__).parent.parent / ".pytest_cache" / "native"
os.environ.setdefault(CACHE_VARIABLE, str(CODE))  # not among the user's own


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write pictures anew")


@pytest.fixture(autouse=True)
def verified(monkeypatch):
    """The verifier looks at every program between passes, unless a test says otherwise."""
    monkeypatch.setattr(graphnn.compiler.compilation, "VERIFY_BY_DEFAULT", True)


@pytest.fixture(scope="session")
def nvrtc():
    """CUDA's compiler, which needs no GPU."""
    try:
        return Nvrtc()
    except MissingPackageError as error:
        if os.environ.get("GRAPHNN_NVRTC") == "required":
            raise
        pytest.skip(error.what)


FIRST = {
    "test_a_long_chain_through_everything",
    "test_optimised_programs_compute_the_same",
    "test_thousands_of_inputs_and_of_equal_names",
}
"""Tests that take a minute and more: begun first, so that none is alone at the end."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: getattr(item, "originalname", item.name) not in FIRST)


def pytest_collection_finish():
    """What stays until the end, thousands of tests and PyTorch, is not looked through each time."""
    gc.collect()
    gc.freeze()
