"""Generated CUDA code, run on the CPU by a shim, in both orders of threads."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import attrgetter
from typing import Any

import cuda_shim
import numpy as np
import pytest
from checks import check_forward, dtypes_of
from cuda_shim import ShimDevice, mistaken_source
from device_oracle import PoisoningExecutable, TwiceExecutable
from drawing import Case, cases, is_drawable
from duck_arrays import FUNCTIONS, METHODS, UFUNCS, signature_of
from native_oracle import check_training, convolutional, perceptron, some_recipes, weights
from random_graphs import check_compilation

import graphnn as gn
from graphnn.compiler.backends import BACKENDS
from graphnn.compiler.cuda.side_by_side import steps_of
from graphnn.core.errors import FeedError, UnsupportedOpError
from graphnn.core.node import make_node
from graphnn.core.op import Op

EVERY = {
    "float32": 1,
    "float64": 9,
    "float16": 7,
    "bfloat16": 7,
    "int64": 4,
    "int8": 5,
    "bool": 2,
    "complex64": 9,
}
"""Every how many-th sample is run in a dtype."""

TOGETHER = 150
"""Samples in one program: one call of the compiler."""


@pytest.fixture(autouse=True)
def shim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs for GPUs run here, in both orders of threads."""
    device = ShimDevice()
    monkeypatch.setitem(BACKENDS, "cupy", lambda unit: TwiceExecutable(unit, device))


# --------------------------------------------------------------------------------- the op table


def parts_of_table() -> Iterator[Any]:
    """The table, so many samples at a time."""
    for dtype, every in EVERY.items():
        chosen = [
            each
            for each in cases()
            if dtype in dtypes_of(each.operation) and is_drawable(each.sample, dtype)
        ][::every]
        for begin in range(0, len(chosen), TOGETHER):
            part = chosen[begin : begin + TOGETHER]
            yield pytest.param(part, dtype, id=f"{dtype}-{begin // TOGETHER}")


@pytest.mark.parametrize(("part", "dtype"), list(parts_of_table()))
def test_values_are_those_of_the_reference(part: list[Case], dtype: str) -> None:
    check_forward(part, dtype, "cupy")


def test_a_refusal_names_the_operator_the_dtype_and_the_line() -> None:
    class TwiceOp(Op):
        name = "twice"

        def infer(self, x: Any) -> Any:
            return x

        def evaluate(self, x: Any) -> Any:
            return 2 * x

    program = gn.compile((), make_node(TwiceOp(), (gn.ones((3,)),)), backend="cupy")
    text = program.source("cuda")
    assert re.search(r"// 0 \w+: twice .*\n// no code for GPUs: this program cannot run", text)
    words = r"twice has no code for float32 on a GPU(?s:.*)test_cuda_kernels.py(?s:.*)numpy"
    with pytest.raises(UnsupportedOpError, match=words):
        program()


# ---------------------------------------------------------------------------------- whole graphs


def test_random_graphs() -> None:
    for recipe in some_recipes(10):
        check_compilation(recipe, "float32", "cupy", levels=["O2"])


def recurrent(dtype: str, backend: str = "numpy") -> gn.Program:
    """A step of training an LSTM behind an embedding on integer labels."""
    words, label = gn.input("x", (6, 9), "int64"), gn.input("label", (6,), "int64")
    table, wx, wh, last = parameters = weights(dtype, (7, 12), (12, 32), (8, 32), (8, 7))
    zeros = gn.zeros((6, 8), dtype)

    def step(carry: Any, x: gn.Node) -> Any:
        h, c = carry
        i, f, g, o = gn.split(x @ wx + h @ wh, 4, axis=-1)
        c = gn.sigmoid(f) * c + gn.sigmoid(i) * gn.tanh(g)
        h = gn.sigmoid(o) * gn.tanh(c)
        return (h, c), h

    (h, _), _ = gn.scan(step, (zeros, zeros), gn.swapaxes(gn.take(table, words, axis=0), 0, 1))
    loss = gn.losses.cross_entropy(h @ last, label)
    updates = gn.optim.Adam(1e-2).minimize(loss, parameters, max_norm=1.0)
    return gn.compile([words, label], loss, updates, backend=backend)


@pytest.mark.parametrize("make", [perceptron, convolutional, recurrent])
def test_training_is_as_exact_as_without_fusion(
    make: Callable[..., gn.Program],
) -> None:
    check_training(make, "cupy")


