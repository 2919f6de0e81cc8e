"""Products with epilogues: which are recognised, and how they are calls of cuBLASLt."""

import ctypes
import itertools
import sys

import numpy as np
import pytest
from cuda_shim import ShimDevice
from device_oracle import TwiceExecutable
from fake_cublaslt import ATTRIBUTES
from fake_cupy import FakeCupy, build, libraries
from lying_matrices import FORMS, lying

import graphnn as gn
from graphnn.compiler import backends
from graphnn.compiler.backends.on_device import DeviceExecutable
from graphnn.compiler.cuda.code import Epilogue, Matrices, Matrix
from graphnn.compiler.cuda.cublaslt import CublasLt, Heuristic
from graphnn.compiler.cuda.cupy_device import CupyDevice
from graphnn.compiler.cuda.libraries import load_library
from graphnn.compiler.cuda.side_by_side import steps_of
from graphnn.core.errors import MissingPackageError


def fused(outputs, inputs, **options):
    """The products of a program that have an epilogue."""
    unit = gn.compile(inputs, outputs, backend="cupy", **options).unit
    return [each.alternative[0].does for each in steps_of(unit)[0] if each.alternative]


X, W = gn.input("x", (6, 5)), gn.parameter(np.ones((5, 4), "float32"), name="w")
B = gn.parameter(np.ones(4, "float32"), name="b")
ROW = Matrix(0, 1)


# ------------------------------------------------------------------------------- recognition


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda y: y + B, Epilogue("", ROW)),
        (lambda y: B + y, Epilogue("", ROW)),
        (gn.relu, Epilogue("relu")),
        (lambda y: gn.maximum(0.0, y + B), Epilogue("relu", ROW)),
        (lambda y: gn.relu(y + X[:, 1:] + B), Epilogue("relu", ROW, Matrix(5, 1))),
        (lambda y: X[:, :4] + y, Epilogue("", None, Matrix(5, 1))),
        (lambda y: gn.gelu(y + B, approximate="tanh"), Epilogue("gelu", ROW)),
    ],
)
def test_what_the_library_has(make, expected):
    (found,) = fused(make(X @ W), X)
    assert (found.m, found.n, found.k, found.epilogue) == (6, 4, 5, expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda y: y * B,
        lambda y: gn.maximum(y + B, 1.0),
        lambda y: gn.relu(y) + B,
        lambda y: gn.gelu(y),
        lambda y: gn.silu(y + B),
        lambda y: gn.exp(gn.gelu(y, approximate="tanh")),
        lambda y: gn.relu(gn.relu(y) + B),
        lambda y: y + y,
        lambda y: y + gn.reshape(B, (4,))[::-1],
        lambda y: y + X[:, :1],
        lambda y: gn.softmax(y + B),
        lambda y: [y, y + B],
        lambda y: [gn.relu(y + B), gn.exp(y + B)],
        lambda y: gn.sum(gn.relu(y + B), axis=0),
    ],
)
def test_what_it_has_not(make):
    assert fused(make(X @ W), X) == []


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("function", ["relu", "gelu"])
def test_half_floats_are_rounded_once(dtype, function):
    x, y, b = (gn.input(name, (4, 4)[:n], dtype) for name, n in (("x", 2), ("y", 2), ("b", 1)))
    functions = {"relu": gn.relu, "gelu": lambda x: gn.gelu(x, approximate="tanh")}
    (found,) = fused(functions[function](x @ y + b), [x, y, b])
    assert found.epilogue == Epilogue(function, ROW)


def test_a_cast_that_rounds_is_no_epilogue():
    x, y = gn.input("x", (4, 4)), gn.input("y", (4, 4))
    assert fused(gn.relu(gn.cast(x @ y, "float16")), [x, y]) == []
    rounded = gn.cast(gn.cast(x @ y, "bfloat16"), "float32")
    assert fused(gn.relu(rounded), [x, y]) == []


@pytest.mark.parametrize("dtype", ["float64", "complex64", "int64"])
def test_dtypes_that_it_has_not(dtype):
    x, y, b = (gn.input(name, (4, 4)[:n], dtype) for name, n in (("x", 2), ("y", 2), ("b", 1)))
    assert fused(x @ y + b, [x, y, b]) == []


def test_the_sum_of_two_products_is_one_that_is_added_to_the_other():
    y, v = gn.input("y", (6, 3)), gn.parameter(np.ones((3, 4), "float32"))
    (found,) = fused(X @ W + y @ v + B, [X, y])
    assert found.epilogue == Epilogue("", ROW, Matrix(4, 1))


