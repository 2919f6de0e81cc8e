"""Native forms of operators that move data give what the operators' own kernels give."""

import llvmlite.binding as llvm
import numpy as np
import pytest
from native_pieces import code_of, run_natively

from graphnn.compiler.native.moves import LOWERINGS
from graphnn.compiler.native.philox import Philox
from graphnn.compiler.native.range_check import RangeCheck
from graphnn.compiler.native.scanning import Scan
from graphnn.compiler.native.scattering import Scatter
from graphnn.compiler.native.target import CPU_VARIABLE, host_target
from graphnn.core.dtypes import as_dtype
from graphnn.core.errors import FeedError
from graphnn.core.op import REGISTRY
from graphnn.ops.geometry import Window

LAYOUTS = ("dense", "turned", "spaced", "backwards")
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "bool")


def numbers(shape, dtype="float32", seed=0, low=-4.0, high=4.0):
    """Random elements."""
    generator = np.random.default_rng(seed)
    if dtype == "bool":
        return generator.integers(0, 2, shape).astype(bool)
    if "int" in dtype:
        return generator.integers(int(low), int(high) + 1, shape).astype(dtype)
    return generator.uniform(low, high, shape).astype(as_dtype(dtype))


def places(shape, size, seed=0, dtype="int64"):
    """Random indices into an axis, negative ones too."""
    return np.random.default_rng(seed).integers(-size, size, shape).astype(dtype)


def check(name, arrays, attrs=None, *, exact=True, rtol=2e-6, known=(), layouts=None):
    """The same as the operator's own kernel, in dense memory and in that of another layout."""
    attrs = attrs or {}
    arrays = [np.asarray(each) for each in arrays]
    with np.errstate(all="ignore"):
        expected = np.asarray(REGISTRY[name].evaluate(*arrays, **attrs))
    rank = max((each.ndim for each in arrays), default=0)
    turns = ("dense", LAYOUTS[1 + (len(arrays) + expected.size) % 3])
    for layout in layouts or turns[: 2 if rank else 1]:
        found, status = run_natively(name, arrays, attrs, layout=layout, known=known)
        assert status == 0
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        if exact:
            np.testing.assert_array_equal(found, expected)
        else:
            np.testing.assert_allclose(
                found.astype(float), expected.astype(float), rtol=rtol, atol=rtol
            )


@pytest.mark.parametrize("dtype", DTYPES)
def test_pad(dtype):
    x, value = numbers((3, 4, 5), dtype), numbers((), dtype, 1)
    for low, high, interior in [
        ((1, 0, 2), (0, 0, 3), (0, 0, 0)),
        ((0, 0, 0), (0, 0, 0), (0, 0, 0)),
        ((0, 2, 1), (1, 0, 0), (1, 0, 2)),
    ]:
        check("pad", [x, value], {"low": low, "high": high, "interior": interior})


