"""Programs on a real GPU: ``make gpu``."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checks import check_forward, dtypes_of
from drawing import cases, is_drawable
from gpu_cases import has_code
from native_oracle import check_training, convolutional, perceptron, some_recipes
from random_graphs import check_compilation

import graphnn as gn
from graphnn.core.errors import DeviceError

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int8", "bool")
TOGETHER = 80
HARNESS = Path(__file__).parents[1] / "harness"
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_operation_gives_its_reference(results_on_host, dtype):
    known = [
        each
        for each in cases()
        if dtype in dtypes_of(each.operation)
        and is_drawable(each.sample, dtype)
        and has_code(each, dtype)
    ]
    assert len(known) > 50
    for begin in range(0, len(known), TOGETHER):
        check_forward(known[begin : begin + TOGETHER], dtype, "cupy")


def test_random_graphs(results_on_host):
    for recipe in some_recipes(40):
        check_compilation(recipe, "float32", "cupy", levels=["O0", "O2"])


@pytest.mark.parametrize("make", [perceptron, convolutional])
def test_training_is_as_exact_as_without_fusion(results_on_host, make):
    check_training(make, "cupy")


def lstm(backend, **options):
    """A training step of an LSTM, its feed and its parameters."""
    gn.seed(0)
    x = gn.input("x", (20, 8, 16))
    net = gn.nn.LSTM(16, 32, return_sequences=True)
    loss = gn.mean(gn.square(net(x)))
    updates = gn.optim.Adam(1e-2).minimize(loss, net.parameters())
    fed = np.random.default_rng(0).normal(size=(20, 8, 16)).astype("float32")
    return gn.compile(x, loss, updates, backend=backend, **options), fed, list(updates)


def test_a_recorded_step_gives_the_bits_of_single_launches(gpu):
    runs = []
    for launch in ("graph", "stream", "debug"):
        step, fed, state = lstm("cupy", launch=launch)
        losses = [step(fed).get().tobytes() for _ in range(4)]
        runs.append((losses, [each.value.tobytes() for each in state]))
    assert runs[0] == runs[1] == runs[2]


def test_parameters_move_back_and_forth(gpu):
    step, fed, state = lstm("cupy")
    elsewhere = step.to("numpy")
    only, _, expected = lstm("numpy")
    for _ in range(3):
        step(fed)
        elsewhere(fed)
        only(fed)
        only(fed)
    for each, wanted in zip(state, expected, strict=True):
        np.testing.assert_allclose(each.value, wanted.value, rtol=1e-4, atol=1e-5)


def test_an_index_out_of_range_leaves_state_alone(gpu):
    table = gn.parameter(np.ones((10, 4), "float32"))
    rows = gn.input("rows", (3,), dtype="int64")
    loss = gn.sum(gn.embedding(rows, table) ** 2)
    step = gn.compile(rows, loss, {table: table - gn.grad(loss, table)}, backend="cupy")
    for _ in range(3):
        step([0, 1, 2])
        before = table.value
        with pytest.raises(gn.GraphnnError, match="10"):
            step([0, 1, 10])
        np.testing.assert_array_equal(table.value, before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64", "bool", "int8"])
def test_results_are_arrays_of_cupy(gpu, dtype):
    import cupy

    value = gn.constant(np.array([[1, 0], [0, 1]]), dtype=dtype)
    result = gn.compile((), gn.concatenate([value, value]), backend="cupy")()
    assert isinstance(result, cupy.ndarray)
    assert result.dtype == value.dtype
    assert complex(result.get().sum()) == 4


def test_feeds_of_other_libraries_stay_on_the_gpu(gpu):
    import cupy

    x = gn.input("x", (64, 3))
    double = gn.compile(x, 2.0 * x, backend="cupy")
    fed = np.arange(192, dtype="float32").reshape(64, 3)
    turned = cupy.asarray(fed.T).T  # not contiguous
    np.testing.assert_array_equal(double(turned).get(), 2 * fed)
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch knows no GPU")
    np.testing.assert_array_equal(double(torch.tensor(fed, device="cuda")).get(), 2 * fed)
    back = torch.from_dlpack(double(fed))
    assert back.is_cuda
    np.testing.assert_array_equal(back.cpu().numpy(), 2 * fed)


def test_work_is_in_order_with_the_callers_stream(gpu):
    import cupy

    x = gn.input("x", (1 << 22,))
    program = gn.compile(x, x + 1.0, backend="cupy")
    with cupy.cuda.Stream(non_blocking=True):
        value = cupy.zeros(1 << 22, "float32")
        for number in range(50):
            value = program(value * 1.0)
            assert float(value[-1]) == number + 1


def test_precision_of_products(gpu):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(256, 256)).astype("float32") for _ in range(2))
    x, y = gn.input("x", a.shape), gn.input("y", b.shape)
    exact = a.astype("float64") @ b.astype("float64")
    errors = {}
    for precision in ("float32", "tf32", "bfloat16"):
        found = gn.compile([x, y], x @ y, backend="cupy", matmul_precision=precision)(a, b).get()
        errors[precision] = np.abs(found - exact).max() / np.abs(exact).max()
    assert errors["float32"] < 2e-6
    assert 1e-5 < errors["tf32"] < 2e-3
    assert 1e-4 < errors["bfloat16"] < 2e-2


def test_too_much_memory_is_said(gpu):
    with pytest.raises(DeviceError, match="too little memory: "):
        gpu.allocate(1 << 44)


def arguments_of(path):
    """What an example is run with: its short form, and for the demo the word for the GPU."""
    if path.stem == "demo":
        return ["--backend", "cupy"]
    return ["--quick"] * ('"--quick"' in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(gpu, path, tmp_path):
    environment = os.environ | {"GRAPHNN_BACKEND": "cupy", "MPLBACKEND": "agg"}
    command = [sys.executable, "-P", HARNESS / "example_on_gpu.py", path, *arguments_of(path)]
    environment["PYTHONPATH"] = str(HARNESS)
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_compute_sanitizer_finds_nothing(gpu, tool, sanitizer):
    """Accesses out of bounds, races within a block, barriers that some threads miss."""
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", "--print-limit", "20"]
    done = subprocess.run(
        [*command, sys.executable, "-P", HARNESS / "small_training.py"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "SUMMARY: 0 " in done.stdout + done.stderr