def test_a_bias_of_every_matrix_of_a_batch():
    x, y, b = gn.input("x", (3, 6, 5)), gn.input("y", (3, 5, 4)), gn.input("b", (3, 1, 4))
    (found,) = fused(gn.relu(x @ y + b), [x, y, b])
    assert (found.batch, found.epilogue) == (3, Epilogue("relu", Matrix(0, 1, 4)))


def test_what_is_added_to_a_single_row_may_be_overwritten():
    """It is no bias to the library, which may read that after it has written elsewhere."""
    x = gn.input("x", (1, 5))
    (found,) = fused(x @ W + B, x)
    assert found.epilogue == Epilogue("", None, Matrix(0, 1))


def test_training_keeps_no_mask_beside_the_result():
    last = gn.parameter(np.ones((4, 3), "float32"))
    loss = gn.mean(gn.square(gn.relu(X @ W + B) @ last))
    updates = gn.optim.SGD(0.1).minimize(loss, [W, B, last])
    steps, _ = steps_of(gn.compile(X, loss, updates, backend="cupy").unit)
    (found,) = (each for each in steps if each.alternative)
    assert found.alternative[0].does.epilogue == Epilogue("relu", ROW)
    assert [view.dtype for view in found.instruction.outputs] == ["float32"]


def test_it_can_be_left_out():
    assert fused(X @ W + B, X, skip="finish_products") == []


def test_a_product_is_not_moved_behind_a_new_value_of_what_it_reads():
    w, x = gn.parameter(np.ones((5, 5), "float32")), gn.input("x", (5, 5))
    other, new = gn.parameter(np.ones((5, 5), "float32")), x.T @ x
    for written, count in ((w, 0), (other, 1)):
        unit = gn.compile(x, gn.relu(x @ w + new), {written: new}, backend="cupy").unit
        assert sum(len(each.alternative) for each in steps_of(unit)[0]) == count


# -------------------------------------------------------------------------------------- calls


def library():
    """A handle, what it is on, and its stream."""
    cupy = FakeCupy()
    stream, lt = cupy.cuda.Stream(non_blocking=True), libraries(cupy)["cublasLt"]
    return CublasLt(lt, stream.ptr, 0), lt, stream


SIZES = [(3, 4, 5, 1), (3, 4, 5, 2), (1, 4, 5, 2), (3, 1, 5, 1), (3, 4, 1, 1), (1, 1, 1, 1)]


@pytest.mark.parametrize("sizes", SIZES)
def test_every_way_to_lie(sizes):
    m, n, k, batch = sizes
    rng, functions = np.random.default_rng(0), itertools.cycle(ACTIVATIONS)
    handle, _, stream = library()
    for left, right, out in itertools.product(FORMS, repeat=3):
        a, left_lies = lying(rng, batch, m, k, left, "float32")
        b, right_lies = lying(rng, batch, k, n, right, "float32")
        c, out_lies = lying(rng, batch, m, n, out, "float32")
        by_columns = out_lies.is_by_columns(m, n)
        form = "columns" if by_columns else "rows"
        addend, addend_lies = lying(rng, batch, m, n, f"wide {form}", "float32")
        bias = rng.normal(size=(batch, m if by_columns else n)).astype("float32")
        bias_lies = Matrix(*((1, 0) if by_columns else (0, 1)), bias.shape[1])
        for with_bias, with_addend in itertools.product((False, True), repeat=2):
            function = next(functions)
            epilogue = Epilogue(
                function, bias_lies if with_bias else None, addend_lies if with_addend else None
            )
            matrices = Matrices(
                m, n, k, batch, "float32", left_lies, right_lies, out_lies, epilogue
            )
            extra = [bias] * with_bias + [addend] * with_addend
            multiply = handle.product(matrices, "tf32", 4)
            multiply([each.ctypes.data for each in (a, b, *extra, c)])
            stream.synchronize()
            expected = a.astype("float64") @ b
            expected += addend if with_addend else 0.0
            expected += (bias[:, :, None] if by_columns else bias[:, None]) if with_bias else 0.0
            np.testing.assert_allclose(c, ACTIVATIONS[function](expected), rtol=2e-5, atol=1e-6)


ACTIVATIONS = {
    "": lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
}


def of(dtype="float32", function="relu"):
    row = Matrix(4, 1)
    return Matrices(4, 4, 4, 1, dtype, row, row, row, Epilogue(function))


