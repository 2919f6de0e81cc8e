"""What `make gpu` runs in processes of its own, tried where there is no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sanitizers
import small_training
from cuda_shim import ShimDevice
from device_oracle import TwiceExecutable
from duck_arrays import OnDevice
from on_host import bring_results_home

import graphnn as gn
from graphnn.compiler.backends import BACKENDS
from graphnn.core import arrays


def test_the_step_that_sanitizers_watch_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(BACKENDS, "cupy", lambda unit: TwiceExecutable(unit, ShimDevice()))
    small_training.main()
    losses = [float(line) for line in capsys.readouterr().out.split()]
    assert len(losses) == 4
    assert losses[-1] < losses[0]


def test_results_are_brought_to_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    class Executable:
        def __init__(self, unit: object) -> None:
            pass

        def run(self, feeds: list[object]) -> list[object]:
            return [OnDevice(each) for each in feeds]

    monkeypatch.setitem(BACKENDS, "cupy", Executable)
    bring_results_home(monkeypatch)
    x = gn.input("x", (3,))
    found = gn.compile(x, -x, backend="cupy")([1.0, 2.0, 3.0])
    assert arrays.to_numpy(found).tolist() == [1.0, 2.0, 3.0]


def test_without_a_gpu_an_example_for_it_says_why(tmp_path: Path) -> None:
    example = Path(__file__).parents[1] / "examples/expression.py"
    environment = os.environ | {"GRAPHNN_BACKEND": "cupy", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-P", example],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "GPU" in done.stderr or "CuPy" in done.stderr


def test_a_sanitizer_is_found_on_path_or_in_the_folder_of_cuda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sanitizers.shutil, "which", lambda name: None)
    monkeypatch.setattr(sanitizers.site, "getsitepackages", lambda: [str(tmp_path / "packages")])
    wheel = tmp_path / "packages/nvidia/cu13/bin/compute-sanitizer"
    toolkit = tmp_path / "cuda/bin/compute-sanitizer"
    for tool in (wheel, toolkit):
        tool.parent.mkdir(parents=True)
        tool.write_text("#!/bin/sh\n", encoding="utf-8")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    monkeypatch.delenv("CUDA_PATH", raising=False)
    assert sanitizers.find_sanitizer() is None  # nobody may run them
    wheel.chmod(0o755)
    assert sanitizers.find_sanitizer() == wheel
    toolkit.chmod(0o755)
    assert sanitizers.find_sanitizer() == toolkit
