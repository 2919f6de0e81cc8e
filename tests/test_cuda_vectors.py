"""Kernels whose threads take neighbours together, by a shim that refuses misaligned addresses."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import check_forward, dtypes_of
from cuda_shim import ShimDevice
from device_oracle import TwiceExecutable
from drawing import cases, is_drawable

import graphnn as gn
from graphnn.compiler.backends import BACKENDS
from graphnn.compiler.cuda import vectors
from graphnn.compiler.cuda.code import Part
from graphnn.compiler.cuda.side_by_side import steps_of
from graphnn.compiler.cuda.vectors import Wide, widened
from graphnn.compiler.kernel import Apply, Kernel, Load, Operand


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shim, and wide kernels for arrays of any size."""
    device = ShimDevice()
    monkeypatch.setitem(BACKENDS, "cupy", lambda unit: TwiceExecutable(unit, device))
    monkeypatch.setattr(vectors, "PROCESSORS", 0)


def sources(program: gn.Program) -> str:
    return "".join(code.source for code in steps_of(program.unit)[1])


# ------------------------------------------------------------------------------ what is computed


def normal(*shape: int) -> Any:
    return np.random.default_rng(3).normal(size=shape).astype("float32")


numbers = count()
"""For names."""


def of_inputs(*shapes: tuple[int, ...], dtype: str = "float32") -> list[gn.Node]:
    return [gn.input(f"x{next(numbers)}", shape, dtype) for shape in shapes]


GRAPHS: dict[str, tuple[list[tuple[int, ...]], Callable[..., Any], int]] = {
    "points": ([(24, 40), (24, 40)], lambda x, y: [x * y + 1.0, gn.tanh(x)], 4),
    "an odd number of points": ([(1023,)], lambda x: x * 2.0, 4),
    "rows and columns": ([(24, 40), (40,), (24, 1)], lambda x, y, z: x * y + z, 4),
    "half as many neighbours": ([(6, 10)] * 2, lambda x, y: x[1:] - y[:5], 2),
    "neighbours far apart": ([(8, 12), (8, 24)], lambda x, y: x + y[:, ::2], 4),
    "places": ([(8, 12)], lambda x: gn.where(x > 0.0, gn.cumsum(gn.ones_like(x), 1), 0.0), 4),
    "masks": ([(8, 16)], lambda x: [x > 0.0, x], 4),
    "softmax": ([(5, 96)], gn.softmax, 4),
    "a long row": ([(3, 4096)], lambda x: gn.layer_norm(x) * x, 4),
    "a very long row": ([(2, 40000)], lambda x: gn.softmax(x) - gn.mean(x), 4),
    "a row of an odd length": ([(2, 9001)], gn.softmax, 0),
    "sums over rows": ([(300, 24)], lambda x: [gn.sum(x * x, 0), gn.max(x, 0)], 4),
    "long sums over rows": ([(3000, 8)], lambda x: gn.var(x, 0), 4),
    "sums of columns, kept": ([(40, 8)], lambda x: x - gn.logsumexp(x, 0), 4),
    "several axes": ([(6, 5, 16)], lambda x: x - gn.mean(x, (0, 2), keepdims=True), 4),
    "a sum of all": ([(64, 32)], gn.sum, 4),
}  # fmt: skip


def test_results_are_those_of_the_reference() -> None:
    """All in one program: one call of the compiler."""
    inputs, outputs, feeds = [], [], []
    for shapes, build, width in GRAPHS.values():
        own = of_inputs(*shapes)
        made = build(*own)
        outputs += made if isinstance(made, list) else [made]
        inputs += own
        feeds += [normal(*shape) for shape in shapes]
        text = sources(gn.compile(own, made, backend="cupy"))
        assert (f"gn_many<float, {width}>" if width else "at_3") in text
    check(inputs, outputs, feeds)


def check(inputs: list[gn.Node], outputs: list[gn.Node], feeds: list[Any]) -> None:
    found = gn.compile(inputs, outputs, backend="cupy")(*feeds)
    expected = gn.compile(inputs, outputs, backend="reference")(*feeds)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


def test_what_a_thread_takes_is_16_bytes() -> None:
    widths = {"bfloat16": 8, "float16": 8, "float64": 2, "int64": 2, "int8": 8, "bool": 8}
    every, outputs, feeds = [], [], []
    rng = np.random.default_rng(0)
    for dtype, width in widths.items():
        inputs = x, y = of_inputs((6, 48), (6, 48), dtype=dtype)
        made = [gn.max(x, 1), gn.max(x, 0), gn.where(gn.equal(x, y), x, y)]
        made += [] if dtype == "bool" else [x + y, gn.sum(x * y, 1)]
        assert f", {width}>" in sources(gn.compile(inputs, made, backend="cupy"))
        every += inputs
        outputs += made
        feeds += [rng.integers(-4, 4, each.shape).astype(each.dtype) for each in inputs]
    check(every, outputs, feeds)