def test_pad_of_large_and_of_empty_arrays():
    attrs = {"low": (3, 0, 5), "high": (0, 1, 2), "interior": (0, 0, 0)}
    check("pad", [numbers((40, 41, 42)), np.full((), 7.0, "float32")], attrs)
    check("pad", [numbers((2, 0, 3)), np.float32(7.0)], attrs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_concatenate(dtype):
    arrays = [numbers((3, size, 2), dtype, size) for size in (2, 5, 0, 1)]
    check("concatenate", arrays, {"axis": 1})
    check("concatenate", arrays[:1], {"axis": 0})


@pytest.mark.parametrize("dtype", DTYPES[:-1])
def test_iota(dtype):
    for shape, axis in [((5,), 0), ((3, 1, 17), 2), ((4, 3), 0), ((1, 2), 0), ((0, 3), 1)]:
        attrs = {"shape": shape, "axis": axis, "dtype": as_dtype(dtype)}
        check("iota", [], attrs, layouts=["dense"])


def test_size_of_and_diagonal_matrix():
    check("size_of", [], {"size": 7, "dtype": as_dtype("float32")}, layouts=["dense"])
    for shape, offset in [((2, 3), 0), ((2, 3), 2), ((3,), -1), ((2, 0), 5)]:
        n = shape[-1] + abs(offset)
        rows, columns = (4, 5) if not shape[-1] else (n, n)
        check(
            "diagonal_matrix",
            [numbers(shape)],
            {"rows": rows, "columns": columns, "offset": offset},
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_gather(dtype):
    x = numbers((5, 4, 3), dtype)
    check("gather", [x, places((7,), 5)])
    check("gather", [x, places((2, 3), 5, 1, "int32"), places((2, 3), 4, 2, "int32")])
    check("gather", [x, places((), 5)])
    check("gather", [x, places((3,), 5), places((3,), 4), places((3,), 3)])
    check("gather", [x, places((0, 2), 5)])


def along(shape, axis, index):
    """Indices of all axes from those of one."""
    counted = np.broadcast_arrays(*np.ogrid[tuple(map(slice, index.shape))])
    return [index if each == axis else counted[each].copy() for each in range(len(shape))]


@pytest.mark.parametrize("known", [False, True])
def test_gather_of_an_index_for_every_row(known):
    x = numbers((5, 4, 3))
    for axis, size in ((0, 2), (1, 6), (2, 1)):
        shape = tuple(size if each == axis else n for each, n in enumerate(x.shape))
        indices = along(x.shape, axis, places(shape, x.shape[axis]))
        constants = [1 + each for each in range(3) if each != axis] if known else []
        check("gather", [x, *indices], known=constants)


@pytest.mark.parametrize("name", ["gather", "scatter_add", "scatter_set"])
@pytest.mark.parametrize("bad", [5, -6, 2**40, -(2**40)])
def test_an_index_out_of_range_is_told_and_reads_nothing(name, bad):
    index = np.array([0, 1, bad, 4])
    x, updates = numbers((5, 3)), numbers((4, 3))
    arrays = [x, index] if name == "gather" else [x, updates, index]
    _, status = run_natively(name, arrays, {})
    assert status == 1
    with pytest.raises(FeedError, match=f"index {bad} is out of range"):
        REGISTRY[name].evaluate(*arrays)
    arrays[-1] = np.array([0, 1, -5, 4])
    assert run_natively(name, arrays, {})[1] == 0


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8"])
def test_require_range(dtype):
    attrs = {"low": 1, "high": 5, "what": "label"}
    check("require_range", [numbers((3, 4), dtype, low=1, high=4)], attrs)
    check("require_range", [numbers((0, 4), dtype)], attrs)
    for bad in (0, 5, 100):
        x = numbers((3, 4), dtype, low=1, high=4)
        x[1, 2] = bad
        assert run_natively("require_range", [x], attrs, layout="turned")[1] == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_pick_and_place(axis):
    x = numbers((4, 5, 3))
    order = np.argsort(x, axis)
    check("pick", [x, order], {"axis": axis})
    check("place", [x, order], {"axis": axis, "size": x.shape[axis]})
    half = order.take([0, 2], axis)
    check("place", [numbers(half.shape), half], {"axis": axis, "size": x.shape[axis]})
    check("place", [x[:0], order[:0]], {"axis": 0, "size": 3})


SCATTERS = ("scatter_add", "scatter_multiply", "scatter_max", "scatter_min", "scatter_set")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "int32"])
@pytest.mark.parametrize("name", SCATTERS)
def test_scatter(name, dtype):
    for seed, (shape, index, n_axes) in enumerate(
        [((5, 3), (7,), 1), ((4, 6), (2, 5), 2), ((3, 2, 4, 5), (6,), 2), ((4,), (), 1)]
    ):
        chosen = [places(index, shape[axis], seed + axis) for axis in range(n_axes)]
        updates = numbers((*index, *shape[n_axes:]), dtype, seed)
        check(name, [numbers(shape, dtype), updates, *chosen])


def test_scatter_of_nothing_and_of_bools():
    check("scatter_add", [numbers((3, 2)), numbers((0, 2)), places((0,), 3)])
    check("scatter_add", [numbers((3, 0)), numbers((2, 0)), places((2,), 3)])
    for name in ("scatter_max", "scatter_min", "scatter_set"):
        arrays = [numbers((4, 3), "bool"), numbers((6, 3), "bool", 1), places((6,), 4)]
        check(name, arrays)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [(700, 16), (37, 200), (5000,), (10, 6, 70)])
