"""Native scalar primitives: NumPy's results, stated errors, the same bits in every lane."""

import re
from dataclasses import replace
from pathlib import Path

import decimal_functions
import ml_dtypes
import numpy as np
import pytest
from native_function import NativeFunction, code_of, compiled, result_of
from native_targets import IS_X86, PLAIN
from scipy import special

import graphnn as gn
from graphnn.compiler.native import scalars
from graphnn.compiler.native.builder import Builder, V
from graphnn.compiler.native.math.functions import FUNCTIONS
from graphnn.compiler.native.objects import assembly
from graphnn.compiler.native.target import host_target
from graphnn.core.dtypes import DTYPES, is_bool, is_complex, is_floating, is_half
from graphnn.core.op import REGISTRY
from graphnn.ops.elementwise import ElementwiseOp

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

REAL = [dtype.name for dtype in DTYPES if not is_complex(dtype)]
PRIMITIVES = {
    name: op
    for name, op in REGISTRY.items()
    if isinstance(op, ElementwiseOp) and op.has_kernel and op.result != "complex"
}
SPECIAL_REFERENCES = {
    "erf": special.erf,
    "erfc": special.erfc,
    "erfinv": special.erfinv,
    "lgamma": special.gammaln,
    "digamma": special.psi,
}


def _kind(dtype):
    dtype = np.dtype(dtype)
    return "b" if is_bool(dtype) else "f" if is_floating(dtype) else "i"


def _dtypes_of(op, dtype):
    return tuple("bool" if i in op.masks else dtype for i in range(op.arity))


def _accepted():
    return [
        (name, dtype)
        for name, op in PRIMITIVES.items()
        for dtype in REAL
        if _kind(dtype) in op.accepts
    ]


def _corners(dtype):
    """Zeros, infinities, NaN, extremes, halves, denormals; extremes and shift widths."""
    if _kind(dtype) == "b":
        return np.array([True, False])
    if _kind(dtype) == "i":
        info = np.iinfo(dtype)
        near = [0, 1, 2, 3, 5, 7, 8, 15, 16, 31, 32, 33, 63, 64, 100, -1, -2, -3, -7, -100]
        listed = [*near, info.max, info.max - 1, info.min, info.min + 1]
        return np.array(sorted({x for x in listed if info.min <= x <= info.max}), dtype)
    info = ml_dtypes.finfo(np.dtype(dtype))
    sizes = [0, 1, 0.5, 1.5, 2, 2.5, 3, 7, 0.3, 1e-3, 30.5, 123.456, 65504, 1e4, np.inf]
    sizes += [float(each) for each in (info.max, info.tiny, info.smallest_subnormal)]
    signed = np.array([sign * each for each in sizes for sign in (1, -1)] + [np.nan])
    return signed.astype(dtype)


def _grid(*dtypes):
    crossed = np.meshgrid(*(_corners(dtype) for dtype in dtypes), indexing="ij")
    return [each.reshape(-1).astype(dtype) for each, dtype in zip(crossed, dtypes, strict=True)]


def _bits(array):
    """Bit patterns, with one NaN for all."""
    words = array.view(f"u{array.itemsize}").copy()
    if array.dtype.kind != "b":
        words[array != array] = np.iinfo(words.dtype).max
    return words


def _assert_same(made, expected):
    np.testing.assert_array_equal(_bits(made), _bits(expected))


# -------------------------------------------------------------------------------- what there is


def test_every_real_primitive_has_code():
    missing = [
        (name, dtype)
        for name, dtype in _accepted()
        if not scalars.is_native(name, _dtypes_of(PRIMITIVES[name], dtype))
    ]
    assert missing == []


def test_complex_numbers_and_unknown_operators_have_none():
    assert not scalars.is_native("add", ("complex64", "complex64"))
    assert not scalars.is_native("matmul", ("float32", "float32"))
    assert not scalars.is_native("exp", ("int32",))
    assert scalars.max_ulp("exp", "int32") is None


