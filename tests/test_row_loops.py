"""Loops on a GPU: launches of a round, and loops that are one launch; run on the CPU by a shim."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cuda_shim import ShimDevice
from device_oracle import TwiceExecutable
from recording_device import RecordingDevice
from recurrent_nets import NETS

import graphnn as gn
from graphnn.compiler import backends
from graphnn.compiler.backends import on_device
from graphnn.compiler.backends.on_device import DeviceExecutable
from graphnn.compiler.cuda import row_loops
from graphnn.compiler.cuda.arrangement import arranged
from graphnn.compiler.cuda.code import Code, Matrices, Part
from graphnn.compiler.cuda.generators import generate
from graphnn.compiler.cuda.row_loop import RowLoop
from graphnn.compiler.cuda.side_by_side import steps_of
from graphnn.compiler.unit import Unit

CHOSEN = (
    "LSTM by gate, reversed",
    "GRU by gate",
    "GRU, concatenated",
    "minimal gated unit",
    "elementwise",
)
LAYERS = {"LSTM": gn.nn.LSTM, "GRU": gn.nn.GRU, "SimpleRNN": gn.nn.SimpleRNN}


class OwnCell(gn.nn.Module):
    """A recurrence of a user's own: what its state becomes is forgotten in part."""

    def __init__(self, inputs: int, hidden: int) -> None:
        self.wx = gn.parameter(np.full((inputs, hidden), 0.01, "float32"))
        self.wh = gn.parameter(np.full((hidden, hidden), 0.01, "float32"))
        self.bias = gn.parameter(np.zeros(hidden, "float32"))

    def forward(self, x: gn.Node) -> gn.Node:
        def step(h: gn.Node, row: gn.Node) -> tuple[gn.Node, gn.Node]:
            f = gn.sigmoid(row @ self.wx + h @ self.wh + self.bias)
            h = f * h + (1.0 - f) * gn.tanh(h)
            return h, h

        return gn.scan(step, gn.zeros((x.shape[1], len(self.bias.value))), x)[0]


def training(
    make: Callable[[int, int], Any], sizes: tuple[int, int, int, int], **options: Any
) -> gn.Program:
    """A step of training; sizes are of time, batch, inputs and state."""
    steps, batch, inputs, hidden = sizes
    layer, x = make(inputs, hidden), gn.input("x", (steps, batch, inputs))
    loss = gn.mean(layer(x) ** 2)
    updates = gn.optim.SGD(0.1).minimize(loss, layer.parameters())
    return gn.compile(x, loss, updates, backend="cupy", **options)


def row_loops_of(unit: Unit) -> list[RowLoop]:
    kernels = (piece.kernel for each in unit.instructions for piece in each.pieces)
    return [each for each in kernels if isinstance(each, RowLoop)]


# ------------------------------------------------------------------------- launches of a round


@pytest.mark.parametrize("name", [*LAYERS, "a cell of one's own"])
def test_a_round_is_one_product_and_one_kernel(name: str) -> None:
    unit = arranged(training(LAYERS.get(name, OwnCell), (7, 16, 32, 256)).unit)
    steps, _ = steps_of(unit)
    assert len(unit.loops) == 2
    for loop in unit.loops:
        does = [each.does for step in steps[loop.begin : loop.end] for each in step.launches]
        assert [type(each) for each in does] in ([Matrices, Part], [Part, Matrices])
    outside = [
        each.does
        for number, step in enumerate(steps)
        if not unit.loops_around(number)
        for each in step.launches
    ]
    products = sorted(each.k for each in outside if isinstance(each, Matrices))
    peeled = sum(loop.count == 6 for loop in unit.loops)  # a last product, behind its loop
    assert products.count(7 * 16) == 2, "each weight's gradient is one product over all steps"
    assert products.count(32) == 1, "the products with inputs are one"
    assert len(products) == 3 + peeled
    assert len(outside) <= 18