def test_large_scatter_adds_up_in_order(shape, dtype):
    """Enough work for several chunks: of rows, of columns, and of both axes' elements."""
    updates = numbers((3000, *shape[1:]), dtype)
    check("scatter_add", [numbers(shape, dtype, 1), updates, places((3000,), shape[0])])


@pytest.mark.parametrize("name", SCATTERS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scatter_with_an_index_for_every_row(name, axis):
    """One update for each row is a kernel that asks; several are added in order."""
    x = numbers((5, 4, 3))
    for size in (1, 2, 6):
        shape = tuple(size if each == axis else n for each, n in enumerate(x.shape))
        indices = along(x.shape, axis, places(shape, x.shape[axis]))
        known = [2 + each for each in range(3) if each != axis]
        check(name, [x, numbers(shape, seed=1), *indices], known=known)


def test_bad_labels_are_told_where_every_row_has_one():
    labels = np.array([[0], [9], [2]])
    arrays = [numbers((3, 4)), numbers((3, 1)), np.arange(3)[:, None], labels]
    assert run_natively("scatter_add", arrays, {}, known=[2])[1] == 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "linear_recurrence"])
def test_scans(name, reverse, dtype):
    for shape in [(6,), (3, 7), (4, 3, 19), (2, 37, 70), (1, 5), (0, 3), (3, 0)]:
        for axis in range(len(shape)):
            count = 2 if name == "linear_recurrence" else 1
            arrays = [numbers(shape, dtype, seed, -1.5, 1.5) for seed in range(count)]
            check(name, arrays, {"axis": axis, "reverse": reverse})


def test_the_first_factor_of_a_recurrence_is_not_used():
    a, b = np.full(3, np.nan, "float32"), np.ones(3, "float32")
    a[1:] = 2.0
    check("linear_recurrence", [a, b], {"axis": 0, "reverse": False})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_argmax(name, dtype):
    for shape in [(7,), (3, 40), (4, 3, 5), (1, 2)]:
        for axis in range(len(shape)):
            x = np.round(numbers(shape, dtype).astype(float)).astype(as_dtype(dtype))
            check(name, [x], {"axis": axis})


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_argmax_of_nan_and_infinity(name):
    rows = [[1, np.nan, 2, np.nan], [np.inf, 1, np.inf, 0], [-np.inf] * 4, [0.0, -0.0, 0, 0]]
    check(name, [np.array(rows, "float32")], {"axis": 1})


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("count", [1, 3, 8, 2047, 5000])
def test_random_bits(count, dtype):
    key = numbers((3, 2), "int64", low=-(2**62), high=2**62)
    attrs = {"shape": (count,), "dtype": as_dtype(dtype)}
    check("random_bits", [key[0]], attrs, layouts=["dense"])
    check("random_bits", [key], attrs, layouts=["dense"])


def window(size, stride, dilation=1, low=0, high=0):
    """The same along two axes, where it is one number."""
    each = (size, stride, dilation, low, high)
    return Window(*((one, one) if isinstance(one, int) else one for one in each))


WINDOWS = [
    window(2, 2),
    window(3, 2, low=1, high=1),
    window((3, 1), (1, 2), low=(1, 0)),
    window((2, 3), (3, 4), high=(1, 2)),
    window(2, 1, dilation=3, low=2, high=2),
    window(3, 3, dilation=2, low=1, high=3),
    window(5, 1, low=3, high=4),
    window((9, 5), 2, low=2, high=2),
]


def every_window(*others):
    """Every window in float32, and by turns in one of the other dtypes."""
    return pytest.mark.parametrize(
        ("seen", "dtype"),
        [
            pytest.param(seen, dtype, id=f"{dtype}-{seen}")
            for place, seen in enumerate(WINDOWS)
            for dtype in ("float32", others[place % len(others)])
        ],
    )


@every_window("float16", "float64", "int32")
def test_max_pooling(seen, dtype):
    x = np.round(numbers((2, 3, 11, 14), dtype).astype(float)).astype(as_dtype(dtype))
    check("max_pool", [x], {"window": seen})
    check("max_pool_indices", [x], {"window": seen})


