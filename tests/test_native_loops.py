"""Loops that are printed compute what their kernel says, however its chunks are divided."""

import numpy as np
import pytest
from kernel_interpreter import run_kernel
from native_code import ONE_BY_ONE, NativeCode

from graphnn.compiler.kernel import Apply, Index, Kernel, Literal, Load, Operand, Pick, Reduce
from graphnn.compiler.native.loop_plan import LoopPlan
from graphnn.compiler.native.loops import generate
from graphnn.compiler.native.target import host_target
from graphnn.core.dtypes import as_dtype

ROOMY = 64
"""Elements behind every array that must stay as they are."""


def contiguous(dtype, sizes, axes=None):
    """An operand that lies row-major over some axes of the domain and is the same along others."""
    strides, step = [0] * len(sizes), as_dtype(dtype).itemsize
    for axis in reversed(range(len(sizes)) if axes is None else axes):
        strides[axis] = step
        step *= sizes[axis]
    return Operand(dtype, tuple(strides))


def memory_of(operand, sizes, generator):
    """Random memory that an operand lies in."""
    dtype = as_dtype(operand.dtype)
    nbytes = sum((n - 1) * s for n, s in zip(sizes, operand.strides, strict=True)) + dtype.itemsize
    count = nbytes // dtype.itemsize + ROOMY
    if dtype == np.bool_:
        return generator.integers(0, 2, count).astype(bool)
    return generator.uniform(0.5, 2.0, count).astype(dtype)


def check(kernel, seed=0, tolerance=1e-5, shared=()):
    """Compare with NumPy; ``shared`` pairs of operands lie in the same memory."""
    generator = np.random.default_rng(seed)
    arrays = [memory_of(each, kernel.sizes, generator) for each in kernel.operands]
    for one, other in shared:
        arrays[other] = arrays[one]
    expected, seen, again = ({id(each): each.copy() for each in arrays} for _ in range(3))
    run_kernel(kernel, [expected[id(each)] for each in arrays])
    native = NativeCode(generate(kernel, host_target(), "kernel"))
    native(*(seen[id(each)] for each in arrays))
    for key, array in expected.items():
        np.testing.assert_allclose(
            seen[key].astype(float), array.astype(float), rtol=tolerance, atol=tolerance
        )
    if not shared:
        native(*(again[id(each)] for each in arrays), splits=ONE_BY_ONE)
        for key, array in seen.items():
            assert array.tobytes() == again[key].tobytes()


def elementwise(sizes, dtype="float32"):
    x, y = (contiguous(dtype, sizes) for _ in range(2))
    values = (Load(0), Apply("multiply", dtype, (0, 0)), Apply("add", dtype, (1, 0)))
    return Kernel(sizes, (), (x, y), values, ((1, 2),))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "int8"])
@pytest.mark.parametrize("sizes", [(), (1,), (3,), (8,), (67,), (4096,), (9001,), (3, 5), (2, 70)])
def test_elementwise(sizes, dtype):
    check(elementwise(sizes, dtype))


def chained(op, count, size=200):
    """A function of a function of a function."""
    values = (Load(0), *(Apply(op, "float32", (number,)) for number in range(count)))
    x, y = (contiguous("float32", (size,)) for _ in range(2))
    return Kernel((size,), (), (x, y), values, ((1, count),))


@pytest.mark.parametrize(
    ("op", "count", "unroll"),
    [
        ("tanh", 1, 1),  # vectors that follow are begun before it ends
        ("tanh", 4, 4),
        ("tanh", 16, 2),
        ("tanh", 60, 1),  # more would take too long to compile
        ("abs", 60, 2),
    ],
)
def test_long_chains_are_computed_for_several_vectors_at_a_time(op, count, unroll):
    target = host_target()
    assert LoopPlan(chained(op, count), target).unroll == unroll
    x = np.linspace(-2.0, 2.0, 200, dtype="float32")
    together, alone = np.empty_like(x), x.copy()
    NativeCode(generate(chained(op, count), target, "kernel"))(x, together)
    for _ in range(count):
        before = alone.copy()
        NativeCode(generate(chained(op, 1), target, "kernel"))(before, alone)
    assert together.tobytes() == alone.tobytes()


@pytest.mark.parametrize("sizes", [(3, 40), (3, 5), (70, 3, 9)])
def test_broadcast_operands(sizes):
    whole = contiguous("float32", sizes)
    row = contiguous("float32", sizes, axes=[len(sizes) - 1])
    column = contiguous("float32", sizes, axes=[0])
    one = contiguous("float32", sizes, axes=[])
    values = (
        Load(0),
        Load(1),
        Load(2),
        Load(3),
        Apply("add", "float32", (0, 1)),
        Apply("multiply", "float32", (4, 2)),
        Apply("maximum", "float32", (5, 3)),
    )
    check(Kernel(sizes, (), (whole, row, column, one, whole), values, ((4, 6),)))