def test_a_round_of_two_products_has_two_kernels() -> None:
    unit = arranged(training(gn.nn.MinimalGatedUnit, (7, 16, 32, 256)).unit)
    steps, _ = steps_of(unit)
    for loop in unit.loops:
        does = [each.does for step in steps[loop.begin : loop.end] for each in step.launches]
        assert sorted(type(each).__name__ for each in does) == ["Matrices"] * 2 + ["Part"] * 2


def test_half_gradients_of_weights_are_one_product_over_all_steps() -> None:
    layer, x = gn.nn.LSTM(8, 6), gn.input("x", (5, 3, 8))
    loss = gn.autocast(gn.mean(layer(x) ** 2))
    weights = list(layer.parameters())
    unit = gn.compile(x, gn.grad(loss, weights)).unit
    inside = [n for loop in unit.loops for n in range(loop.begin, loop.end)]
    assert sum(unit.instructions[n].kind == "gemm" for n in inside) == 2
    sums = [each.node.inputs[0].shape for each in unit.instructions if each.kind == "gemm"]
    assert sum(shape[:2] == (5, 3) for shape in sums) >= 2  # of inputs, and of states
    fed = np.random.default_rng(0).normal(size=(5, 3, 8)).astype("float32")
    found = gn.compile(x, gn.grad(loss, weights))(fed)
    exact = gn.compile(x, gn.grad(gn.mean(layer(x) ** 2), weights))(fed)
    for have, want in zip(found, exact, strict=True):
        assert np.abs(have - want).max() < 0.03 * np.abs(want).max()


def test_the_rounds_of_a_long_recurrence_are_no_launches() -> None:
    program, fed = training(gn.nn.LSTM, (256, 16, 64, 96)), np.zeros((256, 16, 64), "float32")
    counts = []
    for shared_nbytes in (227 << 10, 99 << 10):  # the second is less than the matrix takes
        device = RecordingDevice()
        device.shared_nbytes = shared_nbytes
        DeviceExecutable(program.unit, device).run([fed])
        counts.append(len(device.launched))
    assert counts[0] < 20
    assert 4 * 256 <= counts[1] < 4 * 256 + 20


@pytest.mark.parametrize(("most", "n_recordings"), [(110, 1), (100, 0)])
def test_what_launches_too_much_is_not_recorded(
    monkeypatch: pytest.MonkeyPatch, most: int, n_recordings: int
) -> None:
    monkeypatch.setattr(on_device, "MOST_RECORDED", most)
    inputs, outputs = simple("float32", rows=4, hidden=64, steps=50)
    device = RecordingDevice()
    device.shared_nbytes = 0
    executable = DeviceExecutable(gn.compile(inputs, outputs, backend="cupy").unit, device)
    feeds = [np.zeros(each.shape, "float32") for each in inputs]
    counts = []
    for _ in range(3):
        executable.run(feeds)
        counts.append(len(device.launched))
    assert 100 < counts[0] <= 110
    assert device.n_recordings == n_recordings
    assert counts == [counts[0] * n for n in ((1, 2, 2) if n_recordings else (1, 2, 3))]


# -------------------------------------------------------------------------------------- values


@pytest.fixture
def shim(monkeypatch: pytest.MonkeyPatch) -> ShimDevice:
    """Programs for GPUs run here, in both orders of threads; short loops are one launch too."""
    device = ShimDevice()
    monkeypatch.setitem(backends.BACKENDS, "cupy", lambda unit: TwiceExecutable(unit, device))
    monkeypatch.setattr(row_loops, "LAUNCH", 1 << 40)
    return device


