"""Products of matrices in native code against float64 NumPy, for many shapes, strides and plans."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from native_code import NativeCode, empty
from native_targets import ELSEWHERE, HOST, IS_X86, TARGETS

from graphnn.compiler.kernel import (
    Apply,
    Contraction,
    Index,
    Kernel,
    Literal,
    Load,
    Operand,
    Product,
)
from graphnn.compiler.native.contraction.blocking import candidates_of, make_plan, segments_of
from graphnn.compiler.native.contraction.generate import generate, scratch_nbytes
from graphnn.compiler.native.contraction.matrices import recognise
from graphnn.compiler.native.contraction.packing import packings
from graphnn.compiler.native.objects import compile_object


def native(contraction, target=HOST):
    """A compiled contraction."""
    compiled = NativeCode(generate(contraction, target, "product"), target)
    assert compiled.scratch_nbytes == scratch_nbytes(contraction, target)
    return compiled


def strides_of(array, axes):
    """Bytes along the axes (letters) of a product, for an array whose letters are given."""
    letters, values = axes
    return tuple(dict(zip(letters, array.strides, strict=True)).get(each, 0) for each in values)


def contraction_of(subscripts, a, b, out, epilogue=None, others=()):
    """An einsum of two arrays as a Contraction; the epilogue's operands are others, then out."""
    (left, right), result = subscripts.split("->")[0].split(","), subscripts.split("->")[1]
    letters = result + "".join(dict.fromkeys(each for each in left + right if each not in result))
    sizes = {**dict(zip(left, a.shape, strict=True)), **dict(zip(right, b.shape, strict=True))}
    dtype = a.dtype.name
    operands = [
        *(Operand(each.dtype.name, strides_of(each, (where, result))) for each, where in others),
        Operand(out.dtype.name, out.strides),
    ]
    values = epilogue or (Product(dtype),)
    kernel = Kernel(
        tuple(sizes[each] for each in result),
        (),
        tuple(operands),
        tuple(values),
        ((len(operands) - 1, len(values) - 1),),
    )
    return Contraction(
        tuple(sizes[each] for each in letters),
        tuple(range(len(result), len(letters))),
        dtype,
        Operand(dtype, strides_of(a, (left, letters))),
        Operand(dtype, strides_of(b, (right, letters))),
        kernel,
    )


def drawn(rng, shape, dtype="float32"):
    """An array in a random order of axes, inside a larger one half of the time."""
    order = rng.permutation(len(shape))
    gaps = [int(rng.integers(0, 3)) if rng.random() < 0.3 else 0 for _ in shape]
    whole = [shape[axis] + gaps[axis] for axis in order]
    if np.dtype(dtype).kind == "f":
        values = np.asarray(rng.standard_normal(whole)).astype(dtype)
    else:
        values = rng.integers(0, 256, whole).astype(dtype)
    inner = values[(*(slice(0, shape[axis]) for axis in order), ...)]
    return inner.transpose(np.argsort(order))


def check(subscripts, a, b, out, n_summed):
    """Compare with float64, within the error of summing so many products one after the other."""
    exact = np.einsum(subscripts, a.astype("f8"), b.astype("f8"))
    magnitude = np.einsum(subscripts, np.abs(a.astype("f8")), np.abs(b.astype("f8")))
    bound = (n_summed + 1) * np.finfo(out.dtype).eps / 2 * magnitude
    if out.dtype.itemsize == 2:  # summed in float32, rounded once
        bound = (n_summed + 1) * 2.0**-24 * magnitude + 2.0**-11 * np.abs(exact) + 2.0**-25
    elif out.dtype.itemsize == 8:
        bound = bound + n_summed * 2.0**-53 * magnitude  # the reference's own
    assert np.all(np.abs(out - exact) <= bound)


def run(subscripts, a, b, rng, target=HOST):
    letters = subscripts.split("->")[1]
    (left, right) = subscripts.split("->")[0].split(",")
    sizes = {**dict(zip(left, a.shape, strict=True)), **dict(zip(right, b.shape, strict=True))}
    whole, out = empty(rng, [sizes[each] for each in letters], a.dtype)
    run_split(contraction_of(subscripts, a, b, out), a, b, whole, out, target)
    return out, prod(size for each, size in sizes.items() if each not in letters)


def run_split(contraction, a, b, whole, out, target=HOST):
    """Fill ``out``; what lies around it stays, and the split among threads does not matter."""
    compiled = native(contraction, target)
    whole[...] = 77
    compiled(a, b, out)
    bits = whole.copy()
    out[...] = 77
    assert np.all(whole == 77)
    for splits in (2, 3, 7):
        whole[...] = 77
        compiled(a, b, out, splits=splits)
        assert whole.tobytes() == bits.tobytes()


