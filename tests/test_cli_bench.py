"""What `graphnn bench` measures, prints and compares."""

import json

import pytest

import graphnn as gn
from graphnn.cli import bench
from graphnn.cli.main import main
from graphnn.compiler.native.limits import Limits


@pytest.fixture(autouse=True)
def _small_and_quiet(monkeypatch):
    """Small networks, a limit that is known, and a machine that is idle."""
    small = {
        "mlp": bench.Case("MLP", 3, (5,), {"hidden": (4,)}),
        "lenet": bench.Case("LeNet", 2, (1, 12, 12), {}),
        "lstm": bench.Case("LSTM", 2, (3, 4), {"hidden": 5}),
    }
    monkeypatch.setattr(bench, "CASES", small)
    monkeypatch.setattr(bench, "measured_limits", lambda n: Limits(n, 1e9 * n, ()))
    monkeypatch.setattr(bench.os, "getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)


def test_networks_are_measured_beside_the_limit(capsys):
    before = gn.get_num_threads()
    assert main(["bench", "mlp", "--seconds", "0.001", "--threads", "1", "--no-torch"]) == 0
    head, columns, row = capsys.readouterr().out.splitlines()
    assert "1 thread on" in head
    assert "at most 1 GFLOP/s" in head
    assert columns.split("  ")[0] == "network"
    assert row.startswith("MLP")
    assert row.split()[1] == "3"
    assert gn.get_num_threads() == before


def test_the_same_networks_are_measured_in_pytorch(capsys):
    pytest.importorskip("torch")
    arguments = ["bench", "--seconds", "0.001", "--threads", "1"]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["limit_flops_per_second"] == 1e9
    assert "PyTorch" in found["environment"]
    assert [each["network"] for each in found["networks"]] == ["mlp", "lenet", "lstm"]
    for each in found["networks"]:
        assert each["torch_loss"] == pytest.approx(each["loss"], rel=1e-5)
        assert min(each["step_seconds"], each["torch_step_seconds"], each["flops"]) > 0
    # Of the MLP: products forward, those of the weights' gradients, and the hidden one's.
    assert found["networks"][0]["flops"] > 2 * 3 * (2 * 5 * 4 + 3 * 4 * 10)


def test_unknown_networks_and_busy_machines_are_told(monkeypatch, capsys):
    assert main(["bench", "vgg"]) == 1
    assert "there are 'mlp', 'lenet', 'lstm'" in capsys.readouterr().err
    monkeypatch.setattr(bench.os, "getloadavg", lambda: (99.0, 0.0, 0.0), raising=False)
    assert main(["bench", "mlp", "--seconds", "0.001", "--no-torch"]) == 0
    assert "a load of 99.0" in capsys.readouterr().err