def test_strided_and_backwards():
    sizes = (6, 37)
    there = Operand("float32", (4, 24))  # the transpose of a (37, 6) array
    here = contiguous("float32", sizes)
    every_second = Operand("float32", (37 * 8, 8))
    values = (Load(0), Load(1), Apply("subtract", "float32", (0, 1)))
    check(Kernel(sizes, (), (there, every_second, here), values, ((2, 2),)))
    check(Kernel(sizes, (), (here, here, there), values, ((2, 2),)))


@pytest.mark.parametrize("op", ["sum", "max", "min", "prod"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
@pytest.mark.parametrize(
    ("sizes", "reduced"),
    [
        ((5, 37), (1,)),
        ((37, 5), (0,)),
        ((3, 100), (0,)),
        ((4, 3, 50), (0, 2)),
        ((4, 3, 50), (1,)),
        ((7,), (0,)),
        ((2, 3, 4), (0, 1, 2)),
    ],
)
def test_reductions(sizes, reduced, op, dtype):
    x = contiguous(dtype, sizes)
    kept = [axis for axis in range(len(sizes)) if axis not in reduced]
    y = contiguous(dtype, sizes, axes=kept)
    kernel = Kernel(sizes, reduced, (x, y), (Load(0), Reduce(op, 0)), ((1, 1),))
    check(kernel, tolerance=2e-2 if dtype == "float16" else 1e-5)


@pytest.mark.parametrize("op", ["any", "all"])
def test_reductions_of_bools(op):
    sizes = (6, 21)
    x, y = contiguous("bool", sizes), contiguous("bool", sizes, axes=[0])
    check(Kernel(sizes, (1,), (x, y), (Load(0), Reduce(op, 0)), ((1, 1),)))


@pytest.mark.parametrize("sizes", [(100_000,), (3, 40_000), (40_000, 3), (5000, 40), (300, 3, 70)])
@pytest.mark.parametrize("first", [True, False])
def test_long_sums_stay_accurate(sizes, first):
    reduced = tuple(range(len(sizes)))[: len(sizes) - 1 or 1] if first else (len(sizes) - 1,)
    kept = [axis for axis in range(len(sizes)) if axis not in reduced]
    x, y = contiguous("float32", sizes), contiguous("float32", sizes, axes=kept)
    check(Kernel(sizes, reduced, (x, y), (Load(0), Reduce("sum", 0)), ((1, 1),)), tolerance=3e-7)


def softmax(sizes, reduced):
    x = contiguous("float32", sizes)
    values = (
        Load(0),
        Reduce("max", 0),
        Apply("subtract", "float32", (0, 1)),
        Apply("exp", "float32", (2,)),
        Reduce("sum", 3),
        Apply("divide", "float32", (3, 4)),
    )
    return Kernel(sizes, reduced, (x, x), values, ((1, 5),))


@pytest.mark.parametrize("sizes", [(4, 10), (4, 8), (3, 100), (2, 9000), (10, 100, 3)])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("in_place", [False, True])
def test_softmax_sweeps_thrice(sizes, axis, in_place):
    check(softmax(sizes, (axis,)), shared=[(0, 1)] if in_place else ())


def test_sums_and_elements_are_stored_side_by_side():
    sizes = (6, 50)
    x, y = contiguous("float32", sizes), contiguous("float32", sizes)
    total = contiguous("float32", sizes, axes=[1])
    values = (
        Load(0),
        Literal("float32", (0.75).hex()),
        Apply("multiply", "float32", (0, 1)),
        Reduce("sum", 2),
        Apply("add", "float32", (3, 1)),
    )
    check(Kernel(sizes, (0,), (x, y, total), values, ((1, 2), (2, 4))))


def test_indices_and_picks():
    sizes = (5, 20)
    table = contiguous("float32", sizes, axes=[1])
    number = contiguous("int64", sizes, axes=[0])
    y = contiguous("float32", sizes)
    values = (
        Load(1),
        Index(0),
        Apply("add", "int64", (0, 1)),
        Pick(0, ((1, 80),)),  # a row
        Index(1),
        Pick(0, ((4, -4), (1, 4))),  # element by element
        Apply("add", "float32", (3, 5)),
        Apply("cast", "float32", (4,)),
        Apply("multiply", "float32", (6, 7)),
    )
    kernel = Kernel(sizes, (), (table, number, y), values, ((2, 8),))
    arrays = [np.arange(120, dtype=np.float32), np.zeros(80, np.int64), np.zeros(200, np.float32)]
    expected = [each.copy() for each in arrays]
    run_kernel(kernel, expected)
    NativeCode(generate(kernel, host_target(), "kernel"))(*arrays)
    np.testing.assert_array_equal(arrays[2], expected[2])
