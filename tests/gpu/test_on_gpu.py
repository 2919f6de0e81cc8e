"""Programs on a real GPU: ``make gpu``."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checks import check_forward, dtypes_of
from drawing import cases, is_drawable
from native_oracle import check_training, convolutional, perceptron, some_recipes
from random_graphs import check_compilation

import graphnn as gn
from graphnn.core.errors import DeviceError

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int8", "bool", "complex64")
TOGETHER = 80
HARNESS = Path(__file__).parents[1] / "harness"
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_operation_gives_its_reference(results_on_host, dtype):
    known = [
        each
        for each in cases()
        if dtype in dtypes_of(each.operation) and is_drawable(each.sample, dtype)
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


def test_a_profile_tells_of_the_gpu(gpu):
    step, fed, state = lstm("cupy")
    step(fed)
    before = [each.value for each in state]
    profile = step.profile(fed, repeat=3)
    assert profile.limits.gpu == gpu.name
    assert 1e12 < profile.limits.flops < 1e15
    assert 1e11 < profile.limits.memory_bandwidth < 1e14
    assert 0 < profile.ns < 1e9
    for each, value in zip(state, before, strict=True):
        np.testing.assert_array_equal(each.value, value)


def test_values_are_looked_at(gpu):
    step, fed, _ = lstm("cupy", debug="verify")
    step(fed)
    step, fed, _ = lstm("cupy", debug="nan")
    step(fed)
    with pytest.raises(gn.core.errors.NonFiniteError, match="NaN"):
        step(np.full_like(fed, np.nan))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_many_updates_give_the_bits_of_a_processor(gpu, dtype):
    rng = np.random.default_rng(0)
    table, at = gn.input("table", (50_000, 64), dtype), gn.input("at", (65_536,), "int64")
    updates = gn.input("updates", (65_536, 64), dtype)
    program = gn.compile([table, at, updates], gn.scatter_add(table, at, updates), backend="cupy")
    words = np.where(rng.random(65_536) < 0.1, 7, rng.integers(0, 50_000, 65_536))
    fed = [rng.normal(size=each.shape).astype(each.dtype) for each in (table, updates)]
    found = [program(fed[0], words, fed[1]).get() for _ in range(3)]
    expected = program.to("numpy")(fed[0], words, fed[1])
    assert [each.tobytes() for each in found] == [expected.tobytes()] * 3


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


LEAST_EXACT = {"float32": 2e-6, "tf32": 2e-3, "bfloat16": 2e-2}


@pytest.mark.parametrize("precision", LEAST_EXACT)
@pytest.mark.parametrize("sizes", [(256, 512, 128), (33, 65, 17), (1, 64, 64), (64, 1, 64)])
def test_epilogues_of_the_library(gpu, monkeypatch, precision, sizes):
    """Relu and gelu with a bias and an addend, beside float64; in float16 too."""
    made, ask = [], gpu.fused_product

    def asked(*given):
        made.append(ask(*given) is not None)
        return ask(*given)

    monkeypatch.setattr(gpu, "fused_product", asked)
    rng, (m, n, k) = np.random.default_rng(0), sizes
    arrays = [rng.normal(size=each).astype("float32") for each in ((m, k), (k, n), (n,), (m, n))]
    for dtype in ("float32", "float16"):
        fed = [each.astype(dtype) for each in arrays]
        inputs = [gn.input(f"x{number}", each.shape, dtype) for number, each in enumerate(fed)]
        x, w, bias, addend = inputs
        total = x @ w + bias
        outputs = [gn.relu(total), gn.gelu(total + addend, approximate="tanh")]
        wide = [each.astype("float64") for each in fed]
        total = wide[0] @ wide[1] + wide[2]
        late = total + wide[3]
        inner = np.sqrt(2 / np.pi) * (late + 0.044715 * late**3)
        expected = np.maximum(total, 0), 0.5 * late * (1 + np.tanh(inner))
        for each, exact in zip(outputs, expected, strict=True):
            program = gn.compile(inputs, each, backend="cupy", matmul_precision=precision)
            for _ in range(3):
                found = program(*fed).get()
            error = np.abs(found.astype("float64") - exact).max() / np.abs(exact).max()
            assert error < max(LEAST_EXACT[precision], 2e-3 if dtype == "float16" else 0.0)
    if min(sizes) > 1:  # else the bias is one number, or a second addend
        assert len(made) == 4
        assert made[0], "cuBLASLt has no relu with a bias in float32"


def test_nan_comes_through_the_epilogue(gpu):
    x, w = gn.input("x", (64, 64)), gn.input("w", (64, 64))
    b = gn.input("b", (64,))
    program = gn.compile([x, w, b], gn.relu(x @ w + b), backend="cupy")
    ones, some = np.ones((64, 64), "float32"), np.ones(64, "float32")
    some[7] = np.nan
    assert np.isnan(program(ones, ones, some).get()).sum() == 64


@pytest.mark.parametrize("library", ["cuBLAS", "cuDNN"])
@pytest.mark.parametrize(
    ("precision", "most"), [("float32", 5e-6), ("tf32", 5e-3), ("bfloat16", 5e-2)]
)
def test_convolutions_and_their_gradients(gpu, monkeypatch, library, precision, most):
    if library == "cuBLAS":
        monkeypatch.setitem(vars(gpu), "_cudnn", None)
    elif gpu._cudnn is None:
        pytest.skip("cuDNN's package is not installed")
    rng = np.random.default_rng(0)
    for stride, window, groups in ((1, 3, 1), (2, 3, 1), (1, 5, 2), (1, 1, 1)):
        given = [
            rng.normal(size=shape).astype("float32")
            for shape in ((8, 64, 15, 15), (128, 64 // groups, window, window))
        ]
        x, w = (gn.input(name, each.shape) for name, each in zip("xw", given, strict=True))
        y = gn.conv(x, w, padding=window // 2, stride=stride, groups=groups)
        outputs = [y, *gn.grad(gn.sum(y**2), [x, w])]
        program = gn.compile([x, w], outputs, backend="cupy", matmul_precision=precision)
        wide = [gn.cast(each, "float64") for each in (x, w)]
        exact = gn.conv(*wide, padding=window // 2, stride=stride, groups=groups)
        expected = gn.compile([x, w], [exact, *gn.grad(gn.sum(exact**2), wide)])(*given)
        for _ in range(3):  # one by one, recorded, the recording
            found = [each.get() for each in program(*given)]
        for have, want in zip(found, expected, strict=True):
            assert np.abs(have - want).max() < most * np.abs(want).max()


def test_too_much_memory_is_said(gpu):
    with pytest.raises(DeviceError, match="too little memory: "):
        gpu.allocate(1 << 44)


def arguments_of(path):
    """What an example is run with: its short form."""
    return ["--quick"] * ('"--quick"' in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(gpu, path, tmp_path):
    environment = os.environ | {"GRAPHNN_BACKEND": "cupy", "MPLBACKEND": "agg"}
    command = [sys.executable, "-P", path, *arguments_of(path)]
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
