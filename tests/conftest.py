"""What holds for all tests."""

import pytest

import graphnn.compiler.program


@pytest.fixture(autouse=True)
def verified(monkeypatch):
    """The verifier looks at every program between passes, unless a test says otherwise."""
    monkeypatch.setattr(graphnn.compiler.program, "VERIFY_BY_DEFAULT", True)