def test_an_algorithm_is_asked_for_once():
    handle, lt, _ = library()
    first = handle.product(of(), "float32", 16)
    assert handle.product(of(), "float32", 16) is first
    assert lt.n_asked == 1
    handle.product(of(), "tf32", 16)
    handle.product(of(), "float32", 4)
    assert lt.n_asked == 3


@pytest.mark.parametrize(
    ("dtype", "precision", "compute"),
    [
        ("float32", "float32", 68),
        ("float32", "tf32", 77),
        ("float32", "bfloat16", 75),
        ("float16", "bfloat16", 68),
    ],
)
def test_precision_is_that_of_products_without_epilogue(dtype, precision, compute):
    handle, lt, _ = library()
    memory = np.zeros((3, 64), dtype)
    start = memory.ctypes.data
    handle.product(of(dtype), precision, 2)([start, start + 128, start + 256])
    (made,) = lt.described
    assert made["made of"] == [compute, 0]
    assert made["preference"][3] == 2, "parts of a sum are float32"


def test_gelu_is_left_to_kernels_where_products_are_exact():
    handle, _, _ = library()
    assert handle.product(of(function="gelu"), "float32", 4) is None
    assert handle.product(of(function="gelu"), "tf32", 4) is not None
    assert handle.product(of("float16", function="gelu"), "float32", 4) is not None


def test_an_error_of_the_library_is_said():
    handle, lt, _ = library()
    multiply = handle.product(of(), "float32", 4)
    lt.cublasLtMatmul = lambda *_: 13
    with pytest.raises(RuntimeError, match="cublasLtMatmul: the fake refuses"):
        multiply([256, 512, 768])


# ------------------------------------------------------------------------------------ programs


@pytest.fixture
def found(monkeypatch):
    """The libraries that ``backend="cupy"`` finds."""
    cupy = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    names = libraries(cupy)

    def load(name):
        if name not in names:
            raise MissingPackageError(f"no {name}", hint="", where="")
        return names[name]

    device = CupyDevice(cupy, build, load, lambda: None)
    monkeypatch.setitem(backends.BACKENDS, "cupy", lambda unit: DeviceExecutable(unit, device))
    return names


def run():
    """A program's values at three calls: the last two are a recording."""
    hidden = gn.relu(X @ W + B)
    fed = np.linspace(-2, 2, 30, dtype="float32").reshape(6, 5)
    program = gn.compile(X, hidden @ gn.constant(np.eye(4, dtype="float32")) + hidden)
    expected = program(fed)
    moved = program.to("cupy")
    for _ in range(3):
        np.testing.assert_allclose(moved(fed).get(), expected, rtol=1e-5)


def test_a_program_calls_the_library_and_is_recorded(found):
    run()
    kinds = [each[7] for each in found["cublasLt"].described]
    assert found["cublas"].computes == []
    assert kinds == [6, 6, 1, 6, 1]  # relu is tried with NaN; launched; recorded


@pytest.mark.parametrize("what", ["is not installed", "has no algorithm", "hides NaN"])
def test_kernels_do_what_the_library_does_not(found, what):
    if what == "is not installed":
        del found["cublasLt"]
    elif what == "has no algorithm":
        found["cublasLt"].declines = True
    else:
        found["cublasLt"].drops_nan = True
    run()
    assert len(found["cublas"].computes) == (2 if what == "hides NaN" else 4)


@pytest.mark.parametrize("is_fused", [True, False])
def test_in_mixed_precision_the_bias_is_rounded_apart(found, is_fused):
    found["cublasLt"].declines = not is_fused
    hidden = gn.autocast(gn.relu(X @ W + B) @ gn.constant(np.eye(4, dtype="float32")), "float16")
    program = gn.compile(X, hidden, backend="cupy")
    steps, _ = steps_of(program.unit)
    assert [each.alternative[0].does.epilogue for each in steps if each.alternative] == [
        Epilogue("relu", ROW)
    ]
    fed = np.linspace(-2, 2, 30, dtype="float32").reshape(6, 5)
    expected = program.to("reference")(fed)
    for _ in range(2):
        np.testing.assert_allclose(program(fed).get(), expected, rtol=2e-3)
    assert bool(found["cublasLt"].described) is is_fused


