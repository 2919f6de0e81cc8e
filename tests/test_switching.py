"""Which backend programs are compiled for."""

import pytest

import graphnn as gn
from graphnn.compiler import default_backend
from graphnn.core.errors import ArgumentError, MissingPackageError


@pytest.fixture(autouse=True)
def unchosen(monkeypatch):
    monkeypatch.setattr(default_backend, "_chosen", None)
    monkeypatch.delenv("GRAPHNN_BACKEND", raising=False)


def doubled(**options):
    x = gn.input("x", (2,))
    return gn.compile(x, x * 2.0, **options)


def test_a_call_says_it_then_a_choice_then_the_environment(monkeypatch):
    assert doubled().options.backend == gn.get_backend() == "numpy"
    monkeypatch.setenv("GRAPHNN_BACKEND", "reference")
    assert doubled().options.backend == gn.get_backend() == "reference"
    gn.set_backend("numpy")
    assert doubled().options.backend == "numpy"
    assert doubled(backend="reference").options.backend == "reference"


def test_evaluate_is_for_the_host(monkeypatch):
    monkeypatch.setenv("GRAPHNN_BACKEND", "cupy")
    assert gn.evaluate(gn.constant(2.0) * 3.0) == 6.0


def test_words_that_are_no_backend(monkeypatch):
    with pytest.raises(ArgumentError, match="no backend 'tpu'"):
        gn.set_backend("tpu")
    with pytest.raises(ArgumentError, match="no backend 'tpu'"):
        doubled().to("tpu")
    monkeypatch.setenv("GRAPHNN_BACKEND", "gpu")
    with pytest.raises(ArgumentError, match="GRAPHNN_BACKEND is 'gpu'"):
        doubled()


def test_choosing_what_is_not_installed_changes_nothing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(MissingPackageError, match="needs CuPy, which is not installed"):
        gn.set_backend("cupy")
    assert gn.get_backend() == "numpy"


def test_a_program_for_another_backend_has_the_same_state_and_options():
    x = gn.input("x", ("n",))
    total = gn.parameter(0.0)
    program = gn.compile(x, {"sum": total}, {total: total + gn.sum(x)}, optimize="O1", skip="fuse")
    other = program.to("reference")
    assert (other.options.optimize, other.options.skip) == ("O1", {"fuse"})
    program([1.0, 2.0])
    assert other([3.0]) == {"sum": 3.0}
    assert total.value == 6.0


def test_passes_for_processors_are_left_out_on_a_gpu_alone():
    program = doubled(backend="cupy", skip="hoist")
    assert program.options.left_out == {"hoist", "pack_once", "fuse_prologues"}
    assert program.to("numpy").options.left_out == {"hoist"}