def test_the_state_is_one_for_both_backends() -> None:
    x, w = gn.input("x", (4,)), gn.parameter(np.ones(4, "float32"), name="w")
    programs = [
        gn.compile(x, gn.sum(w * x), {w: w + x}, backend=backend) for backend in ("cupy", "numpy")
    ]
    fed = np.arange(4, dtype="float32")
    found = [float(program(fed)) for _ in range(3) for program in programs]
    assert found == [6.0, 20.0, 34.0, 48.0, 62.0, 76.0]
    assert w.value.tolist() == [1.0, 7.0, 13.0, 19.0]
    w.value = np.zeros(4)
    assert [float(program(fed)) for program in programs] == [0.0, 14.0]


def test_an_index_out_of_range_is_told_in_words() -> None:
    x, at = gn.input("x", (5, 2)), gn.input("at", (3,), "int64")
    program = gn.compile([x, at], gn.gather(x, at), backend="cupy")
    rows = np.arange(10, dtype="float32").reshape(5, 2)
    assert program(rows, [4, -5, 0])[0].tolist() == [8.0, 9.0]
    with pytest.raises(FeedError, match="index 5 is out of range"):
        program(rows, [0, 5, 1])
    assert program(rows, [1, 1, 1])[0].tolist() == [2.0, 3.0]


# ---------------------------------------------------------------------- what the shim would find


def softmax() -> tuple[gn.Program, list[Any]]:
    """Rows that the threads of a block share."""
    x = gn.input("x", (3, 2000))
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=x.shape).astype("float32") for _ in range(2)]
    return gn.compile(x, gn.softmax(x), backend="cupy"), feeds


MISTAKES = {
    "a barrier is missing": ("        __syncthreads();\n        int first", "        int first"),
    "the last barrier is missing": ("    __syncthreads();  // before anybody", "    // before"),
    "a wrong lane is read": ("shared[first + warp]", "shared[first + warp - 1]"),
    "a wrong thread is asked": ("__shfl_xor_sync(0xffffffffu, x, by)", "__shfl_xor_sync(0u, x, 1)"),
    "a row is left out": ("blockIdx.x * 1 + slot", "(blockIdx.x + 1) * 1 + slot"),
    "a lane takes other elements": ("at = lane + turn * 256", "at = lane + turn * 255"),
}