@pytest.mark.parametrize("shared_nbytes", [227 << 10, 0])
def test_gradients_are_those_of_the_reference(shim: ShimDevice, shared_nbytes: int) -> None:
    shim.shared_nbytes = shared_nbytes
    nets, rng = [NETS[name]() for name in CHOSEN], np.random.default_rng(0)
    inputs: list[gn.Node] = []
    outputs: list[gn.Node] = []
    for net in nets:  # all in one program: one call of the compiler
        named = {each: gn.input(f"x{len(inputs) + n}", each.shape, "float64")
                 for n, each in enumerate(net.inputs)}  # fmt: skip
        outputs += gn.core.graph.substitute(net.outputs(), named)
        inputs += named.values()
    feeds = [rng.normal(size=[int(n) for n in each.shape]) * 0.5 for each in inputs]
    program = gn.compile(inputs, outputs, backend="cupy")
    n_row_loops = len(row_loops_of(arranged(program.unit, shared_nbytes)))
    assert n_row_loops == (
        2 * len(nets) if shared_nbytes else 2
    )  # what has no product has no matrix
    found = program(*feeds)
    expected = gn.compile(inputs, outputs, backend="reference")(*feeds)
    for have, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-11, atol=1e-13)


def simple(dtype: str, rows: int, hidden: int, steps: int) -> tuple[list[gn.Node], gn.Node]:
    """All states of ``h = tanh(x + h @ w)``."""
    x, w = gn.input("x", (steps, rows, hidden), dtype), gn.input("w", (hidden, hidden), dtype)

    def step(h: gn.Node, row: gn.Node) -> Any:
        h = gn.tanh(row + h @ w)
        return h, h

    return [x, w], gn.scan(step, gn.zeros((rows, hidden), dtype), x)[1]


def states(x: Any, w: Any, factor: str) -> Any:
    """The same in float64, but for factors that are rounded."""

    def rounded(a: Any) -> Any:
        return a.astype(ml_dtypes.bfloat16).astype(float) if factor == "bfloat16" else a

    h, found = np.zeros(x.shape[1:]), []
    for row in x.astype(float):
        h = np.tanh(row + rounded(h) @ rounded(w.astype(float)))
        found.append(h)
    return np.array(found)


@pytest.mark.parametrize(
    ("dtype", "precision", "rtol"),
    [
        ("float32", "float32", 2e-6),
        ("float32", "bfloat16", 3e-2),
        ("bfloat16", "float32", 3e-2),
        ("float16", "float32", 3e-3),
    ],
)
def test_blocks_of_several_rows_and_the_last_of_less(
    shim: ShimDevice, dtype: str, precision: str, rtol: float
) -> None:
    inputs, outputs = simple(dtype, rows=265, hidden=7, steps=3)
    program = gn.compile(inputs, outputs, backend="cupy", matmul_precision=precision)
    (loop,) = row_loops_of(arranged(program.unit))
    assert (loop.rows_per_block, loop.rows % loop.rows_per_block) == (3, 1)
    rng = np.random.default_rng(1)
    x, w = (rng.normal(size=[int(n) for n in each.shape]).astype(each.dtype) for each in inputs)
    found = np.asarray(program(x, w)).astype(float)
    np.testing.assert_allclose(found, states(x, w, precision), rtol=rtol, atol=rtol)
    if precision == "bfloat16":  # some states lie between two numbers, and may become either
        away, from_unrounded = (
            np.abs(found - states(x, w, each)).mean() for each in ("bfloat16", "float32")
        )
        assert away < 0.05 * from_unrounded


def test_fewer_rows_go_round_in_more_waves_where_memory_is_short(shim: ShimDevice) -> None:
    inputs, outputs = simple("float64", rows=265, hidden=6, steps=3)
    program = gn.compile(inputs, outputs, backend="cupy")
    found = []
    for _ in range(3):
        (loop,) = row_loops_of(arranged(program.unit, shim.shared_nbytes))
        found.append(loop.rows_per_block)
        shim.shared_nbytes = loop.shared_nbytes - 1
    assert found == [3, 2, 1]
    assert row_loops_of(arranged(program.unit, shim.shared_nbytes)) == []
    shim.shared_nbytes = replace(loop, rows_per_block=2).shared_nbytes
    program = gn.compile(inputs, outputs, backend="cupy")
    rng = np.random.default_rng(1)
    x, w = (rng.normal(size=[int(n) for n in each.shape]) for each in inputs)
    np.testing.assert_allclose(program(x, w), states(x, w, "float64"), rtol=1e-12, atol=1e-13)