# ----------------------------------------------------------------------------- exact primitives


@pytest.mark.parametrize(
    ("name", "dtype"), [each for each in _accepted() if each[0] not in FUNCTIONS]
)
def test_exact_primitives_have_numpys_bits_at_corners(name, dtype):
    dtypes = _dtypes_of(PRIMITIVES[name], dtype)
    arrays = _grid(*dtypes)
    expected = PRIMITIVES[name].evaluate(*arrays)
    if name in ("maximum", "minimum"):  # of 0 and -0 NumPy gives either
        differ = (arrays[0] == 0) & (arrays[1] == 0)
        arrays = [each[~differ] for each in arrays]
        expected = expected[~differ]
    _assert_same(compiled(name, *dtypes)(*arrays), expected)


@pytest.mark.skipif(not IS_X86, reason="generic x86-64 code runs on x86-64 alone")
@pytest.mark.parametrize("name", ["floor", "ceil", "round", "trunc", "add", "floor_divide"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_exact_primitives_without_fused_instructions(name, dtype):
    dtypes = _dtypes_of(PRIMITIVES[name], dtype)
    arrays = _grid(*dtypes)
    made = compiled(name, *dtypes, target=PLAIN)(*arrays)
    _assert_same(made, PRIMITIVES[name].evaluate(*arrays))


HALVES = {"float16", "bfloat16"}
CASTS = [
    pytest.param(dtype, result, target, id=f"{dtype}-{result}-{label}")
    for dtype in REAL
    for result in REAL
    for target, label in ((host_target(), "host"), (PLAIN, "generic"))
    if target is not PLAIN or {dtype, result} & HALVES  # the others have the same code
]


@pytest.mark.skipif(not IS_X86, reason="out of range, NumPy gives what the processor does")
@pytest.mark.parametrize(("dtype", "result", "target"), CASTS)
def test_casts_are_numpys(dtype, result, target):
    x = _cast_operands(dtype)
    function = NativeFunction("cast", result, (dtype,), target=target)
    _assert_same(function(x), x.astype(result))


def _cast_operands(dtype):
    rng = np.random.default_rng(7)
    if _kind(dtype) == "b":
        return _corners(dtype)
    if _kind(dtype) == "i":
        info = np.iinfo(dtype)
        drawn = rng.integers(info.min, info.max, 500, dtype)
        return np.concatenate([_corners(dtype), drawn])
    words = rng.integers(0, 2**64, 4000, "uint64").astype(f"u{np.dtype(dtype).itemsize}")
    scaled = rng.standard_normal(4000) * 10.0 ** rng.integers(-9, 9, 4000)
    ties = np.arange(2000) * 2.0**-25 + np.arange(2000) * 2.0**-51
    parts = [_corners(dtype), words.view(np.dtype(dtype)), scaled, ties, 1 + 2.0**-11 * ties]
    return np.concatenate([each.astype(dtype) for each in parts])


@pytest.mark.parametrize("target", [host_target(), PLAIN], ids=["host", "generic"])
def test_all_half_floats_survive_memory(target):
    for dtype in ("float16", "bfloat16"):
        x = np.arange(2**16, dtype="uint16").view(dtype)
        _assert_same(NativeFunction("cast", dtype, (dtype,), target=target)(x), x)


# ------------------------------------------------------------------------------------ functions


def _log_uniform(rng, low, high, count):
    return 10.0 ** rng.uniform(low, high, count)


def _operands(name, dtype, count):
    """Drawn all over the domain: evenly, in magnitude, and around the hard places."""
    rng = np.random.default_rng(len(name))
    is_single = dtype == "float32"
    tiny, huge = (-44, 38) if is_single else (-320, 308)
    large, n = (88.0 if is_single else 709.0), count // 4
    sign = rng.choice([-1.0, 1.0], n)
    uniform = rng.uniform
    signed = sign * _log_uniform(rng, tiny, 0, n)
    near_one = sign * (1 - _log_uniform(rng, -7 if is_single else -15, 0, n))
    positive = [
        _log_uniform(rng, tiny, huge, n),
        uniform(0.5, 2, n),
        1 + sign * _log_uniform(rng, -8, -1, n),
    ]
    growing = [uniform(-large, large, n), uniform(-1, 1, n), uniform(-22, 22, n), signed]
    angles = [uniform(-100, 100, n), uniform(-1e6, 1e6, n), signed, np.arange(n) * (np.pi / 2)]
    unit = [uniform(-1, 1, n), near_one]
    line = [uniform(-3, 3, n), sign * _log_uniform(rng, tiny, huge, n), uniform(-30, 30, n)]
    gamma = [uniform(1e-3, 3, n), uniform(0.8, 2.3, n), uniform(2, 12, n)]
    gamma.append(_log_uniform(rng, -30, huge - 4, n))
    drawn = {
        "exp": [uniform(-103 if is_single else -745, large, count), signed],
        "exp2": [uniform(-149 if is_single else -1074, 127 if is_single else 1023, count), signed],
        "expm1": [uniform(-40, large, n), uniform(-1, 1, n), signed],
        "log1p": [positive[0], uniform(-0.999, 2, n), signed * 0.9],
        "lgamma": gamma,
        "digamma": [*gamma, 1.4616321 + sign * _log_uniform(rng, -7, -1, n)],
        "erf": [uniform(-2, 2, n), uniform(-6, 6, n), signed],
        "erfc": [uniform(-2, 2, n), uniform(-6, 9 if is_single else 26, n), uniform(0.4, 0.6, n)],
        "arccosh": [1 + _log_uniform(rng, -15, 3, n), _log_uniform(rng, 0, huge, n)],
        **dict.fromkeys(("log", "log2", "log10"), positive),
        **dict.fromkeys(("sin", "cos", "tan"), angles),
        **dict.fromkeys(("sinh", "cosh", "tanh"), growing),
        **dict.fromkeys(("arcsinh", "arctan", "cbrt"), line),
        **dict.fromkeys(("arcsin", "arccos", "arctanh", "erfinv"), unit),
    }
    if name in drawn:
        return (np.concatenate(drawn[name]).astype(dtype),)
    if name == "power":
        x = np.concatenate([_log_uniform(rng, tiny / 2, huge / 2, n), uniform(0.5, 2, n)])
        limit = np.minimum((0.9 * large) / np.abs(np.log(x)), 1e30)
        return x.astype(dtype), (uniform(-1, 1, 2 * n) * limit).astype(dtype)
    exponent = uniform(-30, 30, n)
    x, y = sign * 10.0**exponent, 10.0 ** (exponent + uniform(-3, 3, n))
    return x.astype(dtype), (y * rng.choice([-1.0, 1.0], n)).astype(dtype)


def _ulps(made, exact):
    """Errors in units of the last place of exact results that the dtype holds."""
    info = np.finfo(made.dtype)
    held = np.isfinite(exact) & (np.abs(exact) <= exact.dtype.type(info.max))
    made, exact = made[held], exact[held]
    exponent = np.maximum(np.frexp(exact)[1] - 1, info.minexp)
    unit = np.ldexp(exact.dtype.type(1), exponent - info.nmant)
    return np.abs(made.astype(exact.dtype) - exact) / unit


@pytest.mark.parametrize("target", [host_target(), PLAIN], ids=["host", "generic"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_in_single_precision(name, target):
    if target is PLAIN and not IS_X86:
        pytest.skip("generic x86-64 code runs on x86-64 alone")
    operands = _operands(name, "float32", 200_000)
    made = compiled(name, *["float32"] * len(operands), target=target)(*operands)
    reference = SPECIAL_REFERENCES.get(name) or getattr(np, name)
    errors = _ulps(made, reference(*(each.astype("float64") for each in operands)))
    assert errors.size > 0.9 * made.size
    assert errors.max() <= scalars.max_ulp(name, "float32")


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="long double is no better here")
@pytest.mark.parametrize("target", [host_target(), PLAIN], ids=["host", "generic"])
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if hasattr(np, name)])
def test_errors_in_double_precision(name, target):
    if target is PLAIN and not IS_X86:
        pytest.skip("generic x86-64 code runs on x86-64 alone")
    operands = _operands(name, "float64", 100_000)
    made = compiled(name, *["float64"] * len(operands), target=target)(*operands)
    errors = _ulps(made, getattr(np, name)(*(each.astype(np.longdouble) for each in operands)))
    assert errors.size > 0.9 * made.size
    assert errors.max() <= scalars.max_ulp(name, "float64")


@pytest.mark.parametrize("name", ["erf", "erfc", "lgamma", "digamma"])
def test_errors_of_special_functions_in_double_precision(name):
    (x,) = _operands(name, "float64", 320)
    exact = [getattr(decimal_functions, name)(float(each)) for each in x]
    made = compiled(name, "float64")(x)
    info = np.finfo("float64")
    exponent = np.maximum(np.frexp(np.array(exact, "float64"))[1] - 1, info.minexp)
    errors = [
        abs(float(decimal_functions.Decimal(float(y)) - z) / 2.0 ** int(e - info.nmant))
        for y, z, e in zip(made, exact, exponent, strict=True)
        if e > info.minexp
    ]
    assert max(errors) <= scalars.max_ulp(name, "float64")


def test_errors_of_the_inverse_error_function_in_double_precision():
    (x,) = _operands("erfinv", "float64", 400)
    x = x[np.abs(x) < 1]
    made = compiled("erfinv", "float64")(x)
    errors = [
        abs(float(decimal_functions.erfinv_error(float(y), float(each)))) / np.spacing(abs(y))
        for y, each in zip(made, x, strict=True)
    ]
    assert max(errors) <= scalars.max_ulp("erfinv", "float64")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_at_corners_are_numpys(name, dtype):
    """NaN, infinities and zeros with their signs; other results to the dtype's precision."""
    dtypes = _dtypes_of(PRIMITIVES[name], dtype)
    arrays = _grid(*dtypes)
    expected = PRIMITIVES[name].evaluate(*arrays)
    made = compiled(name, *dtypes)(*arrays)
    wide, exact = made.astype("float64"), expected.astype("float64")
    fixed = ~np.isfinite(exact) | (exact == 0)
    info = ml_dtypes.finfo(np.dtype(dtype))
    smallest, eps = float(info.smallest_subnormal), float(info.eps)
    if name == "lgamma":  # SciPy gives inf for the smallest doubles
        fixed &= np.abs(arrays[0]) != smallest
    _assert_same(made[fixed], expected[fixed])
    near = np.isfinite(exact) & (exact != 0)
    around_zeros = name in ("lgamma", "digamma")  # of negative numbers: the error is absolute
    np.testing.assert_allclose(
        wide[near], exact[near], rtol=6 * eps, atol=4 * eps if around_zeros else smallest
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_huge_angles(name, dtype):
    rng = np.random.default_rng(3)
    x = _log_uniform(rng, 5, 38 if dtype == "float32" else 300, 2000).astype(dtype)
    x[::3] *= -1
    wide = np.longdouble if dtype == "float64" else np.float64
    assert _ulps(compiled(name, dtype)(x), getattr(np, name)(x.astype(wide))).max() <= 2.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lgamma_of_negative_numbers(dtype):
    x = np.random.default_rng(4).uniform(-30, 0, 2000).astype(dtype)
    made, exact = compiled("lgamma", dtype)(x), special.gammaln(x.astype("float64"))
    scale = np.maximum(np.abs(exact), 1.0)
    assert (np.abs(made - exact) / scale).max() <= 40 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_bits_in_every_lane(name, dtype):
    operands = [each[:997] for each in _operands(name, dtype, 2000)]
    corners = _grid(*[dtype] * len(operands))
    operands = [np.concatenate(both) for both in zip(operands, corners, strict=True)]
    wide = compiled(name, *[dtype] * len(operands), lanes=8)(*operands)
    for lanes in (1, 4):
        narrow = compiled(name, *[dtype] * len(operands), lanes=lanes)(*operands)
        _assert_same(narrow, wide)
    shifted = compiled(name, *[dtype] * len(operands))(*(np.roll(each, 3) for each in operands))
    _assert_same(np.roll(shifted, -3), wide)


# --------------------------------------------------------------------------- generated machine code

LIBRARY_CALLS = {"sin", "cos", "tan", "fmod", "fmodf"}


AVX512 = replace(PLAIN, cpu="skylake-avx512", vector_bytes=64, has_fma=True)


@pytest.mark.skipif(not IS_X86, reason="these are x86-64 processors")
@pytest.mark.parametrize(
    ("dtype", "target"),
    [("float32", PLAIN), ("float64", PLAIN), ("float32", AVX512)],
    ids=["float32-x86-64", "float64-x86-64", "float32-avx512"],
)
def test_no_other_library_function_is_called(dtype, target):
    for name in [*FUNCTIONS, "floor", "ceil", "round", "trunc", "mod"]:
        dtypes = _dtypes_of(PRIMITIVES[name], dtype)
        lanes = target.lanes(8 if dtype == "float64" else 4)
        code = code_of(name, result_of(name, dtypes), dtypes, lanes, target)
        assert _called(code, target) <= LIBRARY_CALLS, name


@pytest.mark.skipif(not IS_X86, reason="these are x86-64 processors")
@pytest.mark.parametrize("target", [PLAIN, AVX512], ids=["x86-64", "avx512"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_half_floats_are_converted_without_a_library(dtype, target):
    for result in HALVES - {dtype}:
        assert _called(code_of("cast", result, (dtype,), 4, target), target) == set()


def _called(code, target):
    return set(re.findall(r"(?:call|jmp)[q]?\s+\*?([a-z_]\w*)", assembly(code.ir, target)))


# --------------------------------------------------------------------------- literals, reductions


@pytest.mark.parametrize(
    ("dtype", "text", "expected"),
    [
        ("float32", (0.1).hex(), V("0x3FB99999A0000000", "float")),
        ("float64", "inf", V("0x7FF0000000000000", "double")),
        ("float16", (0.5).hex(), V("0x3FE0000000000000", "float")),
        ("int8", "-128", V("-128", "i8")),
        ("bool", "1", V("1", "i1")),
    ],
)
def test_literals(dtype, text, expected):
    assert scalars.literal(Builder("f", []), dtype, text, 1) == expected


REDUCTIONS = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}


@pytest.mark.parametrize("dtype", [dtype for dtype in REAL if not is_half(np.dtype(dtype))])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_start_at_what_changes_nothing(name, dtype):
    text = scalars.identity(name, dtype)
    number = float.fromhex(text) if _kind(dtype) == "f" else int(text)
    x = _corners(dtype)
    start = np.full_like(x, number)
    made = compiled(REDUCTIONS[name], dtype, dtype)(start, x)
    np.testing.assert_array_equal(made, x)  # 0 + -0 is 0, which equals


def test_reductions_of_bools_start_at_what_changes_nothing():
    assert (scalars.identity("any", "bool"), scalars.identity("all", "bool")) == ("0", "1")


def test_sums_of_half_floats_are_not_rounded():
    b = Builder("f", [])
    made = scalars.combine(b, "sum", "float16", V("%x", "<4 x float>"), V("%y", "<4 x float>"))
    assert made.type == "<4 x float>"
    assert "fadd" in b.function()
    assert "half" not in b.function()


# -------------------------------------------------------------------------------- documentation


def test_the_documented_table_is_the_codes():
    page = (Path(gn.__file__).parents[1] / "docs" / "vector_math.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \|", page, re.MULTILINE)
    listed = {name: (float(single), float(double)) for name, single, double in rows}
    assert listed == {name: (each.ulp32, each.ulp64) for name, each in FUNCTIONS.items()}
