"""Fusion: what is computed together, that it is right, and why other things are not.

Right means: the kernels and contractions that code is generated from, run by the tests' own
interpreter, give what the reference executor gives; and so does the NumPy executor.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from kernel_interpreter import REDUCE, KernelExecutable
from random_graphs import Recipe, check_compilation, recipes

import graphnn as gn
from graphnn.compiler import backends
from graphnn.compiler.kernel import Apply, Contraction, Index, Kernel, Reduce
from graphnn.compiler.matching import through_views
from graphnn.compiler.order import MOST_SEARCHED, Order
from graphnn.compiler.passes import fold_constants
from graphnn.compiler.unit import Storage
from graphnn.core.structure import flatten

recompute_module = importlib.import_module("graphnn.compiler.passes.recompute")


@pytest.fixture(autouse=True)
def on_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.BACKENDS, "kernels", KernelExecutable)


def vector(name: str = "x", shape: Any = (4,), dtype: str = "float32") -> gn.Node:
    return gn.input(name, shape=shape, dtype=dtype)


def feeds_of(inputs: Sequence[gn.Node], seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [
        np.asarray(random.uniform(0.5, 2.0, [int(n) for n in each.shape])).astype(each.dtype)
        for each in inputs
    ]


def kinds(program: gn.Program) -> list[str]:
    return [each.kind for each in program.instructions]


def check(
    inputs: Sequence[gn.Node],
    outputs: Any,
    updates: Any = None,
    *,
    rtol: float = 2e-6,
    atol: float = 1e-6,
    optimize: str = "O2",
) -> gn.Program:
    """Compile for all executors, compare them twice, and give the program."""
    start = {each: each.value for each in updates or {}}
    given_ = feeds_of(inputs)
    expected: Any = None
    for backend in ("reference", "kernels", "numpy"):
        for each, value in start.items():
            each.value = value
        program = gn.compile(
            inputs, outputs, updates, backend=backend, optimize=optimize, verify=True
        )
        found = [np.asarray(each) for _ in range(2) for each in flatten(program(*given_))]
        found += [each.value for each in start]
        if expected is None:
            expected = found
        for wanted, have in zip(expected, found, strict=True):
            np.testing.assert_allclose(
                have.astype("float64"), wanted.astype("float64"), rtol=rtol, atol=atol
            )
    return program


# ----------------------------------------------------------------------------- what is fused


def test_a_chain_is_one_loop_over_all_elements() -> None:
    x, y = vector(shape=(3, 5)), vector("y", shape=(3, 5))
    program = check([x, y], gn.tanh(x * y + 1.0) - x)
    (instruction,) = program.instructions
    assert isinstance(instruction.kernel, Kernel)
    assert instruction.kernel.sizes == (15,)
    assert len(instruction.inputs) == 2
    assert program.arena_nbytes <= 2 * 64


def test_broadcasting_is_a_stride_of_zero() -> None:
    x, b = vector(shape=(3, 5)), vector("b", shape=(5,))
    (instruction,) = check([x, b], gn.exp(x + b) * 2.0).instructions
    assert instruction.kernel is not None
    assert [each.strides for each in instruction.kernel.operands] == [(20, 4), (0, 4), (20, 4)]


def test_softmax_is_three_sweeps_of_one_kernel() -> None:
    x = vector(shape=(6, 10))
    (instruction,) = check([x], gn.softmax(x * 2.0)).instructions
    kernel = instruction.kernel
    assert isinstance(kernel, Kernel)
    assert (kernel.sizes, kernel.reduced) == ((6, 10), (1,))
    assert [each.op for each in kernel.values if isinstance(each, Reduce)] == ["max", "sum"]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_normalization_along_any_axis(axis: int) -> None:
    x = vector(shape=(3, 4, 5))
    mean = gn.mean(x, axis, keepdims=True)
    variance = gn.mean((x - mean) ** 2.0, axis, keepdims=True)
    program = check([x], (x - mean) / gn.sqrt(variance + 1e-5))
    assert kinds(program) == ["kernel"]


@pytest.mark.parametrize(("width", "count"), [(64, 1), (1 << 13, 2)])
def test_a_norm_and_its_gradient_sweep_short_rows_together(width: int, count: int) -> None:
    """The mean, what it missed, the spread, two sums of the gradient: five sweeps, if rows stay
    in the nearest cache."""
    x = vector(shape=(16, width))
    loss = gn.sum(gn.sin(gn.layer_norm(x)), 1)
    program = check([x], gn.grad(gn.sum(loss), [x]), rtol=1e-4, atol=1e-4)
    assert kinds(program) == ["kernel"] * count
    assert ("a row would be swept 5 times" in reasons(program)) == (count > 1)


def test_epilogues_of_products() -> None:
    x, b = vector(shape=(6, 4)), vector("b", shape=(3,))
    w = gn.parameter(np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3))
    hidden = gn.relu(x @ w + b)
    program = check([x, b], hidden, rtol=1e-5)
    (instruction,) = program.instructions
    assert instruction.kind == "gemm"
    assert isinstance(instruction.kernel, Contraction)
    assert [each.op for each in instruction.kernel.epilogue.values if isinstance(each, Apply)] == [
        "add",
        "maximum",
    ]


def test_a_step_of_training_writes_weights_in_the_epilogue_of_their_gradient() -> None:
    x = vector(shape=(6, 4))
    w = gn.parameter(np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3), name="w")
    loss = gn.mean((x @ w) ** 2.0)
    program = check([x], loss, {w: w - 0.1 * gn.grad(loss, w)}, rtol=1e-5)
    (last,) = [
        each for each in program.instructions if each.outputs[0].buffer.storage is Storage.STATE
    ]
    assert last.kind == "gemm"
    assert "copy" not in kinds(program)


def test_reshapes_and_transposes_stay_inside() -> None:
    x, b = vector(shape=(6, 4)), vector("b", shape=(2, 4, 3))
    inner = gn.exp(x)
    program = check([x, b], gn.reshape(inner, (2, 3, 4)).transpose((0, 2, 1)) * b)
    assert kinds(program) == ["kernel"]
    merged = gn.reshape(gn.tanh(gn.reshape(inner, (3, 2, 4)) * 2.0), (24,)) + 1.0
    assert kinds(check([x], merged)) == ["kernel"]


def test_counting_along_split_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_constants, "MOST_BYTES", 0)
    x = vector(shape=(6,))
    counted = gn.reshape(gn.iota((6,)) * 2, (2, 3)) + gn.iota((2, 3), axis=1)
    program = check([x], [counted, gn.reshape(counted, (6,)) + gn.cast(x, "int64")])
    assert kinds(program) == ["kernel"]
    kernel = program.instructions[0].kernel
    assert isinstance(kernel, Kernel)
    assert {each.axis for each in kernel.values if isinstance(each, Index)} == {0, 1}


def test_convolutions_with_what_follows() -> None:
    x = vector(shape=(2, 3, 6, 5))
    w = gn.parameter(np.linspace(-1, 1, 4 * 3 * 3 * 2, dtype="float32").reshape(4, 3, 3, 2))
    b = gn.parameter(np.ones((4, 1, 1), "float32"))
    for options in ({"padding": 1}, {"stride": 2}, {"dilation": 2, "padding": (2, 1)}):
        made = gn.tanh(gn.conv(x, w, **options) + b)
        program = check([x], made, rtol=1e-4, atol=1e-5)
        assert kinds(program) == ["conv"]
        loss = gn.sum(made * made)
        check([x], gn.grad(loss, [x, w, b]), rtol=1e-3, atol=1e-4)


def test_bounds_are_used_only_where_taps_miss() -> None:
    x = vector(shape=(1, 1, 6))
    w = gn.parameter(np.ones((1, 1, 3), "float32"))
    for padding, count in ((0, 0), (1, 1)):
        (instruction,) = check([x], gn.conv(x, w, padding=padding)).instructions
        assert isinstance(instruction.kernel, Contraction)
        assert len(instruction.kernel.bounds) == count


# ------------------------------------------------------------------------- what is not, and why


def reasons(program: gn.Program) -> str:
    return " ".join(each.reason for each in program.unit.notes)


def test_a_value_read_along_two_axes_goes_through_memory() -> None:
    x = vector(shape=(4, 4))
    y = gn.exp(x)
    program = check([x], y + y.T)
    assert kinds(program) == ["kernel", "kernel"]
    assert "along two axes" in reasons(program)


def test_reductions_over_other_axes_are_apart() -> None:
    x = vector(shape=(4, 4))
    y = gn.exp(x)
    program = check([x], [gn.sum(y, 0), gn.sum(y, 1)])
    assert kinds(program) == ["kernel", "kernel"]
    assert "they reduce other axes" in reasons(program)


def test_slices_are_read_from_memory() -> None:
    x = vector(shape=(8,))
    program = check([x], gn.exp(x)[::2] * 2.0)
    assert kinds(program) == ["kernel", "kernel"]
    assert "through slice" in reasons(program)


def test_no_cycle_through_what_cannot_be_fused() -> None:
    x = vector(shape=(4, 4))
    y = gn.exp(x)
    program = check([x], y * (y @ y), rtol=1e-5)
    assert kinds(program) == ["kernel", "gemm"]


def test_an_outer_product_does_not_compute_its_factors_again() -> None:
    x, y = vector(shape=(4,)), vector("y", shape=(5,))
    program = check([x, y], gn.exp(x)[:, None] * gn.exp(y))
    assert len(program.instructions) == 3
    assert "computed again along an axis" in reasons(program)
    cheap = check([x, y], (x * 2.0)[:, None] * (y + 1.0))
    assert kinds(cheap) == ["kernel"]


def test_sums_that_are_read_by_another_shape_are_apart() -> None:
    x, y = vector(shape=(4,)), vector("y", shape=(5,))
    program = check([x, y], y * gn.sum(x))
    assert len(program.instructions) == 2
    assert "different axes" in reasons(program)


def test_few_long_rows_are_not_swept_twice() -> None:
    for shape, count in (((1 << 15,), 3), ((64, 512), 1)):
        x = vector(shape=shape)
        program = check([x], x / gn.sum(x, -1, keepdims=True), rtol=1e-5)
        assert len(program.instructions) == count


@pytest.mark.parametrize(
    ("shape", "axes", "count"),
    [
        ((256, 512), (0, 1), 2),
        ((1 << 16,), (0,), 2),
        ((3, 1 << 16), (1,), 2),
        ((65537,), (0,), 1),
    ],
)
def test_huge_reductions_have_two_stages(shape: Any, axes: Any, count: int) -> None:
    x = vector(shape=shape)
    program = check([x], gn.sum(x * x, axes), rtol=1e-4)
    assert kinds(program) == ["kernel"] * count
    assert len(check([x], gn.max(x, axes), optimize="O1").instructions) == 1


def test_groups_are_bounded() -> None:
    x = y = vector(shape=(4,))
    for _ in range(200):
        y = gn.sin(y)
    program = check([x], y, rtol=1e-4)
    assert 3 < len(program.instructions) < 10
    assert "more than 64 members" in reasons(program)


def test_levels_and_debugging() -> None:
    x = vector(shape=(4,))
    y = gn.exp(gn.exp(x * 0.1))
    assert len(check([x], y, optimize="O0").instructions) == 3
    assert len(check([x], y, optimize="O1").instructions) == 1
    program = gn.compile(x, y, debug="nan")
    assert len(program.instructions) == 3
    assert "debug" in program.explain()


def test_explain_names_lines() -> None:
    x = vector(shape=(4, 4))
    y = gn.exp(x)
    z = y + y.T
    program = gn.compile(x, z)
    text = program.explain()
    assert "kernel: exp (test_fuse.py:" in text
    assert "not fused" in text
    assert "because: it is read along two axes at once" in program.explain(z)
    assert program.explain(x) == ""


# --------------------------------------------------------------------------- computed again


LARGE = (256, 512)


def test_cheap_values_are_computed_where_they_are_read() -> None:
    x = vector(shape=LARGE)
    y = x - 1.0
    program = check([x], [gn.sum(y * y, 1), gn.max(y, 0)], rtol=1e-4)
    assert kinds(program) == ["kernel"] * 2
    assert [sum(n.op.name == "subtract" for n in each.nodes) for each in program.instructions] == [
        1,
        1,
    ]
    assert program.arena_nbytes < 1 << 14
    assert "computed again there" in reasons(program)


@pytest.mark.parametrize(
    "case", ["small", "expensive", "many operations", "a result", "through memory", "budget"]
)
def test_what_is_not_computed_again(case: str) -> None:
    x = vector(shape=(16, 32) if case == "small" else LARGE)
    y = gn.exp(x) if case == "expensive" else x - 1.0
    if case == "many operations":
        y = gn.abs(y * 3.0 + 1.0)
    rows = y * y
    results = [gn.sum(rows, 1), gn.max(y[::-1] if case == "through memory" else y, 0)]
    results += [y] if case == "a result" else []
    program = check([x], results, rtol=1e-4)
    if case == "budget":
        program = gn.compile(x, results, memory_budget="1 MiB")
    assert "computed again there" not in reasons(program)
    members = [node for each in program.instructions for node in each.nodes]
    assert len(members) == len(set(members))


def test_state_is_read_before_it_is_updated() -> None:
    """A value made of a parameter is not computed again from what replaces it."""
    x, w = vector(shape=LARGE), gn.parameter(np.ones(LARGE, "float32"))
    y = x - w
    check([x], [gn.sum(y * y, 1), gn.max(y, 0)], {w: w * 0.5}, rtol=1e-4)


def test_values_made_of_each_other_are_computed_again() -> None:
    x = vector(shape=LARGE)
    y = x - 1.0
    z = -(y * 2.0)
    program = check([x], [gn.sum(y + z, 1), gn.max(z, 0), gn.min(y, 0)], rtol=1e-4, atol=1e-5)
    assert kinds(program) == ["kernel"] * len(program.instructions)
    assert program.arena_nbytes < 1 << 14
    for each in program.instructions:  # nothing is left behind that nobody reads
        read = {base for node in each.nodes for base in map(through_views, node.inputs)}
        assert read.union(each.stored).issuperset(each.nodes)


def read_in_many_ways(random: np.random.Generator, inputs: Sequence[gn.Node]) -> list[gn.Node]:
    """Cheap values made of each other, summed over rows and over columns, some as they are seen
    transposed or reshaped."""
    values = list(inputs)
    for _ in range(6):
        one, other = (values[n] for n in random.integers(0, len(values), 2))
        values.append(random.choice([gn.add, gn.multiply, gn.maximum])(one, other))
    made = [each for each in values[len(inputs) :] if each.ndim == 2 and each.shape == (6, 8)]
    results = []
    for each in made:
        for axis in random.permutation(2)[: random.integers(1, 3)]:
            seen = random.choice([lambda y: y, gn.transpose, lambda y: gn.reshape(y, (6, 4, 2))])
            results.append(gn.sum(gn.tanh(seen(each)), int(axis)))
    return results


def test_values_that_are_computed_again_in_random_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recompute_module, "is_cheaper_again", lambda *_: True)
    n_fired = 0
    for seed in range(12):
        inputs = [vector("x", (6, 8)), vector("c", (6, 1)), vector("r", (8,))]
        results = read_in_many_ways(np.random.default_rng(seed), inputs)
        n_fired += bool(results) and "again there" in reasons(check(inputs, results, rtol=1e-5))
    assert n_fired >= 6


# ------------------------------------------------------------------------------------- in place


def test_updates_of_fused_kernels_are_in_place() -> None:
    x = vector(shape=(3, 4))
    w, m = gn.parameter(np.ones((3, 4), "float32")), gn.parameter(np.zeros((3, 4), "float32"))
    moment = 0.9 * m + 0.1 * (w - x)
    program = check([x], (), {m: moment, w: w - 0.5 * moment})
    assert kinds(program) == ["kernel"]
    assert {str(view.buffer) for view in program.instructions[0].outputs} == {"state0", "state1"}


def test_a_weight_that_a_product_still_reads_is_copied() -> None:
    w = gn.parameter(np.arange(4.0, dtype="float32").reshape(2, 2))
    check([], (), {w: w @ w})
    check([], (), {w: w - w.T})
    check([], gn.sum(w), {w: w - gn.mean(w)})


def test_normalized_rows_may_replace_what_they_are_made_of() -> None:
    """The last sweep may write over its input; an earlier one may not."""
    x = vector(shape=(16, 32))
    y = gn.tanh(x @ gn.constant(np.eye(32, dtype="float32")))
    program = check([x], gn.softmax(y), rtol=1e-5)
    assert program.arena_nbytes == 16 * 32 * 4
    doubled = y * 2.0
    both = check([x], [doubled, y - gn.sum(doubled, 1, keepdims=True)], rtol=1e-5, atol=1e-5)
    assert both.instructions


def test_old_values_are_seen_by_all() -> None:
    a, b = gn.parameter([1.0, 2.0]), gn.parameter([3.0, 4.0])
    check([], [a * b, a], {a: b * 2.0, b: a * 3.0})


# ---------------------------------------------------------------------------------- the pieces


def test_equal_groups_give_equal_kernels() -> None:
    x = y = vector(shape=(4, 4))
    w = gn.constant(np.eye(4, dtype="float32"))
    for _ in range(7):  # too few for a loop
        y = gn.softmax(gn.tanh(y @ w) * 0.5)
    program = check([x], y, rtol=1e-5)
    assert len({each.kernel for each in program.instructions}) == 2


def test_nothing_is_left_to_numpy() -> None:
    x = vector(shape=(0, 3))
    results = [gn.sum(x, 0), gn.prod(x, 0), gn.all(gn.greater(x, 0.0), 0), gn.exp(x)]
    program = check([x], results)
    assert all(each.kernel is None for each in program.instructions)


def test_a_product_of_nothing_is_not_fused() -> None:
    x, y = vector(shape=(3, 0)), vector("y", shape=(0, 2))
    program = check([x, y], x @ y + 1.0)
    assert kinds(program) == ["host", "kernel"]


def test_order_refuses_cycles_and_keeps_order() -> None:
    order = Order(4, [(0, 1), (1, 2), (0, 2), (2, 3)])
    assert "path" in order.merge(0, 2)
    assert order.merge(0, 1) == ""
    assert order.merge(0, 2) == ""
    assert order.sorted({0: None, 3: None}) == [0, 3]


def test_order_moves_what_lies_between() -> None:
    # 0 -> 1, 2 -> 4, 0 -> 4: merging 0 and 4 puts 2 before and 1 behind.
    order = Order(5, [(0, 1), (2, 4), (0, 4), (3, 4)])
    assert order.merge(0, 4) == ""
    found = order.sorted(dict.fromkeys(range(4)))
    assert found.index(2) < found.index(0) < found.index(1)
    assert found.index(3) < found.index(0)


def test_the_search_for_a_path_is_bounded() -> None:
    last = MOST_SEARCHED + 4
    many = [(0, each) for each in range(2, last)]
    assert Order(last + 1, [*many, (0, last)]).merge(0, last) == ""
    assert "too far" in Order(last + 1, [*many, (0, last), (1, last)]).merge(0, last)


# --------------------------------------------------------------------------------- random graphs


def test_kernels_are_what_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REDUCE, "sum", np.maximum)
    x = vector(shape=(3, 4))
    assert gn.compile(x, gn.sum(x), backend="kernels")(np.ones((3, 4), "float32")) == 1.0


@pytest.mark.parametrize("narrow", ["float32", "float16"])
def test_kernels_of_random_graphs(narrow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.BACKENDS, "numpy", KernelExecutable)

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(recipes)
    def check_recipe(recipe: Recipe) -> None:
        check_compilation(recipe, narrow)

    check_recipe()