SLICES: dict[str, Callable[[gn.Node, gn.Node], tuple[gn.Node, gn.Node]]] = {
    "fewer columns, then all": lambda h, w: (h @ w[:, :16], w),
    "a corner, then all": lambda h, w: (h[:, :16] @ w[:16, :16], w),
    "fewer rows, then all": lambda h, w: (h[:, :16] @ w[:16, :], w),
    "all, then fewer columns": lambda h, w: (h @ w, w[:, :16]),
}


def test_slices_of_one_matrix_are_matrices_of_their_own(shim: ShimDevice) -> None:
    x, w = gn.input("x", (5, 4, 32), "float64"), gn.input("w", (32, 32), "float64")

    def all_states(both: Callable[[gn.Node, gn.Node], tuple[gn.Node, gn.Node]]) -> gn.Node:
        def step(h: gn.Node, row: gn.Node) -> Any:
            first, then = both(h, w)
            a = gn.tanh(row[:, : int(first.shape[1])] + first)
            second = gn.concatenate([a] * (32 // int(first.shape[1])), 1) @ then
            h = gn.tanh(row + gn.concatenate([second] * (32 // int(then.shape[1])), 1))
            return h, h

        return gn.scan(step, gn.zeros((4, 32), "float64"), x)[1]

    outputs = [all_states(each) for each in SLICES.values()]
    program = gn.compile([x, w], outputs, backend="cupy")
    loops = row_loops_of(arranged(program.unit))
    assert [len({each.matrix for each in loop.products}) for loop in loops] == [2] * len(SLICES)
    rng = np.random.default_rng(0)
    feeds = [0.3 * rng.normal(size=[int(n) for n in each.shape]) for each in (x, w)]
    expected = gn.compile([x, w], outputs, backend="reference")(*feeds)
    for have, want in zip(program(*feeds), expected, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-12, atol=1e-13)


def test_matrices_in_bfloat16_take_half_the_memory() -> None:
    inputs, outputs = simple("float32", rows=4, hidden=300, steps=90)
    found = [
        row_loops_of(
            arranged(gn.compile(inputs, outputs, backend="cupy", matmul_precision=each).unit)
        )
        for each in ("float32", "bfloat16")
    ]
    assert [len(each) for each in found] == [0, 1]
    assert 2 * 300 * 300 <= found[1][0].shared_nbytes < 2.1 * 300 * 300 + 8000


def test_without_a_product_a_block_takes_as_many_rows_as_there_are(shim: ShimDevice) -> None:
    x = gn.input("x", (3, 40, 61))

    def step(h: gn.Node, row: gn.Node) -> Any:
        h = gn.tanh(row + 0.5 * h)
        return h, h

    _, outputs = gn.scan(step, gn.zeros((40, 61)), x)
    program = gn.compile(x, outputs, backend="cupy")
    (loop,) = row_loops_of(arranged(program.unit))
    assert (loop.rows, loop.rows_per_block, loop.threads) == (2440, 19, 32)
    fed = np.random.default_rng(0).normal(size=(3, 40, 61)).astype("float32")
    h, expected = np.zeros((40, 61)), []
    for row in fed.astype(float):
        h = np.tanh(row + 0.5 * h)
        expected.append(h)
    np.testing.assert_allclose(program(fed), expected, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------ what is refused


def mixing(h: gn.Node, row: gn.Node) -> gn.Node:
    return gn.tanh(row + h - gn.mean(h, axis=0, keepdims=True))


def turned(h: gn.Node, row: gn.Node) -> gn.Node:
    return gn.tanh(row + gn.flip(h, 0))


def shifted(h: gn.Node, row: gn.Node) -> gn.Node:
    return gn.tanh(row + gn.concatenate([h[1:], h[:1]], 0))


def squared(h: gn.Node, row: gn.Node) -> gn.Node:
    return gn.tanh(row + h @ gn.transpose(h) @ h)


@pytest.mark.parametrize("step", [mixing, turned, shifted, squared])
def test_rows_that_need_each_other_keep_their_launches(
    shim: ShimDevice, step: Callable[..., gn.Node]
) -> None:
    x = gn.input("x", (4, 6, 6))

    def both(h: gn.Node, row: gn.Node) -> Any:
        h = step(h, row)
        return h, h

    _, found = gn.scan(both, gn.zeros((6, 6)), x)
    program = gn.compile(x, found, backend="cupy")
    assert row_loops_of(arranged(program.unit)) == []
    fed = np.random.default_rng(0).normal(size=(4, 6, 6)).astype("float32")
    np.testing.assert_allclose(
        program(fed), gn.compile(x, found, backend="reference")(fed), rtol=1e-5, atol=1e-6
    )


def test_a_short_recurrence_keeps_its_launches() -> None:
    inputs, outputs = simple("float32", rows=4, hidden=64, steps=3)
    unit = gn.compile(inputs, outputs, backend="cupy").unit
    assert row_loops_of(arranged(unit)) == []
    inputs, outputs = simple("float32", rows=4, hidden=64, steps=300)
    assert len(row_loops_of(arranged(gn.compile(inputs, outputs, backend="cupy").unit))) == 1


# ------------------------------------------------------------------- what the shim would find


def without_barriers(code: Code) -> Iterator[Code]:
    """The code, and what it becomes without one of its barriers."""
    pieces = code.source.split("__syncthreads();")
    (part,) = code.parts
    assert isinstance(part, Part)
    yield code
    for number in range(1, len(pieces)):
        left = "__syncthreads();".join(pieces[:number])
        source = left + "__syncthreads();".join(pieces[number:])
        name = f"{part.name}_without{number}"
        source = source.replace(f" {part.name}(", f" {name}(")
        yield Code(source, (replace(part, name=name),))


def test_every_barrier_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_loops, "LAUNCH", 1 << 40)
    monkeypatch.setattr(row_loops, "PROCESSORS", 1)  # three rows to a block
    x, w = gn.input("x", (4, 3, 84)), gn.input("w", (42, 84))

    def step(h: gn.Node, row: gn.Node) -> Any:
        f, g = gn.split(row + h @ w, 2, axis=1)
        h = gn.sigmoid(f) * gn.tanh(g)
        return h, h

    _, outputs = gn.scan(step, gn.zeros((3, 42)), x)
    unit = arranged(gn.compile([x, w], outputs, backend="cupy").unit)
    ((piece,),) = (each.pieces for each in unit.instructions if each.pieces)
    codes = list(without_barriers(generate(piece.kernel, "loop")))
    assert len(codes) == 5
    device, rng = ShimDevice(), np.random.default_rng(0)
    memory = {
        each.buffer: rng.normal(size=each.buffer.nbytes // 4).astype("float32")
        for each in piece.operands
    }

    def run(part: Part, function: Any, *, is_reversed: bool) -> bytes:
        device.is_reversed = is_reversed
        copies = {buffer: array.copy() for buffer, array in memory.items()}
        function([copies[each.buffer].ctypes.data + each.offset for each in piece.operands])
        return b"".join(each.tobytes() for each in copies.values())

    functions = device.load(codes)
    (expected, *others) = [
        {run(part, function, is_reversed=each) for each in (False, True)}
        for part, function in functions.items()
    ]
    assert len(expected) == 1
    assert [each != expected for each in others] == [True] * 4