@pytest.mark.parametrize("is_fused", [True, False])
def test_state_is_as_before_a_run_that_is_refused(found, is_fused):
    found["cublasLt"].declines = not is_fused
    x, rows = gn.input("x", (5, 5)), gn.input("rows", (2,), "int64")
    square = gn.parameter(np.eye(5, dtype="float32"))
    step = gn.compile([x, rows], gn.take(x, rows, axis=0), {square: x @ x + x}, backend="cupy")
    fed = np.full((5, 5), 0.5, "float32")
    for _ in range(3):
        step(fed, [0, 1])
        with pytest.raises(gn.GraphnnError, match="7"):
            step(fed + 1.0, [0, 7])
        np.testing.assert_allclose(square.value, fed @ fed + fed)
    assert bool(found["cublasLt"].described) is is_fused


def test_the_alignment_is_that_of_all_operands(found):
    x = gn.input("x", (7, 6))
    program = gn.compile(x, x[1:, 1:] @ W + B, backend="cupy")
    fed = np.arange(42, dtype="float32").reshape(7, 6)
    np.testing.assert_allclose(program(fed).get(), fed[1:, 1:] @ np.ones((5, 4)) + 1.0)
    assert {each["preference"][5] for each in found["cublasLt"].described} == {4}


def residual():
    """Blocks whose second product is added to what they are given, and a product added to state."""
    rng = np.random.default_rng(0)
    w, b, total = (gn.parameter(rng.normal(size=s).astype("float32")) for s in ((6, 6), 6, (6, 6)))
    x = gn.input("x", (9, 6))
    h = x
    for _ in range(2):
        h = h + gn.relu(h @ w + b) @ w.T + b
    loss = gn.mean(gn.square(h))
    return x, loss, gn.optim.SGD(0.01).minimize(loss, [w, b]) | {total: x.T @ x + total}, 4


def in_steps():
    """Products in a loop: the kernel of a round takes up what comes behind them."""
    rng = np.random.default_rng(0)
    w, v, b = (gn.parameter(rng.normal(size=s).astype("float32")) for s in ((4, 6), (6, 4), 4))
    x = gn.input("x", (5, 3, 4))

    def step(h, x):
        h = gn.relu(gn.tanh(h) @ w @ v + x + b)
        return h, h

    _, steps = gn.scan(step, gn.zeros((3, 4)), x)
    return x, steps, {}, 0


@pytest.mark.parametrize("fuses", [True, False])
@pytest.mark.parametrize("make", [residual, in_steps])
def test_values_are_those_of_the_reference(monkeypatch, make, fuses):
    device = ShimDevice(fuses=fuses)
    monkeypatch.setitem(backends.BACKENDS, "cupy", lambda unit: TwiceExecutable(unit, device))
    found = []
    for backend in ("cupy", "reference"):
        x, outputs, updates, n_fused = make()
        program = gn.compile(x, outputs, updates, backend=backend, optimize="O1")
        fed = np.random.default_rng(1).normal(size=x.shape).astype("float32")
        found.append([*(program(fed) for _ in range(2)), *(each.value for each in updates)])
    for have, want in zip(*found, strict=True):
        np.testing.assert_allclose(have, want, rtol=2e-5, atol=2e-5)
    assert device.n_fused == n_fused * fuses


# ------------------------------------------------------------------------------- the real one


@pytest.fixture
def real():
    """NVIDIA's library, which makes descriptors without a GPU."""
    try:
        return load_library("cublasLt")
    except MissingPackageError as error:
        pytest.skip(error.what)


def test_attributes_are_those_of_the_library(real):
    arguments = {
        "MatmulDesc": (ctypes.c_int(68), ctypes.c_int(0)),
        "MatrixLayout": (ctypes.c_int(0), *3 * (ctypes.c_uint64(4),)),
        "MatmulPreference": (),
    }
    for kind, given in arguments.items():
        made = ctypes.c_void_p()
        assert getattr(real, f"cublasLt{kind}Create")(ctypes.byref(made), *given) == 0
        set_attribute = getattr(real, f"cublasLt{kind}SetAttribute")
        for attribute, nbytes in ATTRIBUTES[kind].items():
            value, wrong = ctypes.c_int64(4), ctypes.c_size_t(nbytes + 1)
            known = made, ctypes.c_int(attribute), ctypes.byref(value)
            assert set_attribute(*known, ctypes.c_size_t(nbytes)) == 0, (kind, attribute)
            assert set_attribute(*known, wrong) != 0, (kind, attribute)


def test_a_heuristic_is_as_large_as_the_header_says():
    assert ctypes.sizeof(Heuristic) == 64 + 8 + 4 + 4 + 16