def test_values_of_the_op_table() -> None:
    chosen = [
        each
        for each in cases()
        if "float32" in dtypes_of(each.operation) and is_drawable(each.sample, "float32")
    ]
    check_forward(chosen[5::40], "float32", "cupy")


def test_rows_of_a_table_are_read_together() -> None:
    table, at = gn.input("table", (9, 12)), gn.input("at", (5,), "int64")
    program = gn.compile([table, at], gn.take(table, at, axis=0) * 2.0, backend="cupy")
    rows, which = normal(9, 12), np.array([3, 0, 8, 8, 1])
    np.testing.assert_array_equal(program(rows, which), rows[which] * 2.0)
    assert re.search(r"= \*\(const gn_many<float, 4>\*\)\(p1 .* \* 48ll\)", sources(program))


# ------------------------------------------------------------------------------------- alignment

STEP = Operand("float32", (4,))
ROWS = Operand("float32", (40, 4))


def copy(operand: Operand, sizes: tuple[int, ...]) -> Kernel:
    values = (Load(0), Apply("negative", "float32", (0,)))
    return Kernel(sizes, (), (operand, operand), values, ((1, 1),))


def test_as_many_neighbours_as_places_allow() -> None:
    line, rows = copy(STEP, (64,)), copy(ROWS, (8, 10))
    widths = [widened(line, multiples) for multiples in ((16, 16), (16, 8), (8, 4), (16, 2))]
    assert widths == [Wide(line, 4, (0, 1)), Wide(line, 2, (0, 1)), line, line]
    assert widened(rows, (16, 16)) == Wide(rows, 2, (0, 1))
    assert widened(copy(Operand("float32", (48, 4)), (8, 12)), (16, 16)).width == 4
    assert isinstance(widened(copy(Operand("float32", (36, 4)), (8, 9)), (16, 16)), Kernel)


def test_views_that_begin_between_are_read_one_by_one() -> None:
    (x,) = of_inputs((4, 32))
    for begin, many in ((0, 4), (4, 4), (2, 2), (1, 0)):
        program = gn.compile(x, -x[:, begin : begin + 16], backend="cupy")
        assert (f"gn_many<float, {many}>" in sources(program)) == (many > 0)
        fed = normal(4, 32)
        np.testing.assert_array_equal(program(fed), -fed[:, begin : begin + 16])


WRONG = """
import sys
sys.path[:0] = {path!r}
import numpy as np
from cuda_shim import ShimDevice
import graphnn as gn
from graphnn.compiler.backends import BACKENDS
from graphnn.compiler.backends.on_device import DeviceExecutable
from graphnn.compiler.cuda import launches, vectors

vectors.PROCESSORS = 0
launches.multiple_of = lambda unit, place: 16
BACKENDS["cupy"] = lambda unit: DeviceExecutable(unit, ShimDevice())
x = gn.input("x", (64,))
gn.compile(x, -x[1:61], backend="cupy")(np.ones(64, "float32"))
"""


def test_a_wrong_claim_about_alignment_ends_the_process() -> None:
    script = WRONG.format(path=[str(Path(__file__).parent / "harness")])
    done = subprocess.run([sys.executable, "-P", "-c", script], env=dict(os.environ), check=False)
    assert done.returncode == -signal.SIGILL


# ----------------------------------------------------------------------------- how it is laid out


def parts_of(program: gn.Program) -> list[Part]:
    return [part for code in steps_of(program.unit)[1] for part in code.parts]


def test_small_kernels_take_point_by_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for size, is_wide in ((1 << 14, False), (1 << 20, True)):
        (x,) = of_inputs((size,))
        program = gn.compile(x, gn.exp(x), backend="cupy")
        assert ("gn_many" in sources(program)) == is_wide


def test_reads_of_a_thread_come_before_its_first_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for build in (gn.exp, lambda x: gn.reshape(x, (-1, 1 << 16)) - gn.ones((1 << 16,))):
        (x,) = of_inputs((1 << 23,))
        lines = sources(gn.compile(x, build(x), backend="cupy")).splitlines()
        kinds = ["read" if " = *(const gn_many" in line else "write" if ") = y" in line else ""
                 for line in lines]  # fmt: skip
        done = [each for each in kinds if each]
        assert done.count("read") > 1
        assert sum(one != other for one, other in pairwise(done)) == 1