SUBSCRIPTS = [
    "mk,kn->mn",
    "mk,kn->mn",
    "mk,kn->nm",
    "bmk,bkn->bmn",
    "bmk,kn->bmn",
    "mk,k->m",
    "k,kn->n",
    "k,k->",
    "m,n->mn",
    "bk,bk->b",
    "b,b->b",
    "abmk,abkn->ambn",
    "mij,ijn->mn",
    "mki,inj->mjkn",
    "mkq,kn->mn",  # an axis that only one operand has is summed: the other stands still
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.cpu)
@pytest.mark.parametrize("seed", range(45))
def test_any_shape_and_any_strides(seed, target):
    rng = np.random.default_rng(seed)
    subscripts = SUBSCRIPTS[seed % len(SUBSCRIPTS)]
    (left, right) = subscripts.split("->")[0].split(",")
    most = {0: 9, 1: 40, 2: 130}[seed % 3] if len(set(left + right)) <= 3 else 14
    sizes = {each: int(rng.integers(1, most + 1)) for each in left + right}
    dtype = "float64" if seed % 5 == 4 else "float32"
    a = drawn(rng, [sizes[each] for each in left], dtype)
    b = drawn(rng, [sizes[each] for each in right], dtype)
    out, n_summed = run(subscripts, a, b, rng, target)
    check(subscripts, a, b, out, n_summed)


@pytest.mark.parametrize("subscripts", ["mk,kn->mn", "km,nk->mn", "mk,kn->nm"])
@pytest.mark.parametrize("shape", [(37, 131, 75), (128, 64, 96), (5, 600, 3), (70, 3000, 40)])
def test_packed_and_large(shape, subscripts):
    rng = np.random.default_rng(0)
    sizes = dict(zip("mkn", shape, strict=True))
    (left, right) = subscripts.split("->")[0].split(",")
    a = rng.standard_normal([sizes[each] for each in left]).astype("float32")
    b = rng.standard_normal([sizes[each] for each in right]).astype("float32")
    out, n_summed = run(subscripts, a, b, rng)
    check(subscripts, a, b, out, n_summed)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.cpu)