@pytest.mark.parametrize("seen", WINDOWS, ids=str)
def test_max_pooling_of_nan(seen):
    x = np.round(numbers((2, 2, 11, 14)))
    x[np.random.default_rng(1).uniform(size=x.shape) < 0.1] = np.nan
    x[0, 0, :5] = -np.inf
    check("max_pool", [x], {"window": seen})
    check("max_pool_indices", [x], {"window": seen})


@every_window("float16", "float64")
def test_derivatives_of_max_pooling(seen, dtype):
    x = np.round(numbers((2, 3, 11, 14), dtype).astype(float)).astype(as_dtype(dtype))
    indices = REGISTRY["max_pool_indices"].evaluate(x, window=seen)
    check("window_pick", [numbers(x.shape, dtype, 1), indices], {"window": seen})
    attrs = {"window": seen, "spatial": x.shape[2:]}
    values = np.round(numbers(indices.shape, dtype, 2).astype(float)).astype(x.dtype)
    check("window_place", [values, indices], attrs)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64"])
@pytest.mark.parametrize(
    "seen", [window(2, 2), window(3, 1), window(2, 3, 2), window((1, 9), (1, 2)), window(4, 4)]
)
def test_sums_of_windows(seen, dtype):
    x = np.round(numbers((2, 3, 11, 19), dtype).astype(float)).astype(as_dtype(dtype))
    check("window_sum", [x], {"window": seen})
    windows = REGISTRY["windows"].evaluate(x, window=seen)
    whole = np.round(numbers(windows.shape, dtype, 1).astype(float)).astype(x.dtype)
    check("overlap_add", [whole], {"window": seen, "spatial": x.shape[2:]})


def test_windows_of_no_examples():
    x, seen = numbers((0, 3, 6, 6)), window(2, 2)
    for name in ("max_pool", "max_pool_indices", "window_sum"):
        check(name, [x], {"window": seen})


def test_complex_numbers_stay_on_the_host():
    x = numbers((3, 4)).astype("complex64")
    assert run_natively("cumsum", [x], {"axis": 0, "reverse": False}) is None


def test_all_lowerings_are_of_operators():
    assert all(name in REGISTRY for name in LOWERINGS)


def work(dtype):
    """Operators with code generators of their own, on inputs with tails."""
    attrs = {"axis": 1, "reverse": True}
    yield "cumsum", [numbers((3, 5, 37), dtype)], attrs
    yield "cumprod", [numbers((5, 37), dtype, 1, 0.5, 1.5)], attrs
    yield (
        "scatter_add",
        [numbers((9, 21), dtype), numbers((40, 21), dtype, 1), places((40,), 9)],
        {},
    )
    yield "scatter_add", [numbers((9, 300), dtype), numbers((8, 300), dtype), places((8,), 9)], {}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
def test_a_processor_without_wide_vectors_gives_the_same(monkeypatch, dtype):
    monkeypatch.setenv(CPU_VARIABLE, "x86-64")
    weak = host_target.__wrapped__()
    for name, arrays, attrs in work(dtype):
        found = run_natively(name, arrays, attrs, target=weak)[0]
        assert found.tobytes() == run_natively(name, arrays, attrs)[0].tobytes()
    key = {"shape": (77,), "dtype": as_dtype("int64")}
    found = run_natively("random_bits", [np.array([1, 2])], key, target=weak)[0]
    np.testing.assert_array_equal(found, REGISTRY["random_bits"].evaluate(np.array([1, 2]), **key))


def test_code_for_wider_vectors_is_valid(monkeypatch):
    monkeypatch.setenv(CPU_VARIABLE, "skylake-avx512")
    wide = host_target.__wrapped__()
    for kernel in (
        Philox("int32", 2, 1000),
        RangeCheck("int32", (3, 50), (400, 4), -1, 7),
        Scan("sum", "float16", 9, (2, 2), (100,), ((18,), (18,))),
        Scatter("sum", "float16", (9,), (40,), (21,), (42, 2), (("int64", (8,)),)),
    ):
        module = llvm.parse_assembly(code_of(kernel, wide).ir)
        module.verify()
