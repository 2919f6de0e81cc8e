"""`benchmarks/gpu.py`, as far as it goes without a GPU."""

import sys

import gpu
import numpy as np
import pytest
from cases import all_cases
from cuda_shim import ShimDevice
from device_oracle import TwiceExecutable
from duck_arrays import bare

from graphnn.compiler.backends import BACKENDS
from graphnn.core.errors import DeviceError

TINY = all_cases(tiny=True)
ON_TORCH = [name for name, case in TINY.items() if "torch" in case.functions]


def test_every_row_of_the_processor_is_one_of_the_gpu() -> None:
    known, large = gpu.rows(), gpu.large_rows()
    assert all_cases().keys() <= known.keys()
    assert len(known) == len(all_cases()) + len(large)


def test_ways_mean_the_same_for_all_libraries_that_have_them() -> None:
    case = TINY["mlp-3"]
    taking = {
        way: [each for each in gpu.LIBRARIES if gpu.takes_part(case, each, way)] for way in gpu.WAYS
    }
    assert taking["float32"] == taking["tf32"] == list(gpu.LIBRARIES)
    assert taking["bfloat16 products"] == ["graphnn", "cuBLAS, the products", "jax"]
    assert "jax" not in taking["autocast"]
    assert {"graphnn", "torch", "torch.compile"} <= set(taking["autocast"])


@pytest.mark.parametrize("way", gpu.WAYS)
def test_graphnn_computes_a_row_in_every_way(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "cupy", lambda unit: TwiceExecutable(unit, ShimDevice()))
    case = TINY["mlp-3"]
    parameters, data = case.arrays()
    program = gpu.program_of(case, parameters, data, way)
    expected = gpu.program_of(case, parameters, data, "float32").to("numpy")
    found, wanted = (float(bare(each(*data.values()))) for each in (program, expected))
    assert abs(found - wanted) <= (2e-2 if way == "autocast" else 1e-5) * abs(wanted)
    labels = {str(view.dtype) for each in program.instructions for view in each.outputs}
    assert ("bfloat16" in labels) == (way == "autocast")


def test_products_alone_are_those_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Device(ShimDevice):
        def product(self, matrices, precision):
            made.append((matrices.m, matrices.n, matrices.k))
            return super().product(matrices, precision)

    monkeypatch.setattr(gpu, "current_device", Device)
    case = TINY["mlp-3"]
    run, wait, first = gpu.with_products(case, *case.arrays(), "float32")
    assert first(run()) == 0.0
    wait()
    # Two layers, the hidden values' gradient, and those of both weights.
    assert made == [(3, 8, 12), (3, 5, 8), (3, 8, 5), (12, 8, 3), (8, 5, 3)]
    with pytest.raises(ValueError, match="no products"):
        gpu.with_products(TINY["norm"], *TINY["norm"].arrays(), "float32")


@pytest.mark.parametrize("name", ON_TORCH)
def test_what_pytorch_runs_lies_on_one_device(name: str) -> None:
    """Where nothing is computed, what was made on the processor is met all the same."""
    torch = pytest.importorskip("torch")
    try:
        run, _, _ = gpu.with_torch(TINY[name], *TINY[name].arrays(), "float32", device="meta")
        assert run().device.type == "meta"
    finally:
        torch.set_default_device(None)


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise DeviceError("there is no GPU", where="")

    monkeypatch.setattr(gpu, "require_gpu", missing)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick"])
    assert gpu.main() == 1
    assert "there is no GPU" in capsys.readouterr().err


def test_the_table_tells_shares_and_failures() -> None:
    case = gpu.large_rows()["norm-65536"]
    told = {"row": case.name, "library": "graphnn", "way": "tf32"}
    found = told | {"seconds": 1e-3, "call": 5e-6, "first": 0.5}
    line = gpu.cell(found, case, copied=case.nbytes / 0.5e-3)
    assert (line["of the copy"], line["ms"], line["call, us"]) == ("50%", "1.000", "5")
    assert gpu.cell(told | {"failed": "no memory"}, case, None)["ms"] == "no memory"


def test_a_run_is_measured_by_many() -> None:
    done = []
    found = gpu.measured(lambda: done.append(1), lambda: None, is_quick=True)
    assert 0 < found["call"] <= found["seconds"]
    assert len(done) > 3
    assert np.isfinite(found["seconds"])
