"""Scatters on a GPU: many updates are sorted first, and the bits are those of a processor."""

import itertools
import re

import cuda_shim
import numpy as np
import pytest
from checks import check_forward, dtypes_of
from cuda_shim import ShimDevice, mistaken_source
from device_oracle import TwiceExecutable
from drawing import cases, is_drawable

import graphnn as gn
from graphnn.compiler.backends import BACKENDS
from graphnn.compiler.cuda import radix_sort, scatters
from graphnn.compiler.cuda.side_by_side import steps_of

COUNT = 5000


@pytest.fixture(autouse=True)
def shim(monkeypatch):
    """Programs for GPUs run here, in both orders of threads."""
    device = ShimDevice()
    monkeypatch.setitem(BACKENDS, "cupy", lambda unit: TwiceExecutable(unit, device))


def table_gradient(backend, dtype, rows, width, op="add"):
    """A program that brings many updates to a table."""
    table = gn.input("table", (rows, width), dtype)
    at, updates = gn.input("at", (COUNT,), "int64"), gn.input("updates", (COUNT, width), dtype)
    function = getattr(gn, f"scatter_{op}")
    return gn.compile([table, at, updates], function(table, at, updates), backend=backend)


def skewed(rng, rows):
    """Indices of which one comes again and again, and some not at all."""
    at = rng.integers(0, rows, COUNT)
    at[rng.random(COUNT) < 0.4] = rows // 3
    return np.where(rng.random(COUNT) < 0.2, at - rows, at)  # some count from the end


@pytest.mark.parametrize(
    ("dtype", "rows", "width", "op"),
    [
        ("float32", 700, 3, "add"),
        ("float32", 2, 20, "add"),
        ("bfloat16", 70_000, 2, "add"),
        ("float64", 41, 1, "multiply"),
        ("int8", 300, 5, "min"),
        ("float32", 300, 5, "set"),
    ],
)
def test_many_updates_give_the_bits_of_a_processor(dtype, rows, width, op):
    rng = np.random.default_rng(0)
    program = table_gradient("cupy", dtype, rows, width, op)
    assert "move0" in program.source("cuda")
    kind = program.inputs[0].dtype
    table, updates = (
        (3 * rng.normal(size=shape)).astype(kind) for shape in ((rows, width), (COUNT, width))
    )
    feeds = table, skewed(rng, rows), updates
    expected = table_gradient("numpy", dtype, rows, width, op)(*feeds)
    assert program(*feeds).tobytes() == expected.tobytes()


def test_samples_of_the_table_are_right_when_they_are_sorted(monkeypatch):
    monkeypatch.setattr(scatters, "LEAST_SORTED", 1)
    for dtype, every in (("float32", 7), ("float16", 13)):
        names = ("scatter", "segment", "put", "take", "sort")
        chosen = [
            each
            for each in cases()
            if each.operation.name.startswith(names)
            and dtype in dtypes_of(each.operation)
            and is_drawable(each.sample, dtype)
        ][::every]
        assert chosen
        check_forward(chosen, dtype, "cupy")


def test_an_index_out_of_range_among_many_leaves_state_alone():
    at, table = gn.input("at", (COUNT,), "int64"), gn.parameter(np.ones((50, 2), "float32"))
    loss = gn.sum(gn.embedding(at, table) ** 2)
    step = gn.compile(at, loss, {table: table - 0.1 * gn.grad(loss, table)}, backend="cupy")
    assert "refused" in step.source("cuda")
    good = np.arange(COUNT) % 50
    step(good)
    before = table.value
    with pytest.raises(gn.FeedError, match="50 is out of range"):
        step(np.where(np.arange(COUNT) == 4321, 50, good))
    np.testing.assert_array_equal(table.value, before)


def test_work_does_not_grow_with_the_product_of_updates_and_blocks():
    rows = 50_000
    program = table_gradient("cupy", "float32", rows, 8)
    parts = [part for code in steps_of(program.unit)[1] for part in code.parts]
    sorting = [part for part in parts if re.search(r"_(count|sum|move)\d", part.name)]
    assert len(sorting) == 3 * 3  # 16 bits are three digits
    (bring,) = (part for part in parts if part.name.endswith("_bring"))
    assert bring.blocks * bring.threads <= 8 * COUNT + 256
    assert max(part.blocks for part in sorting) == -(-COUNT // (128 * 16))


@pytest.mark.parametrize(("count", "bits"), [(5000, 1), (2048, 7), (9000, 32)])
def test_the_sort_has_room_for_all(count, bits):
    sort = radix_sort.RadixSort(count, bits)
    places = [sort.keys(0), sort.keys(1), sort.numbers(0), sort.numbers(1)]
    ends = sorted([*places, sort.scratch_nbytes])
    assert all(high - low >= 4 * count for low, high in itertools.pairwise(ends))
    assert sort.n_passes * sort.digit_bits >= bits
    assert sort.digit_bits <= 6
    table_nbytes = 4 * sort.blocks * 2**sort.digit_bits
    assert 4 * count <= sort.scratch_nbytes - ends[3] - table_nbytes < 4 * count + 64


MISTAKES = {
    "equal keys change places": (
        "for (i64 at = first; at < last; ++at) {\n        const u32 digit",
        "for (i64 at = last - 1; at >= first; --at) {\n        const u32 digit",
    ),
    "a later update is the first": ("rows[first - 1] == row", "rows[first + 1] == row"),
    "the last updates do not come": ("is_in = is_own[7]", "is_in = false"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_sorting_makes_results_wrong(mistake, monkeypatch):
    monkeypatch.setattr(cuda_shim, "shim_source", mistaken_source(*MISTAKES[mistake]))
    rng = np.random.default_rng(0)
    feeds = rng.normal(size=(64, 1)), skewed(rng, 64), rng.normal(size=(COUNT, 1))
    table, at, updates = (each.astype(kind) for each, kind in zip(feeds, "fqf", strict=True))
    expected = table_gradient("numpy", "float32", 64, 1)(table, at, updates)
    try:
        found = table_gradient("cupy", "float32", 64, 1)(table, at, updates)
    except AssertionError:  # orders of threads differ
        return
    assert found.tobytes() != expected.tobytes()