def is_wrong(program: gn.Program, feeds: list[Any]) -> bool:
    """Whether results differ from the reference, or between orders of threads."""
    try:
        results = [program(fed) for fed in feeds]
    except AssertionError:
        return True
    expected = [gn.evaluate(gn.softmax(fed)) for fed in feeds]
    return not np.allclose(results, expected, rtol=1e-5)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_makes_results_wrong(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, feeds = softmax()
    assert not is_wrong(program, feeds)
    monkeypatch.setattr(cuda_shim, "shim_source", mistaken_source(*MISTAKES[mistake]))
    assert is_wrong(*softmax())


def test_a_grid_that_is_too_small_is_found_by_poison_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the second run leaves unwritten is what the first one wrote: right, but for poison."""
    program, (fed, _) = softmax()
    expected = program(fed)
    launch = ShimDevice._launch

    def smaller(self: Any, function: Any, part: Any, addresses: Any) -> None:
        launch(self, function, replace(part, blocks=part.blocks - 1), addresses)

    monkeypatch.setattr(ShimDevice, "_launch", smaller)
    assert np.isnan(program(fed)).any()
    monkeypatch.setattr(PoisoningExecutable, "_poison", lambda self, step: None)
    program, (fed, _) = softmax()
    monkeypatch.setattr(ShimDevice, "_launch", launch)
    program(fed)
    monkeypatch.setattr(ShimDevice, "_launch", smaller)
    np.testing.assert_array_equal(program(fed), expected)


# ------------------------------------------------------------------------------ how it is launched


def launched(program: gn.Program) -> list[Any]:
    steps, _ = steps_of(program.unit)
    return [launch for step in steps for launch in step.launches]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool"])
def test_what_is_transposed_goes_through_shared_memory(dtype: str) -> None:
    x, y = gn.input("x", (2, 40, 37), dtype), gn.input("y", (37, 40), dtype)
    program = gn.compile([x, y], gn.equal(gn.swapaxes(x, 1, 2), y), backend="cupy")
    rng = np.random.default_rng(0)
    feeds = [rng.integers(0, 2, each.shape).astype(dtype) for each in (x, y)]
    np.testing.assert_array_equal(program(*feeds), feeds[0].swapaxes(1, 2) == feeds[1])
    (code,) = steps_of(program.unit)[1]
    assert "tile0[x]" in code.source
    assert "tile1" not in code.source


def test_small_kernels_that_need_nothing_of_each_other_are_one_launch() -> None:
    weights = [gn.parameter(np.ones(n, "float32")) for n in (3, 70, 3)]
    x = gn.input("x", ())
    program = gn.compile(x, [], {each: each * x + 1.0 for each in weights}, backend="cupy")
    (launch,) = launched(program)
    assert len(launch.places) == 4  # what is read and written is given once
    program(2.0)
    assert [each.value.tolist() for each in weights] == [[3.0] * n for n in (3, 70, 3)]


def test_kernels_of_which_one_reads_what_another_writes_stay_apart() -> None:
    x = gn.input("x", (8, 8))
    total = gn.sum(x, axis=0)
    shifted = gn.cumsum(x - total, axis=0)
    program = gn.compile(x, [shifted, gn.max(x)], backend="cupy")
    fed = np.arange(64, dtype="float32").reshape(8, 8)
    found, most = program(fed)
    np.testing.assert_allclose(found, np.cumsum(fed - fed.sum(0), 0))
    assert most == 63.0


def test_parts_of_a_joined_array_are_one_launch() -> None:
    x, y = gn.input("x", (2, 3, 4)), gn.input("y", (2, 2, 4))
    program = gn.compile([x, y], gn.concatenate([x, y], 1), backend="cupy")
    assert len(launched(program)) == 1
    feeds = np.ones((2, 3, 4), "float32"), np.zeros((2, 2, 4), "float32")
    np.testing.assert_array_equal(program(*feeds), np.concatenate(feeds, 1))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_long_running_sum_is_shared_by_a_block(reverse: bool) -> None:
    x = gn.input("x", (3, 1100))
    fed = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    program = gn.compile(x, gn.cumsum(x, axis=1, reverse=reverse), backend="cupy")
    turn = slice(None, None, -1 if reverse else 1)
    expected = np.cumsum(fed[:, turn].astype("float64"), axis=1)[:, turn]
    np.testing.assert_allclose(program(fed), expected, atol=2e-5)
    assert launched(program)[0].does.blocks == 3


@pytest.mark.parametrize("make", [perceptron, convolutional, recurrent])
def test_the_plan_is_that_of_the_processor(make: Callable[..., gn.Program]) -> None:
    """But for what packs, prologues, and products whose epilogue is another instruction."""
    on_gpu = make("float32", "cupy").unit
    whole = gn.compile(
        on_gpu.graph.inputs,
        on_gpu.graph.outputs,
        skip=("fuse", "fuse_prologues", "pack_once", "recompute"),
    )
    on_gpu = gn.compile(
        on_gpu.graph.inputs,
        on_gpu.graph.outputs,
        skip=("fuse", "recompute", "postpone_updates"),
        backend="cupy",
    ).unit
    for one, other in zip(whole.unit.instructions, on_gpu.instructions, strict=True):
        assert (one.kind, one.node) == (other.kind, other.node)
        places = [
            [(e.offset, e.shape, e.strides) for e in (*i.inputs, *i.outputs)] for i in (one, other)
        ]
        assert places[0] == places[1]
        assert one.kernel == other.kernel


def test_the_code_of_a_program_is_printed() -> None:
    x, w = gn.input("x", (4, 8)), gn.parameter(np.ones((8, 4), "float32"))
    text = gn.compile(x, gn.softmax(x @ w), backend="cupy").source("cuda")
    assert text.index("// 0 gemm: matmul") < text.index("a library multiplies")
    assert text.index("// 1 kernel: max") < text.index('extern "C" __global__ void')
    with pytest.raises(gn.ArgumentError, match="no kind of source 'cuda' for backend='numpy'"):
        gn.compile(x, -x).source("cuda")


def test_calls_are_printed_where_they_are_made() -> None:
    x, z = gn.input("x", (8,)), gn.input("z", (8,), "complex64")
    order = gn.argsort(gn.tanh(x))
    results = [order, gn.exp(z), gn.sqrt(gn.cast(order, "float32"))]
    text = gn.compile([x, z], results, backend="cupy").source("cuda")
    by_cupy = r"// \d \w+: {} .*\n// by CuPy: a program with such a call is not recorded\n"
    (sorts,) = re.finditer(by_cupy.format("argsort"), text)
    assert len(re.findall(by_cupy.format("exp"), text)) == 1
    assert text.index(": tanh") < sorts.start() < text.index("sqrt")


def test_library_calls_are_those_that_cupy_has() -> None:
    cupy = pytest.importorskip("cupy")
    assert {each for each in UFUNCS if not hasattr(cupy, each)} == set()
    assert {each for each in METHODS if not hasattr(cupy.ndarray, each)} == set()
    for name, expected in FUNCTIONS.items():
        found = inspect.signature(attrgetter(name)(cupy)).parameters
        wanted = signature_of(expected).parameters
        assert [(e.name, e.kind, e.default) for e in found.values()] == [
            (e.name, e.kind, e.default) for e in wanted.values()
        ], name