@pytest.mark.parametrize("packed", [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize(
    ("subscripts", "shape", "dtype"),
    [
        ("mk,kn->mn", (13, 70, 45), "float32"),
        ("mk,nk->mn", (33, 130, 20), "float32"),
        ("km,nk->nm", (9, 21, 50), "float64"),
        ("bmk,bkn->bmn", (7, 30, 21), "float16"),
        ("mk,kn->mn", (5, 18, 31), "int8"),
    ],
)
def test_factors_that_are_given_in_panels(subscripts, shape, dtype, packed, target):
    """They come before scratch memory; the factor itself is not read."""
    rng = np.random.default_rng(0)
    sizes = dict(zip("mkn", shape, strict=True)) | {"b": 3}
    left, right = subscripts.split("->")[0].split(",")
    factors = [drawn(rng, [sizes[each] for each in where], dtype) for where in (left, right)]
    whole, out = empty(rng, [sizes[each] for each in subscripts.split("->")[1]], dtype)
    contraction = replace(contraction_of(subscripts, *factors, out), packed=packed)
    panels = []
    for factor in np.flatnonzero(packed):
        (packing,) = (
            each
            for each in packings(make_plan(contraction, target))
            if each is not None and each.argument == factor
        )
        code = packing.panels.generate(target, "pack")
        filled = np.full(packing.panels.nbytes, 0xFF, np.uint8)
        NativeCode(code, target)(factors[factor], filled, splits=3)
        panels.append(filled)
    unread = [np.zeros(1) if hidden else each for each, hidden in zip(factors, packed, strict=True)]
    native(contraction, target)(*unread, out, *panels, splits=2)
    if dtype == "int8":
        assert np.array_equal(out, np.einsum(subscripts, *factors))
    else:
        check(subscripts, *factors, out, sizes["k"])
    out[...] = 77
    assert np.all(whole == 77)


PROBLEMS = [
    ("mk,kn->mn", "float32", {"m": 13, "k": 37, "n": 29}),
    ("mk,nk->mn", "float32", {"m": 7, "k": 41, "n": 10}),
    ("bkm,nkb->bmn", "float64", {"b": 2, "k": 9, "m": 11, "n": 14}),
    ("mij,jin->mn", "float32", {"m": 9, "i": 4, "j": 11, "n": 17}),
    ("bk,bk->b", "float32", {"b": 19, "k": 6}),
    ("mk,kn->mn", "float16", {"m": 5, "k": 18, "n": 11}),
]


@pytest.mark.parametrize("is_tiled", [False, True], ids=["registers", "tile"])
@pytest.mark.parametrize("problem", range(len(PROBLEMS)))
def test_every_plan_is_right(problem, is_tiled, monkeypatch):
    """All that the cost model chooses from, chunks of one block, and sums in three steps."""
    subscripts, dtype, sizes = PROBLEMS[problem]
    rng = np.random.default_rng(problem)
    (left, right) = subscripts.split("->")[0].split(",")
    a = drawn(rng, [sizes[each] for each in left], dtype)
    b = drawn(rng, [sizes[each] for each in right], dtype)
    whole, out = empty(rng, [sizes[each] for each in subscripts.split("->")[1]], dtype)
    contraction = contraction_of(subscripts, a, b, out)
    candidates = candidates_of(recognise(contraction), HOST)
    n_summed = prod(size for each, size in sizes.items() if each not in subscripts.split("->")[1])
    for number in rng.permutation(len(candidates))[:6].tolist():
        made = candidates[number]
        size = made.matrices.summed[0].size
        in_steps = is_tiled and not made.is_dot
        made = replace(
            made,
            row_group=1 + number % 2,
            column_group=1 + number % 3,
            in_registers=not is_tiled,
            summed_step=-(-size // 3) if in_steps else size,
            copies=1 if in_steps else made.copies,
        )
        monkeypatch.setattr(
            "graphnn.compiler.native.contraction.generate.make_plan", lambda *_, made=made: made
        )
        run_split(contraction, a, b, whole, out)
        check(subscripts, a, b, out, n_summed)


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint8", "int16", "int32", "int64", "bool"])
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.cpu)
def test_other_dtypes(dtype, target):
    rng = np.random.default_rng(1)
    for subscripts in ("mk,kn->mn", "mk,nk->mn", "k,kn->n"):
        (left, right) = subscripts.split("->")[0].split(",")
        sizes = {"m": 9, "k": 33, "n": 21}
        a = drawn(rng, [sizes[each] for each in left], dtype)
        b = drawn(rng, [sizes[each] for each in right], dtype)
        out = np.zeros([sizes[each] for each in subscripts.split("->")[1]], dtype)
        native(contraction_of(subscripts, a, b, out), target)(a, b, out)
        if dtype == "float16":
            check(subscripts, a, b, out, 33)
        elif dtype == "bool":
            exact = np.einsum(subscripts, a.astype(int), b.astype(int)) > 0
            np.testing.assert_array_equal(out, exact)
        else:  # wraps around
            exact = np.einsum(subscripts, a.astype("int64"), b.astype("int64"))
            np.testing.assert_array_equal(out, exact.astype(dtype))


def test_half_sums_are_rounded_once():
    a = np.array([[2048.0] + [1.0] * 7], "float16")
    b = np.ones((8, 1), "float16")
    out = np.zeros((1, 1), "float16")
    native(contraction_of("mk,kn->mn", a, b, out))(a, b, out)
    assert out[0, 0] == 2056.0  # 2055 lies half way; summed in float16, it would stay 2048


@pytest.mark.parametrize("is_heavy", [False, True])
@pytest.mark.parametrize("shape", [(6, 5, 7), (33, 20, 41), (64, 300, 70)])
def test_the_epilogue_sees_its_operands(shape, is_heavy):
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(each).astype("f4") for each in ((m, k), (k, n)))
    bias, scale = rng.standard_normal(n).astype("f4"), rng.standard_normal(m).astype("f4")
    out = np.full((n, m), np.nan, "f4").T
    values = [
        Product("float32"),
        Load(0),
        Load(1),
        Apply("multiply", "float32", (0, 2)),
        Apply("add", "float32", (3, 1)),
        Apply("add", "float32", (4, 1)),
    ]
    if is_heavy:
        values.append(Apply("tanh", "float32", (5,)))
    compiled = native(contraction_of("mk,kn->mn", a, b, out, values, [(bias, "n"), (scale, "m")]))
    compiled(a, b, bias, scale, out)
    exact = (a.astype("f8") @ b) * scale[:, None] + 2 * bias.astype("f8")
    magnitude = (np.abs(a).astype("f8") @ np.abs(b)) * np.abs(scale)[:, None]
    bound = (k + 4) * 2.0**-24 * (magnitude + 2 * np.abs(bias))
    if is_heavy:
        exact, bound = np.tanh(exact), bound + 2.0**-22
    assert np.all(np.abs(out - exact) <= bound)


@pytest.mark.parametrize("is_swapped", [False, True])
@pytest.mark.parametrize("is_heavy", [False, True])
def test_the_epilogue_sees_positions(is_heavy, is_swapped):
    """Every product is zero: the result tells where it stands along all axes, also merged ones."""
    sizes = {"b": 3, "m": 10, "q": 1, "k": 4, "n": 13}
    a, b = (np.zeros([sizes[x] for x in letters], "f4") for letters in ("bmk", "bkqn"))
    values = [
        Product("float32"),
        *(Index(axis) for axis in range(4)),
        *(Literal("int64", str(10**power)) for power in (6, 4, 2, 0)),
        *(Apply("multiply", "int64", (1 + axis, 5 + axis)) for axis in range(4)),
        *(Apply("add", "int64", pair) for pair in ((9, 10), (13, 11), (14, 12))),
    ]
    if is_heavy:
        values.append(Apply("floor_divide", "int64", (15, 8)))
    order = "bnqm" if is_swapped else "bmqn"
    out = np.zeros([sizes[x] for x in order], "i8")
    seen = out.transpose([order.index(x) for x in "bmqn"])
    native(contraction_of("bmk,bkqn->bmqn", a, b, seen, values))(a, b, seen, splits=2)
    exact = sum(np.indices(seen.shape)[axis] * 100 ** (3 - axis) for axis in range(4))
    np.testing.assert_array_equal(seen, exact)


@pytest.mark.parametrize("is_heavy", [False, True])
def test_an_epilogue_may_write_over_what_it_reads(is_heavy):
    rng = np.random.default_rng(0)
    x, dy = (rng.integers(-3, 4, shape).astype("f4") for shape in ((32, 45), (32, 27)))
    w = rng.integers(-9, 9, (45, 27)).astype("f4")
    values = [
        Product("float32"),
        Load(0),
        Literal("float32", (-0.5).hex()),
        Apply("multiply", "float32", (0, 2)),
        Apply("add", "float32", (1, 3)),
    ]
    if is_heavy:
        values.append(Apply("floor", "float32", (4,)))
    contraction = contraction_of("km,kn->mn", x, dy, w, values, [(w, "mn")])
    exact = w - 0.5 * (x.T @ dy)
    native(contraction)(x, dy, w, w, splits=3)
    np.testing.assert_array_equal(w, np.floor(exact) if is_heavy else exact)


def test_several_results_of_other_dtypes():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((9, 5)).astype("f4"), rng.standard_normal((5, 19)).astype("f4")
    wide, positive = np.zeros((9, 19)), np.zeros((9, 19), bool)
    values = (
        Product("float32"),
        Apply("cast", "float64", (0,)),
        Literal("float32", (0.0).hex()),
        Apply("greater", "bool", (0, 2)),
    )
    made = contraction_of("mk,kn->mn", a, b, wide, values, [(positive, "mn")])
    made = replace(made, epilogue=replace(made.epilogue, stores=((0, 3), (1, 1))))
    native(made)(a, b, positive, wide)
    assert np.all(np.abs(wide - a.astype("f8") @ b) <= 6 * 2.0**-24 * (np.abs(a) @ np.abs(b)))
    np.testing.assert_array_equal(positive, wide > 0)
    assert np.array_equal(wide, wide.astype("f4"))


@pytest.mark.parametrize("seed", range(4))
def test_code_for_avx_512_is_accepted(seed):
    """It is compiled, not run."""
    if not IS_X86:
        pytest.skip("the processor is not x86")
    rng = np.random.default_rng(seed)
    m, k, n = rng.integers(1, 200, 3)
    a, b = drawn(rng, (m, k)), drawn(rng, (k, n))
    contraction = contraction_of("mk,kn->mn", a, b, np.zeros((m, n), "f4"))
    assert compile_object(generate(contraction, ELSEWHERE, "product").ir, ELSEWHERE)


@pytest.mark.parametrize("size", range(1, 60))
@pytest.mark.parametrize(("unit", "most"), [(1, 6), (8, 2), (4, 3)])
def test_segments_cover_all_elements_in_order(size, unit, most):
    at, block = 0, 0
    for segment in segments_of(size, unit, most):
        assert (segment.start, segment.first) == (at, block)
        assert segment.stored <= unit * most
        assert segment.width <= segment.stored < segment.width + unit
        at += segment.n_blocks * segment.width
        block += segment.n_blocks
    assert at == size


def test_axes_that_lie_behind_each_other_are_one():
    a, b = np.zeros((4, 5, 6), "f4"), np.zeros((6, 3, 7), "f4")
    made = recognise(contraction_of("abk,kmn->abmn", a, b, np.zeros((4, 5, 3, 7), "f4")))
    assert [axis.size for axis in made.rows] == [20]
    assert [axis.size for axis in made.columns] == [21]
    made = recognise(contraction_of("abk,kmn->bamn", a, b, np.zeros((5, 4, 3, 7), "f4")))
    assert [axis.size for axis in made.rows] == [5, 4]


def test_long_sums_are_taken_in_steps():
    a, b, c = (np.zeros(shape, "f4") for shape in ((64, 60_000), (60_000, 64), (64, 64)))
    made = make_plan(contraction_of("mk,kn->mn", a, b, c), HOST)
    assert made.is_dot or made.is_summed_in_steps
